// Answers on their way to the labeler. Each is in the browser's storage before it is sent and leaves it when the labeler
// has confirmed it, so neither a reload nor a lost connection loses one; it keeps its id, so sending it twice changes
// nothing. One request is under way at a time and takes all that waits. Storage is one entry a session: a tab sends its
// own, and adopts those of a tab that is gone (its lock is free), so that two tabs do not send the same.

const SEND_MOST = 100;
const BACK_OFF_MS = 250;
const BACK_OFF_MOST_MS = 5000;
const ADOPT_MS = 10000;
const REFUSALS = { 401: "signed out – sign in again", 409: "another project is served here" };
const NO_ROOM = {
  full: "the disk is full",
  quota: "the disk quota is used up",
  read_only: "the disk cannot be written to",
  failing: "the disk reports errors",
  descriptors: "the labeler has too many files open",
  damaged: "the database is damaged",
};

const OUTBOXES = Symbol.for("flywheel.outboxes");

/** A project's outbox, one a tab: it outlives the page that it was opened for, so that leaving stops no sending. */
async function outboxOf({ log_id, max_unconfirmed }) {
  const known = (globalThis[OUTBOXES] ??= new Map());
  if (!known.has(log_id)) known.set(log_id, openSession().then((session) => new Outbox(log_id, session, max_unconfirmed)));
  return known.get(log_id);
}

class Outbox {
  /** `changed()` after every change, `confirmed(ids of images)`, `refused(annotation, reason)` as they happen. */
  constructor(logId, session, most) {
    this.logId = logId;
    this.prefix = `flywheel/unconfirmed/${logId}/`;
    this.session = session;
    this.most = most;
    this.items = this.load(this.prefix + session);
    this.failures = 0;
    this.sending = false;
    this.durable = true; // whether the browser lets us keep them
    this.problem = null; // what keeps the labeler from confirming, in words
    this.changed = this.confirmed = this.refused = () => {};
    this.adopt();
    setInterval(() => this.adopt(), ADOPT_MS);
    addEventListener("online", () => this.nudge());
    this.send();
  }

  get full() {
    return this.items.length >= this.most;
  }

  add(annotation) {
    this.items.push(annotation);
    this.keep();
    this.send();
  }

  /** Try again now: something says that the connection is back. */
  nudge() {
    clearTimeout(this.waiting);
    this.waiting = null;
    this.send();
  }

  /** When everything is confirmed. */
  async empty() {
    while (this.items.length) await pause(20);
  }

  async send() {
    if (this.sending || this.waiting || !this.items.length) return;
    this.sending = true;
    const batch = this.items.slice(0, this.alone ? 1 : SEND_MOST);
    try {
      // Named, so that a labeler which serves another project at this address by now refuses them.
      const response = await fetch(`/api/annotations?log_id=${this.logId}`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ annotations: batch }),
        signal: AbortSignal.timeout(20000),
      });
      if (response.ok) this.settle(batch);
      else if (response.status === 422) this.sort(batch, await response.json());
      else throw new Error(REFUSALS[response.status] ?? (await unable(response)));
      this.failures = 0;
      this.problem = null;
    } catch (error) {
      this.problem = error instanceof TypeError || error.name === "TimeoutError" ? "connection lost" : error.message;
      const wait = Math.min(BACK_OFF_MS * 2 ** this.failures++, BACK_OFF_MOST_MS);
      this.waiting = setTimeout(() => this.nudge(), wait);
    }
    this.sending = false;
    this.keep();
    this.send();
  }

  settle(batch) {
    const ids = new Set(batch.map((item) => item.id));
    this.items = this.items.filter((item) => !ids.has(item.id));
    this.confirmed(batch.map((item) => item.image_id));
  }

  /** 422: what the labeler names is dropped and told, the rest goes again; if it names none, one by one finds it. */
  sort(batch, { invalid = [], detail }) {
    const reasons = new Map(invalid.map(({ id, reason }) => [id, reason]));
    let refused = batch.filter((item) => reasons.has(item.id));
    if (!refused.length && batch.length === 1) refused = batch;
    this.alone = !refused.length;
    const words = typeof detail === "string" ? detail : "the labeler cannot take it";
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
      this.durable = false; // storage is full or forbidden; they stay in memory and the card says so
    }
    this.changed();
  }

  load(key) {
    try {
      return JSON.parse(localStorage.getItem(key) ?? "[]");
    } catch {
      return [];
    }
  }

  /** Take over what a closed tab left behind. */
  async adopt() {
    const left = Object.keys(localStorage).filter(
      (key) => key.startsWith(this.prefix) && key !== this.prefix + this.session,
    );
    for (const key of left) {
      await ifAlone(key.slice(this.prefix.length), () => {
        const held = new Set(this.items.map((item) => item.id)); // without locks, two open tabs adopt from each other
        this.items.push(...this.load(key).filter((item) => !held.has(item.id)));
        this.keep(); // first kept as ours, then forgotten as theirs
        localStorage.removeItem(key);
        this.send();
      });
    }
  }
}

/** Run `act` if no open tab has this session. Without locks (plain HTTP, not loopback) nobody can tell: then it is run. */
async function ifAlone(session, act) {
  if (!navigator.locks) return act();
  return navigator.locks.request(`flywheel/${session}`, { ifAvailable: true }, (lock) => (lock ? act() : undefined));
}

/** This tab's session, held by a lock for as long as the tab lives; a duplicated tab gets its own. */
async function openSession() {
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

/** Why the labeler could not save, in a few words; the bar says the rest. */
async function unable(response) {
  const { disk } = await response.json().catch(() => ({}));
  return disk ? `not saved: ${NO_ROOM[disk.kind] ?? disk.message}` : `the labeler answers ${response.status}`;
}

async function send(method, url, body) {
  return fetch(url, {
    method,
    headers: { "Content-Type": "application/json" },
    body: body ? JSON.stringify(body) : undefined,
    signal: AbortSignal.timeout(15000),
  });
}

function wordsOf({ detail }) {
  return typeof detail === "string" ? detail : (detail?.[0]?.msg ?? "the labeler refused");
}
