// A label file on the page: what its import would do, or has done.

import { element } from "../lib/dom.js";
import { capital, count, number, timeLeft } from "../lib/text.js";

const EMPTY = "empty=nothing"; // an image without a box counts as empty
const TABLES = /\.(csv|tsv|jsonl|ndjson|parquet)$/i; // formats whose columns can be named
const MOST_CLASSES = 20; // maximum number of new classes that are named

/** @typedef {any} LabelFile as `GET /api/label-files` lists it */

/** @param {LabelFile} file */
export function labelFile(file) {
  const made = element("div", "", "file");
  made.dataset.testid = "label-file";
  const busy = ["waiting", "looking", "importing"].includes(file.state);
  const words = element("p", stateOf(file), file.state === "failed" ? "error" : "");
  if (!busy) words.setAttribute("role", "status");
  made.append(element("strong", file.name), words);
  if (busy) made.append(bar(file));
  if (file.state === "looked" || file.state === "imported") made.append(...counts(file));
  const asks =
    file.folder || TABLES.test(file.name) || file.told.some((/** @type {string} */ line) => line.includes(EMPTY));
  if (["looked", "failed"].includes(file.state) && asks) made.append(columns(file));
  made.append(buttons(file, busy));
  return made;
}

/** @param {LabelFile} file @returns {string} */
export function stateOf({ state, rows, total, seconds_left, error }) {
  const of = total ? ` of about ${number(total)}` : "";
  const far = [`${number(rows)}${of} rows`, timeLeft(seconds_left)].filter(Boolean).join(", ");
  /** @type {Record<string, string>} */
  const words = {
    waiting: "Waiting for the file before it.",
    looking: `Checking the labels: ${far}.`,
    looked: "Nothing is written yet. Importing this file would do the following:",
    importing: `Importing: ${far}.`,
    imported: "Imported:",
  };
  return words[state] ?? error;
}

/** The counts of a file, each with its meaning: [number, words]. @param {LabelFile} file @returns {[number, string][]} */
export function linesOf(file) {
  const done = file.state === "imported";
  /** Words that follow a number. @param {number} amount @param {string} one @param {string} more */
  const words = (amount, one, more) => (amount === 1 ? one : more);
  const conflicts = words(file.conflicts, "contradicts another answer", "contradict another answer");
  const reopened = words(
    file.reopened,
    "contradicts another answer: this photo is",
    "contradict another answer: those photos are",
  );
  /** @type {[number, string][]} */
  const lines = [
    [file.labels, `${words(file.labels, "label", "labels")} ${done ? "imported" : "to import"}`],
    [file.known, "imported before"],
    [
      file.images,
      done ? words(file.images, "photo added", "photos added") : words(file.images, "new photo", "new photos"),
    ],
    [file.held_out, "skipped: held-out images, which measure accuracy and are labeled by a person"],
    [done ? 0 : file.conflicts, `${conflicts}: choose below which counts`],
    [done ? file.kept : 0, "skipped: another answer stays"],
    [done ? file.overwritten : 0, "replaced another answer"],
    [done ? file.reopened : 0, `${reopened} open until somebody decides`],
    [file.rejected, words(file.rejected, "row rejected", "rows rejected")],
    [
      file.cells,
      words(
        file.cells,
        "unreadable optional cell (its row is imported)",
        "unreadable optional cells (their rows are imported)",
      ),
    ],
  ];
  return lines.filter(([amount, what]) => amount || what.startsWith("label"));
}

/** Sentences about the classes that the import would add. @param {LabelFile} file @returns {string[]} */
export function newClasses({ new_classes, misspelled }) {
  const names = Object.keys(new_classes);
  if (!names.length) return [];
  const more = names.length > MOST_CLASSES ? `, and ${number(names.length - MOST_CLASSES)} more` : "";
  const named = names.slice(0, MOST_CLASSES).map((name) => `${name} (${number(new_classes[name])})`);
  const like = Object.entries(misspelled).map(([name, meant]) => `“${name}” may mean ${meant.join(" or ")}`);
  return [
    `New classes: ${named.join(", ")}${more}.`,
    ...(like.length ? [`${like.slice(0, MOST_CLASSES).join("; ")}.`] : []),
  ];
}

/** @param {LabelFile} file */
function counts(file) {
  const list = element("dl");
  for (const [amount, what] of linesOf(file)) list.append(element("dt", number(amount)), element("dd", what));
  const notes = file.told.map((/** @type {string} */ said) => element("p", `${capital(said)}.`, "told"));
  const parts = [list, ...notes, ...newClasses(file).map((words) => element("p", words))];
  if (file.issues.length) parts.push(issues(file));
  return parts;
}

/** @param {LabelFile} file */
function issues(file) {
  const details = element("details");
  const items = element("ul");
  for (const { line, uri, reason } of file.issues) items.append(element("li", `line ${line}: ${uri} ${reason}`));
  const all = file.rejected + file.conflicts + file.cells;
  const shown =
    file.issues.length < all ? `The first ${number(file.issues.length)} of ${count(all, "row")}` : count(all, "row");
  details.append(element("summary", `${shown} with a problem`), items);
  return details;
}

/** The form for the columns of a table or the layout of folders. It is open if the labeler cannot tell them. @param {LabelFile} file */
function columns({ id, name, state, folder }) {
  const hasInput = !folder && !TABLES.test(name); // a checkbox for images without a box; a table says itself which are empty
  const details = element("details", "", "columns");
  details.open = state === "failed";
  const row = element("div", "", "row");
  const label = element("label", folder ? "Layout " : "Columns ");
  const input = element("input");
  const example = folder ? "split/class" : "image=photo,label=species";
  Object.assign(input, { type: "text", placeholder: example, autocomplete: "off", spellcheck: false });
  if (hasInput) Object.assign(input, { type: "hidden", value: EMPTY });
  const button = press("columns", hasInput ? "Read them as “nothing here”" : "Check again", { id, name });
  input.onkeydown = (event) => event.key === "Enter" && button.click();
  label.append(input);
  row.append(hasInput ? input : label, button);
  const about = hasInput ? "Choose what images without a box mean" : "Choose the columns";
  details.append(element("summary", folder ? "Choose what the folder names mean" : about), row);
  return details;
}

/** @param {LabelFile} file */
function bar({ name, rows, total }) {
  const made = element("progress");
  made.setAttribute("aria-label", `Rows of ${name}`);
  if (total) Object.assign(made, { max: 1, value: Math.min(1, rows / total) });
  return made;
}

/** @param {string} act @param {string} words @param {LabelFile} file @param {string} [className] */
function press(act, words, { id, name }, className = "") {
  const button = element("button", words, className);
  button.type = "button";
  Object.assign(button.dataset, { act, id });
  button.setAttribute("aria-label", `${words}: ${name}`);
  return button;
}

/** @param {LabelFile} file @param {boolean} busy */
function buttons(file, busy) {
  const row = element("div", "", "row");
  const importable = file.state === "looked" && file.labels + file.conflicts > 0;
  if (importable && Object.keys(file.new_classes).length) row.append(whetherToAdd(file));
  const button = press("import", `Import ${count(file.labels, "label")}`, file, "import");
  if (importable && file.conflicts) row.append(whichCounts(file, button));
  if (importable) row.append(button);
  const over = file.state === "imported" || file.state === "failed";
  row.append(press("drop", busy ? "Stop" : over ? "Close" : "Discard", file));
  return row;
}

/** The checkbox that adds new classes. It starts unchecked if a name looks misspelled. @param {LabelFile} file */
function whetherToAdd({ misspelled }) {
  const [label, box] = [element("label"), element("input")];
  Object.assign(box, { type: "checkbox", checked: !Object.keys(misspelled).length });
  label.append(box, " Add the new classes");
  return label;
}

/** The choice of what happens to photos that have a different answer. @param {LabelFile} file @param {HTMLElement} button shows the resulting number of labels */
function whichCounts({ kept, labels }, button) {
  const [label, select] = [element("label", "Where a photo has another answer "), element("select")];
  select.append(
    new Option(`keep it: ${count(kept, "row")} skipped`, "keep"),
    new Option("replace it", "overwrite"),
    new Option("open the photo for review", "review"),
  );
  select.onchange = () => {
    button.textContent = `Import ${count(labels + (select.value === "keep" ? 0 : kept), "label")}`;
  };
  label.append(select);
  return label;
}
