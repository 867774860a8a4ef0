// The doubts to judge: the one on screen, and those decoded behind it. A verdict changes the order of what lies behind,
// but for the next few, and never the one on screen.

const AHEAD = 12;
const LEFT_IN_PLACE = 2; // of those behind the one on screen, when a new order comes
const ASK_SOON_MS = 200; // after a verdict is on disk: several that come quickly are one question
const ASK_AGAIN_MS = 3000; // while there is nothing to show

class Doubts {
  /** `changed()` whenever a doubt has come, or what is known of all of them. */
  constructor() {
    this.current = null;
    this.next = [];
    this.page = null; // the labeler's last answer
    this.problem = null; // why there is none: { status, message }, without status where it cannot be reached
    this.asked = 0;
    this.done = new Map(); // image id → number of the last request that may still name it although it is judged
    this.changed = () => {};
  }

  close() {
    this.closed = true;
    clearTimeout(this.waiting);
    this.asking?.abort();
  }

  /** Judged: show the next one. */
  advance() {
    if (this.current) this.done.set(this.current.image_id, Infinity);
    this.current = null;
    this.fill();
  }

  /** These verdicts are on disk: requests sent from now on name their images only for a new reason. */
  confirmed(imageIds) {
    for (const id of imageIds) this.done.set(id, this.asked);
    this.askSoon();
  }

  /** Bring one back; what was on screen comes next. */
  putFirst(doubt) {
    this.done.delete(doubt.image_id);
    this.next = [this.current, ...this.next].filter((each) => each && each.image_id !== doubt.image_id);
    this.current = doubt;
    this.changed();
  }

  askSoon(wait = ASK_SOON_MS) {
    clearTimeout(this.waiting);
    if (!this.closed) this.waiting = setTimeout(() => this.ask(), wait);
  }

  async ask() {
    this.asking?.abort();
    const asking = (this.asking = new AbortController());
    const number = ++this.asked;
    try {
      const signal = AbortSignal.any([asking.signal, AbortSignal.timeout(25000)]);
      const response = await fetch(`/api/review?limit=${2 * AHEAD}`, { signal });
      const answer = await response.json();
      if (this.closed) return;
      this.problem = response.ok ? null : { status: response.status, message: wordsOf(answer) };
      if (response.ok) this.take(answer, number);
    } catch (error) {
      if (this.closed || asking.signal.aborted) return; // a newer question is on its way
      this.problem = { message: "connection lost" };
    }
    this.fill();
    if (!this.current || this.page?.renewing) this.askSoon(ASK_AGAIN_MS);
  }

  take(page, number) {
    this.page = page;
    const held = [this.current, ...this.next.slice(0, LEFT_IN_PLACE)].filter(Boolean);
    const known = new Map([this.current, ...this.next].filter(Boolean).map((each) => [each.image_id, each]));
    const wanted = page.items.filter(
      ({ image_id }) => !(this.done.get(image_id) >= number) && !held.some((each) => each.image_id === image_id),
    );
    const behind = wanted.slice(0, AHEAD).map((item) => this.decoded(item, known.get(item.image_id)?.image, page.as_of));
    this.next = [...held.filter((each) => each !== this.current), ...behind];
  }

  /** The doubt with its image on the way; `broken` when it cannot be shown. */
  decoded(item, image, asOf) {
    const doubt = { ...item, item, as_of: asOf, image: image ?? new Image() };
    if (!image) doubt.image.src = item.url;
    for (const { url } of item.evidence) new Image().src = url;
    doubt.image.decode().catch(() => {
      doubt.broken = true;
      if (doubt === this.current) this.changed();
    });
    return doubt;
  }

  fill() {
    this.current ??= this.next.shift() ?? null;
    if (!this.current && !this.problem) this.askSoon();
    this.changed();
  }
}
