// The arithmetic of looking closer: how far a picture is enlarged, and where its corner lies. No part of the page in here.

export const CLOSEST = 16; // times
const PAN_SHARE = 0.15; // of the picture, at one key

export class Zoom {
  constructor() {
    this.factor = 1;
    this.x = 0; // the corner of the enlarged picture, in pixels
    this.y = 0;
    this.width = 0; // the picture at factor 1
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

  /** Enlarge about a point, which stays where it is; by default the middle. @param {number} by @param {number} [x] @param {number} [y] */
  enlarge(by, x = this.width / 2, y = this.height / 2) {
    let factor = within(this.factor * by, 1, CLOSEST);
    if (factor < 1.01) factor = 1; // as many steps out as there were in
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

  /** Look further in an arrow's direction. @param {string} key */
  panByKey(key) {
    const right = { ArrowLeft: PAN_SHARE, ArrowRight: -PAN_SHARE }[key] ?? 0;
    const down = { ArrowUp: PAN_SHARE, ArrowDown: -PAN_SHARE }[key] ?? 0;
    this.pan(right * this.width, down * this.height);
  }

  /** No edge of the picture comes inside its frame. */
  keepInside() {
    this.x = within(this.x, this.width * (1 - this.factor), 0);
    this.y = within(this.y, this.height * (1 - this.factor), 0);
  }
}

/** @param {number} value @param {number} least @param {number} most */
export function within(value, least, most) {
  return Math.min(most, Math.max(least, value));
}
