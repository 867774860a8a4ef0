// What changes at the labeler, heard once a tab. Card and bar are two modules on one page: the connection hangs on the
// window under a registered symbol so that they share it, and the last subscriber closes it. Every message is laid over
// the project as last read; while the socket is down, the project is asked for instead. A page that nobody touches is
// told less often, so that many open ones take nothing from the one where someone works.

const LIVE = Symbol.for("flywheel.live");
const POLL_MS = 3000;
const NEWS_MS = 50; // news is passed on at most this often: at typing speed every answer brings some
const NEWS_UNTOUCHED_MS = 1000;
const TOUCHED_MS = 5000; // how long after the last key or movement someone is thought to be at the page
const TOUCHES = ["keydown", "pointerdown", "pointermove", "wheel", "focus"];
const RETRY_MS = 250;
const RETRY_MOST_MS = 5000;

function live() {
  return (globalThis[LIVE] ??= new Live());
}

class Live {
  constructor() {
    this.project = null; // as of GET /api/project, with later events laid over it
    this.connected = false;
    this.listeners = new Set();
    this.failures = 0;
    this.reading = null;
    this.touchedAt = performance.now();
  }

  /** Whether someone is at this page: an open page that nobody touches, or that another covers, is only kept up. */
  get touched() {
    return !document.hidden && performance.now() - this.touchedAt < TOUCHED_MS;
  }

  /** Someone is here, perhaps again: then what was put off is told. */
  touch() {
    const away = !this.touched;
    this.touchedAt = performance.now();
    if (!away || !this.project) return;
    clearTimeout(this.telling);
    this.telling = null;
    this.notify();
  }

  /** Call `listener(project, connected)` now, if anything is known, and at every change; returns how to stop it. */
  subscribe(listener) {
    this.listeners.add(listener);
    if (this.listeners.size === 1) this.open();
    if (this.project) listener(this.project, this.connected);
    return () => {
      this.listeners.delete(listener);
      if (this.listeners.size === 0) this.close();
    };
  }

  /** Read the project afresh; calls while one is under way share its answer. */
  refresh() {
    this.reading ??= this.read().finally(() => (this.reading = null));
    return this.reading;
  }

  async read() {
    try {
      const response = await fetch("/api/project", { signal: AbortSignal.timeout(10000) });
      if (response.ok) this.merge(await response.json());
    } catch {
      this.notify(); // unreachable: the next poll, or the socket, tries again
    }
  }

  merge(news) {
    this.project = { ...this.project, ...news };
    this.notify();
  }

  notify() {
    const wait = this.touched ? NEWS_MS : NEWS_UNTOUCHED_MS;
    this.telling ??= setTimeout(() => {
      this.telling = null;
      for (const listener of this.listeners) listener(this.project, this.connected);
    }, wait);
  }

  open() {
    this.untouch = new AbortController();
    const options = { capture: true, passive: true, signal: this.untouch.signal };
    for (const name of TOUCHES) addEventListener(name, () => this.touch(), options);
    this.refresh();
    this.poll = setInterval(() => this.connected || this.refresh(), POLL_MS);
    this.connect();
  }

  connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/api/events`);
    this.socket = socket;
    socket.onopen = () => {
      this.connected = true;
      this.failures = 0;
      this.refresh(); // what passed while it was down
    };
    socket.onmessage = (message) => this.merge(JSON.parse(message.data));
    socket.onclose = () => {
      if (this.socket !== socket) return;
      this.connected = false;
      this.notify();
      const wait = Math.min(RETRY_MS * 2 ** this.failures++, RETRY_MOST_MS);
      this.retry = setTimeout(() => this.connect(), wait * (0.5 + Math.random() / 2));
    };
  }

  close() {
    this.untouch.abort();
    clearInterval(this.poll);
    clearTimeout(this.retry);
    const socket = this.socket;
    this.socket = null;
    this.connected = false;
    socket?.close();
  }
}

/** Seconds in words for a person: "12 s", "3 min", "2 h". */
function duration(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

/** "1,797 images", "1 image". */
function count(n, noun) {
  return `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
}
