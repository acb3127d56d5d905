// A question and what follows it, by one of the official MCP clients.
// node conversation.mjs <sdk: v1 | v2> <address> <credential> <question> <next>
const [sdk, address, credential, question, next] = process.argv.slice(2);
const { Client, StreamableHTTPClientTransport } =
  sdk === "v2"
    ? await import("@modelcontextprotocol/client")
    : {
        ...(await import("@modelcontextprotocol/sdk/client/index.js")),
        ...(await import("@modelcontextprotocol/sdk/client/streamableHttp.js")),
      };
const requestInit = { headers: { Authorization: `Bearer ${credential}` } };
const client = new Client({ name: "docuchat-test", version: "1" });
await client.connect(new StreamableHTTPClientTransport(new URL(address), { requestInit }));

const ask = async (args) => (await client.callTool({ name: "ask", arguments: args })).structuredContent;
const first = await ask({ question });
const second = await ask({ question: next, session_id: first.session_id });
console.log(
  JSON.stringify(
    [first, second].map(({ answer, citations, chat_id }) => ({ text: answer, citations, chat: chat_id })),
  ),
);
await client.close();
