// The card's messages: why there is no image, why this one is asked, and how far the goal is. Pure functions.

import { noImages } from "../lib/project.js";
import { capital, count, duration, number, percent, timeLeft } from "../lib/text.js";

/** @typedef {import("../types.js").Project} Project */
/** @typedef {{ title: string, text?: string, share?: number }} Notice */

/**
 * Why there is no image on screen; null if there is one.
 * @param {{ items: unknown[], full: boolean }} outbox
 * @param {{ current: { broken: boolean } | null, next: unknown[], remaining: number | null, failed: boolean }} questions
 * @param {Project | null} project
 * @param {boolean} connected
 * @returns {Notice | null}
 */
export function whyEmpty(outbox, questions, project, connected) {
  if (outbox.full) {
    const kept = `${count(outbox.items.length, "label")} are kept in this browser.`;
    return { title: "Waiting for the labeler", text: `${kept} The next image comes when they are saved.` };
  }
  if (questions.current?.broken) {
    return { title: "This image cannot be shown", text: "It is missing or damaged. Flag it (F) or skip it (S)." };
  }
  if (questions.current) return null;
  if (questions.failed && !connected) {
    return { title: "The labeler cannot be reached", text: "This page continues by itself when the labeler is back." };
  }
  const { remaining } = questions;
  if (!project || remaining === null || questions.next.length) return { title: "Loading images …" };
  const { scanning } = project;
  if (scanning?.error) return { title: "The image folder cannot be read", text: scanning.error };
  if (remaining === 0 && scanning?.running) return whileScanning(scanning);
  if (!project.images.total) {
    return noImages(project);
  }
  if (remaining > 0) {
    const text = `${count(remaining, "image")} will come here unless someone else answers first.`;
    return { title: "Others are labeling the rest", text };
  }
  const text = "Every image has its answer. See Progress for how good the model is, and Finish to save it.";
  return { title: "Nothing left to label", text };
}

/** @param {import("../types.js").Scanning} scanning @returns {Notice} */
function whileScanning({ done, total, seconds_left }) {
  const left = seconds_left ? `, ${timeLeft(seconds_left)}` : "";
  const of = total ? ` of ${number(total)}` : "";
  return {
    title: "Reading the image folder",
    text: `${number(done)}${of} files${left}. Labeling starts with the first image.`,
    share: total ? done / total : undefined,
  };
}

/**
 * Why this answer does not count; null if it does.
 * @param {import("./questions.js").Question} question
 * @param {string} action
 * @param {{ correct: string }} choice
 */
export function whyRefused({ opened, broken }, action, { correct }) {
  if (opened?.held) return "Someone else is labeling this image: that was not counted.";
  if (opened?.settles && action !== "label") return `Others have answered this image. ${correct}.`;
  return broken && action === "label" ? "There is no image to label: skip it or flag it." : null;
}

/** Others have the image that was on screen. @param {boolean} stays because something was given for it */
export function takenInWords(stays) {
  const taken = "Meanwhile others took this image over, or it is no longer available";
  return stays
    ? `${taken}. Your answer is kept beside theirs.`
    : `${taken.replace("this", "the previous")}: here is the next one.`;
}

/** Why the queue asks about this image. @param {{ reason?: string | null } | null} item */
export function whyAsked(item) {
  return item ? (item.reason ?? "Drawn at random: no model has ranked it yet.") : "";
}

/**
 * "about 6 min to 95.0% accuracy (120 labels)", or less if less is known.
 * @param {Project["target"]} target
 * @param {Pick<import("../tasks/task.js").Task, "metric" | "classWords">} task
 */
export function untilTarget(target, { metric, classWords }) {
  if (!target) return "";
  const goal = target.accuracy === null ? "the label budget" : `${percent(target.accuracy, 1)} ${metric}`;
  if (!target.labels) return target.accuracy === null ? "label budget reached" : `${goal} probably reached (forecast)`;
  const labels = count(target.labels, classWords.total);
  return target.minutes === null
    ? `${labels} to ${goal}`
    : `about ${duration(60 * target.minutes)} to ${goal} (${labels})`;
}

/**
 * The state of unsaved answers.
 * @param {{ items: unknown[], problem: string | null, durable: boolean }} outbox
 * @param {string} noun name of an answer here
 */
export function whetherSaved({ items, problem, durable }, noun) {
  const waiting = items.length;
  if (!durable) return `${waiting} not saved yet, and this browser cannot store them: keep the page open`;
  if (problem) return `${capital(problem)} – ${count(waiting, noun)} kept in this browser, trying again`;
  return waiting ? `${waiting} being saved` : "All saved";
}
