// Swipes over the image: a swipe to the right accepts the suggestion, one to the left does the other action. After a swipe
// that is too short, the picture springs back.

/** @typedef {import("../lib/input/pointer.js").Pointer} Pointer */
/** @typedef {import("../lib/input/pointer.js").Gesture} Gesture */
/** @typedef {"left" | "right"} Direction */
/** @typedef {{ way: number, words: string, far: boolean }} Sweep how far the picture moves, and what releasing it will do */
/**
 * What a swipe does on a page.
 * @typedef {object} Answers
 * @property {(direction: Direction) => string | null | undefined} words what a swipe would do, or null
 * @property {(direction: Direction, at: number) => void} done
 */

export const FAR = 72; // pixels
const ACROSS = 8; // horizontal pixels after which a finger no longer scrolls

/** @implements {Gesture} */
export class Swipe {
  /** @param {Answers & { allowed: () => boolean, show: (sweep: Sweep | null) => void }} page `show(null)`: the swipe is over */
  constructor({ words, done, allowed, show }) {
    this.words = words;
    this.done = done;
    this.allowed = allowed;
    this.show = show;
    this.from = { x: 0, y: 0 };
    this.across = false;
  }

  /** @param {Pointer} pointer @param {boolean} fresh */
  begins(pointer, fresh) {
    if (!fresh || pointer.type !== "touch" || !this.allowed()) return false;
    this.from = { x: pointer.x, y: pointer.y };
    this.across = false;
    return true;
  }

  /** False if the finger moves up or down: the page then scrolls. @param {Pointer} now */
  moves(now) {
    const way = now.x - this.from.x;
    this.across = Math.abs(way) > Math.max(ACROSS, Math.abs(now.y - this.from.y));
    if (Math.abs(now.y - this.from.y) > Math.max(FAR, Math.abs(way))) return false;
    const words = this.words(directionOf(way)) ?? "";
    const far = Math.abs(way) >= FAR;
    this.show({ way: words ? way : way / 4, words: Math.abs(way) < FAR / 3 ? "" : words, far });
    return true;
  }

  /** @param {Pointer} pointer */
  ends(pointer) {
    const way = pointer.x - this.from.x;
    this.show(null);
    if (Math.abs(way) >= FAR && this.words(directionOf(way))) this.done(directionOf(way), pointer.at);
  }

  cancels() {
    this.show(null);
  }

  scrolls() {
    return !this.across;
  }
}

/** @param {number} way @returns {Direction} */
function directionOf(way) {
  return way > 0 ? "right" : "left";
}
