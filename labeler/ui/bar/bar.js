// The bar on every page: what both services are doing, in words, from the same connection as the card's. Its buttons are
// triggers, so that Python asks the trainer and the page can follow.

const BAR = Symbol("bar");
const ANNOTATOR = "flywheel/annotator"; // in this browser's storage: who is here

export default function ({ parentElement, data, setStateValue, setTriggerValue }) {
  const bar = (parentElement[BAR] ??= new Bar(parentElement));
  bar.words = data.words;
  bar.press = (name) => setTriggerValue("pressed", name);
  bar.asWhom(data, (name) => setStateValue("annotator", name));
  bar.draw();
  return () => {
    bar.close();
    delete parentElement[BAR];
  };
}

class Bar {
  constructor(root) {
    this.root = root;
    for (const button of root.querySelectorAll("[data-press]")) button.onclick = () => this.press(button.dataset.press);
    this.part("banner").querySelector("button").onclick = () => {
      this.closed = this.banner; // for this page view; it comes back with the next
      this.draw();
    };
    this.who = this.part("name");
    this.who.onkeydown = (event) => event.stopPropagation(); // a name is no shortcut of the page
    leaveFields(root);
    this.size = new ResizeObserver(() => document.dispatchEvent(new CustomEvent("flywheel:bar")));
    this.size.observe(root.querySelector(".bar"));
    this.unsubscribe = live().subscribe((project, connected) => {
      if (project?.outbox !== this.project?.outbox) this.heardAt = performance.now();
      this.project = project;
      this.connected = connected;
      this.draw();
    });
    this.clock = setInterval(() => this.project && this.drawLag(), 1000);
    this.stopListening = new AbortController();
    const options = { capture: true, passive: true, signal: this.stopListening.signal };
    // For `page.css`: a browser shows the focus at any key, also where a click left it.
    const byTab = (is) => document.documentElement.classList.toggle("by-tab", is);
    addEventListener("keydown", (event) => event.key === "Tab" && byTab(true), options);
    addEventListener("pointerdown", () => byTab(false), options);
  }

  close() {
    this.stopListening.abort();
    clearInterval(this.clock);
    this.size.disconnect();
    this.unsubscribe();
  }

  part(name) {
    return this.root.querySelector(`[data-testid=${name}]`);
  }

  /** The name is this browser's, shared with the card, which has a field of its own. Python hears of it where a page
   *  needs it, and only when it knows another, because it then draws the page again. */
  asWhom({ annotator, asks }, tell) {
    this.who.parentElement.hidden = !asks;
    if (!asks) return;
    this.name = stored(ANNOTATOR) ?? "me";
    this.who.value = this.name;
    if (this.name !== annotator) tell(this.name);
    this.who.onchange = () => {
      this.name = this.who.value.trim() || "me";
      this.who.value = this.name;
      store(ANNOTATOR, this.name);
      tell(this.name);
      this.draw();
    };
  }

  draw() {
    if (!this.project || !this.words) return;
    const { trainer, outbox, scanning } = this.project;
    const embedding = this.project.embedding ?? trainer.detail?.embedding;
    const disk = diskTrouble(this.project);
    const error = disk ?? trainer.last_error ?? outbox.last_error ?? scanning.error;
    this.drawState(this.connected ? trainer.state : "lost", Boolean(error), Boolean(trainer.disk));
    this.drawStopped(trainer);
    this.drawLag();
    this.drawPace();
    const download = embedding?.download;
    const fetched = download && { done: download.done_bytes, total: download.total_bytes };
    if (download) this.drawWork("embedding", fetched, `fetching ${download.name}`, megabytes);
    else this.drawWork("embedding", embedding && embedding.done < embedding.total && embedding, "looking at images");
    this.drawWork("scan", scanning.running && scanning, "reading the folder");
    this.drawChallenger(this.project.challenger ?? trainer.detail?.challenger);
    this.drawNote(this.part("error"), error && (disk ?? `${error} ${this.advice(trainer.state)}`));
    this.banner = embedding?.banner;
    this.drawNote(this.part("banner"), this.banner !== this.closed && this.banner);
  }

  /** How many answers the trainer has not got yet, and for how long: they are in the outbox or on their way. */
  drawLag() {
    const { pending, oldest_seconds: seconds } = this.project.outbox;
    const waited = seconds === null ? 0 : seconds + (performance.now() - this.heardAt) / 1000;
    const since = waited >= 1 ? ` for ${duration(waited)}` : "";
    const waiting = `${pending.toLocaleString("en")} waiting for the trainer${since}`;
    const away = ["absent", "taken"].includes(this.project.trainer.state);
    setText(this.part("lag"), pending ? waiting : away ? "Nothing waits for the trainer" : "The trainer is up to date");
  }

  /** With several people at work, how fast you and all are; one alone sees that on the card. */
  drawPace() {
    const people = this.project.people ?? [];
    const mine = people.find(({ name }) => name === (stored(ANNOTATOR) ?? "me"));
    const all = Math.round(this.project.labels_per_minute);
    this.part("pace").hidden = people.length < 2;
    setText(this.part("pace"), `Labels a minute: you ${Math.round(mine?.per_minute ?? 0)}, all ${people.length} people ${all}`);
  }

  /** With an error, what to do stands behind it and not here. */
  drawState(state, hasError, cannotSave) {
    const [name, what] = this.words[state] ?? [state, ""];
    const line = this.part("trainer-state");
    line.dataset.state = state;
    setText(line.querySelector("strong"), cannotSave && state === "failed" ? "Cannot save" : name);
    setText(line.querySelector("span"), hasError ? "" : what);
    const idle = ["paused", "stopped", "failed"].includes(state);
    const away = ["absent", "taken", "lost"].includes(state);
    this.part("pause").hidden = idle || away || state === "stopping";
    this.part("resume").hidden = !idle || (cannotSave && state === "failed"); // it continues by itself
    this.part("stop").hidden = away || ["stopping", "stopped"].includes(state);
  }

  /** Why it stopped, and what labeling on means, on whichever page someone goes on working. */
  drawStopped({ state, stop_reason: why }) {
    const part = this.part("stopped");
    part.hidden = state !== "stopped" || !this.connected;
    if (part.hidden) return;
    const reason = why ? `${capital(why)}: the` : "The";
    setText(part.firstElementChild, `${reason} model no longer learns. Labels that you give now are kept, and learned when you press Resume. `);
  }

  advice(state) {
    const what = this.words[state]?.[1];
    return what && ["absent", "failed"].includes(state) ? `${what[0].toUpperCase()}${what.slice(1)}.` : "";
  }

  drawWork(name, work, doing, say = (number) => number.toLocaleString("en")) {
    const part = this.part(name);
    part.hidden = !work;
    if (!work) return;
    const [bar, text] = part.children;
    if (work.total) bar.value = work.done / work.total;
    else bar.removeAttribute("value");
    const left = work.seconds_left ? `, ${timeLeft(work.seconds_left)}` : "";
    const of = work.total ? ` of ${say(work.total)}` : "";
    setText(text, `${doing}: ${say(work.done)}${of}${left}`);
  }

  /** The page Models says the rest. Whoever questions come from once it took over is named there, too. */
  drawChallenger(view) {
    const atWork = ["training", "embedding", "halted"].includes(view?.state);
    const part = this.part("challenger");
    part.hidden = !atWork && !view?.serving;
    if (part.hidden) return;
    const [bar, text] = part.children;
    bar.hidden = !atWork || !view.total;
    if (!bar.hidden) bar.value = view.done / view.total;
    const doing = {
      training: `round ${view.round} of the challenger`,
      embedding: "the challenger takes over",
      halted: `round ${view.round} of the challenger waits`,
    };
    const far = bar.hidden ? "" : `: ${percent(bar.value)}`;
    setText(text, atWork ? `${doing[view.state]}${far}` : "The challenger took over");
  }

  drawNote(part, words) {
    part.hidden = !words;
    setText(part.querySelector("p") ?? part, words || "");
  }
}

/** What keeps either service from writing, in words; once where both are kept by the same. */
function diskTrouble({ disk: ours, trainer: { disk: theirs } }) {
  const same = ours && theirs && ours.kind === theirs.kind && ours.folder === theirs.folder;
  const told = [ours?.message, !same && theirs && `The trainer: ${theirs.message}`].filter(Boolean);
  return told.length ? told.join(" ") : undefined;
}
