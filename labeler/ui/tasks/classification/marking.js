// The grid where an image has one class: pressing a class labels the selected images with it, and Enter accepts their
// predictions.

import { number } from "../../lib/text.js";

/** @typedef {import("../../gallery/tiles.js").Tile} Tile */
/** @typedef {import("../task.js").Mark} Mark */
/** @typedef {import("../task.js").Marking} Marking */

/** @implements {Marking} */
export class MarkOne {
  /** @type {Record<string, string>} */
  letters = {};
  buttons = "Label as ";
  active = undefined;
  /** @type {import("../../types.js").ClassEntry[]} */
  classes = [];

  /** @param {Element} root @param {() => import("../../gallery/filters.js").Query} query what the grid shows */
  constructor(root, query) {
    this.query = query;
    this.accepting = /** @type {HTMLElement} */ (root.querySelector(".accept span"));
  }

  /** @param {number} id @returns {Mark} */
  press(id) {
    const shown = this.query().get("label");
    return {
      action: "label",
      of: () => ({ label: id }),
      did: `labeled as ${this.entry(String(id))?.name}`,
      leaves: shown !== null && shown !== String(id),
    };
  }

  /** In a view of one predicted class, accept that class, even if a newer model predicts another. @returns {Mark} */
  accept() {
    const viewed = this.query().get("predicted");
    if (viewed) return this.press(Number(viewed));
    const of = (/** @type {Tile} */ { predicted }) => (predicted === null ? undefined : { label: predicted });
    return { action: "label", of, did: "labeled as predicted", leaves: false };
  }

  decline() {
    return { refusal: "There is no class to say no to." };
  }

  /** @param {number} chosen */
  draw(chosen) {
    const viewed = this.entry(this.query().get("predicted"));
    const many = chosen ? `${number(chosen)} ` : "";
    const plain = `Accept ${many}prediction${chosen === 1 ? "" : "s"}`;
    const words = viewed ? `Accept ${many}as ${viewed.name}` : plain;
    if (this.accepting.textContent !== words) this.accepting.textContent = words;
    return { choose: chosen > 0, answer: chosen > 0 };
  }

  /** @param {string | null} id */
  entry(id) {
    return this.classes.find((each) => String(each.id) === id);
  }
}
