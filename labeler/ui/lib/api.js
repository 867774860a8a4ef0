// The only module that sends HTTP requests to the labeler. Every request has a timeout. It returns the answer as JSON, or
// throws: `Refused` with the labeler's own words, `Lost` if no answer came, or an AbortError if the caller cancelled it.

/**
 * The URL of a picture in another size. The URL from the labeler already has a query with its version.
 * @param {string} url @param {number} pixels of the longer side
 */
export const sized = (url, pixels) => `${url}&size=${pixels}`;

const ASK_MS = 25_000; // longer than the labeler waits for the trainer

/** The labeler answered with an error. */
export class Refused extends Error {
  /** @param {number} status @param {any} answer its body */
  constructor(status, answer) {
    super(wordsOf(answer) ?? `The labeler answers ${status}.`);
    this.name = "Refused";
    this.status = status;
    this.answer = answer;
  }
}

/** No answer came: the connection is lost, or the labeler took too long. */
export class Lost extends Error {
  constructor() {
    super("connection lost");
    this.name = "Lost";
  }
}

/**
 * Ask the labeler. With a `body` (JSON or a form) it is a POST unless `method` says otherwise.
 * @param {string} url
 * @param {{ body?: unknown, signal?: AbortSignal, method?: string, patience?: number }} [options]
 * @returns {Promise<any>} the answer; an empty object if it has no JSON
 */
export async function ask(url, { body, signal, method, patience = ASK_MS } = {}) {
  const timeout = AbortSignal.timeout(patience);
  /** @type {RequestInit} */
  const request = { method, signal: signal ? AbortSignal.any([signal, timeout]) : timeout };
  if (body !== undefined) {
    request.method = method ?? "POST";
    if (body instanceof FormData) request.body = body;
    else {
      request.body = JSON.stringify(body);
      request.headers = { "Content-Type": "application/json" };
    }
  }
  let response;
  let answer;
  try {
    response = await fetch(url, request);
    answer = await jsonOf(response);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Lost();
  }
  if (!response.ok) throw new Refused(response.status, answer);
  return answer;
}

/**
 * Whether the labeler has something at this address; null if it cannot be reached or fails.
 * @param {string} url
 */
export async function has(url) {
  try {
    const { ok, status } = await fetch(url, { signal: AbortSignal.timeout(ASK_MS) });
    return status < 500 ? ok : null;
  } catch {
    return null;
  }
}

/** Whether the caller cancelled the request. @param {unknown} error */
export function isAbort(error) {
  return error instanceof Error && error.name === "AbortError";
}

/** Open the WebSocket that reports changes. */
export function events() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  return new WebSocket(`${scheme}://${location.host}/api/events`);
}

/** @param {Response} response @returns {Promise<any>} */
async function jsonOf(response) {
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

/** @param {any} answer */
function wordsOf({ detail } = {}) {
  return typeof detail === "string" ? detail : detail?.[0]?.msg;
}
