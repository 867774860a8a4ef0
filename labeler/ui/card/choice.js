// How the card depends on the project's task. `ChoiceOne`, `ChoiceMany` and `ChoiceBoxes` define what pressing a class and
// Enter do, and how answers are put in words. Nothing else on the card depends on the task.

import { keepFor } from "../lib/task.js";
import { ChoiceBoxes } from "./choice_boxes.js";
import { ChoiceMany } from "./choice_many.js";
import { ChoiceOne } from "./choice_one.js";

/** @typedef {import("../types.js").Suggestion} Suggestion */
/** @typedef {import("../types.js").Answered} Answered */
/** @typedef {import("../types.js").SuggestedBox} SuggestedBox */
/** @typedef {import("./questions.js").Question} Question */
/** @typedef {{ label: number | null, answer?: any }} Given the answer's fields in an annotation */
/**
 * @typedef {object} Choice
 * @property {Record<string, string>} letters its own keys, and the action of each
 * @property {[string, string][]} reasons why an image gets no label: the action, and the words
 * @property {string} measure name of the metric `figure`
 * @property {(project: import("../types.js").Project) => import("../types.js").Interval | null | undefined} figure the model's
 *   quality
 * @property {string} correct instruction for correcting others' answers
 * @property {string} again instruction for changing one's own answer
 * @property {(question: Question | null, suggestions: Suggestion[], preselect: boolean, boxes: SuggestedBox[]) => void} begin
 *   a question is on screen; `preselect`: suggested classes start switched on
 * @property {() => void} draw the classes changed
 * @property {(classId: number | null) => Given | null} press a class was pressed, or null for none of them: the answer, or
 *   null where the card waits for more
 * @property {(suggestions: Suggestion[]) => Given | { refusal: string } | "keep" | null} accept what Enter gives, with the
 *   suggestions shown at that moment; "keep": the answer stays as it was
 * @property {(suggestions: Suggestion[]) => string | null} swipe what a swipe to the right would do, or null
 * @property {(suggestions: Suggestion[], boxes: SuggestedBox[]) => (string | Element)[]} hint the suggestion in words
 * @property {(project: import("../types.js").Project | null) => string} without the words if there is no suggestion
 * @property {(suggestions: Suggestion[]) => Suggestion[]} others further suggestions to list
 * @property {(suggestions: Suggestion[]) => Set<number>} marked the classes that are marked as suggested
 * @property {(answer: Answered) => string} words a label in words
 * @property {(answers: Answered[], from: number, into: number) => void} relabel a class was merged into another
 * @property {string[]} [acts] further actions, which have buttons
 * @property {(name: string) => Given | { refusal: string } | null} [act] do one of `acts`
 * @property {(key: import("../lib/keys.js").Key) => boolean} [key] handle a key without an action; false if it has no meaning
 * @property {boolean} [steps] whether arrow keys move something in steps
 * @property {() => boolean} [undo] undo a step on this image; false if there is none
 * @property {() => boolean} [redo]
 * @property {() => void} [gave] called when an answer was accepted
 * @property {() => void} [close] called when the card is closed
 * @property {(classes: import("../types.js").ClassEntry[]) => import("../types.js").ClassEntry[]} [coloured] the classes as
 *   they are listed
 */

/**
 * @param {string} task
 * @param {Element} root
 * @param {import("./class_list.js").ClassList} classes
 * @param {import("../stage/stage.js").Stage} stage
 * @param {{ palette: string[], logId: string, say: (words: string) => void }} page
 * @returns {Choice}
 */
export function choiceOf(task, root, classes, stage, page) {
  keepFor(task, root);
  if (task === "detection") return new ChoiceBoxes(root, classes, stage, page);
  return task === "multilabel" ? new ChoiceMany(root, classes) : new ChoiceOne(classes);
}
