// The layer over the points of the map: rings, the keyboard cursor, and the outline that is being drawn.

/** @typedef {[number, number]} Place pixels from the left and the top */

export class Overlay {
  /** @param {HTMLCanvasElement} canvas @param {import("./points.js").Points} points */
  constructor(canvas, points) {
    this.canvas = canvas;
    this.points = points;
    this.pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    /** @type {Place[] | null} */
    this.outline = null; // while something is drawn
    /** @type {Place | null} */
    this.cross = null; // the keyboard cursor
    /** @type {Place | null} */
    this.corner = null; // where Space started a box
    this.pointed = -1; // the point that the tooltip belongs to
    /** @type {Set<number>} */
    this.next = new Set(); // images that the queue asks about next
  }

  fit() {
    this.canvas.width = this.points.canvas.width;
    this.canvas.height = this.points.canvas.height;
  }

  /** The position of the keyboard cursor, even before it appears. @returns {Place} */
  get middle() {
    return this.cross ?? [this.points.width / 2, this.points.height / 2];
  }

  /** Start an outline. @param {Place} place */
  begin(place) {
    this.show({ outline: [place], cross: null, corner: null });
  }

  /** The pointer moved. @param {Place} place @param {boolean} box the outline is a box from its first corner */
  extend(place, box) {
    const { outline } = this;
    if (outline) this.show({ outline: box ? boxOf(outline[0], place) : [...outline, place] });
  }

  /** The pointer was released: return the outline. @returns {Place[]} */
  end() {
    /** @type {Place[]} */
    const outline = this.outline ?? [];
    this.show({ outline: null });
    return outline;
  }

  /** Space: the first press marks a corner at the cursor, the second returns the box. */
  mark() {
    const { corner, middle } = this;
    this.show({ cross: middle, corner: corner ? null : middle });
    return corner && boxOf(corner, middle);
  }

  /** Change something and redraw the layer. @param {Partial<Pick<Overlay, "outline" | "cross" | "corner" | "pointed" | "next">>} change */
  show(change) {
    Object.assign(this, change);
    const { pen, points } = this;
    pen.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    pen.clearRect(0, 0, points.width, points.height);
    pen.strokeStyle = getComputedStyle(this.canvas).color;
    pen.lineWidth = 1.5;
    if (this.next.size) points.ids.forEach((id, index) => void (this.next.has(id) && this.ring(index, 3)));
    if (this.pointed >= 0) this.ring(this.pointed, 6);
    const outline = this.outline ?? (this.corner && this.cross && boxOf(this.corner, this.cross));
    pen.beginPath();
    for (const [left, top] of outline ?? []) pen.lineTo(left, top);
    if (outline) pen.closePath();
    if (this.cross) this.drawCross(this.cross);
    pen.stroke();
  }

  /** @param {Place} place */
  drawCross([left, top]) {
    for (const [x, y] of [
      [10, 0],
      [0, 10],
    ]) {
      this.pen.moveTo(left - x, top - y);
      this.pen.lineTo(left + x, top + y);
    }
  }

  /** @param {number} index @param {number} more pixels around the point */
  ring(index, more) {
    const { pen, points } = this;
    pen.beginPath();
    pen.arc(points.left(index), points.top(index), points.radius + more, 0, 2 * Math.PI);
    pen.stroke();
  }
}

/** @param {Place} from @param {Place} to @returns {Place[]} */
export function boxOf([left, top], [right, bottom]) {
  return [
    [left, top],
    [right, top],
    [right, bottom],
    [left, bottom],
  ];
}
