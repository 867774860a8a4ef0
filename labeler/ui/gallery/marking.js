// The answers of buttons and their keys about the selected images. The task defines those of classes and Enter
// (`tasks/task.js`).

/** @param {string} name @param {import("../tasks/task.js").Marking} marking @returns {import("../tasks/task.js").Mark | { refusal: string } | null} null if it answers nothing */
export function markBy(name, marking) {
  if (name === "accept") return marking.accept();
  if (name === "no") return marking.decline();
  const did = { skip: "skipped", flag: "flagged" }[name];
  return did ? { action: name, of: () => undefined, did, leaves: false } : null;
}
