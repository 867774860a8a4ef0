// The listing of a view, in parts: the first part shows at once, and the next one is requested before the person scrolls to it.
// So a project with a million images is listed as quickly as a small one, and every image can be reached.

import { ask, isAbort } from "../lib/api.js";

export const PART = 5000; // images per part
const AHEAD = 1000; // images before the end of the list at which the next part is requested

export class Pages {
  /** @param {(ids: number[]) => void} append called with new images for the list */
  constructor(append) {
    this.append = append;
    this.query = "";
    /** @type {string | null} */
    this.next = null; // start of the next part
    this.asked = new AbortController();
  }

  close() {
    this.asked.abort();
  }

  /** Request the first part; cancels earlier requests. Throws the errors of `ask`. @param {{ toString(): string }} query */
  async first(query) {
    this.close();
    [this.query, this.next, this.asked, this.busy] = [`${query}`, null, new AbortController(), false];
    const listing = await ask(`/api/grid?${this.address()}`, { signal: this.asked.signal });
    this.next = listing.next ?? null;
    return listing;
  }

  /**
   * Request the next part if the end of the list is near. Throws what `ask` throws; the next call tries again.
   * @param {number[]} inSight @param {number[]} list
   */
  async near(inSight, list) {
    if (this.next === null || this.busy || !inSight.length) return;
    if (list.lastIndexOf(inSight[inSight.length - 1]) < list.length - AHEAD) return;
    this.busy = true;
    const { signal } = this.asked;
    try {
      const listing = await ask(`/api/grid?${this.address(this.next)}`, { signal });
      const known = new Set(list);
      this.next = listing.next ?? null;
      this.append(listing.image_ids.filter((/** @type {number} */ id) => !known.has(id)));
    } catch (error) {
      if (!isAbort(error)) throw error; // else a newer listing replaced it
    } finally {
      if (!signal.aborted) this.busy = false;
    }
  }

  /** @param {string} [after] */
  address(after) {
    const query = new URLSearchParams(this.query);
    query.set("limit", String(PART));
    if (after) query.set("after", after);
    return query;
  }
}
