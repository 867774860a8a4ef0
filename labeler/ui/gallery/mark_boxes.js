// The grid where answers are boxes: boxes cannot be drawn here, so only “nothing here” can be answered for many images at once.
// Drawn boxes are shown over the pictures.

import { boxesInWords } from "../boxes/words.js";
import { find, setText } from "../lib/dom.js";
import { number } from "../lib/text.js";
import { wordsOf } from "./words.js";

/** @typedef {import("./tiles.js").Tile} Tile */
/** @typedef {import("./marking.js").Mark} Mark */
/** @typedef {import("./marking.js").Marking} Marking */

const ELSEWHERE = "Boxes are drawn one image at a time: show an image larger, and open it on the page Label.";

/** @implements {Marking} */
export class MarkBoxes {
  /** @type {Record<string, string>} */
  letters = { X: "no" };
  buttons = null;
  elsewhere = ELSEWHERE;
  active = undefined;
  /** @type {import("../types.js").ClassEntry[]} */
  classes = [];

  /** @param {Element} root */
  constructor(root) {
    this.empty = find(root, ".empty span");
  }

  press() {
    return { refusal: ELSEWHERE };
  }

  /** Enter confirms everywhere else, so it must not mark many images as empty by habit. */
  accept() {
    return { refusal: `${ELSEWHERE} To say that the chosen images show no object, press X.` };
  }

  /** @returns {Mark} */
  decline() {
    const given = { label: null, answer: { boxes: [] } };
    return { action: "label", of: () => given, did: "marked as “nothing here”", leaves: false };
  }

  /** @param {number} chosen */
  draw(chosen) {
    setText(this.empty, chosen ? `Nothing here: ${number(chosen)}` : "Nothing here");
    return { choose: false, answer: chosen > 0 };
  }

  /** @param {Tile} tile */
  words(tile) {
    const boxes = tile.answer && "boxes" in tile.answer ? tile.answer.boxes : null;
    if (tile.status !== "labeled" || !boxes) return wordsOf(tile, this.classes);
    return `✓ ${boxesInWords(boxes, this.classes)}`;
  }
}

/**
 * The boxes as one SVG path per class, because a tile may have a thousand boxes: path data by class id.
 * @param {readonly { label: number, x: number, y: number, w: number, h: number }[]} boxes
 * @returns {Map<number, string>}
 */
export function pathsOf(boxes) {
  /** @type {Map<number, string>} */
  const paths = new Map();
  for (const { label, x, y, w, h } of boxes) paths.set(label, `${paths.get(label) ?? ""}M${x} ${y}h${w}v${h}h${-w}z`);
  return paths;
}
