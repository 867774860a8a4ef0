import assert from "node:assert/strict";
import { test } from "node:test";
import { BOXES, ONE_CLASS, SEVERAL_CLASSES } from "../../../labeler/ui/classes/class_words.js";
import { ClassPanel, meaningOf } from "../../../labeler/ui/classes/panel.js";
import { ClassSearch, placeKey } from "../../../labeler/ui/classes/search.js";
import { key } from "../browser.js";

const ACTS = { S: "skip", Z: "undo" };
const FEW = ["red", "green", "blue"].map((name, index) => ({ id: index + 1, name, hotkey: String(index + 1) }));
const MANY = Array.from({ length: 12 }, (_, index) => ({
  id: index + 1,
  name: index < 3 ? FEW[index].name : `shade ${"abcdefghi"[index - 3]}`,
  hotkey: index < 10 ? String((index + 1) % 10) : null,
}));

test("with few classes letters act and digits give the class of that key", () => {
  const search = new ClassSearch(FEW);
  assert.equal(search.typing, false);
  assert.deepEqual(search.meaning(key("s"), ACTS), { act: "skip" });
  assert.deepEqual(search.meaning(key("2"), ACTS), { classId: 2 });
  assert.deepEqual(search.meaning(key("9"), ACTS), { refusal: "No class has the key 9." });
  assert.equal(search.meaning(key("q"), ACTS), null);
  assert.equal(search.meaning(key("Enter"), ACTS), null);
});

test("a class's own letter gives it, but not with Shift, and an action's letter goes first", () => {
  const search = new ClassSearch([...FEW, { id: 4, name: "wolf", hotkey: "w" }, { id: 5, name: "seal", hotkey: "s" }]);
  assert.deepEqual(search.meaning(key("w"), ACTS), { classId: 4 });
  assert.deepEqual(search.meaning(key("W"), ACTS), { classId: 4 });
  assert.equal(search.meaning(key("W", { shift: true }), ACTS), null);
  assert.deepEqual(search.meaning(key("s"), ACTS), { act: "skip" });
});

test("with another script, the written character counts first, then the position of the key", () => {
  const search = new ClassSearch([...FEW, { id: 4, name: "wolf", hotkey: "w" }, { id: 5, name: "рысь", hotkey: "ы" }]);
  assert.deepEqual(search.meaning(key("я", { place: "Z" }), ACTS), { act: "undo" });
  assert.deepEqual(search.meaning(key("ц", { place: "W" }), ACTS), { classId: 4 });
  assert.deepEqual(search.meaning(key("ы", { place: "S" }), ACTS), { classId: 5 });
});

test("with many classes letters search for a class and actions need Shift, except while a name is typed", () => {
  const search = new ClassSearch(MANY);
  assert.equal(search.typing, true);
  assert.equal(search.meaning(key("s"), ACTS), null);
  assert.equal(search.meaning(key("ы", { place: "S" }), ACTS), null);
  assert.deepEqual(search.meaning(key("S", { shift: true }), ACTS), { act: "skip" });
  assert.equal(new ClassSearch(MANY, "shade ").meaning(key("S", { shift: true }), ACTS), null);
});

test("typed text finds names that contain it, those that begin with it first, ignoring case", () => {
  const names = (text) => new ClassSearch(MANY, text).matches.map(({ name }) => name);
  assert.equal(names("").length, 12);
  assert.equal(names("  ").length, 12);
  assert.deepEqual(names("SHADE H"), ["shade h"]);
  assert.deepEqual(names("re"), ["red", "green"]);
  assert.equal(names("shade").length, 9);
  assert.equal(new ClassSearch(FEW, "re").matches.length, 3); // nothing is typed where letters act
});

test("a digit gives the class with that key, or after typed text the match with that number", () => {
  assert.equal(new ClassSearch(MANY).withDigit("4"), 4);
  assert.equal(new ClassSearch(MANY).withDigit("0"), 10);
  assert.equal(new ClassSearch(MANY, "shade").withDigit("4"), 7);
  const { refusal } = new ClassSearch(MANY, "shade h").meaning(key("2"), ACTS);
  assert.equal(refusal, "The classes found have no number 2.");
  assert.deepEqual([0, 8, 9, 10].map(placeKey), ["1", "9", "0", null]);
});

test("Enter gives the first class found, or says that none matches", () => {
  assert.equal(new ClassSearch(MANY, "shade h").found, 11);
  assert.equal(new ClassSearch(MANY).found, undefined);
  const none = new ClassSearch(MANY, " Qqq ");
  assert.equal(none.found, undefined);
  assert.equal(none.unmatched, "No class matches “Qqq”. Press Esc to clear it.");
  assert.equal(new ClassSearch(MANY, "shade").unmatched, null);
});

test("letters, signs and spaces are typed; Backspace deletes one and Escape all", () => {
  const after = (text, name) => new ClassSearch(MANY, text).afterTyping(name);
  assert.equal(after("", "s"), "s");
  assert.equal(after("sh", "Ä"), "shÄ");
  assert.equal(after("a", "-"), "a-");
  assert.equal(after("a", " "), "a ");
  assert.equal(after("", " "), null); // which other keys may mean
  assert.equal(after("ab", "Backspace"), "a");
  assert.equal(after("ab", "Escape"), "");
  for (const name of ["Backspace", "Escape", "Enter", "ArrowLeft", "F1"]) assert.equal(after("", name), null);
});

test("a change of a class says what it means for its labels", () => {
  const cat = { id: 1, name: "cat", labels: 2 };
  const meaning = (change, entry, wanted) => meaningOf(change, entry, wanted, ONE_CLASS);
  assert.equal(meaning("rename", cat, "lynx"), "2 labels become “lynx”; the old name still works.");
  assert.equal(meaning("rename", { ...cat, labels: 1 }, ""), "1 label becomes “…”; the old name still works.");
  assert.equal(meaning("rename", { ...cat, labels: 0 }, "lynx"), "The old name still works.");
  assert.equal(meaning("merge", cat, null), "2 labels would become labels of the class that you choose.");
  assert.equal(
    meaning("merge", cat, "dog"),
    "2 labels become “dog”; “cat” still works as a name for it. This cannot be undone.",
  );
  assert.equal(meaning("delete", cat), "2 images lose this label and will be asked again. This cannot be undone.");
  assert.equal(
    meaning("delete", { ...cat, labels: 1 }),
    "1 image loses this label and will be asked again. This cannot be undone.",
  );
  assert.equal(
    meaningOf("delete", cat, null, SEVERAL_CLASSES),
    "2 images lose this class; other classes stay. This cannot be undone.",
  );
  assert.equal(meaning("delete", { ...cat, labels: 0 }), "No image has this label.");
  assert.match(meaning("look", cat), /^Labels do not change/);
});

test("in a detection project, a change of a class counts its images and changes its boxes", () => {
  const car = { id: 1, name: "car", labels: 2 };
  const meaning = (change, entry, wanted) => meaningOf(change, entry, wanted, BOXES);
  assert.equal(meaning("rename", car, "van"), "The boxes of 2 images become “van”; the old name still works.");
  assert.match(meaning("rename", { ...car, labels: 1 }, "van"), /^The boxes of 1 image become “van”/);
  assert.equal(meaning("merge", car, null), "The boxes of 2 images would become boxes of the class that you choose.");
  assert.match(meaning("merge", car, "van"), /^the boxes of 2 images become “van”; “car” still works/i);
  assert.equal(
    meaning("delete", car),
    "2 images lose their boxes of this class; other boxes stay. This cannot be undone.",
  );
  assert.match(meaning("delete", { ...car, labels: 1 }), /^1 image loses its boxes of this class/);
  assert.equal(meaning("delete", { ...car, labels: 0 }), "No image has a box of this class.");
  assert.match(meaning("look", car), /^Boxes do not change/);
});

test("a change is posted with the changed fields only", () => {
  const value = (text) => ({ value: text });
  const fields = {
    coloured: { checked: true },
    colour: value("#112233"),
    hotkey: value(" q "),
    place: value("0"),
    description: value(" a cat "),
  };
  const body = (change, given) => ClassPanel.prototype.bodyOf.call({ classes: FEW }, given, 1, change);
  const look = { colour: "#112233", hotkey: "q", description: "a cat" };
  assert.deepEqual(body("look", fields), look);
  assert.deepEqual(body("look", { ...fields, place: value("2"), coloured: {} }), { ...look, colour: "", place: 2 });
  assert.deepEqual(body("rename", { name: value(" lynx ") }), { name: "lynx" });
  assert.deepEqual(body("merge", { into: value("3") }), { into: 3 });
  assert.equal(body("delete", {}), null);
});
