// Requests to the labeler: each is finite, and a refusal is an error that holds the labeler's own words.

const ASK_MS = 25000; // the labeler itself waits for the trainer for less

class Refused extends Error {
  constructor(status, answer) {
    super(typeof answer.detail === "string" ? answer.detail : `The labeler answers ${status}.`);
    this.status = status;
    this.answer = answer;
  }
}

/** The answer as JSON; with `body` it is a POST. Throws Refused, TypeError when there is no connection, or an abort. */
async function ask(url, { body, signal } = {}) {
  const timeout = AbortSignal.timeout(ASK_MS);
  const request = { signal: signal ? AbortSignal.any([signal, timeout]) : timeout };
  if (body !== undefined) {
    Object.assign(request, { method: "POST", body: JSON.stringify(body) });
    request.headers = { "Content-Type": "application/json" };
  }
  const response = await fetch(url, request);
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, answer);
  return answer;
}

function annotator() {
  try {
    return localStorage.getItem("flywheel/annotator") ?? "me";
  } catch {
    return "me"; // a browser that keeps nothing
  }
}

/** A random UUID; crypto.randomUUID is missing on plain HTTP beyond loopback. */
function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

function percent(share) {
  return `${Math.round(100 * share)}%`;
}

function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

/** Unchanged text is left alone: a live region would be read out again. */
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
