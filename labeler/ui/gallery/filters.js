// What the grid shows, as one set of query parameters: those of GET /api/grid, of the page's address, and of the form.

const NAMES = ["status", "predicted", "label", "min_confidence", "by", "search", "cluster", "clusters", "similar_to", "images"];

class Filters {
  /** `changed()` when the person chose something else. */
  constructor(root, changed) {
    this.form = root.querySelector(".filters");
    this.chips = root.querySelector(".chips");
    this.changed = changed;
    this.query = new URLSearchParams();
    this.form.onsubmit = (event) => {
      event.preventDefault();
      clearTimeout(this.typing);
      if (this.typed) this.read(this.typed); // Enter waits for nothing
    };
    this.form.oninput = ({ target }) => {
      clearTimeout(this.typing);
      this.typed = target;
      if (target.name === "min_confidence") this.drawShare();
      this.typing = setTimeout(() => this.read(target), /search|range/.test(target.type) ? 300 : 0);
    };
    this.chips.onclick = ({ target }) => {
      const name = target.closest("button")?.dataset.name;
      if (name) this.set({ [name]: null });
    };
  }

  close() {
    clearTimeout(this.typing);
  }

  /** Whether anything but the status is asked for. */
  get narrowed() {
    return [...this.query.keys()].some((name) => name !== "status" && name !== "clusters" && name !== "by");
  }

  get(name) {
    return this.query.get(name);
  }

  /** From the page's address; unknown names go along, so that the labeler can say what is wrong with them. */
  open(given) {
    this.query = new URLSearchParams(given);
  }

  /** Change some parameters; null leaves one out. */
  set(values) {
    for (const [name, value] of Object.entries(values)) {
      if (value === null || value === "") this.query.delete(name);
      else this.query.set(name, value);
    }
    const address = this.query.size ? `?${this.query}` : location.pathname;
    history.replaceState(history.state, "", address);
    this.changed();
  }

  read({ name, value }) {
    this.typed = null;
    this.set({ [name]: name === "min_confidence" && value === "0" ? null : value.trim() });
  }

  /** Show in the form what holds: `status` is what the labeler took it to be. */
  draw(classes, status) {
    for (const select of this.form.querySelectorAll("select[data-classes]")) {
      const wanted = [["", "any class"], ...classes.map(({ id, name }) => [String(id), name])];
      const now = [...select.options].map(({ value, text }) => [value, text]);
      if (JSON.stringify(wanted) !== JSON.stringify(now))
        select.replaceChildren(...wanted.map(([value, text]) => new Option(text, value)));
    }
    for (const control of this.form.elements) {
      // What is being changed and was not asked for yet would be lost.
      if (!control.name || control === this.typed || control.matches(":focus")) continue;
      const none = control.name === "min_confidence" ? "0" : "";
      control.value = (control.name === "status" && status) || (this.get(control.name) ?? none);
    }
    this.drawShare();
    renew(
      this.chips,
      [
        ["similar_to", (id) => `Similar to image ${id}`],
        ["cluster", (number) => `Group ${number}`],
        ["images", (ids) => `${count(ids.split(",").length, "image")} chosen`],
      ]
        .filter(([name]) => this.query.has(name))
        .map(([name, words]) => this.chip(name, words(this.get(name)))),
    );
  }

  drawShare() {
    const { min_confidence } = this.form.elements;
    setText(this.form.querySelector("output"), percent(min_confidence.value));
    min_confidence.setAttribute("aria-valuetext", percent(min_confidence.value));
  }

  chip(name, words) {
    const button = element("button", `${words} ✕`);
    button.type = "button";
    button.dataset.name = name;
    button.setAttribute("aria-label", `${words}: show all again`);
    return button;
  }
}
