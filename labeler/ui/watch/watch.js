// Asks Python to redraw a part of a page when its data has changed. The labeler sends change markers with its updates; while
// they stay the same, nothing is requested. A hidden page waits until it is visible.

import { isLeaving } from "../lib/leaving.js";
import { live } from "../lib/project.js";

const WATCH = Symbol("watch");
const LOOK_MS = 1000;

/** @param {any} component */
export default function ({ parentElement, data, setTriggerValue }) {
  const watch = (parentElement[WATCH] ??= new Watch());
  watch.drawn(data, () => setTriggerValue("changed", true));
  return () => {
    watch.close();
    delete parentElement[WATCH];
  };
}

class Watch {
  constructor() {
    /** @type {{ marks: Record<string, unknown>, soonest: number, latest: number } | null} */
    this.data = null;
    /** @type {Record<string, unknown> | undefined} */
    this.marks = undefined;
    this.at = 0; // time of the last drawing
    this.draw = () => {};
    this.unsubscribe = live.subscribe((project) => {
      this.marks = project.marks; // only pushed updates have them
      this.look();
    });
    this.clock = setInterval(() => this.look(), LOOK_MS);
  }

  close() {
    clearInterval(this.clock);
    this.unsubscribe();
  }

  /** Called after Python has drawn the part. @param {any} data @param {() => void} draw */
  drawn(data, draw) {
    this.data = data;
    this.draw = draw;
    this.at = performance.now();
  }

  look() {
    if (!this.data || !this.marks || document.hidden || isLeaving()) return;
    const { marks, soonest, latest } = this.data;
    const now = this.marks;
    const changed = Object.keys(marks).some((what) => marks[what] !== now[what]);
    if (performance.now() - this.at < 1000 * (changed ? soonest : latest)) return;
    this.at = performance.now(); // for the answer
    this.draw();
  }
}
