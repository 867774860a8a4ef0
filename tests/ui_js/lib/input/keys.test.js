import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import {
  digitOf,
  isSwitchedOff,
  keepsKey,
  listenForKeys,
  placeOf,
  readKey,
  silenceSingleKeys,
} from "../../../../labeler/ui/lib/input/keys.js";
import { singleKeysOn, turnSingleKeys } from "../../../../labeler/ui/lib/storage.js";
import { meant } from "../../../../labeler/ui/shortcuts/shortcuts.js";
import { forget, KeyDown, key, keyboard } from "../../browser.js";

const { signal } = new AbortController();
beforeEach(forget);

/** Listen as a page does; returns how to press keys, and the names of those that it took. */
function page(options = {}) {
  const press = keyboard();
  const taken = [];
  listenForKeys(({ name }) => taken.push(name) > 0, { signal, ...options });
  return { press, taken };
}

test("French digits need Shift; elsewhere Shift and a digit's key write no digit", () => {
  assert.equal(digitOf(new KeyDown("1", { code: "Digit1", shiftKey: true })), "1");
  assert.equal(digitOf(new KeyDown("é", { code: "Digit2" })), "2");
  assert.equal(digitOf(new KeyDown("5", { code: "Numpad5" })), "5");
  assert.equal(digitOf(new KeyDown("!", { code: "Digit1", shiftKey: true })), undefined);
  assert.equal(digitOf(new KeyDown("a", { code: "KeyA" })), undefined);
});

test("a key of another script means the Latin letter at its place; a Latin letter means itself", () => {
  for (const [written, code, place] of [
    ["ы", "KeyS", "S"],
    ["σ", "KeyS", "S"],
    ["כ", "KeyF", "F"],
    ["Φ", "KeyF", "F"],
    ["ğ", "KeyS", undefined],
    ["s", "KeyS", undefined],
    ["Enter", "Enter", undefined],
  ])
    assert.equal(placeOf(new KeyDown(written, { code })), place, written);
});

test("Ctrl and ⌘ with a letter are commands, also on another script", () => {
  assert.equal(readKey(new KeyDown("z", { ctrlKey: true })).command, "Z");
  assert.equal(readKey(new KeyDown("z", { metaKey: true })).command, "Z");
  assert.equal(readKey(new KeyDown("я", { ctrlKey: true, code: "KeyZ" })).command, "Z");
  assert.equal(readKey(new KeyDown("z")).command, null);
});

test("a field keeps its keys; a button and a check box keep Enter and Space", () => {
  for (const tagName of ["INPUT", "TEXTAREA", "SELECT"]) assert.equal(keepsKey({ tagName }, "1"), true);
  assert.equal(keepsKey({ tagName: "DIV", isContentEditable: true }, "1"), true);
  for (const target of [{ tagName: "BUTTON" }, { tagName: "A" }, { tagName: "INPUT", type: "checkbox" }]) {
    assert.equal(keepsKey(target, "Enter"), true);
    assert.equal(keepsKey(target, " "), true);
    assert.equal(keepsKey(target, "1"), false);
  }
  assert.equal(keepsKey({ tagName: "BODY" }, "Enter"), false);
});

test("a page consumes its own keys and passes on all others", () => {
  const { press, taken } = page();
  const after = [];
  addEventListener("keydown", ({ key }) => after.push(key));
  assert.equal(press("1"), true);
  assert.deepEqual([taken, after], [["1"], []]);
  assert.equal(press("1", { target: { tagName: "INPUT" } }), false);
  assert.deepEqual([taken, after], [["1"], ["1"]]);
});

test("a page ignores Alt, composed characters, other commands, held keys and keys of a dialog", () => {
  const { press, taken } = page({ commands: ["Z"], elsewhere: (target) => target.inDialog });
  for (const more of [
    { altKey: true },
    { isComposing: true },
    { ctrlKey: true },
    { metaKey: true },
    { repeat: true },
    { target: { tagName: "DIV", inDialog: true } },
  ])
    assert.equal(press("s", more), false);
  assert.equal(press("z", { ctrlKey: true }), true);
  assert.deepEqual(taken, ["z"]);
});

test("a page that wants held keys gets them", () => {
  const { press, taken } = page({ repeats: true });
  press("ArrowDown", { repeat: true });
  assert.deepEqual(taken, ["ArrowDown"]);
});

test("with single keys off only Enter, Esc, Space, arrows and commands are shortcuts", () => {
  const { press, taken } = page({ commands: ["Z"] });
  assert.equal(singleKeysOn(), true);
  turnSingleKeys(false);
  for (const each of ["a", "Z", "1", "?", "+", "/", "ы"]) assert.equal(press(each), false, each);
  assert.deepEqual(taken, []);
  const kept = ["Enter", "Escape", " ", "ArrowLeft", "Backspace", "Delete", "Home"];
  for (const each of kept) assert.equal(press(each), true, each);
  assert.equal(press("z", { ctrlKey: true }), true);
  assert.deepEqual(taken, [...kept, "z"]);
  turnSingleKeys(true);
  assert.equal(press("a"), true);
});

test("with single keys off, Streamlit gets none, but a field does", () => {
  const press = keyboard();
  silenceSingleKeys(signal);
  const streamlit = [];
  addEventListener("keydown", ({ key }) => streamlit.push(key));
  press("r");
  turnSingleKeys(false);
  press("r");
  press("c", { target: { tagName: "INPUT" } });
  press("r", { ctrlKey: true });
  press("Enter");
  assert.deepEqual(streamlit, ["r", "c", "r", "Enter"]);
});

test("a browser without storage has single keys on", () => {
  globalThis.localStorage = undefined;
  assert.equal(singleKeysOn(), true);
  turnSingleKeys(false);
  assert.equal(isSwitchedOff(key("a")), false);
});

test("keys press Streamlit's buttons by character, digit and place, with Shift where it is asked for", () => {
  const data = { keys: { 1: "first", s: "later" }, shifted: { z: "undo" } };
  assert.equal(meant(key("1"), data), "first");
  assert.equal(meant(key("é", { digit: "1" }), data), "first");
  assert.equal(meant(key("S"), data), "later");
  assert.equal(meant(key("ы", { place: "S" }), data), "later");
  assert.equal(meant(key("Z", { shift: true }), data), "undo");
  assert.equal(meant(key("s", { shift: true }), data), undefined);
  assert.equal(meant(key("q"), data), undefined);
});
