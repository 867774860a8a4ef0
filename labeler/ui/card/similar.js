// Images similar to the one on screen, with their labels. They are fetched only when the person hesitates, never for a held-out
// image.

import { ask } from "../lib/api.js";
import { element, find, setName } from "../lib/dom.js";

const HESITATION_MS = 300;
const REMEMBERED = 50; // images

/** @typedef {{ image_id: number, url: string, name: string }} SimilarImage */

export class Similar {
  /** @param {Element} root */
  constructor(root) {
    this.part = find(root, ".similar");
    this.list = this.part.querySelector("ol");
    /** @type {Map<number, SimilarImage[]>} */
    this.known = new Map(); // by image id
    /** @type {import("../types.js").Item | null} */
    this.item = null;
  }

  /** Set the image on screen; null if similar images must not be shown. @param {import("../types.js").Item | null} item */
  show(item) {
    clearTimeout(this.waiting);
    this.request?.abort();
    this.item = item;
    if (this.list.firstChild) this.list.replaceChildren();
    this.part.classList.remove("found");
    if (item) this.waiting = setTimeout(() => this.fetch(item), HESITATION_MS);
  }

  /** @param {import("../types.js").Item} item */
  async fetch(item) {
    const images = this.known.get(item.image_id) ?? (await this.ask(item.image_id));
    if (images && this.item === item) this.draw(images);
  }

  /** @param {number} imageId @returns {Promise<SimilarImage[] | null>} */
  async ask(imageId) {
    this.request = new AbortController();
    try {
      const { images } = await ask(`/api/images/${imageId}/similar`, { signal: this.request.signal });
      if (images.length) this.known.set(imageId, images); // otherwise ask again, because the trainer may find some later
      if (this.known.size > REMEMBERED) this.known.delete(/** @type {number} */ (this.known.keys().next().value));
      return images;
    } catch {
      return null; // the next image is on screen, or the connection is lost
    }
  }

  /** @param {SimilarImage[]} images */
  draw(images) {
    this.part.classList.toggle("found", images.length > 0);
    this.list.replaceChildren(
      ...images.map(({ image_id, url, name }) => {
        const [node, picture] = [element("li"), new Image()];
        Object.assign(picture, { src: url, alt: `Image ${image_id}`, decoding: "async", draggable: false });
        node.append(picture, setName(element("span"), name));
        return node;
      }),
    );
  }
}
