// The grid where answers are boxes: boxes cannot be drawn here, so only “nothing here” can be answered for many images at once.
// Drawn boxes are shown over the pictures.

import { find, setText } from "../../lib/dom.js";
import { number } from "../../lib/text.js";
import { boxesInWords } from "./boxes/words.js";
import { drawOnTile } from "./tile.js";

/** @typedef {import("../../gallery/tiles.js").Tile} Tile */
/** @typedef {import("../task.js").Mark} Mark */
/** @typedef {import("../task.js").Marking} Marking */

const ELSEWHERE = "Boxes are drawn one image at a time: show an image larger, and open it on the page Label.";

/** @implements {Marking} */
export class MarkBoxes {
  /** @type {Record<string, string>} */
  letters = { X: "no" };
  buttons = null;
  elsewhere = ELSEWHERE;
  active = undefined;
  /** @type {import("../../types.js").ClassEntry[]} */
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
    const nothing = { label: null, answer: { boxes: [] } };
    return { action: "label", of: () => nothing, did: "marked as “nothing here”", leaves: false };
  }

  /** @param {number} chosen */
  draw(chosen) {
    setText(this.empty, chosen ? `Nothing here: ${number(chosen)}` : "Nothing here");
    return { choose: false, answer: chosen > 0 };
  }

  /** @param {any} picture @param {Tile} tile */
  drawOver(picture, tile) {
    drawOnTile(picture, tile, this.classes);
  }

  /** @param {Tile} tile */
  words(tile) {
    const boxes = tile.answer && "boxes" in tile.answer ? tile.answer.boxes : null;
    if (tile.status !== "labeled" || !boxes) return null;
    return `✓ ${boxesInWords(boxes, this.classes)}`;
  }
}
