// The box editor handles pointer and keys, changes the boxes, and paints them in the same frame as the image. It is a
// tool of the stage, which handles zoom, pan and swipes.

import { afterPaint, find, tell } from "../../../lib/dom.js";
import { Edits, isOpen } from "./edits.js";
import { Hand } from "./hand.js";
import { Mapping } from "./mapping.js";
import { Painter } from "./painter.js";

/** @typedef {import("../../../lib/input/pointer.js").Pointer} Pointer */
/** @typedef {import("../../../lib/input/keys.js").Key} Key */
/** @typedef {import("./geometry.js").Point} Point */
/** @typedef {import("./painter.js").Look} Look */

const STEP = 1; // pixels per arrow key
const LONG_STEP = 10; // with Shift
const NEW_SHARE = 0.25; // size of a box added with a key, as a share of the visible area
const EMPTY = { width: 1, height: 1 };
/** @type {Record<string, string>} */
const CURSORS = { n: "ns", s: "ns", e: "ew", w: "ew", nw: "nwse", se: "nwse", ne: "nesw", sw: "nesw" };

export class Editor {
  /**
   * @param {Element} root
   * @param {import("../../../stage/stage.js").Stage} stage
   * @param {object} page
   * @param {(label: number) => Look} page.look
   * @param {() => void} page.changed called when the boxes or the selection change
   * @param {(words: string) => void} page.say
   */
  constructor(root, stage, { look, changed, say }) {
    this.stage = stage;
    this.look = look;
    this.told = changed;
    this.say = say;
    this.area = /** @type {HTMLElement} */ (find(root, ".stage"));
    const [rest, top] = root.querySelectorAll("canvas.boxes");
    this.rest = /** @type {HTMLCanvasElement} */ (rest);
    this.painter = new Painter(this.rest, /** @type {HTMLCanvasElement} */ (top));
    /** @type {any} */
    this.question = null;
    /** @type {number | null} */
    this.label = null; // the class of the next box
    this.edits = new Edits(EMPTY);
    /** @type {Mapping | null} */
    this.mapped = null;
    this.hand = new Hand(this);
    this.frame = { left: 0, top: 0, width: 1, height: 1 };
    /** @type {Point | null} */
    this.cursor = null; // where the mouse is, on the stage
    this.spaced = false; // whether the space bar is held, so that the mouse pans the image
    this.left = false; // whether Esc was pressed, so that Tab leaves the boxes
    this.shift = 0; // pixels by which a swipe has moved the picture
    this.half = false; // whether a first corner was clicked and the second is expected
    this.taken = false; // whether the finger on the screen belongs to a box
    this.drawing = false;
    this.restOld = true;
    this.stop = new AbortController();
    this.listen();
    stage.use(this);
  }

  listen() {
    const { area } = this;
    area.addEventListener("pointerleave", () => this.hover(null));
    area.addEventListener("mousedown", (event) => this.keepFocus(event));
    new ResizeObserver(() => this.measure()).observe(area);
    const release = (/** @type {KeyboardEvent | FocusEvent} */ event) => {
      if (this.spaced && (!("key" in event) || event.key === " ")) this.space(false);
    };
    const { signal } = this.stop;
    area.ownerDocument.addEventListener("keyup", release, { signal });
    area.ownerDocument.defaultView?.addEventListener("blur", release, { signal });
  }

  /** Clean up when the card is closed. */
  close() {
    this.stop.abort();
  }

  /**
   * Keep a press on the image from focusing what surrounds the card, and from scrolling (middle button). What has the focus loses
   * it, also outside the card: a link would be followed by the Enter that confirms the boxes.
   * @param {MouseEvent} event
   */
  keepFocus(event) {
    event.preventDefault();
    const { activeElement: inside } = /** @type {ShadowRoot | Document} */ (this.area.getRootNode());
    /** @type {HTMLElement | null} */ (inside ?? this.area.ownerDocument.activeElement)?.blur();
  }

  /** Show these boxes with the image. @param {any} question @param {Edits} edits */
  begin(question, edits) {
    this.hand = new Hand(this);
    this.question = question;
    this.edits = edits;
    this.left = false;
    this.mapped = null;
    this.changed();
  }

  /** Whether there is an image to draw on. */
  get open() {
    return Boolean(this.question && !this.question.broken && this.question.item.width);
  }

  // ------------------------------------------------------------ coordinates

  measure() {
    const { picture } = this.stage;
    this.frame = {
      left: picture.offsetLeft,
      top: picture.offsetTop,
      width: picture.offsetWidth,
      height: picture.offsetHeight,
    };
    this.painter.resize(this.area.clientWidth, this.area.clientHeight);
    this.moved();
  }

  get mapping() {
    const { naturalWidth, naturalHeight } = this.question?.image ?? {};
    const shown = naturalWidth ? { width: naturalWidth, height: naturalHeight } : this.edits.size;
    this.mapped ??= new Mapping(this.frame, shown, this.edits.size, this.stage.zoom);
    return this.mapped;
  }

  /**
   * Called when the picture was zoomed or panned, or when a swipe moved it by `shift` pixels.
   * @param {number} [shift]
   */
  moved(shift = 0) {
    this.mapped = null;
    this.shift = shift;
    this.draw({ rest: true });
  }

  /** @param {{ x: number, y: number }} pointer in the window @returns {Point} on the stage */
  placeOf({ x, y }) {
    const { left, top } = this.area.getBoundingClientRect();
    return { x: x - left - this.area.clientLeft, y: y - top - this.area.clientTop };
  }

  // ------------------------------------------------------------ the pointer

  /** Whether a single pressed pointer pans the image. @param {Pointer} pointer */
  pans({ type, button }) {
    return this.spaced || button === 1 || type === "touch";
  }

  /** @param {Pointer} pointer @param {boolean} fresh */
  begins(pointer, fresh) {
    if (!fresh) return false;
    const touch = pointer.type === "touch";
    const at = this.placeOf(pointer);
    this.taken = touch && this.open && this.hand.takes(at, true);
    if (!this.open || (this.pans(pointer) && !this.taken)) return false;
    this.left = false;
    this.hand.press(at, { shift: pointer.shift, touch });
    if (touch) this.cursor = null;
    this.draw();
    return true;
  }

  /** @param {Pointer} pointer */
  moves(pointer) {
    const at = this.placeOf(pointer);
    this.cursor = pointer.type === "touch" ? null : at;
    this.hand.move(at);
    this.draw();
  }

  /** @param {Pointer} pointer */
  ends(pointer) {
    this.lift(this.placeOf(pointer));
  }

  cancels() {
    this.hand.drop();
    this.draw();
  }

  /** @param {Point} at */
  lift(at) {
    const refusal = this.hand.lift(at);
    const half = this.hand.deed !== null;
    if (refusal) this.say(refusal);
    else if (half) this.say(this.hand.touch ? "Tap the opposite corner." : "Click the opposite corner, or press Esc.");
    else if (this.half) this.say("");
    this.half = half;
    this.changed();
  }

  /** Handle a tap. For a finger that holds a box, `ends` handles it, as for the mouse. @param {Pointer} pointer */
  tap(pointer) {
    if (this.taken || !this.open) return;
    const at = this.placeOf(pointer);
    this.hand.press(at, { touch: true });
    this.lift(at);
  }

  /** @param {Pointer | null} pointer */
  hover(pointer) {
    if (pointer?.type === "touch") return;
    this.cursor = pointer && this.placeOf(pointer);
    if (this.cursor) {
      this.hand.touch = false;
      this.hand.move(this.cursor);
    }
    this.draw();
  }

  // ------------------------------------------------------------ the keyboard

  /** Handle a key. Returns false if it has no meaning for the boxes. @param {Key} key */
  key({ name, shift, alt }) {
    if (!this.open) return false;
    if (name === " ") return this.space(true);
    if (name === "Escape") return this.leave();
    if (name === "Tab") return this.walk(shift ? -1 : 1);
    if (this.edits.picked === null) return false;
    if (name.startsWith("Arrow")) this.step(name, shift ? LONG_STEP : STEP, alt);
    else if (name === "Delete" || name === "Backspace") this.edits.remove();
    else return false;
    this.changed();
    return true;
  }

  /** Whether an arrow key moves a box. */
  get steps() {
    return this.open && this.edits.picked !== null;
  }

  /** @param {string} name @param {number} by @param {boolean} grows */
  step(name, by, grows) {
    const right = { ArrowLeft: -by, ArrowRight: by }[name] ?? 0;
    const down = { ArrowUp: -by, ArrowDown: by }[name] ?? 0;
    if (grows) this.edits.grow(right, down);
    else this.edits.move(right, down);
  }

  /** Esc: cancel the current action; else deselect the box. */
  leave() {
    const busy = this.hand.drop() || this.edits.picked !== null;
    this.left = true;
    if (!busy) return false;
    this.edits.pick(null);
    this.changed();
    return true;
  }

  /**
   * Tab: select the next box, or no box after the last one. Returns false if Tab should move the focus: without boxes,
   * while a control has the focus, and after Esc.
   * @param {number} by
   */
  walk(by) {
    if (this.left || !this.edits.boxes.length || isFocusElsewhere(this.area)) return false;
    this.next(by);
    return true;
  }

  /** @param {number} by */
  next(by) {
    this.hand.drop();
    const found = this.hand.walk(by);
    this.show();
    this.changed();
    return found;
  }

  /** Scroll the selected box into view. */
  show() {
    const { box } = this.edits;
    if (!box || !this.stage.zoom.closer) return;
    const { x, y, w, h } = this.mapping.rectToStage(box);
    const { clientWidth: width, clientHeight: height } = this.area;
    if (x >= 0 && y >= 0 && x + w <= width && y + h <= height) return;
    this.stage.panBy(width / 2 - x - w / 2, height / 2 - y - h / 2);
  }

  /** @param {boolean} held */
  space(held) {
    this.spaced = held;
    this.draw();
    return true;
  }

  /** Add a box in the middle of the visible area. */
  add() {
    if (this.label === null || !this.open) return;
    const { clientWidth: width, clientHeight: height } = this.area;
    const from = this.mapping.toImage({ x: (width * (1 - NEW_SHARE)) / 2, y: (height * (1 - NEW_SHARE)) / 2 });
    const to = this.mapping.toImage({ x: (width * (1 + NEW_SHARE)) / 2, y: (height * (1 + NEW_SHARE)) / 2 });
    this.edits.add(this.label, { x: from.x, y: from.y, w: to.x - from.x, h: to.y - from.y }, { fresh: false });
    this.changed();
  }

  // ------------------------------------------------------------ on screen

  /** Called when the boxes or the selection changed. */
  changed() {
    if (this.half && !this.hand.deed) {
      this.half = false;
      this.say(""); // nobody waits for the opposite corner any more
    }
    this.told();
    this.area.classList.toggle("held", this.edits.picked !== null);
    this.draw({ rest: true });
    const { length } = this.edits.boxes;
    afterPaint(() => tell("boxed", { boxes: length, at: performance.now() }));
  }

  /** Paint in the next frame. @param {{ rest?: boolean }} [old] `rest`: including the boxes at rest */
  draw({ rest = false } = {}) {
    this.restOld ||= rest;
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      this.paint();
    });
  }

  paint() {
    const { painter, edits, hand, mapping, look } = this;
    if (!painter.width) this.measure();
    const { box } = edits;
    const boxes = this.open ? edits.boxes : [];
    if (this.restOld)
      painter.drawRest(
        boxes.filter((each) => each !== box),
        mapping,
        look,
      );
    this.restOld = false;
    const { deed } = hand;
    const at = this.open ? this.cursor : null;
    const edges = at && !deed ? hand.hold(at) : "";
    const pointed = at && !deed && !edges && !this.spaced ? hand.pointed(at) : null;
    const held = deed && deed.does !== "draw" ? deed.rect : box;
    const drawn = deed?.does === "draw" && this.label !== null ? spannedOn(mapping, deed.from, deed.to) : null;
    painter.drawTop({
      picked: box && held && { ...box, rect: mapping.rectToStage(held), look: look(box.label) },
      pointed:
        pointed && pointed !== box
          ? { box: pointed, rect: mapping.rectToStage(pointed), look: look(pointed.label) }
          : null,
      drawn: drawn && { rect: drawn, look: look(/** @type {number} */ (this.label)) },
      cross: at && !edges && !this.spaced && (!deed || deed.does === "draw") && hand.inImage(at) ? at : null,
      image: mapping.rectToStage({ x: 0, y: 0, w: edits.size.width, h: edits.size.height }),
    });
    for (const canvas of [painter.rest, painter.top])
      canvas.style.transform = this.shift ? `translateX(${this.shift}px)` : "";
    this.point(at, edges, Boolean(pointed));
  }

  /** Set the mouse cursor. @param {Point | null} at @param {string} edges @param {boolean} over if over a box */
  point(at, edges, over) {
    let cursor = "";
    if (this.spaced && this.stage.zoom.closer) cursor = "grab";
    else if (edges) cursor = `${CURSORS[edges]}-resize`;
    else if (at && this.hand.inside(at)) cursor = "move";
    else if (this.open) cursor = over && !this.hand.deed ? "pointer" : "crosshair";
    if (this.area.style.cursor !== cursor) this.area.style.cursor = cursor;
  }

  /** The number of unchanged suggestions. */
  get suggested() {
    return this.edits.boxes.filter(isOpen).length;
  }
}

/** @param {Mapping} mapping @param {Point} from @param {Point} to */
function spannedOn(mapping, from, to) {
  const [a, b] = [mapping.toStage(from), mapping.toStage(to)];
  return { x: Math.min(a.x, b.x), y: Math.min(a.y, b.y), w: Math.abs(a.x - b.x), h: Math.abs(a.y - b.y) };
}

/** Whether a control has the focus, so that Tab moves between controls. @param {HTMLElement} area */
function isFocusElsewhere(area) {
  const root = /** @type {ShadowRoot} */ (area.getRootNode());
  const { activeElement } = area.ownerDocument;
  if (root.host && root.activeElement) return true;
  return activeElement !== null && !activeElement.contains(root.host ?? area); // the card's surroundings do not count
}
