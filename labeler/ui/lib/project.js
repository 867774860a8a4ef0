// The state of the project in this browser tab, with change notifications. All components of a page share one connection; the
// last subscriber closes it. Pushed changes are merged into the project as last read. While the socket is down, the project is
// polled instead. An idle page is notified less often, so that many open pages do not slow down the one where someone works.

import { ask, events } from "./api.js";
import { setText } from "./dom.js";
import { count, number, timeLeft } from "./text.js";

/** @typedef {import("../types.js").Project} Project */
/** @typedef {(project: Project, connected: boolean) => void} Listener */

const POLL_MS = 3000;
const READ_MS = 10_000;
const NEWS_MS = 50; // minimum time between notifications: at typing speed every answer is a change
const NEWS_UNTOUCHED_MS = 1000;
const TOUCHED_MS = 5000; // time after the last key or movement for which the page counts as in use
const TOUCHES = ["keydown", "pointerdown", "pointermove", "wheel", "focus"];
const RETRY_MS = 250;
const RETRY_MOST_MS = 5000;

export class Live {
  constructor() {
    /** @type {any} a Project once it is known; tests merge changes into it */
    this.project = null;
    this.connected = false;
    /** @type {Set<Listener>} */
    this.listeners = new Set();
    this.failures = 0;
    /** @type {Promise<void> | null} */
    this.reading = null;
    this.touchedAt = performance.now();
    /** @type {WebSocket | null} */
    this.socket = null;
    /** @type {ReturnType<typeof setTimeout> | null} */
    this.telling = null;
  }

  /** Whether the page is in use. A page that is idle or covered by another is updated less often. */
  get touched() {
    return !document.hidden && performance.now() - this.touchedAt < TOUCHED_MS;
  }

  /** Milliseconds since the last key or movement. */
  get idle() {
    return performance.now() - this.touchedAt;
  }

  /** The page is in use. If it was idle, delayed notifications are sent now. */
  touch() {
    const away = !this.touched;
    this.touchedAt = performance.now();
    if (!away || !this.project) return;
    if (this.telling !== null) clearTimeout(this.telling);
    this.telling = null;
    this.notify();
  }

  /**
   * Call `listener` now, if anything is known, and at every change. Returns a function that ends this.
   * @param {Listener} listener
   */
  subscribe(listener) {
    this.listeners.add(listener);
    if (this.listeners.size === 1) this.open();
    if (this.project) listener(this.project, this.connected);
    return () => {
      this.listeners.delete(listener);
      if (this.listeners.size === 0) this.close();
    };
  }

  /**
   * Subscribe a page that shows one project. If the labeler serves another project by now, the page is loaded again.
   * @param {string} logId
   * @param {Listener} listener
   */
  follow(logId, listener) {
    return this.subscribe((project, connected) => {
      if (project?.log_id && project.log_id !== logId) location.reload();
      else if (project) listener(project, connected);
    });
  }

  /** Read the project again. Calls during a request share its answer. */
  refresh() {
    this.reading ??= this.read().finally(() => (this.reading = null));
    return this.reading;
  }

  async read() {
    try {
      this.merge(await ask("/api/project", { patience: READ_MS }));
    } catch {
      this.notify(); // the next poll, or the socket, tries again
    }
  }

  /** @param {Partial<Project>} news */
  merge(news) {
    this.project = { ...this.project, ...news };
    this.notify();
  }

  notify() {
    const wait = this.touched ? NEWS_MS : NEWS_UNTOUCHED_MS;
    this.telling ??= setTimeout(() => {
      this.telling = null;
      for (const listener of this.listeners) listener(this.project, this.connected);
    }, wait);
  }

  open() {
    this.untouch = new AbortController();
    const options = { capture: true, passive: true, signal: this.untouch.signal };
    for (const name of TOUCHES) addEventListener(name, () => this.touch(), options);
    this.refresh();
    this.poll = setInterval(() => this.connected || this.refresh(), POLL_MS);
    this.connect();
  }

  connect() {
    const socket = events();
    this.socket = socket;
    socket.onopen = () => {
      this.connected = true;
      this.failures = 0;
      this.refresh(); // changes while it was down
    };
    socket.onmessage = (message) => this.merge(JSON.parse(message.data));
    socket.onclose = () => {
      if (this.socket !== socket) return;
      this.connected = false;
      this.notify();
      const wait = Math.min(RETRY_MS * 2 ** this.failures++, RETRY_MOST_MS);
      this.retry = setTimeout(() => this.connect(), wait * (0.5 + Math.random() / 2));
    };
  }

  close() {
    this.untouch?.abort();
    clearInterval(this.poll);
    clearTimeout(this.retry);
    const { socket } = this;
    this.socket = null;
    this.connected = false;
    socket?.close();
  }
}

export const live = new Live();
/** @type {any} */ (globalThis)[Symbol.for("flywheel.live")] = live; // for tests, which feed it changes

/** "22 held-out images are left out.": for pages that count only training images. @param {Project | null} project */
export function heldOut(project) {
  const { test, validation } = project?.splits ?? {};
  const held = (test?.total ?? 0) + (validation?.total ?? 0);
  if (!held) return "";
  return `${count(held, "held-out image")} ${held === 1 ? "is" : "are"} left out.`;
}

/** @param {HTMLElement} node @param {Project | null} project */
export function drawHeldOut(node, project) {
  const words = heldOut(project);
  setText(node, words);
  node.hidden = !words;
  node.title = "These images measure the model, so this page neither shows nor counts them";
}

/**
 * Why a project has no images, and what to do: a title and a sentence.
 * @param {Pick<Project, "rejected"> | null} project
 */
export function noImages(project) {
  if (project?.rejected)
    return {
      title: "No image can be used",
      text: `${count(project.rejected, "file")} of the image folder cannot be used. The page Data shows the reasons.`,
    };
  return {
    title: "No images yet",
    text: "Put photos into the project’s image folder: Flywheel adds them automatically. Or add some on the page Data.",
  };
}

/** Whether the trainer still reads images. Those that it could not read are tried again later. @param {any} embedding */
export function isEmbedding(embedding) {
  const { done = 0, total = 0, problems = 0 } = embedding ?? {};
  return done + problems < total;
}

/** The share of images that the trainer has embedded; undefined when it is done or stuck. @param {Project | null} project */
export function embeddedShare(project) {
  const { done = 0, total = 0, lacks } = project?.embedding ?? {};
  return isEmbedding(project?.embedding) && !lacks ? done / total : undefined;
}

/** How many images the trainer has embedded, in words; "" when it is done or stuck. @param {Project | null} project */
export function embedded(project) {
  const { done = 0, total = 0, seconds_left } = project?.embedding ?? {};
  if (embeddedShare(project) === undefined) return "";
  return [`${number(done)} of ${count(total, "image")} processed`, timeLeft(seconds_left)].filter(Boolean).join(", ");
}
