import assert from "node:assert/strict";
import { test } from "node:test";
import { forget, key, stub } from "../../browser.js";

globalThis.ResizeObserver = class {
  observe() {}
};
globalThis.requestAnimationFrame = () => {};

const { ChoiceBoxes } = await import("../../../../labeler/ui/tasks/detection/choice.js");

const [RED, GREEN, BLUE] = [0, 1, 2];
const PALETTE = ["#111111", "#222222"];

/** A choice of boxes over a page of its own. */
function choosing(names = ["red", "green", "blue"], { kept = false } = {}) {
  if (!kept) forget();
  const parts = {};
  const root = {
    querySelector: (selector) => (parts[selector] ??= stub({ textContent: "" })),
    querySelectorAll: () => [stub(), stub()],
  };
  const search = { typing: names.length > 10 };
  const classes = { search, known: names.map((name, id) => ({ id, name })), turnOn: (on) => (classes.on = [...on]) };
  const stage = { use: () => {}, zoom: { closer: false, factor: 1, x: 0, y: 0 }, picture: stub() };
  const choice = new ChoiceBoxes(root, classes, stage, { palette: PALETTE, logId: "log", say: () => {} });
  choice.draw();
  return { choice, classes, said: () => parts[".chosen"].textContent };
}

let images = 0;
const question = (more = {}, item = {}) => ({
  item: { image_id: ++images, purpose: "query", width: 100, height: 80, ...item },
  ...more,
});
const box = (x, label = RED, origin = "drawn") => ({ label, x, y: 10, w: 10, h: 10, origin });
const suggested = (x, confidence = 0.8, label = RED) => ({ label, name: "red", confidence, x, y: 10, w: 10, h: 10 });
const draw = ({ editor }, x) => {
  editor.edits.add(editor.label, box(x));
  editor.changed();
};

test("Enter confirms drawn and suggested boxes; without any box, it names the key for “nothing here”", () => {
  const { choice, said } = choosing();
  choice.begin(question(), [], false, [suggested(0), suggested(20, 0.4)]);
  assert.match(said(), /^2 boxes: 2 red\. 2 suggested$/);
  draw(choice, 50);
  const { label, answer } = choice.accept();
  assert.equal(label, null);
  assert.deepEqual(answer.boxes, [box(0, RED, "accepted"), box(20, RED, "accepted"), box(50)]);
  choice.begin(question(), [], false, []);
  assert.match(choice.accept().refusal, /press V for “nothing here”/);
  choice.begin(null, [], false, []);
  assert.equal(choice.accept(), null);
  const { choice: many } = choosing(Array.from({ length: 11 }, (_, id) => `class ${id}`));
  many.begin(question(), [], false, []);
  assert.match(many.accept().refusal, /press Shift\+V for/); // V alone looks for a class
});

test("nothing here is an answer of its own, and asks once where there are boxes", () => {
  const { choice } = choosing();
  choice.begin(question(), [], false, []);
  assert.deepEqual(choice.act("nothing"), { label: null, answer: { boxes: [] } });
  choice.begin(question(), [], false, [suggested(0)]);
  assert.match(choice.act("nothing").refusal, /There is 1 box on the image/);
  draw(choice, 30); // who goes on drawing is asked again
  assert.match(choice.act("nothing").refusal, /There are 2 boxes .* remove all 2 boxes/);
  assert.deepEqual(choice.act("nothing"), { label: null, answer: { boxes: [] } });
});

test("a class is that of the next box, or of the one that is chosen; a box just drawn keeps its own", () => {
  const { choice, classes } = choosing();
  choice.begin(question(), [], false, []);
  choice.press(GREEN);
  draw(choice, 0);
  choice.press(BLUE);
  draw(choice, 20);
  assert.deepEqual(
    choice.edits.boxes.map(({ label }) => label),
    [GREEN, BLUE],
  );
  choice.edits.pick(choice.edits.boxes[0].key);
  choice.press(RED);
  assert.deepEqual(
    choice.edits.boxes.map(({ label }) => label),
    [RED, BLUE],
  );
  assert.deepEqual(classes.on, [RED]);
  choice.key(key("Escape"));
  assert.deepEqual(classes.on, [BLUE]);
});

test("an earlier answer comes back with its boxes: unchanged it stays, changed it is a new answer", () => {
  const { choice } = choosing();
  const boxes = [box(0, RED, "accepted"), box(20, GREEN, "imported")];
  const given = () => question({ given: { answers: [{ action: "label", answer: { boxes } }] } });
  choice.begin(given(), [], false, [suggested(70)]); // a second look is not swayed
  assert.equal(choice.accept(), "keep");
  choice.begin(given(), [], false, []);
  choice.edits.pick(choice.edits.boxes[1].key);
  choice.key(key("ArrowRight", { shift: true }));
  assert.deepEqual(choice.accept().answer.boxes[1], box(30, GREEN, "corrected"));
  choice.begin(question({ given: { answers: [{ action: "label", answer: { boxes: [] } }] } }), [], false, []);
  assert.equal(choice.accept(), "keep");
  choice.begin(question({ draft: { boxes } }), [], false, [suggested(70)]); // an undo took it back
  assert.deepEqual(choice.accept().answer.boxes, boxes);
});

test("unconfirmed boxes are kept while another image is on screen", () => {
  const { choice } = choosing();
  const first = question();
  choice.begin(first, [], false, []);
  draw(choice, 0);
  choice.begin(question(), [], false, []);
  assert.equal(choice.edits.boxes.length, 0);
  choice.begin(first, [], false, []);
  assert.equal(choice.edits.boxes.length, 1);
  assert.ok(choice.undo()); // with its steps
  assert.ok(choice.redo());
  choice.accept(); // and the card refuses: an undo is under way
  choice.begin(question(), [], false, []);
  choice.begin(first, [], false, []);
  assert.equal(choice.edits.boxes.length, 1);
  choice.accept();
  choice.gave();
  choice.begin(question(), [], false, []);
  choice.begin({ item: first.item }, [], false, []);
  assert.equal(choice.edits.boxes.length, 0);
});

test("boxes from before a reload, or of an undone answer, are kept while another image is on screen", () => {
  const { choice } = choosing();
  const first = question({ draft: { boxes: [box(70)] } });
  choice.begin(first, [], false, []);
  draw(choice, 0);
  choice.begin(question(), [], false, []);
  choice.begin(first, [], false, []);
  assert.equal(choice.edits.boxes.length, 2);
  choice.close(); // writes what is kept
  const { choice: again } = choosing(undefined, { kept: true });
  again.begin({ item: first.item }, [], false, []);
  assert.equal(again.edits.boxes.length, 2);
  again.begin(question(), [], false, []);
  again.begin({ item: first.item }, [], false, []);
  assert.equal(again.edits.boxes.length, 2);
});

test("without a change on the image, undo belongs to the card", () => {
  const { choice } = choosing();
  choice.begin(question(), [], false, [suggested(0)]);
  assert.equal(choice.undo(), false);
  choice.act("next-box");
  assert.equal(choice.undo(), false);
  choice.act("reject");
  assert.equal(choice.undo(), true);
  assert.equal(choice.undo(), false);
});

test("without a selected box, keys mean what they mean on every card", () => {
  const { choice } = choosing();
  choice.begin(question(), [], false, [suggested(0)]);
  for (const name of ["ArrowLeft", "Backspace", "Delete", "Escape"]) assert.equal(choice.key(key(name)), false, name);
  assert.equal(choice.steps, false);
  assert.match(choice.act("duplicate").refusal, /Select a box first/);
  choice.act("next-box");
  assert.ok(choice.steps);
  assert.ok(choice.key(key("Backspace")));
  assert.equal(choice.edits.boxes.length, 0);
});

test("boxes of a deleted class need another class, and boxes of a merged class follow it", () => {
  const { choice, classes } = choosing();
  choice.begin(question(), [], false, []);
  draw(choice, 0);
  choice.press(GREEN);
  draw(choice, 20);
  const answers = [{ answer: { boxes: [box(0, GREEN)] } }];
  choice.relabel(answers, GREEN, BLUE);
  assert.equal(answers[0].answer.boxes[0].label, BLUE);
  assert.deepEqual(
    choice.accept().answer.boxes.map(({ label }) => label),
    [RED, BLUE],
  );
  classes.known = classes.known.filter(({ id }) => id !== RED);
  choice.draw();
  assert.match(choice.accept().refusal, /no longer exists/);
  choice.press(BLUE); // of the box that was meant
  assert.deepEqual(
    choice.accept().answer.boxes.map(({ label }) => label),
    [BLUE, BLUE],
  );
});

test("without the size of the image nothing can be drawn; every class has a colour", () => {
  const { choice } = choosing();
  choice.begin(question({}, { width: null, height: null }), [], false, []);
  assert.match(choice.accept().refusal, /size of this image is unknown/);
  const classes = [{ id: RED }, { id: GREEN, colour: "#abcdef" }, { id: BLUE }];
  assert.deepEqual(
    choice.coloured(classes).map(({ colour }) => colour),
    ["#111111", "#abcdef", "#222222"],
  );
});
