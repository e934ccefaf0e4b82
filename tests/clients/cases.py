"""The cases: what a client asks, what the server does with it, and how what came through the relay has to be."""

import dataclasses
import json
from typing import Callable

# How often the relay asks for one request, where its clients ask from once to 30 times, each in its own way. It asks in their place:
# what it gives back after that says that it is not to be asked again. Then a refusal that stays can cost more than a client's own
# attempts would have, though never more than these, and one that goes away costs the user nothing.
MAX_ATTEMPTS = 5


@dataclasses.dataclass
class Case:
    name: str
    action: str
    judge: Callable
    script: dict | None = None
    # Another server than the embedded provider: `aimock`, whose ids are new with each answer.
    server: str | None = None
    # The dialect of the server behind the relay, where it is not the client's own.
    wire: str | None = None
    # How many answers the action needs.
    answers: int = 1
    # What is wrong with the bodies that the server behind the relay was sent.
    received: Callable = lambda _bodies: None


def difference(one, other, path=""):
    """Where two values differ first, for a reader."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in [*one, *(key for key in other if key not in one)]:
            if key not in one or key not in other:
                missing = "direct" if key not in one else "relayed"
                return f"{path}.{key} is not in {missing}: {shown(one.get(key, other.get(key)))}"
            found = difference(one[key], other[key], f"{path}.{key}")
            if found:
                return found
        return None
    if isinstance(one, list) and isinstance(other, list):
        for index, (left, right) in enumerate(zip(one, other)):
            found = difference(left, right, f"{path}[{index}]")
            if found:
                return found
        if len(one) != len(other):
            return f"{path} has {len(one)} direct, {len(other)} relayed: {shown((one + other)[-1])}"
        return None
    return None if one == other else f"{path}: direct {shown(one)}, relayed {shown(other)}"


def shown(value):
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 200 else text[:200] + "..."


def equal(direct, relayed):
    return difference(direct, relayed)


def made_of_a_stream(direct, relayed):
    """Equal, but that what nobody says is null or absent, and that no chunk tells who did not ask."""
    return difference(without_nulls(direct), without_nulls(relayed))


def without_nulls(value):
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


def whole(_direct, relayed):
    """Through the relay it is an answer without a fault, whatever it is without."""
    # A response object has such a field, too, that says nothing.
    if relayed.get("error"):
        return f"an error: {shown(relayed['error'])}"
    events = relayed.get("events")
    if events is None:
        return None
    if [event.get("type") for event in events[:1]] == ["response.created"]:
        return None if events[-1]["type"] == "response.completed" else f"ends with {shown(events[-1])}"
    return None if any(choice.get("finish_reason") for event in events for choice in event.get("choices", [])) else "no finish_reason"


def well_at_least(direct, relayed):
    """As direct; or well, where direct gave up."""
    return whole(direct, relayed) if direct.get("error") else made_of_a_stream(direct, relayed)


def told(direct, relayed):
    """The same events, and then something that no client takes for the end of a whole answer."""
    ours, theirs = relayed.get("events", []), direct.get("events", [])
    failed = ours and ours[-1].get("type") in ("response.failed", "error")
    rest = ours[:-1] if failed else ours
    if not failed and "error" not in relayed:
        return f"the cut is not told: {shown(ours[-1:])}"
    return difference(theirs, rest)


def is_stored(_direct, relayed):
    wanted = {"retrieved": True, "rest": True, "input_items": 1, "deleted": "gone"}
    return difference(wanted, relayed)


def is_cancelled(_direct, relayed):
    return difference({"status": "cancelled"}, relayed)


def same_content(direct, relayed):
    """Of a bridged answer: what it says is the same, though the other dialect may name less of it."""
    return difference(content(direct), content(relayed))


def same_text(direct, relayed):
    """As above, where the server names usage and ends differently in its two dialects."""
    keep = lambda result: {key: value for key, value in content(result).items() if key in ("text", "calls", "error")}
    return difference(keep(direct), keep(relayed))


def content(result):
    # A response object has such a field, too, that says nothing.
    if result.get("error"):
        return {"error": result["error"]}
    if "events" in result:
        events = result["events"]
        last = events[-1]
        if "response" in last:
            return content_of_response(last["response"])
        return content_of_chunks(events)
    if result.get("object") == "response":
        return content_of_response(result)
    return content_of_message(result["choices"][0]["message"], result["usage"], result["choices"][0]["finish_reason"])


def content_of_response(response):
    output = response["output"]
    texts = [part["text"] for item in output if item["type"] == "message" for part in item["content"]]
    calls = [[item["name"], json.loads(item["arguments"])] for item in output if item["type"] == "function_call"]
    usage = response["usage"] or {}
    return {
        "text": "".join(texts),
        "calls": calls,
        "status": response["status"],
        "output_tokens": usage.get("output_tokens"),
        "reasoning_tokens": (usage.get("output_tokens_details") or {}).get("reasoning_tokens"),
    }


def content_of_message(message, usage, finish_reason):
    calls = [
        [call["function"]["name"], json.loads(call["function"]["arguments"])] for call in message.get("tool_calls") or []
    ]
    usage = usage or {}
    return {
        "text": message["content"],
        "calls": calls,
        "finish_reason": finish_reason,
        "output_tokens": usage.get("completion_tokens"),
        "reasoning_tokens": (usage.get("completion_tokens_details") or {}).get("reasoning_tokens"),
    }


def content_of_chunks(chunks):
    text, calls, usage, finish_reason = "", {}, None, None
    for chunk in chunks:
        usage = chunk.get("usage") or usage
        for choice in chunk.get("choices", []):
            delta = choice["delta"]
            text += delta.get("content") or ""
            finish_reason = choice.get("finish_reason") or finish_reason
            for call in delta.get("tool_calls") or []:
                entry = calls.setdefault(call["index"], {"name": "", "arguments": ""})
                entry["name"] += call["function"].get("name") or ""
                entry["arguments"] += call["function"].get("arguments") or ""
    tool_calls = [{"function": calls[index]} for index in sorted(calls)]
    return content_of_message({"content": text, "tool_calls": tool_calls}, usage, finish_reason)


def same_turn(direct, relayed):
    """Of an agent's bridged turn: the same calls, results and text."""
    if "error" in direct or "error" in relayed:
        return difference(direct, relayed)
    if "steps" in direct:
        keep = lambda step: {
            "text": step["text"],
            "calls": [[call["toolName"], call["input"]] for call in step["calls"]],
            "results": step["results"],
            "finishReason": step["finishReason"],
        }
        return difference([keep(step) for step in direct["steps"]], [keep(step) for step in relayed["steps"]])
    return difference(direct["output"], relayed["output"])


def once(reply):
    return times(1, reply)


def times(count, reply):
    return {"replies": [reply] * count}


def always(reply):
    return {"replies": [reply], "after": "repeat_last"}


def failing(status, **headers):
    return {"status": status, "headers": {name.replace("_", "-"): value for name, value in headers.items()}}


def cut(at, do="cut"):
    return {"faults": [{"at": at, "do": do}]}


def sdk_cases():
    """What both openai packages are asked."""
    same = [
        "responses_create",
        "responses_create_stream",
        "responses_stream",
        "chat_create",
        "chat_create_stream",
        "chat_create_stream_no_usage",
        "chat_stream",
        "compact",
        "models_list",
    ]
    cases = [Case(name, name, judge_of(name)) for name in same]
    limits = failing(200, openai_processing_ms="7", x_ratelimit_remaining_requests="3", x_new_header="kept")
    del limits["status"]
    cases.append(Case("head", "head", head_is_kept, once(limits)))
    cases.append(Case("stored", "stored", is_stored))
    cases.append(Case("cancelled", "cancelled", is_cancelled, {"replies": [{"pace": "500ms"}]}))
    for action in ("retrieve_unknown", "cancel_unknown"):
        cases.append(Case(action, action, is_not_found))
    for action in ("responses_create", "responses_create_stream", "chat_create", "chat_create_stream"):
        for status in (400, 401, 422):
            cases.append(Case(f"{action}: {status}", action, equal, always(failing(status))))
        cases.append(Case(f"{action}: 429 with Retry-After, then well", action, judge_of(action), once(failing(429, retry_after="1"))))
        cases.append(Case(f"{action}: 429 without, then well", action, judge_of(action), once(failing(429))))
        cases.append(Case(f"{action}: 500, then well", action, judge_of(action), once(failing(500))))
        cases.append(Case(f"{action}: 429 with Retry-After", action, equal, always(failing(429, retry_after="1"))))
        cases.append(Case(f"{action}: 429 without", action, equal, always(failing(429))))
        cases.append(Case(f"{action}: 500", action, equal, always(failing(500))))
    for action in ("responses_create", "chat_create_stream"):
        for count in range(2, MAX_ATTEMPTS):
            for name, wait in (("with Retry-After", {"retry_after": "1"}), ("without", {})):
                refused = times(count, failing(429, **wait))
                cases.append(Case(f"{action}: 429 {name}, {count} times, then well", action, well_at_least, refused))
    for action in ("responses_create_stream", "chat_create_stream"):
        cases.append(Case(f"{action}: cut before output, then well", action, whole, once(cut({"events": 1}))))
        cases.append(Case(f"{action}: cut in the answer", action, told, always(cut({"events": 20}))))
        cases.append(Case(f"{action}: reset in the answer", action, told, always(cut({"events": 20}, "reset"))))
        cases.append(Case(f"{action}: cut after completed", action, whole, always(cut("body_end"))))
    for action, wire in (
        ("responses_create", "chat"),
        ("responses_create_stream", "chat"),
        ("chat_create", "responses"),
        ("chat_create_stream", "responses"),
    ):
        cases.append(Case(f"{action} over a server of {wire}", action, same_content, wire=wire))
        cases.append(Case(f"{action} over a server of {wire}: 400", action, same_error, always(failing(400)), wire=wire))
        cases.append(Case(f"{action}, aimock", action, same_content, server="aimock"))
        cases.append(Case(f"{action}, aimock over {wire}", action, same_text, server="aimock", wire=wire))
    return cases


def judge_of(action):
    return made_of_a_stream if action.startswith("chat") else equal


def head_is_kept(direct, relayed):
    """All of the server's headers, and what the relay adds."""
    kept = {name: value for name, value in relayed.get("headers", {}).items() if not name.startswith("x-relay-")}
    if "error" in relayed:
        return shown(relayed)
    return difference(direct, {**relayed, "headers": kept})


def is_not_found(direct, relayed):
    """404, as the server says it; its words are the relay's where it need not ask."""
    status = lambda result: {key: result.get("error", {}).get(key) for key in ("class", "status", "status_code")}
    return difference(status(direct), status(relayed))


def same_error(direct, relayed):
    keep = lambda result: {key: result.get("error", {}).get(key) for key in ("class", "status", "status_code", "code", "type")}
    return difference(keep(direct), keep(relayed))


# aimock's part in a turn of those.
FIXTURES = [
    {
        "match": {"userMessage": "What is the weather in Paris?", "hasToolResult": False},
        "response": {"content": "I look it up.", "toolCalls": [{"name": "weather", "arguments": {"city": "Paris"}}]},
    },
    {"match": {"userMessage": "What is the weather in Paris?", "hasToolResult": True}, "response": {"content": "It is warm."}},
]


def has_its_history(bodies):
    """A client that sends references in place of items: a server of Chat needs what they stand for."""
    turns = [body["messages"] for body in bodies if any(message["role"] == "tool" for message in body.get("messages", []))]
    if not turns:
        return f"no request with a result of a tool among {len(bodies)}"
    for messages in turns:
        said = [message for message in messages if message["role"] == "assistant"]
        if [(message["content"], len(message.get("tool_calls", []))) for message in said] != [("I look it up.", 1)]:
            return f"the assistant's message is not what it was: {shown(messages)}"
    return None


def turn_cases():
    """What the packages that call tools by themselves are asked."""
    actions = ["responses_whole", "responses_streamed", "chat_whole", "chat_streamed"]
    cases = [Case(action, action, equal) for action in actions]
    for action, wire in zip(actions, ["chat", "chat", "responses", "responses"]):
        cases.append(Case(f"{action} over a server of {wire}", action, same_turn, wire=wire))
    over_chat = "responses_whole over aimock's chat"
    cases.append(Case(over_chat, "responses_whole", same_turn, server="aimock", wire="chat", received=has_its_history))
    cases.append(Case("responses_streamed: 500, then well", "responses_streamed", equal, once(failing(500))))
    return cases
