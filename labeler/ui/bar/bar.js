// The bar on every page: what both services are doing, in words, from the same connection as the card's. Its buttons are
// triggers, so that Python asks the trainer and the page can follow.

const BAR = Symbol("bar");

export default function ({ parentElement, data, setTriggerValue }) {
  const bar = (parentElement[BAR] ??= new Bar(parentElement));
  bar.words = data.words;
  bar.press = (name) => setTriggerValue("pressed", name);
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
    this.size = new ResizeObserver(() => document.dispatchEvent(new CustomEvent("flywheel:bar")));
    this.size.observe(root.querySelector(".bar"));
    this.unsubscribe = live().subscribe((project, connected) => {
      this.project = project;
      this.connected = connected;
      this.draw();
    });
  }

  close() {
    this.size.disconnect();
    this.unsubscribe();
  }

  part(name) {
    return this.root.querySelector(`[data-testid=${name}]`);
  }

  draw() {
    if (!this.project || !this.words) return;
    const { trainer, outbox, scanning } = this.project;
    const embedding = this.project.embedding ?? trainer.detail?.embedding;
    const error = trainer.last_error ?? outbox.last_error ?? scanning.error;
    this.drawState(this.connected ? trainer.state : "lost", Boolean(error));
    const waiting = trainer.lag.toLocaleString("en"); // in the outbox or on the way: for a person that is the same
    write(this.part("lag"), trainer.lag ? `${waiting} waiting for the trainer` : "The trainer is up to date");
    this.drawWork("embedding", embedding && embedding.done < embedding.total && embedding, "looking at images");
    this.drawWork("scan", scanning.running && scanning, "reading the folder");
    this.drawNote(this.part("error"), error && `${error} ${this.advice(trainer.state)}`);
    this.banner = embedding?.banner;
    this.drawNote(this.part("banner"), this.banner !== this.closed && this.banner);
  }

  /** With an error, what to do stands behind it and not here. */
  drawState(state, hasError) {
    const [name, what] = this.words[state] ?? [state, ""];
    const line = this.part("trainer-state");
    line.dataset.state = state;
    write(line.querySelector("strong"), name);
    write(line.querySelector("span"), hasError ? "" : what);
    const idle = ["paused", "stopped", "failed"].includes(state);
    const away = ["absent", "lost"].includes(state);
    this.part("pause").hidden = idle || away || state === "stopping";
    this.part("resume").hidden = !idle;
    this.part("stop").hidden = away || ["stopping", "stopped"].includes(state);
  }

  advice(state) {
    const what = this.words[state]?.[1];
    return what && ["absent", "failed"].includes(state) ? `${what[0].toUpperCase()}${what.slice(1)}.` : "";
  }

  drawWork(name, work, doing) {
    const part = this.part(name);
    part.hidden = !work;
    if (!work) return;
    const [bar, text] = part.children;
    if (work.total) bar.value = work.done / work.total;
    else bar.removeAttribute("value");
    const left = work.seconds_left ? `, ${duration(work.seconds_left)} left` : "";
    const of = work.total ? ` of ${work.total.toLocaleString("en")}` : "";
    write(text, `${doing}: ${work.done.toLocaleString("en")}${of}${left}`);
  }

  drawNote(part, words) {
    part.hidden = !words;
    write(part.querySelector("p") ?? part, words || "");
  }
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
