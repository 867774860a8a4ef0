import assert from "node:assert/strict";
import { test } from "node:test";
import { Query } from "../../../labeler/ui/gallery/filters.js";
import { MarkOne } from "../../../labeler/ui/tasks/classification/marking.js";
import { MarkBoxes } from "../../../labeler/ui/tasks/detection/marking.js";
import { pathsOf } from "../../../labeler/ui/tasks/detection/tile.js";
import { MarkMany } from "../../../labeler/ui/tasks/multilabel/marking.js";

import { stub } from "../browser.js";

const CLASSES = [
  { id: 1, name: "cat" },
  { id: 2, name: "dog" },
];

const tile = (image_id, more = {}) => ({
  image_id,
  status: "unlabeled",
  label: null,
  predicted: 1,
  confidence: 0.5,
  ...more,
});

test("in a detection project, many images at once can only be answered with “nothing here”", () => {
  const empty = { textContent: "" };
  const marking = new MarkBoxes({ querySelector: () => empty });
  marking.classes = CLASSES;
  assert.equal(marking.buttons, null);
  assert.match(marking.press(1).refusal, /Boxes are drawn one image at a time/);
  assert.match(marking.accept().refusal, /press X/);
  const mark = marking.decline();
  assert.deepEqual(mark.of({ image_id: 1 }), { label: null, answer: { boxes: [] } });
  assert.deepEqual(marking.draw(3), { choose: false, answer: true });
  assert.equal(empty.textContent, "Nothing here: 3");
  const box = { x: 1, y: 2, w: 3, h: 4 };
  const boxes = [
    { label: 2, ...box },
    { label: 1, ...box },
    { label: 2, ...box },
  ];
  const tile = { status: "labeled", label: null, answer: { boxes }, predicted: null };
  assert.equal(marking.words(tile), "✓ 1 cat, 2 dog");
  assert.equal(marking.words({ ...tile, answer: { boxes: [] } }), "✓ nothing here");
  assert.equal(marking.words({ ...tile, status: "skipped", answer: null }), null); // the grid says it
  assert.deepEqual(
    [...pathsOf(boxes)],
    [
      [2, "M1 2h3v4h-3zM1 2h3v4h-3z"],
      [1, "M1 2h3v4h-3z"],
    ],
  );
});

test("with one class per image, a class is the answer, and Enter accepts predictions or the class in view", () => {
  const query = new Query();
  const one = new MarkOne(stub(), () => query);
  one.classes = CLASSES;
  const given = ({ action, of, did, leaves }, more) => [action, of(tile(1, more)), did, leaves];
  assert.deepEqual(given(one.press(2)), ["label", { label: 2 }, "labeled as dog", false]);
  assert.deepEqual(given(one.accept()), ["label", { label: 1 }, "labeled as predicted", false]);
  assert.equal(one.accept().of(tile(1, { predicted: null })), undefined);
  query.change({ label: 1, predicted: 2 });
  assert.deepEqual(given(one.accept()), ["label", { label: 2 }, "labeled as dog", true]);
  assert.equal(one.press(1).leaves, false);
});

test("with several classes per image, one class is asked about, and the selected images get a yes or a no for it", () => {
  const query = new Query();
  const asked = { textContent: "" };
  const many = new MarkMany({ querySelector: () => asked }, () => query);
  many.classes = CLASSES;
  assert.match(many.accept().refusal, /Choose a class/);
  assert.deepEqual([many.draw(3), asked.textContent], [{ choose: true, answer: false }, "Choose a class to ask about"]);
  assert.equal(many.press(2), null);
  assert.deepEqual([many.draw(3), asked.textContent], [{ choose: true, answer: true }, "3 images: dog?"]);
  const [yes, no] = [many.accept(), many.decline()];
  assert.deepEqual(yes.of(), { label: null, answer: { yes: [2], no: [], merge: true } });
  assert.deepEqual(no.of(), { label: null, answer: { yes: [], no: [2], merge: true } });
  assert.deepEqual([yes.did, no.did], ["marked as dog", "marked as not dog"]);
  for (const [values, leaves] of [
    [{}, [false, false]],
    [{ label: 1, says: "nothing" }, [false, false]], // a view of another class
    [{ label: 2 }, [false, true]],
    [{ label: 2, says: "no" }, [true, false]],
    [{ label: 2, says: "nothing" }, [true, true]],
  ]) {
    query.clear();
    query.change(values);
    assert.deepEqual([many.accept().leaves, many.decline().leaves], leaves);
  }
  query.change({ label: 1 });
  many.draw(0);
  assert.equal(many.active, 1); // a view of a class is for asking about it
});

test("a tile says all its classes, and whether the class that is asked about is unknown", () => {
  const many = new MarkMany(stub(), () => new Query());
  many.classes = CLASSES;
  const words = (yes, no) => many.words(tile(1, { status: "labeled", answer: { yes, no } }));
  assert.deepEqual(
    [words([2, 1], []), words([], [1, 2]), words([], [1])],
    ["✓ cat, dog", "✓ None of these", "✓ not cat"],
  );
  many.press(2);
  assert.deepEqual([words([1], []), words([1], [2]), words([2], [])], ["✓ cat · dog?", "✓ cat", "✓ dog"]);
  assert.equal(many.words(tile(1)), null);
});
