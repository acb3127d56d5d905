import { DocuChatError } from "./errors.ts";

/** One server-sent event. */
export interface ServerSentEvent {
  event: string;
  data: string;
  id: string | undefined;
}

/**
 * The events of a `text/event-stream` body; one that was cut off by its end is dropped.
 *
 * `onBytes` is called whenever anything comes, comments that only keep the connection open among it.
 */
export async function* readEvents(response: Response, onBytes?: () => void): AsyncGenerator<ServerSentEvent> {
  const type = response.headers.get("content-type") ?? "";
  if (!response.body || !type.startsWith("text/event-stream")) {
    throw new DocuChatError("unexpected_answer", "What answered does not speak this protocol; is the address right?", {
      status: response.status,
    });
  }
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let pending = "";
  let [event, data, id] = ["message", [] as string[], undefined as string | undefined];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      onBytes?.();
      const lines = (pending + decoder.decode(value, { stream: true })).split("\n");
      pending = lines.pop() ?? "";
      for (const ended of lines) {
        const line = ended.endsWith("\r") ? ended.slice(0, -1) : ended;
        if (line === "") {
          if (data.length > 0) yield { event, data: data.join("\n"), id };
          [event, data, id] = ["message", [], undefined];
          continue;
        }
        const colon = line.indexOf(":");
        const name = colon < 0 ? line : line.slice(0, colon);
        const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
        if (name === "event") event = value;
        else if (name === "data") data.push(value);
        else if (name === "id") id = value;
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
