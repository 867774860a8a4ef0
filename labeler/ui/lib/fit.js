// Lets a component fill the rest of the window: its style sheet subtracts `--above` from the height of the window.

/**
 * Keep `--above`, the pixels above the component, up to date until `signal` aborts. Returns a function that measures again at
 * once.
 * @param {HTMLElement} node
 * @param {AbortSignal} signal
 */
export function fitBelow(node, signal) {
  const measure = () => {
    const host = /** @type {ShadowRoot} */ (node.getRootNode()).host;
    const above = node.getBoundingClientRect().top + (host?.closest(".stMain")?.scrollTop ?? 0);
    node.style.setProperty("--above", `${Math.round(above)}px`);
  };
  addEventListener("resize", measure, { signal });
  document.addEventListener("flywheel:bar", measure, { signal }); // the bar above grew or shrank
  measure();
  return measure;
}
