/** The widget's words. Each can be set: `DocuChat.configure({ labels })`, or `data-label-…` of the script tag. */

const ENGLISH = {
  open: "Open the chat",
  close: "Close the chat",
  title: "",
  subtitle: "Answers from our documents",
  greeting: "Hello! What would you like to know?",
  suggestions: "Suggested questions",
  placeholder: "Ask a question…",
  send: "Send",
  stop: "Stop the answer",
  newConversation: "New conversation",
  conversation: "Conversation",
  you: "You asked",
  assistant: "Answer",
  searching: "Looking through the documents…",
  sources: "Sources",
  source: "Source {number}: {title}",
  page: "Page {page}",
  pages: "Pages {from}–{to}",
  noTitle: "Document",
  sourceGone: "This document is no longer available.",
  ownKnowledge: "† From no document: the model’s own knowledge.",
  helpful: "Helpful",
  unhelpful: "Not helpful",
  copy: "Copy the answer",
  copied: "Copied",
  feedbackWhy: "What was wrong with it?",
  feedbackText: "In your own words (optional)",
  feedbackSend: "Send",
  feedbackCancel: "Not now",
  feedbackThanks: "Thank you, this helps.",
  feedbackFailed: "This could not be sent. Please try again.",
  reasonIncorrect: "It is wrong",
  reasonIncomplete: "Something is missing",
  reasonIrrelevant: "Not what I asked",
  reasonOutdated: "It is out of date",
  reasonWrongCitation: "The source does not say so",
  reasonUnclear: "Hard to understand",
  reasonOther: "Something else",
  stopped: "You stopped this answer.",
  cut: "The answer reached its greatest length. Ask on for the rest.",
  interrupted: "The answer was interrupted.",
  retry: "Try again",
  newest: "To the newest message",
  offline: "You are offline. The chat goes on as soon as you are back.",
  reconnecting: "The connection was lost. Connecting again…",
  demoLimit: "You have used all the questions of this month. There are new ones on {date}.",
  chatbotLimit: "The questions of this chat are used up for now. It answers again on {date}.",
  busy: "Many people are asking at the moment. Please try again in {seconds} seconds.",
  unavailable: "This chat is not available at the moment.",
  tooLong: "This question is too long. Please shorten it.",
  failed: "Something went wrong. Please try again.",
  full: "This conversation has become too long. Please begin a new one.",
  poweredBy: "Powered by DocuChat",
};

export type Labels = typeof ENGLISH;
export type Label = keyof Labels;

const PERSIAN: Labels = {
  open: "باز کردن گفت‌وگو",
  close: "بستن گفت‌وگو",
  title: "",
  subtitle: "پاسخ از روی سندهای ما",
  greeting: "سلام! چه کمکی از من برمی‌آید؟",
  suggestions: "پرسش‌های پیشنهادی",
  placeholder: "پرسش خود را بنویسید…",
  send: "فرستادن",
  stop: "توقف پاسخ",
  newConversation: "گفت‌وگوی تازه",
  conversation: "گفت‌وگو",
  you: "پرسش شما",
  assistant: "پاسخ",
  searching: "در حال جست‌وجو در سندها…",
  sources: "منبع‌ها",
  source: "منبع {number}: {title}",
  page: "صفحهٔ {page}",
  pages: "صفحه‌های {from} تا {to}",
  noTitle: "سند",
  sourceGone: "این سند دیگر در دسترس نیست.",
  ownKnowledge: "† از هیچ سندی نیست: دانش خود مدل.",
  helpful: "مفید بود",
  unhelpful: "مفید نبود",
  copy: "رونوشت پاسخ",
  copied: "رونوشت شد",
  feedbackWhy: "ایراد پاسخ چه بود؟",
  feedbackText: "به زبان خودتان (اختیاری)",
  feedbackSend: "فرستادن",
  feedbackCancel: "اکنون نه",
  feedbackThanks: "سپاسگزاریم، به ما کمک می‌کند.",
  feedbackFailed: "فرستاده نشد. لطفاً دوباره تلاش کنید.",
  reasonIncorrect: "نادرست است",
  reasonIncomplete: "چیزی کم دارد",
  reasonIrrelevant: "پاسخ پرسش من نیست",
  reasonOutdated: "قدیمی است",
  reasonWrongCitation: "در منبع چنین نیامده است",
  reasonUnclear: "روشن نیست",
  reasonOther: "چیز دیگر",
  stopped: "پاسخ را متوقف کردید.",
  cut: "پاسخ به بیشترین درازا رسید. برای ادامه باز هم بپرسید.",
  interrupted: "پاسخ ناتمام ماند.",
  retry: "تلاش دوباره",
  newest: "رفتن به تازه‌ترین پیام",
  offline: "به اینترنت وصل نیستید. پس از اتصال، گفت‌وگو ادامه می‌یابد.",
  reconnecting: "ارتباط قطع شد. در حال اتصال دوباره…",
  demoLimit: "پرسش‌های این ماه شما به پایان رسیده است. پرسش‌های تازه از {date}.",
  chatbotLimit: "پرسش‌های این گفت‌وگو فعلاً به پایان رسیده است. پاسخ‌گویی دوباره از {date}.",
  busy: "اکنون پرسش‌کنندگان بسیارند. لطفاً {seconds} ثانیهٔ دیگر دوباره تلاش کنید.",
  unavailable: "این گفت‌وگو اکنون در دسترس نیست.",
  tooLong: "این پرسش بیش از اندازه بلند است. لطفاً کوتاهش کنید.",
  failed: "مشکلی پیش آمد. لطفاً دوباره تلاش کنید.",
  full: "این گفت‌وگو بیش از اندازه بلند شده است. لطفاً گفت‌وگوی تازه‌ای آغاز کنید.",
  poweredBy: "با نیروی DocuChat",
};

const RIGHT_TO_LEFT = new Set(["ar", "arc", "ckb", "dv", "fa", "he", "iw", "ks", "ps", "sd", "ug", "ur", "yi"]);

/** Words, numbers and dates as a language writes them. */
export class Language {
  readonly tag: string;
  readonly direction: "ltr" | "rtl";
  /** The language of the widget's own words: of what it does not speak it says English ones. */
  readonly words: "en" | "fa";
  private readonly labels: Labels;

  constructor(tag: string, changed: Partial<Labels>) {
    const base = (tag.split(/[-_]/)[0] ?? "").toLowerCase();
    this.tag = isTag(tag) ? tag : "en";
    this.direction = RIGHT_TO_LEFT.has(base) ? "rtl" : "ltr";
    this.words = base === "fa" ? "fa" : "en";
    this.labels = { ...(this.words === "fa" ? PERSIAN : ENGLISH), ...changed };
  }

  /** A label, with its places filled in. */
  say(label: Label, places: Record<string, string | number> = {}): string {
    return this.labels[label].replace(/\{(\w+)\}/g, (whole, name: string) => {
      const value = places[name];
      return typeof value === "number" ? this.number(value) : (value ?? whole);
    });
  }

  number(value: number): string {
    return value.toLocaleString(this.tag, { useGrouping: false });
  }

  date(value: Date): string {
    const isToday = value.toDateString() === new Date().toDateString();
    const options: Intl.DateTimeFormatOptions = isToday ? { timeStyle: "short" } : { dateStyle: "long" };
    return value.toLocaleString(this.tag, options);
  }
}

/** Whether a name is one of the labels. */
export function isLabel(name: string): name is Label {
  return Object.hasOwn(ENGLISH, name);
}

/** Which of the values are words for labels. */
export function labelsOf(values: Record<string, unknown>): Partial<Labels> {
  const found: Partial<Labels> = {};
  for (const [name, value] of Object.entries(values))
    if (isLabel(name) && typeof value === "string") found[name] = value;
  return found;
}

function isTag(tag: string): boolean {
  try {
    return Intl.getCanonicalLocales(tag).length > 0;
  } catch {
    return false;
  }
}
