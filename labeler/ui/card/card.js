// The labeling card. It runs its own loop beside Streamlit: a key or a click puts the next image on screen at once and
// the answer into the outbox. Streamlit may call this again at any rerun; what is set up once stays on the parent element.

const AHEAD_PERIOD = 1 / 3; // of a lease: how often leases are renewed while the page is open
const ASK_AGAIN_MS = 2000; // after a request for questions that failed
const CARD = Symbol("card");
const LETTERS = { S: "skip", R: "because", F: "flag", N: "note", Z: "undo", C: "manage", G: "guide" };

export default function ({ parentElement, data }) {
  parentElement[CARD] ??= new Card(parentElement, data);
  return () => {
    parentElement[CARD]?.close();
    delete parentElement[CARD];
  };
}

class Card {
  constructor(root, data) {
    this.view = new View(root, data);
    this.painted = false; // whether the image in place has been on screen: no answer counts before
    this.held = null; // an answer given while the image in place was not painted yet
    this.undoing = 0;
    this.history = []; // this page's answers, latest last
    this.named = null; // an answer of a step that is named to the person, and taken back by the next undo
    this.open(data);
  }

  async open(data) {
    this.outbox = await outboxOf(data);
    if (this.closed) return;
    this.questions = new Questions(this.outbox, data.read_ahead);
    this.outbox.changed = () => this.show();
    this.outbox.confirmed = (ids) => this.questions.confirmed(ids);
    this.outbox.refused = ({ id, image_id }, reason) => {
      this.view.strip.takeBack(image_id, id);
      this.view.say(`Image ${image_id} was not saved: ${reason}`, true);
    };
    this.questions.changed = () => this.show();
    this.questions.annotator = this.view.annotator;
    this.listen();
    this.renewal = setInterval(() => this.questions.ask(), data.lease_seconds * 1000 * AHEAD_PERIOD);
    this.again = setInterval(() => this.questions.failed && this.questions.ask(), ASK_AGAIN_MS);
    this.unsubscribe = live().subscribe((project, connected) => this.hear(project, connected));
    this.view.fit();
    this.view.strip.draw();
    if (data.image && namedByAddress() === data.image) await this.openByAddress(data.image); // before the queue, which frees what this page does not hold
    if (!this.closed) this.questions.ask();
  }

  close() {
    this.closed = true;
    clearInterval(this.renewal);
    clearInterval(this.again);
    this.unsubscribe?.();
    this.stopListening?.abort();
    if (!this.outbox) return;
    this.outbox.changed = this.outbox.confirmed = this.outbox.refused = () => {};
  }

  listen() {
    this.stopListening = new AbortController();
    const { signal } = this.stopListening;
    // In the capture phase, so that a key which the card takes never reaches Streamlit's own shortcuts.
    addEventListener("keydown", (event) => this.key(event), { capture: true, signal });
    addEventListener("resize", () => this.view.fit(), { signal });
    document.addEventListener("flywheel:bar", () => this.view.fit(), { signal }); // it grew or shrank above the card
    this.view.on({
      answer: (classId, at) => this.answer("label", classId, at),
      act: (name, at, reason) => this.act(name, at, reason),
      add: (name) => this.addClass(name),
      change: (method, classId, body) => this.changeClass(method, classId, body),
      rename: (annotator) => {
        this.history = [];
        this.named = null;
        this.view.strip.forget(); // another person's answers are theirs to correct
        this.questions.annotator = annotator;
        this.questions.ask();
      },
      revisit: (entry) => this.revisit(entry),
      refuse: (words) => this.refuse(words),
    });
    leaveFields(this.view.root, signal);
  }

  hear(project, connected) {
    if (connected && !this.wasConnected) this.outbox.nudge();
    this.wasConnected = connected;
    if (!project) return;
    if (project.log_id && project.log_id !== this.outbox.logId) return location.reload(); // another project is served
    if (this.questions.current) this.questions.renew(project.query_version);
    else if (this.questions.empty) this.questions.ask(); // images may have come, or come free
    this.view.project(project);
    this.show();
  }

  show() {
    const { current } = this.questions;
    const waiting = this.outbox.full;
    if (current !== this.shown || waiting !== this.waited) {
      if (this.shown?.opened) forgetAddress();
      this.shown = current;
      this.waited = waiting;
      this.painted = false;
      this.held = null;
      this.placedAt = performance.now();
      this.view.question(waiting ? null : current);
      if (current && !waiting) this.wait(current);
    }
    this.view.state(this.outbox, this.questions, live().connected);
  }

  wait(question) {
    afterPaint(() => {
      if (question !== this.shown || this.waited) return;
      this.painted = true;
      this.paintedAt = performance.now();
      tell("painted", { image_id: question.item.image_id, at: this.paintedAt });
      this.held?.();
      if (question === this.shown) this.view.painted();
    });
  }

  key(event) {
    const target = event.composedPath()[0];
    const undo = commands(event, "Z") && !event.shiftKey;
    if (keepsKey(target, event.key) || event.repeat || event.isComposing || event.altKey || this.view.inDialog) return;
    if ((event.ctrlKey || event.metaKey) && !undo) return;
    if (!this.press(event, undo)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  /** Do what the key means; false if it means nothing here. */
  press(event, undo) {
    const at = event.timeStamp;
    const digit = digitOf(event);
    const { classes, stage } = this.view;
    // With many classes letters look for one, and the actions take Shift, but in the midst of what is typed.
    const typing = classes.filtering && (!event.shiftKey || classes.typed);
    const letter = LETTERS[typing ? "" : event.key.toUpperCase()];
    const own = event.shiftKey ? undefined : classes.withKey(event.key);
    const place = typing ? undefined : placeOf(event);
    const there = event.shiftKey ? undefined : classes.withKey(place);
    if (undo) this.undo();
    else if (letter) this.act(letter, at);
    else if (own !== undefined) this.answerWith(own, at);
    else if (LETTERS[place]) this.act(LETTERS[place], at);
    else if (there !== undefined) this.answerWith(there, at);
    else if (digit) this.answerWith(classes.classOf(digit), at, noClassHas(digit, classes.typed));
    else if (event.key === "Enter") this.act("accept", at);
    else if (!classes.filter.value && stage.press(event.key)) return true;
    else if (!classes.filter.value && event.key === "?") this.view.keys();
    else if (classes.filtering && classes.type(event.key)) return true;
    else if (event.key === "Backspace" && classes.filtering) this.view.say("Nothing is typed. Shift+Z undoes.");
    else if (event.key === "Backspace") this.undo();
    else if (event.key === "ArrowLeft") this.step(-1);
    else if (event.key === "ArrowRight") this.step(1);
    else if (event.key === "Escape" && (this.questions.current?.given || this.questions.current?.opened)) this.questions.advance();
    else return false;
    return true;
  }

  /** Do what a button or its key says. */
  act(name, at, reason) {
    if (name === "undo") this.undo();
    else if (name === "manage") this.view.panel.start();
    else if (name === "keys") this.view.keys();
    else if (name === "guide") this.view.guide.toggle();
    else if (name === "accept") this.accept(at);
    else if (!this.questions.current) this.refuse("There is no image yet: that was not counted.");
    else if (name === "because") this.view.remarks.ask();
    else if (name === "note") this.view.remarks.write();
    else this.answer(name, null, at, reason);
  }

  /** Enter: the class that the letters found, else the suggestion; what came back to be corrected stays as it is. */
  accept(at) {
    const { chosen, unmatched } = this.view.classes;
    if (unmatched) this.refuse(unmatched);
    else if (this.questions.current?.given && chosen === undefined) this.questions.advance();
    else this.answerWith(chosen ?? this.view.suggestions[0]?.label, at);
  }

  answerWith(classId, at, otherwise) {
    if (classId !== undefined) this.answer("label", classId, at);
    else if (otherwise) this.refuse(otherwise);
  }

  answer(action, classId, at, reason) {
    const { current } = this.questions;
    if (this.outbox.full) return this.refuse("The labels before this one are not saved yet: it was not counted.");
    if (this.undoing) return this.refuse("An answer is being taken back: this one was not counted.");
    if (!current) return this.refuse("There is no image yet: that was not counted.");
    if (!this.painted) return this.hold(action, classId, at, reason);
    if (current.opened?.held) return this.refuse("This image is on someone else's screen: that was not counted.");
    if (current.opened?.settles && action !== "label") return this.refuse("Others have answered this image: choose a class to correct it.");
    if (current.broken && action === "label") return this.refuse("There is no image to label: skip it or flag it.");
    const { item } = current;
    const annotation = {
      id: uuid(),
      image_id: item.image_id,
      action: current.opened?.settles ? "settle" : action,
      label: classId,
      annotator: this.view.annotator,
      session: this.outbox.session,
      seconds: Math.max(0, at - this.paintedAt) / 1000,
      query_version: item.query_version,
      reason,
      note: this.view.remarks.note,
    };
    this.history.push(annotation.id);
    this.named = null;
    tell("answer", { ...annotation, at });
    this.view.strip.add(current, annotation);
    this.view.classes.clear();
    this.outbox.add(annotation);
    this.questions.advance();
  }

  /** Keep one answer until its image is painted. One that was given before the image was even in place, while the
   *  browser was busy, was meant for another image: it is not counted, and the card says so. */
  hold(action, classId, at, reason) {
    if (this.held || at < this.placedAt) this.refuse("Too quick: that came before its image and was not counted.");
    else this.held = () => this.answer(action, classId, at, reason);
  }

  refuse(words) {
    this.view.say(words);
    tell("refused", { words });
  }

  /** Show the image that the page's address names, to be looked at or corrected; or say why not. */
  async openByAddress(image) {
    const query = new URLSearchParams({ annotator: this.view.annotator, session: this.outbox.session });
    try {
      const response = await fetch(`/api/images/${encodeURIComponent(image)}/question?${query}`, {
        signal: AbortSignal.timeout(10000),
      });
      const answer = await response.json();
      if (!response.ok) throw new Error(wordsOf(answer));
      const { given, label, status, settles, held, ...item } = answer;
      const entry = given ? (this.view.strip.of(item.image_id) ?? { item, answers: [given] }) : undefined;
      if (given) item.suggestions = [];
      await this.questions.putFirst(item, entry, { label, status, settles, held });
    } catch (error) {
      forgetAddress();
      this.view.say(`Image ${image} was not opened: ${error instanceof TypeError ? "connection lost" : error.message}`, true);
    }
  }

  /** Bring an answered image back to be corrected; the one on screen comes next. */
  async revisit(entry) {
    if (this.undoing) return;
    await this.questions.putFirst(entry.item, entry);
  }

  /** Go back to the answer before the one on screen (-1), or forth (1) and at last to the queue. */
  step(by) {
    const { strip } = this.view;
    const entry = strip.beside(this.questions.current?.given, by);
    if (entry) this.revisit(entry);
    else if (by > 0 && this.questions.current?.given) this.questions.advance();
  }

  /** Take back this page's last answer, or after a reload the annotator's last; labels on their way arrive first. */
  async undo() {
    if (!live().connected && this.outbox.items.length) {
      return this.view.say("Nothing was undone: the labeler cannot be reached.", true); // keys go on counting
    }
    if (this.undoing++) return; // the loop below takes it
    this.view.say("Undoing …");
    while (this.undoing > 0) {
      await this.undoOne();
      this.undoing = Math.max(0, this.undoing - 1);
    }
  }

  async undoOne() {
    await this.outbox.empty();
    const target = this.history.at(-1) ?? this.named;
    // What this page did not do itself is named first, and taken back by a second press.
    const undo = { id: uuid(), annotator: this.view.annotator, session: this.outbox.session, target, ask: !target };
    try {
      const response = await send("POST", "/api/undo", undo);
      const answer = await response.json();
      this.named = response.ok ? null : answer.target;
      if (this.named) {
        this.undoing = 0; // presses that came before this was said do not mean it
        return this.view.say(`${wordsOf(answer)} Undo again to do that.`);
      }
      if (!response.ok) throw new Error(wordsOf(answer));
      this.history.pop();
      const many = answer.undone > 1; // of another page: the strip does not have them
      if (!many) this.view.strip.takeBack(answer.image_id, target);
      await this.questions.putFirst(answer, this.view.strip.of(answer.image_id));
      this.view.say(many ? `Undid ${count(answer.undone, "answer")} given at once.` : "Undone.");
      tell("undone", { image_id: answer.image_id });
    } catch (error) {
      this.undoing = 0;
      if (!(error instanceof TypeError)) this.history.pop(); // what the labeler refuses once it will refuse again
      this.view.say(`Nothing was undone: ${error instanceof TypeError ? "connection lost" : error.message}`, true);
    }
  }

  async addClass(name) {
    const refusal = await this.askLabeler("POST", "/api/classes", { name });
    this.view.say(refusal ? `Class “${name}” was not added: ${refusal}` : `Class “${name}” added.`, Boolean(refusal));
    return !refusal;
  }

  async changeClass(method, id, body) {
    const annotator = encodeURIComponent(this.view.annotator);
    const refusal = await this.askLabeler(method, `/api/classes/${id}${body ? "" : `?annotator=${annotator}`}`, body);
    if (!refusal && body?.into) this.view.strip.relabel(id, body.into);
    return refusal;
  }

  /** Have the classes changed, and see it; returns why it was not done, or null. */
  async askLabeler(method, url, body) {
    try {
      const response = await send(method, url, body && { ...body, annotator: this.view.annotator });
      if (!response.ok) return wordsOf(await response.json());
      await live().refresh();
      return null;
    } catch (error) {
      return error instanceof TypeError ? "connection lost" : error.message;
    }
  }
}
