/** One answer: what is known of it, and how it is shown. */

import { direct, icon, make, set } from "./dom.ts";
import type { Label, Language } from "./labels.ts";
import { plainText } from "./markdown.ts";
import { Rendering } from "./render.ts";
import type { Trouble } from "./trouble.ts";

/** A passage that an answer cites by its number. */
export interface Citation {
  number: number;
  title: string;
  filename: string;
  page: number | null;
  page_to: number | null;
  quote: string;
  deleted?: boolean | undefined;
}

export type Rating = "up" | "down";
export type Reason = "incorrect" | "incomplete" | "irrelevant" | "outdated" | "wrong_citation" | "unclear" | "other";

export interface Answer {
  state: "waiting" | "writing" | "over";
  text: string;
  citations: Citation[];
  /** Numbers that the answer may cite, while it is written. */
  numbers: Set<number>;
  ownKnowledge: boolean;
  message?: string | undefined;
  turn?: string | undefined;
  finish?: string | undefined;
  notice?: string | undefined;
  trouble?: Trouble | undefined;
  rating?: Rating | undefined;
}

export function emptyAnswer(): Answer {
  return { state: "waiting", text: "", citations: [], numbers: new Set(), ownKnowledge: false };
}

/** What a shown answer asks of the widget. */
export interface AnswerActs {
  retry(): void;
  rate(rating: Rating | undefined, reason?: Reason, text?: string): Promise<void>;
  cited(citation: Citation): void;
  announce(words: string): void;
}

const REASONS: [Reason, Label][] = [
  ["incorrect", "reasonIncorrect"],
  ["incomplete", "reasonIncomplete"],
  ["irrelevant", "reasonIrrelevant"],
  ["outdated", "reasonOutdated"],
  ["wrong_citation", "reasonWrongCitation"],
  ["unclear", "reasonUnclear"],
  ["other", "reasonOther"],
];
const REMARKS: Record<string, Label> = { stopped: "stopped", length: "cut" };

let views = 0;

export class AnswerView {
  readonly element: HTMLElement;
  private readonly answer: Answer;
  private readonly language: Language;
  private readonly acts: AnswerActs;
  private readonly words = make("div", { class: "words" });
  private readonly rest = make("div");
  private readonly rendering: Rendering;
  private readonly name = `answer-${++views}`;
  private readonly sources = new Map<number, { button: HTMLButtonElement; quote: HTMLElement }>();
  private markers: HTMLButtonElement[] = [];
  private shown: Answer["state"] = "waiting";

  constructor(answer: Answer, language: Language, acts: AnswerActs) {
    this.answer = answer;
    this.language = language;
    this.acts = acts;
    const heading = make("h3", { class: "unseen" }, language.say("assistant"));
    this.element = make("article", { class: "answer" }, heading, this.words, this.rest);
    this.rendering = new Rendering(this.words, (number) => this.cite(number));
    this.update();
  }

  /** Show what the answer has become; its words without marks are returned. */
  update(): string {
    const { answer } = this;
    const isOver = answer.state === "over";
    const isFresh = isOver && this.shown !== "over";
    if (isFresh) this.markers = [];
    const parts = this.rendering.show(answer.text, !isOver, isFresh);
    this.words.classList.toggle("writing", answer.state === "writing" && answer.text !== "");
    if (answer.state !== this.shown || isOver || !this.rest.hasChildNodes()) this.finish();
    this.shown = answer.state;
    return plainText(parts.map((part) => part.block));
  }

  /** A citation in the text: while it is written a number, then a button that unfolds its source. */
  private cite(number: number): Node | null {
    const label = this.language.number(number);
    const citation = this.answer.citations.find((one) => one.number === number);
    if (!citation) {
      if (this.answer.state === "over" || !this.answer.numbers.has(number)) return null;
      return make("span", { class: "cite" }, label);
    }
    const name = this.language.say("source", { number, title: this.titleOf(citation) });
    const marker = make(
      "button",
      {
        type: "button",
        class: "cite",
        "aria-label": name,
        "aria-expanded": "false",
        "aria-controls": `${this.name}-${number}`,
        "data-number": number,
        onclick: () => this.unfold(citation, true),
      },
      label,
    );
    this.markers.push(marker);
    return marker;
  }

  private finish(): void {
    const { answer } = this;
    if (answer.state === "writing" && answer.text) {
      this.rest.replaceChildren();
      return;
    }
    if (answer.state !== "over") {
      const dots = make("span", { class: "dots", "aria-hidden": "true" }, make("i"), make("i"), make("i"));
      const words = make("span", {}, this.language.say("searching"));
      this.rest.replaceChildren(make("div", { class: "searching" }, dots, words));
      return;
    }
    const remark = REMARKS[answer.finish ?? ""];
    this.rest.replaceChildren(
      ...[
        answer.ownKnowledge && this.remark(this.language.say("ownKnowledge")),
        answer.notice && this.remark(answer.notice),
        remark && this.remark(this.language.say(remark)),
        answer.trouble && this.trouble(answer.trouble),
        answer.citations.length > 0 && this.list(),
        answer.message && answer.text && !answer.trouble && this.tools(),
      ].filter((node): node is HTMLElement => node instanceof HTMLElement),
    );
  }

  private remark(text: string): HTMLElement {
    return make("p", { class: "remark", dir: "auto" }, text);
  }

  private trouble(trouble: Trouble): HTMLElement {
    const again = make(
      "button",
      { type: "button", class: "link", onclick: () => this.acts.retry() },
      this.language.say("retry"),
    );
    return make(
      "div",
      { class: "trouble" },
      icon("warning"),
      make("div", {}, make("p", {}, trouble.text), trouble.mayRetry && again),
    );
  }

  private titleOf({ title, filename }: Citation): string {
    return title || filename || this.language.say("noTitle");
  }

  private list(): HTMLElement {
    const items = this.answer.citations.map((citation) => this.source(citation));
    return make("div", { class: "sources" }, make("h3", {}, this.language.say("sources")), make("ol", {}, ...items));
  }

  private source(citation: Citation): HTMLElement {
    const { language } = this;
    const { number, page, page_to: to } = citation;
    const place =
      page === null
        ? null
        : to !== null && to !== page
          ? language.say("pages", { from: page, to })
          : language.say("page", { page });
    const id = `${this.name}-${number}`;
    const button = make(
      "button",
      { type: "button", "aria-expanded": "false", "aria-controls": id, onclick: () => this.unfold(citation, false) },
      make("span", { class: "number" }, language.number(number)),
      make("bdi", { class: "name" }, this.titleOf(citation)),
      place && make("span", { class: "place" }, place),
      icon("down"),
    );
    const words = citation.deleted || !citation.quote ? language.say("sourceGone") : citation.quote;
    const quote = make(
      "div",
      { class: "quote", id, hidden: true },
      make("blockquote", { dir: "auto", tabindex: 0 }, words),
    );
    this.sources.set(number, { button, quote });
    return make("li", { class: "source" }, button, quote);
  }

  private unfold(citation: Citation, isFromText: boolean): void {
    const source = this.sources.get(citation.number);
    if (!source) return;
    const isOpen = source.quote.hidden;
    source.quote.hidden = !isOpen;
    const marks = this.markers.filter((marker) => marker.dataset.number === String(citation.number));
    for (const button of [source.button, ...marks]) set(button, "aria-expanded", String(isOpen));
    if (!isOpen) return;
    if (isFromText) source.quote.parentElement?.scrollIntoView({ block: "nearest" });
    this.acts.cited(citation);
  }

  private tools(): HTMLElement {
    const { language } = this;
    const said = make("span", { class: "said" });
    const say = (text: string) => {
      said.textContent = text;
      this.acts.announce(text);
    };
    const why = make("div");
    const thumbs = (["up", "down"] as const).map((rating) =>
      make(
        "button",
        {
          type: "button",
          class: "tool",
          "aria-pressed": String(this.answer.rating === rating),
          "aria-label": language.say(rating === "up" ? "helpful" : "unhelpful"),
          title: language.say(rating === "up" ? "helpful" : "unhelpful"),
          onclick: () => void give(rating),
        },
        icon(rating === "up" ? "up" : "unhelpful"),
      ),
    );
    const press = () => {
      for (const [at, thumb] of thumbs.entries())
        set(thumb, "aria-pressed", String(this.answer.rating === (at ? "down" : "up")));
    };
    const send = async (rating: Rating | undefined, reason?: Reason, text?: string) => {
      const before = this.answer.rating;
      this.answer.rating = rating;
      press();
      try {
        await this.acts.rate(rating, reason, text);
        return true;
      } catch {
        this.answer.rating = before;
        press();
        say(language.say("feedbackFailed"));
        return false;
      }
    };
    const give = async (rating: Rating) => {
      const isTakenBack = this.answer.rating === rating;
      why.replaceChildren();
      said.textContent = "";
      if (!isTakenBack && rating === "down") {
        const form = this.reasons(
          async (reason, text) => {
            if (!(await send("down", reason, text))) return;
            why.replaceChildren();
            say(language.say("feedbackThanks"));
            thumbs[1]?.focus();
          },
          () => {
            why.replaceChildren();
            thumbs[1]?.focus();
          },
        );
        why.replaceChildren(form);
        form.scrollIntoView({ block: "nearest" });
        form.querySelector("button")?.focus();
      }
      if ((await send(isTakenBack ? undefined : rating)) && rating === "up" && !isTakenBack)
        say(language.say("feedbackThanks"));
    };
    const copy = make(
      "button",
      {
        type: "button",
        class: "tool",
        "aria-label": language.say("copy"),
        title: language.say("copy"),
        onclick: () => void copyAll(),
      },
      icon("copy"),
    );
    const copyAll = async () => {
      try {
        await navigator.clipboard.writeText(this.answer.text);
        copy.replaceChildren(icon("done"));
        this.acts.announce(language.say("copied"));
        setTimeout(() => copy.replaceChildren(icon("copy")), 1600);
      } catch {
        copy.hidden = true; // the page does not let it
      }
    };
    const canCopy = typeof navigator.clipboard?.writeText === "function";
    return make("div", {}, make("div", { class: "acts" }, ...thumbs, canCopy && copy, said), why);
  }

  private reasons(send: (reason: Reason, text: string) => Promise<void>, cancel: () => void): HTMLElement {
    const { language } = this;
    let chosen: Reason = "other";
    const title = `${this.name}-why`;
    const buttons = REASONS.map(([reason, label]) => {
      const choose = () => {
        chosen = reason;
        for (const button of buttons) set(button, "aria-pressed", String(button === made));
      };
      const made: HTMLButtonElement = make(
        "button",
        { type: "button", "aria-pressed": "false", onclick: choose },
        language.say(label),
      );
      return made;
    });
    const words: HTMLTextAreaElement = make("textarea", {
      rows: 2,
      maxlength: 2000,
      dir: language.direction,
      oninput: () => direct(words, language.direction),
      "aria-label": language.say("feedbackText"),
      placeholder: language.say("feedbackText"),
    });
    const submit = (event: Event) => {
      event.preventDefault();
      void send(chosen, words.value.trim());
    };
    const pressed = (event: KeyboardEvent) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      cancel();
    };
    return make(
      "form",
      { class: "why", "aria-labelledby": title, onsubmit: submit, onkeydown: pressed },
      make("h3", { id: title }, language.say("feedbackWhy")),
      make("div", { class: "reasons", role: "group", "aria-labelledby": title }, ...buttons),
      words,
      make(
        "div",
        { class: "row" },
        make("button", { type: "submit", class: "button" }, language.say("feedbackSend")),
        make("button", { type: "button", class: "button quiet", onclick: cancel }, language.say("feedbackCancel")),
      ),
    );
  }
}
