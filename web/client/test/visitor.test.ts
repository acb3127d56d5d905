import assert from "node:assert/strict";
import { test } from "node:test";
import { askAsVisitor, giveFeedback, pastChat, showChatbot, stop, visit } from "../src/index.ts";
import { frames, json, problem, serve, turn } from "./scripted.ts";

const whole = [turn.start, turn.sources, turn.delta(1, "Yes."), turn.end(2)];
const minted = (token: string, seconds = 900) =>
  json(200, { visitor_token: token, token_type: "Bearer", expires_in: seconds, visitor_id: "v" });
const tokenUntil = (exp: number) => `h.${Buffer.from(JSON.stringify({ exp })).toString("base64url")}.s`;

async function last(answer: AsyncIterable<{ type: string }>): Promise<string> {
  let type = "";
  for await (const frame of answer) type = frame.type;
  return type;
}

test("a visitor gets one token for all that is asked at once, and asks with it", async (t) => {
  const chat = json(200, { messages: [] });
  const { address, asked } = await serve(t, minted("one"), frames(whole), chat, json(202, {}), json(200, {}));
  const kept: string[] = [];
  const visitor = visit(address, "pub_1", { onToken: (token) => kept.push(token) });
  assert.deepEqual(
    await Promise.all([visitor.headers(), visitor.headers()]),
    Array(2).fill({ Authorization: "Bearer one" }),
  );
  assert.equal(await last(askAsVisitor(visitor, "Open today?", "tab")), "end");
  assert.ok(await pastChat(visitor, "tab", { limit: 5 }));
  await stop(visitor, turn.id);
  await giveFeedback(visitor, "m", { rating: "up" });
  assert.deepEqual(kept, ["one"]);
  assert.deepEqual(
    asked.map(({ method, url, headers }) => [method, url, headers.authorization]),
    [
      ["POST", "/v1/public/chatbots/pub_1/visitors", undefined],
      ["POST", "/v1/public/chatbots/pub_1/query", "Bearer one"],
      ["GET", "/v1/public/chats/tab?limit=5", "Bearer one"],
      ["POST", `/v1/turns/${turn.id}/stop`, "Bearer one"],
      ["POST", "/v1/messages/m/feedback", "Bearer one"],
    ],
  );
  assert.deepEqual(asked[1]?.body, { question: "Open today?", session_id: "tab", stream: true });
});

test("a token of before is used while it is good, and shown for the next one after", async (t) => {
  const now = Date.now() / 1000;
  const { address, asked } = await serve(t, minted("next"));
  const good = tokenUntil(now + 600);
  assert.deepEqual(await visit(address, "pub_1", { token: good }).headers(), { Authorization: `Bearer ${good}` });
  assert.equal(asked.length, 0);
  const ending = tokenUntil(now + 30);
  const headers = await visit(address, "pub_1", { token: ending }).headers();
  assert.deepEqual(headers, { Authorization: "Bearer next" });
  assert.deepEqual(asked[0]?.body, { visitor_token: ending });
});

test("a token that is refused in mid-answer is renewed, and the answer goes on", async (t) => {
  const { address, asked } = await serve(
    t,
    minted("one"),
    frames(whole.slice(0, 3), { cut: true }),
    problem(401, "token_expired"),
    minted("two"),
    frames([turn.end(2)]),
  );
  assert.equal(await last(askAsVisitor(visit(address, "pub_1"), "Open today?", "tab")), "end");
  assert.deepEqual(asked[3]?.body, { visitor_token: "one" });
  assert.equal(asked[4]?.headers.authorization, "Bearer two");
});

test("a page that may not show the chatbot is told so at once", async (t) => {
  const { address, asked } = await serve(t, problem(403, "origin_not_allowed"));
  await assert.rejects(last(askAsVisitor(visit(address, "pub_1"), "Open?", "tab")), { code: "origin_not_allowed" });
  assert.equal(asked.length, 1);
});

test("a session without a question has no past, and what a page shows takes no token", async (t) => {
  const { address, asked } = await serve(t, minted("one"), problem(404, "chat_not_found"), json(200, { name: "Desk" }));
  assert.equal(await pastChat(visit(address, "pub_1"), "tab"), undefined);
  assert.equal((await showChatbot(address, "pub_1")).name, "Desk");
  assert.equal(asked[2]?.headers.authorization, undefined);
});
