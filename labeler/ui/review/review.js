// The review: one doubtful label after the other, each judged by one key. A verdict goes into the outbox and the next
// doubt is on screen at once; nothing counts before its image was painted.

const REVIEW = Symbol("review");
const KEYS = { K: "keep", X: "remove", S: "unsure", Z: "undo" };
const FEW_ERRORS = 0.1; // of the last verdicts, below which more of them find little
const ENOUGH_VERDICTS = 50;

export default function ({ parentElement, data }) {
  parentElement[REVIEW] ??= new Review(parentElement, data);
  return () => {
    parentElement[REVIEW]?.close();
    delete parentElement[REVIEW];
  };
}

class Review {
  constructor(root, data) {
    this.data = data;
    this.card = root.querySelector(".card");
    this.part = (name) => this.card.querySelector(name);
    this.stage = new Stage(root, data.display_pixels);
    this.classes = new ClassList(root);
    this.doubts = new Doubts();
    this.history = []; // this page's steps, latest last: { id, doubt }, or { many } at once, or { id } of one named
    this.open();
  }

  get annotator() {
    return stored("flywheel/annotator") ?? "me";
  }

  async open() {
    this.outbox = await outboxOf(this.data);
    if (this.closed) return;
    this.outbox.changed = () => this.drawState();
    this.outbox.confirmed = (ids) => this.doubts.confirmed(ids);
    this.outbox.refused = ({ image_id }, reason) => {
      this.say(`Image ${image_id} was not saved: ${reason}`, true);
      this.doubts.confirmed([image_id]);
    };
    this.doubts.changed = () => this.show();
    this.listen();
    this.unsubscribe = live().subscribe((project) => this.hear(project));
    this.fit();
    this.doubts.ask();
  }

  close() {
    this.closed = true;
    this.doubts.close();
    this.unsubscribe?.();
    this.stopListening?.abort();
    if (this.outbox) this.outbox.changed = this.outbox.confirmed = this.outbox.refused = () => {};
  }

  listen() {
    this.stopListening = new AbortController();
    const { signal } = this.stopListening;
    // In the capture phase, so that a key which the review takes never reaches Streamlit's own shortcuts.
    addEventListener("keydown", (event) => this.key(event), { capture: true, signal });
    addEventListener("resize", () => this.fit(), { signal });
    document.addEventListener("flywheel:bar", () => this.fit(), { signal });
    // A mouse must not leave the focus on a button: Enter takes the proposal, it does not press the button again.
    this.card.addEventListener("mousedown", (event) => event.target.closest("button") && event.preventDefault());
    this.card.addEventListener("click", (event) => {
      const name = event.target.closest("button")?.dataset.act;
      if (name) this.act(name);
    });
    this.classes.on((classId) => this.choose(classId), (words) => this.say(words));
    leaveFields(this.card, signal);
    this.part(".many-at-once").onsubmit = (event) => {
      event.preventDefault();
      this.takeAll(Number(this.part(".many-at-once select").value));
    };
    this.part(".many-at-once select").onchange = () => this.drawMany();
    new Swipe(this.card.parentNode, this.stage, {
      words: (direction) => this.swipeWords(direction),
      done: (direction) => this.act(direction === "right" ? "accept" : "keep"),
    });
  }

  swipeWords(direction) {
    const { current } = this.doubts;
    if (!current || direction === "left") return current && `Keep ${current.label_name}`;
    const { typed, chosen } = this.classes;
    if (typed) return chosen === undefined ? null : this.classes.nameOf(chosen);
    return current.proposed_name;
  }

  hear(project) {
    if (!project) return;
    if (project.log_id && project.log_id !== this.data.log_id) return location.reload(); // another project is served
    const learned = project.trainer?.acked_seq !== this.project?.trainer?.acked_seq;
    this.project = project;
    const signature = JSON.stringify(project.classes);
    if (signature !== this.signature) this.classes.show(project.classes.map(({ labels, ...each }) => each));
    this.signature = signature;
    if (learned) this.doubts.askSoon();
    this.drawNotice();
  }

  // ------------------------------------------------------------ what the person does

  key(event) {
    const target = event.composedPath()[0];
    const undo = commands(event, "Z") && !event.shiftKey;
    const inDialog = this.part("dialog").open;
    if (keepsKey(target, event.key) || event.repeat || event.isComposing || event.altKey || inDialog) return;
    if ((event.ctrlKey || event.metaKey) && !undo) return;
    if (!this.press(event, undo)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  /** Do what the key means; false if it means nothing here. */
  press(event, undo) {
    const digit = digitOf(event);
    const { classes, stage } = this;
    // With many classes letters look for one, and the verdicts take Shift, but in the midst of what is typed.
    const typing = classes.filtering && (!event.shiftKey || classes.typed);
    const name = undo ? "undo" : KEYS[typing ? "" : event.key.toUpperCase()];
    const own = event.shiftKey ? undefined : classes.withKey(event.key);
    const place = typing ? undefined : placeOf(event);
    const there = event.shiftKey ? undefined : classes.withKey(place);
    if (name) this.act(name);
    else if (own !== undefined) this.choose(own);
    else if (KEYS[place]) this.act(KEYS[place]);
    else if (there !== undefined) this.choose(there);
    else if (digit) this.choose(classes.classOf(digit), noClassHas(digit, classes.typed));
    else if (event.key === "Enter") this.act("accept");
    else if (!classes.filter.value && stage.press(event.key)) return true;
    else if (!classes.filter.value && event.key === "?") this.part("dialog").showModal();
    else if (classes.filtering && classes.type(event.key)) return true;
    else if (event.key === "Backspace" && classes.filtering) this.say("Nothing is typed. Shift+Z undoes.");
    else if (event.key === "Backspace") this.undo();
    else if (event.key === "Delete" && !classes.typed) this.act("remove");
    else return false;
    return true;
  }

  act(name) {
    const { current } = this.doubts;
    if (name === "undo") this.undo();
    else if (name === "keys") this.part("dialog").showModal();
    else if (name === "accept") this.choose(this.classes.unmatched ? undefined : (this.classes.chosen ?? current?.proposed), this.classes.unmatched);
    else if (name === "keep") this.choose(current?.label);
    else this.judge(name === "unsure" ? "skip" : "settle", name, null);
  }

  choose(classId, otherwise) {
    const { current } = this.doubts;
    if (classId === undefined && otherwise) this.say(otherwise);
    if (classId !== undefined && current) this.judge("settle", classId === current.label ? "keep" : "fix", classId);
  }

  judge(action, verdict, label) {
    const { current } = this.doubts;
    if (!current || this.undoing) return;
    if (this.outbox.full) return this.say("The verdicts before this one are not saved yet: it was not counted.");
    if (!this.painted) return this.say("Too quick: that came before its image and was not counted.");
    const annotation = {
      id: uuid(),
      image_id: current.image_id,
      action,
      label,
      annotator: this.annotator,
      session: this.outbox.session,
      seconds: (performance.now() - this.paintedAt) / 1000,
      reason: verdict,
      source: "review",
      proposed: current.proposed,
      as_of: current.as_of,
    };
    this.history.push({ id: annotation.id, doubt: current });
    this.classes.clear();
    this.outbox.add(annotation);
    tell("judged", annotation);
    this.doubts.advance();
  }

  /** Take this page's last step back, or after a reload the annotator's; verdicts on their way arrive first. */
  async undo() {
    if (this.undoing) return;
    if (!live().connected && this.outbox.items.length) {
      return this.say("Nothing was undone: the labeler cannot be reached.", true); // keys go on counting
    }
    this.undoing = true;
    this.say("Undoing …");
    await this.outbox.empty();
    const { id, doubt, many } = this.history.at(-1) ?? {};
    try {
      // Verdicts alone, never answers of another page; many that this page did not count are named first.
      const ask = !id && !many;
      const body = { id: uuid(), annotator: this.annotator, session: this.outbox.session, target: id, page: "review", ask };
      const { undone, target, ...answer } = await this.post("/api/undo", body, 409);
      this.undoing = false;
      if (target) {
        this.history.push({ id: target });
        return this.say(`${wordsOf(answer)} Undo again to do that.`);
      }
      if (undone === undefined) throw new Error(wordsOf(answer));
      this.history.pop();
      if (doubt) this.doubts.putFirst(doubt);
      this.doubts.done.clear();
      this.doubts.askSoon();
      this.say(`Undid ${count(undone, "verdict")}.`);
    } catch (error) {
      if (!(error instanceof TypeError)) this.history.pop(); // what the labeler refuses once it will refuse again
      this.say(`Nothing was undone: ${error instanceof TypeError ? "connection lost" : error.message}`, true);
    }
    this.undoing = false;
  }

  async takeAll(confidence) {
    if (this.undoing) return;
    this.undoing = true; // nothing else until it is known what was taken
    this.say("Saving …");
    await this.outbox.empty();
    try {
      const most = this.doubts.page.acceptable[this.part(".many-at-once select").value]; // what the button says
      const body = { annotator: this.annotator, session: this.outbox.session, confidence, most };
      const { accepted } = await this.post("/api/review/accept", body);
      if (accepted) this.history.push({ many: accepted });
      this.doubts.current = null;
      this.doubts.next = [];
      this.say(`${count(accepted, "proposal")} taken. Undo takes all of them back.`);
    } catch (error) {
      this.say(`Nothing was taken: ${error instanceof TypeError ? "connection lost" : error.message}`, true);
    }
    this.undoing = false;
    this.doubts.ask();
  }

  async post(url, body, refusal) {
    const response = await send("POST", url, body);
    const answer = await response.json();
    if (!response.ok && response.status !== refusal) throw new Error(wordsOf(answer));
    return answer;
  }

  // ------------------------------------------------------------ drawing

  show() {
    const { current } = this.doubts;
    if (current !== this.shown || current?.broken) {
      this.shown = current;
      this.painted = false;
      this.stage.show(current);
      if (current) this.wait(current);
      this.drawVerdicts();
    }
    this.drawProgress();
    this.drawMany();
    this.drawState();
    this.drawNotice();
  }

  wait(doubt) {
    const painted = () =>
      afterPaint(() => {
        if (doubt !== this.shown || this.painted) return;
        this.painted = true;
        this.paintedAt = performance.now();
        tell("painted", { image_id: doubt.image_id, at: this.paintedAt });
      });
    doubt.image.decode().then(painted, painted);
  }

  drawVerdicts() {
    const { current } = this.doubts;
    const [given, proposed] = this.part(".verdicts").children;
    setText(given.querySelector(".name"), current?.label_name ?? "");
    setText(proposed.querySelector(".name"), current?.proposed_name ?? "");
    setText(proposed.querySelector(".confidence"), current ? percent(current.confidence) : "");
    proposed.classList.toggle("confident", Boolean(current?.confident));
    proposed.style.setProperty("--confidence", current?.confidence ?? 0);
    const [words, list] = this.part(".evidence").children;
    setText(words, current ? evidenceOf(current) : "");
    list.replaceChildren(
      ...(current?.evidence ?? []).map(({ image_id, url }) => {
        const [node, picture] = [element("li"), new Image()];
        Object.assign(picture, { src: url, alt: `Image ${image_id}, ${current.proposed_name}`, draggable: false });
        picture.onload = () => picture.classList.toggle("small", Math.max(picture.naturalWidth, picture.naturalHeight) <= 64);
        node.append(picture);
        return node;
      }),
    );
  }

  drawProgress() {
    const { page } = this.doubts;
    if (!page) return;
    const [found, precision, waiting] = this.part(".where p").children;
    const expected = page.enough ? Math.max(page.expected, page.errors) : page.errors;
    setText(found, page.labels ? foundOf(page) : capital(lookingOf(page)));
    setText(precision, precisionOf(page));
    setText(waiting, page.open ? `${page.open.toLocaleString("en")} in doubt` : "");
    const meter = this.part(".meter");
    const [now, most] = page.labels ? [page.errors, expected] : [page.progress, 1];
    meter.firstElementChild.style.width = `${most ? (100 * now) / most : 0}%`;
    meter.ariaLabel = page.labels ? "Errors found" : "Labels looked at";
    meter.ariaValueMax = most;
    meter.ariaValueNow = now;
  }

  drawMany() {
    const levels = Object.entries(this.doubts.page?.acceptable ?? {}).filter(([, many]) => many > 0);
    const form = this.part(".many-at-once");
    form.hidden = !levels.length;
    if (!levels.length) return;
    const [select, button] = form.elements;
    const signature = levels.map(([level]) => level).join();
    if (signature !== this.levels) {
      const before = select.value;
      select.replaceChildren(
        ...levels.map(([level]) => Object.assign(element("option", `${percent(Number(level))} sure`), { value: level })),
      );
      if (levels.some(([level]) => level === before)) select.value = before;
      this.levels = signature;
    }
    setText(button, `Take ${this.doubts.page.acceptable[select.value].toLocaleString("en")}`);
  }

  drawState() {
    const waiting = this.outbox.items.length;
    setText(this.part(".saved"), this.outbox.problem
      ? `${capital(this.outbox.problem)} – ${count(waiting, "verdict")} kept in this browser, trying again`
      : waiting ? `${waiting} on their way` : "All saved");
    this.part(".saved").classList.toggle("trouble", Boolean(this.outbox.problem));
    for (const button of this.card.querySelectorAll(".verdicts button, .classes button, [data-act=unsure], [data-act=remove]"))
      button.disabled = !this.doubts.current;
  }

  drawNotice() {
    const words = this.whyEmpty();
    const notice = this.part(".notice");
    notice.hidden = !words;
    if (!words) return;
    const [title, text, bar] = notice.children;
    setText(title, words.title);
    const share = words.waits ? lookedShare(this.project) : undefined;
    const looking = share !== undefined;
    const judging = words.judging && !looking;
    this.pace ??= new Pace();
    const left = looking ? lookedAt(this.project) : judging ? timeLeft(this.pace.left(words.judging.progress)) : "";
    setText(text, [words.text, left && `${capital(left)}.`].filter(Boolean).join(" "));
    bar.hidden = !looking && !judging;
    if (!bar.hidden) bar.value = looking ? share : words.judging.progress;
    bar.ariaLabel = looking ? "Images looked at" : "Labels judged";
  }

  whyEmpty() {
    const { current, page, problem } = this.doubts;
    if (current?.broken) return { title: "This image cannot be shown", text: "It is missing or damaged. Remove its label (X), or leave it (S)." };
    if (current) return null;
    if (this.project && !this.project.images.total && !this.project.scanning.running)
      return { title: "No images yet", text: "Put photos into the project’s image folder: they join by themselves. Or add some on the page Data." };
    if (problem?.status === 503)
      return { title: "The trainer cannot be reached", text: `${problem.message} Start it with: ${this.data.start}` };
    if (problem?.status) {
      const title = problem.status === 409 ? "Not yet" : "There is no review";
      return { title, text: problem.message, waits: true };
    }
    if (problem) return { title: "The labeler cannot be reached", text: "This page goes on by itself when it is back." };
    if (!page || !this.project) return { title: "Looking …" };
    if (!this.project.images.labeled)
      return { title: "No labels yet", text: "Import some on the page Data, or give the first on the page Label." };
    if (!page.labels && page.missing)
      return { title: capital(lookingOf(page)), text: "To judge a label by the others takes ten of them, of two classes.", waits: true };
    if (!page.labels || page.renewing)
      return { title: capital(lookingOf(page)), text: "Each label is judged by models that have not seen it.", waits: true, judging: page };
    return { title: "No label is in doubt", text: `${count(page.judged, "label")} judged by hand. Download your labels on the page Finish.` };
  }

  say(words, trouble = false) {
    const message = this.part(".message");
    setText(message, words);
    message.classList.toggle("trouble", trouble);
    clearTimeout(this.saying);
    this.saying = setTimeout(() => setText(message, ""), trouble ? 20000 : 6000);
  }

  fit() {
    const above = this.card.getBoundingClientRect().top + (this.card.getRootNode().host?.closest(".stMain")?.scrollTop ?? 0);
    this.card.style.setProperty("--above", `${Math.round(above)}px`);
  }
}

function evidenceOf({ agreeing, neighbours, proposed_name }) {
  return agreeing
    ? `${agreeing} of the ${neighbours} nearest labels are ${proposed_name}`
    : `None of the ${neighbours} nearest labels is ${proposed_name}: only the model thinks so`;
}

/** "12 errors found, 3–9 more likely (estimate)"; how many are left is an estimate, and is said as an interval. */
function foundOf({ errors, expected_low, expected_high, enough }) {
  const found = errors ? `${count(errors, "error")} found` : "No error found yet";
  if (!enough) return `${found}; too few labels to tell how many there are`;
  const [low, high] = [expected_low - errors, expected_high - errors].map((n) => Math.max(n, 0).toLocaleString("en"));
  if (high === "0") return `${found}, none expected${errors ? " beyond" : ""}`;
  return `${found}, ${low === high ? low : `${low} to ${high}`} ${errors ? "more " : ""}expected (95% interval)`;
}

/** What goes on before there is anything to judge, or while all of it is judged anew. */
function lookingOf({ missing, progress }) {
  return missing ? `needs ${count(missing, "more label")}` : `looking for label errors … ${percent(progress)}`;
}

/** How often the last verdicts found an error, and whether going on is worth it. */
function precisionOf({ recent, recent_errors }) {
  if (!recent) return "";
  const share = recent_errors / recent;
  const words = `${percent(share)} of the last ${count(recent, "verdict")} found one`;
  return recent >= ENOUGH_VERDICTS && share < FEW_ERRORS ? `${words}: few are left, you can stop` : words;
}
