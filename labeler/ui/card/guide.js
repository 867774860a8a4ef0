// The project's guidelines beside the image, with what each class is described as. Whether they are open is remembered in
// this browser; the labeler renders the text, and nothing in it is markup that somebody typed.

const GUIDE = "flywheel/guidelines"; // in this browser's storage: open or closed

class Guide {
  /** `guidelines`: as the page was drawn; `annotator()` who edits them. */
  constructor(root, guidelines, annotator) {
    this.annotator = annotator;
    this.card = root.querySelector(".card");
    this.panel = root.querySelector(".guide");
    this.button = root.querySelector("[data-act=guide]");
    this.dialog = root.querySelector("dialog.guide-edit");
    this.message = this.dialog.querySelector("[role=status]");
    this.text = this.dialog.querySelector("textarea");
    this.dialog.onkeydown = (event) => event.stopPropagation(); // Streamlit has keys of its own
    this.panel.querySelector("[data-guide=edit]").onclick = () => this.edit();
    this.panel.querySelector("[data-guide=close]").onclick = () => this.turn(false);
    this.dialog.querySelector("form").onsubmit = (event) => {
      if (event.submitter?.value === "cancel") return;
      event.preventDefault();
      this.save();
    };
    this.show(guidelines);
    const wide = matchMedia("(min-width: 72.01rem)").matches;
    this.turn((stored(GUIDE) ?? (wide && guidelines.mark ? "open" : "closed")) === "open", { remember: false });
  }

  get open() {
    return !this.panel.hidden;
  }

  show(guidelines) {
    this.now = guidelines;
    const [text, empty] = [this.panel.querySelector(".words"), this.panel.querySelector(".empty")];
    text.innerHTML = guidelines.html; // rendered by the labeler, which lets no markup through
    empty.hidden = Boolean(guidelines.mark);
  }

  /** The classes of now, for what they are described as. */
  describe(classes) {
    const list = this.panel.querySelector("dl");
    list.replaceChildren(
      ...classes
        .filter(({ description }) => description)
        .flatMap(({ name, description }) => [element("dt", name), element("dd", description)]),
    );
    list.hidden = !list.firstChild;
  }

  toggle() {
    this.turn(!this.open);
    if (this.open && !this.now.mark) this.panel.querySelector("[data-guide=edit]").focus();
    if (this.open) this.panel.scrollIntoView({ block: "nearest" });
  }

  turn(open, { remember = true } = {}) {
    this.panel.hidden = !open;
    this.card.classList.toggle("guided", open);
    this.button.setAttribute("aria-expanded", String(open));
    if (remember) store(GUIDE, open ? "open" : "closed");
  }

  /** Somebody changed them: `mark` is that of the text of now. */
  async hear(mark) {
    if (mark === undefined || mark === this.now.mark || this.asking) return;
    this.asking = true;
    try {
      const response = await fetch("/api/project/guidelines", { signal: AbortSignal.timeout(10000) });
      if (response.ok) this.show(await response.json());
    } catch {
      // unreachable: the next news asks again
    }
    this.asking = false;
  }

  edit() {
    this.edited = this.now.mark;
    this.text.value = this.now.text;
    this.tell("");
    this.dialog.showModal();
    this.text.focus();
  }

  async save() {
    try {
      const body = { text: this.text.value, annotator: this.annotator(), as_of: this.edited };
      const response = await send("PATCH", "/api/project/guidelines", body);
      const answer = await response.json();
      if (!response.ok) return this.tell(wordsOf(answer), true);
      this.show(answer);
      this.dialog.close();
    } catch (error) {
      this.tell(`Not saved: ${error instanceof TypeError ? "connection lost" : error.message}`, true);
    }
  }

  tell(words, trouble = false) {
    setText(this.message, words);
    this.message.classList.toggle("trouble", trouble);
  }
}
