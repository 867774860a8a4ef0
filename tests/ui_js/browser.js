// What Node lacks of a browser, as far as the modules under test need it: storage, images that decode when a test says so,
// a labeler that answers as a test says, and keys.

/** What `localStorage` and `sessionStorage` do. */
export function storage() {
  return Object.create({
    getItem(key) {
      return Object.hasOwn(this, key) ? this[key] : null;
    },
    setItem(key, value) {
      this[key] = String(value);
    },
    removeItem(key) {
      delete this[key];
    },
  });
}

globalThis.localStorage = storage();
globalThis.sessionStorage = storage();

/** Begin a test with empty storage. */
export function forget() {
  globalThis.localStorage = storage();
  globalThis.sessionStorage = storage();
}

/** An image; `decode` waits until `Picture.finish(url)` or `Picture.fail(url)`, or not at all while `Picture.quick`. */
export class Picture {
  static quick = true;
  static made = [];

  constructor() {
    Picture.made.push(this);
    this.src = "";
  }

  decode() {
    if (Picture.quick) return Promise.resolve();
    return new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
  }

  static finish(url) {
    for (const each of Picture.made) if (each.src === url) each.resolve?.();
  }

  static fail(url) {
    for (const each of Picture.made) if (each.src === url) each.reject?.(new Error("damaged"));
  }

  static begin({ quick = true } = {}) {
    Picture.quick = quick;
    Picture.made = [];
  }
}

globalThis.Image = Picture;

/** The labeler: `answer(request)` gives `[status, body]`, or throws where the connection is lost. Returns the requests. */
export function serve(answer) {
  const requests = [];
  globalThis.fetch = async (url, { method = "GET", body, signal } = {}) => {
    const request = { url: String(url), method, body: typeof body === "string" ? JSON.parse(body) : body, signal };
    requests.push(request);
    const [status, answered] = await answer(request);
    return new Response(JSON.stringify(answered), { status });
  };
  return requests;
}

/** Every promise that can go on has gone on. */
export async function settled() {
  for (let turn = 0; turn < 30; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** A keydown event as a browser sends it. `target`: what has the focus. */
export class KeyDown extends Event {
  constructor(key, { code = "", target = { tagName: "BODY" }, ...more } = {}) {
    super("keydown", { cancelable: true });
    const none = { shiftKey: false, ctrlKey: false, metaKey: false, altKey: false, repeat: false, isComposing: false };
    Object.assign(this, none, { key, code }, more);
    this.composedPath = () => [target];
  }
}

/** A page to press keys on. Returns `press(key, more)`, which says whether somebody took the key. */
export function keyboard() {
  const page = new EventTarget();
  globalThis.addEventListener = page.addEventListener.bind(page);
  return (key, more) => !page.dispatchEvent(new KeyDown(key, more));
}

/** A key as `press` handlers get it. */
export function key(name, more = {}) {
  const none = { letter: name.toUpperCase(), place: undefined, digit: /^\d$/.test(name) ? name : undefined };
  return { name, ...none, command: null, shift: false, repeat: false, at: 0, ...more };
}

/** An element that remembers what was set; it has any part and any method. */
export function stub(own = {}) {
  const known = { ...own };
  return new Proxy(() => {}, {
    get: (_, name) =>
      name in known ? known[name] : name === Symbol.iterator ? function* () {} : (known[name] = stub()),
    set: (_, name, value) => {
      known[name] = value;
      return true;
    },
    apply: () => stub(),
  });
}
