// A question and what follows it, by the official Node client: over chat completions, then over responses.
// Arguments: the address of the API, a key, a model, the two questions. Tells what was answered.
import OpenAI from "openai"

const [baseURL, apiKey, model, question, next] = process.argv.slice(2)
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 })
const answers = []

const messages = []
for (const content of [question, next]) {
  messages.push({ role: "user", content })
  let text = ""
  let citations
  for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) {
    text += chunk.choices[0].delta.content ?? ""
    citations = chunk.docuchat?.citations ?? citations
  }
  messages.push({ role: "assistant", content: text })
  answers.push({ text, citations })
}

let previous
for (const input of [question, next]) {
  const response = await client.responses.create({ model, input, previous_response_id: previous?.id })
  const citations = response.output[0].content[0].annotations
  answers.push({ text: response.output_text, citations, chat: response.docuchat.chat_id })
  previous = response
}
console.log(JSON.stringify(answers))
