// The geometry of boxes, in pixels of the upright original image. Knows nothing of the page.

/** @typedef {{ x: number, y: number }} Point */
/** @typedef {{ x: number, y: number, w: number, h: number }} Rect the top left corner, width and height */
/** @typedef {{ width: number, height: number }} Size of the image */
/** @typedef {"" | "n" | "s" | "e" | "w" | "nw" | "ne" | "sw" | "se"} Edges the edges that move: n is the top, w the left */

export const LEAST = 1; // minimum width and height in pixels; the labeler refuses smaller boxes

/** Rounded to a hundredth of a pixel, as the labeler stores it. @param {number} value */
export function rounded(value) {
  return Math.round(value * 100) / 100;
}

/** The box between two opposite corners, in any order. @param {Point} a @param {Point} b @returns {Rect} */
export function spanned(a, b) {
  return { x: Math.min(a.x, b.x), y: Math.min(a.y, b.y), w: Math.abs(a.x - b.x), h: Math.abs(a.y - b.y) };
}

/**
 * Clip the box to the image and round it. It never becomes smaller than the minimum.
 * @param {Rect} rect
 * @param {Size} size
 * @returns {Rect}
 */
export function within({ x, y, w, h }, { width, height }) {
  const [left, across] = piece(x, x + w, width);
  const [top, down] = piece(y, y + h, height);
  return { x: left, y: top, w: across, h: down };
}

/** @param {number} from @param {number} to @param {number} most @returns {[number, number]} the start and the length */
function piece(from, to, most) {
  const start = rounded(Math.min(Math.max(from, 0), Math.max(0, most - LEAST)));
  const end = Math.min(Math.max(to, start + LEAST), most);
  // Round down if rounding up would exceed the image.
  const length = rounded(end - start);
  return [start, start + length > most ? rounded(Math.floor((most - start) * 100) / 100) : length];
}

/** Move the box, but not beyond the image. @param {Rect} rect @param {number} right @param {number} down @param {Size} size @returns {Rect} */
export function moved({ x, y, w, h }, right, down, { width, height }) {
  const place = (/** @type {number} */ at, /** @type {number} */ room) =>
    rounded(Math.min(Math.max(at, 0), Math.max(0, room)));
  return { x: place(x + right, width - w), y: place(y + down, height - h), w, h };
}

/**
 * Move some edges of the box to a point. An edge that passes the opposite one flips the box.
 * @param {Rect} rect
 * @param {Edges} edges
 * @param {Point} to
 * @param {Size} size
 * @returns {Rect}
 */
export function stretched({ x, y, w, h }, edges, to, size) {
  const left = edges.includes("w") ? to.x : x;
  const right = edges.includes("e") ? to.x : x + w;
  const top = edges.includes("n") ? to.y : y;
  const bottom = edges.includes("s") ? to.y : y + h;
  return within(spanned({ x: left, y: top }, { x: right, y: bottom }), size);
}

/** Grow or shrink a box at its right and lower edge, with the keyboard. @param {Rect} rect @param {number} wider @param {number} taller @param {Size} size */
export function grown({ x, y, w, h }, wider, taller, size) {
  return within({ x, y, w: Math.max(LEAST, w + wider), h: Math.max(LEAST, h + taller) }, size);
}

/** Snap the point to the image's edges within `reach`, and keep it inside the image. @param {Point} point @param {Size} size @param {Point} reach @returns {Point} */
export function snapped({ x, y }, { width, height }, reach) {
  return { x: toEdge(x, width, reach.x), y: toEdge(y, height, reach.y) };
}

/** @param {number} value @param {number} most @param {number} reach */
function toEdge(value, most, reach) {
  if (value < reach) return 0;
  return value > most - reach ? most : value;
}

/** Whether the point is inside the box or within `reach` of it. @param {Rect} rect @param {Point} point @param {Point} reach */
export function holds({ x, y, w, h }, point, reach) {
  return point.x >= x - reach.x && point.x <= x + w + reach.x && point.y >= y - reach.y && point.y <= y + h + reach.y;
}

/**
 * The boxes under a point, the smallest first. A tiny box is hit from up to `reach` away.
 * @template {Rect} Box
 * @param {readonly Box[]} boxes
 * @param {Point} point
 * @param {Point} reach
 * @returns {Box[]}
 */
export function under(boxes, point, reach) {
  const hit = boxes.filter((box) => holds(box, point, tiny(box, reach)));
  return hit.sort((a, b) => a.w * a.h - b.w * b.h);
}

/** The margin that counts as part of a box; only boxes smaller than a finger or the pointer have one. @param {Rect} rect @param {Point} reach */
function tiny({ w, h }, reach) {
  return { x: Math.max(0, reach.x - w / 2), y: Math.max(0, reach.y - h / 2) };
}

/**
 * The edges that a press at this point grabs: one edge, or the two of a corner; "" for none. In a small box the grab areas are
 * narrower, so that the box can still be moved.
 * @param {Rect} rect
 * @param {Point} point
 * @param {Point} reach
 * @returns {Edges}
 */
export function edgesAt(rect, point, reach) {
  if (!holds(rect, point, reach)) return "";
  const across = side(point.x, rect.x, rect.x + rect.w, reach.x, ["w", "e"]);
  const down = side(point.y, rect.y, rect.y + rect.h, reach.y, ["n", "s"]);
  return /** @type {Edges} */ (down + across);
}

/** @param {number} at @param {number} from @param {number} to @param {number} reach @param {[string, string]} names */
function side(at, from, to, reach, [low, high]) {
  const inner = Math.min(reach, (to - from) / 4);
  if (at <= from + inner) return low;
  return at >= to - inner ? high : "";
}

/** The eight handles of a box: its corners, and the middles of its edges. @param {Rect} rect @returns {{ edges: Edges, x: number, y: number }[]} */
export function grips({ x, y, w, h }) {
  return [
    { edges: "nw", x, y },
    { edges: "n", x: x + w / 2, y },
    { edges: "ne", x: x + w, y },
    { edges: "e", x: x + w, y: y + h / 2 },
    { edges: "se", x: x + w, y: y + h },
    { edges: "s", x: x + w / 2, y: y + h },
    { edges: "sw", x, y: y + h },
    { edges: "w", x, y: y + h / 2 },
  ];
}

/** The handle at this point; "" for none. @param {Rect} rect @param {Point} point @param {Point} reach @returns {Edges} */
export function gripAt(rect, point, reach) {
  const near = grips(rect).find(
    (grip) => Math.abs(grip.x - point.x) <= reach.x && Math.abs(grip.y - point.y) <= reach.y,
  );
  return near?.edges ?? "";
}
