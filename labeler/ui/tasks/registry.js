// The tasks that a project can have, by name: one folder and one line each.

import { classification } from "./classification/classification.js";
import { detection } from "./detection/detection.js";
import { multilabel } from "./multilabel/multilabel.js";
import { fill } from "./task.js";

/** @typedef {import("./task.js").Task} Task */

/** @type {Map<string, Task>} */
const TASKS = new Map();

/** Add a task that projects can have. @param {Task} task */
export function register(task) {
  TASKS.set(task.name, task);
}

/** The task with this name. @param {string} name @returns {Task} */
export function taskNamed(name) {
  const task = TASKS.get(name);
  if (!task) throw new Error(`There is no task “${name}” on the pages.`);
  return task;
}

/** The task with this name, after inserting its parts into the page below `root`. @param {Element} root @param {string} name */
export function taskOn(root, name) {
  const task = taskNamed(name);
  fill(task, root);
  return task;
}

register(classification);
register(multilabel);
register(detection);
