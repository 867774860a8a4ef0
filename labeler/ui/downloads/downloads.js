// How far the files are that somebody takes away. Links stand beside it on the page, and the browser downloads what they
// lead to; a model file is asked to be made first, so that a refusal is words on this page and nobody waits before an
// empty one.

const DOWNLOADS = Symbol("downloads");
const WATCH_MS = 700;
const BEGINS_MS = 6000; // after a press: until its file is told of
const MAKE_MS = 720_000;
const BYTES = new Intl.NumberFormat("en", { maximumFractionDigits: 1, minimumFractionDigits: 1 });

export default function ({ parentElement }) {
  const downloads = (parentElement[DOWNLOADS] ??= new Downloads(parentElement));
  return () => {
    downloads.close();
    delete parentElement[DOWNLOADS];
  };
}

class Downloads {
  constructor(root) {
    this.list = root.querySelector(".downloads");
    this.refusals = [];
    this.stopListening = new AbortController();
    document.addEventListener("click", (event) => this.press(event), { capture: true, signal: this.stopListening.signal });
    this.watch();
  }

  close() {
    clearTimeout(this.timer);
    this.stopListening.abort();
  }

  press(event) {
    const link = event.target.closest?.("a[href]");
    if (!link || link.hasAttribute("download")) return; // our own
    const address = link.getAttribute("href");
    if (!address.startsWith("/api/export") && !address.startsWith("/api/models/")) return;
    event.preventDefault();
    this.until = performance.now() + BEGINS_MS;
    if (address.startsWith("/api/models/")) this.make(address);
    else this.fetch(address);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.watch(), WATCH_MS / 2);
  }

  fetch(address) {
    const link = element("a");
    Object.assign(link, { href: address, download: "" });
    document.body.append(link);
    link.click();
    link.remove();
  }

  async make(address) {
    this.refusals = [];
    try {
      await ask(address, { method: "POST", patience: MAKE_MS });
      this.until = performance.now() + BEGINS_MS;
      this.fetch(address);
    } catch (error) {
      this.refusals.push(error.message);
    }
    this.watch();
  }

  async watch() {
    clearTimeout(this.timer);
    let files = this.files ?? [];
    try {
      files = this.files = (await ask("/api/downloads")).downloads;
    } catch {
      // what is shown stays; the next look tells
    }
    const busy = files.some(({ state }) => state === "making" || state === "writing");
    if (busy || performance.now() < (this.until ?? 0)) this.timer = setTimeout(() => this.watch(), WATCH_MS);
    this.draw(files);
  }

  draw(files) {
    const shown = JSON.stringify([files, this.refusals]);
    if (shown === this.shown) return;
    this.shown = shown;
    const made = ({ state, unit, done }) => state === "done" && unit === "byte" && !done; // its download is told next
    const told = files.filter((file) => !made(file) && !this.refusals.includes(file.error));
    this.list.replaceChildren(...this.refusals.map((words) => this.line(words, "alert")), ...told.map((file) => this.file(file)));
  }

  line(words, role) {
    const item = element("li");
    const text = element("span", words);
    if (role) text.setAttribute("role", role);
    item.append(text);
    return item;
  }

  file({ name, state, unit, done, total, seconds, seconds_left, error }) {
    if (state === "failed") return this.line(`${name}: ${error}`);
    const amount = (number) => (unit === "image" ? count(number, "image") : `${BYTES.format(number / 1e6)} MB`);
    if (state === "done") return this.line(`${name}: written, ${amount(done)}.`, "status");
    const far = total ? `${unit === "image" ? done.toLocaleString("en") : BYTES.format(done / 1e6)} of ${amount(total)}` : amount(done);
    const making = `being made for ${Math.round(seconds)} s; a large network takes minutes`;
    const words = state === "making" ? making : [far, timeLeft(seconds_left)].filter(Boolean).join(", ");
    const item = this.line(`${name}: ${words}`);
    const bar = element("progress");
    bar.setAttribute("aria-label", name);
    if (total) Object.assign(bar, { max: 1, value: Math.min(1, done / total) });
    item.prepend(bar);
    return item;
  }
}
