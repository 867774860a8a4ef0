import assert from "node:assert/strict";
import { test } from "node:test";
import { ChoiceOne } from "../../../labeler/ui/tasks/classification/choice.js";
import { ChoiceMany } from "../../../labeler/ui/tasks/multilabel/choice.js";

const [CAT, DOG, HAT] = [0, 1, 2];
const NAMES = ["cat", "dog", "hat"];

/** The card's class list: what it knows, and what is switched on there. */
function classList(names = NAMES) {
  const known = names.map((name, id) => ({ id, name }));
  return {
    known,
    nameOf: (id) => known.find((each) => each.id === id)?.name ?? "gone",
    turnOn: () => {},
  };
}

/** A choice of several classes over a page of its own. */
function many(names) {
  const parts = { ".chosen": { textContent: "" }, "[data-act=none]": {}, ".topk": { children: [] } };
  const classes = classList(names);
  const choice = new ChoiceMany({ querySelector: (selector) => parts[selector] }, classes);
  return {
    choice,
    classes,
    said: () => parts[".chosen"].textContent,
    none: () => parts["[data-act=none]"].ariaPressed,
  };
}

const question = (more = {}) => ({ item: { purpose: "query" }, ...more });
const suggested = (label, chosen, confidence = 0.8) => ({ label, name: NAMES[label], confidence, chosen });
const given = (yes, no) => ({ given: { answers: [{ action: "label", answer: { yes, no } }] } });

test("one class: a press is the answer, Enter takes the suggestion, and a given answer stays", () => {
  const choice = new ChoiceOne(classList());
  choice.begin(question());
  const shown = [suggested(DOG)];
  assert.deepEqual(
    [choice.press(CAT), choice.accept(shown), choice.swipe(shown)],
    [{ label: CAT }, { label: DOG }, "dog"],
  );
  assert.deepEqual([choice.accept([]), choice.swipe([])], [null, null]); // as when blind mode hides what came with the image
  choice.begin(question({ given: { answers: [] } }));
  assert.equal(choice.accept(shown), "keep");
});

test("the figure above the card is the one that the forecast is about", () => {
  const project = { accuracy: { value: 0.4 }, macro_f1: { value: 0.8 } };
  const shown = [new ChoiceOne(classList()), many().choice].map((choice) => [choice.measure, choice.figure(project)]);
  assert.deepEqual(shown, [
    ["accuracy", { value: 0.4 }],
    ["macro F1", { value: 0.8 }],
  ]);
});

test("classes are switched on and off, and Enter says yes or no to each class that was shown", () => {
  const { choice, said } = many();
  choice.begin(question(), [], false);
  for (const id of [HAT, DOG, CAT, DOG]) assert.equal(choice.press(id), null);
  assert.equal(said(), "cat, hat"); // in the order of the classes
  assert.deepEqual(choice.accept(), { label: null, answer: { yes: [CAT, HAT], no: [DOG] } });
  choice.begin(question(), [], false);
  assert.equal(said(), ""); // the next image begins with nothing
});

test("Enter with nothing switched on is refused, and names the answer that says so", () => {
  const { choice } = many();
  choice.begin(question(), [suggested(CAT, true)], false);
  assert.match(choice.accept().refusal, /“None of these”/);
  choice.begin(null, [], false);
  assert.equal(choice.accept(), null);
});

test("none of these excludes the classes, and a class excludes it", () => {
  const { choice, said, none } = many();
  choice.begin(question(), [], false);
  choice.press(CAT);
  choice.press(null);
  assert.deepEqual([said(), none()], ["None of these", "true"]);
  assert.deepEqual(choice.accept().answer, { yes: [], no: [CAT, DOG, HAT] });
  choice.press(DOG);
  assert.deepEqual([said(), none()], ["dog", "false"]);
  choice.press(null);
  choice.press(null);
  assert.ok(choice.accept().refusal);
});

test("suggestions are preselected only if the setting says so, and never on held-out images", () => {
  const suggestions = [suggested(CAT, true), suggested(DOG, false)];
  const { choice, said } = many();
  for (const [preselect, purpose, expected] of [
    [true, "query", "cat"],
    [false, "query", ""],
    [true, "test", ""],
  ]) {
    choice.begin({ item: { purpose } }, suggestions, preselect);
    assert.equal(said(), expected);
  }
  choice.begin(question(given([HAT], [CAT, DOG])), suggestions, true);
  assert.equal(said(), "hat"); // what a person said comes first
});

test("an answer comes back with its classes on, and stays as it is unless it is changed", () => {
  const { choice, said } = many();
  choice.begin(question(given([CAT, HAT], [DOG])), [], false);
  assert.deepEqual([said(), choice.accept()], ["cat, hat", "keep"]);
  choice.press(HAT);
  assert.deepEqual(choice.accept().answer, { yes: [CAT], no: [DOG, HAT] });
  choice.begin(question({ draft: { yes: [DOG], no: [CAT, HAT] } }), [], false); // an undo took it back
  assert.equal(said(), "dog");
  assert.deepEqual(choice.accept().answer, { yes: [DOG], no: [CAT, HAT] });
  choice.begin(question(given([CAT], [])), [], false); // imported: nothing is known of two classes
  assert.deepEqual(choice.accept().answer, { yes: [CAT], no: [DOG, HAT] });
});

test("another person's answer is preselected for a correction, but not for a second opinion", () => {
  const { choice, said } = many();
  const opened = { status: "labeled", answer: { yes: [CAT], no: [DOG, HAT] } };
  choice.begin(question({ opened: { ...opened, settles: true } }), [], false);
  assert.deepEqual([said(), choice.accept()], ["cat", "keep"]);
  choice.press(HAT);
  assert.deepEqual(choice.accept().answer, { yes: [CAT, HAT], no: [DOG] });
  choice.begin(question({ opened: { ...opened, settles: false } }), [], false);
  assert.equal(said(), "");
});

test("a class that is added while an image is on screen stays unknown there, unless it is pressed", () => {
  const { choice, classes, said } = many(["cat", "dog"]);
  choice.begin(question(), [], false);
  choice.press(CAT);
  classes.known.push({ id: HAT, name: "hat" });
  choice.draw();
  assert.deepEqual(choice.accept().answer, { yes: [CAT], no: [DOG] });
  choice.press(HAT);
  choice.press(HAT);
  assert.deepEqual(choice.accept().answer, { yes: [CAT], no: [DOG, HAT] });
  classes.known.shift(); // cat is deleted
  choice.draw();
  assert.equal(said(), "");
  assert.ok(choice.accept().refusal);
});

test("classes that come after the first image were shown with it", () => {
  const { choice, classes } = many([]);
  choice.begin(question(), [], false);
  classes.known.push({ id: CAT, name: "cat" }, { id: DOG, name: "dog" });
  choice.draw();
  choice.press(DOG);
  assert.deepEqual(choice.accept().answer, { yes: [DOG], no: [CAT] });
});

test("answers in words: classes, none of these, and partial answers", () => {
  const { choice } = many();
  const words = (yes, no) => choice.words({ answer: { yes, no } });
  assert.deepEqual(
    [words([HAT, CAT], []), words([], [CAT, DOG, HAT]), words([], [DOG])],
    ["cat, hat", "None of these", "not dog"],
  );
  const answers = [{ answer: { yes: [CAT], no: [DOG, HAT] } }, { answer: { yes: [], no: [CAT, DOG, HAT] } }];
  choice.relabel(answers, CAT, DOG);
  assert.deepEqual(
    answers.map(({ answer }) => answer),
    [
      { yes: [DOG], no: [HAT] },
      { yes: [], no: [DOG, HAT] }, // it said no to the dog itself
    ],
  );
});
