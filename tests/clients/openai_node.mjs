// What the openai package of npm makes of a server: runs the cases given on standard input, prints a line for each.
// As openai_python.py does.
import OpenAI from "openai";

const parameters = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};
const responses = {
  model: "gpt-test",
  input: "hello",
  tools: [{ type: "function", name: "weather", parameters, strict: true }],
};
const chat = {
  model: "gpt-test",
  messages: [{ role: "user", content: "hello" }],
  tools: [{ type: "function", function: { name: "weather", parameters } }],
};
const unknown = "resp_none";
const relayed = { headers: { "x-relay-detach": "true" } };

function errorOf(error) {
  const result = { class: error.constructor.name };
  for (const name of ["status", "code", "type", "param", "error"]) {
    if (error[name] !== undefined && error[name] !== null) result[name] = error[name];
  }
  // What a cut connection is called differs from one cut to the next.
  if (error instanceof OpenAI.APIError) result.message = error.message;
  if (error.headers) {
    result.has_request_id = error.headers.has("x-request-id");
    result.retry_after = error.headers.get("retry-after");
  }
  return result;
}

async function events(stream) {
  const seen = [];
  try {
    for await (const event of stream) seen.push(event);
  } catch (error) {
    return { events: seen, error: errorOf(error) };
  }
  return { events: seen };
}

const plain = (value) => JSON.parse(JSON.stringify(value));

async function stored(client) {
  const streamed = (await events(await client.responses.create({ ...responses, stream: true }))).events;
  const { response } = streamed.at(-1);
  const retrieved = await client.responses.retrieve(response.id);
  // The helper adds a field of its own.
  const { output_text, ...bare } = plain(retrieved);
  const rest = (await events(await client.responses.retrieve(response.id, { stream: true, starting_after: 10 }))).events;
  const items = [];
  for await (const item of client.responses.inputItems.list(response.id)) items.push(item);
  await client.responses.delete(response.id);
  let deleted = "still there";
  try {
    await client.responses.retrieve(response.id);
  } catch (error) {
    if (error instanceof OpenAI.NotFoundError) deleted = "gone";
  }
  return {
    retrieved: sorted(bare) === sorted(response),
    rest: sorted(rest) === sorted(streamed.slice(11)),
    input_items: items.length,
    deleted,
  };
}

function sorted(value) {
  return JSON.stringify(value, (_, inner) =>
    inner && typeof inner === "object" && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([one], [other]) => (one < other ? -1 : 1)))
      : inner,
  );
}

const actions = {
  responses_create: async (client) => plain(await client.responses.create(responses)),
  responses_create_stream: async (client) => events(await client.responses.create({ ...responses, stream: true })),
  async responses_stream(client) {
    const stream = client.responses.stream(responses);
    const result = await events(stream);
    if (!result.error) result.final = plain(await stream.finalResponse());
    return result;
  },
  chat_create: async (client) => plain(await client.chat.completions.create(chat)),
  chat_create_stream: async (client) =>
    events(await client.chat.completions.create({ ...chat, stream: true, stream_options: { include_usage: true } })),
  chat_create_stream_no_usage: async (client) => events(await client.chat.completions.create({ ...chat, stream: true })),
  async chat_stream(client) {
    const stream = client.chat.completions.stream(chat);
    const result = await events(stream);
    if (!result.error) result.final = plain(await stream.finalChatCompletion());
    return result;
  },
  compact: async (client) => plain(await client.responses.compact({ model: "gpt-test", input: "hello" })),
  async models_list(client) {
    const models = [];
    for await (const model of client.models.list()) models.push(plain(model));
    return models;
  },
  model_retrieve: async (client) => plain(await client.models.retrieve("loopback")),
  retrieve_unknown: async (client) => plain(await client.responses.retrieve(unknown)),
  cancel_unknown: async (client) => plain(await client.responses.cancel(unknown)),
  async head(client) {
    const { data, response } = await client.responses.create(responses).withResponse();
    const headers = [...response.headers].filter(([name]) => /^(x-|openai-|retry)/.test(name));
    return { status: response.status, headers: Object.fromEntries(headers), request_id: data._request_id };
  },
  stored,
  async cancelled(client) {
    const stream = await client.responses.create({ ...responses, stream: true }, relayed);
    for await (const event of stream) {
      const { status } = await client.responses.cancel(event.response.id);
      return { status };
    }
  },
};

async function run({ case: name, action, url }) {
  const client = new OpenAI({ baseURL: url, apiKey: "sk-clients", timeout: 60_000 });
  let result;
  try {
    result = await actions[action](client);
  } catch (error) {
    result = { error: errorOf(error) };
  }
  console.log(JSON.stringify({ case: name, result }));
}

let input = "";
for await (const piece of process.stdin) input += piece;
await Promise.all(JSON.parse(input).map(run));
