import assert from "node:assert/strict";
import { test } from "node:test";
import { forget } from "../../browser.js";

const { Drafts } = await import("../../../../labeler/ui/tasks/detection/boxes/drafts.js");
const { Edits, inOrder, isSame } = await import("../../../../labeler/ui/tasks/detection/boxes/edits.js");
const { edgesAt, grown, holds, moved, rounded, spanned, stretched, under, within } = await import(
  "../../../../labeler/ui/tasks/detection/boxes/geometry.js"
);
const { Hand } = await import("../../../../labeler/ui/tasks/detection/boxes/hand.js");
const { Mapping } = await import("../../../../labeler/ui/tasks/detection/boxes/mapping.js");
const { inkOn, placeOfName } = await import("../../../../labeler/ui/tasks/detection/boxes/painter.js");
const { boxesInWords, summary } = await import("../../../../labeler/ui/tasks/detection/boxes/words.js");

const RUNS = 2000;
const [RED, GREEN] = [0, 1];
const KNOWN = [
  { id: RED, name: "red" },
  { id: GREEN, name: "green" },
];

/** Numbers that are the same at each run. */
function dice(seed) {
  let state = seed;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  return {
    between: (low, high) => low + next() * (high - low),
    pick: (list) => list[Math.floor(next() * list.length)],
  };
}

const some = ({ between }) => ({ width: Math.round(between(1, 6000)), height: Math.round(between(1, 6000)) });
const anywhere = ({ between }, { width, height }) => ({
  x: between(-width, 2 * width),
  y: between(-height, 2 * height),
});

/** What the labeler takes: in the image, a pixel or more, to the hundredth. */
function check({ x, y, w, h }, { width, height }) {
  for (const value of [x, y, w, h]) assert.equal(value, rounded(value));
  assert.ok(x >= 0 && y >= 0, `${x} ${y}`);
  assert.ok(x + w <= width + 1e-9 && y + h <= height + 1e-9, `${x} + ${w} of ${width}, ${y} + ${h} of ${height}`);
  assert.ok(w >= 1 - 1e-9 && h >= 1 - 1e-9, `${w} × ${h}`);
}

test("the labeler accepts every box that is drawn, moved, resized or grown", () => {
  const roll = dice(1);
  for (let run = 0; run < RUNS; run++) {
    const size = some(roll);
    const rect = within(spanned(anywhere(roll, size), anywhere(roll, size)), size);
    check(rect, size);
    const by = anywhere(roll, size);
    const elsewhere = moved(rect, by.x, by.y, size);
    check(elsewhere, size);
    assert.deepEqual([elsewhere.w, elsewhere.h], [rect.w, rect.h]);
    check(stretched(rect, roll.pick(["n", "s", "e", "w", "nw", "ne", "sw", "se"]), anywhere(roll, size), size), size);
    check(grown(rect, roll.between(-50, 50), roll.between(-50, 50), size), size);
  }
});

test("a dragged edge moves alone, and flips the box when it passes the opposite one", () => {
  const size = { width: 100, height: 80 };
  const rect = { x: 20, y: 10, w: 30, h: 40 };
  assert.deepEqual(stretched(rect, "e", { x: 70, y: 0 }, size), { x: 20, y: 10, w: 50, h: 40 });
  assert.deepEqual(stretched(rect, "nw", { x: 10, y: 5 }, size), { x: 10, y: 5, w: 40, h: 45 });
  assert.deepEqual(stretched(rect, "w", { x: 60, y: 0 }, size), { x: 50, y: 10, w: 10, h: 40 });
  assert.deepEqual(stretched(rect, "s", { x: 0, y: 999 }, size), { x: 20, y: 10, w: 30, h: 70 });
});

test("a point of the screen is the same point of the image, at any zoom and however small the copy on screen is", () => {
  const roll = dice(2);
  for (let run = 0; run < RUNS; run++) {
    const size = some(roll);
    const copy = roll.pick([1, 3, 7]);
    const shown = { width: Math.ceil(size.width / copy), height: Math.ceil(size.height / copy) };
    const frame = { left: 8, top: 8, width: roll.between(100, 1500), height: roll.between(100, 900) };
    const factor = roll.between(1, 16);
    const zoom = {
      factor,
      x: -roll.between(0, factor - 1) * frame.width,
      y: -roll.between(0, factor - 1) * frame.height,
    };
    const mapping = new Mapping(frame, shown, size, zoom);
    const point = anywhere(roll, size);
    const back = mapping.toImage(mapping.toStage(point));
    assert.ok(Math.hypot(back.x - point.x, back.y - point.y) < 1e-6);
    const whole = mapping.rectToStage({ x: 0, y: 0, w: size.width, h: size.height });
    const centre = { x: whole.x + whole.w / 2, y: whole.y + whole.h / 2 };
    assert.ok(Math.abs(centre.x - (frame.left + zoom.x + (factor * frame.width) / 2)) < 1e-6);
    assert.ok(Math.abs(centre.y - (frame.top + zoom.y + (factor * frame.height) / 2)) < 1e-6);
    const fills = [whole.w / factor / frame.width, whole.h / factor / frame.height];
    assert.ok(Math.abs(Math.max(...fills) - 1) < 1e-9, "it fills its frame in one direction");
  }
});

test("the smallest box under the pointer comes first, and a tiny one is hit from beside it", () => {
  const boxes = [
    { x: 0, y: 0, w: 100, h: 100, key: "large" },
    { x: 40, y: 40, w: 20, h: 20, key: "small" },
    { x: 70, y: 70, w: 1, h: 1, key: "tiny" },
  ];
  const keys = (x, y) => under(boxes, { x, y }, { x: 5, y: 5 }).map(({ key }) => key);
  assert.deepEqual(keys(50, 50), ["small", "large"]);
  assert.deepEqual(keys(74, 70), ["tiny", "large"]);
  assert.deepEqual(keys(63, 50), ["large"]); // a box of some size ends where it ends
  assert.deepEqual(keys(150, 50), []);
});

test("every box has a place to grab each corner, and one to move it by", () => {
  const roll = dice(3);
  for (let run = 0; run < RUNS; run++) {
    const rect = { x: roll.between(0, 50), y: roll.between(0, 50), w: roll.between(1, 50), h: roll.between(1, 50) };
    const reach = { x: 5, y: 5 };
    assert.equal(edgesAt(rect, { x: rect.x, y: rect.y }, reach), "nw");
    assert.equal(edgesAt(rect, { x: rect.x + rect.w, y: rect.y + rect.h }, reach), "se");
    const middle = { x: rect.x + rect.w / 2, y: rect.y + rect.h / 2 };
    assert.equal(edgesAt(rect, middle, reach), "");
    assert.ok(holds(rect, middle, { x: 0, y: 0 }));
  }
});

test("each step can be undone and redone, and a box keeps its origin", () => {
  const roll = dice(4);
  for (let run = 0; run < 100; run++) {
    const size = { width: 200, height: 100 };
    const edits = Edits.suggested(size, [
      { label: RED, confidence: 0.9, x: 10, y: 10, w: 20, h: 20 },
      { label: GREEN, confidence: 0.4, x: 50, y: 10, w: 20, h: 20 },
    ]);
    const lists = [edits.boxes];
    const acts = [
      () => edits.add(RED, spanned(anywhere(roll, size), anywhere(roll, size))),
      () => edits.move(roll.between(-30, 30), 1),
      () => edits.grow(roll.between(-30, 30), 1),
      () => edits.change({ label: roll.pick([RED, GREEN]) }),
      () => edits.remove(),
      () => edits.duplicate(),
      () => edits.pick(roll.pick(edits.boxes)?.key ?? null),
    ];
    for (let step = 0; step < 20; step++) {
      roll.pick(acts)();
      edits.run = ""; // each step by itself
      if (edits.boxes !== lists.at(-1)) lists.push(edits.boxes);
      for (const box of edits.boxes) check(box, size);
    }
    for (const list of lists.slice(0, -1).reverse()) assert.ok(edits.undo() && edits.boxes === list);
    assert.ok(!edits.undo());
    assert.ok(!edits.changed);
    for (const list of lists.slice(1)) assert.ok(edits.redo() && edits.boxes === list);
    assert.ok(!edits.redo());
    for (const { key, origin, confidence } of edits.boxes) {
      if (confidence === null) assert.equal(origin, "drawn");
      else {
        const before = lists[0].find((box) => box.key === key);
        const same = isSame([before], [edits.boxes.find((box) => box.key === key)]);
        assert.ok(origin === "corrected" || (origin === "accepted" && same));
      }
    }
  }
});

test("one undo reverts a held key; an unchanged suggestion counts as accepted, a changed one as corrected", () => {
  const edits = Edits.suggested({ width: 100, height: 100 }, [
    { label: RED, confidence: 0.9, x: 10, y: 10, w: 20, h: 20 },
    { label: RED, confidence: 0.6, x: 60, y: 60, w: 20, h: 20 },
  ]);
  edits.pick(0);
  for (let step = 0; step < 5; step++) edits.move(1, 0);
  assert.deepEqual(
    edits.answer.map(({ x, origin }) => [x, origin]),
    [
      [15, "corrected"],
      [60, "accepted"],
    ],
  );
  edits.undo();
  assert.deepEqual(edits.answer[0], { label: RED, x: 10, y: 10, w: 20, h: 20, origin: "accepted" });
});

test("Tab goes through the doubtful ones first; rejecting one goes on to the next, and a correction keeps its place", () => {
  const suggested = [0.9, 0.2, 0.5].map((confidence, at) => ({ label: RED, confidence, x: 10 * at, y: 0, w: 5, h: 5 }));
  const edits = Edits.suggested({ width: 100, height: 100 }, suggested);
  edits.add(GREEN, { x: 50, y: 50, w: 10, h: 10 });
  assert.deepEqual(
    inOrder(edits.boxes).map(({ confidence }) => confidence),
    [0.2, 0.5, 0.9, null],
  );
  edits.pick(edits.after(1)?.key ?? null); // the drawn one is the last
  assert.equal(edits.picked, null);
  edits.pick(edits.after(1).key);
  assert.equal(edits.box.confidence, 0.2);
  edits.remove();
  assert.equal(edits.box.confidence, 0.5);
  edits.move(1, 0);
  assert.equal(edits.after(1).confidence, 0.9);
  edits.pick(edits.after(1).key);
  edits.remove();
  assert.equal(edits.picked, null); // what was drawn is nothing to check
  assert.equal(edits.boxes.length, 2);
});

// ------------------------------------------------------------ the pointer

/** A hand over an image of 100 × 100 pixels that is shown twice as large. */
function handOver(boxes = []) {
  const size = { width: 100, height: 100 };
  const frame = { left: 0, top: 0, width: 200, height: 200 };
  const work = {
    edits: Edits.answered(size, boxes),
    mapping: new Mapping(frame, size, size, { x: 0, y: 0, factor: 1 }),
    label: RED,
  };
  const hand = new Hand(work);
  const drag = (from, to, how) => {
    hand.press(from, how);
    hand.move({ x: (from.x + to.x) / 2, y: (from.y + to.y) / 2 });
    return hand.lift(to);
  };
  const click = (x, y, how) => drag({ x, y }, { x, y }, how);
  return { hand, work, edits: work.edits, drag, click };
}

const at = (x, y) => ({ x, y });
const box = (x, y, w, h, label = RED) => ({ label, x, y, w, h, origin: "drawn" });
const placed = ({ boxes }) => boxes.map(({ x, y, w, h }) => [x, y, w, h]);

test("a drag draws a box in pixels of the image, from any corner, and snaps to the image's edge", () => {
  const { edits, drag } = handOver();
  assert.equal(drag(at(20, 40), at(60, 100)), null);
  drag(at(180, 180), at(140, 120));
  drag(at(3, 2), at(40, 30));
  drag(at(150, 20), at(260, 60)); // beyond the edge
  assert.deepEqual(placed(edits), [
    [10, 20, 20, 30],
    [70, 60, 20, 30],
    [0, 0, 20, 15],
    [75, 10, 25, 20],
  ]);
  assert.ok(edits.fresh);
});

test("two clicks draw a box, Esc ends it, and what is too narrow is refused", () => {
  const { edits, hand, click } = handOver();
  click(20, 20);
  hand.move(at(80, 70));
  assert.deepEqual(hand.deed.to, at(40, 35)); // it is seen while it grows
  click(100, 60);
  assert.deepEqual(placed(edits), [[10, 10, 40, 20]]);
  edits.pick(null);
  click(120, 120);
  assert.ok(hand.drop());
  assert.ok(!hand.drop());
  click(120, 120);
  assert.match(click(120, 180), /smaller than a pixel/);
  assert.equal(edits.boxes.length, 1);
});

test("a click picks the smallest box, another click the next one below, and Tab goes round the same boxes", () => {
  const { edits, hand, click } = handOver([box(0, 0, 100, 100), box(20, 20, 40, 40), box(30, 30, 10, 10)]);
  const seen = [1, 2, 3, 4].map(() => {
    click(70, 70);
    return edits.picked;
  });
  assert.deepEqual(seen, [2, 1, 0, 2]);
  assert.ok(hand.walk(1));
  assert.equal(edits.picked, 1);
  assert.ok(hand.walk(-1) && hand.walk(-1));
  assert.equal(edits.picked, 0);
});

test("a drag moves the picked box or its edge; over another box it draws, and with Shift everywhere", () => {
  const { edits, click, drag } = handOver([box(10, 10, 40, 40), box(60, 60, 20, 20)]);
  click(60, 60);
  drag(at(60, 60), at(80, 60));
  assert.deepEqual(placed(edits)[0], [20, 10, 40, 40]);
  drag(at(120, 60), at(141, 60)); // by its right edge, held a little beside it
  assert.deepEqual(placed(edits)[0], [20, 10, 50.5, 40]);
  drag(at(60, 60), at(0, 0));
  assert.deepEqual(placed(edits)[0], [0, 0, 50.5, 40]);
  drag(at(60, 40), at(80, 60), { shift: true });
  assert.deepEqual(placed(edits)[2], [30, 20, 10, 10]);
  drag(at(130, 130), at(150, 150)); // on the second box, which is not picked
  assert.deepEqual(placed(edits)[3], [65, 65, 10, 10]);
  assert.deepEqual(placed(edits)[1], [60, 60, 20, 20]);
});

test("a box that was just drawn is resized only by its handles, so that another can be drawn inside it", () => {
  const { edits, drag } = handOver();
  drag(at(20, 20), at(180, 180));
  drag(at(60, 60), at(100, 100));
  assert.deepEqual(placed(edits), [
    [10, 10, 80, 80],
    [30, 30, 20, 20],
  ]);
  drag(at(100, 100), at(110, 120));
  assert.deepEqual(placed(edits)[1], [30, 30, 25, 30]);
});

// ------------------------------------------------------------ around them

test("names of boxes stand on the stage, and beside each other where boxes are in the same place", () => {
  const roll = dice(5);
  const stage = { width: 800, height: 500 };
  const name = { w: 60, h: 17 };
  for (let run = 0; run < RUNS; run++) {
    const rect = {
      x: roll.between(0, 780),
      y: roll.between(0, 480),
      w: roll.between(5, 300),
      h: roll.between(5, 300),
    };
    const taken = [];
    for (let number = 0; number < 2; number++) {
      const place = placeOfName(rect, name, stage, taken);
      assert.ok(place.x >= 0 && place.x + name.w <= stage.width && place.y >= 0 && place.y + name.h <= stage.height);
      for (const other of taken) assert.ok(Math.abs(place.x - other.x) >= 17 || Math.abs(place.y - other.y) >= 17);
      taken.push(place);
    }
  }
});

test("unconfirmed boxes survive a reload", () => {
  forget();
  const size = { width: 100, height: 100 };
  const drafts = new Drafts("log");
  const edits = Edits.suggested(size, [{ label: RED, confidence: 0.4, x: 1, y: 2, w: 3, h: 4 }]);
  edits.add(GREEN, { x: 10, y: 10, w: 10, h: 10 });
  drafts.keep(7, edits);
  assert.equal(drafts.of(7, size), edits); // with its steps
  drafts.write();
  const after = new Drafts("log");
  assert.deepEqual(after.of(7, size).answer, edits.answer);
  assert.equal(after.of(7, size).boxes[0].confidence, 0.4); // still a suggestion to check
  after.forget(7);
  after.write();
  assert.equal(new Drafts("log").of(7, size), undefined);
  for (let image = 0; image < 100; image++) after.keep(image, edits);
  after.write();
  assert.ok(new Drafts("log").known.size <= 12);
});

test("answers in words, and names that can be read on any colour", () => {
  assert.equal(boxesInWords([box(0, 0, 1, 1), box(0, 0, 1, 1, GREEN), box(0, 0, 1, 1)], KNOWN), "2 red, 1 green");
  assert.equal(boxesInWords([], KNOWN), "nothing here");
  assert.equal(boxesInWords([box(0, 0, 1, 1, 9)], KNOWN), "1 of a class that no longer exists");
  assert.equal(summary([], KNOWN), "No box yet. Draw a box around every red or green.");
  assert.equal(
    summary([{ ...box(0, 0, 1, 1), origin: "accepted", confidence: 0.5 }], KNOWN),
    "1 box: 1 red. 1 suggested",
  );
  assert.deepEqual(["#ffffff", "#ebfd49", "#000086", "#c004a7"].map(inkOn), [
    "#000000",
    "#000000",
    "#ffffff",
    "#ffffff",
  ]);
});
