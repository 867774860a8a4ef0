// Presses buttons of Streamlit's by their keys, as the other pages understand keys: by what is written, and by the place
// on the keyboard where the layout writes nothing that fits. Streamlit's own shortcuts know neither a digit that needs
// Shift nor a letter of another script.

const SHORTCUTS = Symbol("shortcuts");

export default function ({ parentElement, data }) {
  const shortcuts = (parentElement[SHORTCUTS] ??= new Shortcuts());
  shortcuts.data = data;
  return () => {
    shortcuts.stopListening.abort();
    delete parentElement[SHORTCUTS];
  };
}

class Shortcuts {
  constructor() {
    this.stopListening = new AbortController();
    addEventListener("keydown", (event) => this.key(event), { capture: true, signal: this.stopListening.signal });
  }

  key(event) {
    const modified = event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing;
    if (modified || keepsKey(event.composedPath()[0], event.key)) return;
    const name = this.meant(event);
    const button = name && document.querySelector(`.st-key-${CSS.escape(name)} button`);
    if (!button) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    button.click();
  }

  /** The button that a key means: first by its character, then by its place. */
  meant(event) {
    const { keys, shifted } = this.data; // a key → the name of its button, without Shift and with it
    const place = placeOf(event);
    const letters = event.shiftKey ? shifted : keys;
    return letters[event.key.toLowerCase()] ?? keys[digitOf(event)] ?? letters[place?.toLowerCase()];
  }
}
