// The files that a person dropped or chose. The name of each contains its folders.

/** @typedef {{ file: File, name: string }} Dropped */

/** All files of a drop, including those in folders. @param {any} transfer @returns {Promise<Dropped[]>} */
export async function droppedFiles(transfer) {
  const entries = Array.from(transfer.items, (/** @type {any} */ item) => item.webkitGetAsEntry?.()).filter(Boolean); // before any await
  if (!entries.length) return chosenFiles(transfer.files);
  /** @type {Dropped[]} */
  const found = [];
  for (const entry of entries) await walk(entry, found);
  return found;
}

/** The chosen files, named by their path if a folder was chosen. Hidden files are skipped. @param {FileList} files @returns {Dropped[]} */
export function chosenFiles(files) {
  return Array.from(files, (file) => ({ file, name: file.webkitRelativePath || file.name })).filter(
    ({ name }) => !hidden(name),
  );
}

/** @param {any} entry @param {Dropped[]} found */
async function walk(entry, found) {
  if (hidden(entry.name)) return;
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    found.push({ file, name: entry.fullPath.replace(/^\//, "") });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // returns at most a hundred at a time
    if (!some.length) return;
    for (const each of some) await walk(each, found);
  }
}

/** @param {string} name */
export function hidden(name) {
  return name.split("/").some((part) => part.startsWith(".")) || name.endsWith("Thumbs.db");
}
