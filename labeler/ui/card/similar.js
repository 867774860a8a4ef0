// A reminder of how images like the one on screen were labeled. It is fetched once someone hesitates, never on the way
// to the next image, and never for a held-out image.

const HESITATION_MS = 300;
const REMEMBERED = 50; // images

class Similar {
  constructor(root) {
    this.part = root.querySelector(".similar");
    this.list = this.part.querySelector("ol");
    this.known = new Map(); // image id → its similar images
  }

  /** `item` is on screen; null when there is nothing to be reminded of. */
  show(item) {
    clearTimeout(this.waiting);
    this.asked?.abort();
    this.item = item;
    if (this.list.firstChild) this.list.replaceChildren();
    this.part.classList.remove("found");
    if (item) this.waiting = setTimeout(() => this.fetch(item), HESITATION_MS);
  }

  async fetch(item) {
    let images = this.known.get(item.image_id);
    if (!images) {
      this.asked = new AbortController();
      try {
        const response = await fetch(`/api/images/${item.image_id}/similar`, { signal: this.asked.signal });
        if (!response.ok) return;
        ({ images } = await response.json());
      } catch {
        return; // the next image is on screen, or the connection is lost
      }
      if (images.length) this.known.set(item.image_id, images); // else the trainer may know some later
      if (this.known.size > REMEMBERED) this.known.delete(this.known.keys().next().value);
    }
    if (this.item === item) this.draw(images);
  }

  draw(images) {
    this.part.classList.toggle("found", images.length > 0);
    this.list.replaceChildren(
      ...images.map(({ image_id, url, name }) => {
        const [node, picture] = [element("li"), new Image()];
        Object.assign(picture, { src: url, alt: `Image ${image_id}`, decoding: "async", draggable: false });
        node.append(picture, element("span", name));
        return node;
      }),
    );
  }
}
