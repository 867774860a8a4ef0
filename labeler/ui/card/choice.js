// What an answer is on the card, by the project's task. `ChoiceOne`, `ChoiceMany` and `ChoiceBoxes` say what a class that is
// pressed does, what Enter does, and how answers are put in words; nothing else of the card depends on the task.

import { keepFor } from "../lib/task.js";
import { ChoiceBoxes } from "./choice_boxes.js";
import { ChoiceMany } from "./choice_many.js";
import { ChoiceOne } from "./choice_one.js";

/** @typedef {import("../types.js").Suggestion} Suggestion */
/** @typedef {import("../types.js").Answered} Answered */
/** @typedef {import("../types.js").SuggestedBox} SuggestedBox */
/** @typedef {import("./questions.js").Question} Question */
/** @typedef {{ label: number | null, answer?: any }} Given what an annotation holds of the answer */
/**
 * @typedef {object} Choice
 * @property {Record<string, string>} letters keys of its own, and the action of each
 * @property {[string, string][]} reasons why an image gets no label: what is done with it, and the words
 * @property {string} measure what `figure` is called
 * @property {(project: import("../types.js").Project) => import("../types.js").Interval | null | undefined} figure how good
 *   the model is
 * @property {string} correct how an answer of others is corrected
 * @property {string} again what else one may do with an own answer than keep it
 * @property {(question: Question | null, suggestions: Suggestion[], preselect: boolean, boxes: SuggestedBox[]) => void} begin
 *   a question is on screen; `preselect`: the suggested classes begin switched on
 * @property {() => void} draw the classes changed
 * @property {(classId: number | null) => Given | null} press a class was pressed, or null for none of them: the answer, or
 *   null where the card waits for more
 * @property {(suggestions: Suggestion[]) => Given | { refusal: string } | "keep" | null} accept what Enter gives, with the
 *   suggestions shown at that moment; "keep": the answer stays as it was
 * @property {(suggestions: Suggestion[]) => string | null} swipe what a sweep to the right would do; null if nothing
 * @property {(suggestions: Suggestion[], boxes: SuggestedBox[]) => (string | Element)[]} hint the model's proposal in words
 * @property {(project: import("../types.js").Project | null) => string} without the words where it proposes nothing
 * @property {(suggestions: Suggestion[]) => Suggestion[]} others what the line of further suggestions holds
 * @property {(suggestions: Suggestion[]) => Set<number>} marked the classes that are marked as suggested
 * @property {(answer: Answered) => string} words a label in words
 * @property {(answers: Answered[], from: number, into: number) => void} relabel a class was merged into another
 * @property {string[]} [acts] further actions, which have buttons
 * @property {(name: string) => Given | { refusal: string } | null} [act] do one of `acts`
 * @property {(key: import("../lib/keys.js").Key) => boolean} [key] a key that is for no action: false if it means nothing here
 * @property {boolean} [steps] whether arrow keys move something by steps
 * @property {() => boolean} [undo] take a step on this image back; false if there is none
 * @property {() => boolean} [redo]
 * @property {() => void} [gave] a label was taken as the image's answer
 * @property {() => void} [close] the card is gone
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
