// What modules remember: the project and who is told, answers in the strip, doubts, uploads, and how long work takes.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { hidden } from "../../labeler/ui/add/dropped.js";
import { Uploads } from "../../labeler/ui/add/uploads.js";
import { Strip } from "../../labeler/ui/card/strip.js";
import { ask, isAbort, Lost, Refused } from "../../labeler/ui/lib/api.js";
import { Live } from "../../labeler/ui/lib/project.js";
import { Pace } from "../../labeler/ui/lib/time.js";
import { Doubts } from "../../labeler/ui/review/doubts.js";
import { ChoiceOne } from "../../labeler/ui/tasks/classification/choice.js";
import { taskNamed } from "../../labeler/ui/tasks/registry.js";
import { forget, Picture, serve, settled, stub } from "./browser.js";

const ONE = new ChoiceOne({ nameOf: String });

beforeEach(() => {
  forget();
  Picture.begin();
});

test("an answer is its JSON; a refusal has the labeler's words; no answer is a lost connection", async () => {
  const answers = {
    "/ok": [200, { a: 1 }],
    "/no": [409, { detail: "It is paused.", target: "x" }],
    "/invalid": [422, { detail: [{ msg: "too long" }] }],
    "/odd": [500, {}],
  };
  const requests = serve(({ url }) => {
    if (!answers[url]) throw new TypeError("Failed to fetch");
    return answers[url];
  });
  assert.deepEqual(await ask("/ok", { body: { b: 2 } }), { a: 1 });
  assert.deepEqual([requests[0].method, requests[0].body], ["POST", { b: 2 }]);
  await ask("/ok", { body: {}, method: "PATCH" });
  assert.equal(requests[1].method, "PATCH");
  const error = await ask("/no").catch((error) => error);
  assert.ok(error instanceof Refused);
  assert.deepEqual([error.status, error.message, error.answer.target], [409, "It is paused.", "x"]);
  await assert.rejects(ask("/invalid"), { message: "too long" });
  await assert.rejects(ask("/odd"), { message: "The labeler answers 500." });
  await assert.rejects(ask("/gone"), Lost);
});

test("a request that takes too long is lost; one that the caller stops is neither lost nor refused", async () => {
  globalThis.fetch = (_, { signal }) =>
    new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  await assert.rejects(ask("/slow", { patience: 1 }), Lost);
  const stop = new AbortController();
  const asking = ask("/slow", { signal: stop.signal });
  stop.abort();
  assert.ok(isAbort(await asking.catch((error) => error)));
});

/** A page's view of the project, its clock and its socket. */
function opened(context) {
  context.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  const page = new EventTarget();
  const sockets = [];
  const reloads = [];
  let clock = 100_000;
  context.mock.method(performance, "now", () => clock);
  Object.assign(globalThis, {
    addEventListener: page.addEventListener.bind(page),
    document: { hidden: false },
    location: { protocol: "http:", host: "x", reload: () => reloads.push(true) },
    WebSocket: class {
      constructor(url) {
        Object.assign(this, { url, close: () => (this.closed = true) });
        sockets.push(this);
      }
    },
  });
  const requests = serve(() => [200, { log_id: "log", last_seq: 1, classes: [] }]);
  const told = [];
  const live = new Live();
  const leave = live.follow("log", (project, connected) => told.push([project.last_seq, connected]));
  const wait = async (milliseconds) => {
    await settled();
    clock += milliseconds;
    context.mock.timers.tick(milliseconds);
    await settled();
  };
  return { live, leave, told, sockets, reloads, requests, wait, touch: () => page.dispatchEvent(new Event("keydown")) };
}

test("news updates the project and is announced, several at once as one", async (context) => {
  const { told, sockets, wait, live } = opened(context);
  await wait(60);
  assert.deepEqual(told, [[1, false]]);
  sockets[0].onopen();
  await wait(60);
  sockets[0].onmessage({ data: JSON.stringify({ last_seq: 2 }) });
  sockets[0].onmessage({ data: JSON.stringify({ last_seq: 3 }) });
  await wait(60);
  assert.deepEqual(told.at(-1), [3, true]);
  assert.equal(told.filter(([seq]) => seq === 2).length, 0);
  assert.equal(live.project.log_id, "log");
});

test("an idle page is told once a second, and at once when it is touched", async (context) => {
  const { told, sockets, wait, touch } = opened(context);
  await wait(60);
  await wait(6000);
  told.length = 0;
  sockets[0].onmessage({ data: '{"last_seq": 5}' });
  await wait(60);
  assert.deepEqual(told, []);
  touch();
  await wait(60);
  assert.deepEqual(told, [[5, false]]);
});

test("while the socket is down, the project is polled and the socket is retried at growing intervals", async (context) => {
  const { sockets, requests, wait } = opened(context);
  await wait(60);
  const before = requests.length;
  for (let tries = 0; tries < 3; tries++) {
    sockets.at(-1).onclose();
    await wait(5000);
  }
  assert.equal(sockets.length, 4);
  assert.ok(requests.length >= before + 3);
});

test("another project at this address reloads the page without telling its listeners", async (context) => {
  const { told, sockets, reloads, wait } = opened(context);
  await wait(60);
  told.length = 0;
  sockets[0].onmessage({ data: '{"log_id": "other"}' });
  await wait(60);
  assert.deepEqual([told, reloads.length], [[], 1]);
});

test("the connection closes when the last listener leaves", async (context) => {
  const { live, leave, sockets } = opened(context);
  const other = live.subscribe(() => {});
  leave();
  assert.ok(!sockets[0].closed);
  other();
  assert.ok(sockets[0].closed);
});

const question = (image_id, more = {}) => ({ item: { image_id, suggestions: [1] }, image: {}, broken: false, ...more });
const given = (id, label = 1) => ({ id, action: "label", label });

/** A strip with answers to these images, the last one newest. */
function strip(images) {
  const made = new Strip(stub(), "log", ONE, () => {});
  Object.assign(made, { draw: () => {} });
  for (const image of images) made.add(question(image), given(`a${image}`));
  return made;
}

const order = ({ entries }) => entries.map(({ item }) => item.image_id);

test("the strip holds the last dozen, newest first, without suggestions", () => {
  const made = strip(Array.from({ length: 14 }, (_, index) => index + 1));
  assert.deepEqual(order(made), [14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3]);
  assert.deepEqual(made.entries[0].item.suggestions, []);
});

test("arrows go back through the answers and forward to the queue", () => {
  const made = strip([1, 2, 3]);
  const [newest, middle, oldest] = made.entries;
  assert.equal(made.beside(undefined, -1), newest);
  assert.equal(made.beside(newest, -1), middle);
  assert.equal(made.beside(oldest, -1), undefined);
  assert.equal(made.beside(middle, 1), newest);
  assert.equal(made.beside(newest, 1), undefined);
  assert.equal(made.beside(undefined, 1), undefined);
});

test("a corrected image keeps its place, and an undo restores its earlier answer", () => {
  const made = strip([1, 2]);
  made.add(question(1), given("b1", 2));
  assert.deepEqual(order(made), [2, 1]);
  assert.deepEqual(
    made.of(1).answers.map(({ label }) => label),
    [1, 2],
  );
  made.takeBack(1);
  assert.deepEqual(
    made.of(1).answers.map(({ id }) => id),
    ["a1"],
  );
  made.takeBack(1, "a1");
  assert.deepEqual(order(made), [2]);
});

test("answers follow a class that was merged", () => {
  const made = strip([1, 2]);
  made.relabel(1, 7);
  assert.deepEqual(
    made.entries.map(({ answers }) => answers[0].label),
    [7, 7],
  );
});

test("a reload keeps the strip of its own project", () => {
  const made = strip([1, 2]);
  made.keep();
  assert.deepEqual(order(new Strip(stub(), "log", ONE, () => {})), [2, 1]);
  assert.deepEqual(order(new Strip(stub(), "other", ONE, () => {})), []);
});

const doubt = (image_id) => ({ image_id, url: `/i/${image_id}`, evidence: [] });
const page = (ids) => ({ items: ids.map(doubt), as_of: 1 });

/** Doubts about these images. */
async function doubts(ids) {
  const listed = { page: page(ids) };
  const requests = serve(() => [200, listed.page]);
  const made = new Doubts(() => {}, taskNamed("classification").verdicts);
  await made.ask();
  made.askSoon = () => {};
  return { made, listed, requests };
}

const shown = ({ current, next }) => [current?.image_id, next.map(({ image_id }) => image_id)];

test("a verdict shows the next doubt, and a new order does not move the next two", async () => {
  const { made, listed } = await doubts([1, 2, 3, 4, 5]);
  assert.deepEqual(shown(made), [1, [2, 3, 4, 5]]);
  made.advance();
  listed.page = page([9, 5, 1, 4]);
  await made.ask();
  assert.deepEqual(shown(made), [2, [3, 4, 9, 5]]);
});

test("a judged image does not come back from a request that was sent before its verdict arrived", async () => {
  const { made, listed } = await doubts([1, 2]);
  made.advance();
  listed.page = page([1, 2, 3]);
  await made.ask();
  assert.deepEqual(shown(made), [2, [3]]);
  made.confirmed([{ image_id: 1 }]);
  await made.ask(); // sent after: it names the image for a new reason
  assert.deepEqual(shown(made), [2, [3, 1]]);
});

test("an undone verdict comes first again", async () => {
  const { made } = await doubts([1, 2, 3]);
  const first = made.current;
  made.advance();
  made.putFirst(first);
  assert.deepEqual(shown(made), [1, [2, 3]]);
});

test("a doubt whose image is decoded already keeps it", async () => {
  const { made, listed } = await doubts([1, 2, 3, 4]);
  const { image } = made.next[2];
  listed.page = page([9, 4]);
  await made.ask();
  assert.equal(made.next.find(({ image_id }) => image_id === 4).image, image);
});

test("with several classes an image, each of its classes is judged by itself, and the opposite is proposed", async () => {
  const many = taskNamed("multilabel").verdicts;
  const one = (image_id, label, given) => ({
    ...doubt(image_id),
    label,
    proposed: label,
    label_name: `c${label}`,
    given,
  });
  const made = new Doubts(() => {}, many);
  made.askSoon = () => {};
  const listed = { items: [one(1, 5, true), one(1, 6, false), one(2, 5, true)], as_of: 1 };
  serve(() => [200, listed]);
  await made.ask();
  const { current } = made;
  assert.deepEqual([current.label_name, current.proposed_name], ["c5", "not c5"]);
  assert.deepEqual(many.keep(current), { label: null, answer: { yes: [5], no: [], merge: true } });
  assert.deepEqual(many.fix(current), { label: null, answer: { yes: [], no: [5], merge: true } });
  made.advance();
  assert.deepEqual([made.current.label_name, made.current.proposed_name], ["not c6", "c6"]);
  assert.deepEqual(many.fix(made.current).answer, { yes: [6], no: [], merge: true });
  await made.ask(); // the verdict on the first is still on its way
  assert.deepEqual(shown(made), [1, [2]]);
  made.putFirst(current);
  assert.deepEqual(shown(made), [1, [1, 2]]);
});

test("a refusal and a lost connection are kept as the problem", async () => {
  const made = new Doubts(() => {}, taskNamed("classification").verdicts);
  made.askSoon = () => {};
  serve(() => [409, { detail: "Wait." }]);
  await made.ask();
  assert.deepEqual(made.problem, { status: 409, message: "Wait." });
  globalThis.fetch = async () => {
    throw new TypeError("no connection");
  };
  await made.ask();
  assert.deepEqual(made.problem, { message: "connection lost" });
});

const LIMITS = { image: 100, request: 200, noImages: new Set([".txt", ".csv", ".pdf"]) };
const file = (name, size = 10) => ({ name, file: Object.assign(new Blob(["x".repeat(size)]), { name }) });

/** Uploads to a labeler that takes everything. */
function uploads(answer = () => [200, { added: 1, duplicate_uris: [], rejected: [], files: [] }]) {
  return { made: new Uploads(), requests: serve(answer) };
}

test("whatever may be a photo is sent, tables are label files, and the rest is named with a reason", async () => {
  const { made, requests } = uploads();
  made.add(
    [
      file("a.jpg"),
      file("b"),
      file("l.csv"),
      file("n.txt"),
      file(".hidden"),
      file("big.png", 101),
      file("l.json", 201),
    ],
    LIMITS,
  );
  await settled();
  assert.deepEqual(made.rejected, [
    {
      uri: "n.txt",
      reason: "is neither a photo nor a label file: if it belongs to a dataset, drop the whole folder as a zip",
    },
    { uri: ".hidden", reason: "is neither a photo nor a label file" },
    { uri: "big.png", reason: "is larger than max_image_bytes allows" },
    { uri: "l.json", reason: "is larger than max_request_bytes allows: use flywheel import" },
  ]);
  assert.deepEqual(
    requests.filter(({ method }) => method === "POST").map(({ url, body }) => [url, [...body.keys()].length]),
    [
      ["/api/images", 2],
      ["/api/label-files", 1],
    ],
  );
  assert.deepEqual([made.running, made.done], [false, 2]);
});

test("photos go in requests of at most twenty, and their folders are noted", async () => {
  const { made, requests } = uploads();
  const names = Array.from({ length: 45 }, (_, index) => `shoes/${["boot", "clog"][index % 2]}/${index}.jpg`);
  made.add([...names.map((name) => file(name)), file("hats/1.jpg")], LIMITS);
  await settled();
  assert.deepEqual(
    requests.map(({ body }) => [...body.keys()].length),
    [20, 20, 6],
  );
  assert.deepEqual(
    [...made.folders].map(([top, inner]) => [top, [...inner]]),
    [
      ["shoes", ["boot", "clog"]],
      ["", ["hats"]],
    ],
  );
});

test("a refused photo is named; a failing labeler is asked again and then reported", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const refused = uploads(() => [413, { detail: "is too large" }]);
  refused.made.add([file("a.jpg")], LIMITS);
  await settled();
  assert.deepEqual(refused.made.rejected, [{ uri: "a.jpg", reason: "is too large" }]);
  const failing = uploads(() => [503, { detail: "The disk is full." }]);
  failing.made.add([file("a.jpg")], LIMITS);
  for (const wait of [500, 2000, 5000]) {
    await settled();
    context.mock.timers.tick(wait);
  }
  await settled();
  assert.deepEqual([failing.made.problem, failing.requests.length], ["The disk is full.", 4]);
  assert.equal(failing.made.photos.length, 1); // to be tried again
});

test("hidden files are not photos", () => {
  for (const name of [".git/a.jpg", "a/.b.jpg", "a/Thumbs.db"]) assert.equal(hidden(name), true, name);
  assert.equal(hidden("a/b.jpg"), false);
});

test("the time left follows the pace so far, and starts again when the work does", () => {
  let now = 0;
  const pace = new Pace(() => now);
  assert.equal(pace.left(0.2), null);
  now = 10_000;
  assert.equal(pace.left(0.4), 30);
  assert.equal(pace.left(0.1), null);
});
