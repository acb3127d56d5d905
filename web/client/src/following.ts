import { DocuChatError, errorOfFrame } from "./errors.ts";
import type { components } from "./schema.ts";
import { backoff, pause } from "./waiting.ts";

type Schemas = components["schemas"];
export type StartFrame = Schemas["StartFrame"];
export type SourcesFrame = Schemas["SourcesFrame"];
export type DeltaFrame = Schemas["DeltaFrame"];
export type EndFrame = Schemas["EndFrame"];
/** What comes of an answer. A frame `error` is not among it: it is thrown. */
export type Frame = StartFrame | SourcesFrame | DeltaFrame | EndFrame;
/** What comes over a connection. */
export type AnyFrame = Frame | Schemas["ErrorFrame"];

/** Where a reader of an answer is. */
export interface Place {
  turnId: string | undefined;
  /** Number of the last piece that was read; 0 before the first. */
  after: number;
  /** Whether a question went out that cannot be sent again, since nobody could tell that it is the same. */
  asked?: boolean;
}

/** Opens one connection on which an answer comes, from a place on. */
export type Channel = (place: Place, signal: AbortSignal) => AsyncIterable<AnyFrame>;

/** How an answer is read. */
export interface Reading {
  /** Ends the reading with its reason; the answer itself goes on, and can be resumed or stopped. */
  signal?: AbortSignal | undefined;
  /** Is told when the connection was lost and in how many milliseconds it is opened again. */
  onRetry?: (error: DocuChatError, milliseconds: number) => void;
  /** How many connections may fail one after the other. */
  attempts?: number;
  /** The question's Idempotency-Key: sent again under it, from a page loaded anew as well, it is answered once. */
  key?: string;
}

const LONGEST_WAIT_SECONDS = 10;
/** The same question, by its key, is being answered: there will be a turn of it to read on in. */
const IN_PROGRESS = "request_in_progress";

/**
 * The frames of one answer, over as many connections as it takes: each piece once and in order, `end` last.
 *
 * Fails with a DocuChatError when the answer ended badly, was refused, or the service stays away; `place` then says
 * where to resume it.
 */
export async function* follow(open: Channel, place: Place, reading: Reading = {}): AsyncGenerator<Frame> {
  const { signal, onRetry, attempts = 8 } = reading;
  const shown = new Set<string>();
  let failures = 0;
  for (;;) {
    const from = place.after;
    const inner = new AbortController();
    const abort = () => inner.abort(signal?.reason);
    signal?.addEventListener("abort", abort);
    try {
      signal?.throwIfAborted();
      for await (const frame of open(place, inner.signal)) {
        if (!isNew(frame, place, shown)) continue;
        yield frame;
        if (frame.type === "end") return;
      }
      throw new DocuChatError("connection_failed", "The connection ended before the answer did.");
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof DocuChatError)) throw error;
      failures = place.after > from ? 1 : failures + 1;
      if (failures >= attempts || !mayGoOn(error, place)) throw error;
      const isBegun = error.code === IN_PROGRESS;
      // of a frame it is the turn that never began
      if (isBegun && error.status && typeof error.details.turn_id === "string") place.turnId = error.details.turn_id;
      const wait = error.retryAfter === undefined || isBegun ? backoff(failures) : error.retryAfter * 1000;
      if (!isBegun) onRetry?.(error, wait);
      await pause(wait, signal);
    } finally {
      signal?.removeEventListener("abort", abort);
      inner.abort();
    }
  }
}

/** Note what a frame says, and tell whether it was not seen before. Fails with what a frame `error` tells. */
function isNew(frame: AnyFrame, place: Place, shown: Set<string>): frame is Frame {
  if (frame.type === "error") throw errorOfFrame(frame);
  if (frame.type === "start" || frame.type === "sources") {
    place.turnId = frame.turn_id;
    const isFirst = !shown.has(frame.type);
    shown.add(frame.type);
    return isFirst;
  }
  if (frame.type === "delta") {
    if (frame.seq <= place.after) return false;
    if (frame.seq > place.after + 1) throw new DocuChatError("connection_failed", "A piece of the answer is missing.");
    place.after = frame.seq;
    return true;
  }
  return frame.type === "end";
}

function mayGoOn(error: DocuChatError, place: Place): boolean {
  if (error.code === IN_PROGRESS && place.turnId === undefined) return true;
  // with a number the frame `error` is the answer's own end
  if (error.details.seq !== undefined || (error.retryAfter ?? 0) > LONGEST_WAIT_SECONDS) return false;
  const isOfConnection = error.status === undefined && !error.isOfToken;
  if (place.turnId === undefined) return error.isPassing && !(place.asked && error.code === "connection_failed");
  return error.isPassing || (isOfConnection && error.code !== "turn_not_found");
}
