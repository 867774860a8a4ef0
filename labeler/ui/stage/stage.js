// The image on screen, and how it is looked at: zoom, pan and brightness, by wheel, mouse, fingers and keys. The zoom ends
// with the image; the brightness stays, because dark images come in series.

import { find, setText } from "../lib/dom.js";
import { Pointers } from "../lib/pointer.js";
import { Swipe } from "./swipe.js";
import { within, Zoom } from "./zoom.js";

/** @typedef {import("../card/questions.js").Question} Question */

const SMALL = 128; // pixels of the longer side up to which an image is enlarged pixel by pixel
const STEP = 1.25;
const DOUBLE_CLICK = 3; // times
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
    this.tools.onclick = (/** @type {any} */ { target }) => this.press(target.closest("button")?.dataset.key ?? "");
    this.stage.addEventListener("wheel", (/** @type {WheelEvent} */ event) => this.wheel(event), { passive: false });
    this.stage.ondblclick = (/** @type {any} */ event) => {
      if (event.target.closest("button")) return;
      this.zoomBy(this.zoom.closer ? 1 / this.zoom.factor : DOUBLE_CLICK, event.clientX, event.clientY);
    };
    const swipe = new Swipe({ ...answers, allowed: () => !this.zoom.closer, show: (sweep) => this.sweep(sweep) });
    new Pointers(this.stage, [swipe, this.panning()], {
      pinch: (factor, x, y) => this.zoomBy(factor, x, y),
      ignore: "button",
    });
  }

  /** @returns {import("../lib/pointer.js").Gesture} */
  panning() {
    return {
      begins: () => this.zoom.closer,
      moves: (now, before) => {
        this.zoom.pan(now.x - before.x, now.y - before.y);
        this.draw();
      },
    };
  }

  /** Put the question's image in place, or none. @param {any} question */
  show(question) {
    const image = question && !question.broken ? question.image : null;
    this.question = question;
    this.picture.replaceChildren(...(image ? [image] : []));
    if (image) image.classList.toggle("small", Math.max(image.naturalWidth, image.naturalHeight) <= SMALL);
    if (question) this.stage.dataset.imageId = question.item.image_id;
    else delete this.stage.dataset.imageId;
    if (this.zoom.closer) this.zoomBy(1 / this.zoom.factor);
  }

  /** Do what the key means here; false if it means nothing. @param {string} key */
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
    if (Math.abs(this.brightness - 1) < 0.01) this.brightness = 1; // as many steps back as there were forth
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
  }

  /** The picture follows the finger and says what lifting it will do. @param {import("./swipe.js").Sweep | null} sweep */
  sweep(sweep) {
    this.hint.hidden = !sweep?.words;
    if (!sweep) return this.draw();
    this.picture.style.transform = `translateX(${sweep.way}px)`;
    setText(this.hint, sweep.words);
    this.hint.classList.toggle("far", sweep.far);
  }

  /** Zoomed in, the file itself shows more than the smaller copy. */
  async sharpen() {
    const { question } = this;
    const image = question?.image;
    if (!image || question.sharp || Math.max(image.naturalWidth, image.naturalHeight) < this.sharpest) return;
    question.sharp = image.cloneNode();
    question.sharp.src = `/api/images/${question.item.image_id}/content`;
    try {
      await question.sharp.decode();
    } catch {
      return; // a format that browsers do not show: the copy stays
    }
    if (this.question === question && image.parentElement === this.picture) image.replaceWith(question.sharp);
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    event.preventDefault();
    this.zoomBy(STEP ** (-Math.sign(event.deltaY) || 0), event.clientX, event.clientY);
  }
}
