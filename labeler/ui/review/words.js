// The review's messages about doubtful labels, and why there is none to judge. Pure functions.

import { noImages } from "../lib/project.js";
import { capital, count, number, percent } from "../lib/text.js";

const FEW_ERRORS = 0.1; // share of the last verdicts below which continuing finds little
const ENOUGH_VERDICTS = 50;

/**
 * @typedef {{ title: string, text?: string, waits?: boolean, judging?: any, usually?: string }} Notice `waits`: it continues
 * by itself; `usually`: how long judging takes, until its pace is known
 */

/** @param {import("./doubts.js").Doubt} doubt */
export function evidenceOf({ agreeing, neighbours, proposed_name }) {
  return agreeing
    ? `${agreeing} of the ${neighbours} most similar labeled images are ${proposed_name}`
    : `None of the ${neighbours} most similar labeled images is ${proposed_name}: only the model says so`;
}

/** "12 errors found, 3 to 9 more expected (95% interval)". @param {any} page @param {boolean} estimates whether the number of errors is estimated */
export function foundOf({ errors, expected_low, expected_high, enough }, estimates) {
  const found = errors ? `${count(errors, "error")} found` : "No error found yet";
  if (!estimates) return found;
  if (!enough) return `${found}; too few labels to tell how many there are`;
  const [low, high] = [expected_low - errors, expected_high - errors].map((n) => number(Math.max(n, 0)));
  if (high === "0") return `${found}, none expected${errors ? " beyond" : ""}`;
  return `${found}, ${low === high ? low : `${low} to ${high}`} ${errors ? "more " : ""}expected (95% interval)`;
}

/** The progress before there is anything to judge, or while everything is judged again. @param {any} page */
export function lookingOf({ missing, progress, coming }) {
  if (coming) return `comparing images first: ${count(coming, "labeled image")} to go`;
  return missing ? `needs ${count(missing, "more label")}` : `looking for label errors … ${percent(progress)}`;
}

/** How often the last verdicts found an error, and whether it is worth continuing. @param {any} page */
export function precisionOf({ recent, recent_errors }) {
  if (!recent) return "";
  const share = recent_errors / recent;
  const words = `${percent(share)} of the last ${count(recent, "verdict")} found an error`;
  return recent >= ENOUGH_VERDICTS && share < FEW_ERRORS ? `${words}: few are left, you can stop` : words;
}

/**
 * Why no doubtful label is on screen; null if there is one.
 * @param {Pick<import("./doubts.js").Doubts, "current" | "page" | "problem">} doubts
 * @param {import("../types.js").Project | null} project
 * @param {string} start the sentence that says how the trainer starts
 * @param {import("../tasks/task.js").Verdicts} verdicts
 * @returns {Notice | null}
 */
export function whyEmpty({ current, page, problem }, project, start, verdicts) {
  if (current?.broken) {
    const text = `It is missing or damaged. ${verdicts.letters.X ? "Remove its label (X), or leave it (S)." : "Leave it (S)."}`;
    return { title: "This image cannot be shown", text };
  }
  if (current) return null;
  if (project && !project.images.total && !project.scanning.running) {
    return noImages(project);
  }
  if (problem?.status === 503) return { title: "The trainer cannot be reached", text: `${problem.message} ${start}` };
  if (problem?.status)
    return {
      title: problem.status === 409 ? "Not yet" : "The review is not available",
      text: problem.message,
      waits: true,
    };
  if (problem) {
    return { title: "The labeler cannot be reached", text: "This page continues by itself when the labeler is back." };
  }
  if (!page || !project) return { title: "Looking …" };
  if (!project.images.labeled) {
    return { title: "No labels yet", text: "Import some on the page Data, or give the first on the page Label." };
  }
  return whyNoneInDoubt(page, verdicts.words);
}

/** @param {any} page @param {import("../tasks/task.js").Verdicts["words"]} words @returns {Notice} */
function whyNoneInDoubt(page, { few, how, usually, none }) {
  if (!page.labels && page.missing) {
    return { title: capital(lookingOf(page)), text: few, waits: true };
  }
  if (!page.labels && page.coming) {
    const text = "A label is judged by the labels of similar images, so all of them are compared first.";
    return { title: capital(lookingOf(page)), text, waits: true };
  }
  if (!page.labels || page.renewing) {
    return { title: capital(lookingOf(page)), text: how, waits: true, judging: page, usually };
  }
  const text = `${count(page.judged, "label")} judged by hand. Download your labels on the page Finish.`;
  return { title: none, text };
}
