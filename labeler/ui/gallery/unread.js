// Reports what the grid could not load during scrolling: further images, or the data of visible ones. A line over its lower
// edge says why, with a button to try again. The next scroll tries again as well.

import { Refused } from "../lib/api.js";
import { find, setText } from "../lib/dom.js";

export class Unread {
  /** @param {HTMLElement} line with a place for words, and a button */
  constructor(line) {
    this.line = line;
    this.words = find(line, "span");
    /** @type {() => Promise<unknown>} */
    this.last = async () => null;
    find(line, "button").onclick = () => this.load(this.last);
  }

  /** Load something, and say so if that fails. @param {() => Promise<unknown>} work */
  async load(work) {
    this.last = work;
    let problem = null;
    try {
      await work();
    } catch (error) {
      problem = error;
    }
    if (this.last !== work) return; // a later load has replaced this one
    this.line.hidden = problem === null;
    if (problem !== null) setText(this.words, whyUnread(problem));
  }
}

/** @param {unknown} problem that `ask` throws */
export function whyUnread(problem) {
  const why = problem instanceof Refused ? problem.message : "The labeler does not answer.";
  return `Some images could not be loaded. ${why}`;
}
