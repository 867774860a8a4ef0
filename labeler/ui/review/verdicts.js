// The verdicts on a doubtful label, by the project's task. With several classes per image, the yes or no of one class is
// doubtful, and the opposite is proposed.

/** @typedef {import("./doubts.js").Doubt} Doubt */
/** @typedef {import("../card/choice.js").Given} Given */
/**
 * @typedef {object} Verdicts
 * @property {Record<string, string>} letters keys, and the action of each
 * @property {(judged: { image_id: number, proposed: number }) => number | string} key identifies a doubt
 * @property {(doubt: any) => any} read the doubt with the words for both labels
 * @property {(doubt: Doubt) => Given} keep the label as it is
 * @property {(doubt: Doubt) => Given} fix the proposed label
 * @property {boolean} other whether another class can be given
 * @property {(refusal: string) => string} noClass the message for a key without a class
 */

/** @type {Verdicts} */
const one = {
  letters: { K: "keep", X: "remove", S: "unsure", Z: "undo" },
  key: ({ image_id }) => image_id,
  read: (doubt) => doubt,
  keep: ({ label }) => ({ label }),
  fix: ({ proposed }) => ({ label: proposed }),
  other: true,
  noClass: (refusal) => refusal,
};

/** @type {Verdicts} */
const many = {
  letters: { K: "keep", S: "unsure", Z: "undo" },
  key: ({ image_id, proposed }) => `${image_id}/${proposed}`,
  read: (doubt) => ({
    ...doubt,
    label_name: named(doubt.label_name, doubt.given),
    proposed_name: named(doubt.label_name, !doubt.given),
  }),
  keep: ({ label, given }) => says(label, Boolean(given)),
  fix: ({ label, given }) => says(label, !given),
  other: false,
  noClass: () => "Press Enter to accept what is proposed, or K to keep the label.",
};

/** @type {Verdicts} */
const boxes = {
  letters: { K: "keep", S: "unsure", Z: "undo" },
  key: ({ image_id }) => image_id, // one box at a time: the next one is judged with the new answer
  read: (doubt) => ({ ...doubt, ...wordsOf(doubt) }),
  keep: ({ kept }) => ({ label: null, answer: kept }),
  fix: ({ answer }) => ({ label: null, answer }),
  other: false,
  noClass: () => "Press Enter to accept what is proposed, or K to keep the boxes.",
};

/** @param {string} task */
export function verdictsOf(task) {
  return { multilabel: many, detection: boxes }[task] ?? one;
}

/** Both answers in words, of one box. @param {any} doubt */
function wordsOf({ kind, label_name, proposed_name }) {
  if (kind === "missing") return { label_name: "nothing there", proposed_name: `${proposed_name} there` };
  if (kind === "place") return { label_name: `${label_name} as drawn`, proposed_name: `${label_name} as found` };
  return { label_name, proposed_name };
}

/** @param {string} name @param {boolean} yes */
function named(name, yes) {
  return yes ? name : `not ${name}`;
}

/** An answer that keeps the image's other classes. @param {number} label @param {boolean} yes @returns {Given} */
function says(label, yes) {
  return { label: null, answer: { yes: yes ? [label] : [], no: yes ? [] : [label], merge: true } };
}
