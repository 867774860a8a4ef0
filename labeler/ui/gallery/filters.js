// The view of the grid as one set of query parameters: for GET /api/grid, the page's URL, and the form.

import { element, find, renew, setText } from "../lib/dom.js";
import { count, percent } from "../lib/text.js";

const NAMES = [
  "status",
  "predicted",
  "label",
  "says",
  "min_confidence",
  "by",
  "search",
  "words",
  "cluster",
  "clusters",
  "similar_to",
  "images",
];

/** @type {[string, (value: string) => string][]} parameters that have no field, and how they are shown */
const CHIPS = [
  ["similar_to", (id) => `Similar to image ${id}`],
  ["cluster", (number) => `Group ${number}`],
  ["images", (ids) => `${count(ids.split(",").length, "image")} chosen`],
];

/** The query alone, without a form. */
export class Query {
  /** @param {Record<string, string>} [given] unknown names stay, so that the labeler can report them */
  constructor(given = {}) {
    this.values = new URLSearchParams(given);
  }

  /** Whether there is any filter besides the status. */
  get narrowed() {
    return [...this.values.keys()].some((name) => name !== "status" && name !== "clusters" && name !== "by");
  }

  /** @param {string} name */
  get(name) {
    return this.values.get(name);
  }

  /** Change some parameters; null removes one. @param {Record<string, string | number | null>} values */
  change(values) {
    for (const [name, value] of Object.entries(values)) {
      if (value === null || value === "") this.values.delete(name);
      else this.values.set(name, String(value));
    }
  }

  /** Remove all parameters. */
  clear() {
    for (const name of [...NAMES, ...this.values.keys()]) this.values.delete(name);
  }

  /** Parameters without a field in the form: [parameter, words]. @returns {[string, string][]} */
  get chips() {
    return CHIPS.flatMap(([name, words]) => {
      const value = this.get(name);
      return value === null ? [] : [/** @type {[string, string]} */ ([name, words(value)])];
    });
  }

  toString() {
    return this.values.toString();
  }
}

export class Filters {
  /** @param {Element} root @param {() => void} changed called when the person chose something else */
  constructor(root, changed) {
    this.form = find(root, ".filters");
    this.chips = find(root, ".chips");
    this.changed = changed;
    this.query = new Query();
    /** @type {any} the field being changed, until its value is applied */
    this.typed = null;
    this.form.onsubmit = (/** @type {Event} */ event) => {
      event.preventDefault();
      clearTimeout(this.typing);
      if (this.typed) this.read(this.typed); // Enter applies it at once
    };
    this.form.oninput = (/** @type {any} */ { target }) => {
      clearTimeout(this.typing);
      this.typed = target;
      if (target.name === "min_confidence") this.drawShare();
      this.typing = setTimeout(() => this.read(target), /search|range/.test(target.type) ? 300 : 0);
    };
    this.chips.onclick = (/** @type {any} */ { target }) => {
      const name = target.closest("button")?.dataset.name;
      if (name) this.set({ [name]: null });
    };
  }

  close() {
    clearTimeout(this.typing);
  }

  /** Show the view in the page's URL. @param {Record<string, string>} given */
  open(given) {
    this.query = new Query(given);
  }

  /** @param {Record<string, string | number | null>} values */
  set(values) {
    this.query.change(values);
    this.follow();
  }

  clear() {
    this.query.clear();
    this.follow();
  }

  /** The query changed, so update the page's URL. */
  follow() {
    const query = this.query.toString();
    history.replaceState(history.state, "", query ? `?${query}` : location.pathname);
    this.changed();
  }

  /** @param {{ name: string, value: string }} field */
  read({ name, value }) {
    this.typed = null;
    this.set({ [name]: name === "min_confidence" && value === "0" ? null : value.trim() });
  }

  /** Show the query in the form. @param {import("../types.js").Project | null} project @param {string} [status] as the labeler understood it */
  draw(project, status) {
    const { words } = this.form.elements;
    const knowsWords = ["used", "dropped"].includes(project?.trainer.detail?.class_names?.state);
    words.parentElement.hidden = !knowsWords && !words.value;
    const classes = project?.classes ?? [];
    for (const select of this.form.querySelectorAll("select[data-classes]")) {
      const wanted = [["", "any class"], ...classes.map(({ id, name }) => [String(id), name])];
      const now = [...select.options].map(({ value, text }) => [value, text]);
      if (JSON.stringify(wanted) !== JSON.stringify(now))
        select.replaceChildren(...wanted.map(([value, text]) => new Option(text, value)));
    }
    for (const control of this.form.elements) {
      if (!control.name || control === this.typed || control.matches(":focus")) continue; // otherwise the text being typed would be lost
      const none = control.name === "min_confidence" ? "0" : "";
      control.value = (control.name === "status" && status) || (this.query.get(control.name) ?? none);
    }
    this.drawShare();
    renew(
      this.chips,
      this.query.chips.map(([name, words]) => this.chip(name, words)),
    );
  }

  drawShare() {
    const { min_confidence } = this.form.elements;
    if (!min_confidence) return; // not in this task
    setText(find(this.form, "output"), percent(min_confidence.value));
    min_confidence.setAttribute("aria-valuetext", percent(min_confidence.value));
  }

  /** @param {string} name @param {string} words */
  chip(name, words) {
    const button = element("button", `${words} ✕`);
    button.type = "button";
    button.dataset.name = name;
    button.setAttribute("aria-label", `${words}: show all again`);
    return button;
  }
}
