// Which file is on screen: its folder and name, shortened in the middle, as a link to the address that opens exactly
// this image; both can be copied.

const TAIL = 28; // letters at the end that are never shortened away

class FileLine {
  /** `say(words, trouble)` tells whether something was copied. */
  constructor(root, say) {
    this.line = root.querySelector(".file");
    [this.link] = this.line.children;
    this.line.onclick = async (event) => {
      const what = event.target.closest("[data-copy]")?.dataset.copy;
      if (what) await this.copy(what === "link" ? this.link.href : this.link.title, say);
    };
  }

  /** `item` is on screen, or nothing. */
  show(item) {
    this.line.classList.toggle("none", !item);
    const uri = item ? item.uri || `image ${item.image_id}` : "";
    const [head, tail] = this.link.children;
    setText(head, uri.slice(0, -TAIL));
    setText(tail, uri.slice(-TAIL));
    this.link.title = uri;
    this.link.href = item ? addressOf(item.image_id) : "/";
  }

  async copy(text, say) {
    try {
      await copied(text);
      say(`Copied: ${text}`);
    } catch {
      say(`The browser blocks copying. Copy it by hand: ${text}`, true);
    }
  }
}

/** Where the page Label opens the image. */
function addressOf(imageId) {
  return `/?image=${imageId}`;
}

/** The image that this page's address names now; Streamlit may still know an earlier one. */
function namedByAddress() {
  return new URL(location.href).searchParams.get("image");
}

/** The address opened its image, or could not: a reload goes on with the queue. */
function forgetAddress() {
  const address = new URL(location.href);
  if (!address.searchParams.has("image")) return;
  address.searchParams.delete("image");
  history.replaceState(history.state, "", address);
}

/** Without the clipboard (plain HTTP, not loopback) a selected field is copied as people did it before. */
async function copied(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = Object.assign(element("textarea"), { value: text });
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  if (!done) throw new Error("refused");
}
