// The card's view. It sends nothing: it receives the question, the project and the state of the outbox, and calls back when the
// person acts. User-entered words (class names, reasons) are inserted as text, never as markup.

import { ClassList } from "../classes/list.js";
import { ClassPanel } from "../classes/panel.js";
import { element, find, renew, setEnabled, setText } from "../lib/dom.js";
import { KeyTable } from "../lib/input/key_table.js";
import { live } from "../lib/project.js";
import { annotator, setAnnotator } from "../lib/storage.js";
import { accuracyIn, capital, count, number, percent } from "../lib/text.js";
import { Stage } from "../stage/stage.js";
import { taskOn } from "../tasks/registry.js";
import { FileLine } from "./file.js";
import { Guide } from "./guide.js";
import { Remarks } from "./remarks.js";
import { Similar } from "./similar.js";
import { inWords, Strip } from "./strip.js";
import { takenInWords, untilTarget, whetherSaved, whyAsked, whyEmpty } from "./words.js";

/** @typedef {import("../types.js").Item} Item */
/** @typedef {import("../types.js").Project} Project */
/**
 * What the person does on the card.
 * @typedef {object} Person
 * @property {(classId: number, at: number) => void} choose
 * @property {(name: string, at: number, reason?: string) => void} act
 * @property {(className: string) => Promise<boolean>} add
 * @property {(method: string, classId: number, body: any) => Promise<string | null>} change
 * @property {(annotator: string) => void} rename
 * @property {(entry: import("./strip.js").Entry) => void} revisit
 * @property {(words: string) => void} refuse
 */

const NEED_AN_IMAGE = [
  ".classes button",
  ...["none", "accept", "skip", "because", "flag", "note"].map((name) => `[data-act=${name}]`),
].join();

export class View {
  /** @param {Element} root @param {any} data @param {Person} person */
  constructor(root, { log_id, display_pixels, guidelines, task, palette, preselect }, person) {
    this.preselect = preselect; // how the project was when the page was drawn: the first image may come before any news
    this.task = taskOn(root, task);
    this.root = root;
    this.person = person;
    this.card = find(root, ".card");
    this.header = find(root, ".where");
    this.meter = find(root, ".meter");
    const where = find(this.header, "p").children;
    this.counts = where[0];
    this.accuracy = where[1];
    this.pace = where[2];
    this.target = where[3];
    this.notice = find(root, ".notice");
    this.suggestion = find(root, ".suggestion");
    this.topk = find(root, ".topk");
    this.reason = find(root, ".reason");
    this.add = find(root, ".add");
    this.add.hidden = !this.task.namesClasses;
    this.saved = find(root, ".saved");
    this.message = find(root, ".message");
    this.who = find(root, ".who input");
    this.who.value = annotator();
    this.stage = new Stage(root, display_pixels, {
      words: (direction) => this.swipeWords(direction),
      done: (direction, at) => person.act(direction === "right" ? "accept" : "skip", at),
    });
    this.classes = new ClassList(root, this.task.classWords);
    const say = (/** @type {string} */ words) => this.say(words);
    this.choice = this.task.choice(root, this.classes, this.stage, { palette, logId: log_id, say });
    this.panel = new ClassPanel(root, person.change, () => live.refresh(), this.task.classWords);
    this.remarks = new Remarks(root, this.choice.reasons, person.act);
    this.strip = new Strip(root, log_id, this.choice, person.revisit);
    this.similar = new Similar(root);
    this.guide = new Guide(root, guidelines, () => this.annotator);
    this.file = new FileLine(root, (words, trouble) => this.say(words, trouble));
    this.keys = new KeyTable(root);
    this.blind = false;
    this.signature = ""; // of the classes as drawn
    /** @type {Item | null} */
    this.item = null;
    /** @type {import("./strip.js").Entry | null} */
    this.given = null;
    /** @type {any} */
    this.opened = null;
    /** @type {Project | null} */
    this.news = null;
    this.listen();
  }

  get annotator() {
    return this.who.value.trim() || "me";
  }

  /** Whether a dialog is open, which then gets the keys. */
  get inDialog() {
    return this.root.querySelector("dialog[open]") !== null;
  }

  /** The suggestions for the image on screen, most probable first; empty if they must not be shown. */
  get suggestions() {
    return this.unswayed ? [] : (this.item?.suggestions ?? []);
  }

  /** The suggested boxes. */
  get boxes() {
    return this.unswayed ? [] : (this.item?.boxes ?? []);
  }

  /** Whether suggestions must not be shown. */
  get unswayed() {
    return Boolean(this.news?.blind_mode || this.opened?.settles || this.opened?.held);
  }

  listen() {
    const { choose, act, add, rename, refuse } = this.person;
    // A mouse must not leave the focus on a button: Enter accepts the suggestion and must not press the button again.
    this.card.addEventListener("mousedown", (/** @type {any} */ event) => {
      if (!event.target.closest("dialog") && event.target.closest("button")) event.preventDefault();
    });
    this.card.addEventListener("click", (/** @type {any} */ event) => {
      const name = event.target.closest("button")?.dataset.act;
      if (name) act(name, event.timeStamp);
    });
    this.topk.onclick = (/** @type {any} */ event) => {
      const id = event.target.closest("button")?.dataset.classId;
      if (id) choose(Number(id), event.timeStamp);
    };
    this.add.onsubmit = async (/** @type {Event} */ event) => {
      event.preventDefault();
      const [input] = this.add.elements;
      if (input.value.trim() && (await add(input.value.trim()))) input.value = "";
      input.blur();
    };
    this.who.onchange = () => {
      setAnnotator(this.annotator);
      this.who.value = this.annotator;
      this.who.blur();
      rename(this.annotator);
    };
    this.classes.listen(choose, refuse);
  }

  /** What a swipe in this direction would do, or null. @param {import("../stage/swipe.js").Direction} direction */
  swipeWords(direction) {
    if (!this.item) return null;
    if (direction === "left") return "Skip";
    const { typed, found } = this.classes.search;
    if (typed) return found === undefined ? null : this.classes.nameOf(found);
    return this.choice.swipe(this.suggestions);
  }

  /** Show a question, or none. `given` is the strip entry of a question that is shown again. @param {any} question */
  question(question) {
    this.item = question?.item ?? null;
    this.given = question?.given ?? null;
    this.opened = question?.opened ?? null;
    if (this.news) this.preselect = Boolean(this.news.preselect_suggestions && !this.news.blind_mode);
    this.stage.show(question);
    this.choice.begin(question, this.suggestions, this.preselect, this.boxes);
    this.file.show(this.item);
    this.remarks.show(this.given?.answers.at(-1)?.note);
    this.drawHint();
    const reminding = this.item?.purpose === "query" && !this.news?.blind_mode && !this.given && !this.opened;
    this.similar.show(reminding ? this.item : null);
  }

  /** Draw what can wait until the image is on screen. */
  painted() {
    this.strip.drawSoon(this.given);
  }

  /** Say that others have the image on screen now. Returns whether it stays, because something was given for it. @param {boolean} given */
  taken(given) {
    const stays = given || Boolean(this.choice.begun || this.remarks.note);
    this.say(takenInWords(stays));
    return stays;
  }

  drawHint() {
    const held = this.item !== null && this.item.purpose !== "query";
    this.suggestion.replaceChildren(...this.hint(held));
    const silent = held || this.given || this.opened?.settles || this.news?.blind_mode;
    this.reason.textContent = silent ? "" : whyAsked(this.item);
    this.drawTopK(this.choice.others(this.suggestions));
    this.classes.mark(this.suggestions, this.choice.marked(this.suggestions));
  }

  /** The line above the classes. @param {boolean} held whether the image is held out @returns {(string | Element)[]} */
  hint(held) {
    const back = element("kbd", "Esc");
    if (this.opened?.held) return ["Someone else is labeling this image: you can only look. Back ", back];
    if (this.opened?.settles) {
      const { status } = this.opened;
      const now = element("strong", status === "labeled" ? this.choice.words(this.opened) : status);
      return ["Answered: ", now, `. ${this.choice.correct}, or go back `, back];
    }
    if (this.given) {
      const given = element("strong", inWords(this.given.answers.at(-1), this.choice));
      return ["You answered ", given, `. ${this.choice.again}, or keep it `, back];
    }
    if (this.suggestions.length || this.boxes.length) return this.choice.hint(this.suggestions, this.boxes);
    if (held && this.item?.purpose === "test") return ["Test image: it measures accuracy, so no suggestion."];
    if (held) return ["Held-out image, so no suggestion."];
    if (this.news?.blind_mode) return ["Blind mode: no suggestions."];
    return this.item ? [this.choice.without(this.news)] : [];
  }

  /** With many classes the model's other suggestions may be far down the list. @param {import("../types.js").Suggestion[]} others */
  drawTopK(others) {
    this.topk.hidden = !this.classes.search.typing || !others.length;
    if (this.topk.hidden) return;
    renew(
      this.topk,
      others.map(({ label, name, confidence }) => {
        const button = element("button", `${name} ${percent(confidence)}`);
        button.type = "button";
        button.dataset.classId = String(label);
        return button;
      }),
    );
  }

  /** The numbers of the project. Only saved answers count, here and on the classes; `state` shows the others. @param {Project} project */
  project(project) {
    this.news = project;
    const { images, labels_per_minute: pace } = project;
    const figure = this.choice.figure(project);
    const { labeled } = images;
    this.counts.textContent = `${number(labeled)} of ${count(images.total, "image")} labeled`;
    this.meter.firstElementChild.style.width = `${images.total ? (100 * labeled) / images.total : 0}%`;
    this.meter.ariaValueMax = images.total;
    this.meter.ariaValueNow = labeled;
    this.accuracy.textContent = figure ? `${this.choice.measure} ${accuracyIn(figure)}` : "";
    const alone = project.people.length < 2; // otherwise the bar shows each person's speed
    this.pace.textContent =
      pace && alone ? `${capital(this.task.classWords.total)}s per minute: ${number(Math.round(pace))}` : "";
    this.target.textContent = untilTarget(project.target, this.task);
    if (this.blind !== project.blind_mode) {
      this.blind = project.blind_mode;
      this.drawHint();
    }
    this.guide.hear(project.marks?.guidelines);
    const signature = JSON.stringify(project.classes);
    if (signature === this.signature) return;
    this.signature = signature;
    this.classes.show(this.choice.coloured?.(project.classes) ?? project.classes);
    this.choice.draw();
    this.panel.show(project.classes);
    this.guide.describe(project.classes);
    this.strip.draw(); // with the current names
    this.drawHint();
  }

  /**
   * Show the outbox's state, and if no image is on screen, why.
   * @param {import("../lib/outbox.js").Outbox} outbox
   * @param {import("./questions.js").Questions} questions
   * @param {boolean} connected
   */
  state(outbox, questions, connected) {
    this.saved.classList.toggle("trouble", Boolean(outbox.problem));
    setText(this.saved, whetherSaved(outbox, this.task.classWords.total));
    setEnabled(this.card, NEED_AN_IMAGE, this.item !== null);
    const notice = whyEmpty(outbox, questions, this.news, connected);
    this.notice.hidden = !notice;
    if (!notice) return;
    const [title, text, bar] = this.notice.children;
    setText(title, notice.title);
    setText(text, notice.text ?? "");
    bar.hidden = notice.share === undefined;
    if (notice.share !== undefined) bar.value = notice.share;
  }

  /** Show a message for a few seconds, long enough to be read out. @param {string} words @param {boolean} [trouble] */
  say(words, trouble = false) {
    setText(this.message, words);
    this.message.classList.toggle("trouble", trouble);
    clearTimeout(this.saying);
    this.saying = setTimeout(() => setText(this.message, ""), trouble ? 20_000 : 6000);
  }
}
