// What a button or its key answers about the chosen images. What a class and Enter mean, the task says (`tasks/task.js`).

/** @param {string} name @param {import("../tasks/task.js").Marking} marking @returns {import("../tasks/task.js").Mark | { refusal: string } | null} null if it answers nothing */
export function markBy(name, marking) {
  if (name === "accept") return marking.accept();
  if (name === "no") return marking.decline();
  const did = { skip: "skipped", flag: "flagged" }[name];
  return did ? { action: name, of: () => undefined, did, leaves: false } : null;
}
