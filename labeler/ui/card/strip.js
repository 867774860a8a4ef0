// The last answers as thumbnails, so that mistakes are noticed and corrected: a click shows the image again, and a new answer
// replaces the old one. The strip is drawn in pauses, not between quick keys, and reuses decoded images. It is in the tab's
// session storage, so that it survives a reload.

import { element, find, setText } from "../lib/dom.js";

/** @typedef {import("../types.js").Answered & { id: string, action: string, note?: string }} Answer */
/** @typedef {{ item: import("../types.js").Item, answers: Answer[], image?: HTMLImageElement | null, node?: HTMLElement }} Entry */

const ANSWERS_KEPT = 12;
const PAUSE_MS = 80; // after an image is on screen; quick keys come every 40 ms
/** @type {Record<string, string>} */
const WITHOUT_LABEL = { skip: "skipped", flag: "flagged" };

/** @param {Answer | undefined} answer @param {Pick<import("../tasks/task.js").Choice, "words">} choice */
export function inWords(answer, choice) {
  return answer ? (WITHOUT_LABEL[answer.action] ?? choice.words(answer)) : "";
}

export class Strip {
  /**
   * @param {Element} root
   * @param {string} logId
   * @param {Pick<import("../tasks/task.js").Choice, "words" | "relabel">} choice
   * @param {(entry: Entry) => void} open called when an answer is clicked
   */
  constructor(root, logId, choice, open) {
    this.list = find(root, ".strip");
    this.key = `flywheel/strip/${logId}`;
    this.choice = choice;
    /** @type {Entry[]} newest first */
    this.entries = this.load();
    /** @type {Entry | null | undefined} */
    this.current = null;
    this.list.onclick = (/** @type {any} */ event) => {
      const node = event.target.closest("li");
      const entry = node && this.entries.find((each) => each.node === node);
      if (entry) open(entry);
    };
  }

  /** @param {number} imageId */
  of(imageId) {
    return this.entries.find(({ item }) => item.image_id === imageId);
  }

  /**
   * The entry one step before (-1) or after (1) the given one; from null, -1 leads to the newest entry.
   * @param {Entry | null | undefined} entry
   * @param {number} step
   * @returns {Entry | undefined}
   */
  beside(entry, step) {
    return this.entries[(entry ? this.entries.indexOf(entry) : -1) - step];
  }

  /**
   * Add an answer; `draw` shows it.
   * @param {Pick<import("./questions.js").Question, "item" | "image" | "broken" | "given">} question
   * @param {any} answer
   */
  add({ item, image, broken, given }, { id, action, label, answer, note }) {
    let entry = this.of(item.image_id);
    if (!entry) {
      const answers = given?.answers ?? []; // of an image that was opened by its URL
      entry = { item: { ...item, suggestions: [], boxes: [] }, answers, image: broken ? null : image };
      this.entries = [entry, ...this.entries].slice(0, ANSWERS_KEPT);
    }
    entry.answers.push({ id, action, label, answer, note });
    this.keep(); // a reload may come before it is drawn
  }

  /**
   * Remove the image's last answer, or the one with this id. Returns it, if the strip had it.
   * @param {number} imageId
   * @param {string | null} [id]
   */
  takeBack(imageId, id) {
    const entry = this.of(imageId);
    if (!entry) return undefined;
    const last = id ?? entry.answers.at(-1)?.id;
    const taken = entry.answers.find((answer) => answer.id === last);
    entry.answers = entry.answers.filter((answer) => answer !== taken);
    if (!entry.answers.length) this.entries = this.entries.filter((each) => each !== entry);
    this.draw();
    return taken;
  }

  /** A class was merged into another. @param {number} from @param {number} into */
  relabel(from, into) {
    const answers = this.entries.flatMap((entry) => entry.answers);
    this.choice.relabel(answers, from, into);
    this.draw();
  }

  forget() {
    this.entries = [];
    this.draw();
  }

  /** Draw after a short pause. @param {Entry | null} current */
  drawSoon(current) {
    this.current = current;
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.draw(), PAUSE_MS);
  }

  /** @param {Entry | null | undefined} [current] the entry whose image is on screen again */
  draw(current = this.current) {
    this.current = current;
    this.entries.forEach((entry, index) => {
      const node = (entry.node ??= this.node(entry));
      this.caption(entry, node.firstElementChild, entry === current);
      if (this.list.children[index] !== node) this.list.insertBefore(node, this.list.children[index] ?? null);
    });
    while (this.list.children.length > this.entries.length) this.list.lastChild.remove();
    this.keep();
  }

  /** @param {Entry} entry */
  node({ item, image }) {
    const [node, button] = [element("li"), element("button")];
    const picture = image ?? Object.assign(new Image(), { src: item.url });
    Object.assign(picture, { alt: "", decoding: "async", draggable: false });
    button.type = "button";
    button.dataset.testid = "answer";
    button.dataset.imageId = String(item.image_id);
    button.append(picture, element("span"));
    node.append(button);
    return node;
  }

  /** @param {Entry} entry @param {any} button @param {boolean} isCurrent */
  caption({ item, answers }, button, isCurrent) {
    const words = inWords(answers.at(-1), this.choice);
    setText(button.lastChild, words);
    button.title = words;
    button.ariaLabel = `Image ${item.image_id}: ${words}. Go back and correct`;
    button.ariaCurrent = isCurrent ? "true" : null;
  }

  /** @returns {Entry[]} */
  load() {
    try {
      return JSON.parse(sessionStorage.getItem(this.key) ?? "[]");
    } catch {
      return [];
    }
  }

  keep() {
    try {
      sessionStorage.setItem(this.key, JSON.stringify(this.entries.map(({ item, answers }) => ({ item, answers }))));
    } catch {
      // without storage, the strip is empty after a reload
    }
  }
}
