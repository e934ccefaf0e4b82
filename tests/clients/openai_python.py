"""What the openai package of PyPI makes of a server: runs the cases given on standard input, prints a line for each."""

import concurrent.futures
import json
import sys

import openai

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


ACTIONS = {
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
