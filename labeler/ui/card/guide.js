// The project's guidelines beside the image, with the description of each class. This browser remembers whether they are
// open. The labeler renders the text; HTML in it stays text.

import { ask } from "../lib/api.js";
import { element, find, setText } from "../lib/dom.js";
import { store, stored } from "../lib/storage.js";

const GUIDE = "flywheel/guidelines"; // in this browser's storage: "open" or "closed"
const READ_MS = 10_000;

/** @typedef {{ text: string, html: string, mark: string }} Guidelines */

export class Guide {
  /**
   * @param {Element} root
   * @param {Guidelines} guidelines as the page was drawn
   * @param {() => string} annotator who edits them
   */
  constructor(root, guidelines, annotator) {
    this.annotator = annotator;
    this.card = find(root, ".card");
    this.panel = find(root, ".guide");
    this.button = find(root, "[data-act=guide]");
    this.dialog = find(root, "dialog.guide-edit");
    this.message = find(this.dialog, "[role=status]");
    this.text = find(this.dialog, "textarea");
    this.now = guidelines;
    this.edited = guidelines.mark;
    this.asking = false;
    this.dialog.onkeydown = (/** @type {KeyboardEvent} */ event) => event.stopPropagation(); // Streamlit has keys of its own
    find(this.panel, "[data-guide=edit]").onclick = () => this.edit();
    find(this.panel, "[data-guide=close]").onclick = () => this.turn(false);
    find(this.dialog, "form").onsubmit = (/** @type {any} */ event) => {
      if (event.submitter?.value === "cancel") return;
      event.preventDefault();
      this.save();
    };
    this.show(guidelines);
    const wide = matchMedia("(min-width: 72.01rem)").matches;
    this.turn((stored(GUIDE) ?? (wide && guidelines.mark ? "open" : "closed")) === "open", { remember: false });
  }

  get open() {
    return !this.panel.hidden;
  }

  /** @param {Guidelines} guidelines */
  show(guidelines) {
    this.now = guidelines;
    find(this.panel, ".words").innerHTML = guidelines.html; // rendered by the labeler, which escapes HTML
    find(this.panel, ".empty").hidden = Boolean(guidelines.mark);
  }

  /** @param {import("../types.js").ClassEntry[]} classes */
  describe(classes) {
    const list = find(this.panel, "dl");
    const described = classes.filter(({ description }) => description);
    list.replaceChildren(
      ...described.flatMap(({ name, description }) => [element("dt", name), element("dd", description ?? "")]),
    );
    list.hidden = !list.firstChild;
  }

  toggle() {
    this.turn(!this.open);
    if (this.open && !this.now.mark) find(this.panel, "[data-guide=edit]").focus();
    if (this.open) this.panel.scrollIntoView({ block: "nearest" });
  }

  /** @param {boolean} open @param {{ remember?: boolean }} [options] */
  turn(open, { remember = true } = {}) {
    this.panel.hidden = !open;
    this.card.classList.toggle("guided", open);
    this.button.setAttribute("aria-expanded", String(open));
    if (remember) store(GUIDE, open ? "open" : "closed");
  }

  /** Update: `mark` identifies the labeler's text. If it differs, somebody changed the text. @param {unknown} mark */
  async hear(mark) {
    if (mark === undefined || mark === this.now.mark || this.asking) return;
    this.asking = true;
    try {
      this.show(await ask("/api/project/guidelines", { patience: READ_MS }));
    } catch {
      // the next update tries again
    }
    this.asking = false;
  }

  edit() {
    this.edited = this.now.mark;
    this.text.value = this.now.text;
    this.tell("");
    this.dialog.showModal();
    this.text.focus();
  }

  async save() {
    try {
      const body = { text: this.text.value, annotator: this.annotator(), as_of: this.edited };
      this.show(await ask("/api/project/guidelines", { method: "PATCH", body }));
      this.dialog.close();
    } catch (error) {
      this.tell(`Not saved: ${/** @type {Error} */ (error).message}`, true);
    }
  }

  /** @param {string} words @param {boolean} [trouble] */
  tell(words, trouble = false) {
    setText(this.message, words);
    this.message.classList.toggle("trouble", trouble);
  }
}
