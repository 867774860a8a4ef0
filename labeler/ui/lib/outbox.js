// Answers on their way to the labeler. Each is in the browser's storage before it is sent, and leaves it when the labeler
// has confirmed it, so neither a reload nor a lost connection loses one. It keeps its id, so sending it twice changes
// nothing. One request is under way at a time and takes all that waits. Each tab stores its own answers under its session,
// and adopts those of a tab that is gone (its lock is free), so that two tabs do not send the same.

import { ask, Lost, Refused } from "./api.js";
import { uuid } from "./dom.js";
import { pause } from "./time.js";

/** @typedef {import("../types.js").Annotation} Annotation */

const SEND_MOST = 100;
const SEND_MS = 20_000;
const BACK_OFF_MS = 250;
const BACK_OFF_MOST_MS = 5000;
const ADOPT_MS = 10_000;
/** @type {Record<number, string>} */
const REFUSALS = { 401: "signed out – sign in again", 409: "the labeler serves another project" };
/** @type {Record<string, string>} */
const NO_ROOM = {
  full: "the disk is full",
  quota: "the disk quota is used up",
  read_only: "the disk cannot be written to",
  failing: "the disk reports errors",
  descriptors: "the labeler has too many files open",
  damaged: "the database is damaged",
};

/** @type {Map<string, Promise<Outbox>>} */
const outboxes = new Map();

/**
 * A project's outbox, one per tab. It outlives the page that opened it, so that leaving the page does not stop the sending.
 * @param {{ log_id: string, max_unconfirmed: number }} data
 * @returns {Promise<Outbox>}
 */
export function outboxOf({ log_id, max_unconfirmed }) {
  const open = async () => new Outbox(log_id, await openSession(), max_unconfirmed).start();
  if (!outboxes.has(log_id)) outboxes.set(log_id, open());
  return /** @type {Promise<Outbox>} */ (outboxes.get(log_id));
}

export class Outbox {
  /** @param {string} logId @param {string} session @param {number} most answers that may wait */
  constructor(logId, session, most) {
    this.logId = logId;
    this.prefix = `flywheel/unconfirmed/${logId}/`;
    this.session = session;
    this.most = most;
    this.items = this.load(this.prefix + session);
    this.failures = 0;
    this.sending = false;
    this.alone = false; // whether answers are sent one by one, to find the one that the labeler refuses
    this.durable = true; // whether the browser can store them
    /** @type {string | null} */
    this.problem = null; // why the labeler does not confirm, in words
    /** @type {ReturnType<typeof setTimeout> | null} */
    this.waiting = null;
    this.changed = () => {};
    this.confirmed = (/** @type {number[]} */ _imageIds, /** @type {Annotation[]} */ _annotations) => {};
    this.refused = (/** @type {Annotation} */ _annotation, /** @type {string} */ _reason) => {};
  }

  /** Send answers that an earlier page left, and adopt those of closed tabs. */
  start() {
    this.adopt();
    setInterval(() => this.adopt(), ADOPT_MS);
    addEventListener("online", () => this.nudge());
    this.send();
    return this;
  }

  /**
   * Register the page to notify: `changed()` after every change, `confirmed(image ids, annotations)` and `refused(annotation,
   * reason)` as they happen.
   * @param {{ changed: () => void, confirmed: (imageIds: number[], annotations: Annotation[]) => void, refused: (annotation: Annotation, reason: string) => void }} page
   */
  join({ changed, confirmed, refused }) {
    this.changed = changed;
    this.confirmed = confirmed;
    this.refused = refused;
  }

  /** The page is closed; nobody is notified until the next page joins. */
  leave() {
    this.join({ changed: () => {}, confirmed: () => {}, refused: () => {} });
  }

  get full() {
    return this.items.length >= this.most;
  }

  /** @param {Annotation} annotation */
  add(annotation) {
    this.items.push(annotation);
    this.keep();
    this.send();
  }

  /** Try again now: the connection may be back. */
  nudge() {
    if (this.waiting !== null) clearTimeout(this.waiting);
    this.waiting = null;
    this.send();
  }

  /** Wait until everything is confirmed. */
  async empty() {
    while (this.items.length) await pause(20);
  }

  async send() {
    if (this.sending || this.waiting || !this.items.length) return;
    this.sending = true;
    const batch = this.items.slice(0, this.alone ? 1 : SEND_MOST);
    try {
      await this.post(batch);
      this.failures = 0;
      this.problem = null;
    } catch (error) {
      this.problem = error instanceof Refused ? whyNot(error) : error instanceof Lost ? error.message : String(error);
      const wait = Math.min(BACK_OFF_MS * 2 ** this.failures++, BACK_OFF_MOST_MS);
      this.waiting = setTimeout(() => this.nudge(), wait);
    }
    this.sending = false;
    this.keep();
    this.send();
  }

  /** @param {Annotation[]} batch */
  async post(batch) {
    try {
      // Naming the project makes a labeler that serves another one at this address refuse the answers.
      await ask(`/api/annotations?log_id=${this.logId}`, { body: { annotations: batch }, patience: SEND_MS });
      this.settle(batch);
    } catch (error) {
      if (!(error instanceof Refused && error.status === 422)) throw error;
      this.sort(batch, error.answer);
    }
  }

  /** Remove these answers. @param {Annotation[]} batch */
  settle(batch) {
    const ids = new Set(batch.map((item) => item.id));
    this.items = this.items.filter((item) => !ids.has(item.id));
    this.confirmed(
      batch.map((item) => item.image_id),
      batch,
    );
  }

  /**
   * 422: drop and report the answers that the labeler names, and send the rest again. If it names none, send one by one.
   * @param {Annotation[]} batch
   * @param {{ invalid?: { id: string, reason: string }[], detail?: unknown }} answer
   */
  sort(batch, { invalid = [], detail }) {
    const reasons = new Map(invalid.map(({ id, reason }) => [id, reason]));
    let refused = batch.filter((item) => reasons.has(item.id));
    if (!refused.length && batch.length === 1) refused = batch;
    this.alone = !refused.length;
    const words = typeof detail === "string" ? detail : "the labeler refuses it";
    this.settle(refused);
    for (const item of refused) this.refused(item, reasons.get(item.id) ?? words);
  }

  keep() {
    try {
      const key = this.prefix + this.session;
      if (this.items.length) localStorage.setItem(key, JSON.stringify(this.items));
      else localStorage.removeItem(key);
      this.durable = true;
    } catch {
      this.durable = false; // storage is full or forbidden: they stay in memory, and the card says so
    }
    this.changed();
  }

  /** @param {string} key @returns {Annotation[]} */
  load(key) {
    try {
      return JSON.parse(localStorage.getItem(key) ?? "[]");
    } catch {
      return [];
    }
  }

  /** Adopt the answers of a closed tab. */
  async adopt() {
    const left = storedKeys().filter((key) => key.startsWith(this.prefix) && key !== this.prefix + this.session);
    for (const key of left) {
      await ifAlone(key.slice(this.prefix.length), () => {
        const held = new Set(this.items.map((item) => item.id)); // without locks, two open tabs adopt each other's answers
        this.items.push(...this.load(key).filter((item) => !held.has(item.id)));
        this.keep(); // store them as ours before removing theirs
        localStorage.removeItem(key);
        this.send();
      });
    }
  }
}

/** @returns {string[]} */
function storedKeys() {
  try {
    return Object.keys(localStorage);
  } catch {
    return [];
  }
}

/**
 * Run `act` if no open tab has this session. Without locks (plain HTTP, not loopback) this is unknown, so it runs.
 * @param {string} session
 * @param {() => void} act
 */
async function ifAlone(session, act) {
  if (!navigator.locks) return act();
  return navigator.locks.request(`flywheel/${session}`, { ifAvailable: true }, (lock) => (lock ? act() : undefined));
}

/** This tab's session, locked while the tab is open. A duplicated tab gets its own. */
async function openSession() {
  /** @param {string} session @returns {Promise<boolean>} */
  const held = (session) =>
    new Promise((resolve) => {
      if (!navigator.locks) return resolve(true);
      navigator.locks.request(`flywheel/${session}`, { ifAvailable: true }, (lock) => {
        resolve(lock !== null);
        return lock && new Promise(() => {}); // until the tab closes
      });
    });
  let session = sessionStorage.getItem("flywheel/session");
  if (!session || !(await held(session))) {
    session = uuid();
    await held(session);
    sessionStorage.setItem("flywheel/session", session);
  }
  return session;
}

/** Why the labeler could not save, in a few words. The bar explains it in full. @param {Refused} refusal */
function whyNot({ status, answer }) {
  if (REFUSALS[status]) return REFUSALS[status];
  return answer.disk
    ? `not saved: ${NO_ROOM[answer.disk.kind] ?? answer.disk.message}`
    : `the labeler answers ${status}`;
}
