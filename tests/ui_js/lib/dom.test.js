// A button that is disabled for a moment does not lose the focus for good.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setEnabled } from "../../../labeler/ui/lib/dom.js";

test("a button that was disabled with the focus gets it back, unless the focus is elsewhere by then", () => {
  const body = {};
  globalThis.document = { body, activeElement: body };
  const focused = [];
  const within = { activeElement: null };
  const buttons = ["keep", "accept"].map((name) => ({ disabled: false, focus: () => focused.push(name) }));
  const root = { querySelectorAll: () => buttons, getRootNode: () => within };
  within.activeElement = buttons[0];
  setEnabled(root, "button", false);
  within.activeElement = null; // a browser takes it
  setEnabled(root, "button", false);
  assert.deepEqual([focused, buttons.map(({ disabled }) => disabled)], [[], [true, true]]);
  setEnabled(root, "button", true);
  assert.deepEqual([focused, buttons.map(({ disabled }) => disabled)], [["keep"], [false, false]]);
  within.activeElement = buttons[1];
  setEnabled(root, "button", false);
  document.activeElement = { somebody: "clicked" };
  setEnabled(root, "button", true);
  document.activeElement = body;
  setEnabled(root, "button", true);
  assert.deepEqual(focused, ["keep"]);
});
