// What the answers with a class are called, by kind of task: where they are counted, and where the class changes.

/**
 * @typedef {object} ClassWords
 * @property {string} counted what is counted of a class
 * @property {string} total what is counted of all answers
 * @property {string} of begins a count of what becomes another class
 * @property {string} kind what becomes another class
 * @property {string} none if there is nothing of a class
 * @property {(images: number) => string} lost what images lose with the class
 */

/** @type {ClassWords} */
export const ONE_CLASS = {
  counted: "label",
  total: "label",
  of: "",
  kind: "labels",
  none: "No image has this label.",
  lost: () => "this label and will be asked again",
};

/** @type {ClassWords} */
export const SEVERAL_CLASSES = { ...ONE_CLASS, lost: () => "this class; other classes stay" };

/** @type {ClassWords} */
export const BOXES = {
  counted: "image",
  total: "labeled image",
  of: "the boxes of ",
  kind: "boxes",
  none: "No image has a box of this class.",
  lost: (images) => `${images === 1 ? "its" : "their"} boxes of this class; other boxes stay`,
};
