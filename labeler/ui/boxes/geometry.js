// The arithmetic of boxes, in pixels of the upright original image. No part of the page in here.

/** @typedef {{ x: number, y: number }} Point */
/** @typedef {{ x: number, y: number, w: number, h: number }} Rect the top left corner, width and height */
/** @typedef {{ width: number, height: number }} Size of the image */
/** @typedef {"" | "n" | "s" | "e" | "w" | "nw" | "ne" | "sw" | "se"} Edges the edges that move: n is the top, w the left */

export const LEAST = 1; // pixels: the labeler refuses a box that is narrower or lower

/** To the hundredth of a pixel, as the labeler keeps it. @param {number} value */
export function rounded(value) {
  return Math.round(value * 100) / 100;
}

/** The box between two opposite corners, in whatever order. @param {Point} a @param {Point} b @returns {Rect} */
export function spanned(a, b) {
  return { x: Math.min(a.x, b.x), y: Math.min(a.y, b.y), w: Math.abs(a.x - b.x), h: Math.abs(a.y - b.y) };
}

/**
 * The part of the box that lies in the image, rounded; never smaller than the least.
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
  // Rounded down where rounding up would reach out of the image.
  const length = rounded(end - start);
  return [start, start + length > most ? rounded(Math.floor((most - start) * 100) / 100) : length];
}

/** The box moved, as far as the image goes. @param {Rect} rect @param {number} right @param {number} down @param {Size} size @returns {Rect} */
export function moved({ x, y, w, h }, right, down, { width, height }) {
  const place = (/** @type {number} */ at, /** @type {number} */ room) =>
    rounded(Math.min(Math.max(at, 0), Math.max(0, room)));
  return { x: place(x + right, width - w), y: place(y + down, height - h), w, h };
}

/**
 * The box with some of its edges moved to a point. An edge that passes the opposite one turns the box over.
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

/** A box grown (or shrunk) at its right and lower edge, by keys. @param {Rect} rect @param {number} wider @param {number} taller @param {Size} size */
export function grown({ x, y, w, h }, wider, taller, size) {
  return within({ x, y, w: Math.max(LEAST, w + wider), h: Math.max(LEAST, h + taller) }, size);
}

/** The point, on the image's edge where it is nearer to it than `reach`, and never outside. @param {Point} point @param {Size} size @param {Point} reach @returns {Point} */
export function snapped({ x, y }, { width, height }, reach) {
  return { x: toEdge(x, width, reach.x), y: toEdge(y, height, reach.y) };
}

/** @param {number} value @param {number} most @param {number} reach */
function toEdge(value, most, reach) {
  if (value < reach) return 0;
  return value > most - reach ? most : value;
}

/** Whether the point is in the box, or so near to it. @param {Rect} rect @param {Point} point @param {Point} reach */
export function holds({ x, y, w, h }, point, reach) {
  return point.x >= x - reach.x && point.x <= x + w + reach.x && point.y >= y - reach.y && point.y <= y + h + reach.y;
}

/**
 * The boxes under a point, the smallest first. A tiny box is hit from as far as `reach`.
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

/** How far around a box counts as on it: only around one that is smaller than a finger or the pointer. @param {Rect} rect @param {Point} reach */
function tiny({ w, h }, reach) {
  return { x: Math.max(0, reach.x - w / 2), y: Math.max(0, reach.y - h / 2) };
}

/**
 * The edges that a press at this point takes hold of: an edge, or the two of a corner; "" for none. Inside a small box the
 * edges reach less far, so that it can still be moved.
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

/** The eight places at which a box is held: corners, and the middles of its edges. @param {Rect} rect @returns {{ edges: Edges, x: number, y: number }[]} */
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

/** The grip at this point; "" for none. @param {Rect} rect @param {Point} point @param {Point} reach @returns {Edges} */
export function gripAt(rect, point, reach) {
  const near = grips(rect).find(
    (grip) => Math.abs(grip.x - point.x) <= reach.x && Math.abs(grip.y - point.y) <= reach.y,
  );
  return near?.edges ?? "";
}
