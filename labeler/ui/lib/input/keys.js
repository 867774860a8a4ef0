// The keyboard, for all pages: which keys a page may handle, what a key means on other keyboard layouts, and whether single
// keys are shortcuts at all. A person can switch those off (WCAG 2.1.4); then only Enter, Esc, Space, arrows and the like work.

import { singleKeysOn } from "../storage.js";
import { isStep } from "./roving.js";

/**
 * A key as the pages understand it.
 * @typedef {object} Key
 * @property {string} name as the browser names it: "a", "Enter", "ArrowLeft"
 * @property {string} letter the name in capitals
 * @property {string | undefined} place the Latin letter on that key, if the layout has another script
 * @property {string | undefined} digit the digit that it types; without Shift, else the one printed on the key
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
 * Listen for the page's keys until `signal` aborts. `press(key, event)` handles a key and returns whether it had a meaning; if
 * so, nobody else gets it, not even Streamlit's own shortcuts. Keys for a field or a focused button are not passed on.
 * @param {(key: Key, event: KeyboardEvent) => boolean} press
 * @param {object} options
 * @param {AbortSignal} options.signal
 * @param {string[]} [options.commands] letters that count with Ctrl or ⌘
 * @param {boolean} [options.repeats] whether a key that is held down repeats
 * @param {(name: string) => boolean} [options.steps] whether this key moves something in steps: then it repeats when held down, and
 *   Alt changes what it does
 * @param {(target: HTMLElement, event: KeyboardEvent) => boolean} [options.elsewhere] whether the key belongs to something else, such as a dialog
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
  addEventListener("keydown", hear, { capture: true, signal }); // before Streamlit gets it
}

/** While single keys are switched off, block Streamlit's own single-key shortcuts, too. @param {AbortSignal} signal */
export function silenceSingleKeys(signal) {
  const hear = (/** @type {KeyboardEvent} */ event) => {
    const target = /** @type {HTMLElement} */ (event.composedPath()[0]);
    if (!event.altKey && !keepsKey(target, event.key) && isSwitchedOff(readKey(event)))
      event.stopImmediatePropagation();
  };
  addEventListener("keydown", hear, { capture: true, signal });
}

/** Whether it is a single letter, digit or punctuation key while those are switched off. @param {Key} key */
export function isSwitchedOff(key) {
  return key.command === null && /^[\p{L}\p{M}\p{N}\p{P}\p{S}]$/u.test(key.name) && !singleKeysOn();
}

/**
 * Whether the focused control uses the key: a field for typing, a button as a press, or a group of buttons to move the focus.
 * @param {HTMLElement} target
 * @param {string} key
 */
export function keepsKey(target, key) {
  const box = target.tagName === "INPUT" && /** @type {HTMLInputElement} */ (target).type === "checkbox";
  if (target.isContentEditable || (/^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) && !box)) return true;
  if ((box || /^(BUTTON|A|SUMMARY)$/.test(target.tagName)) && /^(Enter| )$/.test(key)) return true;
  return isStep(target, key);
}

/**
 * The digit that a key types, including with Shift, as on French keyboards. Without Shift, else the digit printed on the key.
 * @param {Pick<KeyboardEvent, "key" | "code" | "shiftKey">} event
 */
export function digitOf({ key, code, shiftKey }) {
  if (/^\d$/.test(key)) return key;
  return shiftKey ? undefined : /^(?:Digit|Numpad)(\d)$/.exec(code)?.[1];
}

/**
 * The Latin capital printed on a key, if the layout has another script.
 * @param {Pick<KeyboardEvent, "key" | "code">} event
 */
export function placeOf({ key, code }) {
  return /^[\p{L}\p{M}]+$/u.test(key) && !/\p{Script=Latin}/u.test(key) ? /^Key([A-Z])$/.exec(code)?.[1] : undefined;
}

/**
 * Take the focus from the link that opened this page: the Enter that is meant for the page would follow it again. Any other link
 * keeps it, because somebody may go through the page with Tab while it is still being drawn.
 */
export function leaveOpener() {
  const link = document.activeElement;
  if (link instanceof HTMLAnchorElement && !link.hash && link.pathname === location.pathname) link.blur();
}

/**
 * Return the keys to the page after Enter or Escape in a field, and after a choice made with the mouse. `rest` then moves the
 * focus to where it belongs. Dialogs keep their keys.
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
      const sends = event.key === "Enter" && field?.tagName === "INPUT" && field.form; // its form gets the key next
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
