// The meaning of a class and of Enter for the selected images, by the project's task. Nothing else of the grid depends on the
// task.

import { keepFor } from "../lib/task.js";
import { MarkBoxes } from "./mark_boxes.js";
import { MarkMany } from "./mark_many.js";
import { MarkOne } from "./mark_one.js";

/** @typedef {import("./tiles.js").Tile} Tile */
/**
 * An answer about the chosen images.
 * @typedef {object} Mark
 * @property {string} action
 * @property {(tile: Tile) => import("../card/choice.js").Given | undefined} of the answer for an image; undefined leaves
 *   the image out
 * @property {string} did what was done with the images, in words
 * @property {boolean} leaves whether images with this answer leave the view
 */
/**
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
 * @property {(tile: Tile) => string} words describes an image
 */

/**
 * @param {string} task
 * @param {Element} root
 * @param {() => import("./filters.js").Query} query
 * @returns {Marking}
 */
export function markingOf(task, root, query) {
  keepFor(task, root);
  if (task === "detection") return new MarkBoxes(root);
  return task === "multilabel" ? new MarkMany(root, query) : new MarkOne(root, query);
}

/** The answer of a button or its key; null if it is none. @param {string} name @param {Marking} marking */
export function markBy(name, marking) {
  if (name === "accept") return marking.accept();
  if (name === "no") return marking.decline();
  const did = { skip: "skipped", flag: "flagged" }[name];
  return did ? { action: name, of: () => undefined, did, leaves: false } : null;
}
