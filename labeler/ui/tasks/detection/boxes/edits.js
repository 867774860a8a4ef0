// The boxes on one image while a person edits them: the boxes, the selection, and the steps for undo and redo. Lists are
// replaced, never changed, so a step is simply a list. Knows nothing of the page.

import { grown, moved, within } from "./geometry.js";

/** @typedef {import("./geometry.js").Rect} Rect */
/** @typedef {import("./geometry.js").Size} Size */
/** @typedef {"drawn" | "accepted" | "corrected" | "imported"} Origin where a box comes from */
/** @typedef {Rect & { label: number, origin: Origin }} AnswerBox a box as it is posted */
/** @typedef {Readonly<AnswerBox & { key: number, confidence: number | null }>} Box `confidence`: of the model that suggested it */
/** @typedef {Rect & { label: number, confidence: number }} SuggestedBox */

export const MOST = 1000; // maximum boxes per image; the labeler refuses more
const STEPS_KEPT = 500;
const COPY_SHIFT = 0.02; // offset of a copy, as a share of the image's longer side

export class Edits {
  /** @param {Size} size of the upright original @param {Omit<Box, "key">[]} [boxes] */
  constructor(size, boxes = []) {
    this.size = size;
    this.nextKey = 0;
    /** @type {readonly Box[]} */
    this.boxes = boxes.map((box) => ({ ...box, key: this.nextKey++ }));
    this.begun = this.boxes;
    /** @type {(readonly Box[])[]} */
    this.past = [];
    /** @type {(readonly Box[])[]} */
    this.future = [];
    this.run = ""; // steps with the same name are undone together, such as those of a key that is held down
    /** @type {number | null} */
    this.picked = null; // key of the selected box
    this.fresh = false; // whether the selected box was just drawn
  }

  /** Start from the model's boxes. Each counts as accepted until somebody changes it. @param {Size} size @param {readonly SuggestedBox[]} suggested */
  static suggested(size, suggested) {
    const usable = suggested.slice(0, MOST).map(({ label, confidence, ...rect }) => {
      return { ...within(rect, size), label, confidence, origin: /** @type {Origin} */ ("accepted") };
    });
    return new Edits(size, usable);
  }

  /** Start from an answer. @param {Size} size @param {readonly AnswerBox[]} boxes */
  static answered(size, boxes) {
    return new Edits(
      size,
      boxes.map(({ label, x, y, w, h, origin }) => ({ label, x, y, w, h, origin, confidence: null })),
    );
  }

  /** Start from a draft made before a reload. It counts as changed, but has no steps to undo. @param {Size} size @param {Omit<Box, "key">[]} boxes */
  static drafted(size, boxes) {
    const edits = new Edits(size, boxes);
    edits.begun = [];
    return edits;
  }

  /** The boxes as an answer. @returns {AnswerBox[]} */
  get answer() {
    return this.boxes.map(({ label, x, y, w, h, origin }) => ({ label, x, y, w, h, origin }));
  }

  /** The selected box. @returns {Box | null} */
  get box() {
    return this.boxes.find(({ key }) => key === this.picked) ?? null;
  }

  get changed() {
    return this.boxes !== this.begun;
  }

  /** Whether there is a step to undo. */
  get undoable() {
    return this.past.length > 0;
  }

  /** @param {readonly Box[]} boxes @param {string} [run] */
  step(boxes, run = "") {
    if (!run || run !== this.run) this.past = [...this.past, this.boxes].slice(-STEPS_KEPT);
    this.run = run;
    this.future = [];
    this.boxes = boxes;
  }

  /** @param {number | null} key @param {{ fresh?: boolean }} [options] */
  pick(key, { fresh = false } = {}) {
    this.picked = key;
    this.fresh = key !== null && fresh;
    this.run = "";
  }

  /** Add a box and select it. @param {number} label @param {Rect} rect */
  add(label, rect, { fresh = true } = {}) {
    const key = this.nextKey++;
    this.step([...this.boxes, { key, label, ...within(rect, this.size), origin: "drawn", confidence: null }]);
    this.pick(key, { fresh });
  }

  /** Change the place or class of the selected box. @param {Partial<Rect & { label: number }>} more @param {string} [run] */
  change(more, run) {
    const { box } = this;
    if (!box || isAs(box, more)) return;
    const changed = {
      ...box,
      ...more,
      origin: box.origin === "drawn" ? box.origin : /** @type {Origin} */ ("corrected"),
    };
    this.step(
      this.boxes.map((each) => (each === box ? changed : each)),
      run && `${run} ${box.key}`,
    );
  }

  /** @param {number} right @param {number} down */
  move(right, down) {
    if (this.box) this.change(moved(this.box, right, down, this.size), "move");
  }

  /** @param {number} wider @param {number} taller */
  grow(wider, taller) {
    if (this.box) this.change(grown(this.box, wider, taller, this.size), "grow");
  }

  /** Remove the selected box. If it was a suggestion, select the next box in review order. */
  remove() {
    const { box } = this;
    if (!box) return;
    const next = isOpen(box) ? this.after(1) : null;
    this.step(this.boxes.filter((each) => each !== box));
    this.pick(next && next !== box && isOpen(next) ? next.key : null);
  }

  clear() {
    if (this.boxes.length) this.step([]);
    this.pick(null);
  }

  /** Copy the selected box beside it, and select the copy. */
  duplicate() {
    const { box } = this;
    if (!box) return;
    const shift = Math.max(1, Math.round(COPY_SHIFT * Math.max(this.size.width, this.size.height)));
    const way = (/** @type {number} */ end, /** @type {number} */ most) => (end + shift <= most ? shift : -shift);
    const { width, height } = this.size;
    this.add(box.label, moved(box, way(box.x + box.w, width), way(box.y + box.h, height), this.size), { fresh: false });
  }

  /** @returns {boolean} whether there was a step to undo */
  undo() {
    return this.travel(this.past, this.future);
  }

  redo() {
    return this.travel(this.future, this.past);
  }

  /** @param {(readonly Box[])[]} from @param {(readonly Box[])[]} into */
  travel(from, into) {
    const boxes = from.pop();
    if (!boxes) return false;
    into.push(this.boxes);
    this.boxes = boxes;
    this.run = "";
    if (!this.box) this.pick(null);
    return true;
  }

  /** A class was merged into another. @param {number} from @param {number} into */
  relabel(from, into) {
    const renamed = (/** @type {readonly Box[]} */ boxes) =>
      boxes.some(({ label }) => label === from)
        ? boxes.map((box) => (box.label === from ? { ...box, label: into } : box))
        : boxes;
    const begun = this.begun === this.boxes;
    this.boxes = renamed(this.boxes);
    this.begun = begun ? this.boxes : renamed(this.begun);
    this.past = this.past.map(renamed);
    this.future = this.future.map(renamed);
  }

  /** The box that is `by` steps after the selected one in review order; null beyond the ends. @param {number} by @returns {Box | null} */
  after(by) {
    const order = inOrder(this.boxes);
    const at = order.findIndex(({ key }) => key === this.picked);
    if (at < 0) return (by > 0 ? order[0] : order.at(-1)) ?? null;
    return order[at + by] ?? null;
  }
}

/** Whether it is an unchanged suggestion. @param {Pick<Box, "origin" | "confidence">} box */
export function isOpen({ origin, confidence }) {
  return origin === "accepted" && confidence !== null;
}

/**
 * Review order: the model's boxes, least confident first; then the others in reading order. A corrected box keeps its position,
 * so that Tab continues from there.
 * @template {Pick<Box, "x" | "y" | "confidence">} Each
 * @param {readonly Each[]} boxes
 * @returns {Each[]}
 */
export function inOrder(boxes) {
  const rank = (/** @type {Pick<Box, "confidence">} */ { confidence }) => confidence ?? 2; // after all confidences
  return [...boxes].sort((a, b) => rank(a) - rank(b) || a.y - b.y || a.x - b.x);
}

/** @param {Record<string, any>} box @param {Record<string, any>} more */
function isAs(box, more) {
  return Object.entries(more).every(([name, value]) => box[name] === value);
}

/** Whether two answers have the same boxes. @param {readonly AnswerBox[]} a @param {readonly AnswerBox[]} b */
export function isSame(a, b) {
  const text = (/** @type {readonly AnswerBox[]} */ boxes) =>
    boxes
      .map(({ label, x, y, w, h }) => [label, x, y, w, h].join())
      .sort()
      .join(";");
  return a.length === b.length && text(a) === text(b);
}
