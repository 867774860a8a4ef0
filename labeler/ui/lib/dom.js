// Small helpers for the DOM.

/**
 * A new element with this text.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {string} [text]
 * @param {string} [className]
 */
export function element(tag, text = "", className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

/**
 * Find a part of a component's own HTML, which always exists.
 * @param {Element | Document | DocumentFragment} root
 * @param {string} selector
 * @returns {any} the element; `any`, because the HTML beside the script says what it is
 */
export function find(root, selector) {
  return root.querySelector(selector);
}

/**
 * Set a text, unless it is unchanged: otherwise a screen reader would announce a live region again.
 * @param {Element} node
 * @param {string} text
 */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Write a name, for instance of a class. A name that is too long may break after `_`, `.`, `/` or `-`, instead of in the middle
 * of a word.
 * @template {Element} Node
 * @param {Node} node
 * @param {string} name
 * @returns {Node}
 */
export function setName(node, name) {
  if (node.textContent === name) return node;
  const parts = name.split(/(?<=[_./-])(?=[^_./-])/);
  node.replaceChildren(...parts.flatMap((part, index) => (index ? [document.createElement("wbr"), part] : [part])));
  return node;
}

/**
 * Make these nodes the children of a list. Children that are equal stay in the page: replacing them would lose the focus, and
 * any click whose press and release fall before and after the change.
 * @param {Element} list
 * @param {Element[]} nodes
 */
export function renew(list, nodes) {
  const before = [...list.children];
  nodes.forEach((node, index) => {
    const kept = before.find((each) => each.isEqualNode(node)) ?? node;
    if (list.children[index] !== kept) list.insertBefore(kept, list.children[index] ?? null);
  });
  while (list.children.length > nodes.length) list.lastElementChild?.remove();
}

/** @type {WeakMap<Element, HTMLElement>} */
const disabledWithFocus = new WeakMap(); // root → its button that had the focus when it was disabled

/**
 * Give a field the focus, and scroll no further than needed: a browser would bring it to the middle, and the image out of
 * sight.
 * @param {HTMLElement} field
 */
export function focusNear(field) {
  field.focus({ preventScroll: true });
  field.scrollIntoView({ block: "nearest" });
}

/**
 * Enable or disable these buttons. A browser takes the focus from a disabled button, and the next Enter would mean something
 * else on the page. So the button gets the focus back once it is enabled, unless the focus is elsewhere by then.
 * @param {Element} root
 * @param {string} selector
 * @param {boolean} enabled
 */
export function setEnabled(root, selector, enabled) {
  const focused = /** @type {ShadowRoot} */ (root.getRootNode()).activeElement;
  for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (root.querySelectorAll(selector))) {
    if (button.disabled === !enabled) continue;
    button.disabled = !enabled;
    if (!enabled && button === focused) disabledWithFocus.set(root, button);
  }
  const button = disabledWithFocus.get(root);
  if (!enabled || !button) return;
  disabledWithFocus.delete(root);
  if (document.activeElement === document.body) button.focus({ preventScroll: true });
}

/**
 * Call `act` once the browser has painted the change that was just made. A frame callback runs just before the paint; a
 * message sent from it arrives just after.
 * @param {() => void} act
 */
export function afterPaint(act) {
  requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => {
      channel.port1.close();
      act();
    };
    channel.port2.postMessage(null);
  });
}

/**
 * Send an event that tests and benchmarks listen to, such as `flywheel:painted`.
 * @param {string} name
 * @param {unknown} detail
 */
export function tell(name, detail) {
  document.dispatchEvent(new CustomEvent(`flywheel:${name}`, { detail }));
}

/** A random UUID. `crypto.randomUUID` is missing on plain HTTP outside loopback. */
export function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
