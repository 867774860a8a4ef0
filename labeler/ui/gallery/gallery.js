// The grid: thousands of images; one key labels all selected ones. The listing is kept and only grows, so that
// images stay in place. Labeled images leave it, and the tiles show other people's answers.

import { ClassSearch } from "../classes/search.js";
import { isAbort, Refused } from "../lib/api.js";
import { find, setText } from "../lib/dom.js";
import { fitBelow } from "../lib/fit.js";
import { KeyTable } from "../lib/input/key_table.js";
import { leaveFields, leaveOpener, listenForKeys } from "../lib/input/keys.js";
import { drawHeldOut, live } from "../lib/project.js";
import { count, number } from "../lib/text.js";
import { taskOn } from "../tasks/registry.js";
import { Bulk } from "./bulk.js";
import { drawClasses, drawNotice, drawTile, enable, enlarge } from "./draw.js";
import { Filters } from "./filters.js";
import { Groups } from "./groups.js";
import { markBy } from "./marking.js";
import { Pages } from "./pages.js";
import { Scroller } from "./scroller.js";
import { Selection } from "./selection.js";
import { Tiles } from "./tiles.js";
import { Unread } from "./unread.js";
import { leaving, outcome, whyEmpty, wordsOf } from "./words.js";

const AGAIN_LISTING_MS = 3000; // pause after a listing that failed
const NEWS_OF_TILES_MS = 1000;
/** @type {Record<string, string>} */
const ACTS = {
  A: "all",
  I: "invert",
  S: "skip",
  F: "flag",
  U: "undo",
  Z: "undo",
  M: "similar",
  V: "view",
  L: "refresh",
};
const GALLERY = Symbol("gallery");

/** @param {any} component */
export default function ({ parentElement, data }) {
  const gallery = (parentElement[GALLERY] ??= new Gallery(parentElement, data));
  gallery.open(data.view);
  return () => {
    gallery.close();
    delete parentElement[GALLERY];
  };
}

class Gallery {
  /** @param {Element} root @param {any} data */
  constructor(root, data) {
    this.data = data;
    this.root = find(root, ".gallery");
    this.part = (/** @type {string} */ selector) => find(this.root, selector);
    this.box = this.part(".box");
    this.finder = this.part(".find"); // where letters of a class are typed
    /** @type {number[]} */
    this.list = [];
    /** @type {number[]} */
    this.inSight = [];
    this.can = { choose: false, answer: false }; // whether classes and Enter can be used
    this.address = ""; // the URL as Python saw it
    this.total = 0;
    this.loading = false;
    /** @type {Error | null} */
    this.problem = null;
    /** @type {import("../types.js").Project | null} */
    this.project = null;
    this.stopListening = new AbortController();
    this.tiles = new Tiles(() => this.scroller.redraw());
    this.unread = new Unread(this.part(".unread"));
    this.renew = (/** @type {number[]} */ ids) => this.unread.load(() => this.tiles.need(ids, { anew: true }));
    this.selection = new Selection(data.most);
    this.pages = new Pages((ids) => this.hold([...this.list, ...ids]));
    this.bulk = new Bulk(data.log_id, this.tiles, (words, trouble) => this.say(words, trouble));
    this.task = taskOn(root, data.task);
    this.marking = this.task.marking(root, () => this.filters.query);
    this.filters = new Filters(root, () => this.load());
    this.groups = new Groups(root, (cluster, clusters) =>
      this.filters.set({ cluster, clusters, similar_to: null, images: null }),
    );
    this.scroller = new Scroller(
      this.box,
      (ids) => this.look(ids),
      (node, id) => this.drawTile(node, id),
    );
    this.keys = new KeyTable(root);
    this.listen();
    this.unsubscribe = live.follow(data.log_id, (project) => this.hear(project));
  }

  /** Show the view in the page's URL, as Python saw it. The same URL again changes nothing. @param {Record<string, string>} view */
  open(view) {
    const address = JSON.stringify(view);
    if (address === this.address) return;
    this.address = address;
    this.filters.open(view);
    this.load();
  }

  close() {
    this.unsubscribe();
    this.stopListening.abort();
    clearTimeout(this.again);
    for (const each of [this.scroller, this.groups, this.filters, this.bulk, this.pages]) each.close();
  }

  listen() {
    const { signal } = this.stopListening;
    const elsewhere = () => this.root.querySelector("dialog[open]") !== null;
    listenForKeys((key) => this.key(key), { signal, commands: ["Z", "A"], repeats: true, elsewhere });
    fitBelow(this.root, signal);
    // A mouse must not leave the focus on a button: Enter is for the selected images and must not press the button again.
    this.root.addEventListener("mousedown", (/** @type {any} */ event) => {
      if (event.target.closest("button, summary") && !event.target.closest("dialog")) event.preventDefault();
    });
    leaveOpener();
    leaveFields(this.root, signal, () => this.rest());
    this.root.addEventListener("click", (/** @type {any} */ event) => {
      const { act, classId } = event.target.closest("button")?.dataset ?? {};
      if (act) this.act(act);
      else if (classId) this.choose(Number(classId));
    });
    const plane = this.part(".plane");
    plane.onclick = (/** @type {any} */ { target, shiftKey }) => {
      const tile = target.closest(".tile");
      if (tile) this.press(Number(tile.dataset.index), shiftKey);
    };
    plane.onmousedown = (/** @type {any} */ event) => event.shiftKey && event.preventDefault(); // no text is selected
    this.finder.oninput = () => this.drawClasses();
    this.finder.onkeydown = (/** @type {KeyboardEvent} */ event) => {
      if (this.keyWhileFinding(event.key)) event.preventDefault();
    };
  }

  /** Focus the images, so that arrow keys move among them. */
  rest() {
    this.box.focus({ preventScroll: true });
  }

  async load() {
    clearTimeout(this.again);
    this.problem = null;
    this.loading = true;
    this.draw();
    try {
      const { status, total, image_ids } = await this.pages.first(this.filters.query);
      this.tiles.forget();
      this.status = status;
      this.total = total;
      this.loading = false;
      this.hold(image_ids);
      this.box.scrollTop = 0;
    } catch (error) {
      if (isAbort(error)) return;
      this.loading = false;
      this.problem = /** @type {Error} */ (error);
      this.hold([]);
      if (!(error instanceof Refused) || error.status === 409 || error.status >= 500)
        this.again = setTimeout(() => this.load(), AGAIN_LISTING_MS);
    }
  }

  /** @param {number[]} list */
  hold(list) {
    this.list = list;
    this.selection.over(list);
    this.scroller.show(list);
    this.draw();
  }

  /** @param {number[]} ids that are in sight */
  look(ids) {
    this.inSight = ids;
    this.unread.load(() => Promise.all([this.tiles.need(ids), this.pages.near(ids, this.list)]));
  }

  /** @param {import("../types.js").Project} project */
  hear(project) {
    const news = this.project && project.last_seq !== this.project.last_seq;
    const grew = project.images.total !== this.project?.images.total;
    this.project = project;
    this.marking.classes = project.classes;
    if (news && !this.waiting) {
      this.waiting = setTimeout(() => {
        this.waiting = undefined;
        this.renew(this.inSight);
      }, NEWS_OF_TILES_MS);
    }
    if (grew && !this.list.length && !this.loading) this.load();
    this.draw();
  }

  /** The classes, with the search text. */
  get search() {
    return new ClassSearch((this.marking.buttons !== null && this.project?.classes) || [], this.finder.value);
  }

  /** Handle a key. Returns false if it has no meaning here. @param {import("../lib/input/keys.js").Key} key */
  key(key) {
    const to = key.command === null ? this.scroller.target(key.name) : undefined;
    if (to !== undefined) return this.move(to, key.shift);
    if (key.repeat) return false;
    const { search } = this;
    if (key.command !== null) {
      this.act(key.command === "Z" ? "undo" : "all");
      return true;
    }
    const meaning = search.meaning(key, { ...ACTS, ...this.marking.letters });
    if (meaning && "act" in meaning) this.act(meaning.act);
    else if (meaning && "classId" in meaning) this.choose(meaning.classId);
    else if (meaning) this.say(this.marking.elsewhere ?? meaning.refusal);
    else return this.otherKey(key, search);
    return true;
  }

  /** @param {import("../lib/input/keys.js").Key} key @param {ClassSearch} search */
  otherKey({ name, shift }, search) {
    const { typed } = search;
    if (typed && name !== "Enter") return this.type(name, search);
    if (typed) this.giveFound();
    else if (name === "Enter") this.act("accept");
    else if (name === "Escape") this.act("none");
    else if (name === " ") this.press(this.scroller.focus, shift);
    else if (name === "?") this.keys.show();
    else if (name === "Backspace" && search.typing) this.say("Nothing is typed. Press Shift+Z to undo.");
    else if (name === "Backspace") this.act("undo");
    else if (search.typing && name === "/") this.finder.focus();
    else return search.typing && this.type(name, search);
    return true;
  }

  /** Add a key to the search text; false if it types nothing. @param {string} name @param {ClassSearch} search */
  type(name, search) {
    const text = search.afterTyping(name);
    if (text !== null) this.find(text);
    return text !== null;
  }

  /** Search for a class by these letters. @param {string} letters */
  find(letters) {
    this.finder.value = letters;
    this.drawClasses();
  }

  /** Enter while searching: choose the first match; false if there is none. */
  giveFound() {
    const { found, unmatched } = this.search;
    if (found !== undefined) this.choose(found);
    else if (unmatched) this.say(unmatched);
    return found !== undefined;
  }

  /** @param {string} key */
  keyWhileFinding(key) {
    if (key !== "Enter" && key !== "Escape") return false;
    if (key === "Enter" && this.search.typed && !this.giveFound()) return true; // the field keeps the focus
    this.find("");
    this.rest();
    return true;
  }

  /** Move the focus; with Shift, select on the way. @param {number} to @param {boolean} ranging */
  move(to, ranging) {
    const moved = this.scroller.move(to);
    if (moved && ranging) this.selection.range(this.scroller.focus);
    else if (moved) this.selection.anchor = this.scroller.focus;
    this.draw();
    return moved;
  }

  /** @param {string} name */
  act(name) {
    const id = this.list[this.scroller.focus];
    const mark = markBy(name, this.marking);
    if (name === "all") this.selection.all();
    else if (name === "invert") this.selection.invert();
    else if (name === "none") this.selection.clear();
    else if (mark) this.give(mark);
    else if (name === "undo") this.undo();
    else if (name === "refresh") this.load();
    else if (name === "keys") this.keys.show();
    else if (name === "everything") this.filters.clear();
    else if (name === "view" && id !== undefined) this.enlarge(id);
    else if (name === "similar" && id !== undefined)
      this.filters.set({ similar_to: id, cluster: null, images: null, status: "unlabeled" });
    this.draw();
  }

  /** @param {number} index @param {boolean} ranging */
  press(index, ranging) {
    this.scroller.focus = index;
    if (ranging) this.selection.range(index);
    else this.selection.toggle(index);
    this.draw();
  }

  /** @param {number} id */
  enlarge(id) {
    const tile = this.tiles.get(id);
    if (!tile) return;
    const words = `${tile.name} – ${this.words(tile)}`;
    enlarge(this.part("dialog.large"), tile, words, this.data.display_pixels);
  }

  /** A class was pressed. @param {number} classId */
  choose(classId) {
    const mark = this.marking.press(classId);
    if (mark) return this.give(mark);
    this.find("");
    this.draw();
  }

  /** Answer for the selected images. @param {import("../tasks/task.js").Mark | { refusal: string }} mark */
  async give(mark) {
    const ids = this.list.filter((id) => this.selection.has(id));
    if (!ids.length) return this.say("Choose images first: click them, or press A for all.");
    if (this.bulk.busy) return this.say("Earlier answers are not saved yet. Try again in a moment.");
    if ("refusal" in mark) return this.say(mark.refusal);
    this.find("");
    const done = await this.bulk.give(ids, mark.action, mark.of);
    if (!done) return;
    for (const id of [...done.given, ...done.answered, ...done.gone]) this.selection.ids.delete(id);
    const leaves = new Set(leaving(done, mark.action, this.status, mark.leaves));
    const trouble = done.answered.length + done.held.length + done.refused.length > 0;
    this.say(outcome(done, ids.length, mark.did), trouble);
    this.total -= leaves.size;
    this.hold(this.list.filter((id) => !leaves.has(id)));
    this.renew(done.given.filter((id) => !leaves.has(id)));
    if (!this.list.length) this.load();
  }

  async undo() {
    const undone = await this.bulk.undo();
    if (!undone) return;
    this.say(`Undid ${count(undone, "answer")}.`);
    this.load();
  }

  draw() {
    const chosen = this.selection.size;
    const most = chosen === this.selection.most ? " (the most at once)" : "";
    setText(
      this.part(".chosen"),
      this.loading ? "Looking …" : `${number(chosen)} of ${number(this.total)} chosen${most}`,
    );
    drawHeldOut(this.part("[data-testid=held-out]"), this.project);
    this.filters.draw(this.project, this.status);
    this.can = this.marking.draw(chosen);
    const last = this.bulk.steps.at(-1);
    setText(this.part("[data-act=undo] span"), last ? `Undo ${number(last.undone)}` : "Undo");
    this.drawClasses();
    this.scroller.redraw();
    this.scroller.mark();
    enable(this.root, "[data-act=skip], [data-act=flag]", chosen > 0);
    enable(this.root, "[data-act=accept], [data-act=no]", this.can.answer);
    this.drawNotice();
  }

  drawClasses() {
    const { search } = this;
    this.finder.hidden = !search.typing;
    this.root.classList.toggle("many", search.typing);
    drawClasses(this.part(".classes"), search, this.marking, this.project !== null);
    enable(this.root, ".classes button", this.can.choose);
  }

  /** @param {any} node @param {number} id */
  drawTile(node, id) {
    const tile = this.tiles.get(id);
    node.ariaSelected = String(this.selection.has(id));
    const words = tile ? this.words(tile) : "no longer there";
    if (tile !== undefined) drawTile(node, id, tile, words, this.marking);
  }

  /** @param {import("./tiles.js").Tile} tile */
  words(tile) {
    return this.marking.words?.(tile) ?? wordsOf(tile, this.marking.classes);
  }

  drawNotice() {
    const narrowed = this.filters.query.narrowed || this.status !== "unlabeled";
    const words = this.list.length
      ? null
      : whyEmpty(this.project, { ...this, narrowed, needsClasses: this.task.namesClasses });
    drawNotice(this.part(".notice"), words, this.project);
  }

  /** @param {string} words @param {boolean} [trouble] */
  say(words, trouble = false) {
    const message = this.part(".message");
    setText(message, words);
    message.classList.toggle("trouble", trouble);
  }
}
