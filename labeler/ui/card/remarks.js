// What a person says beside a label: a note on the image, which goes along with its answer, and the reason why an image
// gets no label.

// Why an image gets no label, and whether it is then passed over (skip) or to be looked at by someone (flag).
const REASONS = [
  ["skip", "I cannot tell"],
  ["skip", "Several classes fit"],
  ["skip", "No class fits"],
  ["flag", "Damaged or unreadable"],
  ["flag", "Should not be here"],
];

class Remarks {
  constructor(root) {
    this.input = root.querySelector(".note");
    this.dialog = root.querySelector("dialog.because");
    const list = this.dialog.querySelector("ol");
    REASONS.forEach(([action, reason], index) => {
      const [item, button] = [element("li"), element("button")];
      button.type = "button";
      button.append(element("kbd", String(index + 1)), ` ${reason} `, element("small", action));
      button.onclick = (event) => this.choose(action, reason, event.timeStamp);
      item.append(button);
      list.append(item);
    });
    this.dialog.onkeydown = (event) => this.key(event, list);
    this.dialog.querySelector("form").onsubmit = (event) => {
      event.preventDefault();
      const words = event.target.elements.words.value.trim();
      if (words) this.choose("skip", words, event.timeStamp);
    };
    this.input.onkeydown = (event) => {
      if (event.key === "Escape") this.input.value = "";
      if (event.key === "Escape" || event.key === "Enter") this.close();
    };
  }

  /** Call `act(skip or flag, time, reason)`. */
  on(act) {
    this.act = act;
  }

  /** The note on the image on screen, undefined where there is none. */
  get note() {
    return this.input.value.trim() || undefined;
  }

  /** Another image is on screen, with the note that it was given before, if it was. */
  show(note) {
    if (this.dialog.open) this.dialog.close();
    if (this.input.value !== (note ?? "")) this.input.value = note ?? "";
    this.input.hidden = !note;
  }

  write() {
    this.input.hidden = false;
    this.input.focus();
  }

  close() {
    this.input.hidden = !this.note;
    this.input.blur();
  }

  ask() {
    this.dialog.querySelector("form").reset();
    this.dialog.showModal();
  }

  choose(action, reason, at) {
    this.dialog.close();
    this.act(action, at, reason);
  }

  key(event, list) {
    event.stopPropagation(); // Streamlit has keys of its own
    const button = event.target.tagName !== "INPUT" && list.querySelectorAll("button")[Number(digitOf(event)) - 1];
    if (!button) return;
    event.preventDefault();
    button.click();
  }
}
