// Which images are chosen: by place in the listing for ranges, by id for everything else.

class Selection {
  /** At most `most` images, which is what one action may hold. */
  constructor(most) {
    this.most = most;
    this.ids = new Set();
    this.list = [];
    this.anchor = 0; // where a range begins
  }

  get size() {
    return this.ids.size;
  }

  has(id) {
    return this.ids.has(id);
  }

  /** The listing changed; what is not in it any more is not chosen any more. */
  over(list) {
    this.list = list;
    this.anchor = Math.min(this.anchor, Math.max(0, list.length - 1));
    const there = new Set(list);
    for (const id of this.ids) if (!there.has(id)) this.ids.delete(id);
  }

  toggle(index) {
    const id = this.list[index];
    if (!this.ids.delete(id)) this.add([id]);
    this.anchor = index;
  }

  /** From the anchor to `index`, both included, beside what is chosen already. */
  range(index) {
    this.add(this.list.slice(Math.min(this.anchor, index), Math.max(this.anchor, index) + 1));
  }

  all() {
    this.add(this.list);
  }

  /** Invert the selection. */
  invert() {
    const others = this.list.filter((id) => !this.ids.has(id));
    this.ids.clear();
    this.add(others);
  }

  clear() {
    this.ids.clear();
  }

  add(ids) {
    for (const id of ids) {
      if (this.ids.size >= this.most) return;
      this.ids.add(id);
    }
  }
}
