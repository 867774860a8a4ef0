// Which file is on screen: its folder and name, shortened in the middle, as a link to the address that opens exactly this
// image. Both can be copied.

import { element, find, setText } from "../lib/dom.js";

const TAIL = 28; // letters at the end that are never shortened away

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

  /** This is on screen, or nothing. @param {import("../types.js").Item | null} item */
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

/** The image that this page's address names now; Streamlit may still know an earlier one. */
export function namedByAddress() {
  return new URL(location.href).searchParams.get("image");
}

/** Take the image out of the address: it was opened, or could not be. A reload then goes on with the queue. */
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
