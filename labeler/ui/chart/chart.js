// The map: every image of the pool as a point. What is drawn around opens in the grid, so that a region is labeled at once.

const RENEWED_MS = 15000; // after news at the earliest: a hundred thousand points are some megabytes
const COMPUTED_MS = 5000; // until it is looked whether another layout has been worked out
const AGAIN_MS = 3000; // after a map that could not be had
const HOVER_MS = 80;
const REACH = 9; // pixels from the pointer to a point
const SHAPES = ["square", "diamond", "triangle", "plus"]; // of the first classes, and of those after them
const STEP = 12; // pixels that an arrow moves the cross; with Shift four times that
const LAYOUT = "flywheel/layout"; // in this browser's storage: which layout was chosen
const CHART = Symbol("chart");

export default function ({ parentElement, data, setTriggerValue }) {
  const chart = (parentElement[CHART] ??= new Chart(parentElement, data));
  chart.open = (ids) => setTriggerValue("chosen", ids);
  return () => {
    chart.close();
    delete parentElement[CHART];
  };
}

class Chart {
  constructor(root, data) {
    this.data = data;
    this.root = root.querySelector(".chart");
    this.part = (name) => this.root.querySelector(name);
    this.points = new Points(this.part(".points"));
    this.overlay = this.part(".overlay");
    this.layout = this.part("[data-testid=layout]");
    this.layout.value = stored(LAYOUT) === "umap" ? "umap" : "pca";
    this.tiles = new Map();
    this.mode = "lasso";
    this.lit = null; // the colour pointed at in the legend
    this.outline = null; // while something is drawn
    this.listen();
    this.size = new ResizeObserver(() => this.fit());
    this.size.observe(this.part(".stage"));
    this.unsubscribe = live().subscribe((project) => this.hear(project));
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
    this.stopListening = new AbortController();
    const { signal } = this.stopListening;
    const on = (name, act, options = {}) => this.overlay.addEventListener(name, act, { signal, ...options });
    on("pointerdown", (event) => this.begin(event));
    on("pointermove", (event) => (this.outline ? this.drag(event) : this.hover(event.offsetX, event.offsetY)));
    on("pointerup", (event) => this.end(event));
    on("pointercancel", () => this.end(null));
    on("pointerleave", () => this.outline || this.tell(-1));
    on("wheel", (event) => this.wheel(event), { passive: false });
    on("blur", () => this.show({ cross: null, corner: null }));
    addEventListener("keydown", (event) => this.key(event), { signal });
    const rest = () => this.overlay.focus({ preventScroll: true });
    leaveFields(this.root, signal, rest);
    // A mouse must not leave the focus on a button: Enter then opens what is chosen.
    this.root.addEventListener("mousedown", (event) => {
      if (!event.target.closest("button")) return;
      event.preventDefault();
      rest();
    });
    addEventListener("resize", () => this.stand(), { signal });
    document.addEventListener("flywheel:bar", () => this.stand(), { signal });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTimeout(() => this.draw(), 300), { signal });
    this.root.addEventListener("click", (event) => {
      const { act, mode, colour } = event.target.closest("button")?.dataset ?? {};
      if (act) this.act(act);
      else if (mode) this.turn(mode);
      else if (colour) this.chooseColour(Number(colour));
    });
    const legend = this.part(".legend");
    for (const name of ["pointerover", "focusin"]) legend.addEventListener(name, ({ target }) => this.light(target), { signal });
    for (const name of ["pointerleave", "focusout"]) legend.addEventListener(name, () => this.light(null), { signal });
    const narrow = matchMedia("(max-width: 48rem)");
    this.part(".legend-box").open = !narrow.matches;
    narrow.addEventListener("change", () => (this.part(".legend-box").open = !narrow.matches), { signal });
    this.part(".tools").onchange = ({ target }) => {
      if (target !== this.layout) return this.draw();
      store(LAYOUT, target.value);
      this.load();
    };
  }

  // ------------------------------------------------------------ what is shown

  async load() {
    this.asked?.abort();
    clearTimeout(this.again);
    this.asked = new AbortController();
    try {
      const query = this.layout.value === "pca" ? "" : `?layout=${this.layout.value}`;
      const map = await ask(`/api/map${query}`, { signal: this.asked.signal });
      const chosen = new Set(this.chosenIds());
      this.map = map;
      this.problem = null;
      this.points.hold(map);
      map.image_ids.forEach((id, index) => chosen.has(id) && this.points.chosen.add(index));
      if (map.computing) this.again = setTimeout(() => this.load(), COMPUTED_MS);
    } catch (error) {
      if (error.name === "AbortError") return;
      if (this.map && !(error instanceof Refused)) return; // what is on screen stays; the next news asks again
      this.problem = error;
      this.again = setTimeout(() => this.load(), AGAIN_MS);
    }
    this.stand();
    this.draw();
  }

  hear(project) {
    if (!project) return;
    if (project.log_id && project.log_id !== this.data.log_id) return location.reload(); // another project is served
    const news = this.project && (project.last_seq !== this.project.last_seq || project.query_version !== this.project.query_version);
    const names = JSON.stringify(project.classes.map(({ id, name, colour }) => [id, name, colour])); // without counts, which always change
    const renamed = names !== this.names;
    this.names = names;
    this.project = project;
    if (news && this.map) this.renewal ??= setTimeout(() => ((this.renewal = null), this.load()), RENEWED_MS);
    drawHeldOut(this.part("[data-testid=held-out]"), project);
    if (renamed) this.draw();
    else this.drawNotice();
  }

  stand() {
    const top = this.root.getBoundingClientRect().top + (this.root.getRootNode().host?.closest(".stMain")?.scrollTop ?? 0);
    this.root.style.setProperty("--above", `${Math.round(top)}px`);
  }

  fit() {
    this.points.fit();
    this.overlay.width = this.part(".points").width;
    this.overlay.height = this.part(".points").height;
    this.draw();
  }

  draw() {
    if (!this.points.width) return;
    const dark = getComputedStyle(this.root).colorScheme === "dark";
    this.legend = this.legendOf(this.part("select").value, this.data[dark ? "dark" : "light"]);
    const quiet = new Set(this.legend.flatMap(({ quiet }, index) => (quiet ? [index] : [])));
    this.points.draw(this.legend, quiet, this.lit);
    this.drawLegend();
    this.drawLayout();
    this.show({});
    this.drawNotice();
    const { size } = this.points.chosen;
    const most = size > this.data.most ? `the first ${this.data.most.toLocaleString("en")} of ` : "";
    setText(this.part(".open"), size ? `Open ${most}${count(size, "image")} in Grid` : "Open in Grid");
    for (const name of [".open", "[data-act=none]"]) this.part(name).disabled = !size;
    this.overlay.setAttribute("aria-label", `Map of ${count(this.points.ids.length, "image")}, ${size.toLocaleString("en")} chosen`);
  }

  /** Give each point its colour; returns what the colours mean: [{ name, colour, number, quiet }]. */
  legendOf(by, { classes, uncertainty, quiet }) {
    const { colours } = this.points;
    const { labels = [], predicted = [], confidences = [] } = this.map ?? {};
    const legend = [{ name: by === "label" ? "no label" : "no prediction", colour: quiet, quiet: true }];
    const bins = uncertainty.length;
    let group = (index) => (predicted[index] ? 1 + Math.min(bins - 1, Math.floor((1 - confidences[index]) * bins)) : 0);
    if (by === "uncertainty") {
      uncertainty.forEach((colour, bin) => {
        legend.push({ name: `${Math.round((100 * bin) / bins)}–${Math.round((100 * (bin + 1)) / bins)}%`, colour });
      });
    } else {
      const given = by === "label" ? labels : predicted;
      const numbers = new Map();
      for (const id of given) if (id) numbers.set(id, (numbers.get(id) ?? 0) + 1);
      const all = this.project?.classes ?? [];
      const plain = all.filter(({ colour }) => !colour); // those that take a colour of the palette
      // As long as there are colours for all, a class keeps its own, however many images it has.
      const ordered = [...plain].sort((a, b) => (numbers.get(b.id) ?? 0) - (numbers.get(a.id) ?? 0));
      const largest = new Set(plain.length > classes.length ? ordered.slice(0, classes.length) : plain);
      const named = all.filter((each) => each.colour || largest.has(each)); // in the order of the classes
      const places = new Map(named.map(({ id }, place) => [id, place + 1]));
      let free = 0;
      for (const { name, colour } of named) {
        if (colour) legend.push({ name, colour });
        else legend.push({ name, colour: classes[free], shape: Math.floor(free++ / this.data.first) });
      }
      if (all.length > named.length) legend.push({ name: `${all.length - named.length} more ${all.length - named.length === 1 ? "class" : "classes"}`, colour: quiet });
      group = (index) => (given[index] ? (places.get(given[index]) ?? legend.length - 1) : 0);
    }
    for (const each of legend) each.number = 0;
    for (let index = 0; index < colours.length; index++) legend[(colours[index] = group(index))].number++;
    return legend;
  }

  drawLegend() {
    const shown = JSON.stringify(this.legend);
    if (shown === this.drawnLegend) return; // whoever has the focus on one keeps it
    this.drawnLegend = shown;
    this.part(".legend").replaceChildren(
      ...this.legend.flatMap(({ name, colour, number, shape }, index) => {
        if (!number) return [];
        const [item, button, mark] = [element("li"), element("button"), element("i")];
        button.type = "button";
        button.dataset.colour = index;
        button.dataset.testid = "colour-of";
        button.setAttribute("aria-label", `Choose ${name}, ${count(number, "image")}`);
        mark.style.setProperty("--colour", colour);
        mark.className = SHAPES[shape ?? 0];
        button.append(mark, name, element("span", number.toLocaleString("en")));
        item.append(button);
        return item;
      }),
    );
    setText(this.part(".legend-box summary"), `Colours (${this.part(".legend").childElementCount})`);
  }

  /** Point at a colour, with the mouse or with Tab: all other points step back. */
  light(target) {
    const button = target?.closest?.("button[data-colour]");
    const lit = button ? Number(button.dataset.colour) : null;
    if (lit === this.lit) return;
    this.lit = lit;
    this.draw();
  }

  drawLayout() {
    const { layout = "pca", layouts = ["pca"], computing, problem } = this.map ?? {};
    this.layout.parentElement.hidden = layouts.length < 2;
    this.part("[data-testid=umap-hint]").hidden = !this.map || layouts.length > 1;
    const state = this.part(".layout-state");
    const asked = layouts.includes(this.layout.value) && this.layout.value !== layout;
    const flat = asked ? "" : this.whyFlat();
    state.hidden = !asked && !flat;
    const { progress, seconds_left } = this.map ?? {};
    const left = timeLeft(seconds_left) || "a minute or more";
    const why = computing ? `UMAP is being computed: ${left}. It comes by itself.` : problem;
    setText(state.firstElementChild, asked ? `${why} PCA is shown${computing ? " until then" : ""}.` : flat);
    const bar = state.lastElementChild;
    bar.hidden = !asked || !computing;
    if (progress === null || progress === undefined) bar.removeAttribute("value");
    else bar.value = progress;
  }

  /** Why all points lie on one another; "" where they do not. */
  whyFlat() {
    const { x = [], y = [] } = this.map ?? {};
    if (x.length === 1) return "One image makes one point: add others, and the map shows which are alike.";
    if (!x.length || x.some((each, at) => each !== x[0] || y[at] !== y[0])) return "";
    return `These ${count(x.length, "image")} look the same to the trainer, so they lie on one point. Add others.`;
  }

  /** What lies over the points: rings, the cross of the keys, and the outline that is being drawn. */
  show(change) {
    Object.assign(this, change);
    const pen = this.overlay.getContext("2d");
    pen.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    pen.clearRect(0, 0, this.points.width, this.points.height);
    pen.strokeStyle = getComputedStyle(this.root).color;
    pen.lineWidth = 1.5;
    if (this.part("[type=checkbox]").checked) {
      const next = new Set(this.map?.next);
      this.points.ids.forEach((id, index) => next.has(id) && this.ring(pen, index, 3));
    }
    if (this.pointed >= 0) this.ring(pen, this.pointed, 6);
    const outline = this.outline ?? (this.corner && boxOf(this.corner, this.cross));
    pen.beginPath();
    for (const [left, top] of outline ?? []) pen.lineTo(left, top);
    if (outline) pen.closePath();
    if (this.cross) {
      const [left, top] = this.cross;
      for (const [x, y] of [[10, 0], [0, 10]]) {
        pen.moveTo(left - x, top - y);
        pen.lineTo(left + x, top + y);
      }
    }
    pen.stroke();
  }

  ring(pen, index, more) {
    pen.beginPath();
    pen.arc(this.points.left(index), this.points.top(index), this.points.radius + more, 0, 2 * Math.PI);
    pen.stroke();
  }

  drawNotice() {
    const words = this.points.ids.length && !this.problem ? null : this.whyEmpty();
    this.part(".notice").hidden = !words;
    if (!words) return;
    const [title, text, bar] = this.part(".notice").children;
    setText(title, words[0]);
    setText(text, words[1] ?? "");
    const share = lookedShare(this.project);
    bar.hidden = share === undefined && !this.waits();
    if (share !== undefined) bar.value = share;
    else bar.removeAttribute("value"); // it is under way, nobody knows how far
  }

  /** Whether what is missing comes by itself. */
  waits() {
    const { images, scanning, embedding } = this.project ?? {};
    if (embedding?.lacks && !scanning?.running) return false;
    return scanning?.running || (images?.total && (!this.problem || this.problem.status === 409));
  }

  whyEmpty() {
    const { images, scanning, embedding } = this.project ?? {};
    if (this.problem && !(this.problem instanceof Refused))
      return ["The labeler cannot be reached", "This page goes on by itself when it is back."];
    if (images && !images.total && scanning.running) return ["Reading the image folder", "The map comes when images are found."];
    if (images && !images.total)
      return ["No images yet", "Put photos into the project’s image folder: they join by themselves. Or add some on the page Data."];
    if (this.problem?.status === 503) return ["The trainer cannot be reached", this.problem.message];
    if (embedding?.lacks) return ["No map of these images", embedding.lacks];
    if (lookedShare(this.project) !== undefined) {
      const far = `${embedding.done.toLocaleString("en")} of ${count(embedding.total, "image")}`;
      const left = [far, timeLeft(embedding.seconds_left)].filter(Boolean).join(", ");
      return ["The trainer is looking at the images", `${left}. The map comes by itself.`];
    }
    if (this.problem) return ["Not yet", this.problem.message];
    return this.map ? ["No image to show yet", "It comes when the trainer has looked at some."] : ["Laying out the images …"];
  }

  // ------------------------------------------------------------ what the person does

  act(name) {
    if (name === "open") this.open(this.chosenIds().slice(0, this.data.most));
    else if (name === "none") this.points.chosen.clear();
    else if (name === "whole") this.points.whole();
    else this.points.zoom(name === "in" ? 1.5 : 1 / 1.5);
    this.draw();
  }

  turn(mode) {
    this.mode = mode;
    for (const button of this.root.querySelectorAll("[data-mode]")) button.ariaPressed = String(button.dataset.mode === mode);
  }

  chosenIds() {
    return Array.from(this.points.chosen, (index) => this.points.ids[index]);
  }

  choose(outline, adding) {
    this.points.choose(outline, { adding });
    setText(this.part(".message"), `${count(this.points.chosen.size, "image")} chosen.`);
    this.draw();
  }

  chooseColour(colour) {
    this.points.chosen.clear();
    this.points.colours.forEach((each, index) => each === colour && this.points.chosen.add(index));
    setText(this.part(".message"), `${count(this.points.chosen.size, "image")} chosen.`);
    this.draw();
  }

  begin(event) {
    if (event.button) return;
    this.overlay.setPointerCapture(event.pointerId);
    this.tell(-1);
    this.show({ outline: [[event.offsetX, event.offsetY]], cross: null, corner: null });
  }

  drag({ offsetX, offsetY, movementX, movementY }) {
    if (this.mode === "move") {
      this.points.move(movementX, movementY);
      this.soon ??= requestAnimationFrame(() => ((this.soon = null), this.draw()));
      return;
    }
    const place = [offsetX, offsetY];
    this.show({ outline: this.mode === "box" ? boxOf(this.outline[0], place) : [...this.outline, place] });
  }

  end(event) {
    const { outline } = this;
    this.show({ outline: null });
    if (event && outline && this.mode !== "move" && outline.length > 2) this.choose(outline, event.shiftKey);
  }

  wheel(event) {
    event.preventDefault();
    this.points.zoom(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
    this.soon ??= requestAnimationFrame(() => ((this.soon = null), this.draw()));
  }

  hover(left, top, reach = REACH) {
    clearTimeout(this.resting);
    const index = this.points.nearest(left, top, reach);
    if (index !== this.pointed) this.resting = setTimeout(() => this.tell(index), HOVER_MS);
  }

  key(event) {
    const target = event.composedPath()[0];
    if (event.ctrlKey || event.metaKey || event.altKey || keepsKey(target, event.key)) return;
    const here = event.composedPath().includes(this.root);
    if (!here && target !== document.body) return; // another part of the page has the focus
    const by = event.shiftKey ? 4 * STEP : STEP;
    const arrows = { ArrowLeft: [-by, 0], ArrowRight: [by, 0], ArrowUp: [0, -by], ArrowDown: [0, by] };
    const acts = { "+": "in", "-": "out", 0: "whole", Escape: "none", Enter: "open" };
    const key = event.key in acts ? event.key : digitOf(event);
    if (event.key in arrows) this.step(arrows[event.key]);
    else if (event.key === " ") this.corners();
    else if (event.key === "Enter" && !this.points.chosen.size) setText(this.part(".message"), "Choose images first: draw around them, or press Space at two corners.");
    else if (key in acts) {
      this.corner = null;
      this.act(acts[key]);
    } else return;
    event.preventDefault();
    event.stopPropagation();
    if (target !== this.overlay) this.overlay.focus({ preventScroll: true }); // where the cross is
  }

  step([right, down]) {
    const [left, top] = this.cross ?? [this.points.width / 2, this.points.height / 2];
    const inside = (value, most) => Math.max(0, Math.min(most, value));
    this.show({ cross: [inside(left + right, this.points.width), inside(top + down, this.points.height)] });
    this.hover(...this.cross, 2 * STEP);
  }

  /** Space: begin a box at the cross, or end it there. */
  corners() {
    const cross = this.cross ?? [this.points.width / 2, this.points.height / 2];
    const { corner } = this;
    this.show({ cross, corner: corner ? null : cross });
    if (corner) this.choose(boxOf(corner, cross), false);
    else setText(this.part(".message"), "A box begins here: move with the arrows and press Space again.");
  }

  /** Show which image a point is. */
  async tell(index) {
    clearTimeout(this.resting);
    this.show({ pointed: index });
    const tip = this.part(".tip");
    tip.hidden = true;
    if (index < 0) return;
    const id = this.points.ids[index];
    try {
      if (!this.tiles.has(id)) {
        const { images } = await ask(`/api/grid/images?ids=${id}`);
        this.tiles.set(id, images[0]);
        if (this.tiles.size > 500) this.tiles.delete(this.tiles.keys().next().value);
      }
    } catch {
      return; // the connection is lost: the next move asks again
    }
    const tile = this.tiles.get(id);
    if (this.pointed !== index || this.points.ids[index] !== id || !tile) return;
    const [picture, words] = tip.children;
    picture.src = `${tile.url}&size=160`;
    setText(words, `${tile.name}\n${this.legend[this.points.colours[index]].name}`);
    tip.hidden = false;
    const [left, top] = [this.points.left(index), this.points.top(index)];
    tip.style.left = `${left + 12 + tip.offsetWidth > this.points.width ? left - 12 - tip.offsetWidth : left + 12}px`;
    tip.style.top = `${Math.max(4, Math.min(this.points.height - tip.offsetHeight - 4, top - tip.offsetHeight / 2))}px`;
    if (this.cross) setText(this.part(".message"), `${tile.name}, ${this.legend[this.points.colours[index]].name}`);
  }
}

function boxOf([left, top], [right, bottom]) {
  return [
    [left, top],
    [right, top],
    [right, bottom],
    [left, bottom],
  ];
}
