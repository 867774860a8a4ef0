// One Tab stop for a group of buttons: arrow keys, Home and End move the focus within the group, as in a toolbar. With 40
// classes, everything after them would otherwise be 40 presses of Tab away.

const ROVING = "[data-roving]";

/** @type {WeakMap<Element, Element | undefined>} */
const stops = new WeakMap(); // group → the button that Tab reaches

/**
 * Make these buttons one Tab stop. Call it again when they have changed: the button that had the focus last stays the stop.
 * @param {HTMLElement} group
 */
export function rove(group) {
  if (!stops.has(group)) {
    group.dataset.roving = "";
    group.addEventListener("focusin", ({ target }) => stopAt(group, buttonOf(target)));
    group.addEventListener("keydown", (event) => step(group, event));
  }
  const known = stops.get(group);
  const buttons = [...group.querySelectorAll("button")];
  stopAt(group, buttons.find((each) => each === known) ?? buttons[0]);
}

/** Whether the element is in such a group, and the key moves the focus there. @param {Element} target @param {string} key */
export function isStep(target, key) {
  return /^(Arrow|Home$|End$)/.test(key) && Boolean(target.closest?.(ROVING));
}

/** @param {HTMLElement} group @param {Element | null | undefined} stop */
function stopAt(group, stop) {
  stops.set(group, stop ?? undefined);
  for (const each of group.querySelectorAll("button")) each.tabIndex = each === stop ? 0 : -1;
}

/** @param {HTMLElement} group @param {KeyboardEvent} event */
function step(group, event) {
  const buttons = [...group.querySelectorAll("button")].filter(({ disabled }) => !disabled);
  const at = buttons.findIndex(({ tabIndex }) => tabIndex === 0); // the one with the focus
  if (event.altKey || event.metaKey) return; // the browser goes back and forward
  const columns = buttons.filter(({ offsetTop }) => offsetTop === buttons[0].offsetTop).length;
  const to = at < 0 ? undefined : placeAfter(event.key, at, buttons.length, columns);
  if (to === undefined) return;
  event.preventDefault(); // otherwise the page would scroll
  buttons[to].focus();
}

/**
 * The place to which a key moves the focus; undefined for other keys.
 * @param {string} key
 * @param {number} at its place now
 * @param {number} count number of buttons
 * @param {number} columns buttons in a row
 */
export function placeAfter(key, at, count, columns) {
  const last = count - 1;
  /** @type {Record<string, number>} */
  const steps = { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - columns, ArrowDown: at + columns };
  const to = { ...steps, Home: 0, End: last }[key];
  if (to === undefined || (to >= 0 && to <= last)) return to;
  const isAbove = Math.floor(at / columns) < Math.floor(last / columns);
  return key === "ArrowDown" && isAbove ? last : at; // the last row may be shorter
}

/** @param {EventTarget | null} target */
function buttonOf(target) {
  return /** @type {Element | null} */ (target)?.closest("button");
}
