// The selected images: by position in the listing for ranges, by id for everything else.

export class Selection {
  /** @param {number} most images that one action may include */
  constructor(most) {
    this.most = most;
    /** @type {Set<number>} */
    this.ids = new Set();
    /** @type {number[]} */
    this.list = [];
    this.anchor = 0; // where a range starts
  }

  get size() {
    return this.ids.size;
  }

  /** @param {number} id */
  has(id) {
    return this.ids.has(id);
  }

  /** The listing changed; images that left it are no longer chosen. @param {number[]} list */
  over(list) {
    this.list = list;
    this.anchor = Math.min(this.anchor, Math.max(0, list.length - 1));
    const there = new Set(list);
    for (const id of this.ids) if (!there.has(id)) this.ids.delete(id);
  }

  /** @param {number} index */
  toggle(index) {
    const id = this.list[index];
    if (!this.ids.delete(id)) this.add([id]);
    this.anchor = index;
  }

  /** Select from the anchor to `index`, both included, in addition to the current selection. @param {number} index */
  range(index) {
    this.add(this.list.slice(Math.min(this.anchor, index), Math.max(this.anchor, index) + 1));
  }

  all() {
    this.add(this.list);
  }

  invert() {
    const others = this.list.filter((id) => !this.ids.has(id));
    this.ids.clear();
    this.add(others);
  }

  clear() {
    this.ids.clear();
  }

  /** @param {number[]} ids */
  add(ids) {
    for (const id of ids) {
      if (this.ids.size >= this.most) return;
      this.ids.add(id);
    }
  }
}
