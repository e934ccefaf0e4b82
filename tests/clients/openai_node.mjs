// What the openai package of npm makes of a server: runs the cases given on standard input, prints a line for each.
// As openai_python.py does.
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

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

const hour = z.object({ hour: z.number().int(), degrees: z.number() });
const forecast = z.object({
  city: z.string(),
  sky: z.enum(["clear", "cloudy"]),
  hours: z.array(hour),
  best: hour,
  warning: z.string().nullable(),
  windy: z.boolean(),
});
const plain_request = { model: "gpt-test", input: "hello" };
const messages = [{ role: "user", content: "hello" }];
const count = (items, kind) => items.filter(({ type }) => type === kind).length;

// Asked of the embedded provider itself, where nothing is compared.
const alone = {
  async text(client) {
    const response = await client.responses.create(plain_request);
    return { calls: count(response.output, "function_call"), text: response.output_text !== "" };
  },
  async parse(client) {
    const response = await client.responses.parse({ ...plain_request, text: { format: zodTextFormat(forecast, "forecast") } });
    return Object.keys(response.output_parsed);
  },
  async "stream and parse"(client) {
    const stream = client.responses.stream({ ...plain_request, text: { format: zodTextFormat(forecast, "forecast") } });
    return Object.keys((await stream.finalResponse()).output_parsed);
  },
  async "chat: parse"(client) {
    const format = zodResponseFormat(forecast, "forecast");
    const completion = await client.chat.completions.parse({ model: "gpt-test", messages, response_format: format });
    return Object.keys(completion.choices[0].message.parsed);
  },
  async "chat: runTools"(client) {
    const called = [];
    const weather = {
      type: "function",
      function: { name: "weather", parameters, parse: JSON.parse, function: ({ city }) => (called.push(typeof city), "21 degrees") },
    };
    const runner = client.chat.completions.runTools({ model: "gpt-test", messages, tools: [weather] });
    return { text: (await runner.finalContent()) !== "", called };
  },
  async "tools, required"(client) {
    const first = await client.responses.create({ ...responses, tool_choice: "required" });
    const call = first.output.find(({ type }) => type === "function_call");
    const result = { type: "function_call_output", call_id: call.call_id, output: "21 degrees" };
    const rest = await client.responses.create({ ...responses, input: [...messages, ...first.output, result] });
    return { name: call.name, arguments: Object.keys(JSON.parse(call.arguments)), calls: count(rest.output, "function_call"), text: rest.output_text !== "" };
  },
  async retrieve(client) {
    const response = await client.responses.create(plain_request);
    const again = await client.responses.retrieve(response.id);
    return { same: again.id === response.id && again.output_text === response.output_text && again.output_text !== "" };
  },
  async "background, cancel"(client) {
    const response = await client.responses.create({ ...plain_request, background: true });
    return { cancelled: (await client.responses.cancel(response.id)).status };
  },
  async "background, starting_after"(client) {
    const numbers = [];
    let last, name;
    for await (const event of await client.responses.create({ ...plain_request, background: true, stream: true })) {
      numbers.push(event.sequence_number);
      name ??= event.response.id;
      if (numbers.length === 4) break;
    }
    for await (const event of await client.responses.retrieve(name, { stream: true, starting_after: numbers.at(-1) })) {
      numbers.push(event.sequence_number);
      last = event.type;
    }
    return { whole: numbers.every((number, index) => number === index), last };
  },
};

const actions = {
  ...alone,
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
