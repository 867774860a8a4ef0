// The geometry of zooming: the factor, and the position of the picture's corner. Knows nothing of the page.

export const CLOSEST = 16; // maximum factor
const PAN_SHARE = 0.15; // share of the picture per key press

export class Zoom {
  constructor() {
    this.factor = 1;
    this.x = 0; // the corner of the enlarged picture, in pixels
    this.y = 0;
    this.width = 0; // size of the picture at factor 1
    this.height = 0;
  }

  get closer() {
    return this.factor > 1;
  }

  /** @param {number} width @param {number} height of the picture at factor 1 */
  measure(width, height) {
    this.width = width;
    this.height = height;
  }

  /** Zoom around a point, which stays in place; by default the middle. @param {number} by @param {number} [x] @param {number} [y] */
  enlarge(by, x = this.width / 2, y = this.height / 2) {
    let factor = within(this.factor * by, 1, CLOSEST);
    if (factor < 1.01) factor = 1; // cancel rounding errors after equally many steps in and out
    this.x = x - ((x - this.x) * factor) / this.factor;
    this.y = y - ((y - this.y) * factor) / this.factor;
    this.factor = factor;
    this.keepInside();
  }

  /** @param {number} right @param {number} down in pixels */
  pan(right, down) {
    this.x += right;
    this.y += down;
    this.keepInside();
  }

  /** Pan in an arrow's direction. @param {string} key */
  panByKey(key) {
    const right = { ArrowLeft: PAN_SHARE, ArrowRight: -PAN_SHARE }[key] ?? 0;
    const down = { ArrowUp: PAN_SHARE, ArrowDown: -PAN_SHARE }[key] ?? 0;
    this.pan(right * this.width, down * this.height);
  }

  /** Keep the edges of the picture outside its frame. */
  keepInside() {
    this.x = within(this.x, this.width * (1 - this.factor), 0);
    this.y = within(this.y, this.height * (1 - this.factor), 0);
  }
}

/** @param {number} value @param {number} least @param {number} most */
export function within(value, least, most) {
  return Math.min(most, Math.max(least, value));
}
