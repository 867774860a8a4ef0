// The bar on every page: the state of both services in words. Its buttons are Streamlit triggers, so that Python calls the
// trainer and the page can follow.

import { find, setText } from "../lib/dom.js";
import { leaveFields, silenceSingleKeys } from "../lib/input/keys.js";
import { hearNavigation, isLeaving, leaveFor } from "../lib/leaving.js";
import { live } from "../lib/project.js";
import { annotator as annotatorHere, setAnnotator } from "../lib/storage.js";
import { capital } from "../lib/text.js";
import { buttonsOf, challengerOf, diskTrouble, embeddingOf, lagOf, paceOf, scanOf, stoppedBecause } from "./words.js";

const BAR = Symbol("bar");
const AGAIN_MS = 2000; // a press that was not served by then is sent again: Streamlit may have lost it …
const LATEST_MS = 15_000; // … but not a press of long ago

/** @typedef {{ name: string, number: number }} Press */

/** @param {any} component */
export default function ({ parentElement, data, setStateValue, setTriggerValue }) {
  const bar = (parentElement[BAR] ??= new Bar(parentElement));
  bar.words = data.words;
  bar.task = data.task;
  bar.counted = data.counted;
  bar.send = (/** @type {Press} */ press) => setTriggerValue("pressed", press);
  if (data.served === bar.pressed?.number) bar.pressed = null;
  bar.asWhom(data, (/** @type {string} */ name) => setStateValue("annotator", name));
  bar.draw();
  return () => {
    bar.close();
    delete parentElement[BAR];
  };
}

class Bar {
  /** @param {any} root */
  constructor(root) {
    this.root = root;
    /** @type {Record<string, [string, string]>} */
    this.words = {}; // trainer state → its name and meaning
    /** @type {string | null} */
    this.task = null; // in words; null for one class per image
    this.counted = "label"; // what people give
    /** @type {any} */
    this.project = null;
    this.connected = false;
    this.heardAt = 0; // when the outbox last changed
    this.send = (/** @type {Press} */ _press) => {};
    /** @type {Press | null} */
    this.pressed = null; // until it is served
    this.sentAt = 0;
    for (const button of root.querySelectorAll("[data-press]"))
      button.onclick = () => {
        if (button.dataset.press === "stop") leaveFor("/finish");
        this.press(button.dataset.press);
      };
    find(this.part("banner"), "button").onclick = () => {
      this.closed = this.banner; // closed for this page view; the next one shows it again
      this.draw();
    };
    this.who = this.part("name");
    this.who.onkeydown = (/** @type {KeyboardEvent} */ event) => event.stopPropagation(); // typing a name must not trigger shortcuts
    leaveFields(root);
    this.size = new ResizeObserver(() => document.dispatchEvent(new CustomEvent("flywheel:bar")));
    this.size.observe(find(root, ".bar"));
    this.unsubscribe = live.subscribe((project, connected) => {
      if (project?.outbox !== this.project?.outbox) this.heardAt = performance.now();
      this.project = project;
      this.connected = connected;
      this.draw();
    });
    this.clock = setInterval(() => {
      if (this.project) this.drawLag();
      this.pressAgain();
    }, 1000);
    this.stopListening = new AbortController();
    const { signal } = this.stopListening;
    silenceSingleKeys(signal);
    hearNavigation(signal);
    const options = { capture: true, passive: true, signal };
    // For `page.css`: a browser would show the focus at any key, even where a click left it.
    const byTab = (/** @type {boolean} */ is) => document.documentElement.classList.toggle("by-tab", is);
    addEventListener("keydown", (event) => event.key !== "Tab" || byTab(true), options);
    addEventListener("pointerdown", () => byTab(false), options);
  }

  close() {
    this.stopListening.abort();
    clearInterval(this.clock);
    this.size.disconnect();
    this.unsubscribe();
  }

  /** @param {string} name */
  press(name) {
    this.pressed = { name, number: Date.now() };
    this.sentAt = performance.now();
    this.send(this.pressed);
  }

  pressAgain() {
    if (!this.pressed || isLeaving() || performance.now() - this.sentAt < AGAIN_MS) return;
    this.sentAt = performance.now();
    if (Date.now() - this.pressed.number < LATEST_MS) this.send(this.pressed);
    else this.pressed = null;
  }

  /** @param {string} name */
  part(name) {
    return find(this.root, `[data-testid=${name}]`);
  }

  /**
   * The name belongs to this browser; the card has a field for it, too. Python is told only where a page needs the name, and
   * only if it has another one, because it then redraws the page.
   * @param {{ annotator: string, asks: boolean }} data
   * @param {(name: string) => void} tell
   */
  asWhom({ annotator, asks }, tell) {
    this.who.parentElement.hidden = !asks;
    if (!asks) return;
    this.name = annotatorHere();
    if (!this.who.matches(":focus")) this.who.value = this.name; // the page may be redrawn while someone types
    if (this.name !== annotator && !isLeaving()) tell(this.name); // the next page is told, too
    this.who.onchange = () => {
      this.name = this.who.value.trim() || "me";
      this.who.value = this.name;
      setAnnotator(this.name);
      tell(this.name);
      this.draw();
    };
  }

  draw() {
    if (!this.project) return;
    const { trainer, outbox, scanning } = this.project;
    const embedding = this.project.embedding ?? trainer.detail?.embedding;
    const disk = diskTrouble(this.project);
    const error = disk ?? trainer.last_error ?? outbox.last_error ?? scanning.error;
    this.drawState(this.connected ? trainer.state : "lost", Boolean(error), Boolean(trainer.disk));
    this.drawStopped(trainer);
    this.drawNote("task", this.task);
    this.drawLag();
    this.drawPace();
    this.drawWork("embedding", embeddingOf(embedding));
    this.drawWork("scan", scanOf(scanning));
    this.drawWork("challenger", challengerOf(this.project.challenger ?? trainer.detail?.challenger));
    this.drawNote("error", error && (disk ?? `${error} ${this.advice(trainer.state)}`));
    this.banner = embedding?.banner;
    this.drawNote("banner", this.banner !== this.closed && this.banner);
  }

  drawLag() {
    const { outbox, trainer } = this.project;
    setText(this.part("lag"), lagOf(outbox, trainer.state, (performance.now() - this.heardAt) / 1000));
  }

  /** With several people, everybody's speed; a single person sees it on the card. */
  drawPace() {
    const people = this.project.people ?? [];
    this.part("pace").hidden = people.length < 2;
    setText(this.part("pace"), paceOf(people, annotatorHere(), this.project.labels_per_minute, this.counted));
  }

  /** The trainer's state. With an error, the advice is shown next to the error. @param {string} state @param {boolean} hasError @param {boolean} cannotSave */
  drawState(state, hasError, cannotSave) {
    const [name, what] = this.words[state] ?? [state, ""];
    const line = this.part("trainer-state");
    const pressed = line.getRootNode().activeElement?.closest("[data-press]:focus-visible");
    line.dataset.state = state;
    setText(find(line, "strong"), cannotSave && state === "failed" ? "Cannot save" : name);
    setText(find(line, "span"), hasError ? "" : what);
    for (const [button, there] of Object.entries(buttonsOf(state, cannotSave))) this.part(button).hidden = !there;
    // By keyboard, Resume follows Pause: without a focus, the next Enter would answer the question on the page.
    if (pressed?.hidden) this.root.querySelector("[data-press]:not([hidden])")?.focus();
  }

  /** @param {any} trainer */
  drawStopped({ state, stop_reason: reason }) {
    const part = this.part("stopped");
    part.hidden = state !== "stopped" || !this.connected;
    if (!part.hidden) setText(part.firstElementChild, stoppedBecause(reason));
  }

  /** Advice on the trainer's error. @param {string} state */
  advice(state) {
    const what = this.words[state]?.[1];
    return what && ["absent", "failed"].includes(state) ? `${capital(what)}.` : "";
  }

  /** @param {string} name @param {import("./words.js").Work | null} work */
  drawWork(name, work) {
    const part = this.part(name);
    part.hidden = !work;
    if (!work) return;
    const [bar, text] = part.children;
    bar.hidden = name === "challenger" && work.share === undefined;
    if (work.share === undefined) bar.removeAttribute("value");
    else bar.value = work.share;
    setText(text, work.text);
  }

  /** @param {string} name @param {string | false | null | undefined} words */
  drawNote(name, words) {
    const part = this.part(name);
    part.hidden = !words;
    setText(part.querySelector("p") ?? part, words || "");
  }
}
