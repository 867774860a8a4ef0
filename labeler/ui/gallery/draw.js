// Draws tiles, the class buttons, and the notice over an empty grid.

import { placeKey } from "../classes/search.js";
import { has, sized } from "../lib/api.js";
import { element, setName, setText } from "../lib/dom.js";
import { rove } from "../lib/input/roving.js";
import { embedded, embeddedShare } from "../lib/project.js";
import { pause } from "../lib/time.js";

const RETRY_MS = 2000;

/**
 * Fill a tile. Its picture is created once; its caption may change.
 * @param {any} node
 * @param {number} id
 * @param {import("./tiles.js").Tile | null} tile null for an image that no longer exists
 * @param {string} words
 * @param {import("../tasks/task.js").Marking} marking
 */
export function drawTile(node, id, tile, words, marking) {
  const [picture, caption] = node.children;
  node.setAttribute("aria-label", `${tile?.name ?? `Image ${id}`}, ${words}`);
  node.title = [tile?.name, words].filter(Boolean).join("\n");
  node.dataset.status = tile?.status ?? "gone";
  node.classList.toggle("held", Boolean(tile?.held));
  drawCaption(caption, words);
  if (tile) marking.drawOver?.(picture, tile);
  if (!tile || picture.querySelector("img") || picture.dataset.broken) return;
  const image = new Image();
  const size = devicePixelRatio > 1 ? 320 : 160;
  Object.assign(image, { src: sized(tile.url, size), alt: "", draggable: false, decoding: "async" });
  image.onload = () => {
    image.style.visibility = "";
    image.classList.toggle("small", Math.max(image.naturalWidth, image.naturalHeight) <= 64);
  };
  let served = false;
  image.onerror = async () => {
    image.style.visibility = "hidden"; // hide the browser's icon for a broken image
    const there = await has(image.src); // a slow store or an offline labeler does not make the image broken
    if (there === null || (there && !served)) {
      served = there === true;
      if (!there) await pause(RETRY_MS);
      if (image.isConnected) image.src = sized(tile.url, size);
      return;
    }
    picture.dataset.broken = "yes";
    setText(picture, "cannot be shown");
  };
  picture.prepend(image);
}

/** @param {any} caption @param {string} words */
function drawCaption(caption, words) {
  if (caption.dataset.words === words) return;
  caption.dataset.words = words;
  const [, name, share] = /^(.*) (\d+%)$/.exec(words) ?? [null, words];
  caption.replaceChildren(element("span", name), ...(share ? [" ", element("b", share)] : []));
}

/**
 * @param {import("../types.js").ClassEntry} entry
 * @param {string | null | undefined} hotkey
 * @param {{ does: string, active: number | null | undefined }} press what pressing it does, before its name; `active`:
 *   the class that is asked about, undefined if there is none
 */
function classButton({ id, name, colour, description }, hotkey, { does, active }) {
  const button = element("button");
  button.style.setProperty("--colour", colour ?? "transparent");
  button.title = description ? `${name}: ${description}` : name;
  button.type = "button";
  button.dataset.classId = String(id);
  button.dataset.testid = "class";
  button.setAttribute("aria-label", `${does}${name}${hotkey ? `, key ${hotkey}` : ""}`);
  if (active !== undefined) button.ariaPressed = String(id === active);
  button.append(element("kbd", hotkey ?? ""), setName(element("span", "", "name"), name));
  return button;
}

/**
 * The classes that the search leaves, as buttons, if they can be pressed here.
 * @param {any} list
 * @param {import("../classes/search.js").ClassSearch} search
 * @param {import("../tasks/task.js").Marking} marking
 * @param {boolean} known whether the classes are known yet
 */
export function drawClasses(list, { matches, typed, unmatched }, { buttons: does, active }, known) {
  list.dataset.none = known && !matches.length ? (unmatched ?? "No classes yet. Add them on the page Label.") : "";
  list.hidden = does === null;
  const signature = JSON.stringify([Boolean(typed), active, matches.map(({ labels, ...each }) => each)]);
  if (does === null || list.dataset.drawn === signature) return;
  list.dataset.drawn = signature;
  const keyOf = (/** @type {string | null | undefined} */ hotkey, /** @type {number} */ at) =>
    typed ? placeKey(at) : hotkey;
  const focused = list.getRootNode().activeElement?.closest(".classes [data-class-id]")?.dataset.classId;
  list.replaceChildren(...matches.map((each, at) => classButton(each, keyOf(each.hotkey, at), { does, active })));
  list.querySelector(`[data-class-id="${focused}"]`)?.focus();
  rove(list);
}

/** @param {Element} root @param {string} selector @param {boolean} can whether these buttons are enabled */
export function enable(root, selector, can) {
  for (const button of root.querySelectorAll(selector)) /** @type {HTMLButtonElement} */ (button).disabled = !can;
}

/**
 * Show an image larger.
 * @param {any} dialog
 * @param {import("./tiles.js").Tile} tile
 * @param {string} said
 * @param {number} pixels
 */
export function enlarge(dialog, { image_id, name, url }, said, pixels) {
  const [picture, words, link] = dialog.children;
  Object.assign(picture, { src: sized(url, pixels), alt: name });
  setText(words, said);
  link.href = `/?image=${image_id}`;
  dialog.onclick = (/** @type {any} */ { target }) => target.closest("a") || dialog.close();
  dialog.showModal();
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
