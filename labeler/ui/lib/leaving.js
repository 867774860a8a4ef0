// Tells whether the page is being left: the navigation or Stop was clicked, but the next page has not loaded yet. Streamlit
// merges waiting requests into one, which goes to the page of the last request. If a page requested a redraw after such a
// click, the request would name the old page: it would undo the click, or leave the next page empty.

const MOST_MS = 10_000; // after that, the click was lost or its page failed

export class Leaving {
  constructor(now = () => performance.now()) {
    this.now = now;
    /** @type {string | null} */
    this.path = null; // the path of the next page
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

/** Whether the current page is being left. */
export function isLeaving() {
  return navigation.from(location.pathname);
}

/** A button was clicked, and Python will open the page at this path. @param {string} path */
export function leaveFor(path) {
  navigation.clicked(path);
}

/** Listen for clicks on the navigation. @param {AbortSignal} signal */
export function hearNavigation(signal) {
  const hear = (/** @type {MouseEvent} */ event) => {
    const link = /** @type {Element | null} */ (event.target)?.closest?.("a[data-testid*=Nav]");
    const taken = event.defaultPrevented; // handled by Streamlit; otherwise the browser opens the page, perhaps in another tab
    if (link && taken) navigation.clicked(new URL(/** @type {HTMLAnchorElement} */ (link).href).pathname);
  };
  addEventListener("click", hear, { signal });
}
