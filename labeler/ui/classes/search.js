// Finds a class by keyboard: by its own key, by a digit, or with many classes by typing part of its name.

/** @typedef {import("../types.js").ClassEntry} ClassEntry */
/** @typedef {import("../lib/input/keys.js").Key} Key */

export const HOTKEYS = 10; // number of classes with a digit; with more classes, letters search

/**
 * What a key means on a page with classes: the name of an action, a class, or the reason why it is refused.
 * @typedef {{ act: string } | { classId: number } | { refusal: string }} Meaning
 */

export class ClassSearch {
  /** @param {ClassEntry[]} classes in the project's order @param {string} [text] what is typed */
  constructor(classes, text = "") {
    this.classes = classes;
    this.text = text;
  }

  /** Whether letters search for a class. */
  get typing() {
    return this.classes.length > HOTKEYS;
  }

  /** The search text in lower case, or "". */
  get typed() {
    return this.typing ? this.text.trim().toLowerCase() : "";
  }

  /** The classes whose name contains the search text; those that begin with it come first. All classes without a text. */
  get matches() {
    const { typed } = this;
    if (!typed) return this.classes;
    const found = this.classes.filter(({ name }) => name.toLowerCase().includes(typed));
    const rank = (/** @type {ClassEntry} */ { name }) => (name.toLowerCase().startsWith(typed) ? 0 : 1);
    return found.sort((a, b) => rank(a) - rank(b));
  }

  /** The class that Enter chooses while searching. */
  get found() {
    return this.typed ? this.matches[0]?.id : undefined;
  }

  /** Why Enter chooses no class while searching; null if it does. */
  get unmatched() {
    return this.typed && !this.matches.length ? `No class matches “${this.text.trim()}”. Press Esc to clear it.` : null;
  }

  /** The class of a digit: by its own key, or by its position among the matches. @param {string} digit */
  withDigit(digit) {
    const { matches } = this;
    return (this.typed ? matches[(Number(digit) + 9) % 10] : matches.find(({ hotkey }) => hotkey === digit))?.id;
  }

  /** The class whose own key is this letter, unless letters are being typed. @param {string | undefined} letter */
  withKey(letter) {
    if (letter === undefined || this.text || !/^\p{L}$/u.test(letter)) return undefined;
    return this.classes.find(({ hotkey }) => hotkey === letter.toLowerCase())?.id;
  }

  /**
   * What a key means: an action of `acts` (letter → name), a class, or nothing. With many classes letters search, so actions
   * need Shift, except in the middle of a name.
   * @param {Key} key
   * @param {Record<string, string>} acts
   * @returns {Meaning | null}
   */
  meaning(key, acts) {
    const typing = this.typing && (!key.shift || Boolean(this.typed));
    const own = (/** @type {string | undefined} */ letter) => (key.shift ? undefined : this.withKey(letter));
    const place = typing ? undefined : key.place;
    if (!typing && acts[key.letter]) return { act: acts[key.letter] };
    const written = own(key.name);
    if (written !== undefined) return { classId: written };
    if (place && acts[place]) return { act: acts[place] };
    const placed = own(place);
    if (placed !== undefined) return { classId: placed };
    if (!key.digit) return null;
    const classId = this.withDigit(key.digit);
    return classId === undefined ? { refusal: this.noneHas(key.digit) } : { classId };
  }

  /** @param {string} digit */
  noneHas(digit) {
    return this.typed ? `The classes found have no number ${digit}.` : `No class has the key ${digit}.`;
  }

  /** The search text after this key; null if the key does not change it. @param {string} key */
  afterTyping(key) {
    const { text } = this;
    if (key === "Escape" && text) return "";
    if (key === "Backspace" && text) return text.slice(0, -1);
    if (/^[\p{L}\p{P}\p{S}]$/u.test(key) || (key === " " && text)) return text + key;
    return null;
  }
}

/** The digit of the class at this position among the matches; null beyond ten. @param {number} index */
export function placeKey(index) {
  return index < HOTKEYS ? String((index + 1) % 10) : null;
}
