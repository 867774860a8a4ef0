// Describes answers with several classes in words.

/** @typedef {import("../../types.js").Classes} Classes */
/** @typedef {import("../../types.js").ClassEntry} ClassEntry */

export const NONE = "None of these";

/**
 * An answer in words: the classes that the image has, in the order of the project's classes.
 * @param {Classes} answer
 * @param {ClassEntry[]} known
 */
export function classesInWords(answer, known) {
  if (answer.yes.length) return namesOf(answer.yes, known);
  return saysNoToAll(answer, known) ? NONE : `not ${namesOf(answer.no, known)}`;
}

/** Names in the order of the classes. @param {Iterable<number>} ids @param {ClassEntry[]} known */
export function namesOf(ids, known) {
  const wanted = new Set(ids);
  const names = known.filter(({ id }) => wanted.delete(id)).map(({ name }) => name);
  return [...names, ...[...wanted].map(() => "a class that no longer exists")].join(", ");
}

/** @param {Classes} answer @param {ClassEntry[]} known */
export function saysNoToAll({ yes, no }, known) {
  return !yes.length && known.every(({ id }) => no.includes(id));
}
