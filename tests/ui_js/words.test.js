// What the pages say, as functions of what is known: the card, the review, the bar, and the page Data.
import assert from "node:assert/strict";
import { test } from "node:test";
import { linesOf, newClasses, stateOf } from "../../labeler/ui/add/label_file.js";
import {
  buttonsOf,
  challengerOf,
  diskTrouble,
  embeddingOf,
  lagOf,
  paceOf,
  scanOf,
  stoppedBecause,
} from "../../labeler/ui/bar/words.js";
import { untilTarget, whetherSaved, whyAsked, whyEmpty } from "../../labeler/ui/card/words.js";
import { BOXES, ONE_CLASS } from "../../labeler/ui/classes/class_words.js";
import { wordsOf as downloadWords } from "../../labeler/ui/downloads/downloads.js";
import { setName } from "../../labeler/ui/lib/dom.js";
import { embedded, embeddedShare, heldOut } from "../../labeler/ui/lib/project.js";
import { capital, timeLeft, tooLong } from "../../labeler/ui/lib/text.js";
import { evidenceOf, foundOf, lookingOf, precisionOf, whyEmpty as whyNoDoubt } from "../../labeler/ui/review/words.js";
import { taskNamed } from "../../labeler/ui/tasks/registry.js";

const ACCURACY = { metric: "accuracy", classWords: ONE_CLASS };

test("the bar says what the challenger does, and how far it is", () => {
  const view = (state, serving = null) => challengerOf({ state, round: 2, done: 50, total: 200, serving });
  assert.deepEqual(view("training", "challenger-1"), { text: "challenger, round 2: 25%", share: 0.25 });
  assert.deepEqual(view("embedding"), { text: "switching to the challenger: 25%", share: 0.25 });
  assert.deepEqual(view("halted"), { text: "challenger, round 2 paused: 25%", share: 0.25 });
  assert.deepEqual(view("waiting", "challenger-1"), { text: "The challenger is the live model" });
  assert.equal(view("waiting"), null);
  assert.equal(challengerOf(null), null);
});

test("what is too long to be kept is said, and nothing is cut", () => {
  assert.equal(tooLong("A note", "x".repeat(100), 100), null);
  assert.equal(
    tooLong("A note", "x".repeat(1_001), 1_000),
    "A note has at most 1,000 characters, and this one has 1,001: shorten it.",
  );
});

test("the bar says how far the trainer is with the images, and what it downloads first", () => {
  assert.deepEqual(embeddingOf({ done: 1500, total: 3000, seconds_left: 90 }), {
    text: "processing images: 1,500 of 3,000, about 2 min left",
    share: 0.5,
  });
  assert.equal(embeddingOf({ done: 9, total: 9 }), null);
  assert.equal(embeddingOf({ done: 8, total: 9, problems: 1 }), null); // one of them cannot be read: nothing is under way
  assert.equal(embeddingOf(null), null);
  const download = { name: "vit", done_bytes: 23_000_000, total_bytes: 88_000_000 };
  assert.equal(embeddingOf({ done: 0, total: 9, download }).text, "downloading vit: 23.0 MB of 88.0 MB");
  assert.deepEqual(scanOf({ running: true, done: 12, total: null }), { text: "reading the folder: 12" });
  assert.equal(scanOf({ running: false }), null);
});

test("the bar says what waits for the trainer and since when", () => {
  assert.equal(lagOf({ pending: 0, oldest_seconds: null }, "training", 0), "The trainer is up to date");
  assert.equal(lagOf({ pending: 0, oldest_seconds: null }, "absent", 0), "Nothing waits for the trainer");
  assert.equal(lagOf({ pending: 3, oldest_seconds: 0.2 }, "absent", 0.3), "3 waiting for the trainer");
  assert.equal(lagOf({ pending: 1200, oldest_seconds: 100 }, "absent", 20), "1,200 waiting for the trainer for 2 min");
});

test("the bar has the buttons that do something now", () => {
  const there = (...given) =>
    Object.entries(buttonsOf(...given))
      .filter(([, is]) => is)
      .map(([name]) => name);
  assert.deepEqual(there("training", false), ["pause", "stop"]);
  assert.deepEqual(there("waiting", false), ["pause", "stop"]);
  assert.deepEqual(there("paused", false), ["resume", "stop"]);
  assert.deepEqual(there("failed", false), ["resume", "stop"]);
  assert.deepEqual(there("failed", true), ["stop"]); // it continues by itself once there is room
  assert.deepEqual(there("stopping", false), []);
  assert.deepEqual(there("stopped", false), ["resume"]);
  for (const away of ["absent", "taken", "lost"]) assert.deepEqual(there(away, false), []);
});

test("the bar says what further labels mean once the trainer stopped, and how fast people are", () => {
  assert.equal(
    stoppedBecause("the budget is spent"),
    "The budget is spent: the model no longer learns. Labels that you give now are kept; press Resume to train on them. ",
  );
  assert.match(stoppedBecause(null), /^The model no longer learns\./);
  const people = [
    { name: "ann", per_minute: 20.4 },
    { name: "bob", per_minute: 9.6 },
  ];
  assert.equal(paceOf(people, "ann", 30, "label"), "Labels per minute: you 20, all 2 people 30");
  assert.equal(paceOf(people, "eve", 30, "labeled image"), "Labeled images per minute: you 0, all 2 people 30");
});

test("a full disk that both services share is reported once", () => {
  const full = { kind: "full", folder: "/w", message: "The disk is full." };
  assert.equal(diskTrouble({ disk: null, trainer: { disk: null } }), undefined);
  assert.equal(diskTrouble({ disk: full, trainer: { disk: full } }), "The disk is full.");
  assert.equal(diskTrouble({ disk: null, trainer: { disk: full } }), "The trainer: The disk is full.");
  const other = { ...full, folder: "/t", message: "No room." };
  assert.equal(diskTrouble({ disk: full, trainer: { disk: other } }), "The disk is full. The trainer: No room.");
});

test("the card says why there is no image", () => {
  const outbox = { full: false, items: [] };
  const none = { current: null, next: [], remaining: 0, failed: false };
  const project = (more) => ({ images: { total: 9 }, scanning: { running: false }, ...more });
  const scanning = { running: true, done: 1200, total: 3000, seconds_left: 70 };
  for (const [title, given] of [
    ["Waiting for the labeler", [{ full: true, items: [1, 2] }, none, project(), true]],
    ["This image cannot be shown", [outbox, { ...none, current: { broken: true } }, project(), true]],
    ["The labeler cannot be reached", [outbox, { ...none, failed: true }, project(), false]],
    ["Loading images …", [outbox, { ...none, failed: true, remaining: null }, project(), true]],
    ["Loading images …", [outbox, none, null, true]],
    ["Loading images …", [outbox, { ...none, next: [1] }, project(), true]],
    ["The image folder cannot be read", [outbox, none, project({ scanning: { error: "No right." } }), true]],
    ["Reading the image folder", [outbox, none, project({ scanning }), true]],
    ["No images yet", [outbox, none, project({ images: { total: 0 } }), true]],
    ["No image can be used", [outbox, none, project({ images: { total: 0 }, rejected: 4 }), true]],
    ["Others are labeling the rest", [outbox, { ...none, remaining: 4 }, project(), true]],
    ["Nothing left to label", [outbox, none, project(), true]],
  ])
    assert.equal(whyEmpty(...given).title, title);
  assert.equal(whyEmpty(outbox, { ...none, current: { broken: false } }, project(), true), null);
  assert.deepEqual(whyEmpty(outbox, none, project({ scanning }), true), {
    title: "Reading the image folder",
    text: "1,200 of 3,000 files, about 1 min left. Labeling starts with the first image.",
    share: 0.4,
  });
});

test("the card says why an image is asked, how far the goal is, and whether all is saved", () => {
  assert.equal(whyAsked({ reason: "torn" }), "torn");
  assert.match(whyAsked({ reason: null }), /^Drawn at random/);
  assert.equal(whyAsked(null), "");
  assert.equal(untilTarget(null, ACCURACY), "");
  assert.equal(
    untilTarget({ accuracy: 0.95, labels: 120, minutes: 6 }, ACCURACY),
    "about 6 min to 95.0% accuracy (120 labels)",
  );
  assert.equal(
    untilTarget({ accuracy: 0.8, labels: 9, minutes: null }, { metric: "mAP", classWords: BOXES }),
    "9 labeled images to 80.0% mAP",
  );
  assert.equal(
    untilTarget({ accuracy: 0.8, labels: 9, minutes: null }, { ...ACCURACY, metric: "macro F1" }),
    "9 labels to 80.0% macro F1",
  );
  assert.equal(untilTarget({ accuracy: null, labels: 1, minutes: null }, ACCURACY), "1 label to the label budget");
  assert.equal(untilTarget({ accuracy: null, labels: 0, minutes: 0 }, ACCURACY), "label budget reached");
  assert.equal(
    untilTarget({ accuracy: 0.95, labels: 0, minutes: 0 }, ACCURACY),
    "95.0% accuracy probably reached (forecast)",
  );
  const outbox = (items, problem = null, durable = true) => whetherSaved({ items, problem, durable }, "label");
  assert.equal(outbox([]), "All saved");
  assert.equal(outbox([1, 2]), "2 being saved");
  assert.equal(outbox([1], "connection lost"), "Connection lost – 1 label kept in this browser, trying again");
  assert.equal(outbox([1], null, false), "1 not saved yet, and this browser cannot store them: keep the page open");
});

test("the review says how many errors there are, and when to stop", () => {
  const page = (more) => foundOf({ errors: 12, expected_low: 15, expected_high: 21, enough: true, ...more }, true);
  assert.equal(page({}), "12 errors found, 3 to 9 more expected (95% interval)");
  assert.equal(page({ errors: 0 }), "No error found yet, 15 to 21 expected (95% interval)");
  assert.equal(page({ errors: 1, expected_low: 3, expected_high: 3 }), "1 error found, 2 more expected (95% interval)");
  assert.equal(page({ expected_low: 2, expected_high: 12 }), "12 errors found, none expected beyond");
  assert.equal(page({ enough: false }), "12 errors found; too few labels to tell how many there are");
  assert.equal(precisionOf({ recent: 0 }), "");
  assert.equal(precisionOf({ recent: 5, recent_errors: 3 }), "60% of the last 5 verdicts found an error");
  assert.match(precisionOf({ recent: 50, recent_errors: 4 }), /: few are left, you can stop$/);
  assert.doesNotMatch(precisionOf({ recent: 50, recent_errors: 5 }), /stop/);
  assert.equal(lookingOf({ missing: 1 }), "needs 1 more label");
  assert.equal(lookingOf({ missing: 0, progress: 0.4 }), "looking for label errors … 40%");
  assert.match(evidenceOf({ agreeing: 4, neighbours: 5, proposed_name: "cat" }), /^4 of the 5 .* are cat$/);
  assert.match(
    evidenceOf({ agreeing: 0, neighbours: 5, proposed_name: "cat" }),
    /^None of the 5 .* is cat: only the model/,
  );
});

test("the review says why there is nothing to judge", () => {
  const { verdicts } = taskNamed("classification");
  const project = (more) => ({ images: { total: 9, labeled: 5 }, scanning: { running: false }, ...more });
  const doubts = (more) => ({ current: null, page: { labels: 5, judged: 3 }, problem: null, ...more });
  const missing = { labels: 0, missing: 4 };
  for (const [title, given, now] of [
    ["This image cannot be shown", doubts({ current: { broken: true } })],
    ["No images yet", doubts(), project({ images: { total: 0 } })],
    ["No image can be used", doubts(), project({ images: { total: 0 }, rejected: 4 })],
    ["The trainer cannot be reached", doubts({ problem: { status: 503, message: "Away." } })],
    ["Not yet", doubts({ problem: { status: 409, message: "Wait." } })],
    ["The review is not available", doubts({ problem: { status: 404, message: "None." } })],
    ["The labeler cannot be reached", doubts({ problem: { message: "connection lost" } })],
    ["Looking …", doubts({ page: null })],
    ["No labels yet", doubts(), project({ images: { total: 9, labeled: 0 } })],
    ["Needs 4 more labels", doubts({ page: missing })],
    ["Comparing images first: 1 labeled image to go", doubts({ page: { labels: 0, coming: 1, renewing: true } })],
    ["Looking for label errors … 50%", doubts({ page: { labels: 5, renewing: true, progress: 0.5 } })],
    ["No label is in doubt", doubts()],
  ])
    assert.equal(whyNoDoubt(given, now ?? project(), "flywheel trainer", verdicts).title, title);
  assert.equal(whyNoDoubt(doubts({ current: {} }), project(), "", verdicts), null);
  const away = whyNoDoubt(
    doubts({ problem: { status: 503, message: "Away." } }),
    project(),
    "Start it with: x",
    verdicts,
  );
  assert.equal(away.text, "Away. Start it with: x");
});

test("pages say how far the trainer is with the images, and how many are held out", () => {
  const project = (embedding) => ({ embedding });
  assert.equal(
    embedded(project({ done: 1200, total: 3000, seconds_left: 59 })),
    "1,200 of 3,000 images processed, about 59 s left",
  );
  assert.equal(embeddedShare(project({ done: 3, total: 12 })), 0.25);
  for (const done of [
    project({ done: 9, total: 9 }),
    project({ done: 1, total: 9, lacks: "No vectors." }),
    project(null),
    null,
  ]) {
    assert.equal(embedded(done), "");
    assert.equal(embeddedShare(done), undefined);
  }
  assert.equal(
    heldOut({ splits: { test: { total: 20 }, validation: { total: 2 } } }),
    "22 held-out images are left out.",
  );
  assert.equal(heldOut({ splits: { test: { total: 1 } } }), "1 held-out image is left out.");
  assert.equal(heldOut({ splits: { test: { total: 0 } } }), "");
  assert.equal(heldOut(null), "");
});

test("a download says how far it is", () => {
  const file = { name: "labels.csv", unit: "image", done: 1200, total: 3000, seconds: 4, seconds_left: 9 };
  assert.equal(downloadWords({ ...file, state: "writing" }), "labels.csv: 1,200 of 3,000 images, about 9 s left");
  assert.equal(
    downloadWords({ ...file, state: "writing", total: null, seconds_left: null }),
    "labels.csv: 1,200 images",
  );
  assert.equal(
    downloadWords({ ...file, state: "done", unit: "byte", done: 2_500_000 }),
    "labels.csv: written, 2.5 MB.",
  );
  assert.equal(
    downloadWords({ ...file, state: "failed", error: "The disk is full." }),
    "labels.csv: The disk is full.",
  );
  assert.match(downloadWords({ ...file, state: "making" }), /in preparation for 4 s/);
});

test("a label file shows what its import would do, and what it did", () => {
  const file = {
    state: "looked",
    rows: 1200,
    total: 3000,
    labels: 0,
    known: 2,
    images: 0,
    held_out: 0,
    conflicts: 1,
    kept: 1,
    overwritten: 0,
    reopened: 0,
    rejected: 0,
    cells: 0,
  };
  assert.deepEqual(linesOf(file), [
    [0, "labels to import"],
    [2, "imported before"],
    [1, "contradicts another answer: choose below which counts"],
  ]);
  const one = { ...file, labels: 1, known: 0, images: 1, conflicts: 0, rejected: 1, cells: 1 };
  assert.deepEqual(
    linesOf(one).map(([amount, what]) => `${amount} ${what}`),
    ["1 label to import", "1 new photo", "1 row rejected", "1 unreadable optional cell (its row is imported)"],
  );
  assert.deepEqual(linesOf({ ...file, state: "imported", labels: 5 }), [
    [5, "labels imported"],
    [2, "imported before"],
    [1, "skipped: another answer stays"],
  ]);
  assert.equal(
    stateOf({ ...file, state: "looking", seconds_left: 5 }),
    "Checking the labels: 1,200 of about 3,000 rows, about 5 s left.",
  );
  assert.equal(stateOf({ ...file, state: "failed", error: "It has no label column." }), "It has no label column.");
  const many = Object.fromEntries(Array.from({ length: 22 }, (_, index) => [`c${index}`, 1]));
  assert.match(
    newClasses({ new_classes: many, misspelled: {} })[0],
    /^New classes: c0 \(1\), .*c19 \(1\), and 2 more\.$/,
  );
  assert.deepEqual(newClasses({ new_classes: { cta: 3 }, misspelled: { cta: ["cat", "cot"] } }), [
    "New classes: cta (3).",
    "“cta” may mean cat or cot.",
  ]);
  assert.deepEqual(newClasses({ new_classes: {}, misspelled: {} }), []);
});

test("a sentence begins with a capital, and an unknown time is left out", () => {
  assert.equal(capital("connection lost"), "Connection lost");
  assert.deepEqual([timeLeft(null), timeLeft(undefined), timeLeft(200)], ["", "", "about 3 min left"]);
});

test("a long name may wrap at its separators, and is not drawn again if unchanged", () => {
  globalThis.document = { createElement: (tag) => `<${tag}>` };
  const written = [];
  const node = { textContent: "", replaceChildren: (...parts) => written.push(parts.join("")) };
  for (const name of ["black_headed_monkey", "cat", "a/b-c.d", "__x__", ""]) setName(node, name);
  assert.deepEqual(written, ["black_<wbr>headed_<wbr>monkey", "cat", "a/<wbr>b-<wbr>c.<wbr>d", "__<wbr>x__"]);
  node.textContent = "cat";
  assert.equal(setName(node, "cat"), node);
  assert.equal(written.length, 4);
});
