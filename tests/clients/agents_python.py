"""The openai-agents package of PyPI: a turn with a tool, streamed and not, over both APIs."""

import asyncio
import json
import sys

import agents
import openai
import pydantic

agents.set_tracing_disabled(True)


@agents.function_tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"{city}: 21 degrees"


def agent(url, api, **more):
    client = openai.AsyncOpenAI(base_url=url, api_key="sk-clients", timeout=60)
    model = {"responses": agents.OpenAIResponsesModel, "chat": agents.OpenAIChatCompletionsModel}[api]
    return agents.Agent(
        name="clients",
        instructions="Answer shortly.",
        model=model(model="gpt-test", openai_client=client),
        **{"tools": [weather], **more},
    )


def told(result):
    items = [
        {"kind": item.type, "raw": item.raw_item if isinstance(item.raw_item, dict) else item.raw_item.model_dump(mode="json")}
        for item in result.new_items
    ]
    usage = result.context_wrapper.usage
    return {
        "output": result.final_output,
        "items": items,
        "usage": [usage.requests, usage.input_tokens, usage.output_tokens],
    }


async def whole(url, api):
    return told(await agents.Runner.run(agent(url, api), "What is the weather in Paris?"))


async def streamed(url, api):
    result = agents.Runner.run_streamed(agent(url, api), "What is the weather in Paris?")
    kinds = []
    async for event in result.stream_events():
        # The events that are no server's own are put together by two tasks at a time.
        if event.type == "raw_response_event":
            kinds.append(event.data.type)
    return {"kinds": kinds, **told(result)}


class Forecast(pydantic.BaseModel):
    city: str
    degrees: list[float]


async def alone(url, api, **more):
    """Of the embedded provider itself, where nothing is compared: how often the tool was called, and what came in the end."""
    result = await agents.Runner.run(agent(url, api, **more), "What is the weather in Paris?")
    calls = sum(item.type == "tool_call_item" for item in result.new_items)
    output = result.final_output
    return {"calls": calls, "output": "text" if isinstance(output, str) and output else type(output).__name__}


REQUIRED = {"model_settings": agents.ModelSettings(tool_choice="required")}
ALONE = {
    "no tools": lambda url: alone(url, "responses", tools=[]),
    "chat: no tools": lambda url: alone(url, "chat", tools=[]),
    "tools": lambda url: alone(url, "responses"),
    "chat: tools": lambda url: alone(url, "chat"),
    "tools, required": lambda url: alone(url, "responses", **REQUIRED),
    "chat: tools, required": lambda url: alone(url, "chat", **REQUIRED),
    "output_type": lambda url: alone(url, "responses", tools=[], output_type=Forecast),
    "chat: output_type": lambda url: alone(url, "chat", tools=[], output_type=Forecast),
}

ACTIONS = {
    **ALONE,
    "responses_whole": lambda url: whole(url, "responses"),
    "responses_streamed": lambda url: streamed(url, "responses"),
    "chat_whole": lambda url: whole(url, "chat"),
    "chat_streamed": lambda url: streamed(url, "chat"),
}


async def run(case):
    try:
        result = await ACTIONS[case["action"]](case["url"])
    except Exception as error:
        result = {"error": {"class": type(error).__name__, "message": str(error)}}
    print(json.dumps({"case": case["case"], "result": result}), flush=True)


async def main():
    await asyncio.gather(*map(run, json.load(sys.stdin)))


if __name__ == "__main__":
    asyncio.run(main())
