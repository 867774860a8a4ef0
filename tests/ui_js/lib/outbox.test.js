import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { Outbox } from "../../../labeler/ui/lib/outbox.js";
import { forget, serve, settled } from "../browser.js";

const KEY = "flywheel/unconfirmed/log/tab";

/** An outbox of three answers at most, and what it told the page. */
function opened(answer = () => [200, {}], session = "tab") {
  const requests = serve(answer);
  const outbox = new Outbox("log", session, 3);
  const told = { confirmed: [], refused: [] };
  outbox.join({
    changed: () => {},
    confirmed: (ids) => told.confirmed.push(...ids),
    refused: ({ id }, reason) => told.refused.push([id, reason]),
  });
  return { outbox, told, requests, sent: () => requests.map(({ body }) => body.annotations.map(({ id }) => id)) };
}

const answer = (id) => ({ id, image_id: Number(id.slice(1)), action: "label", annotator: "ann" });
const stored = (key = KEY) => JSON.parse(localStorage.getItem(key) ?? "[]").map(({ id }) => id);

beforeEach(() => {
  forget();
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
});

test("an answer is stored before it is sent, and removed when it is confirmed", async () => {
  const { outbox, told, requests } = opened(() => {
    assert.deepEqual(stored(), ["a1"]);
    return [200, {}];
  });
  outbox.add(answer("a1"));
  await settled();
  assert.equal(requests[0].url, "/api/annotations?log_id=log");
  assert.deepEqual([outbox.items, stored(), told.confirmed], [[], [], [1]]);
});

test("one request is under way at a time, and the next sends all waiting answers", async () => {
  let release;
  const { outbox, sent } = opened(() => new Promise((resolve) => (release = () => resolve([200, {}]))));
  for (const id of ["a1", "a2", "a3"]) outbox.add(answer(id));
  assert.equal(outbox.full, true);
  await settled();
  assert.deepEqual(sent(), [["a1"]]);
  release();
  await settled();
  assert.deepEqual(sent(), [["a1"], ["a2", "a3"]]);
  assert.equal(outbox.full, false);
});

test("a lost connection is reported; retries wait up to 5 s and send the same ids", async () => {
  let lost = true;
  const { outbox, sent } = opened(() => {
    if (lost) throw new TypeError("no connection");
    return [200, {}];
  });
  outbox.add(answer("a1"));
  for (const wait of [250, 500, 1000, 2000, 4000, 5000, 5000]) {
    await settled();
    assert.equal(outbox.problem, "connection lost");
    const before = sent().length;
    mock.timers.tick(wait - 1);
    await settled();
    assert.equal(sent().length, before);
    mock.timers.tick(1);
  }
  await settled();
  lost = false;
  outbox.nudge(); // the connection is back
  await settled();
  assert.deepEqual([outbox.items, outbox.problem, outbox.failures, stored()], [[], null, 0, []]);
  assert.equal(new Set(sent().flat()).size, 1);
});

test("a reload sends unconfirmed answers", async () => {
  localStorage.setItem(KEY, JSON.stringify([answer("a1"), answer("a2")]));
  const { outbox, sent } = opened();
  assert.equal(outbox.items.length, 2);
  await outbox.send();
  await settled();
  assert.deepEqual([sent(), stored()], [[["a1", "a2"]], []]);
});

test("the labeler's refusals say what to do", async () => {
  for (const [status, body, words] of [
    [401, {}, "signed out – sign in again"],
    [409, {}, "the labeler serves another project"],
    [500, {}, "the labeler answers 500"],
    [503, { disk: { kind: "full" } }, "not saved: the disk is full"],
    [503, { disk: { kind: "new", message: "no room" } }, "not saved: no room"],
  ]) {
    const { outbox } = opened(() => [status, body]);
    outbox.add(answer("a1"));
    await settled();
    assert.equal(outbox.problem, words);
    assert.equal(outbox.items.length, 1);
    forget();
  }
});

test("answers that the labeler names as invalid are dropped and reported; the rest is sent again", async () => {
  const invalid = [{ id: "a2", reason: "There is no class 99." }];
  const { outbox, told, sent } = opened(({ body }) =>
    body.annotations.some(({ id }) => id === "a2") ? [422, { invalid }] : [200, {}],
  );
  outbox.items = ["a1", "a2", "a3"].map(answer);
  await outbox.send();
  await settled();
  assert.deepEqual(told.refused, [["a2", "There is no class 99."]]);
  assert.deepEqual(sent(), [
    ["a1", "a2", "a3"],
    ["a1", "a3"],
  ]);
  assert.deepEqual(outbox.items, []);
});

test("if the labeler names none, answers are sent one by one, and the valid ones are saved", async () => {
  const { outbox, told, sent } = opened(({ body }) =>
    body.annotations.some(({ id }) => id === "a2") ? [422, { detail: "too long" }] : [200, {}],
  );
  outbox.items = ["a1", "a2", "a3"].map(answer);
  await outbox.send();
  await settled();
  assert.deepEqual(told.refused, [["a2", "too long"]]);
  assert.deepEqual(sent().slice(0, 3), [["a1", "a2", "a3"], ["a1"], ["a2"]]);
  assert.deepEqual(outbox.items, []);
});

test("a tab takes over the answers of a closed tab, once, and only those of its project", async () => {
  const other = "flywheel/unconfirmed/other/gone";
  localStorage.setItem("flywheel/unconfirmed/log/gone", JSON.stringify([answer("a1"), answer("a2")]));
  localStorage.setItem(other, JSON.stringify([answer("a9")]));
  const { outbox, sent } = opened();
  outbox.items = [answer("a1")]; // it has this one already
  await outbox.adopt();
  await settled();
  assert.deepEqual(sent().flat().sort(), ["a1", "a2"]);
  assert.deepEqual([stored("flywheel/unconfirmed/log/gone"), stored(other)], [[], ["a9"]]);
});

test("an open tab keeps its own answers", async () => {
  localStorage.setItem("flywheel/unconfirmed/log/open", JSON.stringify([answer("a1")]));
  const { outbox, sent } = opened();
  await navigator.locks.request("flywheel/open", () => outbox.adopt());
  assert.deepEqual([sent(), stored("flywheel/unconfirmed/log/open")], [[], ["a1"]]);
});

test("without storage, answers are still sent, and the outbox says so", async () => {
  localStorage.setItem = () => {
    throw new Error("QuotaExceededError");
  };
  let release;
  const { outbox } = opened(() => new Promise((resolve) => (release = () => resolve([200, {}]))));
  outbox.add(answer("a1"));
  assert.equal(outbox.durable, false);
  await settled();
  release();
  await settled();
  assert.deepEqual([outbox.items, outbox.durable], [[], true]);
});

test("a closed page gets no more messages", async () => {
  const { outbox, told } = opened();
  outbox.leave();
  outbox.add(answer("a1"));
  await settled();
  assert.deepEqual([outbox.items, told.confirmed], [[], []]);
});
