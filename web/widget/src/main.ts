/** `window.DocuChat`: made once, however often and from wherever the script is loaded. */

import type { EventName, Handler } from "./events.ts";
import { labelsOf } from "./labels.ts";
import { type Options, readOptions } from "./options.ts";
import { Widget } from "./widget.ts";

type Method = "open" | "close" | "toggle" | "ask" | "on" | "configure" | "destroy";
type Settings = Partial<Omit<Options, "labels">> & { labels?: Record<string, unknown> };

const MADE = Symbol.for("docuchat.widget");

/** What a page calls. Without a chatbot's id it is the page's first widget that is meant. */
class DocuChat {
  readonly [MADE] = true;
  private readonly widgets = new Map<string, Widget>();
  private readonly listeners: [EventName, Handler<EventName>, (() => void)[]][] = [];
  private settings: Settings = {};
  private server: string;

  constructor(server: string) {
    this.server = server;
  }

  /** Put the widget of a script tag on the page, unless its chatbot is there already. */
  mount(data: DOMStringMap, server: string): void {
    this.server = server;
    const read = readOptions(data);
    this.add(server, { ...read, ...this.settings, chatbot: read.chatbot, labels: { ...read.labels, ...this.labels } });
  }

  open(chatbot?: string): void {
    this.of(chatbot)?.open();
  }

  close(chatbot?: string): void {
    this.of(chatbot)?.close();
  }

  toggle(chatbot?: string): void {
    this.of(chatbot)?.toggle();
  }

  ask(text: string, chatbot?: string): void {
    this.of(chatbot)?.ask(String(text));
  }

  /** Listen to all widgets of the page; what is returned ends it. */
  on(name: EventName, handler: Handler<EventName>): () => void {
    const offs = [...this.widgets.values()].map((widget) => widget.on(name, handler));
    const listener: [EventName, Handler<EventName>, (() => void)[]] = [name, handler, offs];
    this.listeners.push(listener);
    return () => {
      const at = this.listeners.indexOf(listener);
      if (at >= 0) this.listeners.splice(at, 1);
      for (const off of listener[2]) off();
    };
  }

  /** Change words, language, side or theme; with a `chatbot` that is not on the page, put it there. */
  configure(settings: Settings): void {
    const labels = labelsOf(settings.labels ?? {});
    const { chatbot } = settings;
    const widget = chatbot === undefined ? undefined : this.widgets.get(chatbot);
    if (chatbot !== undefined) {
      const all = { ...this.labels, ...labels };
      if (widget) widget.configure({ ...settings, labels });
      else this.add(this.server, { ...this.settings, ...settings, chatbot, labels: all });
      return;
    }
    this.settings = { ...this.settings, ...settings, labels: { ...this.settings.labels, ...settings.labels } };
    for (const one of this.widgets.values()) one.configure({ ...settings, labels });
  }

  /** Take a widget away, or all of them. What was said is found again when it comes back. */
  destroy(chatbot?: string): void {
    for (const [id, widget] of this.widgets) {
      if (chatbot !== undefined && id !== chatbot) continue;
      widget.destroy();
      this.widgets.delete(id);
    }
    this.arrange();
  }

  /** A call as a list, as pages make them before the script is there: `["open"]`. */
  push(...calls: unknown[]): void {
    for (const call of calls) {
      const [name, ...given] = Array.from(call as ArrayLike<unknown>);
      if (isMethod(name)) (this[name] as (...given: unknown[]) => unknown)(...given);
    }
  }

  private get labels() {
    return labelsOf(this.settings.labels ?? {});
  }

  private add(server: string, options: Options): void {
    if (!options.chatbot || this.widgets.has(options.chatbot)) return;
    const widget = new Widget(server, options, () => this.arrange());
    this.widgets.set(options.chatbot, widget);
    widget.on("open", () => {
      for (const other of this.widgets.values()) if (widget.isInTheWayOf(other)) other.close();
    });
    for (const [name, handler, offs] of this.listeners) offs.push(widget.on(name, handler));
  }

  /** Launchers on the same side stand next to each other. */
  private arrange(): void {
    const places = { left: 0, right: 0 };
    for (const widget of this.widgets.values()) if (widget.isOffered) widget.stand(places[widget.side]++);
  }

  private of(chatbot?: string): Widget | undefined {
    return chatbot === undefined ? this.widgets.values().next().value : this.widgets.get(chatbot);
  }
}

function isMethod(name: unknown): name is Method {
  return typeof name === "string" && ["open", "close", "toggle", "ask", "on", "configure", "destroy"].includes(name);
}

/** The tag that this script came by; a loader may have taken it off the page already. */
function ownScript(): HTMLScriptElement | null {
  const current = document.currentScript;
  if (current instanceof HTMLScriptElement) return current;
  return document.querySelector<HTMLScriptElement>("script[data-chatbot][src]");
}

function start(): void {
  const script = ownScript();
  if (!script?.src) {
    console.warn("DocuChat: load the widget by a script tag with its address in `src`.");
    return;
  }
  const server = new URL(script.src).origin;
  const data = { ...script.dataset };
  const page = window as { DocuChat?: unknown };
  const before = page.DocuChat as (Partial<Record<typeof MADE, true>> & { q?: unknown }) | undefined;
  const made = before?.[MADE] ? (before as unknown as DocuChat) : new DocuChat(server);
  const mount = () => {
    made.mount(data, server);
    if (made === before) return;
    // what was called before this script came: `DocuChat = []`, or a function that keeps its calls in `q`
    const calls = Array.isArray(before) ? before : Array.isArray(before?.q) ? before.q : [];
    made.push(...calls);
  };
  if (made !== before) page.DocuChat = made;
  if (document.body) mount();
  else document.addEventListener("DOMContentLoaded", mount, { once: true });
}

start();
