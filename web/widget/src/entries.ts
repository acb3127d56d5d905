/** What was asked and answered, as it is read from the service. */

import { type Frame, type PastChat, pastChat, type Visit } from "@docuchat/client";
import { type Answer, type AnswerView, emptyAnswer } from "./answer.ts";

export interface Entry {
  question: string;
  answer: Answer;
  view?: AnswerView;
}

const MOST_PAGES = 10;

/** What was said in a session before. */
export async function pastEntries(visited: Visit, session: string, signal: AbortSignal): Promise<Entry[]> {
  const messages: PastChat["messages"] = [];
  let cursor: string | undefined;
  for (let page = 0; page < MOST_PAGES; page += 1) {
    const chat = await pastChat(visited, session, cursor === undefined ? { signal } : { cursor, signal });
    messages.push(...(chat?.messages ?? []));
    cursor = chat?.next_cursor ?? undefined;
    if (cursor === undefined) break;
  }
  return entriesOf(messages);
}

function entriesOf(messages: PastChat["messages"]): Entry[] {
  const entries: Entry[] = [];
  for (const message of messages) {
    const last = entries.at(-1);
    if (message.role === "user") {
      entries.push({ question: message.content, answer: emptyAnswer() });
      continue;
    }
    const answer: Answer = {
      state: "over",
      text: message.content,
      citations: message.citations,
      numbers: new Set(),
      ownKnowledge: Array.isArray(message.metadata.own_knowledge) && message.metadata.own_knowledge.length > 0,
      message: message.id,
      finish: typeof message.metadata.finish_reason === "string" ? message.metadata.finish_reason : message.status,
      rating: message.feedback?.rating,
    };
    if (last && last.answer.state === "waiting") last.answer = answer;
    else entries.push({ question: "", answer });
  }
  return entries;
}

/** Note in an answer what a frame says. */
export function advance(answer: Answer, frame: Frame): void {
  switch (frame.type) {
    case "start":
      answer.message = frame.message_id;
      answer.turn = frame.turn_id;
      break;
    case "sources":
      answer.numbers = new Set(frame.sources.map((source) => source.number));
      answer.notice = frame.notice ?? undefined;
      break;
    case "delta":
      answer.state = "writing";
      answer.text += frame.token;
      break;
    case "end":
      answer.state = "over";
      answer.citations = frame.citations;
      answer.ownKnowledge = (frame.own_knowledge ?? []).length > 0;
      answer.finish = frame.finish_reason;
      answer.message = frame.message_id;
  }
}
