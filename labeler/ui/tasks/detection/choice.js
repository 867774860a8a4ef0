// Boxes on an image: Enter confirms that all objects are boxed, and a separate key confirms that there is nothing. The model's
// suggestions are shown as boxes on the image. Unchanged suggestions are accepted with the rest.

import { element, find, setText } from "../../lib/dom.js";
import { number } from "../../lib/text.js";
import { Drafts } from "./boxes/drafts.js";
import { Editor } from "./boxes/editor.js";
import { Edits, isOpen, isSame, MOST } from "./boxes/edits.js";
import { amount, anyOf, boxesInWords, described, summary } from "./boxes/words.js";

/** @typedef {import("../../types.js").Suggestion} Suggestion */
/** @typedef {import("../../types.js").Answered} Answered */
/** @typedef {import("../../types.js").ClassEntry} ClassEntry */
/** @typedef {import("../task.js").Choice} Choice */

const FIRST_SUGGESTIONS = 5; // number of labeled images from which the model makes suggestions
const FALLBACK = "#ffffff"; // colour of a box whose class was deleted

/** @implements {Choice} */
export class ChoiceBoxes {
  /** @type {Record<string, string>} */
  letters = { X: "reject", M: "duplicate", A: "add-box", V: "nothing" };
  acts = ["reject", "duplicate", "add-box", "nothing", "redo", "next-box"];
  measure = "mAP at IoU 0.5";
  correct = "Change the boxes and confirm";
  again = "Change the boxes and confirm";
  /** @type {[string, string][]} */
  reasons = [
    ["skip", "I cannot tell"],
    ["skip", "Too many objects"],
    ["flag", "Damaged or unreadable"],
    ["flag", "Should not be here"],
  ];

  /**
   * @param {Element} root
   * @param {import("../../classes/list.js").ClassList} classes
   * @param {import("../../stage/stage.js").Stage} stage
   * @param {{ palette: string[], logId: string, say: (words: string) => void }} page `palette`: colours of classes without
   *   their own
   */
  constructor(root, classes, stage, { palette, logId, say }) {
    this.classes = classes;
    this.palette = palette;
    this.say = say;
    this.chosen = find(root, ".chosen");
    this.buttons = Object.fromEntries(this.acts.map((name) => [name, find(root, `[data-act=${name}]`)]));
    this.rejectWords = find(root, "[data-act=reject] span");
    this.drafts = new Drafts(logId);
    this.editor = new Editor(root, stage, { look: (label) => this.look(label), changed: () => this.show(), say });
    /** @type {import("../../card/questions.js").Question | null} */
    this.question = null;
    /** @type {{ boxes: import("./boxes/edits.js").AnswerBox[] } | null} */
    this.before = null; // the image's answer so far
    this.confirming = false; // whether a second press will reject all boxes
    /** @type {number | null} */
    this.answered = null; // the image that was just answered, whose draft is no longer needed
  }

  close() {
    this.drafts.close();
    this.editor.close();
  }

  get edits() {
    return this.editor.edits;
  }

  get begun() {
    return this.edits.changed;
  }

  /** @param {number} label */
  look(label) {
    const entry = this.classes.known.find(({ id }) => id === label);
    return { name: entry?.name ?? "?", colour: entry?.colour ?? FALLBACK };
  }

  /** The classes with their colours: their own, or the next one of the palette, as on the map. @param {ClassEntry[]} classes @returns {ClassEntry[]} */
  coloured(classes) {
    let next = 0;
    return classes.map((each) => ({ ...each, colour: each.colour ?? this.palette[next++ % this.palette.length] }));
  }

  /**
   * @param {import("../../card/questions.js").Question | null} question
   * @param {Suggestion[]} _suggestions
   * @param {boolean} _preselect
   * @param {import("../../types.js").SuggestedBox[]} suggested
   */
  begin(question, _suggestions, _preselect, suggested) {
    if (this.answered !== null && this.answered === this.question?.item.image_id) this.drafts.forget(this.answered);
    this.answered = null;
    this.question = question;
    const others = question?.opened?.settles ? question.opened : undefined; // otherwise the second opinion must be independent
    const now = question?.given?.answers.at(-1) ?? others;
    this.before = (now?.action ?? "label") === "label" ? (now?.answer ?? null) : null;
    this.editor.begin(question, this.first(question, now ? [] : suggested));
  }

  /** @param {import("../../card/questions.js").Question | null} question @param {import("../../types.js").SuggestedBox[]} suggested */
  first(question, suggested) {
    const { image_id, width, height } = question?.item ?? {};
    const size = { width: width ?? 1, height: height ?? 1 };
    if (!question || image_id === undefined) return new Edits(size);
    const draft = this.drafts.of(image_id, size);
    if (draft) return draft;
    if (question.draft?.boxes) return Edits.answered(size, question.draft.boxes);
    return this.before ? Edits.answered(size, this.before.boxes) : Edits.suggested(size, suggested);
  }

  /** The classes changed. */
  draw() {
    const known = this.classes.known.map(({ id }) => id);
    if (this.editor.label === null || !known.includes(this.editor.label)) this.editor.label = known[0] ?? null;
    this.show();
    this.editor.draw({ rest: true });
  }

  /** Describe the boxes on the image, and save the draft. */
  show() {
    if (!this.editor) return;
    const { edits, editor } = this;
    const { box } = edits;
    this.confirming = false;
    this.keep();
    this.classes.turnOn(new Set([box && !edits.fresh ? box.label : (editor.label ?? -1)]));
    const all = this.question ? summary(edits.boxes, this.classes.known) : "";
    const words = box ? described(box, editor.hand.number, edits.boxes.length, this.look(box.label).name) : all;
    setText(this.chosen, words);
    this.chosen.title = words;
    editor.rest.ariaLabel = all;
    setText(this.rejectWords, box && isOpen(box) ? "Reject" : "Delete");
    const idle = {
      reject: !box,
      duplicate: !box,
      redo: !edits.future.length,
      "next-box": !edits.boxes.length,
      "add-box": !editor.open,
      nothing: !editor.open,
    };
    for (const [name, disabled] of Object.entries(idle)) this.buttons[name].disabled = disabled;
  }

  keep() {
    const { question, edits } = this;
    if (!question || question.opened?.held) return;
    if (edits.changed) this.drafts.keep(question.item.image_id, edits);
    else this.drafts.forget(question.item.image_id);
  }

  /** Set the class of the selected box, or of the next one. @param {number | null} classId */
  press(classId) {
    if (classId === null) return null;
    const { edits, editor } = this;
    if (edits.picked !== null && !edits.fresh) edits.change({ label: classId });
    else {
      editor.label = classId;
      edits.pick(null);
    }
    editor.changed();
    return null;
  }

  /** @param {import("../../lib/input/keys.js").Key} key */
  key(key) {
    return this.editor.key(key);
  }

  /** Whether an arrow key moves a box. */
  get steps() {
    return this.editor.steps;
  }

  /** @param {string} name one of `acts` @returns {import("../task.js").Answer | { refusal: string } | null} */
  act(name) {
    const { edits, editor } = this;
    if (name === "nothing") return this.nothing();
    if (name === "next-box") {
      if (!editor.next(1)) editor.next(1); // after the last one, the first
      return null;
    }
    if (name === "redo") edits.redo();
    else if (name === "add-box") editor.add();
    else if (edits.picked === null) return { refusal: "Select a box first: click it, or press Tab." };
    else if (name === "reject") edits.remove();
    else edits.duplicate();
    editor.changed();
    return null;
  }

  /** Answer that nothing is there. If there are boxes, ask first. @returns {import("../task.js").Answer | { refusal: string } | null} */
  nothing() {
    const boxes = this.edits.boxes.length;
    if (boxes && !this.confirming) {
      this.confirming = true;
      const all = boxes === 1 ? "the box" : `all ${amount(boxes)}`;
      return {
        refusal: `There ${boxes === 1 ? "is" : "are"} ${amount(boxes)} on the image. Press ${this.nothingKey} again to remove ${all} and answer “nothing here”.`,
      };
    }
    return this.question && { label: null, answer: { boxes: [] } };
  }

  /** The card has accepted the answer. */
  gave() {
    this.answered = this.question?.item.image_id ?? null;
  }

  /** The key for "nothing here". With many classes, a letter alone searches for a class. */
  get nothingKey() {
    return this.classes.search.typing ? "Shift+V" : "V";
  }

  /** Undo a step on this image; false if there is none. */
  undo() {
    const { editor } = this;
    if (!this.question || !(editor.hand.drop() || this.edits.undo())) return false;
    editor.changed();
    return true;
  }

  redo() {
    if (!this.question || !this.edits.redo()) return false;
    this.editor.changed();
    return true;
  }

  /** @returns {"keep" | import("../task.js").Answer | { refusal: string } | null} */
  accept() {
    const { question, edits, editor } = this;
    if (!question) return null;
    if (!question.broken && !editor.open) return { refusal: "The size of this image is unknown: skip it or flag it." };
    if (editor.hand.deed) return { refusal: "The box is not finished: click its opposite corner, or press Esc." };
    const { boxes } = edits;
    if (boxes.length > MOST) return { refusal: `An image has at most ${number(MOST)} boxes: remove some.` };
    const gone = boxes.find(({ label }) => !this.classes.known.some(({ id }) => id === label));
    if (gone) {
      edits.pick(gone.key);
      editor.changed();
      return { refusal: "The class of this box no longer exists: choose another one, or delete the box." };
    }
    const { answer } = edits;
    if (this.before && isSame(this.before.boxes, answer)) return "keep";
    if (!boxes.length && !question.broken)
      return { refusal: `No box is drawn. Draw one, or press ${this.nothingKey} for “nothing here”.` };
    return { label: null, answer: { boxes: answer } };
  }

  swipe() {
    const { length } = this.edits.boxes;
    return length ? `Confirm ${amount(length)}` : "Draw a box, or press “Nothing here”";
  }

  /** @param {Suggestion[]} _suggestions @param {import("../../types.js").SuggestedBox[]} boxes @returns {(string | Element)[]} */
  hint(_suggestions, boxes) {
    return ["The model suggests ", element("strong", amount(boxes.length)), ": check them."];
  }

  /** @param {import("../../types.js").Project} project */
  figure({ map_50 }) {
    return map_50;
  }

  /** No suggestion came with the image. @param {import("../../types.js").Project | null} project */
  without(project) {
    const labeled = project?.images.labeled ?? 0;
    if (labeled >= FIRST_SUGGESTIONS) return "The model suggests no box here.";
    return "The model suggests boxes after five labeled images.";
  }

  others() {
    return [];
  }

  /** @returns {Set<number>} */
  marked() {
    return new Set();
  }

  /** @param {Answered} given */
  words({ answer }) {
    return answer?.boxes ? boxesInWords(answer.boxes, this.classes.known) : "";
  }

  /** @param {Answered[]} answers @param {number} from @param {number} into */
  relabel(answers, from, into) {
    for (const { answer } of answers) {
      for (const box of answer?.boxes ?? []) if (box.label === from) box.label = into;
    }
    this.drafts.relabel(from, into);
    this.edits.relabel(from, into);
    if (this.editor.label === from) this.editor.label = into;
    this.editor.changed();
  }

  /** The instruction for the person. */
  get task() {
    return `Draw a box around every ${anyOf(this.classes.known)}.`;
  }
}
