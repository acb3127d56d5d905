// The official Node client holds a conversation with citations, over chat completions and over responses.
// Arguments: the address of the API, a key, the name of a model, the name of a chatbot. It tells how often it asked.
import assert from "node:assert/strict"
import OpenAI from "openai"

const [baseURL, apiKey, model, chatbot] = process.argv.slice(2)
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 })
const QUESTION = "How long is the warranty of the kettle?"
let asked = 0

const names = []
for await (const each of client.models.list()) names.push(each.id)
assert.ok(names.includes(model) && names.includes(chatbot), names)
assert.equal((await client.models.retrieve(chatbot)).id, chatbot)

// Chat completions: whole, then streamed, with what was said before in the request.
const messages = [{ role: "user", content: QUESTION }]
const whole = await client.chat.completions.create({ model, messages })
asked++
const answer = whole.choices[0].message.content
assert.match(answer, /36 months.*\[1\]/s)
assert.equal(whole.docuchat.citations[0].page, 1)
assert.match(whole.docuchat.citations[0].quote, /36 months/)
assert.equal(whole.usage.total_tokens, whole.usage.prompt_tokens + whole.usage.completion_tokens)

const stream = await client.chat.completions.create({
  model: chatbot,
  messages: [...messages, { role: "assistant", content: answer }, { role: "user", content: "And of the kettle abroad?" }],
  stream: true,
  stream_options: { include_usage: true },
})
asked++
let text = ""
let last
let usage
for await (const chunk of stream) {
  text += chunk.choices[0]?.delta.content ?? ""
  if (chunk.choices[0]?.finish_reason) last = chunk
  usage = chunk.usage ?? usage
}
assert.ok(text && last.choices[0].finish_reason === "stop" && usage.total_tokens > 0)
assert.equal(last.docuchat.citations[0].page, 1)

// Responses: whole, then streamed from the first, then found again.
const first = await client.responses.create({ model, input: QUESTION, instructions: "Be brief.", metadata: { order: "7" } })
asked++
assert.equal(first.status, "completed")
const [citation] = first.output[0].content[0].annotations
assert.equal(citation.type, "file_citation")
assert.equal(citation.page, 1)
assert.match(citation.quote, /36 months/)
assert.ok(first.output_text.slice(citation.index).startsWith(`[${citation.number}]`))
assert.deepEqual(first.metadata, { order: "7" })

const events = []
const following = client.responses.stream({
  model,
  input: "And of the kettle abroad?",
  previous_response_id: first.id,
})
asked++
for await (const event of following) events.push(event)
const second = await following.finalResponse()
assert.deepEqual(events.map((event) => event.sequence_number), events.map((_, place) => place))
assert.equal(events.at(0).type, "response.created")
assert.equal(events.at(-1).type, "response.completed")
assert.ok(events.some((event) => event.type === "response.output_text.annotation.added"))
assert.equal(second.previous_response_id, first.id)
assert.equal(second.docuchat.chat_id, first.docuchat.chat_id)

const found = await client.responses.retrieve(second.id)
assert.equal(found.output_text, second.output_text)
const rest = []
for await (const event of await client.responses.retrieve(second.id, { stream: true, starting_after: 4 })) rest.push(event)
assert.equal(rest[0].sequence_number, 5)
assert.equal(rest.at(-1).sequence_number, events.length - 1)
const items = await client.responses.inputItems.list(second.id)
assert.equal(items.data[0].content[0].text, "And of the kettle abroad?")

// Nothing of what is not stored is found again.
const unkept = await client.responses.create({ model: chatbot, input: QUESTION, store: false })
asked++
await assert.rejects(client.responses.retrieve(unkept.id), OpenAI.NotFoundError)
await assert.rejects(
  client.responses.create({ model: chatbot, input: QUESTION, previous_response_id: unkept.id }),
  (error) => error instanceof OpenAI.NotFoundError && error.code === "previous_response_not_found",
)

// What is refused is an error of the type that the client knows, and names what is meant.
const refused = (parameters) => client.responses.create({ model, input: QUESTION, ...parameters })
await assert.rejects(
  refused({ conversation: "conv_1" }),
  (error) =>
    error instanceof OpenAI.BadRequestError && error.code === "unsupported_parameter" && error.param === "conversation",
)
await assert.rejects(
  client.chat.completions.create({ model, messages, n: 2 }),
  (error) => error instanceof OpenAI.BadRequestError && error.param === "n",
)
await assert.rejects(
  refused({ model: "no-such-model" }),
  (error) => error instanceof OpenAI.NotFoundError && error.code === "model_not_found",
)
const stranger = new OpenAI({ baseURL, apiKey: `${apiKey}x`, maxRetries: 0 })
await assert.rejects(stranger.responses.create({ model, input: QUESTION }), OpenAI.AuthenticationError)

console.log(JSON.stringify({ asked }))
