"""What the openai package of PyPI makes of a server: runs the cases given on standard input, prints a line for each."""

import concurrent.futures
import json
import sys
from typing import Literal

import openai
import pydantic

TOOL = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
RESPONSES = {
    "model": "gpt-test",
    "input": "hello",
    "tools": [{"type": "function", "name": "weather", "parameters": TOOL, "strict": True}],
}
CHAT = {
    "model": "gpt-test",
    "messages": [{"role": "user", "content": "hello"}],
    "tools": [{"type": "function", "function": {"name": "weather", "parameters": TOOL}}],
}
STORED = "resp_none"


def dump(model):
    return model.model_dump(mode="json", exclude_unset=True)


def events(stream):
    """Every event, and the error that ended the stream; what came before an error counts, too."""
    seen = []
    try:
        for event in stream:
            seen.append(dump(event))
    except openai.OpenAIError as error:
        return {"events": seen, "error": error_of(error)}
    except Exception as error:  # A cut connection is the HTTP library's error here.
        return {"events": seen, "error": {"class": type(error).__name__}}
    return {"events": seen}


def error_of(error):
    result = {"class": type(error).__name__}
    for name in ("status_code", "code", "type", "param", "message", "body"):
        if getattr(error, name, None) is not None:
            result[name] = getattr(error, name)
    response = getattr(error, "response", None)
    if response is not None:
        result["has_request_id"] = "x-request-id" in response.headers
        result["retry_after"] = response.headers.get("retry-after")
    return result


def responses_helper(client):
    with client.responses.stream(**RESPONSES) as stream:
        result = events(stream)
        if "error" not in result:
            result["final"] = dump(stream.get_final_response())
        return result


def chat_helper(client):
    with client.chat.completions.stream(**CHAT) as stream:
        result = events(stream)
        if "error" not in result:
            result["final"] = dump(stream.get_final_completion())
        return result


def head(client):
    raw = client.responses.with_raw_response.create(**RESPONSES)
    wanted = ("x-", "openai-", "retry")
    headers = {name: value for name, value in raw.headers.items() if name.lower().startswith(wanted)}
    return {"status": raw.status_code, "headers": headers, "request_id": raw.parse()._request_id}


def stored(client):
    """An answer that was streamed, and is then asked for again."""
    streamed = events(client.responses.create(**RESPONSES, stream=True))["events"]
    response = streamed[-1]["response"]
    retrieved = client.responses.retrieve(response["id"])
    rest = events(client.responses.retrieve(response["id"], stream=True, starting_after=10))["events"]
    items = [dump(item) for item in client.responses.input_items.list(response["id"])]
    client.responses.delete(response["id"])
    try:
        client.responses.retrieve(response["id"])
        after = "still there"
    except openai.NotFoundError:
        after = "gone"
    return {
        "retrieved": dump(retrieved) == response,
        "rest": rest == streamed[11:],
        "input_items": len(items),
        "deleted": after,
    }


def cancelled(client):
    """An answer whose stream is given up after its first event, which asks for that it be cancelled."""
    stream = client.responses.create(**RESPONSES, stream=True, extra_headers={"x-relay-detach": "true"})
    first = next(iter(stream))
    result = client.responses.cancel(first.response.id)
    stream.close()
    return {"status": result.status}


class Hour(pydantic.BaseModel):
    hour: int
    degrees: float


class Forecast(pydantic.BaseModel):
    """What a schema of people's own is made of: references, choices, lists, what may be absent."""

    city: str
    sky: Literal["clear", "cloudy"]
    hours: list[Hour]
    best: Hour
    warning: str | None
    windy: bool


PLAIN = {"model": "gpt-test", "input": "hello"}
ASKED = [{"role": "user", "content": "hello"}]


def text(client):
    response = client.responses.create(**PLAIN)
    return {"kinds": sorted({item.type for item in response.output} - {"reasoning"}), "text": bool(response.output_text)}


def chat_text(client):
    message = client.chat.completions.create(model="gpt-test", messages=ASKED).choices[0].message
    return {"calls": len(message.tool_calls or []), "text": bool(message.content)}


def parse_stream(client):
    with client.responses.stream(**PLAIN, text_format=Forecast) as stream:
        stream.until_done()
        return type(stream.get_final_response().output_parsed).__name__


def chat_json_object(client):
    completion = client.chat.completions.create(
        model="gpt-test", messages=ASKED, response_format={"type": "json_object"}
    )
    return type(json.loads(completion.choices[0].message.content)).__name__


def json_object(client):
    response = client.responses.create(**PLAIN, text={"format": {"type": "json_object"}})
    return type(json.loads(response.output_text)).__name__


def tool_turn(client):
    """A call that is asked for, with arguments that fit, and then an answer."""
    tools = {"model": "gpt-test", "tools": RESPONSES["tools"]}
    first = client.responses.create(**tools, input="hello", tool_choice="required")
    [call] = [item for item in first.output if item.type == "function_call"]
    arguments = json.loads(call.arguments)
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "21 degrees"}
    after = {"role": "user", "content": "And now?"}
    told = []
    for history in ([result], [result, after]):
        rest = client.responses.create(**tools, input=[*ASKED, *first.output, *history])
        told.append([rest.status, bool(rest.output_text), sum(item.type == "function_call" for item in rest.output)])
    return {"name": call.name, "arguments": sorted(arguments), "then": told}


def chat_tool_turn(client):
    tools = {"model": "gpt-test", "tools": CHAT["tools"]}
    first = client.chat.completions.create(**tools, messages=ASKED, tool_choice="required").choices[0]
    [call] = first.message.tool_calls
    result = {"role": "tool", "tool_call_id": call.id, "content": "21 degrees"}
    rest = client.chat.completions.create(**tools, messages=[*ASKED, first.message, result]).choices[0]
    return {
        "name": call.function.name,
        "arguments": sorted(json.loads(call.function.arguments)),
        "ends": [first.finish_reason, rest.finish_reason],
        "text": bool(rest.message.content),
    }


def not_asked_for(client):
    """Tools that are offered, and a choice that forbids them."""
    response = client.responses.create(**RESPONSES, tool_choice="none")
    return sum(item.type == "function_call" for item in response.output)


def retrieve(client):
    response = client.responses.create(**PLAIN)
    return {"same": dump(client.responses.retrieve(response.id)) == dump(response)}


def continued(client):
    """What is told of an answer that is continued, and of one that there is not."""
    response = client.responses.create(**PLAIN)
    status = client.responses.create(**PLAIN, previous_response_id=response.id).status
    try:
        client.responses.create(**PLAIN, previous_response_id="resp_none")
    except openai.BadRequestError as error:
        return {"status": status, "unknown": error.code}
    return {"status": status, "unknown": "taken"}


def background(client):
    """An answer that goes on without its client, who comes back for the rest."""
    begun = client.responses.create(**PLAIN, background=True, stream=True)
    seen = [dump(next(begun)) for _ in range(4)]
    begun.close()
    name = seen[0]["response"]["id"]
    rest = events(client.responses.retrieve(name, stream=True, starting_after=seen[-1]["sequence_number"]))["events"]
    numbers = [event["sequence_number"] for event in seen + rest]
    return {"whole": numbers == list(range(len(numbers))), "last": rest[-1]["type"]}


def background_cancel(client):
    response = client.responses.create(**PLAIN, background=True)
    return {
        "begun": response.status in ("queued", "in_progress"),
        "cancelled": client.responses.cancel(response.id).status,
        "stays": client.responses.retrieve(response.id).status,
    }


def limited(client):
    response = client.responses.create(**PLAIN, max_output_tokens=16)
    completion = client.chat.completions.create(model="gpt-test", messages=ASKED, max_completion_tokens=2)
    return [response.status, dump(response)["incomplete_details"], completion.choices[0].finish_reason]


# Asked of the embedded provider itself, where nothing is compared.
ALONE = {
    "text": text,
    "chat: text": chat_text,
    "parse": lambda client: type(client.responses.parse(**PLAIN, text_format=Forecast).output_parsed).__name__,
    "stream and parse": parse_stream,
    "chat: parse": lambda client: type(
        client.chat.completions.parse(model="gpt-test", messages=ASKED, response_format=Forecast).choices[0].message.parsed
    ).__name__,
    "json_object": json_object,
    "chat: json_object": chat_json_object,
    "tools": tool_turn,
    "chat: tools": chat_tool_turn,
    "tool_choice none": not_asked_for,
    "retrieve": retrieve,
    "previous_response_id": continued,
    "background, starting_after": background,
    "background, cancel": background_cancel,
    "max_output_tokens": limited,
}

ACTIONS = {
    **ALONE,
    "responses_create": lambda client: dump(client.responses.create(**RESPONSES)),
    "responses_create_stream": lambda client: events(client.responses.create(**RESPONSES, stream=True)),
    "responses_stream": responses_helper,
    "chat_create": lambda client: dump(client.chat.completions.create(**CHAT)),
    "chat_create_stream": lambda client: events(
        client.chat.completions.create(**CHAT, stream=True, stream_options={"include_usage": True})
    ),
    "chat_create_stream_no_usage": lambda client: events(client.chat.completions.create(**CHAT, stream=True)),
    "chat_stream": chat_helper,
    "compact": lambda client: dump(client.responses.compact(model="gpt-test", input="hello")),
    "models_list": lambda client: [dump(model) for model in client.models.list()],
    "model_retrieve": lambda client: dump(client.models.retrieve("loopback")),
    "retrieve_unknown": lambda client: dump(client.responses.retrieve(STORED)),
    "cancel_unknown": lambda client: dump(client.responses.cancel(STORED)),
    "head": head,
    "stored": stored,
    "cancelled": cancelled,
}


def run(case):
    client = openai.OpenAI(base_url=case["url"], api_key="sk-clients", timeout=60)
    try:
        result = ACTIONS[case["action"]](client)
    except openai.OpenAIError as error:
        result = {"error": error_of(error)}
    except Exception as error:
        result = {"error": {"class": type(error).__name__, "message": str(error)}}
    return {"case": case["case"], "result": result}


def main():
    cases = json.load(sys.stdin)
    with concurrent.futures.ThreadPoolExecutor(max_workers=64) as pool:
        for line in pool.map(run, cases):
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
