// Values that the browser stores for all pages. If it forbids storage, they are lost on reload, but nothing breaks.

const ANNOTATOR = "flywheel/annotator";
const SINGLE_KEYS = "flywheel/single-keys"; // "off" or absent

/** @param {string} key */
export function stored(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

/** @param {string} key @param {string} value */
export function store(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // without storage, the person is asked again next time
  }
}

/** The name of the person at this browser; "me" until they enter one. */
export function annotator() {
  return stored(ANNOTATOR) ?? "me";
}

/** @param {string} name */
export function setAnnotator(name) {
  store(ANNOTATOR, name);
}

/** Whether single letters, digits and punctuation are shortcuts. People who dictate or hit keys by accident turn this off. */
export function singleKeysOn() {
  return stored(SINGLE_KEYS) !== "off";
}

/** @param {boolean} on */
export function turnSingleKeys(on) {
  store(SINGLE_KEYS, on ? "on" : "off");
}
