// Whether the page is being left: the navigation was clicked, and the next page is not there yet.
//
// Streamlit joins requests that wait into one, with the page of the last. A redraw that a page asks for after such a click names
// the page that is being left, and so would take the click back.

const MOST_MS = 10_000; // then the click was lost, or its page failed

export class Leaving {
  constructor(now = () => performance.now()) {
    this.now = now;
    /** @type {string | null} */
    this.path = null; // where to
    this.at = 0;
  }

  /** A link to this path was clicked. @param {string} path */
  clicked(path) {
    this.path = path;
    this.at = this.now();
  }

  /** Whether the page at this path is being left. @param {string} path */
  from(path) {
    if (path === this.path || this.now() - this.at > MOST_MS) this.path = null;
    return this.path !== null;
  }
}

const navigation = new Leaving();

/** Whether the open page is being left. */
export function isLeaving() {
  return navigation.from(location.pathname);
}

/** Hear clicks on the navigation. @param {AbortSignal} signal */
export function hearNavigation(signal) {
  const hear = (/** @type {MouseEvent} */ event) => {
    const link = /** @type {Element | null} */ (event.target)?.closest?.("a[data-testid*=Nav]");
    const taken = event.defaultPrevented; // by Streamlit; otherwise the browser opens it, perhaps in another tab
    if (link && taken) navigation.clicked(new URL(/** @type {HTMLAnchorElement} */ (link).href).pathname);
  };
  addEventListener("click", hear, { signal });
}
