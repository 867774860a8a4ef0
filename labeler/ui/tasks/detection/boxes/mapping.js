// Converts between image and screen coordinates. The image fills its frame as far as its aspect ratio allows, and is then
// zoomed and panned. The displayed file may be a smaller copy, so only its aspect ratio matters, not its pixels.

/** @typedef {import("./geometry.js").Point} Point */
/** @typedef {import("./geometry.js").Rect} Rect */
/** @typedef {import("./geometry.js").Size} Size */

export class Mapping {
  /**
   * @param {{ left: number, top: number, width: number, height: number }} frame of the picture, on the stage
   * @param {Size} shown the picture on screen, in its own pixels
   * @param {Size} size the upright original
   * @param {{ x: number, y: number, factor: number }} zoom
   */
  constructor(frame, shown, size, zoom) {
    const fit = Math.min(frame.width / shown.width, frame.height / shown.height);
    const [across, down] = [shown.width * fit, shown.height * fit];
    this.left = frame.left + zoom.x + (zoom.factor * (frame.width - across)) / 2;
    this.top = frame.top + zoom.y + (zoom.factor * (frame.height - down)) / 2;
    this.scale = { x: (zoom.factor * across) / size.width, y: (zoom.factor * down) / size.height }; // screen per image pixel
  }

  /** @param {Point} point of the stage @returns {Point} */
  toImage({ x, y }) {
    return { x: (x - this.left) / this.scale.x, y: (y - this.top) / this.scale.y };
  }

  /** @param {Point} point of the image @returns {Point} */
  toStage({ x, y }) {
    return { x: this.left + x * this.scale.x, y: this.top + y * this.scale.y };
  }

  /** @param {Rect} rect @returns {Rect} */
  rectToStage({ x, y, w, h }) {
    return { ...this.toStage({ x, y }), w: w * this.scale.x, h: h * this.scale.y };
  }

  /** Convert a distance on screen to pixels of the image. @param {number} pixels @returns {Point} */
  reach(pixels) {
    return { x: pixels / this.scale.x, y: pixels / this.scale.y };
  }
}
