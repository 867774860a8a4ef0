// The labeling card. It runs its own loop beside Streamlit: a key or a click puts the next image on screen at once and the
// answer into the outbox. Streamlit may call this again at any rerun; state that is set up once stays on the parent element.

import { ask, Refused } from "../lib/api.js";
import { afterPaint, tell, uuid } from "../lib/dom.js";
import { fitBelow } from "../lib/fit.js";
import { leaveFields, leaveOpener, listenForKeys } from "../lib/input/keys.js";
import { outboxOf } from "../lib/outbox.js";
import { live } from "../lib/project.js";
import { count } from "../lib/text.js";
import { ClassChanges } from "./class_changes.js";
import { forgetAddress, namedByAddress, openedByAddress } from "./file.js";
import { Questions } from "./questions.js";
import { View } from "./view.js";
import { whyRefused } from "./words.js";

/** @typedef {import("../lib/input/keys.js").Key} Key */

const AHEAD_PERIOD = 1 / 3; // of a lease: how often leases are renewed while the page is open
const ASK_AGAIN_MS = 2000; // after a request for questions that failed
const ASK_MS = 15_000;
const CARD = Symbol("card");
/** @type {Record<string, string>} */
const LETTERS = { S: "skip", R: "because", F: "flag", N: "note", Z: "undo", C: "manage", G: "guide" };

/** @param {any} component */
export default function ({ parentElement, data }) {
  parentElement[CARD] ??= new Card(parentElement, data);
  return () => {
    parentElement[CARD]?.close();
    delete parentElement[CARD];
  };
}

class Card {
  /** @type {View} */
  view;
  /** @type {import("../lib/outbox.js").Outbox} */
  outbox;
  /** @type {Questions} */
  questions;
  /** @type {ClassChanges} */
  changes;

  /** @param {Element} root @param {any} data */
  constructor(root, data) {
    this.stopListening = new AbortController();
    this.painted = false; // whether the current image has been painted; no answer counts before that
    /** @type {(() => void) | null} */
    this.held = null; // an answer given before the current image was painted, or while the queue is asked whose it is
    this.placedAt = 0;
    this.paintedAt = 0;
    this.undoing = 0; // presses of undo that are still being processed
    /** @type {string[]} */
    this.history = []; // this page's answers, latest last
    /** @type {string | null} */
    this.named = null; // the answer that the next undo removes, because the page has announced it
    /** @type {any} */
    this.shown = null; // the question on screen
    this.waited = false; // whether the image is hidden because the outbox is full
    this.wasConnected = false;
    this.trouble = false; // whether some images cannot be read now
    this.closed = false;
    this.open(root, data);
  }

  /** @param {Element} root @param {any} data */
  async open(root, data) {
    this.outbox = await outboxOf(data);
    if (this.closed) return;
    this.view = new View(root, data, {
      choose: (classId, at) => this.choose(classId, at),
      act: (name, at, reason) => this.act(name, at, reason),
      add: (name) => this.changes.add(name),
      change: (method, classId, body) => this.changes.change(method, classId, body),
      rename: (annotator) => this.rename(annotator),
      revisit: (entry) => this.revisit(entry),
      refuse: (words) => this.refuse(words),
    });
    this.changes = new ClassChanges(this.view);
    const { outbox } = this;
    const [changed, taken] = [() => this.show(), () => this.view.taken(this.held !== null)];
    this.questions = new Questions(outbox, data.read_ahead, { changed, taken, annotator: this.view.annotator });
    const { questions } = this;
    outbox.join({
      changed,
      confirmed: (ids) => questions.confirmed(ids),
      refused: ({ id, image_id }, reason) => {
        this.view.strip.takeBack(image_id, id);
        this.view.say(`Image ${image_id} was not saved: ${reason}`, true);
      },
    });
    this.listen();
    this.renewal = setInterval(() => questions.renewHeld(), data.lease_seconds * 1000 * AHEAD_PERIOD);
    this.again = setInterval(() => this.missesImages() && questions.ask(), ASK_AGAIN_MS);
    this.unsubscribe = live.follow(outbox.logId, (project, connected) => this.hear(project, connected));
    this.view.strip.draw();
    // Before asking the queue, which frees the images that this page does not hold.
    if (data.image && namedByAddress() === data.image) await this.openByAddress(data.image);
    if (!this.closed) questions.ask();
  }

  /** Whether no image is loading, and no notification from the labeler will say when one becomes readable. */
  missesImages() {
    return this.questions.failed || (this.questions.empty && this.trouble);
  }

  close() {
    this.closed = true;
    clearInterval(this.renewal);
    clearInterval(this.again);
    this.unsubscribe?.();
    this.stopListening.abort();
    this.outbox?.leave();
    this.view?.choice.close?.();
  }

  listen() {
    const { signal } = this.stopListening;
    listenForKeys((key) => this.press(key), {
      signal,
      commands: ["Z", "Y"],
      steps: (name) => name.startsWith("Arrow") && Boolean(this.view.choice.steps),
      elsewhere: () => this.view.inDialog,
    });
    fitBelow(this.view.card, signal, this.view.header);
    leaveOpener();
    leaveFields(/** @type {HTMLElement} */ (this.view.root), signal);
  }

  /** @param {import("../types.js").Project} project @param {boolean} connected */
  hear(project, connected) {
    if (connected && !this.wasConnected) this.outbox.nudge();
    this.wasConnected = connected;
    this.trouble = Boolean(project.scanning?.error); // a store may answer again at any moment
    if (this.questions.current) this.questions.renew(project.query_version);
    else if (this.questions.empty) this.questions.ask(); // images may have been added or released
    this.view.project(project);
    this.show();
  }

  show() {
    const { current } = this.questions;
    const waiting = this.outbox.full;
    if (current !== this.shown || waiting !== this.waited) {
      if (this.shown?.opened) forgetAddress();
      this.shown = current;
      this.waited = waiting;
      this.painted = false;
      this.held = null;
      this.placedAt = performance.now();
      this.view.question(waiting ? null : current);
      if (current && !waiting) this.wait(current);
    }
    this.view.state(this.outbox, this.questions, live.connected);
  }

  /** @param {import("./questions.js").Question} question */
  wait(question) {
    afterPaint(() => {
      if (question !== this.shown || this.waited) return;
      this.painted = true;
      this.paintedAt = performance.now();
      tell("painted", { image_id: question.item.image_id, at: this.paintedAt });
      this.giveHeld(question);
      if (question === this.shown) this.view.painted();
    });
  }

  /** Give the answer that waited, if its image is still on screen. @param {import("./questions.js").Question} question */
  giveHeld(question) {
    if (question !== this.shown) return;
    const { held } = this;
    this.held = null;
    held?.();
  }

  // ------------------------------------------------------------ what the person does

  /** Handle a key. Returns false if it has no meaning here. @param {Key} key */
  press(key) {
    const { choice, classes, stage } = this.view;
    const { search } = classes;
    if (key.command !== null) {
      if (key.shift || key.command === "Y") return choice.redo?.() ?? false;
      this.undo();
      return true;
    }
    const meaning = search.meaning(key, { ...LETTERS, ...choice.letters });
    if (meaning && "act" in meaning) this.act(meaning.act, key.at);
    else if (meaning && "classId" in meaning) this.choose(meaning.classId, key.at);
    else if (meaning) this.refuse(meaning.refusal);
    else if (key.name === "Enter") this.act("accept", key.at);
    else if (!search.text && choice.key?.(key)) return true;
    else if (!search.text && stage.press(key.name)) return true;
    else if (!search.text && key.name === "?") this.view.keys.show();
    else if (search.typing && classes.type(key.name)) return true;
    else return this.pressOther(key.name, search.typing);
    return true;
  }

  /** @param {string} name @param {boolean} typing whether letters search for a class */
  pressOther(name, typing) {
    const { current } = this.questions;
    if (name === "Backspace" && typing) this.view.say("Nothing is typed. Press Shift+Z to undo.");
    else if (name === "Backspace") this.undo();
    else if (name === "ArrowLeft") this.step(-1);
    else if (name === "ArrowRight") this.step(1);
    else if (name === "Escape" && (current?.given || current?.opened)) this.questions.advance();
    else return false;
    return true;
  }

  /** Handle a button or its key. @param {string} name @param {number} at @param {string} [reason] */
  act(name, at, reason) {
    if (name === "undo") this.undo();
    else if (name === "manage") this.view.panel.start();
    else if (name === "keys") this.view.keys.show();
    else if (name === "guide") this.view.guide.toggle();
    else if (name === "accept") this.accept(at);
    else if (!this.questions.current) this.refuse("There is no image yet: that was not counted.");
    else if (name === "none") this.choose(null, at);
    else if (this.view.choice.acts?.includes(name)) this.take(this.view.choice.act?.(name) ?? null, at);
    else if (name === "because") this.view.remarks.ask();
    else if (name === "note") this.view.remarks.write();
    else this.answer(name, { label: null }, at, reason);
  }

  /** Enter: the class that the search found, else the task's answer. @param {number} at */
  accept(at) {
    const { choice, classes } = this.view;
    const { found, unmatched } = classes.search;
    if (unmatched) return this.refuse(unmatched);
    if (found !== undefined) return this.choose(found, at);
    this.take(choice.accept(this.view.suggestions), at);
  }

  /** Process the task's answer. @param {ReturnType<import("../tasks/task.js").Choice["accept"]>} answer @param {number} at */
  take(answer, at) {
    if (answer === "keep") {
      this.view.choice.gave?.();
      this.questions.advance();
    } else if (answer && "refusal" in answer) this.refuse(answer.refusal);
    else if (answer) this.answer("label", answer, at);
  }

  /** A class was pressed, or null for none of them. @param {number | null} classId @param {number} at */
  choose(classId, at) {
    const refusal = this.whyNot() ?? this.whyTooQuick(at);
    if (refusal) return this.refuse(refusal);
    const answer = this.view.choice.press(classId);
    if (answer) this.answer("label", answer, at);
    else this.view.classes.clear();
  }

  /** Why answers do not count now; null if they do. */
  whyNot() {
    if (this.outbox.full) return "Earlier labels are not saved yet, so this one was not counted.";
    if (this.undoing) return "An undo is under way: this answer was not counted.";
    if (this.view.remarks.problem) return this.view.remarks.problem;
    if (this.held && this.painted) return "The answer before this one is being checked: it was not counted.";
    return this.questions.current ? null : "There is no image yet: that was not counted.";
  }

  /**
   * Why an answer comes too early: the image is not painted yet. An answer given before the image was even in place, while the
   * browser was busy, was meant for the previous image.
   * @param {number} at
   */
  whyTooQuick(at) {
    const quick = !this.painted && (this.held || at < this.placedAt);
    return quick ? "Too quick: the image was not on screen yet, so that was not counted." : null;
  }

  /**
   * @param {string} action
   * @param {import("../tasks/task.js").Answer} fields
   * @param {number} at
   * @param {string} [reason]
   */
  answer(action, fields, at, reason) {
    const { current } = this.questions;
    const refusal =
      this.whyNot() ?? (current && this.painted ? whyRefused(current, action, this.view.choice) : this.whyTooQuick(at));
    if (refusal) return this.refuse(refusal);
    if (!current || !this.painted || this.questions.away) {
      this.held = () => this.answer(action, fields, at, reason); // sent once the image is painted, and known to be ours
      if (current && this.painted) this.questions.back().then(() => this.giveHeld(current));
      return;
    }
    const { item } = current;
    const annotation = {
      id: uuid(),
      image_id: item.image_id,
      action: current.opened?.settles ? "settle" : action,
      ...fields,
      annotator: this.view.annotator,
      session: this.outbox.session,
      seconds: Math.max(0, at - this.paintedAt) / 1000,
      query_version: item.query_version,
      reason,
      note: this.view.remarks.note,
    };
    this.history.push(annotation.id);
    this.named = null;
    tell("answer", { ...annotation, at });
    this.view.strip.add(current, annotation);
    this.view.classes.clear();
    this.outbox.add(annotation);
    if (action === "label") this.view.choice.gave?.();
    this.questions.advance();
  }

  /** @param {string} words */
  refuse(words) {
    this.view.say(words);
    tell("refused", { words });
  }

  /** @param {string} annotator */
  rename(annotator) {
    this.history = [];
    this.named = null;
    this.view.strip.forget(); // only their author may correct them
    this.questions.annotator = annotator;
    this.questions.ask();
  }

  /** Show the image in the page's URL, or say why not. @param {string} image */
  async openByAddress(image) {
    const { annotator, strip } = this.view;
    try {
      await this.questions.putFirst(...(await openedByAddress(image, annotator, this.outbox.session, strip)));
    } catch (error) {
      forgetAddress();
      this.view.say(`Image ${image} was not opened: ${/** @type {Error} */ (error).message}`, true);
    }
  }

  /** Show an answered image again to correct it; the one on screen comes next. @param {import("./strip.js").Entry} entry */
  async revisit(entry) {
    if (!this.undoing) await this.questions.putFirst(entry.item, entry);
  }

  /** Go to the previous answer (-1) or the next one (1), and after the last one back to the queue. @param {number} by */
  step(by) {
    const given = this.questions.current?.given;
    const entry = this.view.strip.beside(given, by);
    if (entry) this.revisit(entry);
    else if (by > 0 && given) this.questions.advance();
  }

  /** Undo the last step on the image; else this page's last answer, or after a reload the annotator's. Waits for labels being saved. */
  async undo() {
    if (!this.undoing && this.view.choice.undo?.()) return undefined;
    if (!live.connected && this.outbox.items.length) {
      return this.view.say("Nothing was undone: the labeler cannot be reached.", true); // the card stays usable
    }
    if (this.undoing++) return; // the loop below processes it
    this.view.say("Undoing …");
    while (this.undoing > 0) {
      await this.undoOne();
      this.undoing = Math.max(0, this.undoing - 1);
    }
  }

  async undoOne() {
    await this.outbox.empty();
    const target = this.history.at(-1) ?? this.named;
    // An answer from another page is announced first; a second press undoes it.
    const body = { id: uuid(), annotator: this.view.annotator, session: this.outbox.session, target, ask: !target };
    try {
      const answer = await ask("/api/undo", { body, patience: ASK_MS });
      this.named = null;
      this.history.pop();
      const many = answer.undone > 1; // from another page, so the strip does not have them
      const draft = many ? undefined : this.view.strip.takeBack(answer.image_id, target)?.answer;
      await this.questions.putFirst(answer, this.view.strip.of(answer.image_id), undefined, draft ?? undefined);
      this.view.say(many ? `Undid ${count(answer.undone, "answer")} given at once.` : "Undone.");
      tell("undone", { image_id: answer.image_id });
    } catch (error) {
      this.notUndone(/** @type {Error} */ (error));
    }
  }

  /** @param {Error} error */
  notUndone(error) {
    this.undoing = 0; // earlier presses did not mean the announced answer
    if (error instanceof Refused && error.answer.target) {
      this.named = error.answer.target;
      return this.view.say(`${error.message} Undo again to do that.`);
    }
    if (error instanceof Refused) {
      this.named = null;
      this.history.pop(); // otherwise the labeler would refuse it again
    }
    this.view.say(`Nothing was undone: ${error.message}`, true);
  }
}
