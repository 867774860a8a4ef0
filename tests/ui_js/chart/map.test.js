import assert from "node:assert/strict";
import { test } from "node:test";
import { legendOf } from "../../../labeler/ui/chart/legend.js";
import { boxOf, Overlay } from "../../../labeler/ui/chart/overlay.js";
import { Points } from "../../../labeler/ui/chart/points.js";
import { waits, whyEmpty, whyFlat } from "../../../labeler/ui/chart/words.js";
import { Refused } from "../../../labeler/ui/lib/api.js";
import { stub } from "../browser.js";

const WIDTH = 424; // so that a unit of the map is 200 pixels
globalThis.devicePixelRatio = 1;

/** Points at these places on a square map; what its pen drew. */
function points(places) {
  const drawn = [];
  const pen = {
    clearRect() {},
    setTransform() {},
    fillRect: (x, y) => drawn.push([pen.globalAlpha, pen.fillStyle, x, y]),
  };
  const made = new Points({ clientWidth: WIDTH, clientHeight: WIDTH, getContext: () => pen });
  made.hold({ image_ids: places.map((_, index) => index + 1), x: places.map(([x]) => x), y: places.map(([, y]) => y) });
  made.fit();
  return { points: made, drawn };
}

const chosen = ({ chosen }) => [...chosen];

test("points lie where the map says, upright, and are found by the pointer", () => {
  const { points: map } = points([
    [0, 0],
    [1, 1],
    [-1, 0.5],
  ]);
  assert.deepEqual([map.left(0), map.top(0)], [212, 212]);
  assert.deepEqual([map.left(1), map.top(1)], [412, 12]);
  assert.deepEqual([map.left(2), map.top(2)], [12, 112]);
  assert.equal(map.nearest(410, 14, 9), 1);
  assert.equal(map.nearest(300, 300, 9), -1);
});

test("a new map keeps what was chosen, wherever the image now is in it", () => {
  const { points: map } = points([
    [0, 0],
    [1, 1],
    [-1, 0.5],
  ]);
  map.chosen = new Set([0, 2]);
  map.hold({ image_ids: [3, 4, 2], x: [0, 0, 0], y: [0, 0, 0] });
  assert.deepEqual(chosen(map), [0]);
});

test("zooming keeps the place under the pointer; moving follows it; reset shows all", () => {
  const { points: map } = points([[0.5, 0.5]]);
  const before = [map.left(0), map.top(0)];
  map.zoom(4, ...before);
  assert.deepEqual([map.left(0), map.top(0)].map(Math.round), before);
  map.move(30, -20);
  assert.deepEqual([map.left(0), map.top(0)].map(Math.round), [before[0] + 30, before[1] - 20]);
  map.zoom(1e9);
  assert.equal(map.view.zoom, 200);
  map.whole();
  assert.deepEqual([map.left(0), map.top(0)], before);
  map.zoom(0.1);
  assert.equal(map.view.zoom, 1);
});

test("a lasso chooses what is inside, also one that crosses itself; Shift adds", () => {
  const { points: map } = points([
    [-0.5, 0],
    [0, 0],
    [0.5, 0],
  ]);
  map.choose(boxOf([100, 200], [140, 224]));
  assert.deepEqual(chosen(map), [0]);
  map.choose(boxOf([300, 200], [320, 224]), { adding: true });
  assert.deepEqual(chosen(map), [0, 2]);
  const ring = [...boxOf([100, 150], [324, 274]), [100, 150], ...boxOf([180, 180], [244, 244]), [180, 180]];
  map.choose(ring); // the middle is drawn around twice
  assert.deepEqual(chosen(map), [0, 2]);
  map.choose([]);
  assert.deepEqual(chosen(map), []);
});

test("points outside the selection or the hovered colour are dimmed", () => {
  const { points: map, drawn } = points([
    [0, 0],
    [0.5, 0],
  ]);
  map.colours.set([1, 2]);
  const legend = [{ colour: "grey" }, { colour: "red" }, { colour: "blue" }];
  const look = (lit) => {
    drawn.length = 0;
    map.draw(legend, new Set([0]), lit);
    return Object.fromEntries(drawn.map(([alpha, colour]) => [colour, alpha]));
  };
  assert.deepEqual(look(null), { red: 1, blue: 1 });
  assert.deepEqual(look(2), { red: 0.2, blue: 1 });
  map.chosen.add(0);
  assert.deepEqual(look(null), { red: 1, blue: 0.2 });
  map.move(-1000, 0); // out of sight
  assert.deepEqual(look(null), {});
});

test("many points are drawn smaller than few, and larger when zoomed", () => {
  const many = (count) => {
    const { points: map } = points(Array.from({ length: count }, () => [0, 0]));
    return map;
  };
  const radii = [10, 4_000, 30_000].map((count) => many(count).radius);
  assert.deepEqual(radii, [3.5, 2, 1.25]);
  const map = many(30_000);
  map.zoom(4);
  assert.equal(map.radius, 2.5);
});

const PALETTE = { classes: ["c1", "c2", "c3"], uncertainty: ["u1", "u2", "u3", "u4", "u5"], quiet: "grey" };
const class_ = (id, more = {}) => ({ id, name: `class ${id}`, ...more });

/** The legend without what a test does not ask, and the group of each point. */
function legend(by, values, classes, first = 2) {
  const groups = new Uint8Array((values.labels ?? values.predicted).length);
  const entries = legendOf(by, values, classes, PALETTE, first, groups);
  return {
    entries: entries.map(({ name, colour, number }) => [name, colour, number]),
    groups: [...groups],
    all: entries,
  };
}

test("each class has its colour, and images without a label are grey", () => {
  const { entries, groups, all } = legend("label", { labels: [0, 1, 2, 1] }, [class_(1), class_(2)]);
  assert.deepEqual(groups, [0, 1, 2, 1]);
  assert.deepEqual(entries, [
    ["no label", "grey", 1],
    ["class 1", "c1", 2],
    ["class 2", "c2", 1],
  ]);
  assert.equal(all[0].quiet, true);
});

test("a label of several classes, or of none, is a group of its own", () => {
  const { entries, groups } = legend("label", { labels: [0, -1, 2, -1, 9] }, [class_(1), class_(2), class_(9)]);
  assert.deepEqual(entries.at(-1), ["several classes or none", "grey", 2]);
  assert.deepEqual([groups[0], groups[1], groups[3]], [0, entries.length - 1, entries.length - 1]);
});

test("a map of predictions has their colours, not those of labels", () => {
  const values = { labels: [0, 0], predicted: [2, 0] };
  const { entries } = legend("predicted", values, [class_(1), class_(2)]);
  assert.deepEqual(entries, [
    ["no prediction", "grey", 1],
    ["class 1", "c1", 0],
    ["class 2", "c2", 1],
  ]);
});

test("with too many classes, the largest have colours in the order of the classes, and the rest are one group", () => {
  const { entries, groups, all } = legend(
    "label",
    { labels: [5, 5, 5, 4, 4, 3, 3, 2, 1] },
    [1, 2, 3, 4, 5].map((id) => class_(id)),
  );
  assert.deepEqual(entries, [
    ["no label", "grey", 0],
    ["class 3", "c1", 2],
    ["class 4", "c2", 2],
    ["class 5", "c3", 3],
    ["2 more classes", "grey", 2],
  ]);
  assert.deepEqual(groups, [3, 3, 3, 2, 2, 1, 1, 4, 4]);
  assert.deepEqual(
    all.map(({ shape }) => shape),
    [undefined, 0, 0, 1, undefined], // the second shape begins after two colours
  );
});

test("while there are colours for all, a class keeps its own however many images it has", () => {
  const classes = [1, 2, 3].map((id) => class_(id));
  const colours = (labels) => legend("label", { labels }, classes).entries.map(([, colour]) => colour);
  assert.deepEqual(colours([1, 1, 1]), colours([3, 3, 2]));
});

test("a class with a colour of its own takes none of the palette", () => {
  const classes = [class_(1), class_(2, { colour: "#123456" }), class_(3), class_(4), class_(5)];
  const { entries } = legend("label", { labels: [1, 2, 3, 4, 1, 3, 4] }, classes);
  assert.deepEqual(entries, [
    ["no label", "grey", 0],
    ["class 1", "c1", 2],
    ["class 2", "#123456", 1],
    ["class 3", "c2", 2],
    ["class 4", "c3", 2],
    ["1 more class", "grey", 0],
  ]);
});

test("uncertainty is in five steps", () => {
  const values = { predicted: [0, 1, 1, 1, 1], confidences: [0, 1, 0.81, 0.5, 0] };
  const { entries, groups } = legend("uncertainty", values, []);
  assert.deepEqual(groups, [0, 1, 1, 3, 5]);
  assert.deepEqual(entries.slice(0, 3), [
    ["no prediction", "grey", 1],
    ["0–20%", "u1", 2],
    ["20–40%", "u2", 0],
  ]);
});

test("keys draw a box from the cross: one corner, then the other", () => {
  globalThis.getComputedStyle = () => ({});
  const overlay = new Overlay({ getContext: () => stub() }, points([[0, 0]]).points);
  assert.equal(overlay.mark(), null);
  assert.deepEqual(overlay.corner, [212, 212]);
  overlay.show({ cross: [300, 250] });
  assert.deepEqual(overlay.mark(), boxOf([212, 212], [300, 250]));
  assert.equal(overlay.corner, null);
});

test("the pointer draws a lasso or a box, and forgets the keys' box", () => {
  const overlay = new Overlay({ getContext: () => stub() }, points([[0, 0]]).points);
  overlay.mark();
  overlay.begin([1, 1]);
  assert.deepEqual([overlay.corner, overlay.cross], [null, null]);
  overlay.extend([5, 1], false);
  overlay.extend([5, 5], false);
  assert.deepEqual(overlay.end(), [
    [1, 1],
    [5, 1],
    [5, 5],
  ]);
  overlay.begin([1, 1]);
  overlay.extend([5, 5], true);
  assert.deepEqual(overlay.end(), boxOf([1, 1], [5, 5]));
  assert.deepEqual(overlay.end(), []);
});

test("a map of one image, or of images that are all alike, says so", () => {
  assert.match(whyFlat({ x: [0], y: [0] }), /^One image makes one point/);
  assert.match(whyFlat({ x: [0.5, 0.5, 0.5], y: [0, 0, 0] }), /^These 3 images look the same to the trainer/);
  for (const map of [null, { x: [], y: [] }, { x: [0, 0], y: [0, 1] }, { x: [0, 1], y: [0, 0] }])
    assert.equal(whyFlat(map), "");
});

test("without a map the page says why, what to do, and whether it comes by itself", () => {
  const project = (more) => ({ images: { total: 9 }, scanning: { running: false }, ...more });
  const none = { images: { total: 0 }, scanning: { running: false } };
  const cases = [
    [project(), new Error("connection lost"), "The labeler cannot be reached", false],
    [{ ...none, scanning: { running: true } }, null, "Reading the image folder", true],
    [none, null, "No images yet", false],
    [project(), new Refused(503, { detail: "Start it." }), "The trainer cannot be reached", false],
    [project({ embedding: { done: 1, total: 9, lacks: "No vectors." } }), null, "No map of these images", false],
    [project({ embedding: { done: 3, total: 9 } }), null, "The trainer is processing the images", true],
    [project(), new Refused(409, { detail: "Wait." }), "Not yet", true],
    [project(), null, "Computing the map …", true],
    [{ ...none, rejected: 4 }, null, "No image can be used", false],
  ];
  for (const [given, problem, title, comes] of cases) {
    assert.equal(whyEmpty(given, problem, false)[0], title);
    assert.equal(Boolean(waits(given, problem)), comes, title);
  }
  assert.equal(whyEmpty(project(), null, true)[0], "No image to show yet");
  assert.equal(whyEmpty(cases[5][0], null, false)[1], "3 of 9 images. The map appears by itself.");
});
