// The review: one doubtful label after the other, each judged with one key. A verdict goes into the outbox, and the next doubt
// is shown at once. No verdict counts before its image has been painted.

import { whetherSaved } from "../card/words.js";
import { ClassList } from "../classes/list.js";
import { ask, Refused } from "../lib/api.js";
import { afterPaint, element, find, setEnabled, setName, setText, tell, uuid } from "../lib/dom.js";
import { fitBelow } from "../lib/fit.js";
import { KeyTable } from "../lib/input/key_table.js";
import { leaveFields, leaveOpener, listenForKeys } from "../lib/input/keys.js";
import { outboxOf } from "../lib/outbox.js";
import { embedded, embeddedShare, live } from "../lib/project.js";
import { annotator } from "../lib/storage.js";
import { capital, count, number, percent, timeLeft } from "../lib/text.js";
import { Pace } from "../lib/time.js";
import { Stage } from "../stage/stage.js";
import { taskOn } from "../tasks/registry.js";
import { Doubts } from "./doubts.js";
import { evidenceOf, foundOf, lookingOf, precisionOf, whyEmpty } from "./words.js";

/** @typedef {import("./doubts.js").Doubt} Doubt */
/** @typedef {{ id?: string, doubt?: Doubt, many?: number }} Step a verdict, or many at once, or one that the labeler named */

const REVIEW = Symbol("review");
const ASK_MS = 15_000;
const PACED = 0.05; // minimum progress for an estimate of the remaining time

/** @param {any} component */
export default function ({ parentElement, data }) {
  parentElement[REVIEW] ??= new Review(parentElement, data);
  return () => {
    parentElement[REVIEW]?.close();
    delete parentElement[REVIEW];
  };
}

class Review {
  /** @type {import("../lib/outbox.js").Outbox} */
  outbox;

  /** @param {Element} root @param {any} data */
  constructor(root, data) {
    this.data = data;
    const { verdicts, classWords } = taskOn(root, data.task);
    this.verdicts = verdicts;
    this.card = find(root, ".card");
    this.part = (/** @type {string} */ selector) => find(this.card, selector);
    this.stage = new Stage(root, data.display_pixels, {
      words: (direction) => this.swipeWords(direction),
      done: (direction) => this.act(direction === "right" ? "accept" : "keep"),
    });
    this.classes = new ClassList(root, classWords);
    this.classes.list.hidden = !this.verdicts.other;
    this.keys = new KeyTable(root);
    this.doubts = new Doubts(() => this.show(), this.verdicts);
    this.pace = new Pace();
    this.stopListening = new AbortController();
    /** @type {Step[]} */
    this.history = []; // this page's steps, latest last
    /** @type {Doubt | null} */
    this.shown = null;
    this.signature = ""; // of the classes as drawn
    this.levels = ""; // of the button that accepts many, as drawn
    this.painted = false;
    this.paintedAt = 0;
    this.undoing = false; // meanwhile, nothing else counts
    this.closed = false;
    /** @type {import("../types.js").Project | null} */
    this.project = null;
    this.open();
  }

  async open() {
    this.outbox = await outboxOf(this.data);
    if (this.closed) return;
    this.outbox.join({
      changed: () => this.drawState(),
      confirmed: (_ids, verdicts) => this.doubts.confirmed(verdicts),
      refused: (verdict, reason) => {
        this.say(`Image ${verdict.image_id} was not saved: ${reason}`, true);
        this.doubts.confirmed([verdict]);
      },
    });
    this.listen();
    this.unsubscribe = live.follow(this.data.log_id, (project) => this.hear(project));
    this.doubts.ask();
  }

  close() {
    this.closed = true;
    this.doubts.close();
    this.unsubscribe?.();
    this.stopListening.abort();
    this.outbox?.leave();
  }

  listen() {
    const { signal } = this.stopListening;
    listenForKeys((key) => this.press(key), { signal, commands: ["Z"], elsewhere: () => this.keys.open });
    fitBelow(this.card, signal, this.part(".where"));
    // A mouse must not leave the focus on a button: Enter accepts the proposal and must not press the button again.
    this.card.addEventListener("mousedown", (/** @type {any} */ event) => {
      if (event.target.closest("button")) event.preventDefault();
    });
    this.card.addEventListener("click", (/** @type {any} */ event) => {
      const name = event.target.closest("button")?.dataset.act;
      if (name) this.act(name);
    });
    this.classes.listen(this.choose.bind(this), (words) => this.say(words));
    leaveOpener();
    leaveFields(this.card, signal);
    this.part(".many-at-once").onsubmit = (/** @type {Event} */ event) => {
      event.preventDefault();
      this.takeAll(Number(this.part(".many-at-once select").value));
    };
    this.part(".many-at-once select").onchange = () => this.drawMany();
  }

  /** What a swipe in this direction would do, or null. @param {import("../stage/swipe.js").Direction} direction */
  swipeWords(direction) {
    const { current } = this.doubts;
    if (!current) return null;
    if (direction === "left") return `Keep ${current.label_name}`;
    const { typed, found } = this.classes.search;
    if (typed) return found === undefined ? null : this.classes.nameOf(found);
    return current.proposed_name;
  }

  /** @param {import("../types.js").Project} project */
  hear(project) {
    const learned = project.trainer?.acked_seq !== this.project?.trainer?.acked_seq;
    this.project = project;
    const signature = JSON.stringify(project.classes);
    const others = this.verdicts.other ? project.classes : [];
    if (signature !== this.signature) this.classes.show(others.map(({ labels, ...each }) => each));
    this.signature = signature;
    if (learned) this.doubts.askSoon();
    this.drawNotice();
  }

  // ------------------------------------------------------------ what the person does

  /** Handle a key. Returns false if it has no meaning here. @param {import("../lib/input/keys.js").Key} key */
  press(key) {
    const { classes, stage } = this;
    const { search } = classes;
    if (key.command !== null) {
      if (!key.shift) this.act("undo");
      return !key.shift;
    }
    const meaning = search.meaning(key, this.verdicts.letters);
    if (meaning && "act" in meaning) this.act(meaning.act);
    else if (meaning && "classId" in meaning) this.choose(meaning.classId);
    else if (meaning) this.say(this.verdicts.noClass(meaning.refusal));
    else if (key.name === "Enter") this.act("accept");
    else if (!search.text && stage.press(key.name)) return true;
    else if (!search.text && key.name === "?") this.keys.show();
    else if (search.typing && classes.type(key.name)) return true;
    else if (key.name === "Backspace" && search.typing) this.say("Nothing is typed. Press Shift+Z to undo.");
    else if (key.name === "Backspace") this.undo();
    else if (key.name === "Delete" && !search.typed && this.verdicts.letters.X) this.act("remove");
    else return false;
    return true;
  }

  /** Handle a button or its key. @param {string} name */
  act(name) {
    const { current } = this.doubts;
    if (name === "undo") this.undo();
    else if (name === "keys") this.keys.show();
    else if (name === "accept") this.accept();
    else if (name === "keep") current && this.judge("settle", name, this.verdicts.keep(current));
    else this.judge(name === "unsure" ? "skip" : "settle", name, { label: null });
  }

  /** Enter: the class that the search found, else the proposed label. */
  accept() {
    const { found, unmatched } = this.classes.search;
    const { current } = this.doubts;
    if (unmatched) this.say(unmatched);
    else if (found !== undefined) this.choose(found);
    else if (current) this.judge("settle", "fix", this.verdicts.fix(current));
  }

  /** @param {number} classId */
  choose(classId) {
    const { current } = this.doubts;
    if (current) this.judge("settle", classId === current.label ? "keep" : "fix", { label: classId });
  }

  /** @param {string} action @param {string} verdict @param {import("../tasks/task.js").Answer} answer */
  judge(action, verdict, answer) {
    const { current } = this.doubts;
    if (!current || this.undoing) return;
    if (this.outbox.full) return this.say("Earlier verdicts are not saved yet, so this one was not counted.");
    if (!this.painted) return this.say("Too quick: the image was not on screen yet, so that was not counted.");
    const annotation = {
      id: uuid(),
      image_id: current.image_id,
      action,
      ...answer,
      annotator: annotator(),
      session: this.outbox.session,
      seconds: (performance.now() - this.paintedAt) / 1000,
      reason: verdict,
      source: "review",
      proposed: current.proposed,
      as_of: current.as_of,
    };
    this.history.push({ id: annotation.id, doubt: current });
    this.classes.clear();
    this.outbox.add(annotation);
    tell("judged", annotation);
    this.doubts.advance();
  }

  /** Undo this page's last step, or after a reload the annotator's. Waits for verdicts being saved. */
  async undo() {
    if (this.undoing) return;
    if (!live.connected && this.outbox.items.length) {
      return this.say("Nothing was undone: the labeler cannot be reached.", true); // the page stays usable
    }
    this.undoing = true;
    this.say("Undoing …");
    await this.outbox.empty();
    const { id, doubt, many } = this.history.at(-1) ?? {};
    // Only verdicts, never answers from other pages. Bulk steps from before a reload are announced first.
    const known = { annotator: annotator(), session: this.outbox.session };
    const body = { id: uuid(), ...known, target: id, page: "review", ask: !id && !many };
    try {
      const { undone } = await ask("/api/undo", { body, patience: ASK_MS });
      this.history.pop();
      if (doubt) this.doubts.putFirst(doubt);
      this.doubts.done.clear();
      this.doubts.askSoon();
      this.say(`Undid ${count(undone, "verdict")}.`);
    } catch (error) {
      this.notUndone(/** @type {Error} */ (error));
    }
    this.undoing = false;
  }

  /** @param {Error} error */
  notUndone(error) {
    if (error instanceof Refused && error.answer.target) {
      this.history.push({ id: error.answer.target });
      return this.say(`${error.message} Undo again to do that.`);
    }
    if (error instanceof Refused) this.history.pop(); // otherwise the labeler would refuse it again
    this.say(`Nothing was undone: ${error.message}`, true);
  }

  /** Accept all proposals with at least this confidence. @param {number} confidence */
  async takeAll(confidence) {
    if (this.undoing) return;
    this.undoing = true; // until the result is known
    this.say("Saving …");
    await this.outbox.empty();
    try {
      const most = this.doubts.page.acceptable[this.part(".many-at-once select").value]; // the number on the button
      const body = { annotator: annotator(), session: this.outbox.session, confidence, most };
      const { accepted } = await ask("/api/review/accept", { body, patience: ASK_MS });
      if (accepted) this.history.push({ many: accepted });
      this.doubts.current = null;
      this.doubts.next = [];
      this.say(`${count(accepted, "proposal")} accepted. Undo reverts all of them.`);
    } catch (error) {
      this.say(`Nothing was accepted: ${/** @type {Error} */ (error).message}`, true);
    }
    this.undoing = false;
    this.doubts.ask();
  }

  // ------------------------------------------------------------ drawing

  show() {
    const { current } = this.doubts;
    if (current !== this.shown || current?.broken) {
      this.shown = current;
      this.painted = false;
      this.stage.show(current);
      this.verdicts.drawOver?.(this.part(".picture"), current);
      if (current) this.wait(current);
      this.drawVerdicts();
    }
    this.drawProgress();
    this.drawMany();
    this.drawState();
    this.drawNotice();
  }

  /** @param {Doubt} doubt */
  wait(doubt) {
    const painted = () =>
      afterPaint(() => {
        if (doubt !== this.shown || this.painted) return;
        this.painted = true;
        this.paintedAt = performance.now();
        tell("painted", { image_id: doubt.image_id, at: this.paintedAt });
      });
    doubt.image.decode().then(painted, painted);
  }

  drawVerdicts() {
    const { current } = this.doubts;
    const [given, proposed] = this.part(".verdicts").children;
    setName(find(given, ".name"), current?.label_name ?? "");
    setName(find(proposed, ".name"), current?.proposed_name ?? "");
    setText(find(proposed, ".confidence"), current ? percent(current.confidence) : "");
    proposed.classList.toggle("confident", Boolean(current?.confident));
    proposed.style.setProperty("--confidence", current?.confidence ?? 0);
    const [words, list] = this.part(".evidence").children;
    setText(words, current ? (this.verdicts.evidence ?? evidenceOf(current)) : "");
    list.replaceChildren(
      ...(current?.evidence ?? []).map(({ image_id, url }) => {
        const [node, picture] = [element("li"), new Image()];
        Object.assign(picture, { src: url, alt: `Image ${image_id}, ${current?.proposed_name}`, draggable: false });
        picture.onload = () =>
          picture.classList.toggle("small", Math.max(picture.naturalWidth, picture.naturalHeight) <= 64);
        node.append(picture);
        return node;
      }),
    );
  }

  drawProgress() {
    const { page } = this.doubts;
    if (!page) return;
    const [found, precision, waiting] = this.part(".where p").children;
    const expected = page.enough ? Math.max(page.expected, page.errors) : page.errors;
    setText(found, page.labels ? foundOf(page, this.verdicts.estimates) : capital(lookingOf(page)));
    setText(precision, precisionOf(page));
    setText(waiting, page.open ? `${number(page.open)} in doubt` : "");
    const meter = this.part(".meter");
    const [now, most] = page.labels ? [page.errors, expected] : [page.progress, 1];
    meter.firstElementChild.style.width = `${most ? (100 * now) / most : 0}%`;
    meter.ariaLabel = page.labels ? "Errors found" : "Labels checked";
    meter.ariaValueMax = most;
    meter.ariaValueNow = now;
  }

  drawMany() {
    /** @type {[string, number][]} */
    const acceptable = Object.entries(this.doubts.page?.acceptable ?? {});
    const levels = acceptable.filter(([, many]) => many > 0);
    const form = this.part(".many-at-once");
    form.hidden = !levels.length;
    if (!levels.length) return;
    const [select, button] = form.elements;
    const signature = levels.map(([level]) => level).join();
    if (signature !== this.levels) {
      const before = select.value;
      select.replaceChildren(
        ...levels.map(([level]) =>
          Object.assign(element("option", `${percent(Number(level))} sure`), { value: level }),
        ),
      );
      if (levels.some(([level]) => level === before)) select.value = before;
      this.levels = signature;
    }
    setText(button, `Accept ${number(this.doubts.page.acceptable[select.value])}`);
  }

  drawState() {
    if (!this.outbox) return;
    setText(this.part(".saved"), whetherSaved(this.outbox, "verdict"));
    this.part(".saved").classList.toggle("trouble", Boolean(this.outbox.problem));
    const judging = ".verdicts button, .classes button, [data-act=unsure], [data-act=remove]";
    setEnabled(this.card, judging, Boolean(this.doubts.current));
  }

  drawNotice() {
    const words = whyEmpty(this.doubts, this.project, this.data.start, this.verdicts);
    const notice = this.part(".notice");
    notice.hidden = !words;
    if (!words) return;
    const [title, text, bar] = notice.children;
    setText(title, words.title);
    const compared = words.waits && !words.judging; // only while nothing is judged, because one bar shows one progress
    const share = compared ? embeddedShare(this.project) : undefined;
    const judging = share === undefined ? words.judging : undefined;
    const paced = judging && judging.progress >= PACED ? timeLeft(this.pace.left(judging.progress)) : "";
    const left = share !== undefined ? embedded(this.project) : paced;
    setText(text, [words.text, left ? `${capital(left)}.` : words.usually].filter(Boolean).join(" "));
    bar.hidden = share === undefined && !judging;
    if (!bar.hidden) bar.value = share ?? judging.progress;
    bar.ariaLabel = share !== undefined ? "Images processed" : "Labels judged";
  }

  /** @param {string} words @param {boolean} [trouble] */
  say(words, trouble = false) {
    const message = this.part(".message");
    setText(message, words);
    message.classList.toggle("trouble", trouble);
    clearTimeout(this.saying);
    this.saying = setTimeout(() => setText(message, ""), trouble ? 20_000 : 6000);
  }
}
