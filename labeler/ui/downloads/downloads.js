// The progress of downloads. The browser downloads the targets of the links beside this component. A model file is created
// first, so that a refusal is shown on this page, and nobody waits in front of an empty one.

import { ask } from "../lib/api.js";
import { element, find } from "../lib/dom.js";
import { count, number, timeLeft } from "../lib/text.js";

/** @typedef {{ name: string, state: string, unit: string, done: number, total: number | null, seconds: number, seconds_left: number | null, error: string | null }} File */

const DOWNLOADS = Symbol("downloads");
const WATCH_MS = 700;
const BEGINS_MS = 6000; // maximum time from a press until the labeler lists the file
const MAKE_MS = 720_000;
const BYTES = new Intl.NumberFormat("en", { maximumFractionDigits: 1, minimumFractionDigits: 1 });

/** @param {any} component */
export default function ({ parentElement }) {
  const downloads = (parentElement[DOWNLOADS] ??= new Downloads(parentElement));
  return () => {
    downloads.close();
    delete parentElement[DOWNLOADS];
  };
}

class Downloads {
  /** @param {Element} root */
  constructor(root) {
    this.list = find(root, ".downloads");
    /** @type {string[]} */
    this.refusals = [];
    /** @type {File[]} */
    this.files = [];
    this.shown = ""; // what is drawn
    this.until = 0; // when a pressed link counts as having begun
    this.stopListening = new AbortController();
    document.addEventListener("click", (event) => this.press(event), {
      capture: true,
      signal: this.stopListening.signal,
    });
    this.watch();
  }

  close() {
    clearTimeout(this.timer);
    this.stopListening.abort();
  }

  /** @param {any} event */
  press(event) {
    const link = event.target.closest?.("a[href]");
    if (!link || link.hasAttribute("download")) return; // the link that this module creates
    const address = link.getAttribute("href");
    if (!address.startsWith("/api/export") && !address.startsWith("/api/models/")) return;
    event.preventDefault();
    this.until = performance.now() + BEGINS_MS;
    if (address.startsWith("/api/models/")) this.make(address);
    else this.download(address);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.watch(), WATCH_MS / 2);
  }

  /** @param {string} address */
  download(address) {
    const link = element("a");
    Object.assign(link, { href: address, download: "" });
    document.body.append(link);
    link.click();
    link.remove();
  }

  /** Ask the labeler to create the file, then download it. @param {string} address */
  async make(address) {
    this.refusals = [];
    try {
      await ask(address, { method: "POST", patience: MAKE_MS });
      this.until = performance.now() + BEGINS_MS;
      this.download(address);
    } catch (error) {
      this.refusals.push(/** @type {Error} */ (error).message);
    }
    this.watch();
  }

  async watch() {
    clearTimeout(this.timer);
    try {
      this.files = (await ask("/api/downloads")).downloads;
    } catch {
      // keep what is shown; the next poll tries again
    }
    const busy = this.files.some(({ state }) => state === "making" || state === "writing");
    if (busy || performance.now() < this.until) this.timer = setTimeout(() => this.watch(), WATCH_MS);
    this.draw(this.files);
  }

  /** @param {File[]} files */
  draw(files) {
    const shown = JSON.stringify([files, this.refusals]);
    if (shown === this.shown) return;
    this.shown = shown;
    const told = files.filter((file) => !isMade(file) && !this.refusals.includes(file.error ?? ""));
    this.list.replaceChildren(...this.refusals.map((words) => line(words, "alert")), ...told.map(fileLine));
  }
}

/** Whether this is a model file that was created; its download has a line of its own. @param {File} file */
function isMade({ state, unit, done }) {
  return state === "done" && unit === "byte" && !done;
}

/** @param {string} words @param {string} [role] */
function line(words, role) {
  const item = element("li");
  const text = element("span", words);
  if (role) text.setAttribute("role", role);
  item.append(text);
  return item;
}

/** @param {File} file */
function fileLine(file) {
  const { name, state, done, total } = file;
  const item = line(wordsOf(file), state === "done" ? "status" : undefined);
  if (state === "failed" || state === "done") return item;
  const bar = element("progress");
  bar.setAttribute("aria-label", name);
  if (total) Object.assign(bar, { max: 1, value: Math.min(1, done / total) });
  item.prepend(bar);
  return item;
}

/** @param {File} file */
export function wordsOf({ name, state, unit, done, total, seconds, seconds_left, error }) {
  const amount = (/** @type {number} */ size) =>
    unit === "image" ? count(size, "image") : `${BYTES.format(size / 1e6)} MB`;
  if (state === "failed") return `${name}: ${error}`;
  if (state === "done") return `${name}: written, ${amount(done)}.`;
  if (state === "making") return `${name}: in preparation for ${Math.round(seconds)} s; a large network takes minutes`;
  const far = unit === "image" ? number(done) : BYTES.format(done / 1e6);
  return `${name}: ${[total ? `${far} of ${amount(total)}` : amount(done), timeLeft(seconds_left)].filter(Boolean).join(", ")}`;
}
