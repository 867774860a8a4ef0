// The images to ask about: the one on screen, and decoded ones behind it. A new order from the labeler replaces those behind,
// except the next one or two, and the one on screen only if others took it over. Replaced images stay usable until the new
// ones are decoded, so that quick labeling never waits for the network.

import { ask } from "../lib/api.js";
import { loadPicture } from "../lib/picture.js";
import { live } from "../lib/project.js";
import { pause } from "../lib/time.js";

/** @typedef {import("../types.js").Item} Item */
/**
 * An image to answer, decoded or on its way.
 * @typedef {object} Question
 * @property {Item} item
 * @property {HTMLImageElement} image
 * @property {boolean} ready decoded, or known to be broken
 * @property {boolean} broken
 * @property {Promise<void>} decoded
 * @property {any} [given] its entry in the strip, where it came back to be corrected
 * @property {any} [opened] the labeler's answer, if it was opened by its URL
 * @property {any} [draft] the answer that an undo removed
 * @property {boolean} [chosen] the person came back to it, so it stays whoever has answered it
 * @property {boolean} [lost] others have it now
 */

const KEPT = 2; // number of prefetched images that a new order leaves in place
const ASK_BELOW = 3 / 4; // share of prefetched images below which the queue is asked again
const ASK_MS = 10_000;
const ASK_AFTER_TRIES = 3; // attempts for an image that the labeler cannot read now
const RENEW_UNTOUCHED_MS = 5000; // pause between new orders while the page is idle
const AWAY_MS = 600_000; // time without a touch after which a page no longer keeps its images from others
const HEAD_START_MS = 300; // maximum time for which a page's first image loads alone

export class Questions {
  /**
   * @param {{ items: { image_id: number }[], session: string }} outbox
   * @param {number} readAhead images to decode behind the one on screen
   * @param {{ changed?: () => void, taken?: () => boolean, annotator?: string, now?: () => number, touched?: () => boolean,
   *   idle?: () => number }} [page] `changed()` whenever a question has come, is decoded, or there are none; `taken()` when
   *   others have the image on screen: whether it stays
   */
  constructor(outbox, readAhead, { changed, taken, annotator, now, touched, idle } = {}) {
    this.outbox = outbox;
    this.readAhead = readAhead;
    this.changed = changed ?? (() => {});
    this.taken = taken ?? (() => false);
    this.annotator = annotator ?? "me";
    this.now = now ?? (() => performance.now());
    this.touched = touched ?? (() => live.touched);
    this.idle = idle ?? (() => live.idle);
    this.away = false; // whether the leases were left to expire, because nobody touches the page
    /** @type {Question | null} */
    this.current = null;
    /** @type {Question[]} */
    this.next = [];
    /** @type {Question[]} */
    this.stale = []; // replaced by a newer order, still decoded
    /** @type {Question | null} */
    this.returning = null; // shown again by an undo, but not decoded yet
    /** @type {number | null} */
    this.remaining = null; // images not finished yet, from the queue's last answer
    this.version = 0; // of the order that `next` follows
    this.requests = 0; // requests so far
    this.askedAt = 0;
    this.asking = false;
    this.failed = false;
    /** @type {number | undefined} */
    this.again = undefined; // how many of `next` stay at the request that follows the one under way
    /** @type {Map<number, number>} */
    this.done = new Map(); // image id → the last request that may still contain it although it is answered
  }

  /** The current image was answered: show the next one. */
  advance() {
    this.current = null;
    this.fill();
    if (this.next.length <= this.readAhead * ASK_BELOW) this.ask();
  }

  /**
   * Show an image before all others; the current one comes next. It was returned by an undo, or is to be corrected
   * (`given` is its entry in the strip), or was `opened` by its URL.
   * @param {Item} item
   * @param {any} [given]
   * @param {any} [opened]
   * @param {any} [draft]
   */
  async putFirst(item, given, opened, draft) {
    if (!given) this.done.delete(item.image_id);
    const question = (this.returning = this.question(item));
    Object.assign(question, { given, opened, draft, chosen: true });
    await question.decoded;
    if (this.returning !== question) return; // another one was requested meanwhile
    this.next = [this.current, ...this.next].filter(
      /** @returns {other is Question} */ (other) =>
        other !== null && !other.given && !other.opened && other.item.image_id !== item.image_id,
    );
    this.stale = [];
    this.current = question;
    this.returning = null;
    this.changed();
  }

  /** Whether no image is shown and none is loading, so that a change of the project may bring one. */
  get empty() {
    return !this.current && !this.next.length && (this.remaining !== null || this.failed);
  }

  /** These answers are in the log: requests sent from now on will not name their images. @param {number[]} imageIds */
  confirmed(imageIds) {
    for (const id of imageIds) this.done.set(id, this.requests);
  }

  /**
   * Tell that there may be a newer order. An idle page does not follow it at once: images fetched here in vain would slow down
   * whoever is labeling elsewhere.
   * @param {number} version
   */
  renew(version) {
    if (this.away && !this.touched()) return;
    if (this.away) {
      this.back();
      return;
    }
    const due = this.touched() || this.now() - this.askedAt >= RENEW_UNTOUCHED_MS;
    if (version > this.version && due) this.ask(KEPT);
  }

  /** Renew the leases, unless nobody has touched the page for long. Else a page left open would block these images for all. */
  renewHeld() {
    this.away = this.idle() >= AWAY_MS;
    if (!this.away) this.ask();
  }

  /** Somebody is at the page again: what others have answered meanwhile is not asked about. */
  async back() {
    this.away = false;
    await this.ask();
  }

  /** Ask the queue. It renews the leases of what is held and frees the rest. @param {number} [kept] how many of `next` stay */
  async ask(kept = this.next.length) {
    if (this.asking) {
      this.again = Math.min(kept, this.again ?? kept);
      return;
    }
    this.asking = true;
    this.askedAt = this.now();
    const request = ++this.requests;
    const held = present([this.current, this.returning, ...this.next.slice(0, kept)]);
    try {
      this.take(await ask(`/api/queue?${this.query(held)}`, { patience: ASK_MS }), request, new Set(held));
      this.failed = false;
    } catch {
      this.failed = true; // the card will ask again
    }
    this.asking = false;
    this.fill();
    if (this.again !== undefined) {
      const { again } = this;
      this.again = undefined;
      this.ask(again);
    }
  }

  /** @param {Question[]} held */
  query(held) {
    const waiting = this.outbox.items.map((item) => item.image_id);
    return new URLSearchParams({
      annotator: this.annotator,
      session: this.outbox.session,
      limit: String(this.readAhead + 1 + waiting.length),
      keep: [...new Set([...held.map(({ item }) => item.image_id), ...waiting])].join(","),
    });
  }

  /**
   * Take over the queue's answer.
   * @param {{ items: Item[], remaining: number, query_version: number }} page
   * @param {number} request its number
   * @param {Set<Question>} held the questions that this request kept
   */
  take(page, request, held) {
    this.remaining = page.remaining;
    this.version = page.query_version;
    for (const [id, last] of this.done) if (last < request) this.done.delete(id);
    const answered = new Set([...this.done.keys(), ...this.outbox.items.map((item) => item.image_id)]);
    for (const shown of present([this.current, this.returning])) answered.add(shown.item.image_id);
    const known = new Map([...this.next, ...this.stale].map((question) => [question.item.image_id, question]));
    const fresh = page.items.filter((item) => !answered.has(item.image_id));
    const listed = new Set(fresh.map((item) => item.image_id));
    const stay = this.next.filter((question) => held.has(question) && listed.has(question.item.image_id));
    const replaced = [...this.next, ...this.stale].filter((question) => !listed.has(question.item.image_id));
    // The new order may give another reason or suggestion for an image that is decoded already.
    for (const item of fresh) {
      const question = known.get(item.image_id);
      if (question) question.item = item;
    }
    const staying = new Set(stay.map(({ item }) => item.image_id));
    const come = this.questions(
      fresh.filter(({ image_id }) => !staying.has(image_id)),
      known,
    );
    this.next = [...stay, ...come].slice(0, this.readAhead);
    this.leaveTaken(page, held);
    const ready = this.next.some((question) => question.ready);
    this.stale = ready ? [] : replaced.filter((question) => question.ready && !answered.has(question.item.image_id));
  }

  /**
   * Leave the image on screen if the queue no longer gives it to this page: its lease ended, and others answered it.
   * @param {{ items: Item[] }} page
   * @param {Set<Question>} held
   */
  leaveTaken({ items }, held) {
    const { current } = this;
    if (!current || current.chosen || current.lost || !held.has(current)) return;
    current.lost = !items.some(({ image_id }) => image_id === current.item.image_id);
    if (current.lost && !this.taken()) this.current = null;
  }

  /**
   * Questions for these items, known ones again. With nothing on screen the first image has a head start, so that the
   * labeler does not make all thumbnails at once.
   * @param {Item[]} items
   * @param {Map<number, Question>} known
   */
  questions(items, known) {
    /** @type {Promise<void> | undefined} */
    let turn;
    return items.map((item) => {
      const question = known.get(item.image_id) ?? this.question(item, turn);
      if (!this.current) turn ??= Promise.race([question.decoded, pause(HEAD_START_MS)]);
      return question;
    });
  }

  /** Put the first decoded question on screen, if there is none. */
  fill() {
    if (!this.current) {
      const index = this.next.findIndex((question) => question.ready);
      if (index >= 0) [this.current] = this.next.splice(index, 1);
      else this.current = this.stale.shift() ?? null;
    }
    this.changed();
  }

  /** An item with its image, which is fetched after `turn`. @param {Item} item @param {Promise<void>} [turn] @returns {Question} */
  question(item, turn) {
    const image = new Image();
    Object.assign(image, { alt: `Image ${item.image_id}, to be labeled`, draggable: false, decoding: "sync" });
    const question = { item, image, ready: false, broken: false, decoded: Promise.resolve() };
    question.decoded = Promise.resolve(turn).then(() => this.decode(question));
    return question;
  }

  /** @param {Question} question */
  async decode(question) {
    let tries = 0;
    const wanted = () => {
      if (++tries === ASK_AFTER_TRIES) this.ask(); // the queue gives other images than those that cannot be read now
      return present([this.current, this.returning, ...this.next]).includes(question);
    };
    const shown = await loadPicture(question.image, question.item.url, wanted);
    if (shown === null) return;
    question.ready = true;
    question.broken = !shown;
    this.fill();
  }
}

/** @param {(Question | null)[]} questions */
function present(questions) {
  return questions.filter(/** @returns {each is Question} */ (each) => each !== null);
}
