// The labeler's data for the images on screen. A tile keeps the prediction with which it was first shown, so that accepting
// it accepts what the person read. All its other data is updated.

import { ask } from "../lib/api.js";
import { annotator } from "../lib/storage.js";

/**
 * @typedef {{ image_id: number, url: string, name: string, status: string, label: number | null,
 *   answer?: import("../types.js").Classes | { boxes: import("../tasks/detection/boxes/edits.js").AnswerBox[] } | null,
 *   width?: number | null, height?: number | null, predicted: number | null,
 *   confidence: number | null, held?: boolean, settles?: boolean, as_of?: number }} Tile
 */

export const TILES_AT_ONCE = 250;

export class Tiles {
  /** @param {() => void} changed called after each answer */
  constructor(changed) {
    /** @type {Map<number, Tile | null>} */
    this.known = new Map(); // by image id; null for an image that cannot be shown
    this.changed = changed;
    /** @type {Map<number, Promise<void>>} */
    this.requests = new Map(); // image id → the request under way
  }

  /** @param {number} id */
  get(id) {
    return this.known.get(id);
  }

  forget() {
    this.known.clear();
  }

  /** Fetch the unknown ones among `ids`, or with `anew` all of them. Throws the errors of `ask`. @param {number[]} ids @param {{ anew?: boolean }} [options] */
  async need(ids, { anew = false } = {}) {
    const wanted = ids.filter((id) => !this.requests.has(id) && (anew || !this.known.has(id)));
    for (let start = 0; start < wanted.length; start += TILES_AT_ONCE) {
      const some = wanted.slice(start, start + TILES_AT_ONCE);
      const answer = this.fetch(some).finally(() => some.forEach((id) => void this.requests.delete(id)));
      for (const id of some) this.requests.set(id, answer);
    }
    await Promise.all(new Set(ids.map((id) => this.requests.get(id))));
  }

  /** @param {number[]} ids */
  async fetch(ids) {
    const query = new URLSearchParams({ ids: ids.join(","), annotator: annotator() });
    this.take(ids, await ask(`/api/grid/images?${query}`));
    this.changed();
  }

  /** @param {number[]} ids that were asked for @param {{ images: Tile[], last_seq: number }} answer */
  take(ids, { images, last_seq }) {
    const found = new Set(images.map((tile) => tile.image_id));
    for (const id of ids) if (!found.has(id)) this.known.set(id, null);
    for (const tile of images) {
      const before = this.known.get(tile.image_id);
      if (before?.predicted != null)
        Object.assign(tile, { predicted: before.predicted, confidence: before.confidence });
      this.known.set(tile.image_id, { ...tile, as_of: last_seq });
    }
  }
}
