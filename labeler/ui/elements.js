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

function percent(share, digits = 0) {
  return `${(100 * share).toFixed(digits)}%`;
}

const ENOUGH_TEST_LABELS = 10; // before an accuracy is shown: with one it would be 0 or 100%. As in shared/figures.py

/** "61.7% (95% interval 58.6–64.8%, 947 test images)", or why there is none. */
function accuracyIn({ value, low, high, n }) {
  if (n < ENOUGH_TEST_LABELS) return `not measured yet: ${n} of ${ENOUGH_TEST_LABELS} test labels`;
  return `${percent(value, 1)} (95% interval ${(100 * low).toFixed(1)}–${percent(high, 1)}, ${count(n, "test image")})`;
}

function capital(words) {
  return words[0].toUpperCase() + words.slice(1);
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
  if (seconds < 60) return `about ${Math.max(1, Math.round(seconds))} s left`;
  return seconds < 5400 ? `about ${Math.round(seconds / 60)} min left` : `about ${Math.round(seconds / 3600)} h left`;
}
