// The dialog that lists a page's keys, with the switch that turns single-key shortcuts off.

import { element, find } from "../dom.js";
import { singleKeysOn, turnSingleKeys } from "../storage.js";

export class KeyTable {
  /** @param {Element} root a component whose HTML has a `dialog.keys` */
  constructor(root) {
    this.dialog = find(root, "dialog.keys");
    const row = element("label", "", "switch");
    this.box = element("input");
    Object.assign(this.box, { type: "checkbox", role: "switch", id: "single-keys" });
    this.box.dataset.testid = "single-keys";
    this.box.onchange = () => turnSingleKeys(this.box.checked);
    row.append(this.box, " Single-key shortcuts");
    const help = element(
      "p",
      "Off: letters, digits and punctuation do nothing. Enter, Esc, Space and arrows still work.",
      "quiet",
    );
    help.id = "single-keys-help";
    this.box.setAttribute("aria-describedby", help.id);
    this.dialog.querySelector("form").before(row, help);
  }

  get open() {
    return this.dialog.open;
  }

  show() {
    this.box.checked = singleKeysOn();
    this.dialog.showModal();
  }
}
