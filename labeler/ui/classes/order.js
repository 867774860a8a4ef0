// The order of the classes, in the panel that edits them: each row has a handle that can be dragged, or moved with the arrow
// keys. A drag is saved when the pointer is released.

import { element } from "../lib/dom.js";
import { Pointers } from "../lib/input/pointer.js";

const EDGE = 40; // distance in pixels from the panel's edge at which dragging scrolls
const STEP_PX = 12;

export class ClassOrder {
  /**
   * @param {HTMLElement} list
   * @param {(classId: number, place: number) => void} move asks the labeler to move it
   */
  constructor(list, move) {
    this.list = list;
    this.move = move;
    /** @type {HTMLElement | null} */
    this.item = null;
    this.from = 0;
    new Pointers(list, [
      {
        begins: ({ target }, fresh) => fresh && this.take(target.closest(".handle")),
        moves: ({ y }) => this.drag(y),
        ends: () => this.drop(),
        cancels: () => this.leave(),
      },
    ]);
    list.addEventListener("keydown", (event) => this.key(event));
  }

  /** The handle of a row. @param {string} name of its class */
  static handle(name) {
    const handle = element("button", "⠿", "handle");
    handle.type = "button";
    handle.dataset.change = "order";
    handle.ariaLabel = `Move ${name}: drag it, or press an arrow key`;
    handle.title = "Drag, or press ↑ ↓";
    return handle;
  }

  get dragging() {
    return Boolean(this.item);
  }

  places() {
    return [...this.list.children];
  }

  /** @param {Element | null} handle */
  take(handle) {
    if (!handle) return false;
    this.item = /** @type {HTMLElement} */ (handle.closest("li"));
    this.from = this.places().indexOf(this.item);
    this.item.classList.add("dragged");
    return true;
  }

  /** @param {number} y of the pointer, in the window */
  drag(y) {
    const { item } = this;
    if (!item) return;
    const dialog = /** @type {HTMLElement} */ (this.list.closest("dialog"));
    const { top, bottom } = dialog.getBoundingClientRect();
    if (y < top + EDGE || y > bottom - EDGE) dialog.scrollBy(0, y < top + EDGE ? -STEP_PX : STEP_PX);
    const over = this.places().find((each) => {
      const { top, bottom } = each.getBoundingClientRect();
      return each !== item && y >= top && y < bottom;
    });
    if (!over) return;
    const down = this.places().indexOf(over) > this.places().indexOf(item);
    over[down ? "after" : "before"](item);
  }

  drop() {
    const { item, from } = this;
    if (!item) return;
    const to = this.places().indexOf(item);
    this.leave();
    if (to !== from) this.move(Number(item.dataset.classId), to);
  }

  leave() {
    this.item?.classList.remove("dragged");
    this.item = null;
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    const item = /** @type {HTMLElement} */ (event.target).closest(".handle")?.closest("li");
    if (!by || !item) return;
    event.preventDefault();
    const to = this.places().indexOf(item) + by;
    if (to >= 0 && to < this.list.children.length) this.move(Number(item.dataset.classId), to);
  }
}
