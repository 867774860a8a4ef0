// The groups of similar images, largest first: a click shows one of them, to label it as a whole.

import { ask, isAbort, Lost, sized } from "../lib/api.js";
import { element, find, setText } from "../lib/dom.js";
import { rove } from "../lib/input/roving.js";
import { count, number } from "../lib/text.js";
import { TILES_AT_ONCE } from "./tiles.js";

/** @typedef {{ cluster: number, size: number, open: number, image_ids: number[] }} Cluster */

const LAID_OUT_MS = 2000; // pause before requesting groups again while they are being computed

export class Groups {
  /** @param {Element} root @param {(cluster: string, clusters: string) => void} choose shows one of `clusters` groups */
  constructor(root, choose) {
    this.part = find(root, ".groups");
    this.list = this.part.querySelector("ol");
    this.words = this.part.querySelector("p");
    this.many = this.part.querySelector("select");
    this.choose = choose;
    this.many.onchange = () => this.load();
    this.part.ontoggle = () => this.part.open && this.load();
    this.list.onclick = (/** @type {any} */ { target }) => {
      const number = target.closest("button")?.dataset.cluster;
      if (number !== undefined) choose(number, this.many.value);
    };
  }

  close() {
    clearTimeout(this.again);
    this.request?.abort();
  }

  async load() {
    this.close();
    this.request = new AbortController();
    if (!this.list.firstChild) setText(this.words, "Grouping the images …");
    try {
      const { signal } = this.request;
      const { clusters } = await ask(`/api/clusters?count=${this.many.value}`, { signal });
      const pictures = new Set(clusters.flatMap((/** @type {Cluster} */ each) => each.image_ids));
      const urls = await this.urls([...pictures], signal);
      setText(this.words, clusters.length ? "" : "There are no images to group yet.");
      this.list.replaceChildren(...clusters.map((/** @type {Cluster} */ each) => this.item(each, urls)));
      rove(this.list);
    } catch (error) {
      if (isAbort(error)) return;
      setText(
        this.words,
        error instanceof Lost ? "The labeler cannot be reached." : /** @type {Error} */ (error).message,
      );
      this.list.replaceChildren();
      this.again = setTimeout(() => this.part.open && this.load(), LAID_OUT_MS);
    }
  }

  /** @param {number[]} ids @param {AbortSignal} signal @returns {Promise<Map<number, string>>} */
  async urls(ids, signal) {
    const urls = new Map();
    for (let start = 0; start < ids.length; start += TILES_AT_ONCE) {
      const some = ids.slice(start, start + TILES_AT_ONCE).join(",");
      const { images } = await ask(`/api/grid/images?ids=${some}`, { signal });
      for (const { image_id, url } of images) urls.set(image_id, url);
    }
    return urls;
  }

  /** @param {Cluster} cluster @param {Map<number, string>} urls */
  item({ cluster, size, open, image_ids }, urls) {
    const [item, button] = [element("li"), element("button")];
    button.type = "button";
    button.dataset.cluster = String(cluster);
    button.dataset.testid = "group";
    const words = open ? `${number(open)} to label` : "done";
    button.setAttribute("aria-label", `Group ${cluster}: ${count(size, "image")}, ${words}`);
    const pictures = element("span", "", "pictures");
    for (const id of image_ids) {
      if (!urls.has(id)) continue;
      const picture = new Image();
      Object.assign(picture, {
        src: sized(/** @type {string} */ (urls.get(id)), 160),
        alt: "",
        loading: "lazy",
        draggable: false,
      });
      pictures.append(picture);
    }
    button.append(pictures, element("span", count(size, "image")), element("span", words, "quiet"));
    item.append(button);
    return item;
  }
}
