// The boxes of a doubtful image, over its picture: all drawn boxes thin, the doubtful one dashed, the proposed one thick. The
// drawing fits into the picture's frame like the image, and is zoomed and panned with it.

/** @typedef {{ x: number, y: number, w: number, h: number }} Place */

const SVG = "http://www.w3.org/2000/svg";

/** Draw the boxes over the picture of the image on screen, if there is one. @param {Element} picture @param {any} doubt */
export function drawOver(picture, doubt) {
  const boxes = doubt && !doubt.broken ? overlayOf(doubt) : null;
  if (boxes) picture.append(boxes);
}

/**
 * Null if there is nothing to draw.
 * @param {{ width?: number | null, height?: number | null, kept?: { boxes: Place[] } | null, at?: Place | null, box?: Place | null }} doubt
 */
export function overlayOf({ width, height, kept, at, box }) {
  if (!width || !height || !box) return null;
  const drawing = node("svg", { class: "in-doubt", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  const places = (kept?.boxes ?? []).filter((each) => !at || !isSame(each, at));
  drawing.append(...places.flatMap((each) => outlines(each, "drawn")));
  if (at) drawing.append(...outlines(at, "doubted"));
  if (!at || !isSame(box, at)) drawing.append(...outlines(box, "proposed"));
  return drawing;
}

/** With a dark rim, so that it is visible on any picture. @param {Place} place @param {string} kind */
function outlines({ x, y, w, h }, kind) {
  const place = { x, y, width: w, height: h };
  return [node("rect", { ...place, class: `${kind} rim` }), node("rect", { ...place, class: kind })];
}

/** @param {Place} one @param {Place} other */
function isSame(one, other) {
  return /** @type {const} */ (["x", "y", "w", "h"]).every((side) => Math.abs(one[side] - other[side]) < 0.03);
}

/** @param {string} name @param {Record<string, string | number>} attributes */
function node(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  return made;
}
