/** What a page may listen to. */

export interface Events {
  ready: { chatbot: string; name: string };
  open: { chatbot: string };
  close: { chatbot: string };
  question: { chatbot: string; text: string };
  answer: {
    chatbot: string;
    text: string;
    citations: { number: number; title: string; page: number | null; quote: string }[];
    messageId: string;
    finishReason: string;
  };
  citation: { chatbot: string; number: number; title: string; page: number | null; quote: string };
  feedback: { chatbot: string; messageId: string; rating: "up" | "down" | null; reason: string | null };
  error: { chatbot: string; code: string; message: string };
}

export type EventName = keyof Events;
export type Handler<Name extends EventName> = (detail: Events[Name]) => void;

export class Emitter {
  private readonly handlers = new Map<EventName, Set<Handler<never>>>();
  private readonly kept = new Map<EventName, unknown>();

  on<Name extends EventName>(name: Name, handler: Handler<Name>): () => void {
    const all = this.handlers.get(name) ?? new Set();
    this.handlers.set(name, all);
    all.add(handler);
    if (this.kept.has(name)) queueMicrotask(() => all.has(handler) && call(handler, this.kept.get(name)));
    return () => void all.delete(handler);
  }

  emit<Name extends EventName>(name: Name, detail: Events[Name]): void {
    for (const handler of this.handlers.get(name) ?? []) call(handler, detail);
  }

  /** Tell this also whoever listens later. */
  keep<Name extends EventName>(name: Name, detail: Events[Name]): void {
    this.kept.set(name, detail);
  }
}

/** A handler's mistake is the page's own, and stops nothing here. */
function call(handler: Handler<never>, detail: unknown): void {
  try {
    (handler as (detail: unknown) => void)(detail);
  } catch (error) {
    setTimeout(() => {
      throw error;
    });
  }
}
