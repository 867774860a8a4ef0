// Changes of the project's classes from the card: the requests to the labeler, and the messages to the person.

import { ask } from "../lib/api.js";
import { live } from "../lib/project.js";

const ASK_MS = 15_000;

export class ClassChanges {
  /** @param {import("./view.js").View} view */
  constructor(view) {
    this.view = view;
  }

  /** @param {string} name */
  async add(name) {
    const refusal = await this.send("POST", "/api/classes", { name });
    this.view.say(refusal ? `Class “${name}” was not added: ${refusal}` : `Class “${name}” added.`, Boolean(refusal));
    return !refusal;
  }

  /** @param {string} method @param {number} id @param {any} body */
  async change(method, id, body) {
    const annotator = encodeURIComponent(this.view.annotator);
    const refusal = await this.send(method, `/api/classes/${id}${body ? "" : `?annotator=${annotator}`}`, body);
    if (!refusal && body?.into) this.view.strip.relabel(id, body.into);
    return refusal;
  }

  /** Change the classes and show the result. Returns why it failed, or null. @param {string} method @param {string} url @param {any} body */
  async send(method, url, body) {
    try {
      await ask(url, {
        method,
        body: body ? { ...body, annotator: this.view.annotator } : undefined,
        patience: ASK_MS,
      });
      await live.refresh();
      return null;
    } catch (error) {
      return /** @type {Error} */ (error).message;
    }
  }
}
