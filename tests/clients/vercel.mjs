// Vercel's AI SDK: a turn with a tool, streamed and not, over both APIs.
import { createOpenAI } from "@ai-sdk/openai";
import { generateObject, generateText, stepCountIs, streamObject, streamText, tool } from "ai";
import { z } from "zod";

globalThis.AI_SDK_LOG_WARNINGS = false;

function asked(url, api) {
  const provider = createOpenAI({ baseURL: url, apiKey: "sk-clients" });
  return {
    model: provider[api]("gpt-test"),
    prompt: "What is the weather in Paris?",
    tools: {
      weather: tool({
        description: "The weather of a city",
        inputSchema: z.object({ city: z.string() }),
        execute: async ({ city }) => `${city}: 21 degrees`,
      }),
    },
    stopWhen: stepCountIs(3),
  };
}

// What a step has, without what each run names anew.
function steps(all) {
  return all.map((step) => ({
    text: step.text,
    reasoning: step.reasoningText,
    calls: step.toolCalls.map(({ toolName, input, toolCallId }) => ({ toolName, input, toolCallId })),
    results: step.toolResults.map(({ toolName, output }) => ({ toolName, output })),
    finishReason: step.finishReason,
    usage: step.usage,
    response: { id: step.response.id, modelId: step.response.modelId },
  }));
}

async function whole(url, api) {
  const result = await generateText(asked(url, api));
  return { text: result.text, steps: steps(result.steps) };
}

async function streamed(url, api) {
  const failures = [];
  const result = streamText({ ...asked(url, api), onError: ({ error }) => failures.push(String(error)) });
  const parts = [];
  for await (const part of result.fullStream) parts.push(part.type);
  if (failures.length) return { parts, failures };
  return { parts, text: await result.text, steps: steps(await result.steps) };
}

// Asked of the embedded provider itself, where nothing is compared.
const forecast = z.object({
  city: z.string(),
  sky: z.enum(["clear", "cloudy"]),
  hours: z.array(z.object({ hour: z.number(), degrees: z.number() })),
  warning: z.string().nullable(),
});
const model = (url, api) => createOpenAI({ baseURL: url, apiKey: "sk-clients" })[api]("gpt-test");

async function text(url, api) {
  const result = await generateText({ model: model(url, api), prompt: "hello" });
  return { text: result.text !== "", calls: result.toolCalls.length, finishReason: result.finishReason };
}

async function object(url, api) {
  return Object.keys((await generateObject({ model: model(url, api), prompt: "hello", schema: forecast })).object);
}

async function streamedObject(url, api) {
  const failures = [];
  const onError = ({ error }) => failures.push(String(error));
  const result = streamObject({ model: model(url, api), prompt: "hello", schema: forecast, onError });
  for await (const _ of result.partialObjectStream);
  return failures.length ? { failures } : Object.keys(await result.object);
}

// A first step that has to call, and a rest that ends.
async function required(url, api) {
  const prepareStep = ({ stepNumber }) => ({ toolChoice: stepNumber ? "auto" : "required" });
  const result = await generateText({ ...asked(url, api), stopWhen: stepCountIs(5), prepareStep });
  return { calls: result.steps.map((step) => step.toolCalls.length), text: result.text !== "" };
}

const actions = {
  text: (url) => text(url, "responses"),
  "chat: text": (url) => text(url, "chat"),
  generateObject: (url) => object(url, "responses"),
  "chat: generateObject": (url) => object(url, "chat"),
  streamObject: (url) => streamedObject(url, "responses"),
  "chat: streamObject": (url) => streamedObject(url, "chat"),
  "tools, required": (url) => required(url, "responses"),
  "chat: tools, required": (url) => required(url, "chat"),
  responses_whole: (url) => whole(url, "responses"),
  responses_streamed: (url) => streamed(url, "responses"),
  chat_whole: (url) => whole(url, "chat"),
  chat_streamed: (url) => streamed(url, "chat"),
};

async function run({ case: name, action, url }) {
  let result;
  try {
    result = await actions[action](url);
  } catch (error) {
    result = { error: { class: error.name, message: String(error.message), status: error.statusCode } };
  }
  console.log(JSON.stringify({ case: name, result }));
}

let input = "";
for await (const piece of process.stdin) input += piece;
await Promise.all(JSON.parse(input).map(run));
