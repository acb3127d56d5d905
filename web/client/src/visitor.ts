import { type AnswerStream, byEvents, stream } from "./answers.ts";
import { bearer, type Connection, call, connect } from "./connection.ts";
import { DocuChatError } from "./errors.ts";
import type { Reading } from "./following.ts";
import type { components } from "./schema.ts";
import { unlessAborted } from "./waiting.ts";

type Schemas = components["schemas"];
export type ShownChatbot = Schemas["ShownChatbot"];
export type PastChat = Schemas["ChatWithMessages"];

const RENEW_BEFORE_SECONDS = 60;

/** A visitor of a page who asks a chatbot. It is a connection as any: `resume`, `stop` and `giveFeedback` take it. */
export interface Visit extends Connection {
  readonly chatbot: string;
}

/** Where a visitor's token is kept. */
export interface Visiting {
  /** The token of before, from wherever `onToken` put it: with it the visitor stays the same, also when it has ended. */
  token?: string | undefined;
  /** Is given each new token. */
  onToken?: (token: string) => void;
}

/**
 * A visit of the chatbot with this publishable id.
 *
 * Its token is had when it is needed first, and another one before it ends. It is good on pages of this page's origin
 * only; which ones may show the chatbot is said by its `origins`.
 */
export function visit(address: string, chatbot: string, { token, onToken }: Visiting = {}): Visit {
  const nobody = connect(address);
  let held = token;
  let endsAt = token === undefined ? 0 : endOf(token);
  let minting: Promise<string> | undefined;

  async function mint(): Promise<string> {
    const minted = await call(nobody, "POST /v1/public/chatbots/{publishable_id}/visitors", {
      path: { publishable_id: chatbot },
      body: held === undefined ? {} : { visitor_token: held },
      signal: AbortSignal.timeout(20_000),
    }).catch((error: unknown) => {
      if (error instanceof DocuChatError) throw error;
      throw new DocuChatError("connection_failed", `${nobody.server} does not answer.`);
    });
    held = minted.visitor_token;
    endsAt = Date.now() / 1000 + (minted.expires_in ?? 900);
    onToken?.(held);
    return held;
  }

  function renewed(signal?: AbortSignal): Promise<string> {
    // one for all who wait for it
    minting ??= mint().finally(() => {
      minting = undefined;
    });
    return unlessAborted(minting, signal);
  }

  return {
    chatbot,
    server: nobody.server,
    async headers(signal) {
      const isGood = held !== undefined && endsAt - RENEW_BEFORE_SECONDS > Date.now() / 1000;
      return bearer(isGood && held !== undefined ? held : await renewed(signal));
    },
    async renew(refused, signal) {
      if (held !== undefined && bearer(held).Authorization !== refused.Authorization) return true;
      await renewed(signal);
      return true;
    },
  };
}

/** What a page shows of a chatbot: name, greeting, suggested questions, language, colours. */
export function showChatbot(address: string, chatbot: string, signal?: AbortSignal): Promise<ShownChatbot> {
  return call(connect(address), "GET /v1/public/chatbots/{publishable_id}", {
    path: { publishable_id: chatbot },
    signal,
  });
}

/** Ask the chatbot as its visitor; questions of one `sessionId`, a name of the page's choice, share a chat. */
export function askAsVisitor(visited: Visit, question: string, sessionId: string, reading: Reading = {}): AnswerStream {
  const path = `/v1/public/chatbots/${encodeURIComponent(visited.chatbot)}/query`;
  const body: Schemas["ChatbotQuestion"] = { question, session_id: sessionId };
  return stream(byEvents(visited, path, body, reading.key), { turnId: undefined, after: 0 }, reading);
}

/** What was said in a session of the visitor's, the newest page of it; undefined when nothing was asked in it. */
export async function pastChat(
  visited: Visit,
  sessionId: string,
  options: { cursor?: string; limit?: number; signal?: AbortSignal } = {},
): Promise<PastChat | undefined> {
  const { signal, ...query } = options;
  try {
    const path = { session_id: sessionId };
    return await call(visited, "GET /v1/public/chats/{session_id}", { path, query, signal });
  } catch (error) {
    if (error instanceof DocuChatError && error.code === "chat_not_found") return undefined;
    throw error;
  }
}

/** When a token ends, in seconds since 1970; 0 when it does not say. */
function endOf(token: string): number {
  try {
    const payload = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    const { exp } = JSON.parse(atob(payload)) as { exp?: unknown };
    return typeof exp === "number" ? exp : 0;
  } catch {
    return 0;
  }
}
