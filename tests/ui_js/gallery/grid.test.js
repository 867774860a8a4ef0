import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Bulk } from "../../../labeler/ui/gallery/bulk.js";
import { Query } from "../../../labeler/ui/gallery/filters.js";
import { PART, Pages } from "../../../labeler/ui/gallery/pages.js";
import { Scroller } from "../../../labeler/ui/gallery/scroller.js";
import { Selection } from "../../../labeler/ui/gallery/selection.js";
import { Tiles } from "../../../labeler/ui/gallery/tiles.js";
import { Unread } from "../../../labeler/ui/gallery/unread.js";
import { leaving, outcome, whyEmpty, wordsOf } from "../../../labeler/ui/gallery/words.js";
import { Refused } from "../../../labeler/ui/lib/api.js";
import { setAnnotator } from "../../../labeler/ui/lib/storage.js";
import { forget, serve, settled } from "../browser.js";

const CLASSES = [
  { id: 1, name: "cat" },
  { id: 2, name: "dog" },
];

beforeEach(forget);

/** A selection over images 10, 11, …, of at most 20. */
function selection(count = 8) {
  const made = new Selection(20);
  made.over(Array.from({ length: count }, (_, index) => 10 + index));
  return made;
}

const chosen = ({ ids }) => [...ids].sort((a, b) => a - b);

test("a click selects or deselects; Shift adds a range to the selection", () => {
  const some = selection();
  some.toggle(0);
  some.toggle(5);
  some.toggle(5);
  some.toggle(2);
  some.range(4);
  assert.deepEqual(chosen(some), [10, 12, 13, 14]);
  some.range(1);
  assert.deepEqual(chosen(some), [10, 11, 12, 13, 14]);
  some.toggle(3);
  assert.deepEqual(chosen(some), [10, 11, 12, 14]);
});

test("select all, select none, and invert", () => {
  const some = selection(4);
  some.all();
  assert.equal(some.size, 4);
  some.toggle(1);
  some.invert();
  assert.deepEqual(chosen(some), [11]);
  some.clear();
  assert.equal(some.size, 0);
  some.invert();
  assert.equal(some.size, 4);
});

test("one action takes only the first images, up to its limit", () => {
  const some = selection(50);
  some.all();
  assert.deepEqual([some.size, some.has(29), some.has(30)], [20, true, false]);
});

test("images that leave the list are deselected, and a range begins within the list", () => {
  const some = selection();
  some.toggle(1);
  some.toggle(7);
  some.over([10, 11, 12]);
  assert.deepEqual(chosen(some), [11]);
  some.range(1);
  assert.deepEqual(chosen(some), [11, 12]);
  some.over([]);
  assert.deepEqual([some.size, some.anchor], [0, 0]);
});

test("the query is read from the URL and changes with each filter", () => {
  const query = new Query({ status: "any", unknown: "x" });
  query.change({ predicted: 3, search: "a b", status: null, by: "" });
  assert.equal(query.toString(), "unknown=x&predicted=3&search=a+b");
  assert.equal(query.get("predicted"), "3");
  query.clear();
  assert.equal(query.toString(), "");
});

test("a status, an order and a number of groups are not filters", () => {
  assert.equal(new Query({ status: "labeled", by: "confidence", clusters: "20" }).narrowed, false);
  for (const name of ["predicted", "label", "min_confidence", "search", "cluster", "similar_to", "images"])
    assert.equal(new Query({ [name]: "1" }).narrowed, true, name);
});

test("a filter without a field is shown as a chip", () => {
  assert.deepEqual(new Query({ similar_to: "7", images: "1,2,3", cluster: "4", status: "any" }).chips, [
    ["similar_to", "Similar to image 7"],
    ["cluster", "Group 4"],
    ["images", "3 images chosen"],
  ]);
  assert.deepEqual(new Query({ images: "1" }).chips, [["images", "1 image chosen"]]);
});

const tile = (image_id, more = {}) => ({
  image_id,
  status: "unlabeled",
  label: null,
  predicted: 1,
  confidence: 0.5,
  ...more,
});

test("a tile keeps the prediction with which it was first seen; everything else is updated", () => {
  const tiles = new Tiles(() => {});
  tiles.take([1, 2, 3], { images: [tile(1), tile(2, { predicted: null })], last_seq: 5 });
  tiles.take([1, 2, 3], {
    images: [tile(1, { predicted: 2, confidence: 0.9, status: "labeled" }), tile(2)],
    last_seq: 6,
  });
  const { predicted, confidence, status, as_of } = tiles.get(1);
  assert.deepEqual([predicted, confidence, status, as_of], [1, 0.5, "labeled", 6]);
  assert.equal(tiles.get(2).predicted, 1);
  assert.equal(tiles.get(3), null); // not there
});

test("tiles are requested once, in parts, and not again while a request is under way", async () => {
  const requests = serve(({ url }) => {
    const ids = new URL(url, "http://x").searchParams.get("ids").split(",").map(Number);
    return [200, { images: ids.map((id) => tile(id)), last_seq: 1 }];
  });
  const tiles = new Tiles(() => {});
  const ids = Array.from({ length: 300 }, (_, index) => index + 1);
  await Promise.all([tiles.need(ids), tiles.need(ids)]);
  await tiles.need(ids);
  assert.equal(requests.length, 2); // 250 and 50
  await tiles.need([1], { anew: true });
  assert.equal(requests.length, 3);
});

/** A bulk over tiles 1, 2, 3 that are known; `answer` is the labeler's. */
function bulk(answer, more = {}) {
  const requests = serve(answer);
  const said = [];
  const tiles = new Tiles(() => {});
  tiles.take([1, 2, 3], { images: [1, 2, 3].map((id) => tile(id, more)), last_seq: 7 });
  return { bulk: new Bulk("log", tiles, (words) => said.push(words)), requests, said };
}

const receipt = (more = {}) => [200, { answered: [], held: [], ...more }];

test("an answer for many images is one request, with the annotator and each tile's prediction", async () => {
  setAnnotator("ann");
  const { bulk: all, requests } = bulk(() => receipt());
  const done = await all.give([1, 2], "label", () => ({ label: 4 }));
  assert.deepEqual(done.given, [1, 2]);
  const [{ url, body }] = requests;
  assert.equal(url, "/api/annotations?log_id=log");
  const { id, ...first } = body.annotations[0];
  assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.deepEqual(first, { image_id: 1, action: "label", label: 4, annotator: "ann", source: "grid", as_of: 7 });
  assert.deepEqual(all.steps, [{ target: id, undone: 2 }]);
});

test("accepting predictions leaves out images without one, and names missing images", async () => {
  const { bulk: all, requests } = bulk(() => receipt());
  all.tiles.known.get(2).predicted = null;
  all.tiles.known.set(9, null);
  const done = await all.give([1, 2, 9], "label", ({ predicted }) =>
    predicted === null ? undefined : { label: predicted },
  );
  assert.deepEqual([done.given, done.gone], [[1], [9]]);
  assert.equal(requests[0].body.annotations.length, 1);
});

test("another person's label is corrected on purpose", async () => {
  const { bulk: all, requests } = bulk(() => receipt(), { settles: true });
  await all.give([1], "label", () => ({ label: 4 }));
  await all.give([1], "skip", () => ({ label: 4 }));
  assert.deepEqual(
    requests.map(({ body }) => [body.annotations[0].action, body.annotations[0].label]),
    [
      ["settle", 4],
      ["skip", null],
    ],
  );
});

test("images that others answered or hold are not counted, and undo counts the rest", async () => {
  const { bulk: all } = bulk(() => receipt({ answered: [1], held: [2] }));
  const done = await all.give([1, 2, 3], "label", () => ({ label: 4 }));
  assert.deepEqual([done.given, done.answered, done.held], [[3], [1], [2]]);
  assert.equal(all.steps[0].undone, 1);
});

test("a refused answer is dropped and the others are sent again; if all are refused, the reason is shown", async () => {
  const refuse = (bad) => (request) => {
    const invalid = request.body.annotations.filter(({ image_id }) => bad.includes(image_id));
    return invalid.length
      ? [422, { invalid: invalid.map(({ id }) => ({ id, reason: "There is no class 4." })) }]
      : receipt();
  };
  const some = bulk(refuse([2]));
  const done = await some.bulk.give([1, 2, 3], "label", () => ({ label: 4 }));
  assert.deepEqual([done.given, done.refused], [[1, 3], [2]]);
  const none = bulk(refuse([1, 2, 3]));
  assert.equal(await none.bulk.give([1, 2, 3], "label", () => ({ label: 4 })), null);
  assert.equal(none.said.at(-1), "Nothing was saved: There is no class 4.");
});

test("a lost connection sends the same ids again until they are saved, and nothing else meanwhile", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  let lost = true;
  const {
    bulk: all,
    requests,
    said,
  } = bulk(() => {
    if (lost) throw new TypeError("no connection");
    return receipt();
  });
  const giving = all.give([1, 2], "label", () => ({ label: 4 }));
  await settled();
  assert.equal(said.at(-1), "Connection lost – 2 not saved yet, trying again");
  assert.equal(await all.give([3], "label", () => ({ label: 4 })), null);
  assert.equal(await all.undo(), 0);
  lost = false;
  context.mock.timers.tick(500);
  assert.deepEqual((await giving).given, [1, 2]);
  const [first, second] = requests.map(({ body }) => body.annotations.map(({ id }) => id));
  assert.deepEqual(first, second);
  assert.equal(all.busy, false);
});

test("undo reverts this page's last action; an earlier one is named first", async () => {
  const answers = [
    [409, { detail: "18 answers of ann.", target: "a1", undone: 18 }],
    [200, { undone: 18 }],
  ];
  const { bulk: all, requests, said } = bulk(() => answers.shift());
  assert.equal(await all.undo(), 0);
  assert.equal(said.at(-1), "18 answers of ann. Undo again to do that.");
  assert.equal(await all.undo(), 18);
  assert.deepEqual(
    requests.map(({ body }) => [body.target, body.ask, body.page]),
    [
      [undefined, true, "grid"],
      ["a1", false, "grid"],
    ],
  );
  assert.deepEqual(all.steps, []);
});

test("an undo that the labeler refuses is not tried again", async () => {
  const { bulk: all, said } = bulk(() => [409, { detail: "It was undone already." }]);
  all.steps.push({ target: "a1", undone: 2 });
  assert.equal(await all.undo(), 0);
  assert.deepEqual([said.at(-1), all.steps], ["Nothing was undone: It was undone already.", []]);
});

test("the outcome of an answer is reported in full", () => {
  const none = { given: [], answered: [], held: [], refused: [], gone: [] };
  assert.equal(outcome({ ...none, given: [1] }, 1, "labeled as cat"), "1 image labeled as cat.");
  assert.equal(outcome({ ...none, given: [1, 2] }, 2, "skipped"), "2 images skipped.");
  assert.equal(
    outcome({ given: [1], answered: [2], held: [3], refused: [4], gone: [5] }, 6, "labeled as predicted"),
    "1 image labeled as predicted. 1 of 6 were answered by others meanwhile. 1 of 6 are on someone else's screen." +
      " 1 of 6 could not be saved. 1 of 6 no longer exist. 1 of 6 have no prediction.",
  );
});

test("images that no longer match the view leave it", () => {
  const done = { given: [1, 2], answered: [3], held: [4], refused: [], gone: [5] };
  assert.deepEqual(leaving(done, "label", "unlabeled", false), [5, 1, 2, 3]);
  assert.deepEqual(leaving(done, "label", "labeled", false), [5]);
  assert.deepEqual(leaving(done, "label", "labeled", true), [5, 1, 2]);
  assert.deepEqual(leaving(done, "skip", "any", false), [5]);
  assert.deepEqual(leaving(done, "flag", "skipped", false), [5, 1, 2]);
});

test("a tile shows its answer, or else the prediction", () => {
  const words = (more) => wordsOf(tile(1, more), CLASSES);
  assert.equal(words({}), "cat 50%");
  assert.equal(words({ predicted: null }), "");
  assert.equal(words({ held: true }), "cat 50% on another screen");
  assert.equal(words({ predicted: null, held: true }), "on another screen");
  assert.equal(words({ status: "labeled", label: 1 }), "✓ cat");
  assert.equal(words({ status: "labeled", label: 2 }), "✓ dog, predicted cat 50%");
  assert.equal(words({ status: "skipped" }), "skipped");
});

test("an empty grid says why, and what to do", () => {
  const view = { loading: false, problem: null, narrowed: false };
  const project = (more) => ({ images: { total: 9 }, scanning: { running: false }, classes: [{ id: 1 }], ...more });
  const none = { images: { total: 0 } };
  for (const [given, more, title, back] of [
    [null, {}, "Looking …"],
    [project(), { loading: true }, "Looking …"],
    [project(), { problem: new Refused(409, { detail: "Wait." }) }, "Not yet", true],
    [project(), { problem: new Refused(503, { detail: "Start it." }) }, "The trainer cannot be reached", true],
    [project(), { problem: new Refused(404, {}) }, "Not found", true],
    [project(), { problem: new Refused(422, {}) }, "This cannot be shown", true],
    [project(), { problem: new Refused(500, {}) }, "The grid cannot be shown", true],
    [project(), { problem: new Error("connection lost") }, "The labeler cannot be reached"],
    [project({ ...none, scanning: { running: true } }), {}, "Reading the image folder"],
    [project({ ...none, scanning: { error: "No right to read it." } }), {}, "The image folder cannot be read"],
    [project(none), {}, "No images yet"],
    [project({ ...none, rejected: 4 }), {}, "No image can be used"],
    [project({ classes: [] }), {}, "No classes yet"],
    [project(), { narrowed: true }, "No images match", true],
    [project(), {}, "Nothing left to label"],
  ]) {
    const said = whyEmpty(given, { ...view, ...more });
    assert.deepEqual([said.title, said.back], [title, back]);
  }
});

test("arrows and page keys move to other tiles", () => {
  const target = (key) =>
    Scroller.prototype.target.call({ columns: 4, row: 100, focus: 10, box: { clientHeight: 350 } }, key);
  assert.deepEqual(
    ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "PageUp", "PageDown"].map(target),
    [9, 11, 6, 14, -2, 22],
  );
  assert.deepEqual(["Home", "End", "a"].map(target), [-Infinity, Infinity, undefined]);
});

test("a long list comes in parts: the next one before it is visible, each image once", async () => {
  const asked = [];
  const parts = { "": [[1, 2, 3], "queue 7 3"], "queue 7 3": [[3, 4, 5], "answered 5"], "answered 5": [[6], null] };
  serve(({ url }) => {
    const query = new URL(url, "http://labeler").searchParams;
    asked.push(query.get("after"));
    assert.deepEqual([query.get("status"), query.get("limit")], ["any", String(PART)]);
    const [image_ids, next] = parts[query.get("after") ?? ""];
    return [200, { image_ids, next, total: 6 }];
  });
  let list = [];
  const pages = new Pages((ids) => {
    list = [...list, ...ids];
  });
  list = (await pages.first(new Query({ status: "any" }))).image_ids;
  await pages.near([], list); // nothing is in sight
  assert.deepEqual(list, [1, 2, 3]);
  await Promise.all([pages.near([3], list), pages.near([3], list)]);
  assert.deepEqual(list, [1, 2, 3, 4, 5]);
  await pages.near([5], list);
  await pages.near([6], list);
  assert.deepEqual(list, [1, 2, 3, 4, 5, 6]);
  assert.deepEqual(asked, [null, "queue 7 3", "answered 5"]);
});

test("a refused part is reported, and requested again by its button or the next scroll", async () => {
  const answers = [
    [200, { image_ids: [1], next: "1" }],
    [503, { detail: "The labels cannot be reached." }],
    null,
    [503, { detail: "The labels cannot be reached." }],
    [200, { image_ids: [2], next: null }],
  ];
  serve(() => {
    const answer = answers.shift();
    if (answer) return answer;
    throw new TypeError("fetch failed");
  });
  const [words, button] = [{ textContent: "" }, {}];
  const line = { hidden: true, querySelector: (name) => (name === "button" ? button : words) };
  const unread = new Unread(line);
  let list = [];
  const pages = new Pages((ids) => {
    list = [...list, ...ids];
  });
  list = (await pages.first(new Query({}))).image_ids;
  const scroll = () => unread.load(() => pages.near(list, list));
  await scroll();
  assert.deepEqual(
    [line.hidden, words.textContent],
    [false, "Some images could not be loaded. The labels cannot be reached."],
  );
  await button.onclick();
  assert.equal(words.textContent, "Some images could not be loaded. The labeler does not answer.");
  await scroll();
  assert.equal(line.hidden, false);
  await button.onclick();
  assert.deepEqual([line.hidden, list], [true, [1, 2]]);
});

test("a late failure does not hide that a newer request succeeded", async () => {
  const line = { hidden: true, querySelector: () => ({}) };
  const unread = new Unread(line);
  let fail = () => {};
  const slow = unread.load(() => new Promise((_, reject) => (fail = reject)));
  await unread.load(async () => {});
  fail(new Error("late"));
  await slow;
  assert.equal(line.hidden, true);
});
