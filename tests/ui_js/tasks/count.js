// The toy task of `tests/shared/tasks/count.py` on the pages: how many objects an image shows, by one button for each number.
// It imports nothing, so that Node and a browser find it under any address.

const MOST = 9;
const NUMBERS = Array.from({ length: MOST + 1 }, (_, number) => number);
const answer = (number) => ({ label: null, answer: number });

/** The buttons, before the actions of the card or of the grid. */
function buttons(root) {
  const made = document.createElement("div");
  for (const number of NUMBERS) {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", textContent: String(number) });
    Object.assign(button.dataset, { act: `count-${number}`, testid: `count-${number}` });
    made.append(button);
  }
  root.querySelector(".actions").before(made);
}

class Choice {
  letters = {};
  acts = NUMBERS.map((number) => `count-${number}`);
  reasons = [["skip", "I cannot tell"]];
  measure = "accuracy";
  correct = "Count again";
  again = "Count again";

  begin() {}
  draw() {}
  press() {
    return null;
  }
  act(name) {
    return answer(Number(name.slice("count-".length)));
  }
  accept() {
    return { refusal: "Press the number of objects." };
  }
  swipe() {
    return null;
  }
  hint() {
    return [];
  }
  figure() {
    return null;
  }
  without() {
    return "How many objects are there?";
  }
  others() {
    return [];
  }
  marked() {
    return new Set();
  }
  words({ answer }) {
    return String(answer);
  }
  relabel() {}
}

class Marking {
  letters = { X: "no" };
  buttons = null;
  active = undefined;
  classes = [];

  press() {
    return null;
  }
  accept() {
    return { refusal: "Press X for images without any object." };
  }
  decline() {
    return { action: "label", of: () => answer(0), did: "counted as 0", leaves: false };
  }
  draw(chosen) {
    return { choose: false, answer: chosen > 0 };
  }
  words({ status, answer }) {
    return status === "labeled" ? `✓ ${answer}` : null;
  }
}

export const count = {
  name: "count",
  metric: "accuracy",
  classWords: { total: "answer" },
  namesClasses: false,
  severalClasses: false,
  predictsClass: false,
  choice: (root) => {
    buttons(root);
    return new Choice();
  },
  marking: () => new Marking(),
  verdicts: {
    letters: { K: "keep", S: "unsure", Z: "undo" },
    other: false,
    estimates: false,
    words: { few: "", how: "", usually: "", none: "No count is in doubt" },
    key: ({ image_id }) => image_id,
    read: (doubt) => doubt,
    keep: ({ answer }) => ({ label: null, answer }),
    fix: ({ answer }) => ({ label: null, answer }),
    noClass: (refusal) => refusal,
  },
};
