// Thousands of tiles, of which only the visible ones exist. The box scrolls over an empty plane as high as all rows; tiles are
// created when they become visible and removed afterwards. Elements are never reused for another image, so that no tile shows
// the picture of a previous image. For screen readers it is a list box with multiple selection.

import { element, find } from "../lib/dom.js";

const TILE = 116; // minimum width in pixels
const GAP = 6;
const CAPTION = 26;
const OVERSCAN = 2; // rows
const REST_MS = 60; // pause in scrolling before visible tiles are requested

export class Scroller {
  /**
   * @param {HTMLElement} box
   * @param {(ids: number[]) => void} look called with the visible images
   * @param {(node: any, id: number, index: number) => void} draw fills a tile
   */
  constructor(box, look, draw) {
    this.box = box;
    this.plane = find(box, ".plane");
    this.look = look;
    this.draw = draw;
    /** @type {number[]} */
    this.list = [];
    this.columns = 2;
    this.side = 0; // side of a tile in pixels
    this.row = 0; // height of a row, with caption and gap
    /** @type {Map<number, any>} */
    this.nodes = new Map(); // image id → its tile
    this.focus = 0; // index of the tile that keys act on
    box.addEventListener("scroll", () => this.place(), { passive: true });
    this.size = new ResizeObserver(() => this.lay());
    this.size.observe(box);
  }

  close() {
    this.size.disconnect();
    clearTimeout(this.resting);
  }

  /** @param {number[]} list */
  show(list) {
    this.list = list;
    this.focus = Math.min(this.focus, Math.max(0, list.length - 1));
    this.lay();
  }

  /** The box's width or the list's length changed. */
  lay() {
    const width = this.plane.clientWidth;
    if (!width) return;
    this.columns = Math.max(2, Math.floor((width + GAP) / (TILE + GAP)));
    this.side = (width - GAP * (this.columns - 1)) / this.columns;
    this.row = this.side + CAPTION + GAP;
    const rows = Math.ceil(this.list.length / this.columns);
    this.plane.style.height = `${Math.max(0, rows * this.row - GAP)}px`;
    this.place();
  }

  place() {
    if (!this.row) return;
    const top = Math.floor(this.box.scrollTop / this.row) - OVERSCAN;
    const bottom = Math.ceil((this.box.scrollTop + this.box.clientHeight) / this.row) + OVERSCAN;
    const first = Math.max(0, top * this.columns);
    const last = Math.min(this.list.length, bottom * this.columns);
    const inSight = this.list.slice(first, last);
    const wanted = new Set(inSight);
    for (const [id, node] of this.nodes) {
      if (wanted.has(id)) continue;
      node.remove();
      this.nodes.delete(id);
    }
    inSight.forEach((id, offset) => void this.put(id, first + offset));
    this.mark();
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.look(inSight), REST_MS);
  }

  /** @param {number} id @param {number} index */
  put(id, index) {
    /** @type {any} */
    let node = this.nodes.get(id);
    if (!node) {
      node = element("div", "", "tile");
      node.id = `tile-${id}`;
      node.role = "option";
      node.dataset.testid = "tile";
      node.dataset.imageId = id;
      node.append(element("div", "", "picture"), element("p"));
      this.nodes.set(id, node);
      this.plane.append(node);
    }
    node.ariaPosInSet = index + 1;
    node.ariaSetSize = this.list.length;
    node.dataset.index = index;
    node.style.width = `${this.side}px`;
    node.style.height = `${this.side + CAPTION}px`;
    const [column, row] = [index % this.columns, Math.floor(index / this.columns)];
    node.style.transform = `translate(${column * (this.side + GAP)}px, ${row * this.row}px)`;
    this.draw(node, id, index);
  }

  redraw() {
    for (const [id, node] of this.nodes) this.draw(node, id, Number(node.dataset.index));
  }

  /** Mark the tile that keys act on. */
  mark() {
    const id = this.list[this.focus];
    for (const [each, node] of this.nodes) node.classList.toggle("focus", each === id);
    if (id !== undefined && this.nodes.has(id)) this.box.setAttribute("aria-activedescendant", `tile-${id}`);
    else this.box.removeAttribute("aria-activedescendant");
  }

  /** Move the focus, and scroll if needed. Returns whether it moved. @param {number} index */
  move(index) {
    if (!this.list.length) return false;
    this.focus = Math.max(0, Math.min(this.list.length - 1, index));
    const top = Math.floor(this.focus / this.columns) * this.row;
    const bottom = top + this.row;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    else if (bottom > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = bottom - this.box.clientHeight;
    this.place();
    return true;
  }

  /** The index to which an arrow or page key moves the focus; undefined for other keys. @param {string} key */
  target(key) {
    const page = this.columns * Math.max(1, Math.floor(this.box.clientHeight / this.row));
    /** @type {Record<string, number>} */
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns };
    Object.assign(steps, { PageUp: -page, PageDown: page, Home: -Infinity, End: Infinity });
    return key in steps ? this.focus + steps[key] : undefined;
  }
}
