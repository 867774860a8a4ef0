// Photos and label files on their way to the labeler. It hangs on the window, so that somebody may look at another page
// meanwhile; requests are bounded, and one that fails is sent again, because a photo that is there already is only
// counted as such.

const UPLOADS = Symbol.for("flywheel.uploads");
const REQUEST_BYTES = 4 << 20; // of photos in one request; a larger one goes alone
const REQUEST_FILES = 20;
const MOST_LABEL_FILES = 20;
const MOST_LISTED = 500;
const TRIES = [500, 2000, 5000]; // milliseconds before each next try
const LOOK_MS = 500;
const SEND_MS = 600_000; // one request, over a slow line
const LABELS = /\.(csv|tsv|jsonl|ndjson|parquet|json|xml)$/i;

function uploads() {
  return (globalThis[UPLOADS] ??= new Uploads());
}

class Uploads {
  constructor() {
    this.listeners = new Set();
    this.files = []; // label files as the labeler tells of them
    this.reset();
    this.poll();
    addEventListener("beforeunload", (event) => this.running && event.preventDefault());
  }

  reset() {
    Object.assign(this, { photos: [], labels: [], bytes: 0, sent: 0, count: 0, done: 0, added: 0 });
    Object.assign(this, { duplicates: [], rejected: [], folders: new Map(), began: null, problem: null, running: false });
  }

  subscribe(listener) {
    this.listeners.add(listener);
    listener(this);
    return () => this.listeners.delete(listener);
  }

  tell() {
    for (const listener of this.listeners) listener(this);
  }

  /** Take [{ file, name }] in; `limits` are the labeler's. What may be a photo is sent: it looks into the file. */
  add(given, limits) {
    if (!this.running && !this.problem) this.reset();
    for (const { file, name } of given) {
      const last = name.split("/").pop();
      const noPhoto = last.startsWith(".") || limits.noImages.has(/\.[^.]*$/.exec(last)?.[0].toLowerCase());
      const noLabels = last.startsWith(".") || !LABELS.test(name);
      if (noPhoto && noLabels) this.reject(name, "is neither a photo nor a label file");
      else if (noLabels && file.size > limits.image) this.reject(name, "is larger than max_image_bytes allows");
      else if (noLabels) {
        this.photos.push({ file, name });
        this.bytes += file.size;
        this.count += 1;
      } else if (this.labels.length >= MOST_LABEL_FILES) this.reject(name, `is one more than ${MOST_LABEL_FILES} label files at once`);
      else if (file.size > limits.request) this.reject(name, "is larger than max_request_bytes allows: use flywheel import");
      else this.labels.push({ file, name });
    }
    this.run();
  }

  reject(uri, reason) {
    this.rejected.push({ uri, reason });
  }

  async run() {
    if (this.running) return this.tell();
    const turn = (this.turn = {});
    Object.assign(this, { running: true, problem: null });
    this.began ??= performance.now();
    this.tell();
    try {
      while (this.photos.length && turn === this.turn) await this.sendPhotos(turn);
      while (this.labels.length && turn === this.turn) await this.sendLabels();
    } catch (error) {
      const lost = "The labeler cannot be reached, or a file cannot be read any more.";
      if (turn === this.turn) this.problem = error instanceof Refused ? error.message : lost;
    }
    if (turn !== this.turn) return;
    this.running = false;
    this.tell();
  }

  cancel() {
    this.turn = null;
    this.controller?.abort();
    Object.assign(this, { running: false, problem: null, photos: [], labels: [] });
    this.tell();
  }

  async sendPhotos(turn) {
    const batch = [];
    let bytes = 0;
    for (const each of this.photos) {
      if (batch.length && (batch.length === REQUEST_FILES || bytes + each.file.size > REQUEST_BYTES)) break;
      batch.push(each);
      bytes += each.file.size;
    }
    const receipt = await this.post("/api/images", "images", batch);
    if (turn !== this.turn) return;
    this.photos.splice(0, batch.length);
    this.sent += bytes;
    this.done += batch.length;
    if (receipt) {
      this.added += receipt.added;
      this.duplicates.push(...receipt.duplicate_uris);
      this.rejected.push(...receipt.rejected);
      for (const { name } of batch) this.note(name);
    }
    this.tell();
  }

  /** Folders with photos, which may be classes: the folder that was given → those in it. */
  note(name) {
    const folders = name.split("/").slice(0, -1);
    const [top, inner] = folders.length > 1 ? folders : ["", folders[0]];
    if (inner) this.folders.set(top, (this.folders.get(top) ?? new Set()).add(inner));
  }

  async sendLabels() {
    const [each] = this.labels;
    await this.post("/api/label-files", "file", [each]);
    this.labels.shift();
    await this.poll();
  }

  async post(address, field, batch) {
    for (let tries = 0; ; tries++) {
      const form = new FormData();
      for (const { file, name } of batch) form.append(field, file, name);
      this.controller = new AbortController();
      try {
        return await ask(address, { body: form, signal: this.controller.signal, patience: SEND_MS });
      } catch (error) {
        if (error instanceof Refused && error.status < 500) return void batch.forEach(({ name }) => this.reject(name, error.message));
        if (error.name === "AbortError" || tries === TRIES.length) throw error;
      }
      await pause(TRIES[tries]);
    }
  }

  /** Seconds until all photos are there; null while that is not known. */
  get left() {
    const seconds = (performance.now() - this.began) / 1000;
    return this.sent && seconds > 1 ? (seconds / this.sent) * (this.bytes - this.sent) : null;
  }

  // ------------------------------------------------------------ label files

  /** What the labeler says of label files, again and again while it works on one. */
  async poll() {
    clearTimeout(this.polling);
    try {
      this.files = (await ask("/api/label-files")).files;
    } catch {
      this.polling = setTimeout(() => this.poll(), 4 * LOOK_MS);
      return;
    }
    if (this.files.some(({ state }) => ["waiting", "looking", "importing"].includes(state)))
      this.polling = setTimeout(() => this.poll(), LOOK_MS);
    this.tell();
  }

  async order(address, options) {
    try {
      await ask(address, options);
      this.refused = null;
    } catch (error) {
      this.refused = error.message;
    }
    await this.poll();
  }

  import(id, addClasses, conflicts) {
    return this.order(`/api/label-files/${id}/import`, { body: { add_classes: addClasses, conflicts } });
  }

  lookAgain(id, columns) {
    return this.order(`/api/label-files/${id}/columns`, { body: { columns } });
  }

  drop(id) {
    return this.order(`/api/label-files/${id}`, { method: "DELETE" });
  }

  takeFolders(folder) {
    return this.order("/api/label-files", { body: { folder } });
  }
}
