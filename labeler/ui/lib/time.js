// Pauses, and estimates of the remaining time.

/** @param {number} milliseconds @returns {Promise<void>} */
export function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Estimates the remaining time of work that reports only its progress. */
export class Pace {
  constructor(now = () => performance.now()) {
    this.now = now;
    /** @type {[number, number] | null} */
    this.first = null;
    this.last = 0;
  }

  /** Seconds left at this share; null until an estimate is possible. @param {number} share */
  left(share) {
    const now = this.now();
    if (!this.first || share < this.last) this.first = [now, share];
    this.last = share;
    const [then, from] = this.first;
    return share > from ? ((now - then) / 1000 / (share - from)) * (1 - share) : null;
  }
}
