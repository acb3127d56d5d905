/** What went wrong, for the visitor in words that say what to do, for the page's developer in the console. */

import { DocuChatError } from "@docuchat/client";
import type { Language } from "./labels.ts";

export interface Trouble {
  code: string;
  text: string;
  /** Whether the same question may be sent again. */
  mayRetry: boolean;
  /** Whether the way to the service failed, so that the network's return is worth another try. */
  isOfNetwork: boolean;
}

const MINUTE = 60;

export function troubleOf(error: DocuChatError, language: Language): Trouble {
  const { code, status, retryAfter, details } = error;
  const busy = { text: language.say("busy", { seconds: Math.max(1, Math.ceil(retryAfter ?? 5)) }), mayRetry: true };
  const known = (): { text: string; mayRetry: boolean } => {
    switch (code) {
      case "demo_limit_reached":
      case "quota_exceeded": {
        // a limit that gives way in a moment: others' questions are being answered
        if (retryAfter !== undefined && retryAfter <= MINUTE) return busy;
        const isOwn = details.layer === "visitor" || details.layer === "address";
        const resets = typeof details.resets_at === "string" ? new Date(details.resets_at) : inSeconds(retryAfter);
        return {
          text: language.say(isOwn ? "demoLimit" : "chatbotLimit", { date: language.date(resets) }),
          mayRetry: false,
        };
      }
      case "chatbot_not_found":
      case "chatbot_not_published":
      case "origin_not_allowed":
        return { text: language.say("unavailable"), mayRetry: false };
      case "message_too_long":
        return { text: language.say("tooLong"), mayRetry: false };
      case "chat_full":
        return { text: language.say("full"), mayRetry: false };
      case "connection_failed":
        return { text: language.say(navigator.onLine ? "reconnecting" : "offline"), mayRetry: true };
      default:
        return status === 429 || status === 503 ? busy : { text: language.say("failed"), mayRetry: true };
    }
  };
  return { code, ...known(), isOfNetwork: code === "connection_failed" };
}

/** An answer that ended before its time, as the conversation keeps it. */
export function interruption(language: Language): Trouble {
  return { code: "interrupted", text: language.say("interrupted"), mayRetry: true, isOfNetwork: false };
}

/** What the page's developer is told. */
export function hint(error: DocuChatError, chatbot: string): string {
  switch (error.code) {
    case "origin_not_allowed":
      return `${location.origin} is none of the origins of chatbot ${chatbot}. Add it: docuchat chatbots edit NAME --origin ${location.origin}`;
    case "chatbot_not_published":
      return `Chatbot ${chatbot} is not published: docuchat chatbots publish NAME`;
    case "chatbot_not_found":
      return `There is no chatbot ${chatbot}: data-chatbot takes its publishable id (pub_…), which the snippet has.`;
    default:
      return `${error.message} (${error.code})`;
  }
}

function inSeconds(seconds = 0): Date {
  return new Date(Date.now() + seconds * 1000);
}

export function asError(error: unknown): DocuChatError {
  return error instanceof DocuChatError ? error : new DocuChatError("unexpected_answer", String(error));
}
