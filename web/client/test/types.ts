/** What the compiler must take, and what it must not; nothing of it runs. */
import { call, connect } from "../src/index.ts";

export async function typed(): Promise<(string | null | undefined)[]> {
  const connection = connect("http://127.0.0.1");
  const { signal } = new AbortController();
  const chatbot_id = "1";
  const chatbot = await call(connection, "GET /v1/chatbots/{chatbot_id}", { path: { chatbot_id }, signal });
  const page = await call(connection, "GET /v1/chatbots", { query: { limit: 3 } });
  const made = await call(connection, "POST /v1/chatbots", { body: { name: "Desk" }, idempotencyKey: "k" });
  await call(connection, "DELETE /v1/chatbots/{chatbot_id}", { path: { chatbot_id } });
  await call(connection, "GET /v1/chatbots");
  // @ts-expect-error the path is needed
  await call(connection, "GET /v1/chatbots/{chatbot_id}");
  // @ts-expect-error it has another name
  await call(connection, "GET /v1/chatbots/{chatbot_id}", { path: { chatbot: "1" } });
  // @ts-expect-error a body is needed
  await call(connection, "POST /v1/chatbots");
  // @ts-expect-error a name is text
  await call(connection, "POST /v1/chatbots", { body: { name: 1 } });
  // @ts-expect-error there is no such operation
  await call(connection, "GET /v1/nothing");
  return [chatbot.name, page.items[0]?.name, page.next_cursor, made.secret_key];
}
