// What changes at the labeler, heard once a tab. Card and bar are two modules on one page: the connection hangs on the
// window under a registered symbol so that they share it, and the last subscriber closes it. Every message is laid over
// the project as last read; while the socket is down, the project is asked for instead.

const LIVE = Symbol.for("flywheel.live");
const POLL_MS = 3000;
const NEWS_MS = 50; // news is passed on at most this often: at typing speed every answer brings some
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
    this.telling ??= setTimeout(() => {
      this.telling = null;
      for (const listener of this.listeners) listener(this.project, this.connected);
    }, NEWS_MS);
  }

  open() {
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
