// The interface of a task on the pages: everything that depends on the kind of label. Pages use the task of their project
// and know no task by name. `registry.js` lists the tasks. The folder of a task contains its own parts of the pages' HTML.

/** @typedef {import("../types.js").Suggestion} Suggestion */
/** @typedef {import("../types.js").Answered} Answered */
/** @typedef {import("../types.js").SuggestedBox} SuggestedBox */
/** @typedef {import("../card/questions.js").Question} Question */
/** @typedef {import("../gallery/tiles.js").Tile} Tile */
/** @typedef {import("../review/doubts.js").Doubt} Doubt */
/** @typedef {{ label: number | null, answer?: any }} Answer the answer's fields in an annotation */
/**
 * @typedef {object} Task
 * @property {string} name as in `shared.tasks`
 * @property {string} metric name of the metric of a goal
 * @property {import("../classes/class_words.js").ClassWords} classWords what the answers with a class are called
 * @property {boolean} namesClasses whether answers name classes
 * @property {boolean} severalClasses whether an image may have several classes
 * @property {boolean} predictsClass whether the model predicts one class per image, which images are filtered and coloured by
 * @property {(root: Element, classes: import("../classes/list.js").ClassList, stage: import("../stage/stage.js").Stage,
 *   page: { palette: string[], logId: string, say: (words: string) => void }) => Choice} choice for the card
 * @property {(root: Element, query: () => import("../gallery/filters.js").Query) => Marking} marking for the grid
 * @property {Verdicts} verdicts for the review
 */
/**
 * The card: what pressing a class and Enter do, and answers in words.
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
 * @property {(classId: number | null) => Answer | null} press a class was pressed, or null for none of them: the answer, or
 *   null if the card waits for more
 * @property {(suggestions: Suggestion[]) => Answer | { refusal: string } | "keep" | null} accept what Enter gives, with the
 *   suggestions shown at that moment; "keep": the answer stays as it was
 * @property {(suggestions: Suggestion[]) => string | null} swipe what a swipe to the right would do, or null
 * @property {(suggestions: Suggestion[], boxes: SuggestedBox[]) => (string | Element)[]} hint the suggestion in words
 * @property {(project: import("../types.js").Project | null) => string} without the words if there is no suggestion
 * @property {(suggestions: Suggestion[]) => Suggestion[]} others further suggestions to list
 * @property {(suggestions: Suggestion[]) => Set<number>} marked the classes that are marked as suggested
 * @property {(answer: Answered) => string} words an answer in words
 * @property {(answers: Answered[], from: number, into: number) => void} relabel a class was merged into another
 * @property {string[]} [acts] further actions, which have buttons
 * @property {(name: string) => Answer | { refusal: string } | null} [act] do one of `acts`
 * @property {(key: import("../lib/input/keys.js").Key) => boolean} [key] handle a key without an action; false if it has no meaning
 * @property {boolean} [steps] whether arrow keys move something in steps
 * @property {() => boolean} [undo] undo a step on this image; false if there is none
 * @property {() => boolean} [redo]
 * @property {boolean} [begun] whether the person has given something for the image that is not sent yet
 * @property {() => void} [gave] called when an answer was accepted
 * @property {() => void} [close] called when the card is closed
 * @property {(classes: import("../types.js").ClassEntry[]) => import("../types.js").ClassEntry[]} [coloured] the classes as
 *   they are listed
 */
/**
 * An answer for the selected images.
 * @typedef {object} Mark
 * @property {string} action
 * @property {(tile: Tile) => Answer | undefined} of the answer for an image; undefined leaves
 *   the image out
 * @property {string} did what was done with the images, in words
 * @property {boolean} leaves whether images with this answer leave the view
 */
/**
 * The grid: what pressing a class and Enter do for the selected images.
 * @typedef {object} Marking
 * @property {Record<string, string>} letters its own keys, and the action of each
 * @property {string | null} buttons what pressing a class does, in words before its name; null if classes cannot be pressed
 * @property {string} [elsewhere] where classes are given, if not here
 * @property {number | null | undefined} active the class that is asked about; undefined if there never is one
 * @property {import("../types.js").ClassEntry[]} classes
 * @property {(id: number) => Mark | { refusal: string } | null} press a class was pressed: the answer, or null where it only
 *   says which class is meant
 * @property {() => Mark | { refusal: string }} accept what Enter gives
 * @property {() => Mark | { refusal: string }} decline what the key for No gives
 * @property {(chosen: number) => { choose: boolean, answer: boolean }} draw draws for this many selected images; returns whether
 *   classes, and what Enter does, can be pressed
 * @property {(tile: Tile) => string | null} [words] describes an image; null if the page's own words will do
 * @property {(picture: any, tile: Tile) => void} [drawOver] draws an image's answer over its picture, if it changed
 */
/**
 * The review: the verdicts on a doubtful label.
 * @typedef {object} Verdicts
 * @property {Record<string, string>} letters keys, and the action of each
 * @property {boolean} other whether another class can be given
 * @property {boolean} estimates whether the number of errors is estimated
 * @property {{ few: string, how: string, usually: string, none: string }} words why no label is in doubt: too few labels; how
 *   they are judged, and how long that usually takes; all are judged
 * @property {(judged: { image_id: number, proposed: number }) => number | string} key identifies a doubt
 * @property {(doubt: any) => any} read the doubt with the words for both labels
 * @property {(doubt: Doubt) => Answer} keep the label as it is
 * @property {(doubt: Doubt) => Answer} fix the proposed label
 * @property {(refusal: string) => string} noClass the message for a key without a class
 * @property {string} [evidence] what speaks for the proposal, if not the most similar images
 * @property {(picture: Element, doubt: any) => void} [drawOver] draws the doubt over the picture
 */

/**
 * Insert the task's own parts into the page's HTML, and remove parts that do not apply to it. A part is a `<template>` in the
 * task's file for this page, named by the slot that it replaces (`labeler.ui.parts.components`).
 * @param {Task} task
 * @param {Element} root
 */
export function fill(task, root) {
  /** @type {NodeListOf<HTMLTemplateElement>} */
  const parts = root.querySelectorAll(`template[data-task="${task.name}"]`);
  const own = [...parts].flatMap(({ content }) => [...content.querySelectorAll("template")]);
  for (const slot of /** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll("[data-slot]"))) {
    const part = own.find(({ dataset }) => dataset.into === slot.dataset.slot);
    slot.replaceWith(...(part ? [part.content] : []));
  }
  for (const part of /** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll("[data-if]"))) {
    if (!task[/** @type {"namesClasses" | "predictsClass"} */ (part.dataset.if)]) part.remove();
  }
}
