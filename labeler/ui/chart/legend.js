// The legend of the map: the group of each point, and each group's name, look and size.

/**
 * A group of points.
 * @typedef {{ name: string, colour: string, number: number, quiet?: boolean, shape?: number }} Entry `quiet`: without a value
 * @typedef {{ labels?: number[], predicted?: number[], confidences?: number[] }} Values by point, 0 if there is none, and
 *   `SEVERAL` if a label is not one class
 * @typedef {{ classes: string[], uncertainty: string[], quiet: string }} Palette
 * @typedef {import("../types.js").ClassEntry} ClassEntry
 */

const SEVERAL = -1;
const PLUS = 3; // a shape

/**
 * Group the points. Writes each point's group into `groups` and returns what the groups mean.
 * @param {string} by "label", "predicted" or "uncertainty"
 * @param {Values} values
 * @param {ClassEntry[]} classes of the project
 * @param {Palette} palette
 * @param {number} first number of colours per shape
 * @param {Uint8Array} groups
 * @returns {Entry[]}
 */
export function legendOf(by, values, classes, palette, first, groups) {
  /** @type {Entry[]} */
  const legend = [
    { name: by === "label" ? "no label" : "no prediction", colour: palette.quiet, quiet: true, number: 0 },
  ];
  const group =
    by === "uncertainty"
      ? byUncertainty(legend, values, palette.uncertainty)
      : byClass(legend, (by === "label" ? values.labels : values.predicted) ?? [], classes, palette, first);
  for (let index = 0; index < groups.length; index++) legend[(groups[index] = group(index))].number++;
  return legend;
}

/** @param {Entry[]} legend @param {Values} values @param {string[]} colours @returns {(index: number) => number} */
function byUncertainty(legend, { predicted = [], confidences = [] }, colours) {
  const bins = colours.length;
  const share = (/** @type {number} */ bin) => Math.round((100 * bin) / bins);
  colours.forEach((colour, bin) => {
    legend.push({ name: `${share(bin)}–${share(bin + 1)}%`, colour, number: 0 });
  });
  return (index) => (predicted[index] ? 1 + Math.min(bins - 1, Math.floor((1 - confidences[index]) * bins)) : 0);
}

/**
 * The largest classes have a colour of the palette, in the order of the classes; those with their own colour keep it;
 * all others share one group.
 * @param {Entry[]} legend
 * @param {number[]} given class id of each point
 * @param {ClassEntry[]} classes
 * @param {Palette} palette
 * @param {number} first
 * @returns {(index: number) => number}
 */
function byClass(legend, given, classes, palette, first) {
  const plain = classes.filter(({ colour }) => !colour);
  // If there are enough colours, a class keeps its own, however many images it has.
  const coloured = plain.length > palette.classes.length ? largest(plain, given, palette.classes.length) : plain;
  const named = classes.filter((each) => each.colour || coloured.includes(each));
  const places = new Map(named.map(({ id }, place) => [id, place + 1]));
  let free = 0;
  for (const { name, colour } of named) {
    if (colour) legend.push({ name, colour, number: 0 });
    else legend.push({ name, colour: palette.classes[free], shape: Math.floor(free++ / first), number: 0 });
  }
  const others = classes.length - named.length;
  if (others)
    legend.push({ name: `${others} more ${others === 1 ? "class" : "classes"}`, colour: palette.quiet, number: 0 });
  const rest = legend.length - 1;
  if (given.includes(SEVERAL)) {
    places.set(SEVERAL, legend.length);
    legend.push({ name: "several classes or none", colour: palette.quiet, shape: PLUS, number: 0 });
  }
  return (index) => (given[index] ? (places.get(given[index]) ?? rest) : 0);
}

/** @param {ClassEntry[]} classes @param {number[]} given @param {number} most */
function largest(classes, given, most) {
  const numbers = new Map();
  for (const id of given) if (id > 0) numbers.set(id, (numbers.get(id) ?? 0) + 1);
  return [...classes].sort((a, b) => (numbers.get(b.id) ?? 0) - (numbers.get(a.id) ?? 0)).slice(0, most);
}
