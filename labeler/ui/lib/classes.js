// Finding a class by keys: by its own key, by a digit, or by typing letters of its name once there are many classes.

/** @typedef {import("../types.js").ClassEntry} ClassEntry */
/** @typedef {import("./keys.js").Key} Key */

export const HOTKEYS = 10; // so many classes have a digit; with more, letters find a class

/**
 * What a key means on a page with classes: the name of an action, a class, or words that say why it gives none.
 * @typedef {{ act: string } | { classId: number } | { refusal: string }} Meaning
 */

export class ClassSearch {
  /** @param {ClassEntry[]} classes in the project's order @param {string} [text] what is typed */
  constructor(classes, text = "") {
    this.classes = classes;
    this.text = text;
  }

  /** Whether letters look for a class. */
  get typing() {
    return this.classes.length > HOTKEYS;
  }

  /** What looks for a class, in lower case; "" where nothing does. */
  get typed() {
    return this.typing ? this.text.trim().toLowerCase() : "";
  }

  /** The classes whose name contains what is typed; those that begin with it come first. All, if nothing is typed. */
  get matches() {
    const { typed } = this;
    if (!typed) return this.classes;
    const found = this.classes.filter(({ name }) => name.toLowerCase().includes(typed));
    const rank = (/** @type {ClassEntry} */ { name }) => (name.toLowerCase().startsWith(typed) ? 0 : 1);
    return found.sort((a, b) => rank(a) - rank(b));
  }

  /** The class that Enter gives while something is typed. */
  get found() {
    return this.typed ? this.matches[0]?.id : undefined;
  }

  /** Why Enter gives no class while something is typed; null where it may. */
  get unmatched() {
    return this.typed && !this.matches.length ? `No class matches “${this.text.trim()}”. Press Esc to clear it.` : null;
  }

  /** The class of a digit: by its own key, or by its place among those found. @param {string} digit */
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
   * What a key means: an action of `acts` (letter → name), a class, or nothing. With many classes letters look for one, so
   * actions take Shift, except in the middle of a name.
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

  /** The text after a key is typed into it; null if that key types nothing. @param {string} key */
  afterTyping(key) {
    const { text } = this;
    if (key === "Escape" && text) return "";
    if (key === "Backspace" && text) return text.slice(0, -1);
    if (/^[\p{L}\p{P}\p{S}]$/u.test(key) || (key === " " && text)) return text + key;
    return null;
  }
}

/** The digit of the class at this place among those found; null beyond ten. @param {number} index */
export function placeKey(index) {
  return index < HOTKEYS ? String((index + 1) % 10) : null;
}
