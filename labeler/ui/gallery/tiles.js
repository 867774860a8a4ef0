// What the labeler says of the images on screen. A tile keeps the prediction with which it was first seen, so that
// accepting it means what was read there; everything else of it is news.

const TILES_AT_ONCE = 250;

class Tiles {
  /** `changed()` after each answer. */
  constructor(changed) {
    this.known = new Map(); // image id → tile; null for one that cannot be shown
    this.changed = changed;
    this.asked = new Map(); // image id → the request that will tell
  }

  get(id) {
    return this.known.get(id);
  }

  forget() {
    this.known.clear();
  }

  /** Fetch those of `ids` that are not known, or all of them anew. Throws what `ask` throws. */
  async need(ids, { anew = false } = {}) {
    const wanted = ids.filter((id) => !this.asked.has(id) && (anew || !this.known.has(id)));
    for (let start = 0; start < wanted.length; start += TILES_AT_ONCE) {
      const some = wanted.slice(start, start + TILES_AT_ONCE);
      const answer = this.fetch(some).finally(() => some.forEach((id) => this.asked.delete(id)));
      for (const id of some) this.asked.set(id, answer);
    }
    await Promise.all(new Set(ids.map((id) => this.asked.get(id))));
  }

  async fetch(ids) {
    const query = new URLSearchParams({ ids: ids.join(","), annotator: annotator() });
    const { images, last_seq } = await ask(`/api/grid/images?${query}`);
    const found = new Set(images.map((tile) => tile.image_id));
    for (const id of ids) if (!found.has(id)) this.known.set(id, null);
    for (const tile of images) {
      const before = this.known.get(tile.image_id);
      if (before?.predicted != null) Object.assign(tile, { predicted: before.predicted, confidence: before.confidence });
      this.known.set(tile.image_id, { ...tile, as_of: last_seq });
    }
    this.changed();
  }
}
