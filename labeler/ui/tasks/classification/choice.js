// One class per image: pressing a class answers, and Enter accepts the suggestion.

import { element } from "../../lib/dom.js";
import { percent } from "../../lib/text.js";

/** @typedef {import("../../types.js").Suggestion} Suggestion */
/** @typedef {import("../../types.js").Answered} Answered */
/** @typedef {import("../task.js").Choice} Choice */

/** @implements {Choice} */
export class ChoiceOne {
  /** @type {Record<string, string>} */
  letters = {};
  measure = "accuracy";
  correct = "Choose a class to correct it";
  again = "Answer again";
  /** @type {[string, string][]} */
  reasons = [
    ["skip", "I cannot tell"],
    ["skip", "Several classes fit"],
    ["skip", "No class fits"],
    ["flag", "Damaged or unreadable"],
    ["flag", "Should not be here"],
  ];

  /** @param {{ nameOf: (classId: number | null | undefined) => string }} classes */
  constructor(classes) {
    this.classes = classes;
    this.given = false;
  }

  /** @param {import("../../card/questions.js").Question | null} question */
  begin(question) {
    this.given = Boolean(question?.given);
  }

  draw() {}

  /** @param {number | null} classId */
  press(classId) {
    return { label: classId };
  }

  /** An earlier answer that is shown again stays unchanged. @param {Suggestion[]} suggestions @returns {"keep" | { label: number } | null} */
  accept([best]) {
    if (this.given) return "keep";
    return best ? { label: best.label } : null;
  }

  /** @param {Suggestion[]} suggestions */
  swipe([best]) {
    return best?.name ?? null;
  }

  /** @param {Suggestion[]} suggestions @returns {(string | Element)[]} */
  hint([best]) {
    return ["Suggestion ", element("strong", best.name), ` ${percent(best.confidence)} `, element("kbd", "Enter")];
  }

  /** @param {import("../../types.js").Project} project */
  figure({ accuracy }) {
    return accuracy;
  }

  without() {
    return "No suggestion yet: the model has too few labels.";
  }

  /** @param {Suggestion[]} suggestions */
  others(suggestions) {
    return suggestions.slice(1);
  }

  /** @param {Suggestion[]} suggestions */
  marked(suggestions) {
    return new Set(suggestions.slice(0, 1).map(({ label }) => label));
  }

  /** @param {Answered} answer */
  words({ label }) {
    return this.classes.nameOf(label);
  }

  /** @param {Answered[]} answers @param {number} from @param {number} into */
  relabel(answers, from, into) {
    for (const answer of answers) if (answer.label === from) answer.label = into;
  }
}
