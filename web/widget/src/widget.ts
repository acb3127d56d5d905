/** One chatbot on a page: what is shown of it, and what the page may do with it. */

import { Announcer } from "./announcer.ts";
import { AnswerView } from "./answer.ts";
import { palette } from "./colours.ts";
import { make } from "./dom.ts";
import type { Entry } from "./entries.ts";
import { Emitter, type EventName, type Handler } from "./events.ts";
import { Language } from "./labels.ts";
import type { Options } from "./options.ts";
import { Panel } from "./panel.ts";
import { Store } from "./store.ts";
import { styleSheet } from "./styles.ts";
import { type Stage, Talk } from "./talk.ts";
import { asError, hint, troubleOf } from "./trouble.ts";

const RENDER_MILLISECONDS = 40;
let widgets = 0;

export class Widget implements Stage {
  language: Language;
  private options: Options;
  private readonly store: Store;
  private readonly talk: Talk;
  private readonly emitter = new Emitter();
  private readonly host = document.createElement("docuchat-widget");
  private readonly id = `docuchat-${++widgets}`;
  private readonly ends = new AbortController();
  private readonly night = window.matchMedia("(prefers-color-scheme: dark)");
  private readonly observer = new MutationObserver(() => this.attach());
  private panel: Panel;
  private announcer: Announcer;
  private drawing: ReturnType<typeof setTimeout> | undefined;
  private isLeaving = false;
  private readonly arranged: () => void;

  /** `arranged` is called when the launcher may stand elsewhere than before, or has come or gone. */
  constructor(server: string, options: Options, arranged: () => void) {
    this.options = options;
    this.arranged = arranged;
    this.store = new Store(options.chatbot, server);
    this.talk = new Talk(server, options.chatbot, this.store, this, this.ends.signal);
    this.host.attachShadow({ mode: "open" }).adoptedStyleSheets = [styleSheet()];
    [this.language, this.panel, this.announcer] = this.build();
    const { signal } = this.ends;
    this.night.addEventListener("change", () => this.paint(), { signal });
    window.addEventListener("pagehide", () => this.leave(true), { signal });
    window.addEventListener("pageshow", () => this.leave(false), { signal });
    window.addEventListener("online", () => this.connected(true), { signal });
    window.addEventListener("offline", () => this.connected(false), { signal });
    this.panel.offer(false);
    this.attach();
    void this.begin();
  }

  get isOffered(): boolean {
    return this.panel.isOffered;
  }

  get side(): "left" | "right" {
    return this.panel.side;
  }

  /** Leave this many places to launchers of other chatbots. */
  stand(places: number): void {
    this.host.style.setProperty("--nth", String(places));
  }

  /** Whether the panels of both would lie on each other. */
  isInTheWayOf(other: Widget): boolean {
    return this !== other && (this.side === other.side || this.panel.isPhone);
  }

  open(takesFocus = true): void {
    if (!this.panel.isOpen) {
      this.show(true, takesFocus);
      this.store.change({ open: true });
      this.emit("open", {});
    } else if (takesFocus) this.panel.input.focus();
    if (this.talk.chatbot) void this.talk.restore();
    else void this.begin();
  }

  close(): void {
    if (!this.panel.isOpen) return;
    this.show(false, this.host.shadowRoot?.activeElement !== null);
    this.store.change({ open: false, closed: true });
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
    this.talk.ask(question);
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
    this.ends.abort();
    this.observer.disconnect();
    this.announcer.stop();
    clearTimeout(this.drawing);
    this.panel.destroy();
    this.host.remove();
  }

  // ── the stage of the conversation ──

  redraw(): void {
    this.panel.log.replaceChildren(...this.welcome());
    for (const entry of this.talk.entries) this.draw(entry);
    this.panel.mayBeginAnew(this.talk.entries.length > 0);
    this.panel.toEnd(true);
  }

  added(entry: Entry): void {
    if (this.talk.entries.length === 1) this.redraw();
    else this.draw(entry);
    this.panel.mayBeginAnew(true);
    this.panel.toEnd(true);
  }

  /** Show what became of an answer, at once when it is over, else with what comes in the same moment. */
  changed(entry: Entry): void {
    const isOver = entry.answer.state === "over";
    if (isOver) clearTimeout(this.drawing);
    else if (this.drawing !== undefined) return;
    const show = () => {
      this.drawing = undefined;
      const words = entry.view?.update() ?? "";
      this.panel.toEnd(false);
      this.announcer.follow(words, isOver);
      if (entry.answer.trouble) this.announcer.say(entry.answer.trouble.text);
    };
    if (isOver) show();
    else this.drawing = setTimeout(show, RENDER_MILLISECONDS);
  }

  begunAnew(entry: Entry): void {
    const old = entry.view?.element;
    this.draw(entry);
    const view = entry.view?.element;
    if (old && view) {
      // where the answer before it was: its question stays
      if (entry.question) view.previousElementSibling?.remove();
      old.replaceWith(view);
    }
    this.panel.log.focus({ preventScroll: true });
    this.panel.toEnd(true);
  }

  answering(isAnswering: boolean): void {
    this.panel.answering(isAnswering);
    if (!isAnswering) return;
    this.announcer.begin();
    this.announcer.say(this.language.say("searching"));
  }

  tell(text: string | null): void {
    if (!this.isLeaving) this.panel.tell(text);
  }

  announce(words: string): void {
    this.announcer.say(words);
  }

  report(error: unknown): void {
    if (this.ends.signal.aborted || this.isLeaving) return;
    const known = asError(error);
    console.warn(`DocuChat: ${hint(known, this.options.chatbot)}`);
    this.emit("error", { code: known.code, message: known.message });
  }

  emit<Name extends EventName>(name: Name, detail: Omit<Parameters<Handler<Name>>[0], "chatbot">): void {
    this.emitter.emit(name, { chatbot: this.options.chatbot, ...detail } as Parameters<Handler<Name>>[0]);
  }

  // ── what is drawn ──

  private async begin(): Promise<void> {
    try {
      await this.talk.show();
    } catch (error) {
      this.isUnknown(error);
      return;
    }
    this.rebuild();
    this.offer(true);
    const { open, asked, closed } = this.store.get();
    const isFirst = this.options.open && !asked && !closed;
    // a panel over a whole phone is opened by its reader
    if ((open || isFirst) && !this.panel.isPhone) this.open(false);
    else if (this.panel.isOpen) void this.talk.restore();
    const ready = { chatbot: this.options.chatbot, name: this.talk.chatbot?.name ?? "" };
    this.emitter.emit("ready", ready);
    this.emitter.keep("ready", ready);
  }

  /** What is not published is not offered; what could not be reached is, and tried again when it is opened. */
  private isUnknown(error: unknown): void {
    if (this.ends.signal.aborted) return;
    const known = asError(error);
    this.paint();
    this.redraw();
    this.offer(known.isPassing || known.status === 429);
    this.panel.tell(troubleOf(known, this.language).text);
    this.report(error);
  }

  private offer(isOffered: boolean): void {
    this.panel.offer(isOffered);
    this.arranged();
  }

  private show(isOpen: boolean, takesFocus: boolean): void {
    this.host.classList.toggle("opened", isOpen);
    this.panel.show(isOpen, takesFocus);
  }

  private build(): [Language, Panel, Announcer] {
    const { options } = this;
    const { chatbot } = this.talk;
    const tag = options.language || chatbot?.language || document.documentElement.lang || navigator.language || "en";
    const language = new Language(tag, options.labels);
    const side = options.position ?? (language.direction === "rtl" ? "left" : "right");
    const panel = new Panel(chatbot?.name ?? "DocuChat", this.id, language, side, {
      toggle: () => this.toggle(),
      close: () => this.close(),
      fresh: () => {
        this.announcer.stop();
        this.talk.begin();
        this.panel.input.focus();
      },
      ask: (text) => this.askNow(text),
      stop: () => void this.talk.stop(),
    });
    this.host.shadowRoot?.append(panel.root);
    return [language, panel, new Announcer(panel.live)];
  }

  private rebuild(): void {
    const { panel } = this;
    const [isOpen, isOffered, words] = [panel.isOpen, panel.isOffered, panel.input.value];
    panel.destroy();
    this.announcer.stop();
    [this.language, this.panel, this.announcer] = this.build();
    this.paint();
    this.offer(isOffered);
    this.panel.input.value = words;
    this.redraw();
    this.panel.answering(this.talk.isAnswering);
    this.show(isOpen, false);
  }

  private paint(): void {
    const { theme } = this.options;
    const isDark = theme ? theme === "dark" : this.night.matches;
    this.panel.paint(palette(this.talk.chatbot?.colours ?? {}, isDark), isDark);
  }

  private welcome(): HTMLElement[] {
    const { language } = this;
    const { chatbot, entries } = this.talk;
    const greeting = make("p", { class: "greeting", dir: "auto" }, chatbot?.greeting || language.say("greeting"));
    const questions = chatbot?.suggested_questions ?? [];
    if (entries.length || !questions.length) return [greeting];
    const ask = (question: string) => this.askNow(question) && this.panel.input.focus();
    const items = questions.map((question) =>
      make("li", {}, make("button", { type: "button", dir: "auto", onclick: () => ask(question) }, question)),
    );
    return [greeting, make("ul", { class: "suggestions", "aria-label": language.say("suggestions") }, ...items)];
  }

  private askNow(text: string): boolean {
    if (this.talk.isAnswering) return false;
    this.talk.ask(text);
    return true;
  }

  private draw(entry: Entry): void {
    const said = make("h3", { class: "unseen" }, this.language.say("you"));
    const words = make("div", {}, make("p", { dir: "auto" }, entry.question));
    if (entry.question) this.panel.log.append(make("article", { class: "question" }, said, words));
    const view = new AnswerView(entry.answer, this.language, {
      retry: () => this.talk.retry(entry),
      rate: (rating, reason, text) => this.talk.rate(entry.answer, rating, reason, text),
      cited: ({ number, title, filename, page, quote }) =>
        this.emit("citation", { number, title: title || filename, page, quote }),
      announce: (words) => this.announcer.say(words),
    });
    entry.view = view;
    this.panel.log.append(view.element);
  }

  private attach(): void {
    // single-page applications may replace what the body holds, or the body
    if (this.ends.signal.aborted || !document.body) return;
    if (this.host.parentNode !== document.body) document.body.append(this.host);
    this.observer.observe(document.documentElement, { childList: true });
    this.observer.observe(document.body, { childList: true });
  }

  /** What breaks off while the page is left is no trouble; whoever comes back to it by the browser's button goes on. */
  private leave(isLeaving: boolean): void {
    const isBack = this.isLeaving && !isLeaving;
    this.isLeaving = isLeaving;
    if (!isBack) return;
    this.tell(null);
    // the pages between may have gone on with the conversation, or begun another
    this.talk.reread();
    const { open } = this.store.get();
    if (!open) this.close();
    else if (this.panel.isOpen || !this.panel.isPhone) this.open(false);
    if (!this.talk.chatbot) void this.begin();
    else void this.talk.restore();
  }

  private connected(isConnected: boolean): void {
    if (!this.panel.isOpen && !this.talk.isAnswering) return;
    this.tell(isConnected ? null : this.language.say("offline"));
    if (!isConnected) return;
    if (this.talk.chatbot) this.talk.comeBack();
    else void this.begin();
  }
}
