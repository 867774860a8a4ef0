// The boxes of an answer over its picture in the grid.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Draw the boxes of the image's answer over its picture, if they changed.
 * @param {any} picture
 * @param {import("../../gallery/tiles.js").Tile} tile
 * @param {import("../../types.js").ClassEntry[]} classes
 */
export function drawOnTile(picture, { answer, width, height }, classes) {
  const boxes = answer && "boxes" in answer && width && height ? answer.boxes : [];
  const places = pathsOf(boxes);
  const colours = new Map(classes.map(({ id, colour }) => [id, colour ?? ""]));
  const signature = JSON.stringify([...places].map(([id, path]) => [path, colours.get(id)]));
  if ((picture.dataset.boxes ?? "[]") === signature || picture.dataset.broken) return;
  picture.dataset.boxes = signature;
  picture.querySelector("svg")?.remove();
  if (!places.size) return;
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("aria-hidden", "true");
  for (const [id, path] of places) {
    for (const look of ["rim", "line"]) {
      const drawn = document.createElementNS(SVG, "path");
      drawn.setAttribute("d", path);
      drawn.setAttribute("class", look);
      if (look === "line" && colours.get(id)) drawn.style.stroke = String(colours.get(id));
      svg.append(drawn);
    }
  }
  picture.append(svg);
}

/**
 * The boxes as one SVG path per class, because a tile may have a thousand boxes: path data by class id.
 * @param {readonly { label: number, x: number, y: number, w: number, h: number }[]} boxes
 * @returns {Map<number, string>}
 */
export function pathsOf(boxes) {
  /** @type {Map<number, string>} */
  const paths = new Map();
  for (const { label, x, y, w, h } of boxes) paths.set(label, `${paths.get(label) ?? ""}M${x} ${y}h${w}v${h}h${-w}z`);
  return paths;
}
