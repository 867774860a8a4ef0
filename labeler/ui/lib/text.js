// How pages write numbers, times and amounts. `shared/figures.py` has the same functions for the pages and commands that
// Python writes; a test compares the two.

export const ENOUGH_TEST_LABELS = 10; // with fewer, the accuracy is not shown

/** "1,797". @param {number} n */
export function number(n) {
  return n.toLocaleString("en");
}

/** "1,797 images", "1 image". @param {number} n @param {string} noun */
export function count(n, noun) {
  return `${number(n)} ${noun}${n === 1 ? "" : "s"}`;
}

/** "62%", or "61.7%" with one digit. @param {number} share @param {number} [digits] */
export function percent(share, digits = 0) {
  return `${(100 * share).toFixed(digits)}%`;
}

/**
 * "61.7% (58.6% – 64.8%, 947 test images)", or why there is no accuracy yet.
 * @param {import("../types.js").Interval} accuracy
 */
export function accuracyIn({ value, low, high, n }) {
  if (n < ENOUGH_TEST_LABELS) return `not measured yet: ${n} of ${ENOUGH_TEST_LABELS} labeled test images`;
  return `${percent(value, 1)} (${percent(low, 1)} – ${percent(high, 1)}, ${count(n, "test image")})`;
}

/** Why the text cannot be kept, or null. @param {string} what @param {string} text @param {number} most */
export function tooLong(what, text, most) {
  const length = [...text].length;
  return length > most
    ? `${what} has at most ${number(most)} characters, and this one has ${number(length)}: shorten it.`
    : null;
}

/** "21.5 MB"; less than 0.1 MB in kB. @param {number} size in bytes */
export function megabytes(size) {
  const rounded = (/** @type {number} */ value) => value.toFixed(1).replace(/\B(?=(\d{3})+\.)/g, ",");
  return size >= 1e5 ? `${rounded(size / 1e6)} MB` : `${rounded(size / 1e3)} kB`;
}

/** "12 s", "3 min", "2 h". @param {number} seconds */
export function duration(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

/** "about 3 min left"; "" if unknown. @param {number | null | undefined} seconds */
export function timeLeft(seconds) {
  return seconds === null || seconds === undefined ? "" : `about ${duration(seconds)} left`;
}

/** The text with a capital first letter. @param {string} text */
export function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}
