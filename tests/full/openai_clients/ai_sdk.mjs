// A popular SDK that asks /v1/responses by itself: text and sources arrive, streamed and whole, and a conversation that
// it carries on by references to earlier answers. Arguments: as of `official.mjs`. It tells how often it asked.
import assert from "node:assert/strict"
import { createOpenAI } from "@ai-sdk/openai"
import { generateText, streamText } from "ai"

const [baseURL, apiKey, model, chatbot] = process.argv.slice(2)
const sent = []
const openai = createOpenAI({
  baseURL,
  apiKey,
  fetch: (url, options) => {
    sent.push([new URL(url).pathname, JSON.parse(options.body)])
    return fetch(url, options)
  },
})
const options = { maxRetries: 0, system: "Be brief." }
const messages = [{ role: "user", content: "How long is the warranty of the kettle?" }]

const streamed = streamText({ ...options, model: openai(model), messages })
let text = ""
const sources = []
for await (const part of streamed.fullStream) {
  assert.notEqual(part.type, "error", String(part.error))
  if (part.type === "text-delta") text += part.text
  if (part.type === "source") sources.push(part)
}
assert.match(text, /36 months.*\[1\]/s)
assert.equal(sources[0].filename, "document.pdf")
assert.equal(sources[0].providerMetadata.openai.type, "file_citation")
assert.ok((await streamed.usage).totalTokens > 0)

messages.push(...(await streamed.response).messages, { role: "user", content: "And of the kettle abroad?" })
const followed = await generateText({ ...options, model: openai(model), messages })
assert.ok(followed.text && followed.sources.length > 0)
assert.ok(sent[1][1].input.some((item) => item.type === "item_reference"))

const ofChatbot = await generateText({ ...options, model: openai(chatbot), prompt: messages[0].content })
assert.ok(ofChatbot.sources.length > 0)
assert.deepEqual(new Set(sent.map(([path]) => path)), new Set(["/v1/responses"]))

await assert.rejects(generateText({ ...options, model: openai("no-such-model"), prompt: "?" }), /no such model/)
console.log(JSON.stringify({ asked: sent.length - 1 }))
