// Presses Streamlit's buttons by keys. As on the other pages, a key is identified by its character, or by its position on the
// keyboard if the layout has another script. Streamlit's own shortcuts support neither digits that need Shift nor other
// scripts.

import { listenForKeys } from "../lib/input/keys.js";

const SHORTCUTS = Symbol("shortcuts");

/** @param {any} component */
export default function ({ parentElement, data }) {
  const shortcuts = (parentElement[SHORTCUTS] ??= new Shortcuts(parentElement.querySelector("i")));
  shortcuts.data = data;
  shortcuts.say("");
  return () => {
    shortcuts.stopListening.abort();
    delete parentElement[SHORTCUTS];
  };
}

class Shortcuts {
  /** @param {HTMLElement | null} place where it says why a key did nothing */
  constructor(place) {
    this.place = place;
    place?.setAttribute("role", "status");
    /** @type {{ keys: Record<string, string>, shifted: Record<string, string> }} key → name of its button, without Shift and with it */
    this.data = { keys: {}, shifted: {} };
    this.stopListening = new AbortController();
    listenForKeys((key) => this.press(key), { signal: this.stopListening.signal });
  }

  /** @param {import("../lib/input/keys.js").Key} key */
  press(key) {
    const name = meant(key, this.data);
    if (!name) return false;
    const button = document.querySelector(`.st-key-${CSS.escape(name)} button`);
    this.say(button ? "" : "The page was not ready for that key. Press it again.");
    if (!button) return false;
    /** @type {HTMLElement} */ (button).click();
    return true;
  }

  /** @param {string} words */
  say(words) {
    if (this.place) this.place.textContent = words;
  }
}

/**
 * The button that a key presses: identified by its character, else by its position.
 * @param {Pick<import("../lib/input/keys.js").Key, "name" | "shift" | "digit" | "place">} key
 * @param {Shortcuts["data"]} data
 * @returns {string | undefined}
 */
export function meant({ name, shift, digit, place }, { keys, shifted }) {
  const letters = shift ? shifted : keys;
  return letters[name.toLowerCase()] ?? keys[digit ?? ""] ?? letters[place?.toLowerCase() ?? ""];
}
