// A finger that sweeps over the image: to the right takes the suggestion, to the left skips. The picture follows the
// finger and says what letting go will do; below the way that counts it springs back.

const FAR = 72; // pixels

class Swipe {
  /** `words(direction)` says what a sweep would do, or null if nothing; `done(direction, time)` does it. */
  constructor(root, stage, { words, done }) {
    Object.assign(this, { stage, words, done });
    this.picture = root.querySelector(".picture");
    this.hint = root.querySelector(".sweep");
    const area = root.querySelector(".stage");
    area.addEventListener("pointerdown", (event) => this.down(event));
    area.addEventListener("pointermove", (event) => this.move(event));
    area.addEventListener("pointerup", (event) => this.up(event));
    area.addEventListener("pointercancel", () => this.end());
  }

  down(event) {
    const alone = event.pointerType === "touch" && event.isPrimary && !event.target.closest("button");
    if (alone && !this.stage.zoomed) this.start = { x: event.clientX, y: event.clientY };
    else this.end();
  }

  move(event) {
    if (!this.start || !event.isPrimary) return;
    const way = event.clientX - this.start.x;
    if (this.stage.pointers.size > 1 || Math.abs(event.clientY - this.start.y) > Math.max(FAR, Math.abs(way))) {
      return this.end();
    }
    const words = this.words(directionOf(way));
    this.picture.style.transform = `translateX(${words ? way : way / 4}px)`;
    this.hint.hidden = !words || Math.abs(way) < FAR / 3;
    setText(this.hint, words ?? "");
    this.hint.classList.toggle("far", Math.abs(way) >= FAR);
  }

  up(event) {
    if (!this.start) return;
    const way = event.clientX - this.start.x;
    this.end();
    if (Math.abs(way) >= FAR && this.words(directionOf(way))) this.done(directionOf(way), event.timeStamp);
  }

  end() {
    if (!this.start) return;
    this.start = null;
    this.hint.hidden = true;
    this.stage.draw();
  }
}

function directionOf(way) {
  return way > 0 ? "right" : "left";
}
