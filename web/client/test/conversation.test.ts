import assert from "node:assert/strict";
import { test } from "node:test";
import { connect, type DocuChatError, openConversation } from "../src/index.ts";
import { serveSocket, turn } from "./scripted.ts";

async function tokens(answer: AsyncIterable<{ type: string; token?: string }>): Promise<string[]> {
  const read: string[] = [];
  for await (const { type, token } of answer) read.push(token ?? type);
  return read;
}

test("answers over one socket go each to who asked", async (t) => {
  const { address, protocols } = await serveSocket(t, ({ id, message }, _, send) => {
    for (const frame of [turn.start, turn.sources, turn.delta(1, `to ${message}`), turn.end(2)]) send({ id, ...frame });
  });
  const conversation = openConversation(connect(address, { token: "a.b.c" }));
  const both = [conversation.ask({ message: "one" }), conversation.ask({ message: "two" })];
  assert.deepEqual(await Promise.all(both.map(tokens)), [
    ["start", "sources", "to one", "end"],
    ["start", "sources", "to two", "end"],
  ]);
  assert.deepEqual(protocols, ["docuchat, a.b.c"]);
  conversation.close();
});

test("a socket that is lost in mid-answer is opened again and the answer goes on behind its last piece", async (t) => {
  const said: object[] = [];
  const { address } = await serveSocket(t, ({ id, ...message }, n, send, cut) => {
    said.push(message);
    const sent =
      n === 0 ? [turn.start, turn.sources, turn.delta(1, "a")] : [turn.delta(1, "a"), turn.delta(2, "b"), turn.end(3)];
    for (const frame of sent) send({ id, ...frame });
    if (n === 0) setTimeout(cut, 20);
  });
  const conversation = openConversation(connect(address));
  assert.deepEqual(await tokens(conversation.ask({ message: "one" })), ["start", "sources", "a", "b", "end"]);
  assert.deepEqual(said, [{ message: "one" }, { resume: turn.id, after: 1 }]);
  conversation.close();
});

test("a question that may have been taken is not asked again over a socket", async (t) => {
  let asked = 0;
  const { address } = await serveSocket(t, (_, __, ___, cut) => {
    asked += 1;
    cut();
  });
  const answer = tokens(openConversation(connect(address)).ask({ message: "one" }));
  await assert.rejects(answer, (error: DocuChatError) => error.code === "connection_failed");
  assert.equal(asked, 1);
});

test("an abort ends the wait", async (t) => {
  const { address } = await serveSocket(t, () => undefined);
  const signal = AbortSignal.timeout(50);
  const conversation = openConversation(connect(address));
  await assert.rejects(tokens(conversation.ask({ message: "one" }, { signal })), { name: "TimeoutError" });
  conversation.close();
});
