// Boxes that a person has drawn but not submitted yet, by image, so that neither viewing an earlier answer nor a reload loses
// them. They are in the tab's session storage, and written when the person pauses.

import { Edits } from "./edits.js";

const KEPT = 12; // maximum number of images
const PAUSE_MS = 250;

/** @typedef {import("./edits.js").AnswerBox & { confidence: number | null }} Kept */

export class Drafts {
  /** @param {string} logId of the project */
  constructor(logId) {
    this.key = `flywheel/boxes/${logId}`;
    /** @type {Map<number, { boxes: Kept[], edits?: Edits }>} */
    this.known = new Map(this.load());
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.waiting = undefined;
    this.stop = new AbortController();
    const { signal } = this.stop;
    globalThis.addEventListener?.("pagehide", () => this.waiting && this.write(), { signal }); // a reload just after the last box
  }

  /** The page is closed. */
  close() {
    if (this.waiting) this.write();
    this.stop.abort();
  }

  /** The boxes drawn on this image; undefined if there are none. @param {number} imageId @param {import("./geometry.js").Size} size @returns {Edits | undefined} */
  of(imageId, size) {
    const draft = this.known.get(imageId);
    return draft && (draft.edits ?? Edits.drafted(size, draft.boxes));
  }

  /** @param {number} imageId @param {Edits} edits */
  keep(imageId, edits) {
    this.known.delete(imageId);
    this.known.set(imageId, { boxes: [], edits });
    if (this.known.size > KEPT) this.known.delete(/** @type {number} */ (this.known.keys().next().value));
    this.waiting ??= setTimeout(() => this.write(), PAUSE_MS);
  }

  /** @param {number} imageId */
  forget(imageId) {
    if (this.known.delete(imageId)) this.waiting ??= setTimeout(() => this.write(), PAUSE_MS);
  }

  /** A class was merged into another. @param {number} from @param {number} into */
  relabel(from, into) {
    for (const { boxes, edits } of this.known.values()) {
      edits?.relabel(from, into);
      for (const box of boxes) if (box.label === from) box.label = into;
    }
    this.write();
  }

  write() {
    clearTimeout(this.waiting);
    this.waiting = undefined;
    const all = [...this.known].map(([id, { boxes, edits }]) => [
      id,
      { boxes: edits ? edits.boxes.map(({ key: _, ...box }) => box) : boxes },
    ]);
    try {
      sessionStorage.setItem(this.key, JSON.stringify(all));
    } catch {
      // without storage, a reload loses them
    }
  }

  /** @returns {[number, { boxes: Kept[] }][]} */
  load() {
    try {
      return JSON.parse(sessionStorage.getItem(this.key) ?? "[]");
    } catch {
      return [];
    }
  }
}
