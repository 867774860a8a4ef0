// The file on screen: its folder and name, shortened in the middle, as a link to the URL that opens exactly this
// image. Both can be copied.

import { ask } from "../lib/api.js";
import { element, find, setText } from "../lib/dom.js";

const TAIL = 28; // number of characters at the end that are always shown
const ASK_MS = 15_000;

export class FileLine {
  /** @param {Element} root @param {(words: string, trouble?: boolean) => void} say */
  constructor(root, say) {
    this.line = find(root, ".file");
    this.link = this.line.children[0];
    this.say = say;
    this.line.onclick = (/** @type {any} */ event) => {
      const what = event.target.closest("[data-copy]")?.dataset.copy;
      if (what) this.copy(what === "link" ? this.link.href : this.link.title);
    };
  }

  /** Set the image on screen, or null. @param {import("../types.js").Item | null} item */
  show(item) {
    this.line.classList.toggle("none", !item);
    const uri = item ? item.uri || `image ${item.image_id}` : "";
    const [head, tail] = this.link.children;
    setText(head, uri.slice(0, -TAIL));
    setText(tail, uri.slice(-TAIL));
    this.link.title = uri;
    this.link.href = item ? `/?image=${item.image_id}` : "/";
  }

  /** @param {string} text */
  async copy(text) {
    try {
      await copied(text);
      this.say(`Copied: ${text}`);
    } catch {
      this.say(`The browser blocks copying. Copy it by hand: ${text}`, true);
    }
  }
}

/** The image in the page's current URL. Streamlit may still have an earlier URL. */
export function namedByAddress() {
  return new URL(location.href).searchParams.get("image");
}

/**
 * Ask for the image of a URL: its item, its entry in the strip, and what is known about its label.
 * @param {string} image @param {string} annotator @param {string} session @param {import("./strip.js").Strip} strip
 * @returns {Promise<[import("../types.js").Item, any, any]>}
 */
export async function openedByAddress(image, annotator, session, strip) {
  const query = new URLSearchParams({ annotator, session });
  const answer = await ask(`/api/images/${encodeURIComponent(image)}/question?${query}`, { patience: ASK_MS });
  const { given, label, answer: boxes, status, settles, held, ...item } = answer;
  const entry = given ? (strip.of(item.image_id) ?? { item, answers: [given] }) : undefined;
  if (given) item.suggestions = [];
  return [item, entry, { label, answer: boxes, status, settles, held }];
}

/** Remove the image from the URL, so that a reload continues with the queue. */
export function forgetAddress() {
  const address = new URL(location.href);
  if (!address.searchParams.has("image")) return;
  address.searchParams.delete("image");
  history.replaceState(history.state, "", address);
}

/** Copy a text. On plain HTTP outside loopback there is no clipboard, but a selected field can be copied. @param {string} text */
async function copied(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = Object.assign(element("textarea"), { value: text });
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  if (!done) throw new Error("the browser refused");
}
