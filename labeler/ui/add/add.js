// Where photos and label files are given: by dropping them, or by choosing files or a folder.

const ADD = Symbol("add");
const TABLES = /\.(csv|tsv|jsonl|ndjson|parquet)$/i; // whose columns can be named
const MOST_CLASSES = 20; // named of those that a label file would add

export default function ({ parentElement, data }) {
  const add = (parentElement[ADD] ??= new Add(parentElement, data));
  return () => {
    add.close();
    delete parentElement[ADD];
  };
}

class Add {
  constructor(root, data) {
    this.data = data;
    this.root = root.querySelector(".add");
    this.part = (name) => this.root.querySelector(name);
    this.uploads = uploads();
    this.listen();
    this.unsubscribe = this.uploads.subscribe(() => this.draw());
    this.unhear = live().subscribe((project) => project?.log_id && project.log_id !== data.log_id && location.reload());
    this.uploads.poll();
  }

  close() {
    this.unsubscribe();
    this.unhear();
  }

  listen() {
    const drop = this.part(".drop");
    const limits = { image: this.data.max_image_bytes, request: this.data.max_request_bytes, noImages: new Set(this.data.no_images) };
    drop.ondragover = (event) => {
      event.preventDefault();
      drop.classList.add("over");
    };
    drop.ondragleave = () => drop.classList.remove("over");
    drop.ondrop = async (event) => {
      event.preventDefault();
      drop.classList.remove("over");
      this.uploads.add(await droppedFiles(event.dataTransfer), limits);
    };
    for (const input of this.root.querySelectorAll("input[type=file]"))
      input.onchange = () => {
        this.uploads.add(chosenFiles(input.files), limits);
        input.value = ""; // so that the same may be chosen again
      };
    this.root.onclick = ({ target }) => {
      const { act, id, folder } = target.closest("button")?.dataset ?? {};
      if (act === "files" || act === "folder") this.part(`[data-testid=${act}]`).click();
      else if (act === "cancel") this.uploads.cancel();
      else if (act === "again") this.uploads.run();
      else if (act === "import") {
        const file = target.closest(".file");
        this.uploads.import(id, file.querySelector("input[type=checkbox]")?.checked ?? true, file.querySelector("select")?.value);
      }
      else if (act === "columns") this.uploads.lookAgain(id, target.closest(".columns").querySelector("input").value);
      else if (act === "drop") this.uploads.drop(id);
      else if (act === "folders") this.uploads.takeFolders(folder);
    };
  }

  draw() {
    const { uploads: now } = this;
    const [sending, result] = [this.part(".sending"), this.part(".result")];
    sending.hidden = !now.running && !now.problem;
    const [bar, words] = sending.children;
    if (now.bytes) bar.value = now.sent / now.bytes;
    else bar.removeAttribute("value");
    const left = [`${now.done.toLocaleString("en")} of ${count(now.count, "photo")}`, timeLeft(now.left)].filter(Boolean);
    setText(words, now.problem ?? (now.photos.length ? left.join(", ") : "Sending the label file …"));
    this.part("[data-act=again]").hidden = !now.problem;
    result.hidden = !now.done && !now.rejected.length;
    setText(result.querySelector("[role=status]"), now.running ? "" : this.summary());
    result.querySelector(".next").hidden = now.running || !now.done;
    this.list("rejected", now.rejected, (number) => `${number.toLocaleString("en")} not taken`, ({ uri, reason }) => `${uri} ${reason}`);
    this.list("duplicates", now.duplicates, (number) => `${number.toLocaleString("en")} here already, under this name or another`, (uri) => uri);
    this.drawFolders();
    this.drawFiles();
  }

  summary() {
    const { added, duplicates, rejected, done } = this.uploads;
    const said = done || !rejected.length ? [`${count(added, "photo")} added`] : [];
    if (duplicates.length) said.push(`${duplicates.length.toLocaleString("en")} here already`);
    if (rejected.length) said.push(`${rejected.length.toLocaleString("en")} not taken`);
    return `${said.join(", ")}.`;
  }

  list(name, items, title, line) {
    const details = this.part(`details[data-testid=${name}]`);
    details.hidden = !items.length;
    if (details.dataset.number === String(items.length)) return;
    details.dataset.number = items.length;
    const [summary, list] = details.children;
    setText(summary, title(items.length));
    const lines = items.slice(0, MOST_LISTED).map((item) => element("li", line(item)));
    if (items.length > MOST_LISTED) lines.push(element("li", `… and ${(items.length - MOST_LISTED).toLocaleString("en")} more`));
    list.replaceChildren(...lines);
    if (name === "rejected") details.open = true;
  }

  /** Photos that lie in a folder for each class bring their labels along. */
  drawFolders() {
    const { running, folders } = this.uploads;
    const offered = running ? [] : [...folders].filter(([, inner]) => inner.size > 1);
    const shown = JSON.stringify(offered.map(([top, inner]) => [top, inner.size]));
    const row = this.part(".folders");
    if (row.dataset.shown === shown) return;
    row.dataset.shown = shown;
    row.replaceChildren(
      ...offered.map(([top, inner]) => {
        const button = element("button", `Use the ${inner.size} folder names${top ? ` in ${top}` : ""} as labels`);
        Object.assign(button, { type: "button" });
        Object.assign(button.dataset, { act: "folders", folder: top });
        return button;
      }),
    );
  }

  drawFiles() {
    const { files, refused } = this.uploads;
    const shown = JSON.stringify([files, refused]);
    if (shown === this.shown) return; // whoever has the focus on a button keeps it
    this.shown = shown;
    const place = this.part(".label-files");
    const focus = place.getRootNode().activeElement?.dataset ?? {};
    place.replaceChildren(...files.map((file) => this.file(file)));
    if (refused) place.prepend(element("p", refused, "error"));
    if (focus.id) place.querySelector(`button[data-id="${focus.id}"]`)?.focus();
  }

  file(file) {
    const made = element("div", "", "file");
    made.dataset.testid = "label-file";
    const busy = ["waiting", "looking", "importing"].includes(file.state);
    const of = file.total ? ` of about ${file.total.toLocaleString("en")}` : "";
    const rows = [`${file.rows.toLocaleString("en")}${of} rows`, timeLeft(file.seconds_left)].filter(Boolean).join(", ");
    const said = {
      waiting: "Waits for its turn.",
      looking: `Looking at the labels: ${rows}.`,
      looked: "Nothing is written yet. Importing this file would do the following:",
      importing: `Importing: ${rows}.`,
      imported: "Imported:",
      failed: file.error,
    }[file.state];
    const words = element("p", said, file.state === "failed" ? "error" : "");
    if (!busy) words.setAttribute("role", "status");
    made.append(element("strong", file.name), words);
    if (busy) made.append(this.bar(file));
    if (file.state === "looked" || file.state === "imported") made.append(...this.counts(file));
    if (["looked", "failed"].includes(file.state) && (file.folder || TABLES.test(file.name))) made.append(this.columns(file));
    made.append(this.buttons(file, busy));
    return made;
  }

  /** Where somebody says which columns of a table are which, or what folders are; open where the labeler cannot tell. */
  columns({ id, name, state, folder }) {
    const details = element("details", "", "columns");
    details.open = state === "failed";
    const row = element("div", "", "row");
    const label = element("label", folder ? "Layout " : "Columns ");
    const input = element("input");
    Object.assign(input, { type: "text", placeholder: folder ? "split/class" : "image=photo,label=species", autocomplete: "off", spellcheck: false });
    const button = element("button", "Look again");
    Object.assign(button, { type: "button" });
    Object.assign(button.dataset, { act: "columns", id });
    button.setAttribute("aria-label", `Look again: ${name}`);
    input.onkeydown = (event) => event.key === "Enter" && button.click();
    label.append(input);
    row.append(label, button);
    details.append(element("summary", folder ? "Choose what the folders are" : "Choose the columns"), row);
    return details;
  }

  bar({ name, rows, total }) {
    const bar = element("progress");
    bar.setAttribute("aria-label", `Rows of ${name}`);
    if (total) Object.assign(bar, { max: 1, value: Math.min(1, rows / total) });
    return bar;
  }

  counts(file) {
    const list = element("dl");
    const done = file.state === "imported";
    const lines = [
      [file.labels, done ? "labels imported" : "labels to import"],
      [file.known, "imported before"],
      [file.images, done ? "photos that were not here" : "photos that are not here yet"],
      [file.held_out, "left out: their photos measure accuracy, and are asked of a person"],
      [done ? 0 : file.conflicts, "contradict another answer: choose below which counts"],
      [done ? file.kept : 0, "left out: another answer stays"],
      [done ? file.overwritten : 0, "replaced another answer"],
      [done ? file.reopened : 0, "contradict another answer: those photos are open until somebody decides"],
      [file.rejected, "rows rejected"],
      [file.cells, "unreadable optional cells (their rows are imported)"],
    ];
    for (const [number, what] of lines)
      if (number || what.startsWith("labels")) list.append(element("dt", number.toLocaleString("en")), element("dd", what));
    const parts = [list, ...file.told.map((said) => element("p", `${said[0].toUpperCase()}${said.slice(1)}.`, "told"))];
    const names = Object.keys(file.new_classes);
    if (names.length) {
      const more = names.length > MOST_CLASSES ? `, and ${(names.length - MOST_CLASSES).toLocaleString("en")} more` : "";
      const named = names.slice(0, MOST_CLASSES).map((name) => `${name} (${file.new_classes[name].toLocaleString("en")})`);
      parts.push(element("p", `New classes: ${named.join(", ")}${more}.`));
      const like = Object.entries(file.misspelled).map(([name, meant]) => `“${name}” may mean ${meant.join(" or ")}`);
      if (like.length) parts.push(element("p", `${like.slice(0, MOST_CLASSES).join("; ")}.`));
    }
    if (file.issues.length) {
      const details = element("details");
      const lines = file.issues.map(({ line, uri, reason }) => element("li", `line ${line}: ${uri} ${reason}`));
      const items = element("ul");
      items.append(...lines);
      details.append(element("summary", `The first of ${count(file.rejected + file.conflicts + file.cells, "row")} to look at`), items);
      parts.push(details);
    }
    return parts;
  }

  buttons(file, busy) {
    const row = element("div", "", "row");
    const press = (act, words, className = "") => {
      const button = element("button", words, className);
      Object.assign(button, { type: "button" });
      Object.assign(button.dataset, { act, id: file.id });
      button.setAttribute("aria-label", `${words}: ${file.name}`);
      return button;
    };
    const importable = file.state === "looked" && file.labels + file.conflicts > 0;
    if (importable && Object.keys(file.new_classes).length) {
      const label = element("label");
      const box = element("input");
      Object.assign(box, { type: "checkbox", checked: !Object.keys(file.misspelled).length }); // those are added on purpose only
      label.append(box, " Add the new classes");
      row.append(label);
    }
    if (importable && file.conflicts) {
      const label = element("label", "Where a photo has another answer ");
      const select = element("select");
      select.append(
        new Option(`keep it: ${count(file.kept, "row")} left out`, "keep"),
        new Option("replace it", "overwrite"),
        new Option("open the photo for review", "review"),
      );
      select.onchange = () => {
        const more = select.value === "keep" ? 0 : file.kept;
        setText(row.querySelector(".import"), `Import ${count(file.labels + more, "label")}`);
      };
      label.append(select);
      row.append(label);
    }
    if (importable) row.append(press("import", `Import ${count(file.labels, "label")}`, "import"));
    row.append(press("drop", busy ? "Stop" : file.state === "imported" || file.state === "failed" ? "Close" : "Discard"));
    return row;
  }
}
