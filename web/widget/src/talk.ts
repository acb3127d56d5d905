/** The conversation of one chatbot on one page: what is asked, read, resumed, stopped and judged. */

import {
  askAsVisitor,
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
import { type Answer, emptyAnswer, type Rating, type Reason } from "./answer.ts";
import { advance, type Entry, pastEntries } from "./entries.ts";
import type { EventName, Handler } from "./events.ts";
import type { Language } from "./labels.ts";
import type { Pending, Store } from "./store.ts";
import { asError, interruption, troubleOf } from "./trouble.ts";

/** Where the conversation is shown. */
export interface Stage {
  readonly language: Language;
  /** All entries are others now. */
  redraw(): void;
  added(entry: Entry): void;
  changed(entry: Entry): void;
  /** The answer of an entry begins anew. */
  begunAnew(entry: Entry): void;
  answering(isAnswering: boolean): void;
  /** A line about the connection; null takes it away. */
  tell(text: string | null): void;
  announce(words: string): void;
  report(error: unknown): void;
  emit<Name extends EventName>(name: Name, detail: Omit<Parameters<Handler<Name>>[0], "chatbot">): void;
}

const OLDEST_UNASKED_MILLISECONDS = 600_000;

export class Talk {
  entries: Entry[] = [];
  chatbot: ShownChatbot | undefined;
  private readonly server: string;
  private readonly id: string;
  private readonly store: Store;
  private readonly stage: Stage;
  private readonly ends: AbortSignal;
  private visited: Visit | undefined;
  private reading: { entry: Entry; stops: AbortController } | undefined;
  private waiting: string[] = [];
  private showing: Promise<void> | undefined;
  private restoring: Promise<void> | undefined;

  constructor(server: string, id: string, store: Store, stage: Stage, ends: AbortSignal) {
    this.server = server;
    this.id = id;
    this.store = store;
    this.stage = stage;
    this.ends = ends;
  }

  get isAnswering(): boolean {
    return this.reading !== undefined;
  }

  /** Learn what is shown of the chatbot. Fails with a DocuChatError. */
  show(): Promise<void> {
    this.showing ??= showChatbot(this.server, this.id, this.ends).then(
      (chatbot) => {
        this.chatbot = chatbot;
      },
      (error: unknown) => {
        this.showing = undefined;
        throw error;
      },
    );
    return this.showing;
  }

  /** Show what was said before this page was loaded, once; an answer that was being read goes on. */
  restore(): Promise<void> {
    this.restoring ??= this.load().catch((error: unknown) => {
      this.restoring = undefined;
      if (this.ends.aborted) return;
      this.stage.report(error);
      this.stage.tell(troubleOf(asError(error), this.stage.language).text);
    });
    return this.restoring;
  }

  /** Ask, behind the answer that is being written. */
  ask(question: string): void {
    this.waiting.push(question);
    void this.restore().then(() => this.next());
  }

  async stop(): Promise<void> {
    const turn = this.reading?.entry.answer.turn;
    if (!turn) return;
    try {
      await stop(this.visitor(), turn, this.ends);
    } catch (error) {
      this.stage.report(error);
    }
  }

  /** Begin another conversation. */
  begin(): void {
    // nobody reads on in that answer
    void this.stop();
    this.reading?.stops.abort();
    this.reading = undefined;
    this.waiting = [];
    this.store.renew();
    this.entries = [];
    this.restoring = Promise.resolve();
    this.stage.answering(false);
    this.stage.tell(null);
    this.stage.redraw();
  }

  /** Forget what was shown, for pages between may have gone on with it: `restore` then shows what there is. */
  reread(): void {
    this.store.reread();
    this.reading?.stops.abort();
    this.reading = undefined;
    this.entries = [];
    this.restoring = undefined;
    this.stage.answering(false);
    if (!this.store.get().asked) this.stage.redraw();
  }

  /** Ask the question of an entry once more, or read on where the connection was lost. */
  retry(entry: Entry): void {
    if (this.reading) return;
    if (entry !== this.entries.at(-1)) {
      this.ask(entry.question);
      return;
    }
    const { pending } = this.store.get();
    const isResumed = entry.answer.trouble?.isOfNetwork && pending;
    if (!isResumed) this.store.change({ asked: true, pending: asked(entry.question) });
    entry.answer = emptyAnswer();
    this.stage.begunAnew(entry);
    void this.read(entry);
  }

  async rate(answer: Answer, rating: Rating | undefined, reason?: Reason, text?: string): Promise<void> {
    const { message } = answer;
    if (!message) return;
    try {
      if (rating) {
        const opinion = { rating, ...(reason && { reason }), ...(text && { text }) };
        await giveFeedback(this.visitor(), message, opinion, this.ends);
      } else await takeBackFeedback(this.visitor(), message, this.ends);
    } catch (error) {
      this.stage.report(error);
      throw error;
    }
    this.stage.emit("feedback", { messageId: message, rating: rating ?? null, reason: reason ?? null });
  }

  /** The network is there again. */
  comeBack(): void {
    const last = this.entries.at(-1);
    if (last?.answer.trouble?.isOfNetwork) this.retry(last);
    else if (!this.restoring) void this.restore();
  }

  private visitor(): Visit {
    this.visited ??= visit(this.server, this.id, {
      token: this.store.token,
      onToken: (token) => {
        this.store.token = token;
      },
    });
    return this.visited;
  }

  private async load(): Promise<void> {
    await this.show();
    const { session, asked, pending } = this.store.get();
    if (!asked || this.entries.length) return;
    const entries = await pastEntries(this.visitor(), session, this.ends);
    if (this.entries.length || this.store.get().session !== session) return;
    this.entries = entries;
    const open = pending && this.openEntry(pending);
    for (const { answer } of this.entries.filter((entry) => entry !== open)) {
      const isWhole = answer.state === "over" && answer.finish !== "interrupted" && answer.finish !== "failed";
      answer.state = "over";
      if (!isWhole) answer.trouble = interruption(this.stage.language);
    }
    this.stage.redraw();
    if (open) void this.read(open);
    else this.store.change({ pending: undefined });
  }

  /** The entry whose answer is to be read on, if there is one. */
  private openEntry(pending: Pending): Entry | undefined {
    const last = this.entries.at(-1);
    const isAnswered = pending.message !== undefined && last?.answer.message === pending.message;
    const isForgotten = !pending.turn && Date.now() - pending.at > OLDEST_UNASKED_MILLISECONDS;
    if (isAnswered || isForgotten) return undefined;
    if (last?.question === pending.question && last.answer.state === "waiting") return last;
    const entry: Entry = { question: pending.question, answer: emptyAnswer() };
    this.entries.push(entry);
    return entry;
  }

  private next(): void {
    const question = this.reading ? undefined : this.waiting.shift();
    if (question === undefined) return;
    const entry: Entry = { question, answer: emptyAnswer() };
    this.entries.push(entry);
    this.stage.added(entry);
    this.stage.emit("question", { text: question });
    this.store.change({ asked: true, pending: asked(question) });
    void this.read(entry);
  }

  /** Read an answer to its end: of a question that is to be asked, or of a turn that is known. */
  private async read(entry: Entry): Promise<void> {
    const { pending, session } = this.store.get();
    if (!pending || this.reading) return;
    const stops = new AbortController();
    this.reading = { entry, stops };
    const { stage } = this;
    stage.answering(true);
    stage.tell(null);
    const { answer } = entry;
    const reading = {
      signal: AbortSignal.any([stops.signal, this.ends]),
      key: pending.key,
      onRetry: () => stage.tell(stage.language.say(navigator.onLine ? "reconnecting" : "offline")),
    };
    try {
      const stream = pending.turn
        ? resume(this.visitor(), pending.turn, 0, reading)
        : askAsVisitor(this.visitor(), pending.question, session, reading);
      for await (const frame of stream) {
        stage.tell(null);
        if (frame.type === "start") {
          this.store.change({ pending: { ...pending, turn: frame.turn_id, message: frame.message_id } });
        }
        advance(answer, frame);
        // what is asked behind it begins when this is kept
        if (frame.type === "end") this.store.change({ pending: undefined });
        stage.changed(entry);
      }
      stage.emit("answer", {
        text: answer.text,
        citations: answer.citations.map(({ number, title, page, quote }) => ({ number, title, page, quote })),
        messageId: answer.message ?? "",
        finishReason: answer.finish ?? "stop",
      });
    } catch (error) {
      if (!stops.signal.aborted && !this.ends.aborted) this.fail(entry, error);
    } finally {
      if (this.reading?.entry === entry) {
        this.reading = undefined;
        stage.answering(false);
        this.next();
      }
    }
  }

  private fail(entry: Entry, error: unknown): void {
    const known = asError(error);
    if (known.code === "turn_not_found") {
      // over and forgotten: what is kept of it is in the conversation
      this.store.change({ pending: undefined });
      this.entries = [];
      this.restoring = undefined;
      void this.restore();
      return;
    }
    const { answer } = entry;
    answer.state = "over";
    answer.trouble = troubleOf(known, this.stage.language);
    if (!answer.trouble.isOfNetwork) {
      this.store.change({ pending: undefined });
      if (answer.text) answer.trouble.text = this.stage.language.say("interrupted");
    }
    this.stage.tell(null);
    this.stage.report(error);
    this.stage.changed(entry);
  }
}

function asked(question: string): Pending {
  return { question, key: randomKey(), at: Date.now() };
}
