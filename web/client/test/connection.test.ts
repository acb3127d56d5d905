import assert from "node:assert/strict";
import { test } from "node:test";
import { call, connect, DocuChatError } from "../src/index.ts";
import { json, problem, serve } from "./scripted.ts";

test("a call fills path and query, and names who calls", async (t) => {
  const { address, asked } = await serve(t, json(200, { items: [], next_cursor: null }));
  const connection = connect(address, { apiKey: "k", tenant: "acme" });
  const path = { chatbot_id: "a/b" };
  await call(connection, "GET /v1/chatbots/{chatbot_id}/conversations", { path, query: { limit: 3 } });
  assert.equal(asked[0]?.url, "/v1/chatbots/a%2Fb/conversations?limit=3");
  assert.equal(asked[0]?.headers["x-api-key"], "k");
  assert.equal(asked[0]?.headers["x-tenant-id"], "acme");
});

test("a token that is refused is renewed once, for all who hold it", async (t) => {
  const page = json(200, { items: [], next_cursor: null });
  const { address, asked } = await serve(t, problem(401, "token_expired"), page, page);
  const given: (string | undefined)[] = [];
  const token = (refused: string | undefined) => `t${given.push(refused)}`;
  const connection = connect(address, { token });
  await call(connection, "GET /v1/chatbots");
  await call(connection, "GET /v1/chatbots");
  assert.deepEqual(given, [undefined, "t1"]);
  assert.deepEqual(
    asked.map(({ headers }) => headers.authorization),
    ["Bearer t1", "Bearer t2", "Bearer t2"],
  );
});

test("an answer without a body gives undefined, and a problem an error", async (t) => {
  const { address } = await serve(
    t,
    (_, response) => void response.writeHead(204).end(),
    problem(404, "chatbot_not_found"),
    (_, response) => void response.writeHead(502).end("<html>"),
  );
  const path = { chatbot_id: "1" };
  const remove = () => call(connect(address), "DELETE /v1/chatbots/{chatbot_id}", { path });
  assert.equal(await remove(), undefined);
  await assert.rejects(remove(), (error: DocuChatError) => error.code === "chatbot_not_found" && !error.isPassing);
  await assert.rejects(remove(), (error: DocuChatError) => error.status === 502 && error.isPassing);
});

test("what cannot be reached is told as such", async () => {
  const asked = call(connect("http://127.0.0.1:1"), "GET /v1/chatbots");
  await assert.rejects(asked, (error: unknown) => error instanceof DocuChatError && error.code === "connection_failed");
});
