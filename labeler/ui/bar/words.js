// The bar's messages about both services. Pure functions.

import { isEmbedding } from "../lib/project.js";
import { capital, duration, megabytes, number, percent, timeLeft } from "../lib/text.js";

/** @typedef {{ text: string, share?: number }} Work current work, and its progress */

/**
 * The challenger's work; null if there is none. The page Models has the details.
 * @param {any} view
 * @returns {Work | null}
 */
export function challengerOf(view) {
  /** @type {Record<string, string>} */
  const doing = {
    training: `challenger, round ${view?.round}`,
    embedding: "switching to the challenger",
    halted: `challenger, round ${view?.round} paused`,
  };
  const words = doing[view?.state];
  if (!words) return view?.serving ? { text: "The challenger is the live model" } : null;
  if (!view.total) return { text: words };
  const share = view.done / view.total;
  return { text: `${words}: ${percent(share)}`, share };
}

/**
 * Images that the trainer embeds, or the backbone that it downloads first; null when all is done.
 * @param {any} embedding
 * @returns {Work | null}
 */
export function embeddingOf(embedding) {
  if (!embedding) return null;
  const { download } = embedding;
  if (download) {
    const work = { done: download.done_bytes, total: download.total_bytes };
    return workOf(work, `downloading ${download.name}`, megabytes);
  }
  return isEmbedding(embedding) ? workOf(embedding, "processing images") : null;
}

/** @param {any} scanning @returns {Work | null} */
export function scanOf(scanning) {
  return scanning.running ? workOf(scanning, "reading the folder") : null;
}

/**
 * @param {{ done: number, total: number | null, seconds_left?: number | null }} work
 * @param {string} doing
 * @param {(amount: number) => string} [say]
 * @returns {Work}
 */
function workOf({ done, total, seconds_left }, doing, say = number) {
  const left = seconds_left ? `, ${timeLeft(seconds_left)}` : "";
  const text = `${doing}: ${say(done)}${total ? ` of ${say(total)}` : ""}${left}`;
  return total ? { text, share: done / total } : { text };
}

/**
 * The number of answers that the trainer does not have yet, and since when.
 * @param {{ pending: number, oldest_seconds: number | null }} outbox as last heard
 * @param {string} state of the trainer
 * @param {number} since seconds since that update
 */
export function lagOf({ pending, oldest_seconds }, state, since) {
  if (!pending) return isAway(state) ? "Nothing waits for the trainer" : "The trainer is up to date";
  const waited = oldest_seconds === null ? 0 : oldest_seconds + since;
  return `${number(pending)} waiting for the trainer${waited >= 1 ? ` for ${duration(waited)}` : ""}`;
}

/**
 * The speed of several people.
 * @param {{ name: string, per_minute: number }[]} people @param {string} me @param {number} all
 * @param {string} counted what they give
 */
export function paceOf(people, me, all, counted) {
  const mine = people.find(({ name }) => name === me)?.per_minute ?? 0;
  return `${capital(counted)}s per minute: you ${Math.round(mine)}, all ${people.length} people ${Math.round(all)}`;
}

/** Why the trainer stopped, and the effect of further labels. @param {string | null | undefined} reason */
export function stoppedBecause(reason) {
  const why = reason ? `${capital(reason)}: the` : "The";
  return `${why} model no longer learns. Labels that you give now are kept; press Resume to train on them. `;
}

/** Which buttons there are. @param {string} state of the trainer @param {boolean} cannotSave its disk is in trouble */
export function buttonsOf(state, cannotSave) {
  const idle = ["paused", "stopped", "failed"].includes(state);
  const away = isAway(state) || state === "lost";
  return {
    pause: !idle && !away && state !== "stopping",
    resume: idle && !(cannotSave && state === "failed"), // it continues by itself
    stop: !away && !["stopping", "stopped"].includes(state),
  };
}

/** Why a service cannot write to its disk; once if both have the same reason. @param {any} project */
export function diskTrouble({ disk: ours, trainer: { disk: theirs } }) {
  const same = ours && theirs && ours.kind === theirs.kind && ours.folder === theirs.folder;
  const told = [ours?.message, !same && theirs && `The trainer: ${theirs.message}`].filter(Boolean);
  return told.length ? told.join(" ") : undefined;
}

/** @param {string} state of the trainer */
function isAway(state) {
  return ["absent", "taken"].includes(state);
}
