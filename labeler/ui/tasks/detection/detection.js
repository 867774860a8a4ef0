// The task detection on the pages: an answer is the boxes of all objects. In the review, one box is doubtful.

import { BOXES } from "../../classes/class_words.js";
import { ChoiceBoxes } from "./choice.js";
import { MarkBoxes } from "./marking.js";
import { drawOver } from "./overlay.js";

/** @type {import("../task.js").Verdicts} */
const verdicts = {
  letters: { K: "keep", S: "unsure", Z: "undo" },
  other: false,
  estimates: false,
  words: {
    few: "Flywheel needs at least ten labeled images, four of them with boxes, to judge each by the others.",
    how: "Two detectors each learn one half of the images, and detect boxes in the other.",
    usually: "This takes a minute or two.",
    none: "No box is in doubt",
  },
  key: ({ image_id }) => image_id, // one box at a time: the next one is judged with the new answer
  read: (doubt) => ({ ...doubt, ...wordsOf(doubt) }),
  keep: ({ kept }) => ({ label: null, answer: kept }),
  fix: ({ answer }) => ({ label: null, answer }),
  noClass: () => "Press Enter to accept what is proposed, or K to keep the boxes.",
  evidence: "Found by a detector that has not learned this image. Thin: drawn. Dashed: in doubt. Thick: proposed.",
  drawOver,
};

/** @type {import("../task.js").Task} */
export const detection = {
  name: "detection",
  metric: "mAP",
  classWords: BOXES,
  namesClasses: true,
  severalClasses: true,
  predictsClass: false,
  choice: (root, classes, stage, page) => new ChoiceBoxes(root, classes, stage, page),
  marking: (root) => new MarkBoxes(root),
  verdicts,
};

/** Both answers in words, of one box. @param {any} doubt */
function wordsOf({ kind, label_name, proposed_name }) {
  if (kind === "missing") return { label_name: "nothing there", proposed_name: `${proposed_name} there` };
  if (kind === "place") return { label_name: `${label_name} as drawn`, proposed_name: `${label_name} as found` };
  return { label_name, proposed_name };
}
