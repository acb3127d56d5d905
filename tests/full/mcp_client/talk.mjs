// Holds a conversation with the MCP server by one of the official SDKs, and prints what it was told.
// node talk.mjs <sdk: v1 | v2> <address> <credential>
const [sdk, address, credential] = process.argv.slice(2);
const { Client, StreamableHTTPClientTransport } =
  sdk === "v2"
    ? await import("@modelcontextprotocol/client")
    : {
        ...(await import("@modelcontextprotocol/sdk/client/index.js")),
        ...(await import("@modelcontextprotocol/sdk/client/streamableHttp.js")),
      };

const requestInit = { headers: { Authorization: `Bearer ${credential}` } };
const transport = new StreamableHTTPClientTransport(new URL(address), { requestInit });
const versions = [];
const options = sdk === "v2" ? { versionNegotiation: { mode: { pin: "2026-07-28" } } } : {};
const client = new Client({ name: "docuchat-test", version: "1" }, options);
const called = globalThis.fetch;
globalThis.fetch = (input, init) => {
  const version = new Headers(init?.headers).get("mcp-protocol-version");
  if (version !== null) versions.push(version);
  return called(input, init);
};
await client.connect(transport);

const call = (name, args, more = {}) =>
  sdk === "v2" ? client.callTool({ name, arguments: args }, more) : client.callTool({ name, arguments: args }, undefined, more);
const question = "How long does the warranty of the kettle last?";

const { tools } = await client.listTools();
const found = await call("search", { query: question });
const progress = [];
const answer = await call("ask", { question }, { onprogress: (told) => progress.push(told.progress) });
const again = await call("ask", { question, session_id: answer.structuredContent.session_id });
const passage = await call("get_passage", { chunk_id: answer.structuredContent.citations[0].chunk_id });
const listed = await call("list_documents", { status: "ready" });
const refused = await call("search", { query: "" });

let cancelled = null;
const slow = new AbortController();
const cancelling = call(
  "ask",
  { question: `${question} Take your time.` },
  { signal: slow.signal, onprogress: (told) => told.progress > 1 && slow.abort("enough") },
).catch((error) => (cancelled = String(error)));
await cancelling;
console.log(
  JSON.stringify({
    versions: [...new Set(versions)],
    tools: tools.map((tool) => tool.name),
    found: found.structuredContent,
    answer: answer.structuredContent,
    again: again.structuredContent,
    passage: passage.structuredContent,
    listed: listed.structuredContent,
    refused,
    progress,
    cancelled,
  }),
);
// whoever asked waits until the provider was told, then this ends
process.stdin.resume();
await new Promise((resolve) => process.stdin.once("end", resolve));
await client.close();
