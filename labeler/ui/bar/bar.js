// The bar on every page: what both services are doing, in words. Its buttons are Streamlit triggers, so that Python asks the
// trainer and the page can follow.

import { find, setText } from "../lib/dom.js";
import { leaveFields, silenceSingleKeys } from "../lib/keys.js";
import { live } from "../lib/project.js";
import { annotator as annotatorHere, setAnnotator } from "../lib/storage.js";
import { capital, duration, megabytes, number, percent, timeLeft } from "../lib/text.js";

const BAR = Symbol("bar");

/** @param {any} component */
export default function ({ parentElement, data, setStateValue, setTriggerValue }) {
  const bar = (parentElement[BAR] ??= new Bar(parentElement));
  bar.words = data.words;
  bar.press = (/** @type {string} */ name) => setTriggerValue("pressed", name);
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
    this.words = {}; // trainer state → its name and what it means
    /** @type {any} */
    this.project = null;
    this.connected = false;
    this.heardAt = 0; // when the outbox last changed
    this.press = (/** @type {string} */ _name) => {};
    for (const button of root.querySelectorAll("[data-press]")) button.onclick = () => this.press(button.dataset.press);
    find(this.part("banner"), "button").onclick = () => {
      this.closed = this.banner; // for this page view; it comes back with the next
      this.draw();
    };
    this.who = this.part("name");
    this.who.onkeydown = (/** @type {KeyboardEvent} */ event) => event.stopPropagation(); // a name is no shortcut of the page
    leaveFields(root);
    this.size = new ResizeObserver(() => document.dispatchEvent(new CustomEvent("flywheel:bar")));
    this.size.observe(find(root, ".bar"));
    this.unsubscribe = live.subscribe((project, connected) => {
      if (project?.outbox !== this.project?.outbox) this.heardAt = performance.now();
      this.project = project;
      this.connected = connected;
      this.draw();
    });
    this.clock = setInterval(() => this.project && this.drawLag(), 1000);
    this.stopListening = new AbortController();
    const { signal } = this.stopListening;
    silenceSingleKeys(signal);
    const options = { capture: true, passive: true, signal };
    // For `page.css`: a browser shows the focus at any key, also where a click left it.
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
  part(name) {
    return find(this.root, `[data-testid=${name}]`);
  }

  /**
   * The name belongs to this browser; the card has a field for it, too. Python is told where a page needs the name, and only
   * when it knows another one, because it then draws the page again.
   * @param {{ annotator: string, asks: boolean }} data
   * @param {(name: string) => void} tell
   */
  asWhom({ annotator, asks }, tell) {
    this.who.parentElement.hidden = !asks;
    if (!asks) return;
    this.name = annotatorHere();
    this.who.value = this.name;
    if (this.name !== annotator) tell(this.name);
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
    this.drawLag();
    this.drawPace();
    const download = embedding?.download;
    const fetched = download && { done: download.done_bytes, total: download.total_bytes };
    if (download) this.drawWork("embedding", fetched, `downloading ${download.name}`, megabytes);
    else this.drawWork("embedding", embedding && embedding.done < embedding.total && embedding, "processing images");
    this.drawWork("scan", scanning.running && scanning, "reading the folder");
    this.drawChallenger(this.project.challenger ?? trainer.detail?.challenger);
    this.drawNote(this.part("error"), error && (disk ?? `${error} ${this.advice(trainer.state)}`));
    this.banner = embedding?.banner;
    this.drawNote(this.part("banner"), this.banner !== this.closed && this.banner);
  }

  /** How many answers the trainer does not have yet, and since when. */
  drawLag() {
    const { pending, oldest_seconds: seconds } = this.project.outbox;
    const waited = seconds === null ? 0 : seconds + (performance.now() - this.heardAt) / 1000;
    const since = waited >= 1 ? ` for ${duration(waited)}` : "";
    const waiting = `${number(pending)} waiting for the trainer${since}`;
    const away = ["absent", "taken"].includes(this.project.trainer.state);
    setText(this.part("lag"), pending ? waiting : away ? "Nothing waits for the trainer" : "The trainer is up to date");
  }

  /** With several people at work, how fast you and all of them are; one alone sees that on the card. */
  drawPace() {
    const people = this.project.people ?? [];
    const mine = people.find((/** @type {any} */ { name }) => name === annotatorHere());
    const all = Math.round(this.project.labels_per_minute);
    this.part("pace").hidden = people.length < 2;
    setText(
      this.part("pace"),
      `Labels a minute: you ${Math.round(mine?.per_minute ?? 0)}, all ${people.length} people ${all}`,
    );
  }

  /** With an error, what to do is said beside the error. @param {string} state @param {boolean} hasError @param {boolean} cannotSave */
  drawState(state, hasError, cannotSave) {
    const [name, what] = this.words[state] ?? [state, ""];
    const line = this.part("trainer-state");
    line.dataset.state = state;
    setText(find(line, "strong"), cannotSave && state === "failed" ? "Cannot save" : name);
    setText(find(line, "span"), hasError ? "" : what);
    const idle = ["paused", "stopped", "failed"].includes(state);
    const away = ["absent", "taken", "lost"].includes(state);
    this.part("pause").hidden = idle || away || state === "stopping";
    this.part("resume").hidden = !idle || (cannotSave && state === "failed"); // it continues by itself
    this.part("stop").hidden = away || ["stopping", "stopped"].includes(state);
  }

  /** Why the trainer stopped, and what further labels mean, on whichever page someone goes on working. @param {any} trainer */
  drawStopped({ state, stop_reason: why }) {
    const part = this.part("stopped");
    part.hidden = state !== "stopped" || !this.connected;
    if (part.hidden) return;
    const reason = why ? `${capital(why)}: the` : "The";
    setText(
      part.firstElementChild,
      `${reason} model no longer learns. Labels that you give now are kept; press Resume to train on them. `,
    );
  }

  /** @param {string} state */
  advice(state) {
    const what = this.words[state]?.[1];
    return what && ["absent", "failed"].includes(state) ? `${capital(what)}.` : "";
  }

  /** @param {string} name @param {any} work done, total and seconds_left, or nothing @param {string} doing @param {(amount: number) => string} [say] */
  drawWork(name, work, doing, say = number) {
    const part = this.part(name);
    part.hidden = !work;
    if (!work) return;
    const [bar, text] = part.children;
    if (work.total) bar.value = work.done / work.total;
    else bar.removeAttribute("value");
    const left = work.seconds_left ? `, ${timeLeft(work.seconds_left)}` : "";
    const of = work.total ? ` of ${say(work.total)}` : "";
    setText(text, `${doing}: ${say(work.done)}${of}${left}`);
  }

  /** How far the challenger is; the page Models has the details. @param {any} view */
  drawChallenger(view) {
    const atWork = ["training", "embedding", "halted"].includes(view?.state);
    const part = this.part("challenger");
    part.hidden = !atWork && !view?.serving;
    if (part.hidden) return;
    const [bar, text] = part.children;
    bar.hidden = !atWork || !view.total;
    if (!bar.hidden) bar.value = view.done / view.total;
    /** @type {Record<string, string>} */
    const doing = {
      training: `challenger, round ${view.round}`,
      embedding: "switching to the challenger",
      halted: `challenger, round ${view.round} paused`,
    };
    const far = bar.hidden ? "" : `: ${percent(bar.value)}`;
    setText(text, atWork ? `${doing[view.state]}${far}` : "The challenger is the live model");
  }

  /** @param {any} part @param {string | false | null | undefined} words */
  drawNote(part, words) {
    part.hidden = !words;
    setText(part.querySelector("p") ?? part, words || "");
  }
}

/** Why a service cannot write to its disk; said once where both have the same reason. @param {any} project */
export function diskTrouble({ disk: ours, trainer: { disk: theirs } }) {
  const same = ours && theirs && ours.kind === theirs.kind && ours.folder === theirs.folder;
  const told = [ours?.message, !same && theirs && `The trainer: ${theirs.message}`].filter(Boolean);
  return told.length ? told.join(" ") : undefined;
}
