// Draws boxes on two canvases over the picture: one for boxes at rest, one for what moves with the pointer. So a thousand boxes
// take a few strokes per change, and a pointer movement draws only one box. Lines have a dark rim, so that they are visible on
// any picture. Suggestions that nobody has changed are dashed.

import { isOpen } from "./edits.js";
import { grips } from "./geometry.js";

/** @typedef {import("./geometry.js").Rect} Rect */
/** @typedef {import("./geometry.js").Point} Point */
/** @typedef {import("./edits.js").Box} Box */
/** @typedef {{ name: string, colour: string }} Look of a class */

const RIM = "rgb(0 0 0 / 65%)";
const DASH = [6, 4];
const DASH_SHIFT = 5;
const FONT_PIXELS = 12;
const ALL_NAMED = 40; // with more boxes in view, only boxes that are wide enough show their name
const GRIP = 7; // pixels

export class Painter {
  /** @param {HTMLCanvasElement} rest @param {HTMLCanvasElement} top */
  constructor(rest, top) {
    this.rest = rest;
    this.top = top;
    this.width = 0;
    this.height = 0;
    /** @type {Map<string, number>} */
    this.widths = new Map(); // width of each text, in pixels
  }

  /** @param {number} width @param {number} height of the stage */
  resize(width, height) {
    const ratio = globalThis.devicePixelRatio || 1;
    Object.assign(this, { width, height });
    for (const canvas of [this.rest, this.top]) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      this.pen(canvas).setTransform(ratio, 0, 0, ratio, 0, 0);
    }
  }

  /** @param {HTMLCanvasElement} canvas */
  pen(canvas) {
    return /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  }

  /** @param {HTMLCanvasElement} canvas */
  cleared(canvas) {
    const pen = this.pen(canvas);
    pen.clearRect(0, 0, this.width, this.height);
    pen.font = `600 ${FONT_PIXELS}px ${getComputedStyle(canvas).fontFamily}`;
    return pen;
  }

  /**
   * Draw the boxes at rest.
   * @param {readonly Box[]} boxes
   * @param {import("./mapping.js").Mapping} mapping
   * @param {(label: number) => Look} look
   */
  drawRest(boxes, mapping, look) {
    const pen = this.cleared(this.rest);
    const seen = boxes
      .map((box) => ({ box, rect: mapping.rectToStage(box) }))
      .filter(({ rect }) => rect.x < this.width && rect.y < this.height && rect.x + rect.w > 0 && rect.y + rect.h > 0);
    for (const dashed of [false, true]) {
      const some = seen.filter(({ box }) => isOpen(box) === dashed);
      this.stroke(
        pen,
        some.map(({ rect }) => rect),
        RIM,
        3.5,
        false,
      );
      for (const [number, label] of [...new Set(some.map(({ box }) => box.label))].entries()) {
        const rects = some.filter(({ box }) => box.label === label).map(({ rect }) => rect);
        pen.lineDashOffset = number % 2 ? DASH_SHIFT : 0; // so that both of two suggestions in the same place are visible
        this.stroke(pen, rects, look(label).colour, 1.75, dashed);
      }
      pen.lineDashOffset = 0;
    }
    /** @type {Rect[]} */
    const taken = [];
    const all = seen.length <= ALL_NAMED;
    for (const { box, rect } of seen)
      this.name(pen, box, rect, look(box.label), { always: all, taken: all ? taken : [] });
  }

  /** @param {CanvasRenderingContext2D} pen @param {Rect[]} rects @param {string} colour @param {number} width @param {boolean} dashed */
  stroke(pen, rects, colour, width, dashed) {
    if (!rects.length) return;
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    pen.setLineDash(dashed ? DASH : []);
    for (const { x, y, w, h } of rects) pen.strokeRect(x, y, w, h); // not as one path, which takes ten times as long for 900 boxes
    pen.setLineDash([]);
  }

  /**
   * Draw the class name at a box, without covering other names.
   * @param {CanvasRenderingContext2D} pen
   * @param {Pick<Box, "origin" | "confidence">} box
   * @param {Rect} rect on the stage
   * @param {Look} look
   * @param {{ always?: boolean, taken?: Rect[] }} [how] `always`: even if it is wider than the box; `taken`: where other names are
   */
  name(pen, box, rect, { name, colour }, { always = true, taken = [] } = {}) {
    const text = isOpen(box) ? `${name} ${Math.round(100 * Number(box.confidence))}%` : name;
    const width = this.measure(pen, text) + 8;
    if (!always && (width > rect.w || rect.h < FONT_PIXELS)) return;
    const height = FONT_PIXELS + 5;
    const place = placeOfName(rect, { w: width, h: height }, this, taken);
    taken.push(place);
    pen.fillStyle = colour;
    pen.fillRect(place.x, place.y, width, height);
    pen.fillStyle = inkOn(colour);
    pen.textBaseline = "middle";
    pen.fillText(text, place.x + 4, place.y + height / 2 + 0.5);
  }

  /** @param {CanvasRenderingContext2D} pen @param {string} text */
  measure(pen, text) {
    const known = this.widths.get(text) ?? pen.measureText(text).width;
    if (this.widths.size > 2000) this.widths.clear();
    this.widths.set(text, known);
    return known;
  }

  /**
   * Draw what moves: the selected box with its handles, the one under the pointer, the one being drawn, and the crosshair.
   * @param {object} now
   * @param {(Pick<Box, "origin" | "confidence"> & { rect: Rect, look: Look }) | null} now.picked on the stage
   * @param {{ rect: Rect, look: Look, box: Pick<Box, "origin" | "confidence"> } | null} now.pointed
   * @param {{ rect: Rect, look: Look } | null} now.drawn
   * @param {Point | null} now.cross
   * @param {Rect} now.image the image's place on the stage
   */
  drawTop({ picked, pointed, drawn, cross, image }) {
    const pen = this.cleared(this.top);
    if (pointed) {
      this.stroke(pen, [pointed.rect], RIM, 5, false);
      this.stroke(pen, [pointed.rect], pointed.look.colour, 3, isOpen(pointed.box));
      this.name(pen, pointed.box, pointed.rect, pointed.look);
    }
    if (picked) {
      this.stroke(pen, [picked.rect], RIM, 5, false);
      this.stroke(pen, [picked.rect], picked.look.colour, 2.5, isOpen(picked));
      this.name(pen, picked, picked.rect, picked.look);
      for (const { x, y } of grips(picked.rect)) this.grip(pen, x, y, picked.look.colour);
    }
    if (drawn) {
      this.stroke(pen, [drawn.rect], RIM, 3.5, false);
      this.stroke(pen, [drawn.rect], drawn.look.colour, 1.75, false);
    }
    if (cross) this.cross(pen, cross, image);
  }

  /** @param {CanvasRenderingContext2D} pen @param {number} x @param {number} y @param {string} colour */
  grip(pen, x, y, colour) {
    pen.fillStyle = "white";
    pen.strokeStyle = colour;
    pen.lineWidth = 1.5;
    pen.fillRect(x - GRIP / 2, y - GRIP / 2, GRIP, GRIP);
    pen.strokeRect(x - GRIP / 2, y - GRIP / 2, GRIP, GRIP);
  }

  /** @param {CanvasRenderingContext2D} pen @param {Point} at @param {Rect} image */
  cross(pen, { x, y }, image) {
    for (const [colour, width] of /** @type {[string, number][]} */ ([
      [RIM, 2],
      ["rgb(255 255 255 / 80%)", 1],
    ])) {
      pen.beginPath();
      pen.moveTo(image.x, y);
      pen.lineTo(image.x + image.w, y);
      pen.moveTo(x, image.y);
      pen.lineTo(x, image.y + image.h);
      pen.strokeStyle = colour;
      pen.lineWidth = width;
      pen.setLineDash(colour === RIM ? [] : [4, 4]);
      pen.stroke();
    }
    pen.setLineDash([]);
  }
}

/**
 * Find a place for a name that no other name covers: above its box, else inside or below, at either side or one line further.
 * @param {Rect} box
 * @param {{ w: number, h: number }} name
 * @param {{ width: number, height: number }} stage
 * @param {readonly Rect[]} taken
 * @returns {Rect}
 */
export function placeOfName(box, { w, h }, { width, height }, taken) {
  const [left, right] = [box.x - 1, box.x + box.w + 1 - w];
  const rows = [box.y - h, box.y + 1, box.y + box.h, box.y + box.h - h - 1];
  const places = [...rows, ...rows.flatMap((y) => [y - h, y + h])].flatMap((y) => [
    { x: left, y, w, h },
    { x: right, y, w, h },
  ]);
  const inside = places.filter((place) => place.y >= 0 && place.y + h <= height);
  const shown = (inside.length ? inside : places).map((place) => ({
    ...place,
    x: Math.min(Math.max(place.x, 0), Math.max(0, width - w)),
    y: Math.min(Math.max(place.y, 0), Math.max(0, height - h)),
  }));
  return shown.find((place) => !taken.some((other) => meet(place, other))) ?? shown[0];
}

/** @param {Rect} a @param {Rect} b */
function meet(a, b) {
  return a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
}

/** Black or white, whichever has more contrast with this colour (#rrggbb). @param {string} colour */
export function inkOn(colour) {
  const part = (/** @type {number} */ at) => {
    const value = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  };
  const light = 0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5); // relative luminance, WCAG 2.2
  return light > 0.179 ? "#000000" : "#ffffff";
}
