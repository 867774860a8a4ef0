// The grid: thousands of images, those that are chosen labeled by one key. The listing is asked for once and kept, so
// that nothing moves under the hand; what was labeled leaves it, and what others do shows on the tiles.

const AGAIN_LISTING_MS = 3000; // after a listing that could not be had
const NEWS_OF_TILES_MS = 1000;
// What a letter does; with many classes letters look for one, and these take Shift.
const ACTS = { A: "all", I: "invert", S: "skip", F: "flag", U: "undo", Z: "undo", M: "similar", V: "view", L: "refresh" };
const GALLERY = Symbol("gallery");

export default function ({ parentElement, data }) {
  const gallery = (parentElement[GALLERY] ??= new Gallery(parentElement, data));
  gallery.open(data.view);
  return () => {
    gallery.close();
    delete parentElement[GALLERY];
  };
}

class Gallery {
  constructor(root, data) {
    this.data = data;
    this.root = root.querySelector(".gallery");
    this.part = (name) => this.root.querySelector(name);
    this.list = [];
    this.tiles = new Tiles(() => this.scroller.redraw());
    this.selection = new Selection(data.most);
    this.bulk = new Bulk(data.log_id, this.tiles, (words, trouble) => this.say(words, trouble));
    this.filters = new Filters(root, () => this.load());
    this.groups = new Groups(root, (cluster, clusters) => this.filters.set({ cluster, clusters, similar_to: null, images: null }));
    this.scroller = new Scroller(
      this.part(".box"),
      (ids) => this.look(ids),
      (node, id, index) => this.drawTile(node, id, index),
    );
    this.listen();
    this.unsubscribe = live().subscribe((project) => this.hear(project));
    this.fit();
  }

  /** The page's address as Python saw it; the same again is no news. */
  open(view) {
    const given = JSON.stringify(view);
    if (given === this.given) return;
    this.given = given;
    this.filters.open(view);
    this.load();
  }

  close() {
    this.unsubscribe();
    this.stopListening.abort();
    this.asked?.abort();
    clearTimeout(this.again);
    for (const each of [this.scroller, this.groups, this.filters, this.bulk]) each.close();
  }

  listen() {
    this.stopListening = new AbortController();
    const { signal } = this.stopListening;
    // In the capture phase, so that a key which the grid takes never reaches Streamlit's own shortcuts.
    addEventListener("keydown", (event) => this.key(event), { capture: true, signal });
    addEventListener("resize", () => this.fit(), { signal });
    document.addEventListener("flywheel:bar", () => this.fit(), { signal });
    // A mouse must not leave the focus on a button: Enter means the chosen images, it does not press the button again.
    this.root.addEventListener("mousedown", (event) => {
      if (event.target.closest("button, summary") && !event.target.closest("dialog")) event.preventDefault();
    });
    leaveFields(this.root, signal, () => this.part(".box").focus({ preventScroll: true }));
    this.root.addEventListener("click", (event) => {
      const { act, classId } = event.target.closest("button")?.dataset ?? {};
      if (act) this.act(act);
      else if (classId) this.give("label", Number(classId));
    });
    this.part(".plane").onclick = (event) => {
      const tile = event.target.closest(".tile");
      if (tile) this.press(Number(tile.dataset.index), event.shiftKey);
    };
    this.part(".plane").onmousedown = (event) => event.shiftKey && event.preventDefault(); // no text is selected
    this.part(".find").oninput = () => this.drawClasses();
  }

  // ------------------------------------------------------------ what is shown

  async load() {
    this.asked?.abort();
    clearTimeout(this.again);
    this.asked = new AbortController();
    this.problem = null;
    this.loading = true;
    this.draw();
    try {
      const listing = await ask(`/api/grid?${this.filters.query}`, { signal: this.asked.signal });
      this.tiles.forget();
      this.status = listing.status;
      this.total = listing.total;
      this.loading = false;
      this.hold(listing.image_ids);
      this.part(".box").scrollTop = 0;
    } catch (error) {
      if (error.name === "AbortError") return;
      this.loading = false;
      this.problem = error;
      this.hold([]);
      if (!(error instanceof Refused) || [409, 503].includes(error.status) || error.status >= 500)
        this.again = setTimeout(() => this.load(), AGAIN_LISTING_MS);
    }
  }

  hold(list) {
    this.list = list;
    this.selection.over(list);
    this.scroller.show(list);
    this.draw();
  }

  look(ids) {
    this.inSight = ids;
    if (ids.length) this.tiles.need(ids).catch(() => {}); // asked again with the next news or scroll
  }

  hear(project) {
    if (!project) return;
    if (project.log_id && project.log_id !== this.data.log_id) return location.reload(); // another project is served
    const news = this.project && project.last_seq !== this.project.last_seq;
    const grew = project.images.total !== this.project?.images.total;
    this.project = project;
    if (news && !this.waiting) {
      this.waiting = setTimeout(() => {
        this.waiting = null;
        if (this.inSight?.length) this.tiles.need(this.inSight, { anew: true }).catch(() => {});
      }, NEWS_OF_TILES_MS);
    }
    if (grew && !this.list.length && !this.loading) this.load();
    this.draw();
  }

  fit() {
    const top = this.root.getBoundingClientRect().top + (this.root.getRootNode().host?.closest(".stMain")?.scrollTop ?? 0);
    this.root.style.setProperty("--above", `${Math.round(top)}px`);
  }

  // ------------------------------------------------------------ what the person does

  /** Whether letters look for a class. */
  get filtering() {
    return (this.project?.classes.length ?? 0) > HOTKEYS;
  }

  get typed() {
    return this.filtering ? this.part(".find").value.trim().toLowerCase() : "";
  }

  key(event) {
    const target = event.composedPath()[0];
    if (target === this.part(".find") && this.keyWhileFinding(event)) return event.preventDefault();
    const command = event.ctrlKey || event.metaKey;
    const name = commands(event, "Z") ? "undo" : commands(event, "A") ? "all" : undefined;
    if (keepsKey(target, event.key) || event.isComposing || event.altKey || this.root.querySelector("dialog[open]")) return;
    if (command && !name) return;
    if (name) this.act(name);
    else if (!this.keyMeans(event)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  /** Do what the key means; false if it means nothing here. */
  keyMeans(event) {
    const { key, shiftKey } = event;
    const to = this.scroller.target(key);
    if (to !== undefined) {
      const moved = this.scroller.move(to);
      if (moved && shiftKey) this.selection.range(this.scroller.focus);
      else if (moved) this.selection.anchor = this.scroller.focus;
      this.draw();
      return moved;
    }
    if (event.repeat) return false;
    const { typed } = this;
    const digit = digitOf(event);
    const typing = this.filtering && (!shiftKey || typed);
    const place = typing ? undefined : placeOf(event);
    const withKey = (letter) => (shiftKey || typed ? undefined : this.project?.classes.find(({ hotkey }) => hotkey === letter?.toLowerCase()));
    const own = withKey(key);
    const letter = ACTS[typing ? "" : key.toUpperCase()] ?? (own ? undefined : ACTS[place]);
    const there = own ?? (place && withKey(place));
    if (digit) this.giveWith(digit);
    else if (key === "Enter" && typed) this.giveFound();
    else if (key === "Enter") this.act("accept");
    else if (key === "Escape") typed ? this.find("") : this.act("none");
    else if (key === " " && !typed) this.press(this.scroller.focus, shiftKey);
    else if (letter) this.act(letter);
    else if (there) this.give("label", there.id);
    else if (key === "?" && !typed) this.act("keys");
    else if (key === "Backspace") typed ? this.find(this.part(".find").value.slice(0, -1)) : this.filtering || this.act("undo");
    else if (this.filtering && key === "/" && !typed) this.part(".find").focus();
    else if (this.filtering && /^[\p{L}\p{P}\p{S} ]$/u.test(key)) this.find(this.part(".find").value + key);
    else return false;
    return true;
  }

  /** Look for a class by these letters. */
  find(letters) {
    this.part(".find").value = letters;
    this.drawClasses();
  }

  giveWith(digit) {
    const matches = this.matches();
    const chosen = this.typed ? matches[(Number(digit) + 9) % 10] : matches.find(({ hotkey }) => hotkey === digit);
    if (chosen) this.give("label", chosen.id);
    else this.say(noClassHas(digit, this.typed));
  }

  /** Enter while something is typed: the first class that was found; false where there is none. */
  giveFound() {
    const [first] = this.matches();
    if (first) this.give("label", first.id);
    else this.say(noClassMatches(this.part(".find").value.trim()));
    return Boolean(first);
  }

  keyWhileFinding({ key }) {
    if (key !== "Enter" && key !== "Escape") return false;
    if (key === "Enter" && this.typed && !this.giveFound()) return true; // it wants mending: the field keeps the keys
    this.find("");
    this.part(".box").focus({ preventScroll: true });
    return true;
  }

  act(name) {
    const id = this.list[this.scroller.focus];
    if (name === "all") this.selection.all();
    else if (name === "invert") this.selection.invert();
    else if (name === "none") this.selection.clear();
    else if (name === "accept") this.give("label");
    else if (name === "skip" || name === "flag") this.give(name);
    else if (name === "undo") this.undo();
    else if (name === "refresh") this.load();
    else if (name === "keys") this.part("dialog.keys").showModal();
    else if (name === "everything") this.everything();
    else if (name === "view" && id !== undefined) this.enlarge(id);
    else if (name === "similar" && id !== undefined) this.filters.set({ similar_to: id, cluster: null, images: null, status: "unlabeled" });
    this.draw();
  }

  press(index, ranging) {
    this.scroller.focus = index;
    if (ranging) this.selection.range(index);
    else this.selection.toggle(index);
    this.draw();
  }

  everything() {
    const nothing = Object.fromEntries(NAMES.map((name) => [name, null]));
    for (const name of this.filters.query.keys()) nothing[name] = null;
    this.filters.set(nothing);
  }

  enlarge(id) {
    const tile = this.tiles.get(id);
    if (!tile) return;
    const [dialog, picture] = [this.part("dialog.large"), this.part("dialog img")];
    Object.assign(picture, { src: `${tile.url}&size=${this.data.display_pixels}`, alt: tile.name });
    setText(this.part("dialog p"), `${tile.name} – ${this.wordsOf(tile)}`);
    this.part("dialog.large a").href = `/?image=${id}`;
    dialog.onclick = ({ target }) => target.closest("a") || dialog.close();
    dialog.showModal();
  }

  /** Answer about what is chosen; as labels without a class, each as predicted. */
  async give(action, label) {
    const ids = this.list.filter((id) => this.selection.has(id));
    if (!ids.length) return this.say("Choose images first: click them, or press A for all.");
    if (this.bulk.busy) return this.say("The answers before these are not saved yet.");
    this.find("");
    // In a view of one predicted class that class is meant, whatever a newer model says.
    const viewed = this.filters.get("predicted");
    if (action === "label") label ??= viewed ? Number(viewed) : undefined;
    const labelOf = (tile) => label ?? tile.predicted ?? undefined;
    const done = await this.bulk.give(ids, action, labelOf);
    if (!done) return;
    for (const id of [...done.given, ...done.answered, ...done.gone]) this.selection.ids.delete(id);
    const leaves = new Set(this.leaving(done, action, label));
    this.say(this.outcome(done, ids.length, action, label), done.answered.length + done.held.length + done.refused.length > 0);
    this.total -= leaves.size;
    this.hold(this.list.filter((id) => !leaves.has(id)));
    const left = done.given.filter((id) => !leaves.has(id));
    this.tiles.need(left, { anew: true }).catch(() => {});
    if (!this.list.length) this.load();
  }

  /** Images that the view does not mean any more. */
  leaving({ given, answered, gone }, action, label) {
    const status = { label: "labeled", skip: "skipped", flag: "flagged" }[action];
    const relabeled = label !== undefined && this.filters.get("label") && this.filters.get("label") !== String(label);
    const left = relabeled || (this.status !== "any" && this.status !== status) ? given : [];
    return [...gone, ...left, ...(this.status === "unlabeled" ? answered : [])];
  }

  outcome({ given, answered, held, refused, gone }, asked, action, label) {
    const name = this.project?.classes.find(({ id }) => id === label)?.name;
    const verb = { label: name ? `labeled as ${name}` : "labeled as predicted", skip: "skipped", flag: "flagged" }[action];
    const said = [`${count(given.length, "image")} ${verb}.`];
    const of = `of ${asked.toLocaleString("en")}`;
    const without = asked - given.length - answered.length - held.length - refused.length - gone.length;
    if (answered.length) said.push(`${answered.length} ${of} were answered by others meanwhile.`);
    if (held.length) said.push(`${held.length} ${of} are on someone else's screen.`);
    if (refused.length) said.push(`${refused.length} ${of} could not be taken.`);
    if (gone.length) said.push(`${gone.length} ${of} are not there any more.`);
    if (without) said.push(`${without} ${of} have no prediction.`);
    return said.join(" ");
  }

  async undo() {
    const undone = await this.bulk.undo();
    if (!undone) return;
    this.say(`Undid ${count(undone, "answer")}.`);
    this.load();
  }

  // ------------------------------------------------------------ drawing

  draw() {
    const chosen = this.selection.size;
    const all = (this.total ?? 0).toLocaleString("en");
    const most = chosen === this.selection.most ? " (the most at once)" : "";
    setText(this.part(".chosen"), this.loading ? "Looking …" : `${chosen.toLocaleString("en")} of ${all} chosen${most}`);
    drawHeldOut(this.part("[data-testid=held-out]"), this.project);
    this.filters.draw(this.project?.classes ?? [], this.status);
    const viewed = this.project?.classes.find(({ id }) => String(id) === this.filters.get("predicted"));
    const many = chosen ? `${chosen.toLocaleString("en")} ` : "";
    setText(this.part(".accept span"), viewed ? `Accept ${many}as ${viewed.name}` : `Accept ${many}prediction${chosen === 1 ? "" : "s"}`);
    const last = this.bulk.steps.at(-1);
    setText(this.part("[data-act=undo] span"), last ? `Undo ${last.undone.toLocaleString("en")}` : "Undo");
    this.drawClasses();
    this.scroller.redraw();
    this.scroller.mark();
    for (const button of this.root.querySelectorAll(".accept, .classes button, [data-act=skip], [data-act=flag]"))
      button.disabled = !chosen;
    this.drawNotice();
  }

  matches() {
    return classesNamed(this.project?.classes ?? [], this.typed);
  }

  drawClasses() {
    this.part(".find").hidden = !this.filtering;
    this.root.classList.toggle("many", this.filtering);
    const none = this.typed ? noClassMatches(this.part(".find").value.trim()) : "No classes yet. Name them on the page Label.";
    this.part(".classes").dataset.none = this.project && !this.matches().length ? none : "";
    const signature = JSON.stringify([Boolean(this.typed), this.matches().map(({ labels, ...each }) => each)]);
    if (signature === this.signature) return;
    this.signature = signature;
    this.part(".classes").replaceChildren(
      ...this.matches().map(({ id, name, hotkey: own, colour, description }, index) => {
        const hotkey = this.typed ? placeKey(index) : own;
        const button = element("button");
        button.style.setProperty("--colour", colour ?? "transparent");
        button.title = description ? `${name}: ${description}` : name;
        button.type = "button";
        button.dataset.classId = id;
        button.dataset.testid = "class";
        button.disabled = !this.selection.size;
        button.setAttribute("aria-label", `Label as ${name}${hotkey ? `, key ${hotkey}` : ""}`);
        button.append(element("kbd", hotkey ?? ""), element("span", name, "name"));
        return button;
      }),
    );
  }

  drawTile(node, id, index) {
    const tile = this.tiles.get(id);
    const chosen = this.selection.has(id);
    const [picture, caption] = node.children;
    node.ariaSelected = String(chosen);
    if (tile === undefined) return;
    const words = tile ? this.wordsOf(tile) : "not there any more";
    node.setAttribute("aria-label", `${tile?.name ?? `Image ${id}`}, ${words}`);
    node.title = [tile?.name, words].filter(Boolean).join("\n");
    node.dataset.status = tile?.status ?? "gone";
    node.classList.toggle("held", Boolean(tile?.held));
    this.drawCaption(caption, words);
    if (!tile || picture.firstChild) return;
    const image = new Image();
    const size = devicePixelRatio > 1 ? 320 : 160;
    Object.assign(image, { src: `${tile.url}&size=${size}`, alt: "", draggable: false, decoding: "async" });
    image.onload = () => image.classList.toggle("small", Math.max(image.naturalWidth, image.naturalHeight) <= 64);
    image.onerror = () => setText(picture, "cannot be shown");
    picture.append(image);
  }

  drawCaption(caption, words) {
    if (caption.dataset.words === words) return;
    caption.dataset.words = words;
    const [, name, share] = /^(.*) (\d+%)$/.exec(words) ?? [null, words];
    caption.replaceChildren(element("span", name), ...(share ? [" ", element("b", share)] : []));
  }

  /** What is known of an image, in a few words: its answer, else what the model would say. */
  wordsOf({ status, label, predicted, confidence, held }) {
    const name = (id) => this.project?.classes.find((each) => each.id === id)?.name ?? "?";
    const said = predicted === null ? "" : `${name(predicted)} ${percent(confidence)}`;
    if (status === "labeled") return `✓ ${name(label)}${said && predicted !== label ? `, predicted ${said}` : ""}`;
    if (status !== "unlabeled") return status;
    return held ? `${said} on a screen`.trim() : said;
  }

  drawNotice() {
    const words = this.list.length ? null : this.whyEmpty();
    const notice = this.part(".notice");
    notice.hidden = !words;
    if (!words) return;
    const [title, text, bar, button] = notice.children;
    setText(title, words.title);
    const looked = words.waits ? lookedAt(this.project) : "";
    setText(text, [words.text, looked && `${looked}.`].filter(Boolean).join(" "));
    const share = words.waits ? lookedShare(this.project) : undefined;
    bar.hidden = share === undefined;
    if (share !== undefined) bar.value = share;
    button.hidden = !words.back;
  }

  whyEmpty() {
    const { images, scanning, classes } = this.project ?? {};
    if (this.loading || !this.project) return { title: "Looking …" };
    if (this.problem instanceof Refused) {
      const titles = { 409: "Not yet", 503: "The trainer cannot be reached", 404: "Not found", 422: "This cannot be shown" };
      const { status, message } = this.problem;
      return { title: titles[status] ?? "The grid cannot be shown", text: message, back: true, waits: status === 409 };
    }
    if (this.problem) return { title: "The labeler cannot be reached", text: "This page goes on by itself when it is back." };
    if (!images.total && scanning.running) return { title: "Reading the image folder", text: "Images come here as they are found." };
    if (!images.total && scanning.error) return { title: "The image folder cannot be read", text: scanning.error };
    if (!images.total) {
      return { title: "No images yet", text: "Put photos into the project’s image folder: they join by themselves. Or add some on the page Data." };
    }
    if (!classes.length) return { title: "No classes yet", text: "Name them on the page Label first." };
    if (this.filters.narrowed || this.status !== "unlabeled")
      return { title: "No images match", text: "Change the filters above.", back: true };
    return { title: "Nothing left to label", text: "See Progress for how good the model is, and Finish to save it." };
  }

  say(words, trouble = false) {
    const message = this.part(".message");
    setText(message, words);
    message.classList.toggle("trouble", trouble);
  }
}
