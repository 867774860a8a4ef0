// Has a part of a page drawn again once what it shows is another: every news from the labeler carries `marks`, by which
// that is seen here, so that a page on which nothing changes asks nothing. A hidden page waits until it is seen.

const WATCH = Symbol("watch");
const LOOK_MS = 1000;

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
    this.unsubscribe = live().subscribe((project) => {
      this.marks = project.marks; // only what is pushed has them
      this.look();
    });
    this.clock = setInterval(() => this.look(), LOOK_MS);
  }

  close() {
    clearInterval(this.clock);
    this.unsubscribe();
  }

  drawn(data, draw) {
    this.data = data;
    this.draw = draw;
    this.at = performance.now();
  }

  look() {
    if (!this.data || !this.marks || document.hidden) return;
    const { marks, soonest, latest } = this.data;
    const changed = Object.keys(marks).some((what) => marks[what] !== this.marks[what]);
    if (performance.now() - this.at < 1000 * (changed ? soonest : latest)) return;
    this.at = performance.now(); // for the answer
    this.draw();
  }
}
