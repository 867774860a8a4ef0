// The listing of a view, a part at a time: the first one shows at once, and the next is asked for before its place comes into
// sight. So a project with a million images is listed as quickly as a small one, and every image can be reached.

import { ask, isAbort } from "../lib/api.js";

export const PART = 5000; // images in a part
const AHEAD = 1000; // images before the end of the list at which the next part is asked for

export class Pages {
  /** @param {(ids: number[]) => void} append called with images that are not in the list yet */
  constructor(append) {
    this.append = append;
    this.query = "";
    /** @type {string | null} */
    this.next = null; // where the next part begins
    this.asked = new AbortController();
  }

  close() {
    this.asked.abort();
  }

  /** The first part; it ends what was asked before. Throws what `ask` throws. @param {{ toString(): string }} query */
  async first(query) {
    this.close();
    [this.query, this.next, this.asked, this.busy] = [`${query}`, null, new AbortController(), false];
    const listing = await ask(`/api/grid?${this.address()}`, { signal: this.asked.signal });
    this.next = listing.next ?? null;
    return listing;
  }

  /** Ask for the next part if the end of the list comes near. @param {number[]} inSight @param {number[]} list */
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
      if (isAbort(error)) return; // another listing took its place; any other problem: asked again at the next scroll
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
