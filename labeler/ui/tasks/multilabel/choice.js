// Several classes per image: pressing a class switches it on or off, and Enter confirms the classes that are on. "None of
// these" is an answer like any other, and excludes the classes. Classes that the card did not show stay unknown.

import { element, find, setText } from "../../lib/dom.js";
import { percent } from "../../lib/text.js";
import { classesInWords, NONE, namesOf, saysNoToAll } from "./words.js";

/** @typedef {import("../../types.js").Suggestion} Suggestion */
/** @typedef {import("../../types.js").Answered} Answered */
/** @typedef {import("../task.js").Choice} Choice */
/** @typedef {import("../../types.js").Classes} Classes */

const NOTHING = "Choose what the image shows, or “None of these”.";

/** @implements {Choice} */
export class ChoiceMany {
  /** @type {Record<string, string>} */
  letters = { X: "none" };
  measure = "macro F1";
  correct = "Change its classes and confirm";
  again = "Change it and confirm";
  /** @type {[string, string][]} */
  reasons = [
    ["skip", "I cannot tell"],
    ["flag", "Damaged or unreadable"],
    ["flag", "Should not be here"],
  ];

  /**
   * @param {Element} root
   * @param {import("../../classes/list.js").ClassList} classes
   */
  constructor(root, classes) {
    this.classes = classes;
    this.chosen = find(root, ".chosen");
    this.noneButton = find(root, "[data-act=none]");
    this.more = find(root, ".topk");
    /** @type {Set<number>} */
    this.on = new Set();
    this.none = false; // whether "None of these" is on
    /** @type {Set<number>} */
    this.offered = new Set(); // classes shown with this image: each of them is answered with yes or no
    /** @type {Classes | null} */
    this.before = null; // the image's answer so far
    this.asking = false; // whether there is a question
    this.begun = false; // whether a class was pressed
  }

  get known() {
    return this.classes.known.map(({ id }) => id);
  }

  /** @param {import("../../card/questions.js").Question | null} question @param {Suggestion[]} suggestions @param {boolean} preselect */
  begin(question, suggestions, preselect) {
    const others = question?.opened?.settles ? question.opened : undefined; // otherwise the second opinion must be independent
    const now = question?.given?.answers.at(-1) ?? others;
    this.asking = question !== null;
    this.begun = false;
    this.before = (now?.action ?? "label") === "label" ? (now?.answer ?? null) : null;
    const first = question?.draft ?? this.before;
    const trusted = preselect && question?.item.purpose === "query" && !now && !first;
    const proposed = trusted ? suggestions.filter(({ chosen }) => chosen).map(({ label }) => label) : [];
    this.on = new Set(first?.yes ?? proposed);
    this.none = first !== null && saysNoToAll(first, this.classes.known);
    this.offered = new Set(this.known);
    this.draw();
  }

  draw() {
    if (!this.offered.size) this.offered = new Set(this.known); // the image arrived before the classes
    if (this.known.length) for (const id of this.on) if (!this.known.includes(id)) this.on.delete(id); // a deleted class
    this.classes.turnOn(this.on);
    for (const button of this.more.children) button.ariaPressed = String(this.on.has(Number(button.dataset.classId)));
    this.noneButton.ariaPressed = String(this.none);
    const words = this.chosenInWords;
    setText(this.chosen, words);
    this.chosen.title = words;
  }

  /** @param {number | null} classId */
  press(classId) {
    this.begun = true;
    if (classId === null) {
      this.none = !this.none;
      if (this.none) this.on.clear();
    } else {
      this.none = false;
      this.offered.add(classId);
      if (!this.on.delete(classId)) this.on.add(classId);
    }
    this.draw();
    return null;
  }

  /** @returns {"keep" | import("../task.js").Answer | { refusal: string } | null} */
  accept() {
    if (!this.asking) return null;
    if (!this.on.size && !this.none) return { refusal: NOTHING };
    const answer = this.answer;
    if (this.before && isSame(this.before, answer)) return "keep";
    return { label: null, answer };
  }

  /** @returns {Classes} */
  get answer() {
    const no = this.known.filter((id) => this.offered.has(id) && !this.on.has(id));
    return { yes: sorted(this.on), no: sorted(no) };
  }

  /** The names of the classes that are on. */
  get chosenInWords() {
    return this.none ? NONE : namesOf(this.on, this.classes.known);
  }

  swipe() {
    return this.chosenInWords || "Choose a class first";
  }

  /** @param {Suggestion[]} suggestions @returns {(string | Element)[]} */
  hint(suggestions) {
    const chosen = suggestions.filter(({ chosen }) => chosen);
    if (!chosen.length) return [`The model sees none of these. Most likely: ${inWords(suggestions[0])}`];
    return ["Suggested: ", element("strong", chosen.map(inWords).join(", "))];
  }

  /** @param {import("../../types.js").Project} project */
  figure({ macro_f1 }) {
    return macro_f1;
  }

  without() {
    return "No suggestion yet: the model has too few labels.";
  }

  /** @param {Suggestion[]} suggestions */
  others(suggestions) {
    return suggestions;
  }

  /** @param {Suggestion[]} suggestions */
  marked(suggestions) {
    return new Set(suggestions.filter(({ chosen }) => chosen).map(({ label }) => label));
  }

  /** @param {Answered} given */
  words({ answer }) {
    return answer ? classesInWords(answer, this.classes.known) : "";
  }

  /** @param {Answered[]} answers @param {number} from @param {number} into */
  relabel(answers, from, into) {
    for (const { answer } of answers) if (answer) merge(answer, from, into);
    if (this.on.delete(from)) this.on.add(into);
  }
}

/** @param {Suggestion} suggestion */
function inWords({ name, confidence }) {
  return `${name} ${percent(confidence)}`;
}

/** @param {Iterable<number>} ids */
function sorted(ids) {
  return [...ids].sort((a, b) => a - b);
}

/** @param {Classes} a @param {Classes} b */
function isSame(a, b) {
  return [a.yes, a.no].map(sorted).join(";") === [b.yes, b.no].map(sorted).join(";");
}

/** Merge as the labeler does: a no to one part is not a no to the whole. @param {Classes} answer @param {number} from @param {number} into */
function merge(answer, from, into) {
  answer.yes = sorted(new Set(answer.yes.map((id) => (id === from ? into : id))));
  answer.no = answer.no.filter((id) => id !== from && !answer.yes.includes(id));
}
