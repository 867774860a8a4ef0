// The images to ask about: the one on screen, and those decoded behind it. A new order at the labeler replaces what lies
// behind, but for the next one or two, and never the one on screen. The images replaced stay usable until the new ones
// are decoded, so that a fast hand never waits for the network.

const KEPT = 2; // of the images read ahead, those that a new order leaves in place
const ASK_BELOW = 3 / 4; // of the images read ahead: when fewer are left, the queue is asked again
const RENEW_UNTOUCHED_MS = 5000; // between orders taken over while nobody is at the page
const BROKEN_RETRY_MS = 1000;
const HEAD_START_MS = 300; // at most, of the first image of a page before those behind it

class Questions {
  /** `changed()` whenever a question has come, is decoded, or there are none. */
  constructor(outbox, readAhead) {
    this.outbox = outbox;
    this.readAhead = readAhead;
    this.current = null;
    this.next = [];
    this.stale = []; // replaced by a newer order, still decoded
    this.returning = null; // given back by an undo, not decoded yet
    this.remaining = null; // images that nobody has finished, as of the last answer of the queue
    this.version = 0; // of the order that `next` follows
    this.asked = 0;
    this.askedAt = 0;
    this.done = new Map(); // image id → number of the last request that may still name it although it is answered
    this.annotator = "me";
    this.changed = () => {};
  }

  /** Answered: show the next one. */
  advance() {
    this.current = null;
    this.fill();
    if (this.next.length <= this.readAhead * ASK_BELOW) this.ask();
  }

  /** Put `item` on screen before all others: an undo gave it back, or it is to be corrected, `given` being its answer in
   *  the strip, or was `opened` by its address. What was there comes next. */
  async putFirst(item, given, opened) {
    if (!given) this.done.delete(item.image_id);
    const question = (this.returning = this.question(item));
    Object.assign(question, { given, opened });
    await question.decoded;
    if (this.returning !== question) return; // another one was asked for meanwhile
    this.next = [this.current, ...this.next].filter(
      (other) => other && !other.given && !other.opened && other.item.image_id !== item.image_id,
    );
    this.stale = [];
    this.current = question;
    this.returning = null;
    this.changed();
  }

  /** Whether news of the project may bring an image: none is shown, and none is on its way. */
  get empty() {
    return !this.current && !this.next.length && (this.remaining !== null || this.failed);
  }

  /** These answers are in the log: requests sent from now on will not name their images. */
  confirmed(imageIds) {
    for (const id of imageIds) this.done.set(id, this.asked);
  }

  /** There may be a newer order. While nobody is at the page it is not followed at once: whoever works elsewhere has
   *  the first of it, and the images that this page would fetch for nothing cost them time. */
  renew(version) {
    const due = live().touched || performance.now() - this.askedAt >= RENEW_UNTOUCHED_MS;
    if (version > this.version && due) this.ask(KEPT);
  }

  /** Ask the queue; renews the leases of what is held, and frees the rest. `kept`: how many of `next` stay. */
  async ask(kept = this.next.length) {
    if (this.asking) {
      this.again = Math.min(kept, this.again ?? kept);
      return;
    }
    this.asking = true;
    this.askedAt = performance.now();
    const number = ++this.asked;
    const held = [this.current, this.returning, ...this.next.slice(0, kept)].filter(Boolean);
    const waiting = this.outbox.items.map((item) => item.image_id);
    const keep = [...new Set([...held.map((question) => question.item.image_id), ...waiting])];
    const query = new URLSearchParams({
      annotator: this.annotator,
      session: this.outbox.session,
      limit: this.readAhead + 1 + waiting.length,
      keep: keep.join(","),
    });
    try {
      const response = await fetch(`/api/queue?${query}`, { signal: AbortSignal.timeout(10000) });
      if (!response.ok) throw new Error(String(response.status));
      this.take(await response.json(), number, new Set(held));
      this.failed = false;
    } catch {
      this.failed = true; // the card asks again
    }
    this.asking = false;
    this.fill();
    if (this.again !== undefined) {
      const again = this.again;
      this.again = undefined;
      this.ask(again);
    }
  }

  take(page, number, held) {
    this.remaining = page.remaining;
    this.version = page.query_version;
    for (const [id, last] of this.done) if (last < number) this.done.delete(id);
    const answered = new Set([...this.done.keys(), ...this.outbox.items.map((item) => item.image_id)]);
    for (const shown of [this.current, this.returning]) if (shown) answered.add(shown.item.image_id);
    const known = new Map([...this.next, ...this.stale].map((question) => [question.item.image_id, question]));
    const fresh = page.items.filter((item) => !answered.has(item.image_id));
    const given = new Set(fresh.map((item) => item.image_id));
    const stay = this.next.filter((question) => held.has(question) && given.has(question.item.image_id));
    // An image that is decoded already says what the new order says of it: another reason, another suggestion.
    for (const item of fresh) if (known.has(item.image_id)) known.get(item.image_id).item = item;
    const staying = new Set(stay.map((question) => question.item.image_id));
    let turn; // with nothing on screen the first image goes alone, so that the labeler does not make all at once
    const come = fresh
      .filter((item) => !staying.has(item.image_id))
      .map((item) => {
        const question = known.get(item.image_id) ?? this.question(item, turn);
        if (!this.current) turn ??= Promise.race([question.decoded, pause(HEAD_START_MS)]);
        return question;
      });
    const replaced = [...this.next, ...this.stale].filter((question) => !given.has(question.item.image_id));
    this.next = [...stay, ...come].slice(0, this.readAhead);
    const ready = this.next.some((question) => question.ready);
    this.stale = ready ? [] : replaced.filter((question) => question.ready && !answered.has(question.item.image_id));
  }

  /** Put the first decoded question on screen, if there is none. */
  fill() {
    if (!this.current) {
      const index = this.next.findIndex((question) => question.ready);
      if (index >= 0) [this.current] = this.next.splice(index, 1);
      else this.current = this.stale.shift() ?? null;
    }
    this.changed();
  }

  /** An item with its image, which is fetched after `turn`. */
  question(item, turn) {
    const question = { item, image: new Image(), ready: false, broken: false };
    question.image.alt = `Image ${item.image_id}, to be labeled`;
    question.image.draggable = false;
    question.image.decoding = "sync";
    question.decoded = Promise.resolve(turn).then(() => this.decode(question));
    return question;
  }

  async decode(question) {
    const { image, item } = question;
    while (!question.ready) {
      image.src = item.url;
      try {
        await image.decode();
        question.ready = true;
      } catch {
        // Only the labeler's own word makes an image broken; while it cannot be reached, the image is tried again.
        const response = await fetch(item.url).catch(() => null);
        question.broken = question.ready = Boolean(response && response.status < 500);
        if (!question.ready) await pause(BROKEN_RETRY_MS);
        if (![this.current, this.returning, ...this.next].includes(question)) return;
      }
    }
    this.fill();
  }
}
