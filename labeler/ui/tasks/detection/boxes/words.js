// Describes boxes in words.

import { number, percent } from "../../../lib/text.js";
import { isOpen } from "./edits.js";

/** @typedef {import("./edits.js").Box} Box */
/** @typedef {import("./edits.js").AnswerBox} AnswerBox */
/** @typedef {import("../../../types.js").ClassEntry} ClassEntry */

export const NOTHING_HERE = "nothing here";
const NAMED = 6; // maximum number of classes named in a sentence

/** "2 red, 1 green", or "nothing here". @param {readonly Pick<AnswerBox, "label">[]} boxes @param {ClassEntry[]} known */
export function boxesInWords(boxes, known) {
  if (!boxes.length) return NOTHING_HERE;
  /** @type {Map<number, number>} */
  const counts = new Map();
  for (const { label } of boxes) counts.set(label, (counts.get(label) ?? 0) + 1);
  const named = known.filter(({ id }) => counts.has(id)).map(({ id, name }) => `${take(counts, id)} ${name}`);
  const gone = [...counts.values()].reduce((sum, each) => sum + each, 0);
  return [...named, ...(gone ? [`${gone} of a class that no longer exists`] : [])].join(", ");
}

/** @param {Map<number, number>} counts @param {number} id */
function take(counts, id) {
  const found = counts.get(id);
  counts.delete(id);
  return found;
}

/** A summary of the boxes on the image, and what to do next. @param {readonly Box[]} boxes @param {ClassEntry[]} known */
export function summary(boxes, known) {
  if (!boxes.length && known.length > NAMED) return "No box yet. Box every object of these classes.";
  if (!boxes.length) return `No box yet. Draw a box around every ${anyOf(known)}.`;
  const open = boxes.filter(isOpen).length;
  const all = `${amount(boxes.length)}: ${boxesInWords(boxes, known)}`;
  return open ? `${all}. ${open} suggested` : all;
}

/** "1 box", "2 boxes". @param {number} n */
export function amount(n) {
  return n === 1 ? "1 box" : `${number(n)} boxes`;
}

/** "red, green or blue", or "object of these classes" if there are many. @param {ClassEntry[]} known */
export function anyOf(known) {
  const names = known.map(({ name }) => name);
  if (!names.length || names.length > NAMED) return "object of these classes";
  const last = names.pop();
  return names.length ? `${names.join(", ")} or ${last}` : String(last);
}

/** The selected box in words. @param {Box} box @param {number} number @param {number} of @param {string} name of its class */
export function described(box, number, of, name) {
  const from = isOpen(box) ? `, suggested (${percent(Number(box.confidence))})` : "";
  const [x, y, w, h] = [box.x, box.y, box.w, box.h].map(Math.round);
  return `Box ${number} of ${of}: ${name}${from}, ${w} × ${h} at ${x}, ${y}`;
}
