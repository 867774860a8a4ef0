// What the card shows. It knows no network: it is told the question, the project and the state of the outbox, and calls
// back for what the person does. Words that people typed (class names, reasons) go in as text, never as markup.

const SMALL = 128; // pixels of the longest side up to which an image is enlarged pixel by pixel
const HOTKEYS = 10; // classes with a digit of their own; beyond, letters find a class

class View {
  constructor(root) {
    const find = (selector) => root.querySelector(selector);
    this.card = find(".card");
    this.meter = find(".meter");
    [this.counts, this.accuracy, this.pace] = find(".where p").children;
    this.picture = find(".picture");
    this.stage = find(".stage");
    this.notice = find(".notice");
    this.suggestion = find(".suggestion");
    this.reason = find(".reason");
    this.filter = find(".filter");
    this.classes = find(".classes");
    this.add = find(".add");
    this.actions = find(".actions");
    this.saved = find(".saved");
    this.message = find(".message");
    this.who = find(".who input");
    this.who.value = stored("flywheel/annotator") ?? "me";
    this.known = []; // the project's classes, in the order in which they were added
    this.buttons = new Map(); // class id → its button
    this.item = null;
  }

  get annotator() {
    return this.who.value.trim() || "me";
  }

  /** Whether letters look for a class. */
  get filtering() {
    return this.known.length > HOTKEYS;
  }

  /** The class that Enter gives while something is typed. */
  get chosen() {
    return this.filter.value ? this.matches()[0]?.id : undefined;
  }

  /** Call `answer(class id, time)`, `act(name, time)`, `add(class name)`, `rename(annotator)`. */
  on({ answer, act, add, rename }) {
    this.answer = answer;
    // A mouse must not leave the focus on a button: Enter accepts the suggestion, it does not press the button again.
    this.card.addEventListener("mousedown", (event) => event.target.closest("button") && event.preventDefault());
    this.actions.onclick = (event) => {
      const name = event.target.closest("button")?.dataset.act;
      if (name) act(name, event.timeStamp);
    };
    this.classes.onclick = (event) => {
      const id = event.target.closest("button")?.dataset.classId;
      if (id) answer(Number(id), event.timeStamp);
    };
    this.add.onsubmit = async (event) => {
      event.preventDefault();
      const [input] = this.add.elements;
      if (input.value.trim() && (await add(input.value.trim()))) input.value = "";
      input.blur();
    };
    this.filter.oninput = () => this.drawClasses();
    this.filter.onkeydown = (event) => {
      if (event.key === "Escape") this.clearFilter();
      else if (event.key === "Enter" && this.chosen !== undefined) answer(this.chosen, event.timeStamp);
      if (event.key === "Escape" || event.key === "Enter") this.filter.blur();
    };
    this.who.onchange = () => {
      store("flywheel/annotator", this.annotator);
      this.who.value = this.annotator;
      this.who.blur();
      rename(this.annotator);
    };
  }

  /** Fill what the window leaves under whatever stands above. */
  fit() {
    const above =
      this.card.getBoundingClientRect().top + (this.card.getRootNode().host?.closest(".stMain")?.scrollTop ?? 0);
    this.card.style.setProperty("--above", `${Math.round(above)}px`);
  }

  /** The class that a digit gives: by its own key, or by its place among those that the letters typed have found. */
  classOf(digit) {
    const matches = this.matches();
    return (this.filtering ? matches[(Number(digit) + 9) % 10] : matches.find(({ hotkey }) => hotkey === digit))?.id;
  }

  /** Take a key into the class filter; false if it is not one that types. */
  type(key) {
    if (key === "Escape" && this.filter.value) this.filter.value = "";
    else if (key === "Backspace" && this.filter.value) this.filter.value = this.filter.value.slice(0, -1);
    else if (/^[\p{L}\p{P}\p{S}]$/u.test(key) || (key === " " && this.filter.value)) this.filter.value += key;
    else return false;
    this.drawClasses();
    return true;
  }

  clearFilter() {
    if (!this.filter.value) return;
    this.filter.value = "";
    this.drawClasses();
  }

  matches() {
    const typed = this.filter.value.trim().toLowerCase();
    if (!this.filtering || !typed) return this.known;
    const found = this.known.filter(({ name }) => name.toLowerCase().includes(typed));
    const rank = ({ name }) => (name.toLowerCase().startsWith(typed) ? 0 : 1);
    return found.sort((a, b) => rank(a) - rank(b));
  }

  /** Put a question on screen, or none. */
  question(question) {
    this.item = question?.item ?? null;
    const image = question && !question.broken ? question.image : null;
    this.picture.replaceChildren(...(image ? [image] : []));
    if (image) image.classList.toggle("small", Math.max(image.naturalWidth, image.naturalHeight) <= SMALL);
    if (question) this.stage.dataset.imageId = question.item.image_id;
    else delete this.stage.dataset.imageId;
    this.drawHint();
    this.markSuggestions();
  }

  drawHint() {
    const best = this.item?.suggestions[0];
    const held = this.item && this.item.purpose !== "query";
    this.suggestion.replaceChildren();
    if (best) {
      this.suggestion.append("Suggestion ", element("strong", best.name), ` ${percent(best.confidence)} `);
      this.suggestion.append(element("kbd", "Enter"));
    } else if (held) {
      this.suggestion.append(
        this.item.purpose === "test"
          ? "Test image: it measures accuracy, so no suggestion."
          : "Held-out image, so no suggestion.",
      );
    } else if (this.item) {
      this.suggestion.append("No suggestion yet: the model has not learned enough.");
    }
    this.reason.textContent = held ? "" : (this.item?.reason ?? "");
  }

  markSuggestions() {
    const confidence = new Map(this.item?.suggestions.map((each) => [each.label, each.confidence]));
    const best = this.item?.suggestions[0]?.label;
    for (const [id, button] of this.buttons) {
      button.classList.toggle("suggested", id === best);
      button.style.setProperty("--confidence", confidence.get(id) ?? 0);
      button.querySelector(".confidence").textContent = confidence.has(id) ? percent(confidence.get(id)) : "";
    }
  }

  /** The numbers of the project; `unconfirmed` answers are counted as done already. */
  project(project, unconfirmed) {
    this.news = project;
    const { images, accuracy, labels_per_minute: pace } = project;
    const labeled = images.labeled + unconfirmed.filter((item) => item.action === "label").length;
    this.counts.textContent = `${labeled.toLocaleString("en")} of ${count(images.total, "image")} labeled`;
    this.meter.firstElementChild.style.width = `${images.total ? (100 * labeled) / images.total : 0}%`;
    this.meter.ariaValueMax = images.total;
    this.meter.ariaValueNow = labeled;
    this.accuracy.textContent = accuracy
      ? `accuracy ${percent(accuracy.value, 1)} (95% interval ${Math.floor(100 * accuracy.low)}–${percent(accuracy.high)}, ${count(accuracy.n, "test image")})`
      : "";
    this.pace.textContent = pace ? `${Math.round(pace)} a minute` : "";
    const signature = JSON.stringify(project.classes);
    if (signature === this.signature) return;
    this.signature = signature;
    this.known = project.classes;
    this.drawClasses();
  }

  drawClasses() {
    this.filter.hidden = !this.filtering;
    this.card.classList.toggle("many", this.filtering);
    for (const key of this.actions.querySelectorAll("kbd")) {
      key.textContent = (this.filtering ? "⇧" : "") + key.textContent.at(-1);
    }
    const matches = this.matches();
    const shown = new Set(matches.map(({ id }) => id));
    for (const [id, button] of this.buttons) {
      if (shown.has(id)) continue;
      button.remove();
      this.buttons.delete(id);
    }
    matches.forEach((each, index) => this.drawClass(each, index, this.filtering ? placeKey(index) : each.hotkey));
    this.markSuggestions();
  }

  /** Buttons are kept and moved, not made anew: a count that changes must not take the focus away. */
  drawClass({ id, name, labels }, index, hotkey) {
    let button = this.buttons.get(id);
    if (!button) {
      button = element("button");
      button.type = "button";
      button.dataset.classId = id;
      button.dataset.testid = "class";
      button.append(
        element("kbd"),
        element("span", "", "name"),
        element("span", "", "confidence"),
        element("span", "", "labels"),
      );
      this.buttons.set(id, button);
    }
    const [key, label, , labels_] = button.children;
    setText(key, hotkey ?? "");
    setText(label, name);
    setText(labels_, labels === undefined ? "" : labels.toLocaleString("en"));
    button.setAttribute(
      "aria-label",
      `${name}${hotkey ? `, key ${hotkey}` : ""}${labels === undefined ? "" : `, ${count(labels, "label")}`}`,
    );
    if (this.classes.children[index] !== button)
      this.classes.insertBefore(button, this.classes.children[index] ?? null);
  }

  /** How the outbox stands, and if no image is on screen, why. */
  state(outbox, questions, connected) {
    const waiting = outbox.items.length;
    this.saved.classList.toggle("trouble", Boolean(outbox.problem));
    let words = waiting ? `${waiting} on their way` : "All saved";
    if (outbox.problem)
      words = `${capital(outbox.problem)} – ${count(waiting, "label")} kept in this browser, trying again`;
    if (!outbox.durable) words = `${waiting} not saved yet, and this browser keeps nothing: leave the page open`;
    setText(this.saved, words);
    const disabled = !this.item;
    for (const button of this.card.querySelectorAll(".classes button, [data-act=skip], [data-act=flag]")) {
      if (button.disabled !== disabled) button.disabled = disabled;
    }
    const notice = this.whyEmpty(outbox, questions, connected);
    this.notice.hidden = !notice;
    if (!notice) return;
    const [title, text, bar] = this.notice.children;
    setText(title, notice.title);
    setText(text, notice.text ?? "");
    bar.hidden = notice.share === undefined;
    if (notice.share !== undefined) bar.value = notice.share;
  }

  whyEmpty(outbox, questions, connected) {
    if (outbox.full) {
      return {
        title: "Waiting for the labeler",
        text: `${count(outbox.items.length, "label")} are kept in this browser. The next image comes when they are saved.`,
      };
    }
    if (questions.current?.broken) {
      return { title: "This image cannot be shown", text: "It is missing or damaged. Flag it (F) or skip it (S)." };
    }
    if (questions.current) return null;
    if (questions.failed && !connected) {
      return { title: "The labeler cannot be reached", text: "This page goes on by itself when it is back." };
    }
    const scan = this.news?.scanning;
    if (!this.news || questions.remaining === null || questions.next.length) return { title: "Loading images …" };
    if (scan?.error) return { title: "The image folder cannot be read", text: scan.error };
    if (questions.remaining === 0 && scan?.running) {
      const left = scan.seconds_left ? `, about ${duration(scan.seconds_left)} left` : "";
      const of = scan.total ? ` of ${scan.total.toLocaleString("en")}` : "";
      return {
        title: "Reading the image folder",
        text: `${scan.done.toLocaleString("en")}${of} files${left}. Labeling starts with the first of them.`,
        share: scan.total ? scan.done / scan.total : undefined,
      };
    }
    if (!this.news.images.total) {
      return {
        title: "No images yet",
        text: "Put images into the folder that the labeler was started with, and start it again.",
      };
    }
    if (questions.remaining > 0) {
      return {
        title: "Others hold what is left",
        text: `${count(questions.remaining, "image")} will come here if they are not answered there.`,
      };
    }
    return {
      title: "Nothing left to label",
      text: "Every image has its answer. See Progress for how good the model is, and Finish to save it.",
    };
  }

  /** Show a message for a few seconds, long enough to be read out. */
  say(words, trouble = false) {
    setText(this.message, words);
    this.message.classList.toggle("trouble", trouble);
    clearTimeout(this.saying);
    this.saying = setTimeout(() => setText(this.message, ""), trouble ? 20000 : 6000);
  }
}

function element(tag, text = "", className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

/** Unchanged text is left alone: a live region would be read out again. */
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function placeKey(index) {
  return index < HOTKEYS ? String((index + 1) % 10) : null;
}

function percent(share, digits = 0) {
  return `${(100 * share).toFixed(digits)}%`;
}

function capital(words) {
  return words[0].toUpperCase() + words.slice(1);
}

function stored(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function store(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // a browser that keeps nothing asks again next time
  }
}
