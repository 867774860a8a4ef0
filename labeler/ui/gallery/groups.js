// The groups of similar images, largest first: one press shows one of them, to be labeled at once.

const LAID_OUT_MS = 2000; // until groups that are being worked out are asked for again

class Groups {
  /** `choose(number, count)` shows a group. */
  constructor(root, choose) {
    this.part = root.querySelector(".groups");
    this.list = this.part.querySelector("ol");
    this.words = this.part.querySelector("p");
    this.many = this.part.querySelector("select");
    this.choose = choose;
    this.many.onchange = () => this.load();
    this.part.ontoggle = () => this.part.open && this.load();
    this.list.onclick = ({ target }) => {
      const number = target.closest("button")?.dataset.cluster;
      if (number !== undefined) choose(number, this.many.value);
    };
  }

  close() {
    clearTimeout(this.again);
    this.asked?.abort();
  }

  async load() {
    this.close();
    this.asked = new AbortController();
    if (!this.list.firstChild) setText(this.words, "Putting the images into groups …");
    try {
      const { signal } = this.asked;
      const { clusters } = await ask(`/api/clusters?count=${this.many.value}`, { signal });
      const pictures = [...new Set(clusters.flatMap((each) => each.image_ids))];
      const urls = await this.urls(pictures, signal);
      setText(this.words, clusters.length ? "" : "There is no image to put into groups yet.");
      this.list.replaceChildren(...clusters.map((each) => this.item(each, urls)));
    } catch (error) {
      if (error.name === "AbortError") return;
      setText(this.words, error instanceof TypeError ? "The labeler cannot be reached." : error.message);
      this.list.replaceChildren();
      this.again = setTimeout(() => this.part.open && this.load(), LAID_OUT_MS);
    }
  }

  async urls(ids, signal) {
    const urls = new Map();
    for (let start = 0; start < ids.length; start += TILES_AT_ONCE) {
      const some = ids.slice(start, start + TILES_AT_ONCE).join(",");
      const { images } = await ask(`/api/grid/images?ids=${some}`, { signal });
      for (const { image_id, url } of images) urls.set(image_id, url);
    }
    return urls;
  }

  item({ cluster, size, open, image_ids }, urls) {
    const [item, button] = [element("li"), element("button")];
    button.type = "button";
    button.dataset.cluster = cluster;
    button.dataset.testid = "group";
    const words = open ? `${open.toLocaleString("en")} to label` : "done";
    button.setAttribute("aria-label", `Group ${cluster}: ${count(size, "image")}, ${words}`);
    const pictures = element("span", "", "pictures");
    for (const id of image_ids) {
      if (!urls.has(id)) continue;
      const picture = new Image();
      Object.assign(picture, { src: `${urls.get(id)}&size=160`, alt: "", loading: "lazy", draggable: false });
      pictures.append(picture);
    }
    button.append(pictures, element("span", count(size, "image")), element("span", words, "quiet"));
    item.append(button);
    return item;
  }
}
