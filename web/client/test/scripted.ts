/** A server that answers by a script, and keeps what it was asked. */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { TestContext } from "node:test";

export interface Asked {
  method: string;
  url: string;
  headers: IncomingMessage["headers"];
  body: Record<string, unknown>;
  /** Whether the client went before the answer was whole. */
  left: Promise<void>;
}

export type Step = (asked: Asked, response: ServerResponse) => void | Promise<void>;

/** Each request takes the next step; `asked` fills with the requests. */
export async function serve(t: TestContext, ...steps: Step[]): Promise<{ address: string; asked: Asked[] }> {
  const asked: Asked[] = [];
  const server = createServer(async (request, response) => {
    let text = "";
    for await (const chunk of request) text += chunk;
    const left = new Promise<void>((resolve) => response.on("close", () => resolve()));
    const { method = "", url = "", headers } = request;
    const one = { method, url, headers, body: text === "" ? {} : JSON.parse(text), left };
    asked.push(one);
    const step = steps[asked.length - 1];
    if (step) await step(one, response);
    else response.writeHead(500).end("the script is over");
  });
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { address: await listening(server), asked };
}

export function json(status: number, body: unknown, headers: Record<string, string> = {}): Step {
  return (_, response) => {
    response.writeHead(status, { "Content-Type": "application/json", ...headers }).end(JSON.stringify(body));
  };
}

export function problem(status: number, code: string, more: object = {}, headers: Record<string, string> = {}): Step {
  return json(status, { title: "No", status, code, detail: `It is ${code}.`, ...more }, headers);
}

/** Sends frames and ends the body, or with `cut` the connection. */
export function frames(sent: object[], { cut = false } = {}): Step {
  return async (_, response) => {
    response.writeHead(200, { "Content-Type": "text/event-stream; charset=utf-8" });
    const bytes = Buffer.from(`: ping\n\n${sent.map(eventOf).join("")}`);
    // in pieces of any length, so that characters and lines are split
    for (let i = 0; i < bytes.length; i += 7) {
      response.write(bytes.subarray(i, i + 7));
      await new Promise((resolve) => setImmediate(resolve));
    }
    if (cut) response.destroy();
    else response.end();
  };
}

function eventOf(frame: object): string {
  const { type, seq } = frame as { type: string; seq?: number };
  return `event: ${type}\n${seq === undefined ? "" : `id: ${seq}\n`}data: ${JSON.stringify(frame)}\n\n`;
}

const TURN = "018f0000-0000-7000-8000-000000000001";
export const turn = {
  id: TURN,
  start: { type: "start", turn_id: TURN, chat_id: "c", session_id: "s", message_id: "m", model: "x" },
  sources: { type: "sources", turn_id: TURN, sources: [] },
  delta: (seq: number, token: string) => ({ type: "delta", turn_id: TURN, seq, token }),
  end: (seq: number) => ({ type: "end", turn_id: TURN, seq, message_id: "m", finish_reason: "stop", citations: [] }),
};

/** A WebSocket server: `script` gets each message of connection number `n`, from 0, and says what to send or to close. */
export async function serveSocket(
  t: TestContext,
  script: (message: Record<string, string>, n: number, send: (frame: object) => void, cut: () => void) => void,
): Promise<{ address: string; protocols: string[] }> {
  const protocols: string[] = [];
  const sockets: Socket[] = [];
  const server = createServer();
  server.on("upgrade", (request, socket: Socket) => {
    const n = sockets.push(socket) - 1;
    const key = `${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
    protocols.push(request.headers["sec-websocket-protocol"] ?? "");
    const accept = createHash("sha1").update(key).digest("base64");
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n` +
        "Sec-WebSocket-Protocol: docuchat\r\n\r\n",
    );
    socket.on("error", () => undefined);
    socket.on("data", (bytes) => {
      for (const text of textsOf(bytes)) {
        script(
          JSON.parse(text),
          n,
          (frame) => socket.write(framed(JSON.stringify(frame))),
          () => socket.destroy(),
        );
      }
    });
  });
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { address: await listening(server), protocols };
}

function framed(text: string): Buffer {
  const payload = Buffer.from(text);
  const head = payload.length < 126 ? [0x81, payload.length] : [0x81, 126, payload.length >> 8, payload.length & 255];
  return Buffer.concat([Buffer.from(head), payload]);
}

/** The texts of whole, masked frames, which is how short ones of a client come. */
function* textsOf(bytes: Buffer): Generator<string> {
  for (let at = 0; at < bytes.length; ) {
    let length = bytes.readUInt8(at + 1) & 127;
    const isText = (bytes.readUInt8(at) & 15) === 1;
    at += 2;
    if (length === 126) {
      length = bytes.readUInt16BE(at);
      at += 2;
    }
    const mask = bytes.subarray(at, at + 4);
    const payload = bytes.subarray(at + 4, at + 4 + length).map((byte, i) => byte ^ (mask[i % 4] ?? 0));
    if (isText) yield Buffer.from(payload).toString();
    at += 4 + length;
  }
}

async function listening(server: ReturnType<typeof createServer>): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
