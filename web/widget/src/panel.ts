/** The launcher and the panel: what stands around a conversation. */

import { direct, icon, make, set } from "./dom.ts";
import type { Language } from "./labels.ts";

export interface PanelActs {
  toggle(): void;
  close(): void;
  fresh(): void;
  ask(text: string): boolean;
  stop(): void;
}

const MOST_CHARACTERS = 4000;
const PHONE = "(max-width: 480px)";
const NEAR_THE_END = 60;
const TALLEST_PIXELS = 140;

export class Panel {
  readonly root: HTMLElement;
  readonly log: HTMLElement;
  readonly live: HTMLElement;
  readonly input: HTMLTextAreaElement;
  readonly side: "left" | "right";
  private readonly dialog: HTMLElement;
  private readonly launcher: HTMLButtonElement;
  private readonly state: HTMLElement;
  private readonly newest: HTMLButtonElement;
  private readonly go: HTMLButtonElement;
  private readonly freshButton: HTMLButtonElement;
  private readonly language: Language;
  private readonly acts: PanelActs;
  private readonly phone = window.matchMedia(PHONE);
  private readonly ends = new AbortController();
  private isAnswering = false;
  private isAtEnd = true;

  constructor(name: string, id: string, language: Language, side: "left" | "right", acts: PanelActs) {
    this.side = side;
    this.language = language;
    this.acts = acts;
    const say = language.say.bind(language);
    const tool = (label: string, drawn: SVGSVGElement, act: () => void) =>
      make("button", { type: "button", class: "tool", "aria-label": label, title: label, onclick: act }, drawn);
    this.freshButton = tool(say("newConversation"), icon("fresh"), () => acts.fresh());
    const title = `${id}-title`;
    const head = make(
      "header",
      { class: "head" },
      make("span", { class: "mark", "aria-hidden": "true" }, icon("chat")),
      make(
        "div",
        { class: "names" },
        make("h2", { id: title, dir: "auto" }, say("title") || name),
        say("subtitle") !== "" && make("p", { dir: "auto" }, say("subtitle")),
      ),
      this.freshButton,
      tool(say("close"), icon("close"), () => acts.close()),
    );
    this.log = make("div", {
      class: "log",
      role: "log",
      "aria-live": "off",
      "aria-label": say("conversation"),
      tabindex: 0,
      onscroll: () => this.scrolled(),
    });
    this.newest = make(
      "button",
      {
        type: "button",
        class: "newest",
        "aria-label": say("newest"),
        title: say("newest"),
        hidden: true,
        onclick: () => this.toEnd(true),
      },
      icon("down"),
    );
    this.state = make("p", { class: "state", role: "status", hidden: true });
    this.live = make("div", { class: "unseen", role: "status", "aria-live": "polite", "aria-atomic": "false" });
    this.input = make("textarea", {
      rows: 1,
      maxlength: MOST_CHARACTERS,
      enterkeyhint: "send",
      placeholder: say("placeholder"),
      "aria-label": say("placeholder"),
      oninput: () => this.typed(),
      onkeydown: (event: KeyboardEvent) => this.pressed(event),
    });
    this.go = make(
      "button",
      { type: "submit", class: "go", "aria-label": say("send"), title: say("send") },
      icon("send"),
    );
    const form = make(
      "form",
      {
        class: "foot",
        onsubmit: (event: Event) => {
          event.preventDefault();
          this.submit();
        },
      },
      make("div", { class: "box" }, this.input, this.go),
      say("poweredBy") !== "" && make("p", { class: "powered" }, say("poweredBy")),
    );
    this.dialog = make(
      "section",
      {
        class: "panel",
        id: `${id}-panel`,
        role: "dialog",
        "aria-labelledby": title,
        hidden: true,
        onkeydown: (event: KeyboardEvent) => this.keyed(event),
      },
      head,
      make("div", { class: "middle" }, this.log, this.newest),
      this.state,
      form,
      this.live,
    );
    this.launcher = make(
      "button",
      {
        type: "button",
        class: "launcher",
        "aria-label": say("open"),
        "aria-expanded": "false",
        "aria-controls": `${id}-panel`,
        "aria-haspopup": "dialog",
        onclick: () => acts.toggle(),
      },
      icon("chat"),
      icon("down"),
    );
    // a landmark of its own, so that it is found from anywhere on the page
    const region = make("div", { role: "region", "aria-label": say("title") || name }, this.dialog, this.launcher);
    this.root = make("div", { class: `root ${side}`, dir: language.direction, lang: language.words }, region);
    const { signal } = this.ends;
    this.phone.addEventListener("change", () => this.fit(), { signal });
    window.visualViewport?.addEventListener("resize", () => this.fit(), { signal });
    this.typed();
  }

  get isOpen(): boolean {
    return !this.dialog.hidden;
  }

  get isPhone(): boolean {
    return this.phone.matches;
  }

  get isOffered(): boolean {
    return !this.launcher.hidden;
  }

  show(isOpen: boolean, takesFocus: boolean): void {
    this.dialog.hidden = !isOpen;
    this.root.classList.toggle("opened", isOpen);
    set(this.launcher, "aria-expanded", String(isOpen));
    set(this.launcher, "aria-label", this.language.say(isOpen ? "close" : "open"));
    this.fit();
    if (isOpen) this.toEnd(true);
    if (takesFocus) (isOpen ? this.input : this.launcher).focus({ preventScroll: true });
  }

  /** Whether there is anything to begin with: of what is not published nothing is shown. */
  offer(isOffered: boolean): void {
    this.launcher.hidden = !isOffered;
  }

  /** Colours, and whether they are those of the night. */
  paint(colours: Record<string, string>, isDark: boolean): void {
    for (const [name, value] of Object.entries(colours)) this.root.style.setProperty(`--${name}`, value);
    this.root.classList.toggle("dark", isDark);
    this.root.classList.toggle("light", !isDark);
  }

  answering(isAnswering: boolean): void {
    this.isAnswering = isAnswering;
    this.log.setAttribute("aria-busy", String(isAnswering));
    const label = this.language.say(isAnswering ? "stop" : "send");
    set(this.go, "aria-label", label);
    set(this.go, "title", label);
    this.go.replaceChildren(icon(isAnswering ? "stop" : "send"));
    this.typed();
  }

  mayBeginAnew(may: boolean): void {
    this.freshButton.disabled = !may;
  }

  /** A line about the connection; null takes it away. */
  tell(text: string | null): void {
    this.state.hidden = text === null;
    this.state.textContent = text ?? "";
  }

  /** Show the end of the conversation, where the reader was there or asked to be. */
  toEnd(isAsked: boolean): void {
    if (isAsked) this.isAtEnd = true;
    if (this.isAtEnd) this.log.scrollTop = this.log.scrollHeight;
    this.scrolled();
  }

  destroy(): void {
    this.ends.abort();
    this.root.remove();
  }

  private scrolled(): void {
    const { scrollTop, scrollHeight, clientHeight } = this.log;
    this.isAtEnd = scrollHeight - scrollTop - clientHeight < NEAR_THE_END;
    this.newest.hidden = this.isAtEnd;
  }

  private fit(): void {
    const isWhole = this.isOpen && this.phone.matches;
    set(this.dialog, "aria-modal", isWhole && "true");
    const seen = window.visualViewport;
    // above the keyboard of a phone
    if (isWhole && seen) this.root.style.setProperty("--seen", `${Math.round(seen.height)}px`);
    else this.root.style.removeProperty("--seen");
    if (this.isOpen) this.toEnd(false);
  }

  private typed(): void {
    const { input } = this;
    direct(input, this.language.direction);
    input.style.removeProperty("height");
    const height = input.value ? input.scrollHeight : 0;
    if (height) input.style.height = `${Math.min(height, TALLEST_PIXELS)}px`;
    input.style.overflowY = height > TALLEST_PIXELS ? "auto" : "hidden";
    set(this.go, "aria-disabled", !this.isAnswering && !this.input.value.trim() && "true");
  }

  private submit(): void {
    if (this.isAnswering) this.acts.stop();
    else this.send();
  }

  private send(): void {
    const text = this.input.value.trim();
    if (!text || !this.acts.ask(text)) return;
    this.input.value = "";
    this.typed();
  }

  private pressed(event: KeyboardEvent): void {
    // Enter that chooses a word of an input method sends nothing
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    if (!this.isAnswering) this.send();
  }

  private keyed(event: KeyboardEvent): void {
    // shortcuts of the page are not for what is typed here
    event.stopPropagation();
    if (event.key === "Escape" && !event.isComposing) {
      event.preventDefault();
      this.acts.close();
    } else if (event.key === "Tab" && this.phone.matches) this.goRound(event);
  }

  /** On a phone the panel covers the page: the focus stays in it. */
  private goRound(event: KeyboardEvent): void {
    const all = [...this.dialog.querySelectorAll<HTMLElement>("button, textarea, [tabindex='0']")].filter(
      (one) => one.getClientRects().length > 0 && !(one instanceof HTMLButtonElement && one.disabled),
    );
    const [first, last] = [all[0], all.at(-1)];
    const now = (this.root.getRootNode() as ShadowRoot).activeElement;
    if (event.shiftKey ? now === first : now === last) {
      event.preventDefault();
      (event.shiftKey ? last : first)?.focus();
    }
  }
}
