// How an image is looked at and touched: zoom, pan, pinch, swipe, and who owns the pointer.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Pointers } from "../../../labeler/ui/lib/input/pointer.js";
import { FAR, Swipe } from "../../../labeler/ui/stage/swipe.js";
import { CLOSEST, Zoom } from "../../../labeler/ui/stage/zoom.js";

function zoomed(factor = 1) {
  const zoom = new Zoom();
  zoom.measure(400, 300);
  if (factor > 1) zoom.enlarge(factor);
  return zoom;
}

const where = ({ factor, x, y }) => [factor, x, y];

test("zooming keeps the point under the pointer where it is", () => {
  const zoom = zoomed();
  zoom.enlarge(2, 100, 50);
  assert.deepEqual(where(zoom), [2, -100, -50]);
  zoom.enlarge(2, 100, 50);
  assert.deepEqual(where(zoom), [4, -300, -150]);
  assert.equal((100 - zoom.x) / zoom.factor, 100);
});

test("without a point it zooms about the middle, and never out of bounds", () => {
  assert.deepEqual(where(zoomed(2)), [2, -200, -150]);
  const zoom = zoomed();
  for (let step = 0; step < 30; step++) zoom.enlarge(1.25);
  assert.equal(zoom.factor, CLOSEST);
  for (let step = 0; step < 30; step++) zoom.enlarge(1 / 1.25);
  assert.deepEqual([zoom.closer, ...where(zoom).map(Math.abs)], [false, 1, 0, 0]);
});

test("zooming out as many steps as in restores the view exactly", () => {
  const zoom = zoomed();
  for (const by of [1.25, 1.25, 1.25, 1 / 1.25, 1 / 1.25, 1 / 1.25]) zoom.enlarge(by);
  assert.equal(zoom.factor, 1);
});

test("panning stops at the image's edges, and does nothing while the whole image is visible", () => {
  const zoom = zoomed(2);
  zoom.pan(1000, 1000);
  assert.deepEqual(where(zoom), [2, 0, 0]);
  zoom.pan(-1000, -1000);
  assert.deepEqual(where(zoom), [2, -400, -300]);
  const whole = zoomed();
  whole.pan(50, 50);
  assert.deepEqual(where(whole).map(Math.abs), [1, 0, 0]);
});

test("an arrow looks further in its direction", () => {
  for (const [key, x, y] of [
    ["ArrowLeft", -140, -150],
    ["ArrowRight", -260, -150],
    ["ArrowUp", -200, -105],
    ["ArrowDown", -200, -195],
    ["Enter", -200, -150],
  ]) {
    const zoom = zoomed(2);
    zoom.panByKey(key);
    assert.deepEqual([zoom.x, zoom.y], [x, y], key);
  }
});

/** A finger that sweeps over an image whose suggestion is green; what was shown and done. */
function swiped({ words = { right: "green", left: "Skip" }, allowed = true } = {}) {
  const shown = [];
  const done = [];
  const swipe = new Swipe({
    words: (direction) => words[direction],
    done: (direction) => done.push(direction),
    allowed: () => allowed,
    show: (sweep) => shown.push(sweep),
  });
  return { swipe, shown, done };
}

const finger = (x, y = 0, type = "touch") => ({ x, y, type, at: 1 });

test("a long swipe acts by its direction, a short one does nothing", () => {
  for (const [way, expected] of [
    [FAR, ["right"]],
    [-FAR, ["left"]],
    [FAR - 1, []],
    [1 - FAR, []],
  ]) {
    const { swipe, done, shown } = swiped();
    assert.equal(swipe.begins(finger(0), true), true);
    swipe.moves(finger(way));
    swipe.ends(finger(way));
    assert.deepEqual(done, expected);
    assert.equal(shown.at(-1), null);
  }
});

test("during a swipe, the card says what lifting the finger will do", () => {
  const { swipe, shown } = swiped();
  swipe.begins(finger(0), true);
  for (const way of [10, 60, 80, -60]) swipe.moves(finger(way));
  assert.deepEqual(shown, [
    { way: 10, words: "", far: false },
    { way: 60, words: "green", far: false },
    { way: 80, words: "green", far: true },
    { way: -60, words: "Skip", far: false },
  ]);
});

test("without a suggestion there is nothing to accept", () => {
  const { swipe, shown, done } = swiped({ words: { left: "Skip" } });
  swipe.begins(finger(0), true);
  swipe.moves(finger(150));
  swipe.ends(finger(150));
  assert.deepEqual([shown[0], done], [{ way: 37.5, words: "", far: true }, []]);
});

test("only a new touch swipes, and only an image that is not zoomed", () => {
  assert.equal(swiped().swipe.begins(finger(0, 0, "mouse"), true), false);
  assert.equal(swiped().swipe.begins(finger(0), false), false);
  assert.equal(swiped({ allowed: false }).swipe.begins(finger(0), true), false);
});

test("a finger that goes up or down scrolls and does not swipe", () => {
  const { swipe } = swiped();
  swipe.begins(finger(0, 0), true);
  assert.equal(swipe.moves(finger(10, FAR + 1)), false);
});

test("the page may scroll until the finger moves sideways", () => {
  const { swipe } = swiped();
  swipe.begins(finger(0), true);
  const scrolls = [finger(0), finger(5), finger(20, 30), finger(40, 30), finger(20, 30)].map((each) => {
    swipe.moves(each);
    return swipe.scrolls();
  });
  assert.deepEqual(scrolls, [true, true, true, false, true]);
  swipe.moves(finger(40));
  swipe.begins(finger(0), true);
  assert.equal(swipe.scrolls(), true);
});

/** An area with a gesture that wants every pointer; what it heard. */
function touched(gesture = {}, options = {}) {
  const area = Object.assign(new EventTarget(), { setPointerCapture: (id) => heard.push(["capture", id]) });
  const heard = [];
  const note =
    (name) =>
    ({ x } = {}) => {
      heard.push([name, x]);
    };
  const gestures = [
    { begins: () => true, moves: note("moves"), ends: note("ends"), cancels: note("cancels"), ...gesture },
  ];
  new Pointers(area, gestures, {
    pinch: (...given) => heard.push(["pinch", ...given]),
    tap: note("tap"),
    hover: note("hover"),
    ...options,
  });
  const send = (kind, pointerId, x, { y = 0, closest = () => null, ...more } = {}) => {
    const event = Object.assign(new Event(`pointer${kind}`), { pointerId, clientX: x, clientY: y, button: 0, ...more });
    Object.defineProperty(event, "target", { value: { closest } });
    area.dispatchEvent(event);
  };
  const scrolls = () => area.dispatchEvent(new Event("touchmove", { cancelable: true }));
  return { heard, send, scrolls };
}

const TOUCH = { pointerType: "touch" };

test("a finger that is lifted where it was pressed taps, however long it rests, and after its gesture has ended", () => {
  const { heard, send } = touched();
  send("down", 1, 0, TOUCH);
  send("move", 1, 6, TOUCH);
  send("up", 1, 8, TOUCH);
  assert.deepEqual(heard.slice(-2), [
    ["ends", 8],
    ["tap", 8],
  ]);
});

test("no tap comes from a drag, not even back to where it began, from a mouse, a pinch or a cancelled finger", () => {
  const { heard, send } = touched();
  const press = (more) => send("down", 1, 0, more);
  press(TOUCH);
  send("move", 1, 60, TOUCH);
  send("move", 1, 0, TOUCH);
  send("up", 1, 0, TOUCH);
  press(TOUCH);
  send("up", 1, 60, TOUCH);
  press({ pointerType: "mouse" });
  send("up", 1, 0);
  press(TOUCH);
  send("down", 2, 100, TOUCH);
  send("up", 2, 100, TOUCH);
  send("up", 1, 0, TOUCH);
  press(TOUCH);
  send("cancel", 1, 0, TOUCH);
  send("up", 1, 0, TOUCH);
  assert.deepEqual(
    heard.filter(([name]) => name === "tap"),
    [],
  );
  press(TOUCH);
  send("up", 1, 0, TOUCH);
  assert.deepEqual(heard.at(-1), ["tap", 0]);
});

test("the browser makes no fling of a finger that a gesture owns, so that the next tap clicks", () => {
  const { send, scrolls } = touched();
  assert.equal(scrolls(), true);
  send("down", 1, 0, TOUCH);
  assert.equal(scrolls(), false);
  send("up", 1, 0, TOUCH);
  assert.equal(scrolls(), true);
  const swipe = touched({ scrolls: () => true });
  swipe.send("down", 1, 0, TOUCH);
  assert.equal(swipe.scrolls(), true);
  swipe.send("down", 2, 100, TOUCH);
  assert.equal(swipe.scrolls(), false); // two fingers pinch
  const nobodys = touched({ begins: () => false });
  nobodys.send("down", 1, 0, TOUCH);
  assert.equal(nobodys.scrolls(), true);
});

test("a gesture owns the pointer from press to lift, also outside the area", () => {
  const { heard, send } = touched();
  send("down", 1, 0);
  send("move", 1, 5);
  send("up", 1, 6);
  send("move", 1, 7);
  assert.deepEqual(heard, [
    ["capture", 1],
    ["moves", 5],
    ["ends", 6],
    ["hover", 7],
  ]);
});

test("a second finger ends the gesture and pinches about the middle of both", () => {
  const { heard, send } = touched();
  send("down", 1, 0);
  send("down", 2, 100);
  send("move", 2, 200);
  send("up", 2, 200);
  send("up", 1, 0);
  assert.deepEqual(heard, [
    ["capture", 1],
    ["capture", 2],
    ["cancels", undefined],
    ["pinch", 2, 100, 0],
  ]);
});

test("after a pinch the finger that stays may pan, but not swipe", () => {
  const asked = [];
  const { heard, send } = touched({ begins: (_, fresh) => asked.push(fresh) && !fresh });
  send("down", 1, 0);
  send("down", 2, 100);
  send("up", 2, 100);
  send("move", 1, 5);
  assert.deepEqual(asked, [true, false]);
  assert.deepEqual(heard.at(-1), ["moves", 5]);
});

test("an abandoned or cancelled gesture has no effect", () => {
  const { heard, send } = touched({ moves: () => false, begins: (_, fresh) => fresh });
  send("down", 1, 0);
  send("move", 1, 5);
  send("up", 1, 6);
  send("down", 1, 0);
  send("cancel", 1, 0);
  assert.deepEqual(
    heard.map(([name]) => name),
    ["capture", "cancels", "capture", "cancels"],
  );
});

test("buttons in the area and other mouse buttons work as usual", () => {
  const { heard, send } = touched({}, { ignore: "button" });
  send("down", 1, 0, { closest: (selector) => selector === "button" });
  send("down", 1, 0, { button: 2 });
  assert.deepEqual(heard, []);
});

test("a press that no gesture takes stays a click on what is in the area", () => {
  const { heard, send } = touched({ begins: () => false }, { pinch: undefined });
  send("down", 1, 0);
  send("move", 1, 5);
  send("up", 1, 5);
  assert.deepEqual(heard, [["hover", 5]]);
});
