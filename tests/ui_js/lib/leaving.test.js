import assert from "node:assert/strict";
import { test } from "node:test";
import { Leaving } from "../../../labeler/ui/lib/leaving.js";

test("from a click on the navigation until its page is there, a page asks for no redraw", () => {
  let now = 0;
  const leaving = new Leaving(() => now);
  assert.equal(leaving.from("/"), false);
  leaving.clicked("/grid");
  leaving.clicked("/data"); // the second of two quick clicks
  assert.equal(leaving.from("/"), true);
  assert.equal(leaving.from("/grid"), true); // the first page is there, and is being left
  assert.equal(leaving.from("/data"), false);
  assert.equal(leaving.from("/grid"), false); // by other means than the navigation
  leaving.clicked("/gone");
  now = 10_001;
  assert.equal(leaving.from("/data"), false); // a click that was lost blocks nothing for long
});
