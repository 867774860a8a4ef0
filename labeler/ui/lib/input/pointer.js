// Handles mouse, pen and fingers on one area. At any moment, one gesture owns the pointer: a pan, a swipe, a lasso, or
// the drag of a row. A second finger cancels that gesture and begins a pinch. Taps are detected here as well, because
// browsers send no click for a press longer than half a second.

/**
 * The state of a pointer.
 * @typedef {object} Pointer
 * @property {number} id
 * @property {"mouse" | "pen" | "touch" | string} type
 * @property {number} x in the window
 * @property {number} y
 * @property {number} left within the element that was pressed
 * @property {number} top
 * @property {boolean} shift
 * @property {number} button of the mouse that was pressed last
 * @property {number} at the time, as in `performance.now()`
 * @property {Element} target
 */

/**
 * What one pointer can do. The first gesture in the list whose `begins` returns true owns the pointer until it is released.
 * @typedef {object} Gesture
 * @property {(pointer: Pointer, fresh: boolean) => boolean} begins `fresh`: just pressed; otherwise it already moves
 * @property {(pointer: Pointer, before: Pointer) => unknown} moves returns false to give up the pointer
 * @property {(pointer: Pointer) => void} [ends]
 * @property {() => void} [cancels]
 * @property {() => boolean} [scrolls] whether the page may still scroll with the finger; by default it may not
 */

const TAP = 10; // maximum movement of a tap, in pixels

export class Pointers {
  /**
   * @param {HTMLElement} area
   * @param {Gesture[]} gestures
   * @param {object} [options]
   * @param {(factor: number, x: number, y: number) => void} [options.pinch] two fingers moved apart or together
   * @param {(pointer: Pointer) => void} [options.tap] one finger was lifted where it was pressed, after its gesture has ended
   * @param {(pointer: Pointer) => void} [options.hover] a pointer moves over the area with nothing pressed
   * @param {string} [options.ignore] elements in the area that handle their own presses
   * @param {number[]} [options.buttons] the mouse buttons that count; by default the left one
   * @param {AbortSignal} [options.signal]
   */
  constructor(area, gestures, { pinch, tap, hover, ignore, buttons = [0], signal } = {}) {
    this.area = area;
    this.gestures = gestures;
    this.pinch = pinch;
    this.tap = tap;
    this.hover = hover;
    this.ignore = ignore;
    this.buttons = buttons;
    this.button = 0; // the mouse button that is pressed
    /** @type {Map<number, Pointer>} */
    this.pressed = new Map();
    /** @type {Gesture | null} */
    this.owner = null;
    /** @type {Pointer | null} */
    this.tapped = null; // the press that may become a tap
    const options = { signal };
    area.addEventListener("pointerdown", (event) => this.down(event), options);
    area.addEventListener("pointermove", (event) => this.move(event), options);
    area.addEventListener("pointerup", (event) => this.up(event), options);
    area.addEventListener("pointercancel", (event) => this.cancel(event), options);
    area.addEventListener("touchmove", (event) => this.keep(event), { passive: false, signal });
  }

  /** @param {PointerEvent} event */
  down(event) {
    const pointer = read(event);
    if (!this.buttons.includes(event.button) || (this.ignore && pointer.target.closest(this.ignore))) return;
    const alone = !this.pressed.size;
    this.button = event.button;
    const owner = alone ? this.gestures.find((each) => each.begins(pointer, true)) : undefined;
    if (!owner && !this.pinch) return; // if the pointer were captured, elements in the area would get no click
    this.pressed.set(pointer.id, pointer);
    this.area.setPointerCapture(pointer.id); // so that a release outside the area is noticed, too
    this.tapped = alone && pointer.type === "touch" ? pointer : null;
    if (alone) this.owner = owner ?? null;
    else this.give();
  }

  /** @param {PointerEvent} event */
  move(event) {
    const now = { ...read(event), button: this.button }; // move events do not name the button
    const before = this.pressed.get(now.id);
    if (!before) {
      if (!this.pressed.size) this.hover?.(now);
      return;
    }
    this.pressed.set(now.id, now);
    if (this.tapped && distance(now, this.tapped) > TAP) this.tapped = null;
    if (this.pressed.size > 1) return this.spread(now, before);
    this.owner ??= this.gestures.find((each) => each.begins(now, false)) ?? null;
    if (this.owner?.moves(now, before) === false) this.give();
  }

  /** @param {PointerEvent} event */
  up(event) {
    if (!this.pressed.delete(event.pointerId)) return;
    const { owner, tapped } = this;
    this.owner = this.tapped = null;
    const pointer = read(event);
    owner?.ends?.(pointer);
    if (tapped && distance(pointer, tapped) <= TAP) this.tap?.(pointer);
  }

  /** @param {PointerEvent} event */
  cancel(event) {
    this.tapped = null;
    if (this.pressed.delete(event.pointerId)) this.give();
  }

  /**
   * Tell the browser that we handle the finger. Otherwise it treats a quick movement as a fling, even where it may not
   * scroll. The next tap would then only stop that fling, without a click.
   * @param {TouchEvent} event comes after the pointer event
   */
  keep(event) {
    const ours = this.pressed.size > 1 || (this.owner && !this.owner.scrolls?.());
    if (ours && event.cancelable) event.preventDefault();
  }

  /** Take the pointer from its owner, whose gesture is cancelled. */
  give() {
    const { owner } = this;
    this.owner = null;
    owner?.cancels?.();
  }

  /** @param {Pointer} now @param {Pointer} before */
  spread(now, before) {
    const others = [...this.pressed.values()].filter(({ id }) => id !== now.id);
    if (others.length !== 1) return;
    const [other] = others;
    this.pinch?.(
      distance(now, other) / Math.max(1, distance(before, other)),
      (now.x + other.x) / 2,
      (now.y + other.y) / 2,
    );
  }
}

/** @param {Pointer} one @param {Pointer} other */
function distance(one, other) {
  return Math.hypot(one.x - other.x, one.y - other.y);
}

/** @param {PointerEvent} event @returns {Pointer} */
function read(event) {
  return {
    id: event.pointerId,
    type: event.pointerType,
    x: event.clientX,
    y: event.clientY,
    left: event.offsetX,
    top: event.offsetY,
    shift: event.shiftKey,
    button: event.button,
    at: event.timeStamp,
    target: /** @type {Element} */ (event.target),
  };
}
