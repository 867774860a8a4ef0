// The keyboard, for all pages: which keys a page may take, what a key means on other layouts, and whether single keys are
// shortcuts at all. A person can turn those off (WCAG 2.1.4); then only Enter, Esc, Space, arrows and the like work.

import { singleKeysOn } from "./storage.js";

/**
 * A key as the pages understand it.
 * @typedef {object} Key
 * @property {string} name as the browser names it: "a", "Enter", "ArrowLeft"
 * @property {string} letter the name in capitals
 * @property {string | undefined} place the Latin letter on that key, where the layout writes another script
 * @property {string | undefined} digit the digit that it writes; without Shift also the one printed on the key
 * @property {string | null} command the letter that was pressed with Ctrl or ⌘
 * @property {boolean} shift
 * @property {boolean} alt
 * @property {boolean} repeat whether the key is held down
 * @property {number} at when it was pressed, as `performance.now()` counts
 */

/** @typedef {Pick<KeyboardEvent, "key" | "code" | "shiftKey" | "ctrlKey" | "metaKey" | "altKey" | "repeat" | "timeStamp">} Event */

/** @param {Event} event @returns {Key} */
export function readKey(event) {
  const place = placeOf(event);
  const letter = event.key.toUpperCase();
  return {
    name: event.key,
    letter,
    place,
    digit: digitOf(event),
    command: event.ctrlKey || event.metaKey ? (place ?? letter) : null,
    shift: event.shiftKey,
    alt: event.altKey,
    repeat: event.repeat,
    at: event.timeStamp,
  };
}

/**
 * Hear the page's keys until `signal` aborts. `press(key, event)` acts on a key and returns whether it meant something;
 * then nobody else hears it, Streamlit's own shortcuts included. Keys of a field or a pressed button never come here.
 * @param {(key: Key, event: KeyboardEvent) => boolean} press
 * @param {object} options
 * @param {AbortSignal} options.signal
 * @param {string[]} [options.commands] letters that count with Ctrl or ⌘
 * @param {boolean} [options.repeats] whether a key that is held down counts again
 * @param {(name: string) => boolean} [options.steps] whether this key moves something by steps: then it may be held down, and
 *   Alt changes what it does
 * @param {(target: HTMLElement, event: KeyboardEvent) => boolean} [options.elsewhere] whether the key belongs to something else, as a dialog
 */
export function listenForKeys(
  press,
  { signal, commands = [], repeats = false, steps = () => false, elsewhere = () => false },
) {
  const hear = (/** @type {KeyboardEvent} */ event) => {
    const target = /** @type {HTMLElement} */ (event.composedPath()[0]);
    if (event.isComposing || ((event.altKey || (event.repeat && !repeats)) && !steps(event.key))) return;
    if (keepsKey(target, event.key) || elsewhere(target, event)) return;
    const key = readKey(event);
    if (key.command !== null && !commands.includes(key.command)) return;
    if (isSwitchedOff(key) || !press(key, event)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  };
  addEventListener("keydown", hear, { capture: true, signal }); // before Streamlit hears it
}

/** Keep single keys from Streamlit's own shortcuts, too, while they are switched off. @param {AbortSignal} signal */
export function silenceSingleKeys(signal) {
  const hear = (/** @type {KeyboardEvent} */ event) => {
    const target = /** @type {HTMLElement} */ (event.composedPath()[0]);
    if (!event.altKey && !keepsKey(target, event.key) && isSwitchedOff(readKey(event)))
      event.stopImmediatePropagation();
  };
  addEventListener("keydown", hear, { capture: true, signal });
}

/** Whether it is a letter, digit or sign alone, and the person wants none of those as shortcuts. @param {Key} key */
export function isSwitchedOff(key) {
  return key.command === null && /^[\p{L}\p{M}\p{N}\p{P}\p{S}]$/u.test(key.name) && !singleKeysOn();
}

/**
 * Whether a key goes to the control that has the focus: to a field, or as the press of a button.
 * @param {HTMLElement} target
 * @param {string} key
 */
export function keepsKey(target, key) {
  const box = target.tagName === "INPUT" && /** @type {HTMLInputElement} */ (target).type === "checkbox";
  if (target.isContentEditable || (/^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) && !box)) return true;
  return (box || /^(BUTTON|A|SUMMARY)$/.test(target.tagName)) && /^(Enter| )$/.test(key);
}

/**
 * The digit that a key writes, also with Shift, as on French keyboards. Without Shift, else the digit at the key's place.
 * @param {Pick<KeyboardEvent, "key" | "code" | "shiftKey">} event
 */
export function digitOf({ key, code, shiftKey }) {
  if (/^\d$/.test(key)) return key;
  return shiftKey ? undefined : /^(?:Digit|Numpad)(\d)$/.exec(code)?.[1];
}

/**
 * The Latin capital at a key's place, where the layout writes another script there.
 * @param {Pick<KeyboardEvent, "key" | "code">} event
 */
export function placeOf({ key, code }) {
  return /^[\p{L}\p{M}]+$/u.test(key) && !/\p{Script=Latin}/u.test(key) ? /^Key([A-Z])$/.exec(code)?.[1] : undefined;
}

/**
 * Give the keys back to the page after Enter or Escape in a field, and after a choice made with the mouse. `rest` then puts
 * the focus where it belongs. Dialogs keep their keys.
 * @param {HTMLElement} root
 * @param {AbortSignal} [signal]
 * @param {() => void} [rest]
 */
export function leaveFields(root, signal, rest = () => {}) {
  let byMouse = false;
  const focused = () => /** @type {Document | ShadowRoot} */ (root.getRootNode()).activeElement;
  /** @param {EventTarget | null} target @returns {any} */
  const fieldOf = (target) =>
    target instanceof HTMLElement && /^(INPUT|SELECT)$/.test(target.tagName) && !target.closest("dialog")
      ? target
      : null;
  /** @param {any} field */
  const leave = (field) => {
    if (!field || focused() !== field) return;
    field.blur();
    rest();
  };
  const capture = { signal, capture: true };
  root.addEventListener("pointerdown", () => (byMouse = true), capture);
  root.addEventListener(
    "keydown",
    (event) => {
      byMouse = false;
      const field = fieldOf(event.target);
      const sends = event.key === "Enter" && field?.tagName === "INPUT" && field.form; // its form hears the key next
      if (!field || sends || event.isComposing || !/^(Enter|Escape)$/.test(event.key)) return;
      setTimeout(() => event.defaultPrevented || leave(field)); // after the field and its form have used the key
    },
    capture,
  );
  root.addEventListener("submit", () => setTimeout(() => leave(fieldOf(focused()))), { signal });
  root.addEventListener(
    "change",
    ({ target }) => {
      const field = fieldOf(target);
      if (field && byMouse && (field.tagName === "SELECT" || /^(checkbox|range)$/.test(field.type))) leave(field);
    },
    { signal },
  );
}
