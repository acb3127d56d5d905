/** One chatbot on a page: its conversation, what is shown of it, and what the page may do with it. */

import {
  askAsVisitor,
  DocuChatError,
  type Frame,
  giveFeedback,
  randomKey,
  resume,
  type ShownChatbot,
  showChatbot,
  stop,
  takeBackFeedback,
  type Visit,
  visit,
} from "@docuchat/client";
import { Announcer } from "./announcer.ts";
import { type Answer, AnswerView, emptyAnswer, type Rating, type Reason } from "./answer.ts";
import { palette } from "./colours.ts";
import { make } from "./dom.ts";
import { advance, type Entry, pastEntries } from "./entries.ts";
import { Emitter, type EventName, type Handler } from "./events.ts";
import { Language } from "./labels.ts";
import type { Options } from "./options.ts";
import { Panel } from "./panel.ts";
import { Store } from "./store.ts";
import { styleSheet } from "./styles.ts";
import { asError, hint, troubleOf } from "./trouble.ts";

const RENDER_MILLISECONDS = 40;
let widgets = 0;

export class Widget {
  private options: Options;
  private readonly server: string;
  private readonly store: Store;
  private readonly emitter = new Emitter();
  private readonly host = document.createElement("docuchat-widget");
  private readonly id = `docuchat-${++widgets}`;
  private readonly ends = new AbortController();
  private readonly night = window.matchMedia("(prefers-color-scheme: dark)");
  private readonly observer = new MutationObserver(() => this.attach());
  private panel: Panel;
  private announcer: Announcer;
  private language: Language;
  private chatbot: ShownChatbot | undefined;
  private visited: Visit | undefined;
  private entries: Entry[] = [];
  private reading: { entry: Entry; stops: AbortController } | undefined;
  private waiting: string[] = [];
  private showing: Promise<void> | undefined;
  private restoring: Promise<void> | undefined;
  private drawing: ReturnType<typeof setTimeout> | undefined;
  private isLeaving = false;

  constructor(server: string, options: Options) {
    this.server = server;
    this.options = options;
    this.store = new Store(options.chatbot, server);
    this.host.attachShadow({ mode: "open" }).adoptedStyleSheets = [styleSheet()];
    this.language = new Language("en", {});
    [this.language, this.panel, this.announcer] = this.build();
    const { signal } = this.ends;
    this.night.addEventListener("change", () => this.paint(), { signal });
    window.addEventListener("pagehide", () => (this.isLeaving = true), { signal });
    window.addEventListener("pageshow", () => (this.isLeaving = false), { signal });
    window.addEventListener("online", () => this.connected(true), { signal });
    window.addEventListener("offline", () => this.connected(false), { signal });
    this.panel.offer(false);
    this.attach();
    void this.begin();
  }

  get chatbotId(): string {
    return this.options.chatbot;
  }

  open(takesFocus = true): void {
    if (!this.panel.isOpen) {
      this.panel.show(true, takesFocus);
      this.store.change({ open: true });
      this.emit("open", {});
    } else if (takesFocus) this.panel.input.focus();
    void this.restore();
  }

  close(): void {
    if (!this.panel.isOpen) return;
    this.panel.show(false, this.host.shadowRoot?.activeElement !== null);
    this.store.change({ open: false });
    this.emit("close", {});
  }

  toggle(): void {
    if (this.panel.isOpen) this.close();
    else this.open();
  }

  /** Ask in the visitor's name; behind an answer that is being written. */
  ask(text: string): void {
    const question = text.trim();
    if (!question) return;
    this.open();
    this.waiting.push(question);
    void this.restore().then(() => this.next());
  }

  on<Name extends EventName>(name: Name, handler: Handler<Name>): () => void {
    return this.emitter.on(name, handler);
  }

  configure(changes: Partial<Options>): void {
    this.options = { ...this.options, ...changes, labels: { ...this.options.labels, ...changes.labels } };
    this.rebuild();
    if (changes.open) this.open(false);
  }

  destroy(): void {
    this.reading?.stops.abort();
    this.ends.abort();
    this.observer.disconnect();
    this.announcer.stop();
    clearTimeout(this.drawing);
    this.panel.destroy();
    this.host.remove();
  }

  // ── what is drawn ──

  private build(): [Language, Panel, Announcer] {
    const { options, chatbot } = this;
    const tag = options.language || chatbot?.language || document.documentElement.lang || navigator.language || "en";
    const language = new Language(tag, options.labels);
    const side = options.position ?? (language.direction === "rtl" ? "left" : "right");
    const name = chatbot?.name ?? "DocuChat";
    const panel = new Panel(name, this.id, language, side, {
      toggle: () => this.toggle(),
      close: () => this.close(),
      fresh: () => this.fresh(),
      ask: (text) => this.askNow(text),
      stop: () => void this.stopAnswer(),
    });
    this.host.shadowRoot?.append(panel.root);
    return [language, panel, new Announcer(panel.live)];
  }

  private rebuild(): void {
    const { panel } = this;
    const [isOpen, words] = [panel.isOpen, panel.input.value];
    panel.destroy();
    this.announcer.stop();
    [this.language, this.panel, this.announcer] = this.build();
    this.paint();
    this.panel.input.value = words;
    this.draw();
    this.panel.answering(this.reading !== undefined);
    this.panel.show(isOpen, false);
  }

  private paint(): void {
    const { theme } = this.options;
    const isDark = theme ? theme === "dark" : this.night.matches;
    this.panel.paint(palette(this.chatbot?.colours ?? {}, isDark), isDark);
  }

  /** The whole conversation. */
  private draw(): void {
    this.panel.log.replaceChildren(...this.welcome());
    for (const entry of this.entries) this.drawEntry(entry);
    this.panel.mayBeginAnew(this.entries.length > 0);
    this.panel.toEnd(true);
  }

  private welcome(): HTMLElement[] {
    const { chatbot, language } = this;
    const greeting = make("p", { class: "greeting", dir: "auto" }, chatbot?.greeting || language.say("greeting"));
    const questions = chatbot?.suggested_questions ?? [];
    if (this.entries.length || !questions.length) return [greeting];
    const items = questions.map((question) =>
      make("li", {}, make("button", { type: "button", dir: "auto", onclick: () => this.suggest(question) }, question)),
    );
    return [greeting, make("ul", { class: "suggestions", "aria-label": language.say("suggestions") }, ...items)];
  }

  private suggest(question: string): void {
    if (this.askNow(question)) this.panel.input.focus();
  }

  private drawEntry(entry: Entry): void {
    const said = make("h3", { class: "unseen" }, this.language.say("you"));
    if (entry.question) {
      this.panel.log.append(
        make("article", { class: "question" }, said, make("div", {}, make("p", { dir: "auto" }, entry.question))),
      );
    }
    const view = new AnswerView(entry.answer, this.language, {
      retry: () => this.retry(entry),
      rate: (rating, reason, text) => this.rate(entry.answer, rating, reason, text),
      cited: (citation) => {
        const { number, title, filename, page, quote } = citation;
        this.emit("citation", { number, title: title || filename, page, quote });
      },
      announce: (words) => this.announcer.say(words),
    });
    entry.view = view;
    this.panel.log.append(view.element);
  }

  /** Show what became of an answer, at once when it is over, else with what comes in the same moment. */
  private refresh(entry: Entry): void {
    if (entry.answer.state === "over") {
      clearTimeout(this.drawing);
      this.drawing = undefined;
      this.redraw(entry);
    } else {
      this.drawing ??= setTimeout(() => {
        this.drawing = undefined;
        this.redraw(entry);
      }, RENDER_MILLISECONDS);
    }
  }

  private redraw(entry: Entry): void {
    const words = entry.view?.update() ?? "";
    this.panel.toEnd(false);
    this.announcer.follow(words, entry.answer.state === "over");
    const { trouble } = entry.answer;
    if (trouble) this.announcer.say(trouble.text);
  }

  private attach(): void {
    // single-page applications may replace what the body holds, or the body
    if (this.ends.signal.aborted || !document.body) return;
    if (this.host.parentNode !== document.body) document.body.append(this.host);
    this.observer.observe(document.documentElement, { childList: true });
    this.observer.observe(document.body, { childList: true });
  }

  // ── what is asked ──

  private async begin(): Promise<void> {
    const note = this.store.get();
    await this.showBot();
    if (this.ends.signal.aborted) return;
    // a panel over a whole phone is opened by its reader
    const isLeftOpen = note.open && !this.panel.isPhone;
    const isFirst = this.options.open && !note.asked && !this.panel.isPhone;
    if (this.chatbot && (isLeftOpen || isFirst)) this.open(false);
  }

  private showBot(): Promise<void> {
    this.showing ??= this.loadBot().finally(() => {
      if (!this.chatbot) this.showing = undefined;
    });
    return this.showing;
  }

  private async loadBot(): Promise<void> {
    try {
      this.chatbot = await showChatbot(this.server, this.options.chatbot, this.ends.signal);
    } catch (error) {
      if (this.ends.signal.aborted) return;
      const isPassing = error instanceof DocuChatError && (error.isPassing || error.status === 429);
      this.paint();
      this.draw();
      this.panel.offer(isPassing);
      this.report(error);
      if (!isPassing) this.panel.tell(troubleOf(asError(error), this.language).text);
      return;
    }
    this.panel.tell(null);
    this.rebuild();
    this.panel.offer(true);
    this.emit("ready", { name: this.chatbot.name });
    this.emitter.keep("ready", { chatbot: this.options.chatbot, name: this.chatbot.name });
  }

  private visitor(): Visit {
    this.visited ??= visit(this.server, this.options.chatbot, {
      token: this.store.token,
      onToken: (token) => {
        this.store.token = token;
      },
    });
    return this.visited;
  }

  /** What was said before this page was loaded, once. */
  private restore(): Promise<void> {
    this.restoring ??= this.load().catch((error: unknown) => {
      this.restoring = undefined;
      this.report(error);
      const trouble = troubleOf(asError(error), this.language);
      this.panel.tell(trouble.text);
    });
    return this.restoring;
  }

  private async load(): Promise<void> {
    if (!this.chatbot) await this.showBot();
    const { session, asked, pending } = this.store.get();
    if (!asked || !this.chatbot || this.entries.length) return;
    const entries = await pastEntries(this.visitor(), session, this.ends.signal);
    if (this.entries.length || this.store.get().session !== session) return;
    this.entries = entries;
    const last = this.entries.at(-1);
    if (pending?.message && last?.answer.message === pending.message) {
      this.store.change({ pending: undefined });
    } else if (pending) {
      const isKnown = last?.question === pending.question && last.answer.state === "waiting";
      const entry: Entry = isKnown ? last : { question: pending.question, answer: emptyAnswer() };
      if (!isKnown) this.entries.push(entry);
      this.draw();
      void this.read(entry);
      return;
    }
    for (const { answer } of this.entries) answer.state = "over";
    this.draw();
  }

  private askNow(text: string): boolean {
    if (this.reading) return false;
    this.waiting.push(text);
    void this.restore().then(() => this.next());
    return true;
  }

  private next(): void {
    const question = this.reading ? undefined : this.waiting.shift();
    if (question === undefined) return;
    const entry: Entry = { question, answer: emptyAnswer() };
    this.entries.push(entry);
    if (this.entries.length === 1) this.draw();
    else this.drawEntry(entry);
    this.panel.mayBeginAnew(true);
    this.panel.toEnd(true);
    this.emit("question", { text: question });
    this.store.change({ asked: true, pending: { question, key: randomKey() } });
    void this.read(entry);
  }

  /** Read an answer to its end: from its question on, or from where it is said to be. */
  private async read(entry: Entry): Promise<void> {
    const { pending, session } = this.store.get();
    if (!pending || this.reading) return;
    const stops = new AbortController();
    this.reading = { entry, stops };
    this.panel.answering(true);
    this.panel.tell(null);
    const { answer } = entry;
    this.announcer.begin();
    this.announcer.say(this.language.say("searching"));
    const reading = {
      signal: AbortSignal.any([stops.signal, this.ends.signal]),
      key: pending.key,
      onRetry: () => this.panel.tell(this.language.say(navigator.onLine ? "reconnecting" : "offline")),
    };
    try {
      const stream = pending.turn
        ? resume(this.visitor(), pending.turn, 0, reading)
        : askAsVisitor(this.visitor(), pending.question, session, reading);
      for await (const frame of stream) this.take(entry, frame);
      this.store.change({ pending: undefined });
      this.emit("answer", {
        text: answer.text,
        citations: answer.citations.map(({ number, title, page, quote }) => ({ number, title, page, quote })),
        messageId: answer.message ?? "",
        finishReason: answer.finish ?? "stop",
      });
    } catch (error) {
      this.fail(entry, error, stops);
    } finally {
      if (this.reading?.entry === entry) {
        this.reading = undefined;
        this.panel.answering(false);
        this.next();
      }
    }
  }

  private take(entry: Entry, frame: Frame): void {
    const { answer } = entry;
    this.panel.tell(null);
    if (frame.type === "start" && this.reading?.entry === entry) {
      const { pending } = this.store.get();
      if (pending) this.store.change({ pending: { ...pending, turn: frame.turn_id, message: frame.message_id } });
    }
    advance(answer, frame);
    this.refresh(entry);
  }

  private fail(entry: Entry, error: unknown, stops: AbortController): void {
    if (stops.signal.aborted || this.ends.signal.aborted || this.isLeaving) return;
    const known = asError(error);
    const { answer } = entry;
    answer.state = "over";
    answer.trouble = troubleOf(known, this.language);
    if (!answer.trouble.isOfNetwork) {
      this.store.change({ pending: undefined });
      if (answer.text) answer.trouble.text = this.language.say("interrupted");
    }
    this.panel.tell(null);
    this.report(error);
    this.refresh(entry);
  }

  private retry(entry: Entry): void {
    if (this.reading) return;
    const { pending } = this.store.get();
    const isLast = entry === this.entries.at(-1);
    const isResumed = isLast && entry.answer.trouble?.isOfNetwork && pending;
    this.restoring ??= Promise.resolve();
    if (!isLast) {
      this.waiting.push(entry.question);
      this.next();
      return;
    }
    if (!isResumed) this.store.change({ asked: true, pending: { question: entry.question, key: randomKey() } });
    entry.answer = emptyAnswer();
    const old = entry.view;
    const { log } = this.panel;
    const shown = old?.element.previousElementSibling;
    old?.element.remove();
    if (shown?.classList.contains("question")) shown.remove();
    this.drawEntry(entry);
    log.focus({ preventScroll: true });
    this.panel.toEnd(true);
    void this.read(entry);
  }

  private async stopAnswer(): Promise<void> {
    const turn = this.reading?.entry.answer.turn;
    if (!this.reading || !turn) return;
    try {
      await stop(this.visitor(), turn, this.ends.signal);
    } catch (error) {
      this.report(error);
    }
  }

  private fresh(): void {
    this.reading?.stops.abort();
    this.reading = undefined;
    this.waiting = [];
    this.announcer.stop();
    this.store.renew();
    this.entries = [];
    this.restoring = Promise.resolve();
    this.panel.answering(false);
    this.panel.tell(null);
    this.draw();
    this.panel.input.focus();
  }

  private async rate(answer: Answer, rating: Rating | undefined, reason?: Reason, text?: string): Promise<void> {
    const { message } = answer;
    if (!message) return;
    try {
      if (rating) {
        const opinion = { rating, ...(reason && { reason }), ...(text && { text }) };
        await giveFeedback(this.visitor(), message, opinion, this.ends.signal);
      } else await takeBackFeedback(this.visitor(), message, this.ends.signal);
    } catch (error) {
      this.report(error);
      throw error;
    }
    this.emit("feedback", { messageId: message, rating: rating ?? null, reason: reason ?? null });
  }

  private connected(isConnected: boolean): void {
    if (!this.panel.isOpen && !this.reading) return;
    this.panel.tell(isConnected ? null : this.language.say("offline"));
    if (!isConnected) return;
    const last = this.entries.at(-1);
    if (last?.answer.trouble?.isOfNetwork) this.retry(last);
    else if (!this.chatbot || !this.restoring) void this.restore();
  }

  private emit<Name extends EventName>(name: Name, detail: Omit<Parameters<Handler<Name>>[0], "chatbot">): void {
    this.emitter.emit(name, { chatbot: this.options.chatbot, ...detail } as Parameters<Handler<Name>>[0]);
  }

  private report(error: unknown): void {
    if (this.ends.signal.aborted || this.isLeaving) return;
    const known = asError(error);
    console.warn(`DocuChat: ${hint(known, this.options.chatbot)}`);
    this.emit("error", { code: known.code, message: known.message });
  }
}
