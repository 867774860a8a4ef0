// The grid where an image may have several classes: it asks about one class at a time, and the selected images get a yes or a
// no for it. Answers for other classes stay.

import { find, setText } from "../../lib/dom.js";
import { count } from "../../lib/text.js";
import { classesInWords } from "./words.js";

/** @typedef {import("../../gallery/tiles.js").Tile} Tile */
/** @typedef {import("../task.js").Mark} Mark */
/** @typedef {import("../task.js").Marking} Marking */

/** @implements {Marking} */
export class MarkMany {
  /** @type {Record<string, string>} */
  letters = { X: "no" };
  buttons = "Ask about ";
  /** @type {import("../../types.js").ClassEntry[]} */
  classes = [];

  /** @param {Element} root @param {() => import("../../gallery/filters.js").Query} query what the grid shows */
  constructor(root, query) {
    this.query = query;
    this.asked = find(root, ".asked");
    /** @type {number | null} */
    this.active = null; // the class that is asked about
    /** @type {string | null} */
    this.viewed = null; // the class whose images are shown
  }

  /** @param {number} id */
  press(id) {
    this.active = id;
    return null;
  }

  accept() {
    return this.mark(true);
  }

  decline() {
    return this.mark(false);
  }

  /** @param {boolean} yes @returns {Mark | { refusal: string }} */
  mark(yes) {
    const entry = this.entry;
    if (!entry) return { refusal: "Choose a class first: press its key or its button." };
    const answer = { yes: yes ? [entry.id] : [], no: yes ? [] : [entry.id], merge: true };
    return {
      action: "label",
      of: () => ({ label: null, answer }),
      did: `marked as ${yes ? "" : "not "}${entry.name}`,
      leaves: this.leavesView(entry.id, yes),
    };
  }

  /** @param {number} id @param {boolean} yes */
  leavesView(id, yes) {
    if (this.query().get("label") !== String(id)) return false;
    return (this.query().get("says") ?? "yes") !== (yes ? "yes" : "no");
  }

  /** @param {number} chosen */
  draw(chosen) {
    const viewed = this.query().get("label");
    if (viewed && viewed !== this.viewed) this.active = Number(viewed); // a view of a class asks about this class
    this.viewed = viewed;
    const { entry } = this;
    const images = chosen ? count(chosen, "image") : "No image chosen";
    setText(this.asked, entry ? `${images}: ${entry.name}?` : "Choose a class to ask about");
    return { choose: true, answer: chosen > 0 && Boolean(entry) };
  }

  /** @param {Tile} tile */
  words(tile) {
    const { entry } = this;
    const { answer } = tile;
    if (tile.status !== "labeled" || !answer || "boxes" in answer) return null;
    const said = `✓ ${classesInWords(answer, this.classes)}`;
    if (!entry || answer.yes.includes(entry.id)) return said;
    return answer.no.includes(entry.id) ? said : `${said} · ${entry.name}?`;
  }

  get entry() {
    return this.classes.find(({ id }) => id === this.active);
  }
}
