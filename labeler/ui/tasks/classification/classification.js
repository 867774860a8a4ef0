// The task classification on the pages: one class per image.

import { ONE_CLASS } from "../../classes/class_words.js";
import { ChoiceOne } from "./choice.js";
import { MarkOne } from "./marking.js";

/** @type {import("../task.js").Verdicts} */
const verdicts = {
  letters: { K: "keep", X: "remove", S: "unsure", Z: "undo" },
  other: true,
  estimates: true,
  words: {
    few: "Flywheel needs at least ten labels, of two classes, to judge each by the others.",
    how: "Each label is judged by models that were not trained on it.",
    usually: "",
    none: "No label is in doubt",
  },
  key: ({ image_id }) => image_id,
  read: (doubt) => doubt,
  keep: ({ label }) => ({ label }),
  fix: ({ proposed }) => ({ label: proposed }),
  noClass: (refusal) => refusal,
};

/** @type {import("../task.js").Task} */
export const classification = {
  name: "classification",
  metric: "accuracy",
  classWords: ONE_CLASS,
  namesClasses: true,
  severalClasses: false,
  predictsClass: true,
  choice: (_root, classes) => new ChoiceOne(classes),
  marking: (root, query) => new MarkOne(root, query),
  verdicts,
};
