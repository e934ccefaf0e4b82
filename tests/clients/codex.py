"""The Codex CLI: a turn whose first answer calls `echo`, and what it makes of servers that fail."""

import concurrent.futures
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile

from cases import MAX_ATTEMPTS, Case, always, cut, difference, equal, failing, shown
from servers import environment

SAID = "said by a tool"
CALL = json.dumps({"cmd": f"echo {SAID}"})
ASKED = "say something by a tool"
TIME_LIMIT = 240

# The same turn for aimock.
FIXTURES = [
    {"match": {"userMessage": ASKED, "hasToolResult": False}, "response": {"toolCalls": [{"name": "exec_command", "arguments": CALL}]}},
    {"match": {"userMessage": ASKED, "hasToolResult": True}, "response": {"content": "It was said, as you asked for."}},
]

CONFIG = """
model = "gpt-test"
model_provider = "tested"
approval_policy = "never"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false
[analytics]
enabled = false
[otel]
exporter = "none"
[model_providers.tested]
name = "tested"
base_url = "{url}"
wire_api = "responses"
"""


def calling():
    """The answer that calls, in both dialects: the server behind the bridge gets the second."""
    item = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "exec_command"}
    response = {"id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-test", "output": []}
    usage = {
        "input_tokens": 5,
        "input_tokens_details": {"cached_tokens": 1},
        "output_tokens": 4,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 9,
    }
    started = {**item, "arguments": "", "status": "in_progress"}
    done = {**item, "arguments": CALL, "status": "completed"}
    of_item = {"output_index": 0, "item_id": "fc_1"}
    events = [
        {"type": "response.created", "response": {**response, "status": "in_progress", "usage": None}},
        {"type": "response.output_item.added", "output_index": 0, "item": started},
        {"type": "response.function_call_arguments.delta", **of_item, "delta": CALL},
        {"type": "response.function_call_arguments.done", **of_item, "arguments": CALL},
        {"type": "response.output_item.done", "output_index": 0, "item": done},
        {"type": "response.completed", "response": {**response, "status": "completed", "output": [done], "usage": usage}},
    ]
    numbered = [{**event, "sequence_number": number} for number, event in enumerate(events)]
    return {"body": {"events": [{"event": event["type"], "data": event} for event in numbered]}}


def calling_in_chat():
    chunk = lambda delta, finish_reason=None: {
        "id": "chatcmpl_1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-test",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "exec_command", "arguments": CALL}}
    usage = {
        "prompt_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 1},
        "completion_tokens": 4,
        "completion_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 9,
    }
    chunks = [
        chunk({"role": "assistant", "content": None}),
        chunk({"tool_calls": [call]}),
        chunk({}, "tool_calls"),
        {**chunk({}), "choices": [], "usage": usage},
    ]
    return {"body": {"events": [*({"data": chunk} for chunk in chunks), {"data": "[DONE]"}]}}


def turn(*before, after=None, second=None):
    """A turn with a call; before it the server does what is said, and after its first answer."""
    replies = [*before, {**calling(), **(after or {})}, second or {}]
    return {"replies": replies}


def no_worse(direct, relayed):
    """As direct; or well, where direct is not."""
    if relayed["ended"] == 0 and direct["ended"] != 0:
        return None
    if relayed["ended"] == direct["ended"] and direct["ended"] != 0:
        return None
    without_notices = lambda result: {**result, "events": [event for event in result["events"] if event["type"] != "error"]}
    return difference(without_notices(direct), without_notices(relayed))


def same_items(direct, relayed):
    """Of a bridged turn: the same messages and commands with the same results."""
    keep = lambda result: [
        event["item"] for event in result["events"] if event["type"] == "item.completed" and event["item"]["type"] in ("agent_message", "command_execution")
    ]
    ids = lambda items: [{key: value for key, value in item.items() if key != "id"} for item in items]
    found = difference(ids(keep(direct)), ids(keep(relayed)))
    return found or (None if relayed["ended"] == 0 else shown(relayed))


def cases():
    chat = {"replies": [calling_in_chat()]}
    return [
        Case("turn", "turn", is_a_turn(equal), turn()),
        Case("turn over a server of chat", "turn", is_a_turn(same_items), {"direct": turn(), "relayed": chat}, wire="chat"),
        Case("turn, aimock", "turn", is_a_turn(same_items), server="aimock"),
        Case("turn over aimock's chat", "turn", is_a_turn(same_items), server="aimock", wire="chat"),
        Case("cut after completed", "turn", is_a_turn(equal), turn(after=cut("body_end"), second=cut("body_end"))),
        Case("reset after completed", "turn", is_a_turn(no_worse), turn(after=cut("body_end", "reset"), second=cut("body_end", "reset"))),
        Case("held open after completed", "turn", is_a_turn(equal), turn(after=cut("body_end", "hang"), second=cut("body_end", "hang"))),
        Case("cut before output, then well", "turn", no_worse, turn(cut({"events": 1}))),
        Case("cut in the answer, then well", "turn", no_worse, turn(second=cut({"events": 32}))),
        Case("cut before output", "turn", no_worse, always(cut({"events": 1}))),
        Case("429 with Retry-After, then well", "turn", no_worse, turn(failing(429, retry_after="1"))),
        Case("429 without, then well", "turn", no_worse, turn(failing(429))),
        *(
            Case(f"429 {name}, {count} times, then well", "turn", no_worse, turn(*[failing(429, **wait)] * count), answers=2)
            for name, wait in (("with Retry-After", {"retry_after": "1"}), ("without", {}))
            for count in range(2, MAX_ATTEMPTS)
        ),
        Case("429 with Retry-After", "turn", no_worse, always(failing(429, retry_after="1"))),
        Case("429 without", "turn", no_worse, always(failing(429))),
        Case("400", "turn", no_worse, always(failing(400))),
        Case("500, then well", "turn", no_worse, turn(failing(500))),
        Case("500", "turn", no_worse, always(failing(500))),
    ]


def is_a_turn(judge):
    def judged(direct, relayed):
        commands = [event["item"] for event in relayed["events"] if event.get("item", {}).get("type") == "command_execution"]
        if not any(SAID in (item.get("aggregated_output") or "") for item in commands):
            return f"the tool was not called: {shown(relayed)}"
        return judge(direct, relayed)

    return judged


def run(program, asked):
    with concurrent.futures.ThreadPoolExecutor(max_workers=4) as pool:
        return dict(pool.map(lambda case: (case["case"], run_one(program, case["url"])), asked))


def run_one(program, url):
    with tempfile.TemporaryDirectory() as folder:
        home, work = pathlib.Path(folder, "home"), pathlib.Path(folder, "work")
        home.mkdir()
        work.mkdir()
        (home / "config.toml").write_text(CONFIG.format(url=url))
        process = subprocess.Popen(
            [program, "exec", "--json", "--skip-git-repo-check", ASKED],
            cwd=work,
            env=environment(CODEX_HOME=str(home), HOME=folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=TIME_LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            return {"ended": "never", "events": told(output, url)}
        return {"ended": process.returncode, "events": told(output, url)}


def told(output, url):
    """What it said, without what each run names anew."""
    events = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    text = json.dumps([event for event in events if event["type"] != "thread.started"])
    text = text.replace(url, "URL")
    return json.loads(re.sub(r"req_loopback_\d+|Chunk ID: [0-9a-f]+ Wall time: [0-9.]+", "ANEW", text))
