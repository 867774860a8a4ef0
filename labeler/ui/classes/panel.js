// The panel that edits classes: rename, merge, delete, order, colour, key and description. A change that affects labels first
// says what it means for existing labels, counted by the labeler at that moment, and needs a second press. Nothing is
// preselected for a change that cannot be undone. Tab goes through the buttons of one row; the arrow keys go to other rows.

import { element, find, renew, setText } from "../lib/dom.js";
import { placeAfter } from "../lib/input/roving.js";
import { capital, count } from "../lib/text.js";
import { ClassOrder } from "./order.js";

/** @typedef {import("../types.js").ClassEntry} ClassEntry */
/** @typedef {import("./class_words.js").ClassWords} ClassWords */
/** @typedef {{ id: number, change: string }} Change a change that is being considered */

const CHANGES = [
  ["look", "Edit"],
  ["rename", "Rename"],
  ["merge", "Merge"],
  ["delete", "Delete"],
];

export class ClassPanel {
  /**
   * @param {Element} root
   * @param {(method: string, classId: number, body: object | null) => Promise<string | null>} change returns why it was
   *   not done, or null
   * @param {() => Promise<void>} recount asks for a new count of the labels
   * @param {ClassWords} words what the answers with a class are called
   */
  constructor(root, change, recount, words) {
    this.words = words;
    this.change = change;
    this.recount = recount;
    /** @type {ClassEntry[]} */
    this.classes = [];
    this.dialog = find(root, "dialog.manage");
    this.list = find(this.dialog, "ul");
    this.message = find(this.dialog, "[role=status]");
    /** @type {Change | null} */
    this.open = null;
    /** @type {number | undefined} */
    this.tabbed = undefined; // the class whose row Tab goes through
    /** @type {Promise<void> | null} */
    this.counting = null;
    this.order = new ClassOrder(this.list, (id, place) => this.place(id, place));
    this.dialog.onkeydown = (/** @type {KeyboardEvent} */ event) => event.stopPropagation(); // Streamlit has its own shortcuts
    this.dialog.oncancel = (/** @type {Event} */ event) => {
      if (!this.open) return;
      event.preventDefault(); // Escape closes the change first, then the panel
      this.ask(null);
    };
    this.list.onclick = (/** @type {any} */ event) => {
      const button = event.target.closest("button[data-change]");
      if (!button || button.dataset.change === "order") return;
      this.ask({ id: Number(button.closest("li").dataset.classId), change: button.dataset.change });
    };
    this.list.addEventListener("focusin", (/** @type {any} */ { target }) => this.tabThrough(target.closest("li")));
    this.list.addEventListener("keydown", (/** @type {any} */ event) => this.key(event));
    this.list.oninput = () => this.explain();
    this.list.onsubmit = (/** @type {any} */ event) => {
      event.preventDefault();
      this.submit(event.target);
    };
  }

  /** @param {ClassEntry[]} classes */
  show(classes) {
    this.classes = classes;
    if (!this.dialog.open) return;
    const { open } = this;
    if (!open) return this.order.dragging || this.draw();
    if (classes.some(({ id }) => id === open.id)) this.explain();
    else this.ask(null); // somebody else merged or deleted it meanwhile
  }

  start() {
    this.open = null;
    this.tabbed = undefined;
    setText(this.message, "");
    this.draw();
    this.dialog.showModal();
  }

  /** @param {Change | null} open */
  ask(open) {
    const before = this.open;
    this.open = open;
    // A change that cannot be undone waits for a fresh count; a rename does not.
    const waits = open?.change === "merge" || open?.change === "delete";
    this.counting = waits ? this.recount().finally(() => this.open === open && this.counted()) : null;
    this.draw();
    const item = this.item(open?.id ?? before?.id);
    item?.querySelector(open ? "input, select, button[type=submit]" : `[data-change=${before?.change}]`)?.focus();
  }

  counted() {
    this.counting = null;
    this.explain();
  }

  /** @param {number | string | undefined} id */
  item(id) {
    return this.list.querySelector(`[data-class-id="${id}"]`);
  }

  /** @param {HTMLElement} row */
  tabThrough(row) {
    this.tabbed = Number(row.dataset.classId);
    for (const each of this.list.children) {
      for (const button of each.querySelectorAll("[data-change]")) button.tabIndex = each === row ? 0 : -1;
    }
  }

  /** Go to the same button of another row; the handle's arrow keys move its class. @param {KeyboardEvent & { target: any }} event */
  key(event) {
    const button = event.target.closest("[data-change]:not(.handle)");
    if (!button || /^Arrow(Left|Right)$/.test(event.key)) return;
    const rows = [...this.list.children];
    const to = placeAfter(event.key, rows.indexOf(button.closest("li")), rows.length, 1);
    if (to === undefined) return;
    event.preventDefault();
    rows[to].querySelector(`[data-change=${button.dataset.change}]`).focus();
  }

  /** Draw the list, even while it is open, because counts change. Unchanged rows stay, and so does the focus. */
  draw() {
    if (!this.classes.some(({ id }) => id === this.tabbed)) this.tabbed = this.classes[0]?.id;
    for (const { id, labels = 0 } of this.classes) {
      const counted = this.item(id)?.querySelector(".labels");
      if (counted) setText(counted, count(labels, this.words.counted));
    }
    const focused = this.list.getRootNode().activeElement?.closest("li [data-change]");
    const [id, change] = [focused?.closest("li").dataset.classId, focused?.dataset.change];
    renew(
      this.list,
      this.classes.map((each) => this.row(each)),
    );
    this.explain();
    if (focused) this.item(id)?.querySelector(`[data-change=${change}]`)?.focus();
  }

  /** @param {ClassEntry} entry */
  row({ id, name, labels = 0, colour, hotkey, description }) {
    const item = element("li");
    item.dataset.classId = String(id);
    if (colour) item.style.setProperty("--colour", colour);
    const title = element("span", name, "name");
    title.title = description ?? "";
    item.append(ClassOrder.handle(name), element("kbd", hotkey ?? ""), title);
    item.append(element("span", count(labels, this.words.counted), "labels"));
    for (const [change, words] of CHANGES) {
      const button = element("button", words);
      button.type = "button";
      button.dataset.change = change;
      button.ariaLabel = `${words} ${name}`;
      button.autofocus = change === "rename"; // of the first row, when the panel opens
      button.disabled = change === "merge" && this.classes.length < 2;
      item.append(button);
    }
    for (const each of item.querySelectorAll("button")) each.tabIndex = id === this.tabbed ? 0 : -1;
    if (this.open?.id === id) item.append(this.form(id, name, this.open.change));
    return item;
  }

  /** @param {number} id @param {string} name @param {string} change */
  form(id, name, change) {
    const form = element("form");
    if (change === "rename") {
      const input = element("input");
      Object.assign(input, {
        name: "name",
        value: name,
        required: true,
        ariaLabel: `New name of ${name}`,
      });
      form.append(input);
    } else if (change === "merge") {
      const select = element("select");
      Object.assign(select, { name: "into", ariaLabel: `Class that ${name} becomes part of` });
      const none = Object.assign(new Option("Choose a class …", ""), { disabled: true, selected: true });
      select.append(none);
      for (const other of this.classes) if (other.id !== id) select.append(new Option(other.name, String(other.id)));
      form.append(select);
    } else if (change === "look") {
      form.append(...this.look(this.entry(id)));
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

  /** The fields for a class's appearance on the pages. @param {ClassEntry} entry */
  look({ id, colour, hotkey, own_hotkey, description }) {
    const own = Object.assign(element("input"), { type: "checkbox", checked: Boolean(colour) });
    const picker = Object.assign(element("input"), { type: "color", value: colour ?? "#808080" });
    picker.oninput = () => (own.checked = true);
    const key = Object.assign(element("input"), {
      value: own_hotkey ? hotkey : "",
      maxLength: 1,
      size: 3,
      autocomplete: "off",
    });
    const place = element("select");
    for (const [index, each] of this.classes.entries()) {
      place.append(new Option(String(index + 1), String(index), false, each.id === id));
    }
    const words = Object.assign(element("textarea", description ?? ""), { rows: 2 });
    return [
      labelled("Own colour", own, "coloured"),
      labelled("Colour", picker, "colour"),
      labelled("Own key", key, "hotkey"),
      labelled("Place", place, "place"),
      labelled("Description", words, "description"),
    ];
  }

  /** @param {number} id @returns {ClassEntry} */
  entry(id) {
    return /** @type {ClassEntry} */ (this.classes.find((each) => each.id === id));
  }

  /** Say what the change means for existing labels. */
  explain() {
    const form = this.list.querySelector("form");
    if (!form || !this.open) return;
    const { into, name } = form.elements;
    const wanted = this.open.change === "merge" ? into.selectedOptions[0].text : name?.value?.trim();
    const chosen = this.open.change !== "merge" || into.value !== "";
    const words = meaningOf(this.open.change, this.entry(this.open.id), chosen ? wanted : null, this.words);
    setText(form.querySelector("p"), this.counting ? "Counting the labels …" : words);
    form.querySelector("button[type=submit]").disabled = Boolean(this.counting) || !chosen;
  }

  /** @param {any} form */
  async submit(form) {
    if (!this.open || form.querySelector("button[type=submit]").disabled) return; // Enter in a field
    const { id, change } = this.open;
    const said = form.querySelector("p").textContent;
    const body = this.bodyOf(form.elements, id, change);
    const refusal = await this.change(body ? "PATCH" : "DELETE", id, body);
    this.tell(refusal ?? (change === "look" ? "Saved." : `Done. ${said}`), refusal);
    if (refusal) return;
    this.open = null;
    this.draw();
    (this.item(id) ?? this.list.lastElementChild)?.querySelector(`[data-change=${change}]`)?.focus();
  }

  /** @param {any} fields @param {number} id @param {string} change @returns {object | null} */
  bodyOf(fields, id, change) {
    if (change === "rename") return { name: fields.name.value.trim() };
    if (change === "merge") return { into: Number(fields.into.value) };
    if (change === "delete") return null;
    const { coloured, colour, hotkey, place, description } = fields;
    const now = this.classes.findIndex((each) => each.id === id);
    return {
      colour: coloured.checked ? colour.value : "",
      hotkey: hotkey.value.trim(),
      description: description.value.trim(),
      ...(Number(place.value) === now ? {} : { place: Number(place.value) }),
    };
  }

  /** Move a class to another position. @param {number} id @param {number} place */
  async place(id, place) {
    const { name } = this.entry(id);
    const refusal = await this.change("PATCH", id, { place });
    this.tell(refusal ?? `“${name}” is number ${place + 1} of ${this.classes.length}.`, refusal);
    this.draw();
    this.item(id)?.querySelector(".handle").focus();
  }

  /** @param {string} words @param {string | null} trouble */
  tell(words, trouble) {
    setText(this.message, words);
    this.message.classList.toggle("trouble", Boolean(trouble));
  }
}

/** @param {string} words @param {HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement} field @param {string} name */
function labelled(words, field, name) {
  const label = element("label", words);
  field.name = name;
  label.append(field);
  return label;
}

/**
 * What a change means for the labels of a class. `wanted`: the new name, or the class merged into; null while none is chosen.
 * @param {string} change
 * @param {ClassEntry} entry
 * @param {string | null | undefined} wanted
 * @param {ClassWords} words
 */
export function meaningOf(change, { name, labels = 0 }, wanted, words) {
  const some = `${words.of}${count(labels, words.counted)}`;
  const become = labels ? `${some} become${labels === 1 && !words.of ? "s" : ""} “${wanted || "…"}”; ` : "";
  if (change === "look")
    return `${capital(words.kind)} do not change. A class without its own key gets the next free digit.`;
  if (change === "rename") return capital(`${become}the old name still works.`);
  if (change === "merge" && wanted === null)
    return capital(`${some} would become ${words.kind} of the class that you choose.`);
  if (change === "merge") return `${capital(become)}“${name}” still works as a name for it. This cannot be undone.`;
  if (!labels) return words.none;
  const lose = `${count(labels, "image")} lose${labels === 1 ? "s" : ""}`;
  return `${lose} ${words.lost(labels)}. This cannot be undone.`;
}
