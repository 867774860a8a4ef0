// The image on screen, and how it is looked at: zoom, pan and brightness, by wheel, mouse, fingers and keys. The zoom ends
// with the image; the brightness stays, because dark images come in series.

const SMALL = 128; // pixels of the longest side up to which an image is enlarged pixel by pixel
const CLOSEST = 16; // times
const STEP = 1.25;
const DOUBLE_CLICK = 3; // times
const PAN_SHARE = 0.15; // of the stage, at one key
const BRIGHTNESS = [0.25, 4];

class Stage {
  /** `sharpest`: the longest side, in pixels, of the images served; one that has it may be larger in its file. */
  constructor(root, sharpest) {
    const find = (selector) => root.querySelector(selector);
    [this.stage, this.picture, this.tools] = [find(".stage"), find(".picture"), find(".tools")];
    this.sharpest = sharpest;
    this.pointers = new Map(); // pointer id → where it is
    this.zoom = 1;
    [this.x, this.y] = [0, 0]; // of the picture's corner, in pixels
    this.brightness = 1;
    this.tools.onclick = (event) => this.press(event.target.closest("button")?.dataset.key ?? "");
    this.stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.stage.ondblclick = (event) => {
      if (event.target.closest("button")) return;
      this.zoomBy(this.zoomed ? 1 / this.zoom : DOUBLE_CLICK, event.clientX, event.clientY);
    };
    this.stage.onpointerdown = (event) => this.down(event);
    this.stage.onpointermove = (event) => this.move(event);
    this.stage.onpointerup = this.stage.onpointercancel = (event) => this.pointers.delete(event.pointerId);
  }

  get zoomed() {
    return this.zoom > 1;
  }

  /** Put the question's image in place, or none. */
  show(question) {
    const image = question && !question.broken ? question.image : null;
    this.question = question;
    this.picture.replaceChildren(...(image ? [image] : []));
    if (image) image.classList.toggle("small", Math.max(image.naturalWidth, image.naturalHeight) <= SMALL);
    if (question) this.stage.dataset.imageId = question.item.image_id;
    else delete this.stage.dataset.imageId;
    if (this.zoomed) this.zoomBy(1 / this.zoom);
  }

  /** Do what the key means here; false if it means nothing. */
  press(key) {
    if (key === "+" || key === "=") this.zoomBy(STEP);
    else if (key === "-") this.zoomBy(1 / STEP);
    else if (key === ",") this.lighten(1 / STEP);
    else if (key === ".") this.lighten(STEP);
    else if (this.zoomed && key.startsWith("Arrow")) this.panBy(key);
    else if (key === "Escape" && (this.zoomed || this.brightness !== 1)) this.reset();
    else return false;
    return true;
  }

  reset() {
    this.brightness = 1;
    this.zoomBy(1 / this.zoom);
  }

  lighten(factor) {
    this.brightness = within(this.brightness * factor, BRIGHTNESS);
    if (Math.abs(this.brightness - 1) < 0.01) this.brightness = 1; // as many steps back as there were forth
    this.draw();
  }

  /** Zoom about a point of the window, by default the middle of the image. */
  zoomBy(factor, clientX, clientY) {
    const { left, top } = this.stage.getBoundingClientRect();
    const { offsetLeft, offsetTop, offsetWidth, offsetHeight } = this.picture;
    const x = clientX === undefined ? offsetWidth / 2 : clientX - left - offsetLeft;
    const y = clientY === undefined ? offsetHeight / 2 : clientY - top - offsetTop;
    let zoom = within(this.zoom * factor, [1, CLOSEST]);
    if (zoom < 1.01) zoom = 1;
    this.x = x - ((x - this.x) * zoom) / this.zoom;
    this.y = y - ((y - this.y) * zoom) / this.zoom;
    this.zoom = zoom;
    this.draw();
    if (this.zoomed) this.sharpen();
  }

  panBy(key) {
    const { offsetWidth, offsetHeight } = this.picture;
    this.x += { ArrowLeft: PAN_SHARE, ArrowRight: -PAN_SHARE }[key] * offsetWidth || 0;
    this.y += { ArrowUp: PAN_SHARE, ArrowDown: -PAN_SHARE }[key] * offsetHeight || 0;
    this.draw();
  }

  draw() {
    const { zoom, picture, brightness } = this;
    this.x = within(this.x, [picture.offsetWidth * (1 - zoom), 0]);
    this.y = within(this.y, [picture.offsetHeight * (1 - zoom), 0]);
    picture.style.transform = this.zoomed ? `translate(${this.x}px, ${this.y}px) scale(${zoom})` : "";
    picture.style.filter = brightness === 1 ? "" : `brightness(${brightness})`;
    this.stage.classList.toggle("zoomed", this.zoomed);
    this.tools.querySelector("[data-key=Escape]").disabled = !this.zoomed && brightness === 1;
  }

  /** Zoomed in, the file itself has more to show than the smaller copy. */
  async sharpen() {
    const { question } = this;
    const image = question?.image;
    if (!image || question.sharp || Math.max(image.naturalWidth, image.naturalHeight) < this.sharpest) return;
    question.sharp = image.cloneNode();
    question.sharp.src = `/api/images/${question.item.image_id}/content`;
    try {
      await question.sharp.decode();
    } catch {
      return; // a format that browsers do not show: the copy stays
    }
    if (this.question === question && image.parentElement === this.picture) image.replaceWith(question.sharp);
  }

  wheel(event) {
    event.preventDefault();
    this.zoomBy(STEP ** (-Math.sign(event.deltaY) || 0), event.clientX, event.clientY);
  }

  down(event) {
    if (event.target.closest("button")) return;
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    this.stage.setPointerCapture(event.pointerId); // so that letting go outside is heard too
  }

  /** One pointer pans what is zoomed; two fingers zoom. */
  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = { x: event.clientX, y: event.clientY };
    this.pointers.set(event.pointerId, now);
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    if (others.length === 1) {
      const [other] = others;
      const apart = (at) => Math.hypot(at.x - other.x, at.y - other.y);
      this.zoomBy(apart(now) / Math.max(1, apart(before)), (now.x + other.x) / 2, (now.y + other.y) / 2);
    } else if (this.zoomed) {
      this.x += now.x - before.x;
      this.y += now.y - before.y;
      this.draw();
    }
  }
}

function within(value, [least, most]) {
  return Math.min(most, Math.max(least, value));
}
