// Classes changed on the way: renamed, merged, deleted, put in another order, given a colour, a key and a description. Each
// change of labels says first what it means for those that there are, as the labeler counts them when it is asked, and is
// done by a second press. Nothing is chosen beforehand for a change that cannot be undone.

class ClassPanel {
  constructor(root) {
    this.dialog = root.querySelector("dialog.manage");
    this.list = this.dialog.querySelector("ul");
    this.message = this.dialog.querySelector("[role=status]");
    this.open = null; // the change that is being thought about: {id, name of the change}
    this.order = new ClassOrder(this.list, (id, place) => this.place(id, place));
    this.dialog.onkeydown = (event) => event.stopPropagation(); // Streamlit has keys of its own
    this.dialog.oncancel = (event) => {
      if (!this.open) return;
      event.preventDefault(); // Escape leaves the change first, then the panel
      this.ask(null);
    };
    this.list.onclick = (event) => {
      const button = event.target.closest("button[data-change]");
      if (button && button.dataset.change !== "order") this.ask({ id: Number(button.closest("li").dataset.classId), change: button.dataset.change });
    };
    this.list.oninput = () => this.explain();
    this.list.onsubmit = (event) => {
      event.preventDefault();
      this.submit(event.target);
    };
  }

  /** Call `change(method, class id, body)`, which returns an error in words, or null once it is done, and `count()`,
   *  which has the labels counted anew. */
  on(change, count) {
    this.change = change;
    this.count = count;
  }

  show(classes) {
    this.classes = classes;
    if (!this.dialog.open) return;
    if (!this.open) return this.order.dragging || this.draw();
    if (classes.some(({ id }) => id === this.open.id)) this.explain();
    else this.ask(null); // somebody else merged or deleted it meanwhile
  }

  start() {
    this.open = null;
    setText(this.message, "");
    this.draw();
    this.dialog.showModal();
  }

  ask(open) {
    const before = this.open;
    this.open = open;
    // What cannot be undone waits for a count of today; a name that is typed quickly does not.
    const waits = open?.change === "merge" || open?.change === "delete";
    this.counting = waits ? this.count().finally(() => this.open === open && ((this.counting = null), this.explain())) : null;
    this.draw();
    const item = this.item((open ?? before).id);
    const target = open ? "input, select, button[type=submit]" : `[data-change=${before.change}]`;
    item?.querySelector(target)?.focus();
  }

  item(id) {
    return this.list.querySelector(`[data-class-id="${id}"]`);
  }

  /** Also while someone looks at it, because counts change: only what is another is drawn anew, the focus stays. */
  draw() {
    for (const { id, labels } of this.classes) {
      const counted = this.item(id)?.querySelector(".labels");
      if (counted) setText(counted, count(labels, "label"));
    }
    const focused = this.list.getRootNode().activeElement?.closest("li [data-change]");
    const [id, change] = [focused?.closest("li").dataset.classId, focused?.dataset.change];
    renew(
      this.list,
      this.classes.map(({ id, name, labels, colour, hotkey, description }) => {
        const item = element("li");
        item.dataset.classId = id;
        if (colour) item.style.setProperty("--colour", colour);
        const title = element("span", name, "name");
        title.title = description ?? "";
        item.append(ClassOrder.handle(name), element("kbd", hotkey ?? ""), title);
        item.append(element("span", count(labels, "label"), "labels"));
        for (const [change, words] of [
          ["look", "Edit"],
          ["rename", "Rename"],
          ["merge", "Merge"],
          ["delete", "Delete"],
        ]) {
          const button = element("button", words);
          button.type = "button";
          button.dataset.change = change;
          button.ariaLabel = `${words} ${name}`;
          button.autofocus = change === "rename"; // the first of them, when the panel opens
          button.disabled = change === "merge" && this.classes.length < 2;
          item.append(button);
        }
        if (this.open?.id === id) item.append(this.form(id, name));
        return item;
      }),
    );
    this.explain();
    if (focused) this.item(id)?.querySelector(`[data-change=${change}]`)?.focus();
  }

  form(id, name) {
    const { change } = this.open;
    const form = element("form");
    if (change === "rename") {
      const input = element("input");
      Object.assign(input, { name: "name", value: name, maxLength: 100, required: true, ariaLabel: `New name of ${name}` });
      form.append(input);
    } else if (change === "merge") {
      const select = element("select");
      Object.assign(select, { name: "into", ariaLabel: `Class that ${name} becomes part of` });
      const none = Object.assign(new Option("Choose a class …", ""), { disabled: true, selected: true });
      select.append(none);
      for (const other of this.classes) if (other.id !== id) select.append(new Option(other.name, other.id));
      form.append(select);
    } else if (change === "look") {
      form.append(...this.look(this.classes.find((each) => each.id === id)));
    }
    const words = change === "look" ? "Save" : capital(change);
    const [meaning, confirm, cancel] = [element("p"), element("button", words), element("button", "Cancel")];
    meaning.id = "meaning";
    confirm.type = "submit";
    confirm.setAttribute("aria-describedby", "meaning");
    cancel.type = "button";
    cancel.onclick = () => this.ask(null);
    form.append(meaning, confirm, cancel);
    return form;
  }

  /** The fields of how a class looks on the pages. */
  look({ id, colour, hotkey, own_hotkey, description }) {
    const labelled = (words, field, name) => {
      const label = element("label", words);
      field.name = name;
      label.append(field);
      return label;
    };
    const own = Object.assign(element("input"), { type: "checkbox", checked: Boolean(colour) });
    const picker = Object.assign(element("input"), { type: "color", value: colour ?? "#808080" });
    picker.oninput = () => (own.checked = true);
    const key = Object.assign(element("input"), { value: own_hotkey ? hotkey : "", maxLength: 1, size: 3, autocomplete: "off" });
    const place = element("select");
    this.classes.forEach((each, index) => place.append(new Option(String(index + 1), index, false, each.id === id)));
    const words = Object.assign(element("textarea", description ?? ""), { maxLength: 500, rows: 2 });
    return [
      labelled("Own colour", own, "coloured"),
      labelled("Colour", picker, "colour"),
      labelled("Own key", key, "hotkey"),
      labelled("Place", place, "place"),
      labelled("Description", words, "description"),
    ];
  }

  /** What the change means for the labels that there are. */
  explain() {
    const form = this.list.querySelector("form");
    if (!form) return;
    const { name, labels } = this.classes.find(({ id }) => id === this.open.id);
    const some = count(labels, "label");
    const { change } = this.open;
    let words = "No image has it as its label.";
    if (change === "look") {
      words = "Labels do not change. A class without its own key gets the next free digit.";
    } else if (change === "rename") {
      const wanted = form.elements.name.value.trim() || "…";
      words = `${labels ? `${some} become${labels === 1 ? "s" : ""} “${wanted}”; ` : ""}the old name still works.`;
    } else if (change === "merge" && !form.elements.into.value) {
      words = `${some} would become those of the class that you choose.`;
    } else if (change === "merge") {
      const into = form.elements.into.selectedOptions[0].text;
      const moved = labels ? `${some} become${labels === 1 ? "s" : ""} “${into}”; ` : "";
      words = `${moved}“${name}” still works as a name for it. This cannot be undone.`;
    } else if (labels) {
      words = `${count(labels, "image")} lose${labels === 1 ? "s" : ""} this label and will be asked again. This cannot be undone.`;
    }
    setText(form.querySelector("p"), this.counting ? "Counting the labels …" : capital(words));
    form.querySelector("button[type=submit]").disabled = Boolean(this.counting) || form.elements.into?.value === "";
  }

  async submit(form) {
    const { id, change } = this.open;
    if (form.querySelector("button[type=submit]").disabled) return; // Enter in a field
    const body = {
      rename: () => ({ name: form.elements.name.value.trim() }),
      merge: () => ({ into: Number(form.elements.into.value) }),
      delete: () => null,
      look: () => this.lookOf(form.elements, id),
    }[change]();
    const said = form.querySelector("p").textContent;
    const refusal = await this.change(body ? "PATCH" : "DELETE", id, body);
    this.tell(refusal ?? (change === "look" ? "Saved." : `Done. ${said}`), refusal);
    if (refusal) return;
    this.open = null;
    this.draw();
    (this.item(id) ?? this.list.lastElementChild)?.querySelector(`[data-change=${change}]`)?.focus();
  }

  lookOf({ coloured, colour, hotkey, place, description }, id) {
    const now = this.classes.findIndex((each) => each.id === id);
    return {
      colour: coloured.checked ? colour.value : "",
      hotkey: hotkey.value.trim(),
      description: description.value.trim(),
      ...(Number(place.value) === now ? {} : { place: Number(place.value) }),
    };
  }

  /** Put a class at another place of the order. */
  async place(id, place) {
    const { name } = this.classes.find((each) => each.id === id);
    const refusal = await this.change("PATCH", id, { place });
    this.tell(refusal ?? `“${name}” is number ${place + 1} of ${this.classes.length}.`, refusal);
    this.draw();
    this.item(id)?.querySelector(".handle").focus();
  }

  tell(words, trouble) {
    setText(this.message, words);
    this.message.classList.toggle("trouble", Boolean(trouble));
  }
}
