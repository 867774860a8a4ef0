// The classes as buttons, and the letters that look for one. A button carries its key, its number of labels, and, where
// the model proposes it, its probability. Names that people typed go in as text, never as markup.

const HOTKEYS = 10; // classes with a digit of their own; beyond, letters find a class
const ONE_COLUMN = 8; // classes that stand in one column
const TWO_LINES = 14; // classes whose rows are high enough for a long name on two lines

class ClassList {
  constructor(root) {
    this.card = root.querySelector(".card");
    this.filter = root.querySelector(".filter");
    this.list = root.querySelector(".classes");
    this.known = []; // the project's classes, in the order in which they were added
    this.buttons = new Map(); // class id → its button
    this.suggestions = [];
  }

  /** Whether letters look for a class. */
  get filtering() {
    return this.known.length > HOTKEYS;
  }

  /** The class that Enter gives while something is typed. */
  get chosen() {
    return this.typed ? this.matches()[0]?.id : undefined;
  }

  /** Why Enter gives no class while something is typed; null where it may. */
  get unmatched() {
    return this.typed && !this.matches().length ? noClassMatches(this.filter.value.trim()) : null;
  }

  /** Call `answer(class id, time)`, or `refuse(words)` for Enter on letters that match no class. */
  on(answer, refuse) {
    this.list.onclick = (event) => {
      const id = event.target.closest("button")?.dataset.classId;
      if (id) answer(Number(id), event.timeStamp);
    };
    this.filter.oninput = () => this.draw();
    this.filter.onkeydown = (event) => {
      if (event.key === "Enter" && this.unmatched) {
        event.preventDefault(); // what was typed wants mending: the field keeps the keys
        return refuse(this.unmatched);
      }
      if (event.key === "Escape") this.clear();
      else if (event.key === "Enter" && this.chosen !== undefined) answer(this.chosen, event.timeStamp);
      if (event.key === "Escape" || event.key === "Enter") this.filter.blur();
    };
  }

  /** The class that a digit gives: by its own key, or by its place among those that the letters typed have found. */
  classOf(digit) {
    const matches = this.matches();
    return (this.typed ? matches[(Number(digit) + 9) % 10] : matches.find(({ hotkey }) => hotkey === digit))?.id;
  }

  /** The class whose own key is this letter; with letters typed already it goes on looking for one. */
  withKey(key) {
    if (key === undefined || this.filter.value || !/^\p{L}$/u.test(key)) return undefined;
    return this.known.find(({ hotkey }) => hotkey === key.toLowerCase())?.id;
  }

  nameOf(id) {
    return this.known.find((each) => each.id === id)?.name ?? "a class of before";
  }

  /** Take a key into the filter; false if it is not one that types. A slash only goes there. */
  type(key) {
    const { filter } = this;
    if (key === "/" && !filter.value) filter.focus();
    else if (key === "Escape" && filter.value) filter.value = "";
    else if (key === "Backspace" && filter.value) filter.value = filter.value.slice(0, -1);
    else if (/^[\p{L}\p{P}\p{S}]$/u.test(key) || (key === " " && filter.value)) filter.value += key;
    else return false;
    this.draw();
    return true;
  }

  clear() {
    if (!this.filter.value) return;
    this.filter.value = "";
    this.draw();
  }

  /** What looks for a class, in small letters; empty where nothing does. */
  get typed() {
    return this.filtering ? this.filter.value.trim().toLowerCase() : "";
  }

  matches() {
    return classesNamed(this.known, this.typed);
  }

  /** The classes of now. */
  show(known) {
    this.known = known;
    this.draw();
  }

  draw() {
    this.filter.hidden = !this.filtering;
    this.card.classList.toggle("many", this.filtering);
    this.card.classList.toggle("several", this.known.length > ONE_COLUMN);
    this.card.classList.toggle("roomy", this.known.length <= TWO_LINES);
    const digits = Math.max(1, ...this.known.map(({ labels }) => worded(labels).length));
    this.list.style.setProperty("--digits", digits); // the numbers of all classes in one column
    const matches = this.matches();
    const shown = new Set(matches.map(({ id }) => id));
    for (const [id, button] of this.buttons) {
      if (shown.has(id)) continue;
      button.remove();
      this.buttons.delete(id);
    }
    matches.forEach((each, index) => this.drawClass(each, index, this.typed ? placeKey(index) : each.hotkey));
    this.list.dataset.none = this.unmatched ?? "";
    for (const [id, button] of this.buttons) button.classList.toggle("found", id === this.chosen);
    this.mark(this.suggestions);
  }

  /** Buttons are kept and moved, not made anew: a count that changes must not take the focus away. */
  drawClass({ id, name, labels, colour, description }, index, hotkey) {
    const button = this.buttons.get(id) ?? this.button(id);
    const [key, label, , labels_] = button.children;
    setText(key, hotkey ?? "");
    setText(label, name);
    setText(labels_, worded(labels));
    button.style.setProperty("--colour", colour ?? "transparent");
    button.title = description ? `${name}: ${description}` : name;
    button.setAttribute("aria-description", description ?? "");
    button.setAttribute(
      "aria-label",
      `${name}${hotkey ? `, key ${hotkey}` : ""}${labels === undefined ? "" : `, ${count(labels, "label")}`}`,
    );
    if (this.list.children[index] !== button) this.list.insertBefore(button, this.list.children[index] ?? null);
  }

  button(id) {
    const button = element("button");
    button.type = "button";
    button.dataset.classId = id;
    button.dataset.testid = "class";
    for (const part of ["", "name", "confidence", "labels"]) button.append(element(part ? "span" : "kbd", "", part));
    this.buttons.set(id, button);
    return button;
  }

  /** Show what the model thinks of the image on screen, most probable first. */
  mark(suggestions) {
    this.suggestions = suggestions;
    const confidence = new Map(suggestions.map((each) => [each.label, each.confidence]));
    for (const [id, button] of this.buttons) {
      button.classList.toggle("suggested", id === suggestions[0]?.label);
      button.style.setProperty("--confidence", confidence.get(id) ?? 0);
      setText(button.querySelector(".confidence"), confidence.has(id) ? percent(confidence.get(id)) : "");
    }
  }
}

function worded(labels) {
  return labels === undefined ? "" : labels.toLocaleString("en");
}

function placeKey(index) {
  return index < HOTKEYS ? String((index + 1) % 10) : null;
}
