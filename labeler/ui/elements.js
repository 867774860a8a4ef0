// What all components share: small pieces of a page, what a browser keeps, and when an image is on screen.

function element(tag, text = "", className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

/** Unchanged text is left alone: a live region would be read out again. */
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Let a list hold these nodes. A node that is there already and is no other stays in the page: else a click between whose
 *  press and release the list was drawn, and the focus, would be lost. */
function renew(list, nodes) {
  const before = [...list.children];
  nodes.forEach((node, index) => {
    const kept = before.find((each) => each.isEqualNode(node)) ?? node;
    if (list.children[index] !== kept) list.insertBefore(kept, list.children[index] ?? null);
  });
  while (list.children.length > nodes.length) list.lastChild.remove();
}

// How numbers are said: each of these has its like in shared/figures.py, and a test compares them.

function percent(share, digits = 0) {
  return `${(100 * share).toFixed(digits)}%`;
}

const ENOUGH_TEST_LABELS = 10; // before an accuracy is shown: with one it would be 0 or 100%

/** "61.7% (58.6% – 64.8%, 947 test images)", or why there is none. */
function accuracyIn({ value, low, high, n }) {
  if (n < ENOUGH_TEST_LABELS) return `not measured yet: ${n} of ${ENOUGH_TEST_LABELS} test labels`;
  return `${percent(value, 1)} (${percent(low, 1)} – ${percent(high, 1)}, ${count(n, "test image")})`;
}

/** "21.5 MB", or kB for less than 0.1 MB. */
function megabytes(size) {
  const number = (value) => value.toFixed(1).replace(/\B(?=(\d{3})+\.)/g, ",");
  return size >= 1e5 ? `${number(size / 1e6)} MB` : `${number(size / 1e3)} kB`;
}

function capital(words) {
  return words[0].toUpperCase() + words.slice(1);
}

/** Whether a key goes to the control that has the focus: to a field, or as the press of a button. */
function keepsKey(target, key) {
  const box = target.tagName === "INPUT" && target.type === "checkbox";
  if (target.isContentEditable || (/^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) && !box)) return true;
  return (box || /^(BUTTON|A|SUMMARY)$/.test(target.tagName)) && /^(Enter| )$/.test(key);
}

/** The digit that a key writes, with Shift too where the layout asks for it; else, without Shift, the one at its place. */
function digitOf({ key, code, shiftKey }) {
  if (/^\d$/.test(key)) return key;
  return shiftKey ? undefined : /^(?:Digit|Numpad)(\d)$/.exec(code)?.[1];
}

/** The Latin letter at a key's place, in capitals, where the layout writes another script there; else undefined. */
function placeOf({ key, code }) {
  return /^[\p{L}\p{M}]+$/u.test(key) && !/\p{Script=Latin}/u.test(key) ? /^Key([A-Z])$/.exec(code)?.[1] : undefined;
}

/** Whether a key and the command key mean this letter. */
function commands(event, letter) {
  return (event.ctrlKey || event.metaKey) && (placeOf(event) ?? event.key.toUpperCase()) === letter;
}

/** Give the keys back to the page after Enter or Escape in a field, and after a choice that was made with the mouse;
 *  `rest()` then puts the focus where it belongs. Dialogs have the keys for themselves. */
function leaveFields(root, signal, rest = () => {}) {
  let byMouse = false;
  const fieldOf = ({ target }) => (/^(INPUT|SELECT)$/.test(target.tagName) && !target.closest("dialog") ? target : null);
  const leave = (field) => {
    if (!field || root.getRootNode().activeElement !== field) return;
    field.blur();
    rest();
  };
  root.addEventListener("pointerdown", () => (byMouse = true), { signal, capture: true });
  root.addEventListener("keydown", (event) => {
    byMouse = false;
    const field = fieldOf(event);
    const sends = event.key === "Enter" && field?.tagName === "INPUT" && field.form; // its form hears of it next
    if (!field || sends || event.isComposing || !/^(Enter|Escape)$/.test(event.key)) return;
    setTimeout(() => event.defaultPrevented || leave(field)); // after what the field and its form do with the key
  }, { signal, capture: true });
  root.addEventListener("submit", () => setTimeout(() => leave(fieldOf({ target: root.getRootNode().activeElement ?? root }))), { signal });
  root.addEventListener("change", (event) => {
    const field = fieldOf(event);
    if (field && byMouse && (field.tagName === "SELECT" || /^(checkbox|range)$/.test(field.type))) leave(field);
  }, { signal });
}

/** The classes whose name holds `typed`, those that begin with it first; all of them while nothing is typed. */
function classesNamed(classes, typed) {
  if (!typed) return classes;
  const found = classes.filter(({ name }) => name.toLowerCase().includes(typed));
  const rank = ({ name }) => (name.toLowerCase().startsWith(typed) ? 0 : 1);
  return found.sort((a, b) => rank(a) - rank(b));
}

function noClassHas(digit, typed) {
  return typed ? `No class stands at place ${digit} of those found.` : `No class has the key ${digit}.`;
}

function noClassMatches(typed) {
  return `No class matches “${typed}”. Esc clears it.`;
}

function stored(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function store(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // a browser that keeps nothing asks again next time
  }
}

/** Call `act` once what was put in place is painted: a frame callback runs just before that, and a message sent from it
 *  arrives just after. */
function afterPaint(act) {
  requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => {
      channel.port1.close();
      act();
    };
    channel.port2.postMessage(null);
  });
}

/** What the card did, for whoever watches the page: tests and benchmarks. */
function tell(name, detail) {
  document.dispatchEvent(new CustomEvent(`flywheel:${name}`, { detail }));
}

/** A random UUID; crypto.randomUUID is missing on plain HTTP beyond loopback. */
function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** "about 3 min left", or nothing while that is not known. */
function timeLeft(seconds) {
  if (seconds === null || seconds === undefined) return "";
  return `about ${duration(seconds)} left`;
}

/** "22 held-out images are left out", on pages whose numbers count training images alone. */
function heldOut(project) {
  const { test, validation } = project?.splits ?? {};
  const held = (test?.total ?? 0) + (validation?.total ?? 0);
  if (!held) return "";
  return `${count(held, "held-out image")} ${held === 1 ? "is" : "are"} left out.`;
}

function drawHeldOut(node, project) {
  const words = heldOut(project);
  setText(node, words);
  node.hidden = !words;
  node.title = "The model is measured on images that are never shown or counted here";
}

/** The share of the images that the trainer has looked at; undefined once it has seen all, or cannot go on by itself. */
function lookedShare(project) {
  const { done, total, lacks } = project?.embedding ?? {};
  return done < total && !lacks ? done / total : undefined;
}

/** How far the trainer is with looking at the images, in words; "" once it has seen all, or cannot go on by itself. */
function lookedAt(project) {
  const { done, total, seconds_left } = project?.embedding ?? {};
  if (lookedShare(project) === undefined) return "";
  return [`${done.toLocaleString("en")} of ${count(total, "image")} looked at`, timeLeft(seconds_left)].filter(Boolean).join(", ");
}

/** How long something takes that tells only the share that is done, by how it went so far. */
class Pace {
  /** Seconds left at this share; null as long as nothing can be said. */
  left(share) {
    const now = performance.now();
    if (!this.first || share < this.last) this.first = [now, share];
    this.last = share;
    const [then, from] = this.first;
    return share > from ? ((now - then) / 1000 / (share - from)) * (1 - share) : null;
  }
}
