// The grid's messages: about an image, about an answer for many, and why it is empty. Pure functions.

import { Refused } from "../lib/api.js";
import { noImages } from "../lib/project.js";
import { count, number, percent } from "../lib/text.js";

/** @typedef {import("../types.js").Project} Project */
/** @typedef {import("./tiles.js").Tile} Tile */
/** @typedef {{ given: number[], answered: number[], held: number[], refused: number[], gone: number[] }} Outcome image ids */
/** @typedef {{ title: string, text?: string, back?: boolean, waits?: boolean }} Notice `back`: a way to all images */

/**
 * An image in a few words: its answer, else the model's prediction.
 * @param {Tile} tile
 * @param {import("../types.js").ClassEntry[]} classes
 */
export function wordsOf({ status, label, predicted, confidence, held }, classes) {
  const name = (/** @type {number | null} */ id) => classes.find((each) => each.id === id)?.name ?? "?";
  const said = predicted === null ? "" : `${name(predicted)} ${percent(confidence ?? 0)}`;
  if (status === "labeled") return `✓ ${name(label)}${said && predicted !== label ? `, predicted ${said}` : ""}`;
  if (status !== "unlabeled") return status;
  return held ? `${said} on another screen`.trim() : said;
}

/**
 * The outcome of an answer for `asked` images.
 * @param {Outcome} outcome
 * @param {number} asked
 * @param {string} did what was done, such as "labeled as cat"
 */
export function outcome({ given, answered, held, refused, gone }, asked, did) {
  const said = [`${count(given.length, "image")} ${did}.`];
  const of = `of ${number(asked)}`;
  const without = asked - given.length - answered.length - held.length - refused.length - gone.length;
  if (answered.length) said.push(`${answered.length} ${of} were answered by others meanwhile.`);
  if (held.length) said.push(`${held.length} ${of} are on someone else's screen.`);
  if (refused.length) said.push(`${refused.length} ${of} could not be saved.`);
  if (gone.length) said.push(`${gone.length} ${of} no longer exist.`);
  if (without) said.push(`${without} ${of} have no prediction.`);
  return said.join(" ");
}

/** Images that no longer belong to the view after an answer. @param {Outcome} outcome @param {string} action @param {string | undefined} status that the view shows @param {boolean} relabeled they got another class than the view's */
export function leaving({ given, answered, gone }, action, status, relabeled) {
  const now = { label: "labeled", skip: "skipped", flag: "flagged" }[action];
  const left = relabeled || (status !== "any" && status !== now) ? given : [];
  return [...gone, ...left, ...(status === "unlabeled" ? answered : [])];
}

/**
 * Why the grid shows no image.
 * @param {Project | null} project
 * @param {{ loading: boolean, problem: Error | null, narrowed: boolean, needsClasses?: boolean }} view `narrowed`: filters
 *   leave some out; `needsClasses`: answers name classes
 * @returns {Notice}
 */
export function whyEmpty(project, { loading, problem, narrowed, needsClasses = true }) {
  if (loading || !project) return { title: "Looking …" };
  if (problem instanceof Refused) {
    /** @type {Record<number, string>} */
    const titles = {
      409: "Not yet",
      503: "The trainer cannot be reached",
      404: "Not found",
      422: "This cannot be shown",
    };
    const { status, message } = problem;
    return { title: titles[status] ?? "The grid cannot be shown", text: message, back: true, waits: status === 409 };
  }
  if (problem) {
    return { title: "The labeler cannot be reached", text: "This page continues by itself when the labeler is back." };
  }
  const { images, scanning, classes } = project;
  if (!images.total && scanning.running) {
    return { title: "Reading the image folder", text: "Images appear here as they are found." };
  }
  if (!images.total && scanning.error) return { title: "The image folder cannot be read", text: scanning.error };
  if (!images.total) {
    return noImages(project);
  }
  if (!classes.length && needsClasses) return { title: "No classes yet", text: "Add them on the page Label first." };
  if (narrowed) return { title: "No images match", text: "Change the filters above.", back: true };
  return { title: "Nothing left to label", text: "See Progress for how good the model is, and Finish to save it." };
}
