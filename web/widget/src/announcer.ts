/** Tells people who listen to a screen reader what is written, in whole sentences and not more often than they hear. */

const SENTENCE = /[\s\S]*?(?:[.!?؟…。:]["'”’)\]»]*(?=\s)|\n)/y;
const PAUSE_MILLISECONDS = 1200;

export class Announcer {
  private readonly region: HTMLElement;
  private told = 0;
  private waiting: string[] = [];
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(region: HTMLElement) {
    this.region = region;
  }

  /** Begin with an answer whose words up to `told` are known. */
  begin(told = 0): void {
    this.told = told;
    this.waiting = [];
  }

  /** The words of the answer so far; what is no whole sentence yet waits for its rest, unless it is `over`. */
  follow(words: string, over: boolean): void {
    let end = Math.min(this.told, words.length);
    if (over) end = words.length;
    else {
      for (;;) {
        SENTENCE.lastIndex = end;
        const found = SENTENCE.exec(words);
        if (!found) break;
        end += found[0].length;
      }
    }
    if (end > this.told) this.say(words.slice(this.told, end));
    this.told = Math.max(this.told, end);
  }

  say(words: string): void {
    const text = words.replace(/\s+/g, " ").trim();
    if (!text) return;
    this.waiting.push(text);
    this.timer ??= setTimeout(() => this.flush(), this.waiting.length > 1 ? PAUSE_MILLISECONDS : 60);
  }

  stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.waiting = [];
  }

  private flush(): void {
    this.timer = undefined;
    if (!this.waiting.length) return;
    const line = document.createElement("p");
    line.textContent = this.waiting.join(" ");
    this.waiting = [];
    this.region.append(line);
    while (this.region.childElementCount > 3) this.region.firstElementChild?.remove();
    this.timer = setTimeout(() => this.flush(), PAUSE_MILLISECONDS);
  }
}
