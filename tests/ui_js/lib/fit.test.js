// What comes or goes above a component does not move what somebody is about to press.
import assert from "node:assert/strict";
import { test } from "node:test";
import { fitBelow } from "../../../labeler/ui/lib/fit.js";

/** A component below a bar, on a page that scrolls. `where` says where its upper edge is in the window. */
function opened({ narrow, hovered = false }) {
  globalThis.matchMedia = () => ({ matches: narrow });
  globalThis.ResizeObserver = class {
    observe() {}
    disconnect() {}
  };
  globalThis.document = new EventTarget();
  const page = new EventTarget();
  globalThis.addEventListener = page.addEventListener.bind(page);
  const main = Object.assign(new EventTarget(), { scrollTop: 0, style: {} });
  Object.assign(page, { bar: 100, main, above: "", hovered });
  const style = { marginTop: "0px", setProperty: (_, value) => (page.above = value) };
  const where = () => page.bar + Number.parseFloat(style.marginTop) - main.scrollTop;
  const node = Object.assign(new EventTarget(), {
    style,
    matches: () => page.hovered,
    getRootNode: () => ({ host: { closest: () => main } }),
    getBoundingClientRect: () => ({ top: where() }),
  });
  const stop = new AbortController();
  fitBelow(node, stop.signal);
  const grow = (pixels) => {
    page.bar += pixels;
    document.dispatchEvent(new Event("flywheel:bar"));
  };
  const scroll = (to) => {
    main.scrollTop = to;
    main.dispatchEvent(new Event("scroll"));
  };
  const tell = (name, more) => node.dispatchEvent(Object.assign(new Event(name), more));
  return Object.assign(page, { where, grow, scroll, tell, stop });
}

test("a phone's page opens at its top, and stays where it is once somebody has pressed something", () => {
  const page = opened({ narrow: true });
  page.grow(70);
  assert.deepEqual([page.main.scrollTop, page.where()], [0, 170]);
  page.tell("pointerdown");
  page.grow(90);
  assert.deepEqual([page.main.scrollTop, page.where()], [90, 170]);
  page.grow(-90);
  assert.deepEqual([page.main.scrollTop, page.where()], [0, 170]);
});

test("what goes from above a page that was scrolled up leaves its room to what comes next", () => {
  const page = opened({ narrow: true });
  page.tell("pointerdown");
  page.grow(90);
  page.scroll(20);
  assert.equal(page.where(), 170);
  page.grow(-90);
  assert.deepEqual([page.main.scrollTop, page.where()], [0, 170]);
  page.grow(50);
  assert.deepEqual([page.main.scrollTop, page.where()], [0, 170]);
  page.grow(40);
  assert.deepEqual([page.main.scrollTop, page.where()], [20, 170]);
});

test("a browser that scrolls back because the page got shorter is not followed twice", () => {
  const page = opened({ narrow: true });
  page.tell("pointerdown");
  page.grow(90);
  page.scroll(200);
  const before = page.where();
  page.main.scrollTop = 110; // before the scroll event
  page.grow(-90);
  assert.deepEqual([page.main.scrollTop, page.where()], [110, before]);
});

test("a wide page stays while the mouse is over the component and no key is pressed, and then fits the window again", () => {
  const page = opened({ narrow: false, hovered: true });
  assert.equal(page.above, "100px");
  page.tell("pointerdown");
  page.grow(36);
  assert.deepEqual([page.main.scrollTop, page.where(), page.above], [36, 100, "100px"]);
  page.dispatchEvent(new Event("keydown"));
  assert.equal(page.above, "136px");
  page.scroll(0); // it fits again
  page.grow(20);
  assert.deepEqual([page.main.scrollTop, page.above], [20, "136px"]);
  page.tell("pointerleave", { pointerType: "mouse" });
  assert.equal(page.above, "156px");
  page.hovered = false;
  page.grow(-56);
  assert.equal(page.above, "100px");
  assert.equal(page.main.style.overflowAnchor, "none");
  page.stop.abort();
  assert.equal(page.main.style.overflowAnchor, "");
});
