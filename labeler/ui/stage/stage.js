// The image on screen, with zoom, pan and brightness, by wheel, mouse, fingers and keys. The zoom ends
// with the image. The brightness stays, because dark images come in series.

import { find, setText } from "../lib/dom.js";
import { Pointers } from "../lib/input/pointer.js";
import { Swipe } from "./swipe.js";
import { within, Zoom } from "./zoom.js";

/** @typedef {import("../card/questions.js").Question} Question */
/** @typedef {import("../lib/input/pointer.js").Pointer} Pointer */
/**
 * A tool that works on the image, such as drawing boxes.
 * @typedef {object} Tool
 * @property {(pointer: Pointer, fresh: boolean) => boolean} begins whether the tool takes a press; the rest is as for a gesture
 * @property {(pointer: Pointer) => unknown} moves
 * @property {(pointer: Pointer) => void} ends
 * @property {() => void} cancels
 * @property {(pointer: Pointer) => void} tap a finger that moved nothing, whoever owned it
 * @property {(pointer: Pointer) => void} hover
 * @property {(pointer: Pointer) => boolean} pans whether this pointer pans a zoomed image
 * @property {(shift?: number) => void} moved the picture was zoomed or panned, or a swipe moved it by `shift` pixels
 */

const SMALL = 128; // images up to this longer side are enlarged with sharp pixels
const STEP = 1.25;
const DOUBLE_CLICK = 3; // times
const [LEFT, MIDDLE] = [0, 1]; // mouse buttons
const BRIGHTNESS = [0.25, 4];

export class Stage {
  /**
   * @param {Element} root
   * @param {number} sharpest the longer side, in pixels, of the images served; an image that has it may be larger in its file
   * @param {import("./swipe.js").Answers} answers what a swipe over the image does
   */
  constructor(root, sharpest, answers) {
    this.stage = find(root, ".stage");
    this.picture = find(root, ".picture");
    this.tools = find(root, ".tools");
    this.hint = find(root, ".sweep");
    this.sharpest = sharpest;
    this.zoom = new Zoom();
    this.brightness = 1;
    /** @type {any} */
    this.question = null;
    /** @type {Tool | null} */
    this.tool = null;
    this.tools.onclick = (/** @type {any} */ { target }) => this.press(target.closest("button")?.dataset.key ?? "");
    this.stage.addEventListener("wheel", (/** @type {WheelEvent} */ event) => this.wheel(event), { passive: false });
    this.stage.ondblclick = (/** @type {any} */ event) => {
      if (this.tool || event.target.closest("button")) return;
      this.zoomBy(this.zoom.closer ? 1 / this.zoom.factor : DOUBLE_CLICK, event.clientX, event.clientY);
    };
    const swipe = new Swipe({ ...answers, allowed: () => !this.zoom.closer, show: (sweep) => this.sweep(sweep) });
    new Pointers(this.stage, [this.using(), swipe, this.panning()], {
      pinch: (factor, x, y) => this.zoomBy(factor, x, y),
      tap: (pointer) => this.tool?.tap(pointer),
      hover: (pointer) => this.tool?.hover(pointer),
      ignore: "button",
      buttons: [LEFT, MIDDLE],
    });
  }

  /** Make this tool the first to receive presses. @param {Tool} tool */
  use(tool) {
    this.tool = tool;
  }

  /** @returns {import("../lib/input/pointer.js").Gesture} */
  using() {
    return {
      begins: (pointer, fresh) => this.tool?.begins(pointer, fresh) ?? false,
      moves: (pointer) => this.tool?.moves(pointer),
      ends: (pointer) => this.tool?.ends(pointer),
      cancels: () => this.tool?.cancels(),
    };
  }

  /** @returns {import("../lib/input/pointer.js").Gesture} */
  panning() {
    return {
      begins: (pointer) => this.zoom.closer && (this.tool?.pans(pointer) ?? true),
      moves: (now, before) => this.panBy(now.x - before.x, now.y - before.y),
    };
  }

  /** @param {number} right @param {number} down in pixels */
  panBy(right, down) {
    this.measure();
    this.zoom.pan(right, down);
    this.draw();
  }

  /** Show the question's image, or none. @param {any} question */
  show(question) {
    const image = question && !question.broken ? question.image : null;
    this.question = question;
    this.picture.replaceChildren(...(image ? [image] : []));
    if (image) image.classList.toggle("small", Math.max(image.naturalWidth, image.naturalHeight) <= SMALL);
    if (question) this.stage.dataset.imageId = question.item.image_id;
    else delete this.stage.dataset.imageId;
    if (this.zoom.closer) this.zoomBy(1 / this.zoom.factor);
  }

  /** Handle a key. Returns false if it has no meaning here. @param {string} key */
  press(key) {
    if (key === "+" || key === "=") this.zoomBy(STEP);
    else if (key === "-") this.zoomBy(1 / STEP);
    else if (key === ",") this.lighten(1 / STEP);
    else if (key === ".") this.lighten(STEP);
    else if (this.zoom.closer && key.startsWith("Arrow")) this.panByKey(key);
    else if (key === "Escape" && (this.zoom.closer || this.brightness !== 1)) this.reset();
    else return false;
    return true;
  }

  reset() {
    this.brightness = 1;
    this.zoomBy(1 / this.zoom.factor);
  }

  /** @param {number} factor */
  lighten(factor) {
    this.brightness = within(this.brightness * factor, BRIGHTNESS[0], BRIGHTNESS[1]);
    if (Math.abs(this.brightness - 1) < 0.01) this.brightness = 1; // cancel rounding errors after equally many steps in both directions
    this.draw();
  }

  /** Zoom about a point of the window, by default the middle of the image. @param {number} factor @param {number} [x] @param {number} [y] */
  zoomBy(factor, x, y) {
    const { left, top } = this.stage.getBoundingClientRect();
    const { offsetLeft, offsetTop } = this.picture;
    this.measure();
    this.zoom.enlarge(factor, x === undefined ? x : x - left - offsetLeft, y === undefined ? y : y - top - offsetTop);
    this.draw();
    if (this.zoom.closer) this.sharpen();
  }

  /** @param {string} key */
  panByKey(key) {
    this.measure();
    this.zoom.panByKey(key);
    this.draw();
  }

  measure() {
    this.zoom.measure(this.picture.offsetWidth, this.picture.offsetHeight);
  }

  draw() {
    const { zoom, picture, brightness } = this;
    picture.style.transform = zoom.closer ? `translate(${zoom.x}px, ${zoom.y}px) scale(${zoom.factor})` : "";
    picture.style.filter = brightness === 1 ? "" : `brightness(${brightness})`;
    this.stage.classList.toggle("zoomed", zoom.closer);
    this.tools.querySelector("[data-key=Escape]").disabled = !zoom.closer && brightness === 1;
    this.tool?.moved();
  }

  /** Move the picture with the finger, and show what releasing it will do. @param {import("./swipe.js").Sweep | null} sweep */
  sweep(sweep) {
    this.hint.hidden = !sweep?.words;
    if (!sweep) return this.draw();
    this.picture.style.transform = `translateX(${sweep.way}px)`;
    this.tool?.moved(sweep.way);
    setText(this.hint, sweep.words);
    this.hint.classList.toggle("far", sweep.far);
  }

  /** When zoomed in, load the file itself, which has more detail than the smaller copy. */
  async sharpen() {
    const { question } = this;
    const image = question?.image;
    if (!image || question.sharp || Math.max(image.naturalWidth, image.naturalHeight) < this.sharpest) return;
    question.sharp = image.cloneNode();
    question.sharp.src = `/api/images/${question.item.image_id}/content`;
    try {
      await question.sharp.decode();
    } catch {
      return; // browsers cannot show this format: keep the copy
    }
    if (this.question === question && image.parentElement === this.picture) image.replaceWith(question.sharp);
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    event.preventDefault();
    this.zoomBy(STEP ** (-Math.sign(event.deltaY) || 0), event.clientX, event.clientY);
  }
}
