// One answer for many images: one post, which counts only when all of it is on disk, and one step of undo. While the labeler
// cannot be reached, the post is retried with the same ids, so that nothing is labeled twice.

import { ask, Refused } from "../lib/api.js";
import { uuid } from "../lib/dom.js";
import { annotator } from "../lib/storage.js";
import { number } from "../lib/text.js";
import { pause } from "../lib/time.js";

/** @typedef {import("./tiles.js").Tile} Tile */
/** @typedef {import("../types.js").Annotation} Annotation */

const AGAIN_MS = 500;
const AGAIN_MOST_MS = 5000;

export class Bulk {
  /**
   * @param {string} logId
   * @param {import("./tiles.js").Tiles} tiles
   * @param {(words: string, trouble?: boolean) => void} say tells the person the progress
   */
  constructor(logId, tiles, say) {
    this.logId = logId;
    this.tiles = tiles;
    this.say = say;
    this.busy = false;
    this.closed = false;
    /** @type {{ target: string, undone: number }[]} */
    this.steps = []; // this page's actions, latest last: one answer of each, and their number
  }

  close() {
    this.closed = true;
  }

  /**
   * Answer for the images `ids`. Returns the outcome, or null if nothing was saved.
   * @param {number[]} ids
   * @param {string} action
   * @param {import("../tasks/task.js").Mark["of"]} of the answer for an image; undefined leaves it out
   * @returns {Promise<import("./words.js").Outcome | null>}
   */
  async give(ids, action, of) {
    if (this.busy) return null;
    this.busy = true;
    try {
      this.say(`Saving ${number(ids.length)} …`);
      await this.persist(() => this.tiles.need(ids), ids.length);
      const answers = ids.flatMap((id) => {
        const tile = this.tiles.get(id);
        const fields = tile && (action === "label" ? of(tile) : { label: null });
        return tile && fields ? [this.answer(tile, action, fields)] : [];
      });
      const gone = ids.filter((id) => !this.tiles.get(id));
      return answers.length
        ? { ...(await this.post(answers)), gone }
        : { given: [], answered: [], held: [], refused: [], gone };
    } catch (error) {
      if (!this.closed) this.say(`Nothing was saved: ${/** @type {Error} */ (error).message}`, true);
      return null;
    } finally {
      this.busy = false;
    }
  }

  /** @param {Tile} tile @param {string} action @param {import("../tasks/task.js").Answer} fields @returns {Annotation} */
  answer(tile, action, fields) {
    return {
      id: uuid(),
      image_id: tile.image_id,
      action: action === "label" && tile.settles ? "settle" : action,
      ...fields,
      annotator: annotator(),
      source: "grid",
      as_of: tile.as_of,
    };
  }

  /** @param {Annotation[]} answers */
  async post(answers) {
    /** @type {number[]} */
    const refused = [];
    while (answers.length) {
      try {
        const url = `/api/annotations?log_id=${this.logId}`;
        const body = { annotations: answers };
        const { answered, held } = await this.persist(() => ask(url, { body }), answers.length);
        const left = new Set([...answered, ...held]);
        const given = answers.filter(({ image_id }) => !left.has(image_id));
        if (given.length) this.steps.push({ target: given[0].id, undone: given.length });
        return { given: given.map(({ image_id }) => image_id), answered, held, refused };
      } catch (error) {
        /** @type {{ id: string, reason: string }[]} */
        const invalid = error instanceof Refused ? (error.answer.invalid ?? []) : [];
        if (!invalid.length) throw error;
        const named = new Set(invalid.map(({ id }) => id));
        refused.push(...answers.filter(({ id }) => named.has(id)).map(({ image_id }) => image_id));
        answers = answers.filter(({ id }) => !named.has(id));
        if (!answers.length) throw new Error(invalid[0].reason);
      }
    }
    return { given: [], answered: [], held: [], refused };
  }

  /**
   * Undo this page's last action, or after a reload the annotator's last one in the grid, never another page's. An action that
   * this page does not know is announced first. Returns how many answers were undone.
   * @returns {Promise<number>}
   */
  async undo() {
    if (this.busy) return 0;
    this.busy = true;
    const { target } = this.steps.at(-1) ?? {};
    const body = { id: uuid(), annotator: annotator(), target, page: "grid", ask: !target };
    try {
      const { undone } = await this.persist(() => ask("/api/undo", { body }), 1);
      this.steps.pop();
      return undone;
    } catch (error) {
      const refusal = error instanceof Refused ? error : null;
      const { target, undone } = refusal?.answer ?? {};
      if (refusal && target) {
        this.steps.push({ target, undone });
        this.say(`${refusal.message} Undo again to do that.`);
        return 0;
      }
      if (refusal) this.steps.pop(); // otherwise the labeler would refuse it again
      if (!this.closed) this.say(`Nothing was undone: ${/** @type {Error} */ (error).message}`, true);
      return 0;
    } finally {
      this.busy = false;
    }
  }

  /** Try until the labeler answers. Throws its refusals. @param {() => Promise<any>} attempt @param {number} count */
  async persist(attempt, count) {
    for (let wait = AGAIN_MS; ; wait = Math.min(2 * wait, AGAIN_MOST_MS)) {
      try {
        return await attempt();
      } catch (error) {
        if (this.closed || (error instanceof Refused && error.status < 500)) throw error;
        const left = `${number(count)} not saved yet, trying again`;
        this.say(error instanceof Refused ? `${error.message} ${left}` : `Connection lost – ${left}`, true);
        await pause(wait);
      }
    }
  }
}
