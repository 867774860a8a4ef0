// The map: every image of the pool as a point. A selected region opens in the grid, to label it as a whole.

import { ask, isAbort, Refused } from "../lib/api.js";
import { find, setText } from "../lib/dom.js";
import { fitBelow } from "../lib/fit.js";
import { KeyTable } from "../lib/input/key_table.js";
import { leaveFields, listenForKeys } from "../lib/input/keys.js";
import { Pointers } from "../lib/input/pointer.js";
import { drawHeldOut, embeddedShare, live } from "../lib/project.js";
import { store, stored } from "../lib/storage.js";
import { count, number, timeLeft } from "../lib/text.js";
import { taskOn } from "../tasks/registry.js";
import { legendOf } from "./legend.js";
import { drawItems } from "./legend_items.js";
import { Overlay } from "./overlay.js";
import { Points } from "./points.js";
import { Tip } from "./tip.js";
import { waits, whyEmpty, whyFlat } from "./words.js";

/** @typedef {[number, number]} Place pixels from the left and the top */

const RENEWED_MS = 15_000; // minimum time between updates: a hundred thousand points are some megabytes
const COMPUTED_MS = 5000; // pause before checking whether another layout is ready
const AGAIN_MS = 3000; // pause after a map that failed
const HOVER_MS = 80;
const REACH = 9; // maximum distance in pixels from the pointer to a point
const STEP = 12; // pixels per arrow key; with Shift four times as many
const LAYOUT = "flywheel/layout"; // key of the chosen layout in this browser's storage
const CHART = Symbol("chart");

/** @param {any} component */
export default function ({ parentElement, data, setTriggerValue }) {
  const chart = (parentElement[CHART] ??= new Chart(parentElement, data));
  chart.open = (/** @type {number[]} */ ids) => setTriggerValue("chosen", ids);
  return () => {
    chart.close();
    delete parentElement[CHART];
  };
}

class Chart {
  /** @param {Element} root @param {any} data */
  constructor(root, data) {
    this.data = data;
    this.root = find(root, ".chart");
    this.part = (/** @type {string} */ selector) => find(this.root, selector);
    this.open = (/** @type {number[]} */ _ids) => {};
    this.points = new Points(this.part(".points"));
    this.overlay = new Overlay(this.part(".overlay"), this.points);
    this.keys = new KeyTable(root);
    taskOn(root, data.task);
    this.layout = this.part("[data-testid=layout]");
    this.layout.value = stored(LAYOUT) === "umap" ? "umap" : "pca";
    /** @type {any} the trainer's answer */
    this.map = null;
    /** @type {Error | null} */
    this.problem = null;
    /** @type {import("../types.js").Project | null} */
    this.project = null;
    /** @type {import("./legend.js").Entry[]} */
    this.legend = [];
    this.tip = new Tip(this.part(".tip"), this.points, (index) => this.legend[this.points.colours[index]].name);
    this.mode = "lasso";
    this.names = ""; // of the classes as drawn
    this.drawnLegend = "";
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.renewal = undefined; // timer that reads the map again after a change
    /** @type {number | undefined} */
    this.soon = undefined; // handle of the next redraw
    /** @type {number | null} */
    this.lit = null; // the legend colour under the pointer
    this.stopListening = new AbortController();
    this.listen();
    this.size = new ResizeObserver(() => this.fit());
    this.size.observe(this.part(".stage"));
    this.unsubscribe = live.follow(data.log_id, (project) => this.hear(project));
    this.load();
  }

  close() {
    this.size.disconnect();
    this.unsubscribe();
    this.stopListening.abort();
    this.asked?.abort();
    for (const timer of [this.again, this.renewal, this.resting]) clearTimeout(timer);
  }

  listen() {
    const { signal } = this.stopListening;
    const { canvas } = this.overlay;
    new Pointers(canvas, [this.drawing()], {
      hover: ({ left, top }) => this.hover([left, top]),
      pinch: (factor, x, y) => this.pinch(factor, x, y),
      signal,
    });
    canvas.addEventListener("pointerleave", () => this.overlay.outline || this.tell(-1), { signal });
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false, signal });
    canvas.addEventListener("blur", () => this.overlay.show({ cross: null, corner: null }), { signal });
    const elsewhere = (/** @type {HTMLElement} */ target, /** @type {Event} */ event) =>
      this.keys.open || (target !== document.body && !event.composedPath().includes(this.root));
    listenForKeys((key) => this.key(key), { signal, repeats: true, elsewhere });
    leaveFields(this.root, signal, () => this.rest());
    this.measure = fitBelow(this.root, signal);
    // A mouse must not leave the focus on a button: Enter then opens the selection.
    this.root.addEventListener("mousedown", (/** @type {any} */ event) => {
      if (!event.target.closest("button") || event.target.closest("dialog")) return;
      event.preventDefault();
      this.rest();
    });
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", () => setTimeout(() => this.draw(), 300), { signal });
    this.root.addEventListener("click", (/** @type {any} */ event) => {
      const { act, mode, colour } = event.target.closest("button")?.dataset ?? {};
      if (act) this.act(act);
      else if (mode) this.turn(mode);
      else if (colour) this.chooseColour(Number(colour));
    });
    this.listenToTools(signal);
  }

  /** @param {AbortSignal} signal */
  listenToTools(signal) {
    const legend = this.part(".legend");
    for (const name of ["pointerover", "focusin"])
      legend.addEventListener(name, (/** @type {any} */ { target }) => this.light(target), { signal });
    for (const name of ["pointerleave", "focusout"]) legend.addEventListener(name, () => this.light(null), { signal });
    const narrow = matchMedia("(max-width: 48rem)");
    this.part(".legend-box").open = !narrow.matches;
    narrow.addEventListener("change", () => (this.part(".legend-box").open = !narrow.matches), { signal });
    this.part(".tools").onchange = (/** @type {any} */ { target }) => {
      if (target !== this.layout) return this.draw();
      store(LAYOUT, target.value);
      this.load();
    };
  }

  /** Focus the map, so that the arrow keys move its cursor. */
  rest() {
    this.overlay.canvas.focus({ preventScroll: true });
  }

  // ------------------------------------------------------------ what is shown

  async load() {
    this.asked?.abort();
    clearTimeout(this.again);
    this.asked = new AbortController();
    try {
      const query = this.layout.value === "pca" ? "" : `?layout=${this.layout.value}`;
      const map = await ask(`/api/map${query}`, { signal: this.asked.signal });
      const pointed = this.points.ids[this.overlay.pointed];
      this.map = map;
      this.problem = null;
      this.points.hold(map);
      this.overlay.pointed = this.points.ids.indexOf(pointed);
      if (map.computing) this.again = setTimeout(() => this.load(), COMPUTED_MS);
    } catch (error) {
      if (isAbort(error)) return;
      if (this.map && !(error instanceof Refused)) return; // keep the current map; the next change tries again
      this.problem = /** @type {Error} */ (error);
      this.again = setTimeout(() => this.load(), AGAIN_MS);
    }
    this.measure?.();
    this.draw();
    if (!this.tip.node.hidden) this.tell(this.overlay.pointed);
  }

  /** @param {import("../types.js").Project} project */
  hear(project) {
    const before = this.project;
    const news = before && (project.last_seq !== before.last_seq || project.query_version !== before.query_version);
    const names = JSON.stringify(project.classes.map(({ id, name, colour }) => [id, name, colour])); // counts always change
    const renamed = names !== this.names;
    this.names = names;
    this.project = project;
    if (news && this.map)
      this.renewal ??= setTimeout(() => {
        this.renewal = undefined;
        this.load();
      }, RENEWED_MS);
    drawHeldOut(this.part("[data-testid=held-out]"), project);
    if (renamed) this.draw();
    else this.drawNotice();
  }

  fit() {
    this.points.fit();
    this.overlay.fit();
    this.draw();
  }

  draw() {
    if (!this.points.width) return;
    const palette = this.data[getComputedStyle(this.root).colorScheme === "dark" ? "dark" : "light"];
    const { colours } = this.points;
    const by = this.part("select").value;
    this.legend = legendOf(by, this.map ?? {}, this.project?.classes ?? [], palette, this.data.first, colours);
    const quiet = new Set(this.legend.flatMap(({ quiet }, index) => (quiet ? [index] : [])));
    this.points.draw(this.legend, quiet, this.lit);
    this.drawLegend();
    this.drawLayout();
    this.overlay.show({ next: new Set(this.part("[data-testid=next]").checked ? this.map?.next : []) });
    this.drawNotice();
    const { size } = this.points.chosen;
    const most = size > this.data.most ? `the first ${number(this.data.most)} of ` : "";
    setText(this.part(".open"), size ? `Open ${most}${count(size, "image")} in Grid` : "Open in Grid");
    for (const name of [".open", "[data-act=none]"]) this.part(name).disabled = !size;
    const label = `Map of ${count(this.points.ids.length, "image")}, ${number(size)} chosen`;
    this.overlay.canvas.setAttribute("aria-label", label);
  }

  drawLegend() {
    const shown = JSON.stringify(this.legend);
    if (shown === this.drawnLegend) return; // a button with the focus keeps it
    this.drawnLegend = shown;
    drawItems(this.part(".legend"), this.legend);
    setText(this.part(".legend-box summary"), `Colours (${this.part(".legend").childElementCount})`);
  }

  /** Highlight a colour, with the mouse or with Tab: all other points fade. @param {Element | null} target */
  light(target) {
    const button = /** @type {HTMLElement | null} */ (target?.closest("button[data-colour]") ?? null);
    const lit = button ? Number(button.dataset.colour) : null;
    if (lit === this.lit) return;
    this.lit = lit;
    this.draw();
  }

  drawLayout() {
    const { layout = "pca", layouts = ["pca"], computing, problem, progress, seconds_left } = this.map ?? {};
    this.layout.parentElement.hidden = layouts.length < 2;
    this.part("[data-testid=umap-hint]").hidden = !this.map || layouts.length > 1;
    const state = this.part(".layout-state");
    const asked = layouts.includes(this.layout.value) && this.layout.value !== layout;
    const flat = asked ? "" : whyFlat(this.map);
    state.hidden = !asked && !flat;
    const left = timeLeft(seconds_left) || "a minute or more";
    const why = computing ? `UMAP is being computed: ${left}. It appears by itself.` : problem;
    setText(state.firstElementChild, asked ? `${why} PCA is shown${computing ? " until then" : ""}.` : flat);
    const bar = state.lastElementChild;
    bar.hidden = !asked || !computing;
    if (progress === null || progress === undefined) bar.removeAttribute("value");
    else bar.value = progress;
  }

  drawNotice() {
    const shown = this.points.ids.length && !this.problem;
    const words = shown ? null : whyEmpty(this.project, this.problem, this.map !== null);
    this.part(".notice").hidden = !words;
    if (!words) return;
    const [title, text, bar] = this.part(".notice").children;
    setText(title, words[0]);
    setText(text, words[1] ?? "");
    const share = embeddedShare(this.project);
    bar.hidden = share === undefined && !waits(this.project, this.problem);
    if (share !== undefined) bar.value = share;
    else bar.removeAttribute("value"); // running, with unknown progress
  }

  /** @param {string} words */
  say(words) {
    setText(this.part(".message"), words);
  }

  // ------------------------------------------------------------ what the person does

  /** @param {string} name */
  act(name) {
    if (name === "keys") this.keys.show();
    else if (name === "open") this.open(this.chosenIds().slice(0, this.data.most));
    else if (name === "none") this.points.chosen.clear();
    else if (name === "whole") this.points.whole();
    else this.points.zoom(name === "in" ? 1.5 : 1 / 1.5);
    this.draw();
  }

  /** Set the effect of dragging. @param {string} mode "lasso", "box" or "move" */
  turn(mode) {
    this.mode = mode;
    for (const button of this.root.querySelectorAll("[data-mode]"))
      button.ariaPressed = String(button.dataset.mode === mode);
  }

  chosenIds() {
    return Array.from(this.points.chosen, (index) => this.points.ids[index]);
  }

  /** @param {Place[]} outline @param {boolean} adding to the selection */
  choose(outline, adding) {
    this.points.choose(outline, { adding });
    this.say(`${count(this.points.chosen.size, "image")} chosen.`);
    this.draw();
  }

  /** @param {number} colour */
  chooseColour(colour) {
    this.points.chosen.clear();
    this.points.colours.forEach((each, index) => {
      if (each === colour) this.points.chosen.add(index);
    });
    this.say(`${count(this.points.chosen.size, "image")} chosen.`);
    this.draw();
  }

  /** Dragging over the map. @returns {import("../lib/input/pointer.js").Gesture} */
  drawing() {
    const { overlay } = this;
    return {
      begins: ({ left, top }, fresh) => {
        if (!fresh) return false;
        this.tell(-1);
        overlay.begin([left, top]);
        return true;
      },
      moves: (now, before) => {
        if (this.mode !== "move") return overlay.extend([now.left, now.top], this.mode === "box");
        this.points.move(now.x - before.x, now.y - before.y);
        this.drawSoon();
      },
      ends: ({ shift }) => {
        const outline = overlay.end();
        if (this.mode !== "move" && outline.length > 2) this.choose(outline, shift);
      },
      cancels: () => void overlay.end(),
    };
  }

  drawSoon() {
    this.soon ??= requestAnimationFrame(() => {
      this.soon = undefined;
      this.draw();
    });
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    event.preventDefault();
    this.points.zoom(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
    this.drawSoon();
  }

  /** @param {number} factor @param {number} x @param {number} y in the window */
  pinch(factor, x, y) {
    const { left, top } = this.overlay.canvas.getBoundingClientRect();
    this.points.zoom(factor, x - left, y - top);
    this.drawSoon();
  }

  /** @param {Place} place @param {number} [reach] */
  hover([left, top], reach = REACH) {
    clearTimeout(this.resting);
    const nearest = () => this.points.nearest(left, top, reach); // once more when it is told: the map may have changed
    if (nearest() !== this.overlay.pointed) this.resting = setTimeout(() => this.tell(nearest()), HOVER_MS);
  }

  /** Handle a key. Returns false if it has no meaning here. @param {import("../lib/input/keys.js").Key} key */
  key(key) {
    const by = key.shift ? 4 * STEP : STEP;
    /** @type {Record<string, Place>} */
    const arrows = { ArrowLeft: [-by, 0], ArrowRight: [by, 0], ArrowUp: [0, -by], ArrowDown: [0, by] };
    /** @type {Record<string, string>} */
    const acts = { "+": "in", "-": "out", 0: "whole", "?": "keys", Escape: "none", Enter: "open" };
    const act = acts[key.name] ?? acts[key.digit ?? ""];
    if (arrows[key.name]) this.step(arrows[key.name]);
    else if (key.name === " ") this.corners();
    else if (act === "open" && !this.points.chosen.size) {
      this.say("Choose images first: draw around them, or press Space at two corners.");
    } else if (act) {
      this.overlay.corner = null;
      this.act(act);
    } else return false;
    if (act !== "keys") this.rest();
    return true;
  }

  /** Move the keyboard cursor. @param {Place} by */
  step([right, down]) {
    const [left, top] = this.overlay.middle;
    const inside = (/** @type {number} */ value, /** @type {number} */ most) => Math.max(0, Math.min(most, value));
    /** @type {Place} */
    const cross = [inside(left + right, this.points.width), inside(top + down, this.points.height)];
    this.overlay.show({ cross });
    this.hover(cross, 2 * STEP);
  }

  /** Space: start a box at the cursor, or finish it there. */
  corners() {
    const outline = this.overlay.mark();
    if (outline) this.choose(outline, false);
    else this.say("A box starts here: move with the arrows and press Space again.");
  }

  /** Show the image of a point; −1 for none. @param {number} index */
  async tell(index) {
    clearTimeout(this.resting);
    this.overlay.show({ pointed: index });
    const words = await this.tip.show(index, () => this.overlay.pointed);
    if (words && this.overlay.cross) this.say(words);
  }
}
