// The map's messages: why there is none, and why all points coincide. Pure functions.

import { Refused } from "../lib/api.js";
import { embeddedShare, noImages } from "../lib/project.js";
import { count, number, timeLeft } from "../lib/text.js";

/** @typedef {import("../types.js").Project} Project */

/** Why all points coincide; "" if they do not. @param {{ x?: number[], y?: number[] } | null} map */
export function whyFlat(map) {
  const { x = [], y = [] } = map ?? {};
  if (x.length === 1) return "One image makes one point: add others, and the map shows which are similar.";
  if (!x.length || x.some((each, at) => each !== x[0] || y[at] !== y[0])) return "";
  return `These ${count(x.length, "image")} look the same to the trainer, so they lie on one point. Add others.`;
}

/** Whether the map will appear by itself. @param {Project | null} project @param {Error | null} problem @returns {boolean} */
export function waits(project, problem) {
  const { images, scanning, embedding } = project ?? {};
  if (scanning?.running) return true;
  if (embedding?.lacks || !images?.total) return false;
  return !problem || (problem instanceof Refused && problem.status === 409);
}

/**
 * Why there is no map: a title and a sentence.
 * @param {Project | null} project
 * @param {Error | null} problem
 * @param {boolean} known whether the trainer has sent a map, perhaps an empty one
 * @returns {[string, string?]}
 */
export function whyEmpty(project, problem, known) {
  const { images, scanning, embedding } = project ?? {};
  if (problem && !(problem instanceof Refused)) {
    return ["The labeler cannot be reached", "This page continues by itself when the labeler is back."];
  }
  if (images && !images.total && scanning?.running) {
    return ["Reading the image folder", "The map appears when images are found."];
  }
  if (images && !images.total) {
    const { title, text } = noImages(project);
    return [title, text];
  }
  if (problem instanceof Refused && problem.status === 503) return ["The trainer cannot be reached", problem.message];
  if (embedding?.lacks) return ["No map of these images", embedding.lacks];
  if (embedding && embeddedShare(project) !== undefined) {
    const far = `${number(embedding.done)} of ${count(embedding.total, "image")}`;
    const left = [far, timeLeft(embedding.seconds_left)].filter(Boolean).join(", ");
    return ["The trainer is processing the images", `${left}. The map appears by itself.`];
  }
  if (problem) return ["Not yet", problem.message];
  return known
    ? ["No image to show yet", "It appears when the trainer has processed some images."]
    : ["Computing the map …"];
}
