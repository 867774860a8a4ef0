// Remarks beside a label: a note on the image, which is sent with its answer, and the reason why an image gets no label.

import { element, find, focusNear } from "../lib/dom.js";
import { digitOf } from "../lib/input/keys.js";
import { singleKeysOn } from "../lib/storage.js";
import { tooLong } from "../lib/text.js";

const REASON = 500; // characters that the labeler keeps
const NOTE = 5_000;

export class Remarks {
  /**
   * @param {Element} root
   * @param {[string, string][]} reasons why an image gets no label, and whether it is then skipped, or flagged for someone
   *   to look at
   * @param {(action: string, at: number, reason: string) => void} act
   */
  constructor(root, reasons, act) {
    this.act = act;
    this.input = find(root, ".note");
    this.dialog = find(root, "dialog.because");
    const list = find(this.dialog, "ol");
    reasons.forEach(([action, reason], index) => {
      const [item, button] = [element("li"), element("button")];
      button.type = "button";
      button.append(element("kbd", String(index + 1)), ` ${reason} `, element("small", action));
      button.onclick = (event) => this.choose(action, reason, event.timeStamp);
      item.append(button);
      list.append(item);
    });
    this.dialog.onkeydown = (/** @type {KeyboardEvent} */ event) => this.key(event, list);
    const { words } = find(this.dialog, "form").elements;
    words.oninput = () => words.setCustomValidity(tooLong("A reason", words.value.trim(), REASON) ?? "");
    find(this.dialog, "form").onsubmit = (/** @type {SubmitEvent} */ event) => {
      event.preventDefault();
      const form = /** @type {any} */ (event.target);
      const words = form.elements.words.value.trim();
      if (words) this.choose("skip", words, event.timeStamp);
    };
    this.input.onkeydown = (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Escape") this.input.value = "";
      if (event.key === "Escape" || event.key === "Enter") this.close();
    };
  }

  /** The note on the current image, or undefined. @returns {string | undefined} */
  get note() {
    return this.input.value.trim() || undefined;
  }

  /** Why the note cannot be kept, or null. */
  get problem() {
    return tooLong("A note", this.note ?? "", NOTE);
  }

  /** Show another image's earlier note, if any. @param {string} [note] */
  show(note) {
    if (this.dialog.open) this.dialog.close();
    if (this.input.value !== (note ?? "")) this.input.value = note ?? "";
    this.input.hidden = !note;
  }

  write() {
    this.input.hidden = false;
    focusNear(this.input);
  }

  close() {
    this.input.hidden = !this.note;
    this.input.blur();
  }

  ask() {
    const form = find(this.dialog, "form");
    form.reset();
    form.elements.words.setCustomValidity("");
    this.dialog.showModal();
  }

  /** @param {string} action @param {string} reason @param {number} at */
  choose(action, reason, at) {
    this.dialog.close();
    this.act(action, at, reason);
  }

  /** @param {KeyboardEvent} event @param {HTMLElement} list */
  key(event, list) {
    event.stopPropagation(); // Streamlit has its own shortcuts
    const typing = /** @type {HTMLElement} */ (event.target).tagName === "INPUT";
    const button = !typing && singleKeysOn() && list.querySelectorAll("button")[Number(digitOf(event)) - 1];
    if (!button) return;
    event.preventDefault();
    button.click();
  }
}
