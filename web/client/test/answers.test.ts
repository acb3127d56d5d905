import assert from "node:assert/strict";
import { test } from "node:test";
import { ask, connect, DocuChatError, type Frame, resume } from "../src/index.ts";
import { frames, problem, serve, turn } from "./scripted.ts";

async function all(answer: AsyncIterable<Frame>): Promise<Frame[]> {
  const read: Frame[] = [];
  for await (const frame of answer) read.push(frame);
  return read;
}

const whole = [turn.start, turn.sources, turn.delta(1, "سلام "), turn.delta(2, "دنیا"), turn.end(3)];

async function refusal(answer: AsyncIterable<Frame>): Promise<DocuChatError> {
  const error = await all(answer).then(
    () => assert.fail("it was answered"),
    (error: unknown) => error,
  );
  assert(error instanceof DocuChatError);
  return error;
}

test("an answer comes frame by frame, whatever pieces its bytes come in", async (t) => {
  const { address, asked } = await serve(t, frames(whole));
  const answer = ask(connect(`${address}/`, { token: "t" }), { message: "Hello?" });
  assert.deepEqual(await all(answer), whole);
  assert.deepEqual(answer.place, { turnId: turn.id, after: 2 });
  assert.equal(asked[0]?.headers.authorization, "Bearer t");
  assert.deepEqual(asked[0]?.body, { message: "Hello?", stream: true });
});

test("a lost connection is opened again behind the last piece: no gap, no repeat, and asked once", async (t) => {
  const { address, asked } = await serve(
    t,
    frames(whole.slice(0, 3), { cut: true }),
    problem(503, "upstream_unavailable", {}, { "Retry-After": "0" }),
    frames([turn.start, turn.sources, turn.delta(1, "سلام "), turn.delta(2, "دنیا")]),
    frames([turn.end(3)]),
  );
  const retries: string[] = [];
  const onRetry = (error: DocuChatError) => retries.push(error.code);
  assert.deepEqual(await all(ask(connect(address), { message: "Hello?" }, { onRetry })), whole);
  const resumed = `GET /v1/turns/${turn.id}/events?after=`;
  assert.deepEqual(
    asked.map(({ method, url }) => `${method} ${url}`),
    ["POST /v1/chat", `${resumed}1`, `${resumed}1`, `${resumed}2`],
  );
  assert.deepEqual(retries, ["connection_failed", "upstream_unavailable", "connection_failed"]);
});

test("before its first frame a question is sent again under the same key", async (t) => {
  const { address, asked } = await serve(t, frames([], { cut: true }), frames(whole));
  assert.deepEqual(await all(ask(connect(address), { message: "Hello?" })), whole);
  const keys = asked.map(({ headers }) => headers["idempotency-key"]);
  assert.equal(keys.length, 2);
  assert.equal(keys[0], keys[1]);
  assert.match(keys[0] as string, /^[0-9a-f]{32}$/);
});

test("a question that is being answered already, by its key, is followed", async (t) => {
  const { address, asked } = await serve(
    t,
    problem(409, "request_in_progress"),
    problem(409, "request_in_progress", { turn_id: turn.id }),
    frames(whole),
  );
  assert.deepEqual(await all(ask(connect(address), { message: "Hello?" }, { key: "known" })), whole);
  assert.deepEqual(
    asked.slice(0, 2).map(({ headers }) => headers["idempotency-key"]),
    ["known", "known"],
  );
  assert.equal(asked[2]?.url, `/v1/turns/${turn.id}/events?after=0`);
});

test("a piece that is missing is fetched", async (t) => {
  const { address, asked } = await serve(
    t,
    frames([turn.start, turn.sources, turn.delta(2, "دنیا")]),
    frames(whole.slice(2)),
  );
  assert.deepEqual(await all(ask(connect(address), { message: "Hello?" })), whole);
  assert.equal(asked[1]?.url, `/v1/turns/${turn.id}/events?after=0`);
});

test("a limit that is used up is told with all that is known of it, and not asked about again", async (t) => {
  const limit = problem(
    429,
    "demo_limit_reached",
    { layer: "visitor", resets_at: "2026-12-01" },
    { "Retry-After": "9" },
  );
  const { address, asked } = await serve(t, limit);
  const error = await refusal(ask(connect(address), { message: "Hello?" }));
  assert.deepEqual(
    [error.code, error.status, error.retryAfter, error.message],
    ["demo_limit_reached", 429, 9, "It is demo_limit_reached."],
  );
  assert.deepEqual(error.details, { layer: "visitor", resets_at: "2026-12-01" });
  assert.equal(asked.length, 1);
});

test("a frame error with a number is the end of the answer, one without is only of its connection", async (t) => {
  const away = { type: "error", code: "shutting_down", message: "Away.", turn_id: turn.id, retry_after: 0 };
  const failed = { type: "error", code: "provider_unavailable", message: "No model.", turn_id: turn.id, seq: 2 };
  const { address, asked } = await serve(
    t,
    frames([turn.start, turn.sources, away]),
    frames([turn.delta(1, "a"), failed]),
  );
  const answer = ask(connect(address), { message: "Hello?" });
  const error = await refusal(answer);
  assert.deepEqual([error.code, error.message, answer.place.after], ["provider_unavailable", "No model.", 1]);
  assert.equal(asked.length, 2);
});

test("a service that stays away is given up after as many attempts as were asked for", async (t) => {
  const away = problem(503, "upstream_unavailable", {}, { "Retry-After": "0" });
  const { address, asked } = await serve(t, away, away, away, away);
  const error = await refusal(resume(connect(address), turn.id, 4, { attempts: 3 }));
  assert.equal(error.code, "upstream_unavailable");
  assert.equal(asked.length, 3);
  assert.equal(asked[0]?.url, `/v1/turns/${turn.id}/events?after=4`);
});

test("an abort ends the reading with its own reason, and the connection", async (t) => {
  const { address, asked } = await serve(t, (_, response) => {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.write(`event: start\ndata: ${JSON.stringify(turn.start)}\n\n`);
  });
  const controller = new AbortController();
  const reading = (async () => {
    for await (const frame of ask(connect(address), { message: "Hello?" }, { signal: controller.signal })) {
      assert.equal(frame.type, "start");
      controller.abort(new Error("the page is left"));
    }
  })();
  await assert.rejects(reading, /the page is left/);
  await asked[0]?.left;
});

test("who stops reading leaves no connection behind", async (t) => {
  const { address, asked } = await serve(t, (_, response) => {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.write(`event: start\ndata: ${JSON.stringify(turn.start)}\n\n`);
  });
  for await (const _ of ask(connect(address), { message: "Hello?" })) break;
  await asked[0]?.left;
});

test("what answers without events is no DocuChat", async (t) => {
  const { address } = await serve(t, (_, response) => void response.end("<html>"));
  assert.equal((await refusal(ask(connect(address), { message: "Hello?" }))).code, "unexpected_answer");
});
