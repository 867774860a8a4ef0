// Adds photos and label files: a person drops them, or chooses files or a folder.

import { element, find, setText } from "../lib/dom.js";
import { live } from "../lib/project.js";
import { count, number, timeLeft } from "../lib/text.js";
import { chosenFiles, droppedFiles } from "./dropped.js";
import { labelFile } from "./label_file.js";
import { uploads } from "./uploads.js";

const ADD = Symbol("add");
const MOST_LISTED = 500;

addEventListener("beforeunload", (event) => uploads.running && event.preventDefault());

/** @param {any} component */
export default function ({ parentElement, data }) {
  const add = (parentElement[ADD] ??= new Add(parentElement, data));
  return () => {
    add.close();
    delete parentElement[ADD];
  };
}

class Add {
  /** @param {Element} root @param {any} data */
  constructor(root, data) {
    this.root = find(root, ".add");
    this.part = (/** @type {string} */ selector) => find(this.root, selector);
    this.limits = {
      image: data.max_image_bytes,
      request: data.max_request_bytes,
      noImages: /** @type {Set<string>} */ (new Set(data.no_images)),
    };
    this.foldersAreLabels = data.folders_are_labels; // false: a label also needs a place
    this.shown = ""; // the label files as drawn
    this.listen();
    this.unsubscribe = uploads.subscribe(() => this.draw());
    this.unhear = live.follow(data.log_id, () => {});
    uploads.poll();
  }

  close() {
    this.unsubscribe();
    this.unhear();
  }

  listen() {
    const drop = this.part(".drop");
    drop.ondragover = (/** @type {DragEvent} */ event) => {
      event.preventDefault();
      drop.classList.add("over");
    };
    drop.ondragleave = () => drop.classList.remove("over");
    drop.ondrop = async (/** @type {DragEvent} */ event) => {
      event.preventDefault();
      drop.classList.remove("over");
      uploads.add(await droppedFiles(event.dataTransfer), this.limits);
    };
    for (const input of this.root.querySelectorAll("input[type=file]")) {
      input.onchange = () => {
        uploads.add(chosenFiles(input.files), this.limits);
        input.value = ""; // so that the same files can be chosen again
      };
      if (input.files.length) input.onchange(); // chosen before this module was loaded
    }
    this.root.onclick = (/** @type {any} */ { target }) => {
      const button = target.closest("button");
      if (button) this.act(button, button.dataset);
    };
  }

  /** @param {HTMLElement} button @param {DOMStringMap} of its data attributes */
  act(button, { act, id = "", folder = "" }) {
    if (act === "files" || act === "folder") this.part(`[data-testid=${act}]`).click();
    else if (act === "cancel") uploads.cancel();
    else if (act === "again") uploads.run();
    else if (act === "import") {
      const file = /** @type {Element} */ (button.closest(".file"));
      const addClasses = find(file, "input[type=checkbox]")?.checked ?? true;
      uploads.import(id, addClasses, find(file, "select")?.value);
    } else if (act === "columns") {
      uploads.lookAgain(id, find(/** @type {Element} */ (button.closest(".columns")), "input").value);
    } else if (act === "drop") uploads.drop(id);
    else if (act === "folders") uploads.takeFolders(folder);
  }

  draw() {
    const [sending, result] = [this.part(".sending"), this.part(".result")];
    sending.hidden = !uploads.running && !uploads.problem;
    const [bar, words] = sending.children;
    if (uploads.bytes) bar.value = uploads.sent / uploads.bytes;
    else bar.removeAttribute("value");
    const far = [`${number(uploads.done)} of ${count(uploads.count, "photo")}`, timeLeft(uploads.left)].filter(Boolean);
    setText(words, uploads.problem ?? (uploads.photos.length ? far.join(", ") : "Sending the label file …"));
    this.part("[data-act=again]").hidden = !uploads.problem;
    result.hidden = !uploads.done && !uploads.rejected.length;
    setText(find(result, "[role=status]"), uploads.running ? "" : summaryOf(uploads));
    find(result, ".next").hidden = uploads.running || !uploads.done;
    const { rejected, duplicates } = uploads;
    this.list(
      "rejected",
      `${number(rejected.length)} not added`,
      rejected.map(({ uri, reason }) => `${uri} ${reason}`),
    );
    this.list("duplicates", `${number(duplicates.length)} already here, under this name or another`, duplicates);
    this.drawFolders();
    this.drawFiles();
  }

  /** @param {string} name @param {string} title @param {string[]} lines */
  list(name, title, lines) {
    const details = this.part(`details[data-testid=${name}]`);
    details.hidden = !lines.length;
    if (details.dataset.number === String(lines.length)) return;
    details.dataset.number = lines.length;
    const [summary, list] = details.children;
    setText(summary, title);
    const shown = lines.slice(0, MOST_LISTED).map((line) => element("li", line));
    if (lines.length > MOST_LISTED) shown.push(element("li", `… and ${number(lines.length - MOST_LISTED)} more`));
    list.replaceChildren(...shown);
    if (name === "rejected") details.open = true;
  }

  /** If photos are in one folder per class, offer the folders as labels. */
  drawFolders() {
    const { running, folders } = uploads;
    const offered = running || !this.foldersAreLabels ? [] : [...folders].filter(([, inner]) => inner.size > 1);
    const shown = JSON.stringify(offered.map(([top, inner]) => [top, inner.size]));
    const row = this.part(".folders");
    if (row.dataset.shown === shown) return;
    row.dataset.shown = shown;
    row.replaceChildren(
      ...offered.map(([top, inner]) => {
        const button = element("button", `Use the ${inner.size} folder names${top ? ` in ${top}` : ""} as labels`);
        button.type = "button";
        Object.assign(button.dataset, { act: "folders", folder: top });
        return button;
      }),
    );
  }

  drawFiles() {
    const { files, refused } = uploads;
    const shown = JSON.stringify([files, refused]);
    if (shown === this.shown) return; // a button with the focus keeps it
    this.shown = shown;
    const place = this.part(".label-files");
    const focus = place.getRootNode().activeElement?.dataset ?? {};
    place.replaceChildren(...files.map(labelFile));
    if (refused) place.prepend(element("p", refused, "error"));
    if (focus.id) place.querySelector(`button[data-id="${focus.id}"]`)?.focus();
  }
}

/** The result of the uploads, in words. @param {{ added: number, done: number, duplicates: unknown[], rejected: unknown[] }} uploads */
export function summaryOf({ added, duplicates, rejected, done }) {
  const said = done || !rejected.length ? [`${count(added, "photo")} added`] : [];
  if (duplicates.length) said.push(`${number(duplicates.length)} already here`);
  if (rejected.length) said.push(`${number(rejected.length)} not added`);
  return `${said.join(", ")}.`;
}
