// The order of the classes, in the panel that changes them: each row has a handle that is dragged, or moved by the arrow
// keys. Nothing is written before the hand lets go.

const EDGE = 40; // pixels from the panel's edge in which a row that is dragged scrolls it
const STEP_PX = 12;

class ClassOrder {
  /** `move(class id, place)` has the labeler move it. */
  constructor(list, move) {
    Object.assign(this, { list, move });
    list.addEventListener("pointerdown", (event) => this.take(event));
    list.addEventListener("pointermove", (event) => this.drag(event));
    list.addEventListener("pointerup", () => this.drop());
    list.addEventListener("pointercancel", () => this.leave());
    list.addEventListener("keydown", (event) => this.key(event));
  }

  /** A button that holds a row. */
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

  take(event) {
    const handle = event.target.closest(".handle");
    if (!handle || event.button) return;
    this.item = handle.closest("li");
    this.from = this.places().indexOf(this.item);
    this.list.setPointerCapture(event.pointerId);
    this.item.classList.add("dragged");
  }

  drag({ clientY }) {
    if (!this.item) return;
    const dialog = this.list.closest("dialog");
    const { top, bottom } = dialog.getBoundingClientRect();
    if (clientY < top + EDGE || clientY > bottom - EDGE) dialog.scrollBy(0, clientY < top + EDGE ? -STEP_PX : STEP_PX);
    const over = this.places().find((each) => {
      const { top, bottom } = each.getBoundingClientRect();
      return each !== this.item && clientY >= top && clientY < bottom;
    });
    if (!over) return;
    const down = this.places().indexOf(over) > this.places().indexOf(this.item);
    over[down ? "after" : "before"](this.item);
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

  key(event) {
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    const item = event.target.closest(".handle")?.closest("li");
    if (!by || !item) return;
    event.preventDefault();
    const to = this.places().indexOf(item) + by;
    if (to >= 0 && to < this.list.children.length) this.move(Number(item.dataset.classId), to);
  }
}
