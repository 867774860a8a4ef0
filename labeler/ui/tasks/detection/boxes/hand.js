// What a pointer does with boxes: draw, select, move and resize. Points are in pixels of the stage. A press without movement is
// a click. Knows nothing of the page.

import { inOrder } from "./edits.js";
import { edgesAt, gripAt, holds, LEAST, moved, snapped, spanned, stretched, under, within } from "./geometry.js";

/** @typedef {import("./geometry.js").Point} Point */
/** @typedef {import("./geometry.js").Rect} Rect */
/** @typedef {import("./geometry.js").Edges} Edges */
/** @typedef {import("./edits.js").Box} Box */
/** @typedef {import("./edits.js").Edits} Edits */
/** @typedef {import("./mapping.js").Mapping} Mapping */
/**
 * The current action.
 * @typedef {{ does: "draw", from: Point, to: Point, corner: boolean }
 *   | { does: "move", box: Box, from: Point, rect: Rect }
 *   | { does: "stretch", box: Box, edges: Edges, from: Point, off: Point, rect: Rect }} Deed `corner`: the first corner was
 *   clicked, and the second is still to come
 */

const CLICK = 3; // maximum pixels that a click may move
const REACH = { mouse: 5, touch: 16 }; // margin in pixels around an edge or a tiny box
const SNAP = 4; // margin in pixels along the image's edge

export class Hand {
  /** @param {{ edits: Edits, mapping: Mapping, label: number | null }} work the boxes, where they are on screen, and the class of the next one */
  constructor(work) {
    this.work = work;
    /** @type {Deed | null} */
    this.deed = null;
    this.pressed = false;
    this.dragging = false;
    this.always = false; // whether the press draws even on top of a box
    this.at = { x: 0, y: 0 }; // where the press began, on the stage
    this.touch = false;
    /** @type {number[]} */
    this.stack = []; // keys of the boxes under the last click, the smallest first
  }

  /** @param {Point} at on the stage @returns {Point} in the image */
  place(at) {
    const { edits, mapping } = this.work;
    return snapped(mapping.toImage(at), edits.size, mapping.reach(SNAP));
  }

  get reach() {
    return this.work.mapping.reach(this.touch ? REACH.touch : REACH.mouse);
  }

  /** The edges of the selected box that a press here grabs; a new box is only grabbed at its handles. @param {Point} at @returns {Edges} */
  hold(at) {
    const { edits, mapping } = this.work;
    const { box, fresh } = edits;
    const point = mapping.toImage(at);
    if (!box) return "";
    return fresh ? gripAt(box, point, this.reach) : edgesAt(box, point, this.reach);
  }

  /** Whether a press here grabs the selected box. @param {Point} at @param {boolean} touch */
  takes(at, touch) {
    this.touch = touch;
    return this.hold(at) !== "" || this.inside(at);
  }

  /** Whether a press here moves the selected box. @param {Point} at */
  inside(at) {
    const { edits, mapping } = this.work;
    return edits.box !== null && !edits.fresh && holds(edits.box, mapping.toImage(at), { x: 0, y: 0 });
  }

  /** @param {Point} at @param {{ shift?: boolean, touch?: boolean }} [how] `shift`: draw even on top of a box */
  press(at, { shift = false, touch = false } = {}) {
    Object.assign(this, { at, touch, always: shift, pressed: true, dragging: false });
    if (this.deed?.does === "draw") return void (this.deed.to = this.place(at)); // the second corner
    const { edits, mapping } = this.work;
    const { box } = edits;
    const from = mapping.toImage(at);
    const edges = shift ? "" : this.hold(at);
    if (box && edges) {
      const corner = { x: edges.includes("e") ? box.x + box.w : box.x, y: edges.includes("s") ? box.y + box.h : box.y };
      this.deed = { does: "stretch", box, edges, from, off: { x: corner.x - from.x, y: corner.y - from.y }, rect: box };
    } else if (box && !shift && this.inside(at)) this.deed = { does: "move", box, from, rect: box };
    else this.deed = { does: "draw", from: this.place(at), to: this.place(at), corner: false };
  }

  /** @param {Point} at */
  move(at) {
    const { deed } = this;
    if (!deed) return;
    if (this.pressed) this.dragging ||= Math.hypot(at.x - this.at.x, at.y - this.at.y) > CLICK;
    if (deed.does === "draw") {
      if (this.dragging || deed.corner) deed.to = this.place(at);
    } else if (this.dragging) this.drag(deed, at);
  }

  /** @param {Exclude<Deed, { does: "draw" }>} deed @param {Point} at */
  drag(deed, at) {
    const { edits, mapping } = this.work;
    const point = mapping.toImage(at);
    if (deed.does === "move") {
      const { x, y, w, h } = deed.box;
      const reach = mapping.reach(SNAP);
      const top = snapped({ x: x + point.x - deed.from.x, y: y + point.y - deed.from.y }, edits.size, reach);
      const end = snapped({ x: top.x + w, y: top.y + h }, edits.size, reach);
      deed.rect = moved({ x: end.x - w, y: end.y - h, w, h }, 0, 0, edits.size);
    } else {
      const to = { x: point.x + deed.off.x, y: point.y + deed.off.y };
      deed.rect = stretched(deed.box, deed.edges, snapped(to, edits.size, mapping.reach(SNAP)), edits.size);
    }
  }

  /** The pointer is released. @param {Point} at @returns {string | null} why there is no box, or null */
  lift(at) {
    this.move(at);
    const { deed, dragging } = this;
    this.pressed = this.dragging = false;
    if (!deed) return null;
    if (deed.does === "draw") {
      if (dragging || deed.corner) return this.finish(deed);
    } else if (dragging) {
      this.deed = null;
      this.work.edits.change(pick(deed.rect));
      return null;
    }
    this.deed = null;
    return this.click(at);
  }

  /** @param {Extract<Deed, { does: "draw" }>} deed @returns {string | null} */
  finish({ from, to }) {
    this.deed = null;
    const { edits, label } = this.work;
    const rect = spanned(from, to);
    if (label === null) return "Choose a class first.";
    if (rect.w < LEAST || rect.h < LEAST) return "That box is smaller than a pixel. Zoom in to draw it.";
    edits.add(label, within(rect, edits.size));
    return null;
  }

  /** A press without movement: it selects a box, or sets the first corner of a new one. @param {Point} at @returns {string | null} */
  click(at) {
    const { edits, mapping } = this.work;
    const hit = this.always ? [] : under(edits.boxes, mapping.toImage(at), this.reach);
    this.stack = hit.map(({ key }) => key);
    if (hit.length) {
      const now = edits.fresh ? -1 : this.stack.indexOf(edits.picked ?? -1);
      edits.pick(this.stack[(now + 1) % this.stack.length]);
    } else if (edits.picked !== null && !this.always) edits.pick(null);
    else if (this.inImage(at)) this.deed = { does: "draw", from: this.place(at), to: this.place(at), corner: true };
    return null;
  }

  /** @param {Point} at */
  inImage(at) {
    const { edits, mapping } = this.work;
    return holds({ x: 0, y: 0, w: edits.size.width, h: edits.size.height }, mapping.toImage(at), mapping.reach(SNAP));
  }

  /** The box that a click here would select. @param {Point} at @returns {Box | null} */
  pointed(at) {
    const { edits, mapping } = this.work;
    return under(edits.boxes, mapping.toImage(at), this.reach)[0] ?? null;
  }

  /** Cancel the current action. Returns false if there is none. */
  drop() {
    const busy = this.deed !== null;
    this.deed = null;
    this.pressed = this.dragging = false;
    return busy;
  }

  /** Select the next box: among several under the last click, else in review order. @param {number} by @returns {boolean} false beyond the last one */
  walk(by) {
    const { edits } = this.work;
    const stack = this.stack.filter((key) => edits.boxes.some((box) => box.key === key));
    const at = stack.indexOf(edits.picked ?? -1);
    if (stack.length > 1 && at >= 0) {
      edits.pick(stack[(at + by + stack.length) % stack.length]);
      return true;
    }
    const next = edits.after(by);
    edits.pick(next?.key ?? null);
    return next !== null;
  }

  /** The position of the selected box in review order, from 1. */
  get number() {
    const { boxes, picked } = this.work.edits;
    return inOrder(boxes).findIndex(({ key }) => key === picked) + 1;
  }
}

/** @param {Rect} rect @returns {Rect} */
function pick({ x, y, w, h }) {
  return { x, y, w, h };
}
