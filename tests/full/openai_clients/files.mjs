// Files by the official Node client: sent, followed, listed, read and deleted.
// Arguments: the address of the API, a key, the path of a PDF. Fails where anything is not as the client expects it.
import assert from "node:assert/strict"
import { createReadStream } from "node:fs"
import { readFile } from "node:fs/promises"
import OpenAI from "openai"

const [baseURL, apiKey, path] = process.argv.slice(2)
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 })
const ids = async (query) => {
  const found = []
  for await (const file of client.files.list(query)) found.push(file.id)
  return found
}

const made = await client.files.create({ file: createReadStream(path), purpose: "user_data" })
assert.equal(made.object, "file")
assert.equal(made.purpose, "user_data")
assert.equal(made.bytes, (await readFile(path)).length)

const ready = await client.files.waitForProcessing(made.id, { pollInterval: 200, maxWait: 60_000 })
assert.equal(ready.status, "processed")
assert.equal((await client.files.retrieve(made.id)).id, made.id)
assert.deepEqual(await ids({ purpose: "user_data" }), [made.id])
const all = await ids({})
assert.deepEqual(all.slice(0, 1), [made.id])
assert.deepEqual(await ids({ purpose: "assistants" }), all.slice(1)) // documents that were sent without a purpose
assert.deepEqual(await ids({ limit: 1 }), all)
assert.deepEqual(await ids({ limit: 1, order: "asc" }), all.reverse())

const content = await client.files.content(made.id)
assert.deepEqual(Buffer.from(await content.arrayBuffer()), await readFile(path))

await assert.rejects(
  client.files.create({ file: createReadStream(path), purpose: "batch" }),
  (error) => error instanceof OpenAI.BadRequestError && error.code === "purpose_refused",
)
assert.deepEqual(await client.files.delete(made.id), { id: made.id, object: "file", deleted: true })
await assert.rejects(client.files.retrieve(made.id), OpenAI.NotFoundError)
console.log(JSON.stringify({ filename: ready.filename, document: ready.docuchat.document_id }))
