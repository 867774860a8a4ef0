// Lets a component fill the rest of the window: its style sheet subtracts `--above` from the height of the window. What comes
// or goes above it by itself, such as an error in the bar, does not move what somebody is about to press: the page scrolls by
// as much, or keeps the room.

const NARROW = "(max-width: 48rem)"; // as in the style sheets: the component is as high as its content, and the page scrolls

/**
 * Keep `--above`, the pixels above the component, up to date until `signal` aborts. Returns a function that measures again at
 * once.
 *
 * Once somebody has pressed something in the component, it stays where it is on a narrow page, and on a wide one while the
 * mouse is over it and no key is pressed.
 * @param {HTMLElement} node
 * @param {AbortSignal} signal
 * @param {Element} [header] its first part, whose height also changes by itself
 */
export function fitBelow(node, signal, header) {
  const host = /** @type {ShadowRoot} */ (node.getRootNode()).host;
  const main = /** @type {HTMLElement | null | undefined} */ (host?.closest(".stMain"));
  const narrow = matchMedia(NARROW);
  let pressed = false;
  let held = false; // whether a wide page is scrolled, instead of made to fit
  let at = 0; // where the part that is pressed begins, in pixels from the top of the page
  let kept = 0; // pixels of room kept above the component
  let seen = main?.scrollTop ?? 0; // how far the page was scrolled before a browser scrolls back because it got shorter
  const scrolled = () => main?.scrollTop ?? 0;
  const top = () => node.getBoundingClientRect().top + scrolled();
  const place = () => (header ? header.getBoundingClientRect().bottom + scrolled() : top());
  const keep = (/** @type {number} */ pixels) => {
    kept = pixels;
    node.style.marginTop = `${pixels}px`;
  };
  const measure = () => {
    held = false;
    if (!narrow.matches) keep(0);
    node.style.setProperty("--above", `${Math.round(top())}px`);
    at = place();
  };
  const follow = () => {
    const stays = main && pressed && (narrow.matches || node.matches(":hover"));
    if (!stays) return measure();
    held = !narrow.matches;
    const by = place() - at;
    const used = Math.max(0, Math.min(kept, by)); // what comes takes the room that was kept
    const wanted = seen + by - used;
    keep(kept - used + Math.max(0, -wanted)); // the page cannot scroll up that far
    main.scrollTop = Math.max(0, wanted);
    seen = main.scrollTop;
    at = place();
  };
  const press = () => {
    pressed = true;
    if (main) main.style.overflowAnchor = "none"; // otherwise the browser would scroll, too
  };
  addEventListener("resize", measure, { signal });
  document.addEventListener("flywheel:bar", follow, { signal }); // the bar above grew or shrank
  node.addEventListener("pointerdown", press, { capture: true, signal });
  node.addEventListener("pointerleave", ({ pointerType }) => held && pointerType === "mouse" && measure(), { signal });
  addEventListener("keydown", () => held && measure(), { capture: true, signal });
  main?.addEventListener("scroll", () => (seen = main.scrollTop), { signal });
  const size = new ResizeObserver(follow);
  if (header) size.observe(header);
  signal.addEventListener("abort", () => {
    size.disconnect();
    if (main) main.style.overflowAnchor = "";
  });
  measure();
  return measure;
}
