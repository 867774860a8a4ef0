// One answer about many images: one post, all of it on disk when it counts, and one step of undo. While the labeler
// cannot be reached the post waits and is sent again with the same ids, so that nothing is labeled twice.

const AGAIN_MS = 500;
const AGAIN_MOST_MS = 5000;

class Bulk {
  /** `say(words, trouble)` tells the person how it stands. */
  constructor(logId, tiles, say) {
    this.logId = logId;
    this.tiles = tiles;
    this.say = say;
    this.busy = false;
    this.steps = []; // this page's actions, latest last: { target: an answer of each, undone: how many it has }
  }

  close() {
    this.closed = true;
  }

  /** Answer about the images `ids`; `labelOf(tile)` gives the class, or undefined for one to be left out.
   *  Returns what became of them: { given, answered, held, gone, refused }, lists of image ids; null if nothing was. */
  async give(ids, action, labelOf) {
    if (this.busy) return null;
    this.busy = true;
    try {
      this.say(`Saving ${ids.length.toLocaleString("en")} …`);
      await this.persist(() => this.tiles.need(ids), ids.length);
      const there = ids.map((id) => this.tiles.get(id)).filter(Boolean);
      const answers = there
        .map((tile) => [tile, action === "label" ? labelOf(tile) : null])
        .filter(([, label]) => label !== undefined)
        .map(([tile, label]) => this.answer(tile, action, label));
      const gone = ids.filter((id) => !this.tiles.get(id));
      return answers.length ? { ...(await this.post(answers)), gone } : { given: [], answered: [], held: [], refused: [], gone };
    } catch (error) {
      if (!this.closed) this.say(`Nothing was saved: ${error.message}`, true);
      return null;
    } finally {
      this.busy = false;
    }
  }

  answer(tile, action, label) {
    return {
      id: uuid(),
      image_id: tile.image_id,
      action: action === "label" && tile.settles ? "settle" : action,
      label,
      annotator: annotator(),
      source: "grid",
      as_of: tile.as_of,
    };
  }

  async post(answers) {
    const refused = [];
    while (answers.length) {
      try {
        const url = `/api/annotations?log_id=${this.logId}`;
        const receipt = await this.persist(() => ask(url, { body: { annotations: answers } }), answers.length);
        const left = new Set([...receipt.answered, ...receipt.held]);
        const given = answers.filter(({ image_id }) => !left.has(image_id));
        if (given.length) this.steps.push({ target: given[0].id, undone: given.length });
        return { given: given.map(({ image_id }) => image_id), answered: receipt.answered, held: receipt.held, refused };
      } catch (error) {
        const invalid = new Set(error.answer?.invalid?.map(({ id }) => id));
        if (!invalid.size) throw error;
        refused.push(...answers.filter(({ id }) => invalid.has(id)).map(({ image_id }) => image_id));
        answers = answers.filter(({ id }) => !invalid.has(id));
        if (!answers.length) throw new Error(error.answer.invalid[0].reason);
      }
    }
    return { given: [], answered: [], held: [], refused };
  }

  /** Take back this page's last action, or after a reload the annotator's last in the grid, never another page's.
   *  An action that this page did not count is named first. Returns how many answers were taken back. */
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
      const { target, undone } = error.answer ?? {};
      if (target) {
        this.steps.push({ target, undone });
        this.say(`${error.message} Undo again to do that.`);
        return 0;
      }
      if (error instanceof Refused) this.steps.pop(); // what the labeler refuses once it will refuse again
      if (!this.closed) this.say(`Nothing was undone: ${error.message}`, true);
      return 0;
    } finally {
      this.busy = false;
    }
  }

  /** Try until the labeler answers. Throws its refusals. */
  async persist(attempt, count) {
    for (let wait = AGAIN_MS; ; wait = Math.min(2 * wait, AGAIN_MOST_MS)) {
      try {
        return await attempt();
      } catch (error) {
        if (this.closed || (error instanceof Refused && error.status < 500)) throw error;
        const left = `${count.toLocaleString("en")} not saved yet, trying again`;
        this.say(error instanceof Refused ? `${error.message} ${left}` : `Connection lost – ${left}`, true);
        await pause(wait);
      }
    }
  }
}
