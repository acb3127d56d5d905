/**
 * What is kept on the visitor's side: which conversation goes on, which answer is being read, and who the visitor is.
 *
 * Each tab has its own note (sessionStorage, which outlives a reload and the way to the next page); what a new tab
 * begins with is the last one that any tab wrote (localStorage). So tabs never write into each other's.
 * Where storage is denied, it lasts as long as the page.
 */

import { randomKey } from "@docuchat/client";

/** An answer that is being written. */
export interface Pending {
  question: string;
  /** The Idempotency-Key of the question: sent again, it is not answered again. */
  key: string;
  /** When it was asked, in milliseconds since 1970. */
  at: number;
  turn?: string | undefined;
  message?: string | undefined;
}

export interface Note {
  session: string;
  asked: boolean;
  open: boolean;
  /** Whether the visitor has closed it, so that it does not open by itself. */
  closed: boolean;
  pending?: Pending | undefined;
}

export class Store {
  private readonly name: string;
  private readonly tab: Storage | null;
  private readonly origin: Storage | null;
  private note: Note | null = null;
  private known: string | undefined;

  constructor(chatbot: string, server: string) {
    this.name = `docuchat:${server}:${chatbot}`;
    this.tab = storage("sessionStorage");
    this.origin = storage("localStorage");
  }

  get(): Note {
    if (!this.note) {
      const last = asNote(this.read(this.origin, ""));
      // a new tab goes on with the conversation, and opens nothing by itself
      this.note = asNote(this.read(this.tab, "")) ?? (last && { ...last, open: false }) ?? fresh();
    }
    return this.note;
  }

  change(changes: Partial<Note>): void {
    this.note = { ...this.get(), ...changes };
    this.write(this.tab, "", this.note);
    this.write(this.origin, "", this.note);
  }

  /** Take over what other pages of this tab have written since. */
  reread(): void {
    this.note = asNote(this.read(this.tab, "")) ?? this.note;
  }

  /** Another conversation. */
  renew(): void {
    const { open, closed } = this.get();
    this.change({ ...fresh(), open, closed, pending: undefined });
  }

  /** The visitor's token: bound to this page's origin and to one chatbot, and good for 15 minutes. */
  get token(): string | undefined {
    const read = this.read(this.origin, ":visitor");
    return typeof read === "string" ? read : this.known;
  }

  set token(token: string) {
    this.known = token;
    this.write(this.origin, ":visitor", token);
  }

  private read(place: Storage | null, suffix: string): unknown {
    try {
      return JSON.parse(place?.getItem(this.name + suffix) ?? "null");
    } catch {
      return null;
    }
  }

  private write(place: Storage | null, suffix: string, value: unknown): void {
    try {
      place?.setItem(this.name + suffix, JSON.stringify(value));
    } catch {
      // full or denied: this page goes on without
    }
  }
}

function fresh(): Note {
  return { session: randomKey(), asked: false, open: false, closed: false };
}

/** What was stored may have been written by another version, or by anybody. */
function asNote(value: unknown): Note | null {
  if (!isRecord(value) || typeof value.session !== "string" || !value.session || value.session.length > 200)
    return null;
  const { pending } = value;
  const isPending =
    isRecord(pending) &&
    [typeof pending.question, typeof pending.key, typeof pending.at].join() === "string,string,number";
  return {
    session: value.session,
    asked: value.asked === true,
    open: value.open === true,
    closed: value.closed === true,
    pending: isPending ? (pending as unknown as Pending) : undefined,
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function storage(name: "localStorage" | "sessionStorage"): Storage | null {
  try {
    return window[name];
  } catch {
    return null;
  }
}
