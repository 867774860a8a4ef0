// What a class and Enter mean for the chosen images, by the project's task. Nothing else of the grid depends on the task.

import { keepFor } from "../lib/task.js";
import { MarkBoxes } from "./mark_boxes.js";
import { MarkMany } from "./mark_many.js";
import { MarkOne } from "./mark_one.js";

/** @typedef {import("./tiles.js").Tile} Tile */
/**
 * An answer about the chosen images.
 * @typedef {object} Mark
 * @property {string} action
 * @property {(tile: Tile) => import("../card/choice.js").Given | undefined} of what it says of an image; undefined leaves
 *   the image out
 * @property {string} did what became of the images, in words
 * @property {boolean} leaves whether an image that has it no longer belongs to the view
 */
/**
 * @typedef {object} Marking
 * @property {Record<string, string>} letters keys of its own, and the action of each
 * @property {string | null} buttons what pressing a class does, before its name; null where no class can be pressed
 * @property {string} [elsewhere] where classes are given, if not here
 * @property {number | null | undefined} active the class that is asked about; undefined where none ever is
 * @property {import("../types.js").ClassEntry[]} classes
 * @property {(id: number) => Mark | { refusal: string } | null} press a class was pressed: the answer, or null where it only
 *   says which class is meant
 * @property {() => Mark | { refusal: string }} accept what Enter gives
 * @property {() => Mark | { refusal: string }} decline what the key for No gives
 * @property {(chosen: number) => { choose: boolean, answer: boolean }} draw so many images are chosen; returns whether
 *   classes, and what Enter does, can be pressed
 * @property {(tile: Tile) => string} words what is known of an image
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
