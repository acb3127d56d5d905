import { type Connection, call, send } from "./connection.ts";
import { DocuChatError } from "./errors.ts";
import { type AnyFrame, type Channel, type Frame, follow, type Place, type Reading } from "./following.ts";
import type { components } from "./schema.ts";
import { readEvents } from "./sse.ts";
import { randomKey } from "./waiting.ts";

type Schemas = components["schemas"];
/** A question to `POST /v1/chat`. */
export type Question = Omit<Schemas["AskBody"], "stream" | "detach">;

/** The service writes something every 15 seconds, if only a comment. */
const SILENCE_MILLISECONDS = 45_000;

/** An answer on its way: iterate it for its frames; `place` says at any time where to resume it. */
export interface AnswerStream extends AsyncIterable<Frame> {
  readonly place: Readonly<Place>;
}

/** Ask about the tenant's documents, and read the answer as it is made. */
export function ask(connection: Connection, question: Question, reading: Reading = {}): AnswerStream {
  return stream(byEvents(connection, "/v1/chat", question, reading.key), { turnId: undefined, after: 0 }, reading);
}

/** Read on in an answer that was begun elsewhere or before, behind piece `after`: no gap, no repeat. */
export function resume(connection: Connection, turnId: string, after = 0, reading: Reading = {}): AnswerStream {
  return stream(byEvents(connection, "", {}), { turnId, after }, reading);
}

/** Give the question of an answer another answer; both stay. */
export function regenerate(connection: Connection, messageId: string, reading: Reading = {}): AnswerStream {
  const path = `/v1/messages/${encodeURIComponent(messageId)}/regenerate`;
  return stream(byEvents(connection, path, {}, reading.key), { turnId: undefined, after: 0 }, reading);
}

/** End an answer that is being written; its stream then ends by itself, with `finish_reason` "stopped". */
export function stop(connection: Connection, turnId: string, signal?: AbortSignal) {
  return call(connection, "POST /v1/turns/{turn_id}/stop", { path: { turn_id: turnId }, signal });
}

/** Say what one thinks of an answer; once more changes it. */
export function giveFeedback(
  connection: Connection,
  messageId: string,
  opinion: Schemas["GiveFeedback"],
  signal?: AbortSignal,
) {
  return call(connection, "POST /v1/messages/{message_id}/feedback", {
    path: { message_id: messageId },
    body: opinion,
    signal,
  });
}

/** Take back what one thought of an answer. */
export function takeBackFeedback(connection: Connection, messageId: string, signal?: AbortSignal) {
  return call(connection, "DELETE /v1/messages/{message_id}/feedback", { path: { message_id: messageId }, signal });
}

/** The stream of what `open` brings. */
export function stream(open: Channel, place: Place, reading: Reading): AnswerStream {
  const frames = follow(open, place, reading);
  return { place, [Symbol.asyncIterator]: () => frames };
}

/** By server-sent events: the question by POST, and with a key of its own, so that it may be sent twice. */
export function byEvents(connection: Connection, path: string, question: object, key = randomKey()): Channel {
  const headers = { Accept: "text/event-stream", "Idempotency-Key": key };
  return async function* open(place, signal) {
    const silence = new AbortController();
    const either = AbortSignal.any([signal, silence.signal]);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const listen = () => {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MILLISECONDS);
    };
    listen();
    try {
      const response =
        place.turnId === undefined
          ? await send(connection, "POST", path, { body: { ...question, stream: true }, headers, signal: either })
          : await send(connection, "GET", `/v1/turns/${encodeURIComponent(place.turnId)}/events`, {
              query: { after: place.after },
              headers: { Accept: headers.Accept },
              signal: either,
            });
      for await (const event of readEvents(response, listen)) {
        yield frameOf(event.data);
      }
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof DocuChatError) throw error;
      throw new DocuChatError("connection_failed", "The connection was lost.", { details: { cause: String(error) } });
    } finally {
      clearTimeout(timer);
    }
  };
}

/** The frame in a line of JSON. */
export function frameOf(text: string): AnyFrame {
  try {
    return JSON.parse(text) as AnyFrame;
  } catch {
    throw new DocuChatError("unexpected_answer", "The service sent a frame that is not JSON.");
  }
}
