// How tiles, the buttons of classes, and the notice over an empty grid look.

import { sized } from "../lib/api.js";
import { element, setText } from "../lib/dom.js";
import { embedded, embeddedShare } from "../lib/project.js";

/**
 * Fill a tile. Its picture is made once; its words may change.
 * @param {any} node
 * @param {number} id
 * @param {import("./tiles.js").Tile | null} tile null for an image that is no longer there
 * @param {string} words
 */
export function drawTile(node, id, tile, words) {
  const [picture, caption] = node.children;
  node.setAttribute("aria-label", `${tile?.name ?? `Image ${id}`}, ${words}`);
  node.title = [tile?.name, words].filter(Boolean).join("\n");
  node.dataset.status = tile?.status ?? "gone";
  node.classList.toggle("held", Boolean(tile?.held));
  drawCaption(caption, words);
  if (!tile || picture.firstChild) return;
  const image = new Image();
  const size = devicePixelRatio > 1 ? 320 : 160;
  Object.assign(image, { src: sized(tile.url, size), alt: "", draggable: false, decoding: "async" });
  image.onload = () => image.classList.toggle("small", Math.max(image.naturalWidth, image.naturalHeight) <= 64);
  image.onerror = () => setText(picture, "cannot be shown");
  picture.append(image);
}

/** @param {any} caption @param {string} words */
function drawCaption(caption, words) {
  if (caption.dataset.words === words) return;
  caption.dataset.words = words;
  const [, name, share] = /^(.*) (\d+%)$/.exec(words) ?? [null, words];
  caption.replaceChildren(element("span", name), ...(share ? [" ", element("b", share)] : []));
}

/** @param {import("../types.js").ClassEntry} entry @param {string | null | undefined} hotkey @param {boolean} disabled */
export function classButton({ id, name, colour, description }, hotkey, disabled) {
  const button = element("button");
  button.style.setProperty("--colour", colour ?? "transparent");
  button.title = description ? `${name}: ${description}` : name;
  button.type = "button";
  button.dataset.classId = String(id);
  button.dataset.testid = "class";
  button.disabled = disabled;
  button.setAttribute("aria-label", `Label as ${name}${hotkey ? `, key ${hotkey}` : ""}`);
  button.append(element("kbd", hotkey ?? ""), element("span", name, "name"));
  return button;
}

/**
 * Say why there is no image, or nothing.
 * @param {any} notice
 * @param {import("./words.js").Notice | null} words
 * @param {import("../types.js").Project | null} project
 */
export function drawNotice(notice, words, project) {
  notice.hidden = !words;
  if (!words) return;
  const [title, text, bar, button] = notice.children;
  setText(title, words.title);
  const processed = words.waits ? embedded(project) : "";
  setText(text, [words.text, processed && `${processed}.`].filter(Boolean).join(" "));
  const share = words.waits ? embeddedShare(project) : undefined;
  bar.hidden = share === undefined;
  if (share !== undefined) bar.value = share;
  button.hidden = !words.back;
}
