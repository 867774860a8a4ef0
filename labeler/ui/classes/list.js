// The classes as buttons, and the search for a class by letters. A button shows its key, its number of labels, and the model's
// probability for the class, if suggested. User-entered names are inserted as text, never as markup.

import { element, find, focusNear, setName, setText } from "../lib/dom.js";
import { rove } from "../lib/input/roving.js";
import { count, number, percent } from "../lib/text.js";
import { ClassSearch, placeKey } from "./search.js";

/** @typedef {import("../types.js").ClassEntry} ClassEntry */
/** @typedef {import("../types.js").Suggestion} Suggestion */

const ONE_COLUMN = 8; // up to this many classes are in one column
const ROOMY = 14; // up to this many classes, rows are higher and names larger

export class ClassList {
  /** @param {Element} root @param {import("./class_words.js").ClassWords} words */
  constructor(root, words) {
    this.words = words;
    this.card = find(root, ".card") ?? root;
    this.filter = find(root, ".filter");
    this.list = find(root, ".classes");
    /** @type {ClassEntry[]} */
    this.known = [];
    /** @type {Map<number, HTMLButtonElement>} */
    this.buttons = new Map();
    /** @type {Suggestion[]} */
    this.suggestions = [];
    /** @type {Set<number>} */
    this.marked = new Set(); // suggested classes
    /** @type {Set<number> | null} */
    this.on = null; // the classes that are on, if they can be switched
  }

  /** The classes, with the search text. */
  get search() {
    return new ClassSearch(this.known, this.filter.value);
  }

  /**
   * Call `answer(class id, time)`, or `refuse(words)` for Enter on letters that match no class.
   * @param {(classId: number, at: number) => void} answer
   * @param {(words: string) => void} refuse
   */
  listen(answer, refuse) {
    this.list.onclick = (/** @type {any} */ event) => {
      const id = event.target.closest("button")?.dataset.classId;
      if (id) answer(Number(id), event.timeStamp);
    };
    this.filter.oninput = () => this.draw();
    this.filter.onkeydown = (/** @type {KeyboardEvent} */ event) => {
      const { unmatched, found } = this.search;
      if (event.key === "Enter" && unmatched) {
        event.preventDefault(); // the field keeps the focus, so that the letters can be corrected
        return refuse(unmatched);
      }
      if (event.key === "Escape") this.clear();
      else if (event.key === "Enter" && found !== undefined) answer(found, event.timeStamp);
      if (event.key === "Escape" || event.key === "Enter") this.filter.blur();
    };
  }

  /** @param {number | null | undefined} id @returns {string} */
  nameOf(id) {
    return this.known.find((each) => each.id === id)?.name ?? "a class that no longer exists";
  }

  /** Add a key to the search text; false if it types nothing. A slash at the start focuses the field. @param {string} key */
  type(key) {
    const { search } = this;
    if (key === "/" && !search.text) {
      focusNear(this.filter);
      return true;
    }
    const text = search.afterTyping(key);
    if (text === null) return false;
    this.filter.value = text;
    this.draw();
    return true;
  }

  clear() {
    if (!this.filter.value) return;
    this.filter.value = "";
    this.draw();
  }

  /** @param {ClassEntry[]} known */
  show(known) {
    this.known = known;
    this.draw();
  }

  draw() {
    const { search } = this;
    this.filter.hidden = !search.typing;
    this.card.classList.toggle("many", search.typing);
    this.card.classList.toggle("several", this.known.length > ONE_COLUMN);
    this.card.classList.toggle("roomy", this.known.length <= ROOMY);
    const digits = Math.max(1, ...this.known.map(({ labels }) => worded(labels).length));
    this.list.style.setProperty("--digits", digits); // the same width for the numbers of all classes
    const { matches, typed, found } = search;
    const shown = new Set(matches.map(({ id }) => id));
    for (const [id, button] of this.buttons) {
      if (shown.has(id)) continue;
      button.remove();
      this.buttons.delete(id);
    }
    matches.forEach((each, index) => void this.drawClass(each, index, typed ? placeKey(index) : each.hotkey));
    this.list.dataset.none = search.unmatched ?? "";
    for (const [id, button] of this.buttons) button.classList.toggle("found", id === found);
    this.mark(this.suggestions, this.marked);
    this.drawOn();
    rove(this.list);
  }

  /**
   * Buttons are reused, not replaced: otherwise a changed count would take away the focus.
   * @param {ClassEntry} entry
   * @param {number} index
   * @param {string | null | undefined} hotkey
   */
  drawClass({ id, name, labels, colour, description }, index, hotkey) {
    const button = this.buttons.get(id) ?? this.button(id);
    const [key, label, , amount] = button.children;
    setText(key, hotkey ?? "");
    setName(label, name);
    setText(amount, worded(labels));
    button.style.setProperty("--colour", colour ?? "transparent");
    button.title = description ? `${name}: ${description}` : name;
    button.setAttribute("aria-description", description ?? "");
    const spoken = [name, hotkey ? `key ${hotkey}` : "", labels === undefined ? "" : count(labels, this.words.counted)];
    button.setAttribute("aria-label", spoken.filter(Boolean).join(", "));
    if (this.list.children[index] !== button) this.list.insertBefore(button, this.list.children[index] ?? null);
  }

  /** @param {number} id */
  button(id) {
    const button = element("button");
    button.type = "button";
    button.dataset.classId = String(id);
    button.dataset.testid = "class";
    for (const part of ["", "name", "confidence", "labels"]) button.append(element(part ? "span" : "kbd", "", part));
    this.buttons.set(id, button);
    return button;
  }

  /** These classes are switched on, all others off. @param {Set<number>} on */
  turnOn(on) {
    this.on = on;
    this.drawOn();
  }

  drawOn() {
    const { on } = this;
    if (on) for (const [id, button] of this.buttons) button.ariaPressed = String(on.has(id));
  }

  /**
   * Show the model's suggestions for the image on screen, most probable first.
   * @param {Suggestion[]} suggestions
   * @param {Set<number>} marked the classes that it suggests
   */
  mark(suggestions, marked) {
    this.suggestions = suggestions;
    this.marked = marked;
    const confidence = new Map(suggestions.map((each) => [each.label, each.confidence]));
    for (const [id, button] of this.buttons) {
      const share = confidence.get(id);
      button.classList.toggle("suggested", marked.has(id));
      button.style.setProperty("--confidence", String(share ?? 0));
      setText(find(button, ".confidence"), share === undefined ? "" : percent(share));
    }
  }
}

/** @param {number | undefined} labels */
function worded(labels) {
  return labels === undefined ? "" : number(labels);
}
