import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Questions } from "../../../labeler/ui/card/questions.js";
import { Picture, serve, settled } from "../browser.js";

const AHEAD = 4;

/** The queue's answer. */
function page(ids, version = 1, more = {}) {
  const items = ids.map((image_id) => ({
    image_id,
    url: `/i/${image_id}`,
    purpose: "query",
    suggestions: [],
    query_version: version,
    ...more,
  }));
  return { items, remaining: 100, query_version: version };
}

/**
 * A card's questions over a queue that gives these images, and what it was asked for. Like the labeler's, it gives the image on
 * screen again, unless others have `taken` it.
 */
function opened(ids, { waiting = [], touched = true, now = () => 0, idle = () => 0, taken = undefined } = {}) {
  const queue = { page: page(ids), lost: false, taken: [] };
  const outbox = { session: "tab", items: waiting.map((image_id) => ({ image_id })) };
  const requests = serve(({ url }) => {
    if (queue.lost) throw new TypeError("no connection");
    if (!url.startsWith("/api/queue")) return [queue.image ?? 200, {}];
    const shown = [questions.current?.item].filter((item) => item && !queue.taken.includes(item.image_id));
    const others = queue.page.items.filter(({ image_id }) => image_id !== shown[0]?.image_id);
    return [200, { ...queue.page, items: [...shown, ...others] }];
  });
  const questions = new Questions(outbox, AHEAD, { annotator: "ann", now, touched: () => touched, idle, taken });
  const asked = () => requests.map(({ url }) => new URL(url, "http://x").searchParams);
  return { questions, queue, outbox, asked };
}

const ids = (list) => list.map(({ item }) => item.image_id);

beforeEach(() => Picture.begin());

test("the first image comes on screen, the next ones are decoded behind it", async () => {
  const { questions, asked } = opened([1, 2, 3, 4, 5]);
  await questions.ask();
  await settled();
  assert.equal(questions.current.item.image_id, 1);
  assert.deepEqual(ids(questions.next), [2, 3, 4]); // four are read ahead, one of them is shown
  assert.deepEqual(Object.fromEntries(asked()[0]), { annotator: "ann", session: "tab", limit: "5", keep: "" });
});

test("an answer shows the next image at once; with few images left, the page asks the queue and keeps its leases", async () => {
  const { questions, queue, asked } = opened([1, 2, 3, 4, 5]);
  await questions.ask();
  await settled();
  queue.page = page([2, 3, 4, 5, 6, 7]);
  questions.advance();
  assert.equal(questions.current.item.image_id, 2);
  await settled();
  assert.equal(asked().at(-1).get("keep"), "2,3,4");
  assert.deepEqual(ids(questions.next), [3, 4, 5, 6]);
});

test("images whose answers are being sent stay leased and are not shown again", async () => {
  const { questions, outbox, asked } = opened([1, 2, 3], { waiting: [1] });
  await questions.ask();
  await settled();
  assert.deepEqual([asked()[0].get("keep"), asked()[0].get("limit")], ["1", "6"]);
  assert.equal(questions.current.item.image_id, 2);
  questions.confirmed([1]); // while a request sent before may still name it
  outbox.items = [];
  questions.take(page([1, 3]), 1, new Set());
  assert.deepEqual(ids(questions.next), [3]);
  await questions.ask(); // a request sent after may name it again: then it is asked on purpose
  assert.ok(ids(questions.next).includes(1));
});

test("a new order changes neither the image on screen nor the next two", async () => {
  const { questions, queue } = opened([1, 2, 3, 4, 5]);
  await questions.ask();
  await settled();
  queue.page = page([9, 8, 3, 2, 7], 2);
  questions.renew(2);
  await settled();
  assert.equal(questions.current.item.image_id, 1);
  assert.deepEqual(ids(questions.next), [2, 3, 9, 8]);
});

test("a decoded image gets the suggestions of the new order", async () => {
  const { questions, queue } = opened([1, 2, 3]);
  await questions.ask();
  await settled();
  const [decoded] = questions.next;
  const suggestions = [{ label: 1, name: "red", confidence: 0.75 }];
  queue.page = page([1, 2, 3], 2, { suggestions, reason: "torn" });
  questions.renew(2);
  await settled();
  assert.equal(questions.next[0], decoded);
  assert.deepEqual([decoded.item.suggestions, decoded.item.reason], [suggestions, "torn"]);
  assert.deepEqual(questions.current.item.suggestions, []); // on screen nothing changes
});

test("replaced images stay in use until the new ones are decoded", async () => {
  const { questions, queue } = opened([1, 2, 3, 4]);
  await questions.ask();
  await settled();
  Picture.begin({ quick: false });
  queue.page = page([7, 8, 9], 2);
  await questions.ask(0);
  questions.advance();
  assert.equal(questions.current.item.image_id, 2); // a fast hand does not wait
  await settled();
  Picture.finish("/i/7");
  await settled();
  questions.advance();
  assert.equal(questions.current.item.image_id, 7);
});

test("an idle page takes over a new order after five seconds, an active one at once", async () => {
  let clock = 0;
  const { questions, asked } = opened([1, 2, 3], { touched: false, now: () => clock });
  await questions.ask();
  for (let version = 2; version < 6; version++) {
    clock += 1000;
    questions.renew(version);
  }
  assert.equal(asked().length, 1);
  clock += 1000;
  questions.renew(6);
  await settled();
  assert.equal(asked().length, 2);
  questions.touched = () => true;
  questions.renew(7);
  assert.equal(asked().length, 3);
  questions.renew(1); // the order that it follows already
  assert.equal(asked().length, 3);
});

test("an unused page keeps its images for ten minutes, and asks again once it is touched", async () => {
  let minutes = 9;
  const { questions, queue, asked } = opened([1, 2, 3], {
    touched: false,
    now: () => minutes * 60_000,
    idle: () => minutes * 60_000,
  });
  await questions.ask();
  await settled();
  questions.renewHeld();
  await settled();
  assert.equal(asked().length, 2);
  minutes = 10;
  questions.renewHeld();
  questions.renew(2); // a new order is no reason to hold images either
  await settled();
  assert.equal(asked().length, 2);
  queue.page = page([1, 3, 4], 2); // others have answered image 2
  questions.touched = () => true;
  questions.renew(2);
  await settled();
  assert.equal(asked().at(-1).get("keep"), "1,2,3");
  assert.equal(questions.current.item.image_id, 1);
  assert.deepEqual(ids(questions.next), [3, 4]);
});

for (const [stays, now] of [
  [false, 2],
  [true, 1],
]) {
  test(`an image that others took over meanwhile ${stays ? "stays if something is given for it" : "is left"}`, async () => {
    let told = 0;
    const taken = () => Boolean(++told) && stays;
    const { questions, queue } = opened([1, 2, 3], { idle: () => 600_000, taken });
    await questions.ask();
    await settled();
    assert.equal(told, 0);
    questions.renewHeld();
    assert.ok(questions.away);
    queue.taken = [1]; // others have answered it
    queue.page = page([2, 3]);
    await questions.back();
    assert.ok(!questions.away);
    await questions.ask(); // it is said once
    assert.deepEqual([questions.current.item.image_id, told], [now, 1]);
  });
}

test("an image to which somebody came back stays, whoever has answered it", async () => {
  const { questions, queue } = opened([1, 2, 3], { taken: () => assert.fail() });
  await questions.ask();
  await settled();
  await questions.putFirst(page([7]).items[0], { answers: [] });
  queue.taken = [7];
  await questions.ask();
  assert.equal(questions.current.item.image_id, 7);
});

test("requests do not overlap; those made meanwhile become one, which keeps the fewest images", async () => {
  const { questions, asked } = opened([1, 2, 3, 4, 5]);
  await questions.ask();
  await settled();
  const under = questions.ask(3);
  questions.ask(2);
  questions.ask(1);
  await under;
  await settled();
  assert.equal(asked().length, 3);
  assert.equal(asked()[2].get("keep"), "1,2");
});

test("an undone image comes first and what was on screen next; the one being corrected is not kept behind", async () => {
  const { questions } = opened([1, 2, 3]);
  await questions.ask();
  await settled();
  questions.advance();
  const undone = page([1]).items[0];
  questions.done.set(1, Infinity);
  await questions.putFirst(undone);
  assert.equal(questions.current.item.image_id, 1);
  assert.deepEqual(ids(questions.next), [2, 3]);
  const entry = { answers: [] };
  await questions.putFirst(page([8]).items[0], entry);
  assert.equal(questions.current.given, entry);
  await questions.putFirst(page([9]).items[0], entry);
  assert.deepEqual(ids(questions.next), [1, 2, 3]);
});

test("of two images opened in quick succession, the later one is shown", async () => {
  const { questions } = opened([1]);
  await questions.ask();
  await settled();
  Picture.begin({ quick: false });
  const first = questions.putFirst(page([7]).items[0]);
  const second = questions.putFirst(page([8]).items[0]);
  await settled();
  Picture.finish("/i/8");
  Picture.finish("/i/7");
  await Promise.all([first, second]);
  assert.equal(questions.current.item.image_id, 8);
});

test("an image counts as broken only if the labeler says so", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { questions, queue } = opened([1]);
  Picture.begin({ quick: false });
  queue.image = 503;
  await questions.ask();
  await settled();
  Picture.fail("/i/1");
  await settled();
  assert.equal(questions.current, null); // it is tried again
  queue.image = 404;
  context.mock.timers.tick(1000);
  await settled();
  Picture.fail("/i/1");
  await settled();
  assert.deepEqual([questions.current.broken, questions.current.item.image_id], [true, 1]);
});

test("an image that failed while the labeler was away is tried again before it counts as broken", async () => {
  const { questions, queue } = opened([1, 2]);
  Picture.begin({ quick: false });
  queue.image = 200; // the labeler is back when it is asked about the image
  await questions.ask();
  await settled();
  Picture.fail("/i/1");
  await settled();
  assert.equal(questions.current, null);
  Picture.finish("/i/1");
  await settled();
  assert.deepEqual([questions.current.broken, questions.current.item.image_id], [false, 1]);
  Picture.fail("/i/2");
  await settled();
  Picture.fail("/i/2"); // once more, although the labeler has it: the file is damaged
  await settled();
  assert.equal(questions.next[0].broken, true);
});

test("a lost connection is noted, and news may then bring images", async () => {
  const { questions, queue } = opened([1]);
  assert.equal(questions.empty, false); // nothing is known yet
  queue.lost = true;
  await questions.ask();
  assert.deepEqual([questions.failed, questions.empty], [true, true]);
  queue.lost = false;
  await questions.ask();
  await settled();
  assert.deepEqual([questions.failed, questions.empty], [false, false]);
});
