// A group of buttons is one Tab stop; arrow keys move within it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { isStep, placeAfter, rove } from "../../../../labeler/ui/lib/input/roving.js";

/** A group of this many buttons, `columns` in a row. */
function groupOf(count, columns = 1) {
  const group = Object.assign(new EventTarget(), { dataset: {}, buttons: [] });
  group.querySelectorAll = () => group.buttons;
  group.add = () => {
    const button = { tabIndex: 0, disabled: false, offsetTop: Math.floor(group.buttons.length / columns) };
    button.closest = () => button;
    button.focus = () => {
      group.focused = group.buttons.indexOf(button);
      send(group, "focusin", { target: button });
    };
    group.buttons.push(button);
  };
  for (let made = 0; made < count; made++) group.add();
  group.stops = () => group.buttons.flatMap(({ tabIndex }, at) => (tabIndex === 0 ? [at] : []));
  return group;
}

function send(group, name, { target, ...more }) {
  const event = Object.assign(new Event(name, { cancelable: true }), more);
  Object.defineProperty(event, "target", { value: target });
  group.dispatchEvent(event);
  return event;
}

function press(group, key, more) {
  return send(group, "keydown", { target: group.buttons[group.focused], key, ...more }).defaultPrevented;
}

test("Tab reaches one button of a group, and the one that had the focus last", () => {
  const group = groupOf(40);
  rove(group);
  assert.deepEqual(group.stops(), [0]);
  group.buttons[7].focus();
  group.add();
  rove(group);
  assert.deepEqual(group.stops(), [7]);
  group.buttons.splice(7, 1); // a search leaves it out
  rove(group);
  assert.deepEqual(group.stops(), [0]);
});

test("arrows, Home and End move the focus by the columns that are on screen", () => {
  const group = groupOf(40, 2);
  rove(group);
  group.buttons[0].focus();
  for (const [key, to] of [
    ["ArrowDown", 2],
    ["ArrowRight", 3],
    ["ArrowUp", 1],
    ["End", 39],
    ["Home", 0],
  ]) {
    assert.equal(press(group, key), true, key);
    assert.deepEqual([group.focused, ...group.stops()], [to, to], key);
  }
  assert.equal(press(group, "Enter"), false);
  assert.equal(press(group, "ArrowRight", { altKey: true }), false);
  group.buttons[1].disabled = true;
  press(group, "ArrowRight");
  assert.equal(group.focused, 2);
});

test("the focus stays in the group, and goes to the end of a last row that is shorter", () => {
  assert.equal(placeAfter("ArrowLeft", 0, 5, 2), 0);
  assert.equal(placeAfter("ArrowUp", 1, 5, 2), 1);
  assert.equal(placeAfter("ArrowRight", 4, 5, 2), 4);
  assert.equal(placeAfter("ArrowDown", 3, 5, 2), 4);
  assert.equal(placeAfter("ArrowDown", 4, 5, 2), 4);
  assert.equal(placeAfter("a", 4, 5, 2), undefined);
});

test("a page leaves these keys to a group that has the focus", () => {
  const inside = { closest: () => ({}) };
  assert.equal(isStep(inside, "ArrowDown"), true);
  assert.equal(isStep(inside, "Escape"), false);
  assert.equal(isStep({ closest: () => null }, "ArrowDown"), false);
});
