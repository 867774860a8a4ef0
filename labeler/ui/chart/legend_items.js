// The legend of the map as a list of buttons: pressing one selects its images.

import { element } from "../lib/dom.js";
import { rove } from "../lib/input/roving.js";
import { count, number } from "../lib/text.js";

const SHAPES = ["square", "diamond", "triangle", "plus"]; // shapes of the first classes, then of the following ones

/** @param {HTMLElement} list @param {import("./legend.js").Entry[]} legend */
export function drawItems(list, legend) {
  list.replaceChildren(...itemsOf(legend));
  rove(list);
}

/** The groups that have points. @param {import("./legend.js").Entry[]} legend @returns {HTMLElement[]} */
export function itemsOf(legend) {
  return legend.flatMap(({ name, colour, number: size, shape }, index) => {
    if (!size) return [];
    const [item, button, mark] = [element("li"), element("button"), element("i")];
    button.type = "button";
    button.dataset.colour = String(index);
    button.dataset.testid = "colour-of";
    button.setAttribute("aria-label", `Choose ${name}, ${count(size, "image")}`);
    mark.style.setProperty("--colour", colour);
    mark.className = SHAPES[shape ?? 0];
    button.append(mark, name, element("span", number(size)));
    item.append(button);
    return [item];
  });
}
