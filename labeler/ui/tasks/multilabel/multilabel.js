// The task multilabel on the pages: an image may have several classes. In the review, the yes or no of one class is doubtful,
// and the opposite is proposed.

import { SEVERAL_CLASSES } from "../../classes/class_words.js";
import { ChoiceMany } from "./choice.js";
import { MarkMany } from "./marking.js";

/** @type {import("../task.js").Verdicts} */
const verdicts = {
  letters: { K: "keep", S: "unsure", Z: "undo" },
  other: false,
  estimates: true,
  words: {
    few: "Flywheel needs at least ten labels, of two classes, to judge each by the others.",
    how: "Each label is judged by models that were not trained on it.",
    usually: "",
    none: "No label is in doubt",
  },
  key: ({ image_id, proposed }) => `${image_id}/${proposed}`,
  read: (doubt) => ({
    ...doubt,
    label_name: named(doubt.label_name, doubt.given),
    proposed_name: named(doubt.label_name, !doubt.given),
  }),
  keep: ({ label, given }) => says(label, Boolean(given)),
  fix: ({ label, given }) => says(label, !given),
  noClass: () => "Press Enter to accept what is proposed, or K to keep the label.",
};

/** @type {import("../task.js").Task} */
export const multilabel = {
  name: "multilabel",
  metric: "macro F1",
  classWords: SEVERAL_CLASSES,
  namesClasses: true,
  severalClasses: true,
  predictsClass: true,
  choice: (root, classes) => new ChoiceMany(root, classes),
  marking: (root, query) => new MarkMany(root, query),
  verdicts,
};

/** @param {string} name @param {boolean} yes */
function named(name, yes) {
  return yes ? name : `not ${name}`;
}

/** An answer that keeps the image's other classes. @param {number} label @param {boolean} yes @returns {import("../task.js").Answer} */
function says(label, yes) {
  return { label: null, answer: { yes: yes ? [label] : [], no: yes ? [] : [label], merge: true } };
}
