// The tooltip with the image of the point under the pointer or the keyboard cursor.

import { ask, sized } from "../lib/api.js";
import { setText } from "../lib/dom.js";

const TILES_KEPT = 500;

export class Tip {
  /** @param {any} node @param {import("./points.js").Points} points @param {(index: number) => string} group the name of a point's colour */
  constructor(node, points, group) {
    this.node = node;
    this.points = points;
    this.group = group;
    /** @type {Map<number, any>} */
    this.tiles = new Map(); // by image id
  }

  /**
   * Show the image of a point beside it, or hide the tooltip (−1). Returns its description if it is shown.
   * @param {number} first the point
   * @param {() => number} now the point that is current once the image has loaded: in a new map, the image may be another one
   */
  async show(first, now) {
    const { node, points } = this;
    node.hidden = true;
    if (first < 0) return undefined;
    const id = points.ids[first];
    const tile = await this.tile(id);
    const index = now();
    if (points.ids[index] !== id || !tile) return undefined;
    const [picture, words] = node.children;
    picture.src = sized(tile.url, 160);
    setText(words, `${tile.name}\n${this.group(index)}`);
    node.hidden = false;
    const [left, top] = [points.left(index), points.top(index)];
    const right = left + 12 + node.offsetWidth <= points.width;
    node.style.left = `${right ? left + 12 : left - 12 - node.offsetWidth}px`;
    node.style.top = `${Math.max(4, Math.min(points.height - node.offsetHeight - 4, top - node.offsetHeight / 2))}px`;
    return `${tile.name}, ${this.group(index)}`;
  }

  /** The labeler's data for an image; undefined while it is unavailable. @param {number} id */
  async tile(id) {
    if (this.tiles.has(id)) return this.tiles.get(id);
    try {
      const { images } = await ask(`/api/grid/images?ids=${id}`);
      this.tiles.set(id, images[0]);
      if (this.tiles.size > TILES_KEPT) this.tiles.delete(this.tiles.keys().next().value ?? id);
      return images[0];
    } catch {
      return undefined; // the next move tries again
    }
  }
}
