// A hundred thousand points on a canvas: their positions on screen, the point under the pointer, and the points inside an
// outline. Plain loops over typed arrays take only a few milliseconds, so there is no index.

const MARGIN = 12; // pixels around the whole map
const MOST_ZOOM = 200;

export class Points {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this.width = 0; // of the canvas, in pixels
    this.height = 0;
    this.unit = 1; // pixels of one unit of the map
    this.view = { zoom: 1, x: 0, y: 0 }; // the centre of the view, in the map's own units of −1 … 1
    /** @type {Set<number>} */
    this.chosen = new Set(); // indices
    this.ids = new Int32Array();
    this.x = new Float32Array();
    this.y = new Float32Array();
    this.colours = new Uint8Array(); // of each point: index into the legend
  }

  /** Set a new map. Images that were selected stay so. @param {{ image_ids: number[], x: number[], y: number[] }} map */
  hold({ image_ids, x, y }) {
    const before = new Set(Array.from(this.chosen, (index) => this.ids[index]));
    this.ids = Int32Array.from(image_ids);
    this.x = Float32Array.from(x);
    this.y = Float32Array.from(y);
    this.colours = new Uint8Array(image_ids.length);
    this.chosen = new Set();
    for (const [index, id] of image_ids.entries()) if (before.has(id)) this.chosen.add(index);
  }

  /** Fit the canvas to its box. Both axes have the same scale. */
  fit() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    this.width = width;
    this.height = height;
    this.unit = Math.max(1, Math.min(width, height) / 2 - MARGIN);
    this.canvas.width = Math.round(width * devicePixelRatio);
    this.canvas.height = Math.round(height * devicePixelRatio);
    this.pen.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
  }

  /** @param {number} index */
  left(index) {
    return this.width / 2 + (this.x[index] - this.view.x) * this.unit * this.view.zoom;
  }

  /** @param {number} index */
  top(index) {
    return this.height / 2 - (this.y[index] - this.view.y) * this.unit * this.view.zoom;
  }

  /** Zoom around a place on screen, which stays in place. @param {number} by @param {number} [left] @param {number} [top] */
  zoom(by, left = this.width / 2, top = this.height / 2) {
    const { view, unit } = this;
    const zoom = Math.min(MOST_ZOOM, Math.max(1, view.zoom * by));
    const moved = 1 / (unit * view.zoom) - 1 / (unit * zoom);
    view.x += (left - this.width / 2) * moved;
    view.y -= (top - this.height / 2) * moved;
    view.zoom = zoom;
  }

  /** Pan the map by pixels. @param {number} left @param {number} top */
  move(left, top) {
    this.view.x -= left / (this.unit * this.view.zoom);
    this.view.y += top / (this.unit * this.view.zoom);
  }

  whole() {
    this.view = { zoom: 1, x: 0, y: 0 };
  }

  get radius() {
    const dense = this.ids.length > 20_000 ? 1.25 : this.ids.length > 3_000 ? 2 : 3.5;
    return Math.min(6, dense * Math.sqrt(this.view.zoom));
  }

  /**
   * Groups in `faint` are in the background, and so are points outside the selection, if there is one, or outside the group
   * `lit`.
   * @param {import("./legend.js").Entry[]} legend colour and shape of each group
   * @param {Set<number>} faint
   * @param {number | null} [lit]
   */
  draw(legend, faint, lit = null) {
    const { pen, radius, chosen } = this;
    pen.clearRect(0, 0, this.width, this.height);
    const stands = (/** @type {number} */ index) =>
      lit === null ? !chosen.size || chosen.has(index) : this.colours[index] === lit;
    for (const front of chosen.size || lit !== null ? [false, true] : [true]) {
      pen.globalAlpha = front ? 1 : 0.2;
      for (const quiet of [true, false]) {
        const size = quiet ? 0.7 * radius : radius;
        let last = -1;
        for (let index = 0; index < this.ids.length; index++) {
          const colour = this.colours[index];
          if (faint.has(colour) !== quiet || stands(index) !== front) continue;
          const [left, top] = [this.left(index), this.top(index)];
          if (left < -9 || top < -9 || left > this.width + 9 || top > this.height + 9) continue;
          if (colour !== last) pen.fillStyle = legend[(last = colour)].colour;
          this.mark(legend[colour].shape, left, top, size);
        }
      }
    }
    pen.globalAlpha = 1;
  }

  /** A square, diamond, triangle or plus of about the same area. @param {number | undefined} shape @param {number} left @param {number} top @param {number} size */
  mark(shape, left, top, size) {
    const { pen } = this;
    if (!shape) return pen.fillRect(left - size, top - size, 2 * size, 2 * size);
    const far = 1.4 * size;
    if (shape === 3) {
      pen.fillRect(left - far, top - size / 2, 2 * far, size);
      return pen.fillRect(left - size / 2, top - far, size, 2 * far);
    }
    pen.beginPath();
    pen.moveTo(left, top - far);
    pen.lineTo(left + far, shape === 1 ? top : top + size);
    if (shape === 1) pen.lineTo(left, top + far);
    pen.lineTo(left - far, shape === 1 ? top : top + size);
    pen.fill();
  }

  /** The point nearest to a place on the screen, if one is within `most` pixels; else −1. @param {number} left @param {number} top @param {number} most */
  nearest(left, top, most) {
    let [best, distance] = [-1, most * most];
    for (let index = 0; index < this.ids.length; index++) {
      const away = (this.left(index) - left) ** 2 + (this.top(index) - top) ** 2;
      if (away <= distance) [best, distance] = [index, away];
    }
    return best;
  }

  /** Select the points inside an outline, by the even-odd rule, so that it may cross itself. @param {[number, number][]} outline @param {{ adding?: boolean }} [options] */
  choose(outline, { adding = false } = {}) {
    if (!adding) this.chosen.clear();
    for (let index = 0; index < this.ids.length; index++) {
      const [left, top] = [this.left(index), this.top(index)];
      let inside = false;
      for (let i = 0, j = outline.length - 1; i < outline.length; j = i++) {
        const [[xi, yi], [xj, yj]] = [outline[i], outline[j]];
        if (yi > top !== yj > top && left < ((xj - xi) * (top - yi)) / (yj - yi) + xi) inside = !inside;
      }
      if (inside) this.chosen.add(index);
    }
  }
}
