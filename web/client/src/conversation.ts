import { type AnswerStream, frameOf, type Question, stream } from "./answers.ts";
import type { Connection } from "./connection.ts";
import { DocuChatError } from "./errors.ts";
import type { AnyFrame, Channel, Reading } from "./following.ts";
import { randomKey, unlessAborted } from "./waiting.ts";

/** Questions and answers over one WebSocket, which is opened when it is needed and again when it was lost. */
export interface Conversation {
  /** Ask; several answers may come at once. */
  ask(question: Question, reading?: Reading): AnswerStream;
  /** Read on in an answer, behind piece `after`. */
  resume(turnId: string, after?: number, reading?: Reading): AnswerStream;
  /** End an answer that is being written; its stream then ends by itself. */
  stop(turnId: string): Promise<void>;
  /** Close the socket; a question after it opens another. */
  close(): void;
}

const SUBPROTOCOL = "docuchat";
const REFUSED: Record<number, string> = { 1008: "unauthenticated", 4401: "unauthenticated", 4403: "not_allowed" };

/** One reader of the socket: frames with its name are its own. */
interface Reader {
  take(frame: AnyFrame): void;
  lose(error: DocuChatError): void;
}

/** A conversation over the WebSocket of the server; takes an access token, not a key. */
export function openConversation(connection: Connection): Conversation {
  const readers = new Map<string, Reader>();
  let opening: Promise<WebSocket> | undefined;

  async function connected(): Promise<WebSocket> {
    const who = await connection.headers();
    const token = (who.Authorization ?? "").replace(/^Bearer /, "");
    const tenant = who["X-Tenant-ID"];
    const query = tenant === undefined ? "" : `?tenant=${encodeURIComponent(tenant)}`;
    const address = `${connection.server.replace(/^http/, "ws")}/ws/chat${query}`;
    const socket = new WebSocket(address, token === "" ? [SUBPROTOCOL] : [SUBPROTOCOL, token]);
    return new Promise((resolve, reject) => {
      socket.onopen = () => resolve(socket);
      socket.onmessage = ({ data }) => {
        const frame = frameOf(String(data));
        // what has no name is of the whole connection
        const named = frame.id == null ? [...readers.values()] : [readers.get(frame.id)];
        for (const reader of named) reader?.take(frame);
      };
      socket.onclose = ({ code, reason }) => {
        opening = undefined;
        const refusal = REFUSED[code];
        const error = refusal
          ? new DocuChatError(reason || refusal, "The service does not let this token in.")
          : new DocuChatError("connection_failed", "The connection was lost.");
        const lost = async () => {
          if (refusal && error.isOfToken) await connection.renew(who).catch(() => false);
          reject(error);
          for (const reader of readers.values()) reader.lose(error);
        };
        void lost();
      };
    });
  }

  function socketOf(): Promise<WebSocket> {
    opening ??= connected().catch((error: unknown) => {
      opening = undefined;
      throw error;
    });
    return opening;
  }

  function channel(question: object): Channel {
    return async function* open(place, signal) {
      const socket = await unlessAborted(socketOf(), signal);
      const id = randomKey();
      const arrived: (AnyFrame | DocuChatError)[] = [];
      let wake = () => {};
      const put = (item: AnyFrame | DocuChatError) => {
        arrived.push(item);
        wake();
      };
      readers.set(id, { take: put, lose: put });
      signal.addEventListener("abort", () => wake());
      try {
        const said = place.turnId === undefined ? question : { resume: place.turnId, after: place.after };
        place.asked = true;
        socket.send(JSON.stringify({ id, ...said }));
        for (;;) {
          const item = arrived.shift();
          if (item instanceof DocuChatError) throw item;
          if (item !== undefined) yield item;
          else {
            signal.throwIfAborted();
            await new Promise<void>((resolve) => {
              wake = resolve;
            });
          }
        }
      } finally {
        readers.delete(id);
      }
    };
  }

  return {
    ask: (question, reading = {}) => stream(channel(question), { turnId: undefined, after: 0 }, reading),
    resume: (turnId, after = 0, reading = {}) => stream(channel({}), { turnId, after }, reading),
    stop: async (turnId) => (await socketOf()).send(JSON.stringify({ stop: turnId })),
    close() {
      opening?.then((socket) => socket.close()).catch(() => undefined);
    },
  };
}
