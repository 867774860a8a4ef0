// Uploads of photos and label files. They continue while the person visits other pages. Requests are
// bounded in size. A failed request is retried; a photo that already exists is only counted.

import { ask, isAbort, Refused } from "../lib/api.js";
import { pause } from "../lib/time.js";

/** @typedef {import("./dropped.js").Dropped} Dropped */
/** @typedef {{ image: number, request: number, noImages: Set<string> }} Limits in bytes, and extensions that no photo has */

const REQUEST_BYTES = 4 << 20; // maximum total size of the photos in a request; a larger photo gets its own request
const REQUEST_FILES = 20;
const MOST_LABEL_FILES = 20;
const TRIES = [500, 2000, 5000]; // milliseconds before each retry
const LOOK_MS = 500;
const SEND_MS = 600_000; // timeout of a request, for slow connections
const LABELS = /\.(csv|tsv|jsonl|ndjson|parquet|json|xml|zip)$/i;
const DATASET = /\.(txt|ya?ml|names)$/i; // files that mean nothing without the rest of their dataset

export class Uploads {
  /** @type {Set<(uploads: Uploads) => void>} */
  listeners = new Set();
  /** @type {any[]} label files as the labeler lists them */
  files = [];
  /** @type {string | null} why the last command for a label file was refused */
  refused = null;
  /** @type {Dropped[]} still to be sent */
  photos = [];
  /** @type {Dropped[]} still to be sent */
  labels = [];
  bytes = 0; // of all photos
  sent = 0; // of these
  count = 0; // photos
  done = 0; // of these
  added = 0; // of these: new ones
  /** @type {string[]} */
  duplicates = [];
  /** @type {{ uri: string, reason: string }[]} */
  rejected = [];
  /** @type {Map<string, Set<string>>} a dropped folder → the folders in it */
  folders = new Map();
  /** @type {number | null} */
  began = null;
  /** @type {string | null} */
  problem = null;
  running = false;
  /** @type {object | null} the current run; if it is another one, this run was cancelled */
  turn = null;

  /** Forget earlier uploads. */
  reset() {
    const { listeners, files, refused } = this;
    Object.assign(this, new Uploads(), { listeners, files, refused });
  }

  /** @param {(uploads: Uploads) => void} listener */
  subscribe(listener) {
    this.listeners.add(listener);
    listener(this);
    return () => this.listeners.delete(listener);
  }

  tell() {
    for (const listener of this.listeners) listener(this);
  }

  /** Add files. Every possible photo is sent; the labeler checks it. @param {Dropped[]} dropped @param {Limits} limits of the labeler */
  add(dropped, limits) {
    if (!this.running && !this.problem) this.reset();
    for (const { file, name } of dropped) {
      const last = name.split("/").pop() ?? "";
      const noPhoto = last.startsWith(".") || limits.noImages.has(/\.[^.]*$/.exec(last)?.[0].toLowerCase() ?? "");
      const noLabels = last.startsWith(".") || !LABELS.test(name);
      if (noPhoto && DATASET.test(name))
        this.reject(
          name,
          "is neither a photo nor a label file: if it belongs to a dataset, drop the whole folder as a zip",
        );
      else if (noPhoto && noLabels) this.reject(name, "is neither a photo nor a label file");
      else if (noLabels && file.size > limits.image) this.reject(name, "is larger than max_image_bytes allows");
      else if (noLabels) {
        this.photos.push({ file, name });
        this.bytes += file.size;
        this.count += 1;
      } else if (this.labels.length >= MOST_LABEL_FILES)
        this.reject(name, `is one more than ${MOST_LABEL_FILES} label files at once: put them into a zip`);
      else if (file.size > limits.request)
        this.reject(name, "is larger than max_request_bytes allows: use flywheel import");
      else this.labels.push({ file, name });
    }
    this.run();
  }

  /** @param {string} uri @param {string} reason */
  reject(uri, reason) {
    this.rejected.push({ uri, reason });
  }

  async run() {
    if (this.running) return this.tell();
    const turn = (this.turn = {});
    this.running = true;
    this.problem = null;
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
    this.running = false;
    this.problem = null;
    this.photos = [];
    this.labels = [];
    this.tell();
  }

  /** @param {object} turn */
  async sendPhotos(turn) {
    /** @type {Dropped[]} */
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

  /** Remember a photo's folder: its name may be a class. @param {string} name */
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

  /** @param {string} address @param {string} field @param {Dropped[]} batch @returns {Promise<any>} undefined if it was refused */
  async post(address, field, batch) {
    for (let tries = 0; ; tries++) {
      const form = new FormData();
      for (const { file, name } of batch) form.append(field, file, name);
      this.controller = new AbortController();
      try {
        return await ask(address, { body: form, signal: this.controller.signal, patience: SEND_MS });
      } catch (error) {
        if (error instanceof Refused && error.status < 500) {
          for (const { name } of batch) this.reject(name, error.message);
          return undefined;
        }
        if (isAbort(error) || tries === TRIES.length) throw error;
      }
      await pause(TRIES[tries]);
    }
  }

  /** Seconds until all photos are uploaded; null if unknown. */
  get left() {
    const seconds = (performance.now() - (this.began ?? 0)) / 1000;
    return this.sent && seconds > 1 ? (seconds / this.sent) * (this.bytes - this.sent) : null;
  }

  // ------------------------------------------------------------ label files

  /** Poll the label files while the labeler processes one. */
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

  /** @param {string} address @param {{ body?: unknown, method?: string }} options */
  async order(address, options) {
    try {
      await ask(address, options);
      this.refused = null;
    } catch (error) {
      this.refused = /** @type {Error} */ (error).message;
    }
    await this.poll();
  }

  /** @param {string} id @param {boolean} addClasses @param {string} [conflicts] */
  import(id, addClasses, conflicts) {
    return this.order(`/api/label-files/${id}/import`, { body: { add_classes: addClasses, conflicts } });
  }

  /** @param {string} id @param {string} columns */
  lookAgain(id, columns) {
    return this.order(`/api/label-files/${id}/columns`, { body: { columns } });
  }

  /** @param {string} id */
  drop(id) {
    return this.order(`/api/label-files/${id}`, { method: "DELETE" });
  }

  /** Use the names of the folders in this one as labels. @param {string} folder */
  takeFolders(folder) {
    return this.order("/api/label-files", { body: { folder } });
  }
}

/** The uploads of this tab. They continue after the page that started them is left. */
export const uploads = new Uploads();
