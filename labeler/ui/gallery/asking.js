// Requests to the labeler: each is finite, and a refusal is an error that holds the labeler's own words.

const ASK_MS = 25000; // the labeler itself waits for the trainer for less

class Refused extends Error {
  constructor(status, answer) {
    super(typeof answer.detail === "string" ? answer.detail : `The labeler answers ${status}.`);
    this.status = status;
    this.answer = answer;
  }
}

/** The answer as JSON; with `body`, JSON or a form, it is a POST. Throws Refused, TypeError when there is no connection, or an abort. */
async function ask(url, { body, signal, method, patience = ASK_MS } = {}) {
  const timeout = AbortSignal.timeout(patience);
  const request = { method, signal: signal ? AbortSignal.any([signal, timeout]) : timeout };
  if (body instanceof FormData) Object.assign(request, { method: "POST", body });
  else if (body !== undefined) {
    Object.assign(request, { method: "POST", body: JSON.stringify(body) });
    request.headers = { "Content-Type": "application/json" };
  }
  const response = await fetch(url, request);
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, answer);
  return answer;
}

function annotator() {
  return stored("flywheel/annotator") ?? "me";
}
