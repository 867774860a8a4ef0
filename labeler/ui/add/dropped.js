// What somebody dropped or chose, as files with the folders that they lay in: [{ file, name }].

/** All files of a drop, those in folders too. */
async function droppedFiles(transfer) {
  const entries = Array.from(transfer.items, (item) => item.webkitGetAsEntry?.()).filter(Boolean); // before any await
  if (!entries.length) return chosenFiles(transfer.files);
  const found = [];
  for (const entry of entries) await walk(entry, found);
  return found;
}

/** Files of an input; of a folder with its name. Hidden ones are nobody's photos. */
function chosenFiles(files) {
  return Array.from(files, (file) => ({ file, name: file.webkitRelativePath || file.name })).filter(({ name }) => !hidden(name));
}

async function walk(entry, found) {
  if (hidden(entry.name)) return;
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    found.push({ file, name: entry.fullPath.replace(/^\//, "") });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // a hundred at a time
    if (!some.length) return;
    for (const each of some) await walk(each, found);
  }
}

function hidden(name) {
  return name.split("/").some((part) => part.startsWith(".")) || name.endsWith("Thumbs.db");
}
