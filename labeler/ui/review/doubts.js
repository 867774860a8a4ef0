// The doubtful labels to judge: the one on screen, and decoded ones behind it. A verdict changes the order of those behind,
// except the next few. It never changes the one on screen.

import { ask, isAbort, Refused } from "../lib/api.js";
import { loadPicture } from "../lib/picture.js";

/** @typedef {{ image_id: number, url: string }} Evidence */
/**
 * @typedef {object} Doubt
 * @property {number} image_id
 * @property {string} url
 * @property {number} label
 * @property {string} label_name
 * @property {number} proposed
 * @property {string} proposed_name
 * @property {number} confidence
 * @property {boolean} confident
 * @property {boolean | null} [given] with several classes per image: whether its label has this class
 * @property {"missing" | "class" | "place" | null} [kind] boxes: the kind of doubt
 * @property {import("../tasks/detection/overlay.js").Place | null} [box] the proposed place
 * @property {import("../tasks/detection/overlay.js").Place | null} [at] the drawn box
 * @property {any} [kept] the current answer
 * @property {any} [answer] the answer with the proposal
 * @property {number | null} [width] of the upright original
 * @property {number | null} [height]
 * @property {number} agreeing
 * @property {number} neighbours
 * @property {Evidence[]} evidence
 * @property {number} as_of
 * @property {HTMLImageElement} image
 * @property {any} item
 * @property {boolean} [broken]
 */

const AHEAD = 12;
const LEFT_IN_PLACE = 2; // number of doubts behind the one on screen that a new order leaves in place
const ASK_SOON_MS = 200; // pause after a saved verdict, so that several quick ones cause one request
const ASK_AGAIN_MS = 3000; // while there is nothing to show

export class Doubts {
  /**
   * @param {() => void} changed called when a doubt or the labeler's answer has arrived
   * @param {import("../tasks/task.js").Verdicts} verdicts
   */
  constructor(changed, verdicts) {
    this.changed = changed;
    this.verdicts = verdicts;
    /** @type {Doubt | null} */
    this.current = null;
    /** @type {Doubt[]} */
    this.next = [];
    /** @type {any} */
    this.page = null; // the labeler's last answer
    /** @type {{ status?: number, message: string } | null} */
    this.problem = null; // why there is no answer; without status, the labeler cannot be reached
    this.requests = 0;
    /** @type {Map<number | string, number>} */
    this.done = new Map(); // key of a doubt → the last request that may still contain it although it is judged
    this.closed = false;
  }

  close() {
    this.closed = true;
    clearTimeout(this.waiting);
    this.asking?.abort();
  }

  /** The current one was judged: show the next one. */
  advance() {
    if (this.current) this.done.set(this.verdicts.key(this.current), Infinity);
    this.current = null;
    this.fill();
  }

  /** These verdicts are on disk: requests sent from now on name their images only for a new reason. @param {any[]} judged */
  confirmed(judged) {
    for (const each of judged) this.done.set(this.verdicts.key(each), this.requests);
    this.askSoon();
  }

  /** Show a doubt again; the one on screen comes next. @param {Doubt} doubt */
  putFirst(doubt) {
    const { key } = this.verdicts;
    this.done.delete(key(doubt));
    this.next = this.held().filter((each) => key(each) !== key(doubt));
    this.current = doubt;
    this.changed();
  }

  askSoon(wait = ASK_SOON_MS) {
    clearTimeout(this.waiting);
    if (!this.closed) this.waiting = setTimeout(() => this.ask(), wait);
  }

  async ask() {
    this.asking?.abort();
    const asking = (this.asking = new AbortController());
    const request = ++this.requests;
    try {
      const page = await ask(`/api/review?limit=${2 * AHEAD}`, { signal: asking.signal });
      if (this.closed) return;
      this.problem = null;
      this.take(page, request);
    } catch (error) {
      if (this.closed || isAbort(error)) return; // a newer request is under way
      const { message } = /** @type {Error} */ (error);
      this.problem = error instanceof Refused ? { status: error.status, message } : { message };
    }
    this.fill();
    if (!this.current || this.page?.renewing) this.askSoon(ASK_AGAIN_MS);
  }

  /** The one on screen and those behind it. @param {number} [behind] how many */
  held(behind = this.next.length) {
    return [...(this.current ? [this.current] : []), ...this.next.slice(0, behind)];
  }

  /** @param {any} page the labeler's answer @param {number} request its number */
  take(page, request) {
    this.page = page;
    const held = this.held(LEFT_IN_PLACE);
    const { key } = this.verdicts;
    const known = new Map(this.held().map((each) => [each.image_id, each]));
    const wanted = page.items.filter(
      (/** @type {Doubt} */ item) =>
        !((this.done.get(key(item)) ?? 0) >= request) && !held.some((each) => key(each) === key(item)),
    );
    const behind = wanted
      .slice(0, AHEAD)
      .map((/** @type {Doubt} */ item) => this.decoded(item, known.get(item.image_id)?.image, page.as_of));
    this.next = [...held.filter((each) => each !== this.current), ...behind];
  }

  /** The doubt with its image, which starts loading; `broken` if it cannot be shown. @param {any} item @param {any} image @param {number} asOf */
  decoded(item, image, asOf) {
    /** @type {Doubt} */
    const doubt = { ...this.verdicts.read(item), item, as_of: asOf, image: image ?? new Image() };
    for (const { url } of item.evidence) new Image().src = url;
    const wanted = () => doubt === this.current || this.next.includes(doubt);
    if (!image?.naturalWidth)
      loadPicture(doubt.image, item.url, wanted).then((shown) => {
        doubt.broken = shown === false;
        if (doubt.broken && doubt === this.current) this.changed();
      });
    return doubt;
  }

  fill() {
    this.current ??= this.next.shift() ?? null;
    if (!this.current && !this.problem) this.askSoon();
    this.changed();
  }
}
