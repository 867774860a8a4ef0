// The last answers as thumbnails, so that a slip is seen and put right: a click brings the image back, a new answer
// replaces the old one. It is drawn once the hand pauses, not between quick keys, and takes over the images that are
// decoded anyway. A reload keeps it: it lies in the tab's own storage.

const ANSWERS_KEPT = 12;
const PAUSE_MS = 80; // after an image is on screen; quick keys come each 40 ms
const WITHOUT_LABEL = { skip: "skipped", flag: "flagged" };

class Strip {
  constructor(root, logId, nameOf) {
    this.list = root.querySelector(".strip");
    this.key = `flywheel/strip/${logId}`;
    this.nameOf = nameOf;
    this.entries = this.load(); // newest first: {item, answers: [{id, action, label, note}], node}
  }

  /** Call `open(entry)` when one is chosen. */
  on(open) {
    this.list.onclick = (event) => {
      const node = event.target.closest("li");
      if (node) open(this.entries.find((entry) => entry.node === node));
    };
  }

  of(imageId) {
    return this.entries.find(({ item }) => item.image_id === imageId);
  }

  /** The entry one step before (-1) or after (1) the given one; before none comes the newest, and after that none. */
  beside(entry, step) {
    return this.entries[this.entries.indexOf(entry) - step];
  }

  /** Note an answer; `draw` shows it. */
  add({ item, image, broken, given }, { id, action, label, note }) {
    let entry = this.of(item.image_id);
    if (!entry) {
      const answers = given?.answers ?? []; // of a question that its address has opened
      entry = { item: { ...item, suggestions: [] }, answers, image: broken ? null : image };
      this.entries = [entry, ...this.entries].slice(0, ANSWERS_KEPT);
    }
    entry.answers.push({ id, action, label, note });
  }

  /** The image's last answer, or the one of this id, does not count any more. */
  takeBack(imageId, id) {
    const entry = this.of(imageId);
    if (!entry) return;
    const last = id ?? entry.answers.at(-1).id;
    entry.answers = entry.answers.filter((answer) => answer.id !== last);
    if (!entry.answers.length) this.entries = this.entries.filter((each) => each !== entry);
    this.draw();
  }

  /** A class became part of another one. */
  relabel(from, into) {
    for (const { answers } of this.entries) {
      for (const answer of answers) if (answer.label === from) answer.label = into;
    }
    this.draw();
  }

  forget() {
    this.entries = [];
    this.draw();
  }

  /** Draw when nothing else happens for a moment. */
  drawSoon(current) {
    this.current = current;
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.draw(), PAUSE_MS);
  }

  /** `current` is the entry whose image is on screen again. */
  draw(current = this.current) {
    this.current = current;
    this.entries.forEach((entry, index) => {
      const node = (entry.node ??= this.node(entry));
      this.caption(entry, node.firstChild, entry === current);
      if (this.list.children[index] !== node) this.list.insertBefore(node, this.list.children[index] ?? null);
    });
    while (this.list.children.length > this.entries.length) this.list.lastChild.remove();
    this.keep();
  }

  node({ item, image }) {
    const [node, button] = [element("li"), element("button")];
    const picture = image ?? Object.assign(new Image(), { src: item.url });
    Object.assign(picture, { alt: "", decoding: "async", draggable: false });
    button.type = "button";
    button.dataset.testid = "answer";
    button.dataset.imageId = item.image_id;
    button.append(picture, element("span"));
    node.append(button);
    return node;
  }

  caption({ item, answers }, button, isCurrent) {
    const { action, label } = answers.at(-1);
    const given = WITHOUT_LABEL[action] ?? this.nameOf(label);
    setText(button.lastChild, given);
    button.title = given;
    button.ariaLabel = `Image ${item.image_id}: ${given}. Go back and correct`;
    button.ariaCurrent = isCurrent ? "true" : null;
  }

  load() {
    try {
      return JSON.parse(sessionStorage.getItem(this.key) ?? "[]");
    } catch {
      return [];
    }
  }

  keep() {
    try {
      sessionStorage.setItem(this.key, JSON.stringify(this.entries.map(({ item, answers }) => ({ item, answers }))));
    } catch {
      // a browser that keeps nothing begins with an empty strip after a reload
    }
  }
}
