// What the card shows. It knows no network: it is told the question, the project and the state of the outbox, and calls
// back for what the person does. Words that people typed (class names, reasons) go in as text, never as markup.

const NEED_AN_IMAGE = [".classes button", ...["skip", "because", "flag", "note"].map((name) => `[data-act=${name}]`)].join();

class View {
  constructor(root, { log_id, display_pixels, guidelines }) {
    const find = (selector) => root.querySelector(selector);
    this.root = root;
    this.card = find(".card");
    this.meter = find(".meter");
    [this.counts, this.accuracy, this.pace, this.target] = find(".where p").children;
    this.notice = find(".notice");
    this.suggestion = find(".suggestion");
    this.topk = find(".topk");
    this.reason = find(".reason");
    this.add = find(".add");
    this.saved = find(".saved");
    this.message = find(".message");
    this.who = find(".who input");
    this.who.value = stored("flywheel/annotator") ?? "me";
    this.stage = new Stage(root, display_pixels);
    this.classes = new ClassList(root);
    this.panel = new ClassPanel(root);
    this.remarks = new Remarks(root);
    this.strip = new Strip(root, log_id, (id) => this.classes.nameOf(id));
    this.similar = new Similar(root);
    this.guide = new Guide(root, guidelines, () => this.annotator);
    this.file = new FileLine(root, (words, trouble) => this.say(words, trouble));
    this.item = null;
  }

  get annotator() {
    return this.who.value.trim() || "me";
  }

  /** Whether a dialog is open, which then has the keys. */
  get inDialog() {
    return this.root.querySelector("dialog[open]") !== null;
  }

  /** What the model proposes for the image on screen, most probable first: nothing where nobody should see it. */
  get suggestions() {
    return this.news?.blind_mode || this.opened?.settles || this.opened?.held ? [] : (this.item?.suggestions ?? []);
  }

  /** Call `answer(class id, time)`, `act(name, time, reason)`, `add(class name)`, `change(…)`, `rename(annotator)`,
   *  `revisit(entry)`, `refuse(words)`. */
  on({ answer, act, add, change, rename, revisit, refuse }) {
    // A mouse must not leave the focus on a button: Enter accepts the suggestion, it does not press the button again.
    this.card.addEventListener("mousedown", (event) => {
      if (!event.target.closest("dialog") && event.target.closest("button")) event.preventDefault();
    });
    this.card.addEventListener("click", (event) => {
      const name = event.target.closest("button")?.dataset.act;
      if (name) act(name, event.timeStamp);
    });
    this.topk.onclick = (event) => {
      const id = event.target.closest("button")?.dataset.classId;
      if (id) answer(Number(id), event.timeStamp);
    };
    this.add.onsubmit = async (event) => {
      event.preventDefault();
      const [input] = this.add.elements;
      if (input.value.trim() && (await add(input.value.trim()))) input.value = "";
      input.blur();
    };
    this.who.onchange = () => {
      store("flywheel/annotator", this.annotator);
      this.who.value = this.annotator;
      this.who.blur();
      rename(this.annotator);
    };
    this.classes.on(answer, refuse);
    this.panel.on(change, () => live().refresh());
    this.remarks.on(act);
    this.strip.on(revisit);
    this.swipe = new Swipe(this.root, this.stage, {
      words: (direction) => this.swipeWords(direction),
      done: (direction, at) => act(direction === "right" ? "accept" : "skip", at),
    });
  }

  swipeWords(direction) {
    if (!this.item) return null;
    if (direction === "left") return "Skip";
    const { typed, chosen } = this.classes;
    if (typed) return chosen === undefined ? null : this.classes.nameOf(chosen);
    return this.suggestions[0]?.name ?? null;
  }

  keys() {
    this.root.querySelector("dialog.keys").showModal();
  }

  /** Fill what the window leaves under whatever stands above. */
  fit() {
    const above =
      this.card.getBoundingClientRect().top + (this.card.getRootNode().host?.closest(".stMain")?.scrollTop ?? 0);
    this.card.style.setProperty("--above", `${Math.round(above)}px`);
  }

  /** Put a question on screen, or none. One that comes back to be corrected is `given`: the strip's entry of it. */
  question(question) {
    this.item = question?.item ?? null;
    this.given = question?.given ?? null;
    this.opened = question?.opened ?? null;
    this.stage.show(question);
    this.file.show(this.item);
    this.remarks.show(this.given?.answers.at(-1).note);
    this.drawHint();
    const reminding = this.item?.purpose === "query" && !this.news?.blind_mode && !this.given && !this.opened;
    this.similar.show(reminding ? this.item : null);
  }

  /** What can wait until the image is on screen. */
  painted() {
    this.strip.drawSoon(this.given);
  }

  drawHint() {
    const [best, ...others] = this.suggestions;
    const held = this.item && this.item.purpose !== "query";
    this.suggestion.replaceChildren();
    if (this.opened?.held) {
      this.suggestion.append("On someone else's screen: you can only look. Back ", element("kbd", "Esc"));
    } else if (this.opened?.settles) {
      const { label, status } = this.opened;
      const now = status === "labeled" ? this.classes.nameOf(label) : status;
      this.suggestion.append("Answered: ", element("strong", now), ". Choose a class to correct it, or go back ", element("kbd", "Esc"));
    } else if (this.given) {
      const { action, label } = this.given.answers.at(-1);
      const given = WITHOUT_LABEL[action] ?? this.classes.nameOf(label);
      this.suggestion.append("You answered ", element("strong", given), ". Answer again, or keep it ", element("kbd", "Esc"));
    } else if (best) {
      this.suggestion.append("Suggestion ", element("strong", best.name), ` ${percent(best.confidence)} `);
      this.suggestion.append(element("kbd", "Enter"));
    } else if (held) {
      this.suggestion.append(
        this.item.purpose === "test"
          ? "Test image: it measures accuracy, so no suggestion."
          : "Held-out image, so no suggestion.",
      );
    } else if (this.news?.blind_mode) {
      this.suggestion.append("Blind mode: no suggestions.");
    } else if (this.item) {
      this.suggestion.append("No suggestion yet: the model has not learned enough.");
    }
    this.reason.textContent = held || this.given || this.opened?.settles || this.news?.blind_mode ? "" : whyAsked(this.item);
    this.drawTopK(others);
    this.classes.mark(this.suggestions);
  }

  /** With many classes the others that the model thinks of may be far down the list. */
  drawTopK(others) {
    this.topk.hidden = !this.classes.filtering || !others.length;
    if (this.topk.hidden) return;
    renew(
      this.topk,
      others.map(({ label, name, confidence }) => {
        const button = element("button", `${name} ${percent(confidence)}`);
        button.type = "button";
        button.dataset.classId = label;
        return button;
      }),
    );
  }

  /** The numbers of the project. Only what is on disk is counted, here and on the classes; `state` tells of the rest. */
  project(project) {
    this.news = project;
    const { images, accuracy, labels_per_minute: pace } = project;
    const { labeled } = images;
    this.counts.textContent = `${labeled.toLocaleString("en")} of ${count(images.total, "image")} labeled`;
    this.meter.firstElementChild.style.width = `${images.total ? (100 * labeled) / images.total : 0}%`;
    this.meter.ariaValueMax = images.total;
    this.meter.ariaValueNow = labeled;
    this.accuracy.textContent = accuracy ? `accuracy ${accuracyIn(accuracy)}` : "";
    const alone = project.people.length < 2; // else the bar tells how fast each is
    this.pace.textContent = pace && alone ? `${count(Math.round(pace), "label")} a minute` : "";
    this.target.textContent = untilTarget(project.target);
    if (this.blind !== project.blind_mode) {
      this.blind = project.blind_mode;
      this.drawHint();
    }
    this.guide.hear(project.marks?.guidelines);
    const signature = JSON.stringify(project.classes);
    if (signature === this.signature) return;
    this.signature = signature;
    this.classes.show(project.classes);
    this.panel.show(project.classes);
    this.guide.describe(project.classes);
    this.strip.draw(); // by the names of now
    this.drawHint();
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
    for (const button of this.card.querySelectorAll(NEED_AN_IMAGE)) {
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
      const left = scan.seconds_left ? `, ${timeLeft(scan.seconds_left)}` : "";
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
        text: "Put photos into the project’s image folder: they join by themselves. Or add some on the page Data.",
      };
    }
    if (questions.remaining > 0) {
      return {
        title: "Others are answering the rest",
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

function whyAsked(item) {
  return item ? (item.reason ?? "Drawn at random: no model has ranked it yet.") : "";
}

/** "about 6 min to 95.0% accuracy (120 labels)", or less where less is known. */
function untilTarget(target) {
  if (!target) return "";
  const end = target.accuracy === null ? "the label budget" : `${percent(target.accuracy, 1)} accuracy`;
  if (!target.labels) return target.accuracy === null ? "label budget reached" : `${end} about reached (forecast)`;
  const labels = count(target.labels, "label");
  return target.minutes === null
    ? `${labels} to ${end}`
    : `about ${duration(60 * target.minutes)} to ${end} (${labels})`;
}
