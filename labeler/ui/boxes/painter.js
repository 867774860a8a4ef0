// Draws boxes on two canvases over the picture: one for the boxes at rest, one for what moves with the pointer. A thousand boxes
// are then a few strokes at each change, and a movement of the pointer draws one box. Lines have a dark rim, so that they are seen
// on any picture; suggestions that nobody has touched are dashed.

import { isOpen } from "./edits.js";
import { grips } from "./geometry.js";

/** @typedef {import("./geometry.js").Rect} Rect */
/** @typedef {import("./geometry.js").Point} Point */
/** @typedef {import("./edits.js").Box} Box */
/** @typedef {{ name: string, colour: string }} Look of a class */

const RIM = "rgb(0 0 0 / 65%)";
const DASH = [6, 4];
const FONT_PIXELS = 12;
const ALL_NAMED = 40; // up to so many boxes in view, each has its name; with more, those that are wide enough
const GRIP = 7; // pixels

export class Painter {
  /** @param {HTMLCanvasElement} rest @param {HTMLCanvasElement} top */
  constructor(rest, top) {
    this.rest = rest;
    this.top = top;
    this.width = 0;
    this.height = 0;
    /** @type {Map<string, number>} */
    this.widths = new Map(); // of texts, in pixels
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
   * The boxes that nobody holds.
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
      for (const label of new Set(some.map(({ box }) => box.label))) {
        const rects = some.filter(({ box }) => box.label === label).map(({ rect }) => rect);
        this.stroke(pen, rects, look(label).colour, 1.75, dashed);
      }
    }
    for (const { box, rect } of seen) this.name(pen, box, rect, look(box.label), seen.length <= ALL_NAMED);
  }

  /** @param {CanvasRenderingContext2D} pen @param {Rect[]} rects @param {string} colour @param {number} width @param {boolean} dashed */
  stroke(pen, rects, colour, width, dashed) {
    if (!rects.length) return;
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    pen.setLineDash(dashed ? DASH : []);
    for (const { x, y, w, h } of rects) pen.strokeRect(x, y, w, h); // as one path, 900 take ten times as long
    pen.setLineDash([]);
  }

  /**
   * The class above the box, or inside where there is no room above.
   * @param {CanvasRenderingContext2D} pen
   * @param {Pick<Box, "origin" | "confidence">} box
   * @param {Rect} rect on the stage
   * @param {Look} look
   * @param {boolean} always also where it is wider than the box
   */
  name(pen, box, rect, { name, colour }, always) {
    const text = isOpen(box) ? `${name} ${Math.round(100 * Number(box.confidence))}%` : name;
    const width = this.measure(pen, text) + 8;
    if (!always && (width > rect.w || rect.h < FONT_PIXELS)) return;
    const height = FONT_PIXELS + 5;
    const top = rect.y >= height ? rect.y - height : Math.max(rect.y, 0);
    const left = Math.min(Math.max(rect.x - 1, 0), Math.max(0, this.width - width));
    pen.fillStyle = colour;
    pen.fillRect(left, top, width, height);
    pen.fillStyle = inkOn(colour);
    pen.textBaseline = "middle";
    pen.fillText(text, left + 4, top + height / 2 + 0.5);
  }

  /** @param {CanvasRenderingContext2D} pen @param {string} text */
  measure(pen, text) {
    const known = this.widths.get(text) ?? pen.measureText(text).width;
    if (this.widths.size > 2000) this.widths.clear();
    this.widths.set(text, known);
    return known;
  }

  /**
   * What moves: the picked box with its grips, the one under the pointer, the one being drawn, and the crosshair.
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
      this.name(pen, pointed.box, pointed.rect, pointed.look, true);
    }
    if (picked) {
      this.stroke(pen, [picked.rect], RIM, 5, false);
      this.stroke(pen, [picked.rect], picked.look.colour, 2.5, isOpen(picked));
      this.name(pen, picked, picked.rect, picked.look, true);
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

/** Black or white: what is read better on this colour (#rrggbb). @param {string} colour */
export function inkOn(colour) {
  const part = (/** @type {number} */ at) => {
    const value = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  };
  const light = 0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5); // relative luminance, WCAG 2.2
  return light > 0.179 ? "#000000" : "#ffffff";
}
