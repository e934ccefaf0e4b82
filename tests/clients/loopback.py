#!/usr/bin/env python3
"""What other people's programs make of the embedded provider itself, and what LLMock, which grades clients, says of `ask`.

    loopback.py --program PATH --cache FOLDER [--only TEXT] [CLIENT ...]

Prints a table, and fails where something is not as it is wanted.
"""

import argparse
import concurrent.futures
import json
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

import codex
from cases import always, difference, shown
from compare import by_command, python_of, script_of
from servers import Servers, environment

FORECAST = ["city", "sky", "hours", "best", "warning", "windy"]
TURN = {"output": "text", "calls": 0}
CALLED = {"name": "weather", "arguments": ["city"]}
LAST = {"whole": True, "last": "response.completed"}
TEXT = {"text": True, "calls": 0, "finishReason": "stop"}
STEPS = {"calls": [1, 0], "text": True}

# What is wanted of each, by the names of the clients' actions.
WANTED = {
    "openai-python": {
        "text": {"kinds": ["message"], "text": True},
        "chat: text": {"calls": 0, "text": True},
        "parse": "Forecast",
        "stream and parse": "Forecast",
        "chat: parse": "Forecast",
        "json_object": "dict",
        "chat: json_object": "dict",
        "tools": {**CALLED, "then": [["completed", True, 0], ["completed", True, 0]]},
        "chat: tools": {**CALLED, "ends": ["tool_calls", "stop"], "text": True},
        "tool_choice none": 0,
        "retrieve": {"same": True},
        "previous_response_id": {"status": "completed", "unknown": "previous_response_not_found"},
        "background, starting_after": LAST,
        "background, cancel": {"begun": True, "cancelled": "cancelled", "stays": "cancelled"},
        "max_output_tokens": ["incomplete", {"reason": "max_output_tokens"}, "length"],
        "models_list": ...,
        "compact": ...,
    },
    "openai-node": {
        "text": {"calls": 0, "text": True},
        "parse": FORECAST,
        "stream and parse": FORECAST,
        "chat: parse": FORECAST,
        "tools, required": {**CALLED, "calls": 0, "text": True},
        "chat: runTools": {"text": True, "called": []},
        "retrieve": {"same": True},
        "background, starting_after": LAST,
        "background, cancel": {"cancelled": "cancelled"},
    },
    "vercel-ai": {
        "text": TEXT,
        "chat: text": TEXT,
        "generateObject": ["city", "sky", "hours", "warning"],
        "chat: generateObject": ["city", "sky", "hours", "warning"],
        "streamObject": ["city", "sky", "hours", "warning"],
        "chat: streamObject": ["city", "sky", "hours", "warning"],
        "tools, required": STEPS,
        "chat: tools, required": STEPS,
    },
    "openai-agents": {
        "no tools": TURN,
        "chat: no tools": TURN,
        "tools": TURN,
        "chat: tools": TURN,
        "tools, required": {**TURN, "calls": 1},
        "chat: tools, required": {**TURN, "calls": 1},
        "output_type": {**TURN, "output": "Forecast"},
        "chat: output_type": {**TURN, "output": "Forecast"},
    },
    "llm": {
        "text": "str",
        "text, --no-stream": "str",
        "--schema": {"name": "str", "degrees": ["float", "int"]},
        "--schema --no-stream": {"name": "str", "degrees": ["float", "int"]},
    },
    "codex": {"a turn": {"ended": 0, "commands": 0, "messages": 1, "requests": 1}},
}


def llm(program, asked):
    """The `llm` command: a folder of its own says where its model is."""

    def run(case):
        schema = ["--schema", "name, degrees float"] if case["action"].startswith("--schema") else []
        quiet = ["--no-stream"] if "--no-stream" in case["action"] else []
        with tempfile.TemporaryDirectory() as folder:
            model = {"model_id": "clients", "model_name": "gpt-test", "api_base": case["url"], "supports_schema": True}
            # JSON is YAML.
            pathlib.Path(folder, "extra-openai-models.yaml").write_text(json.dumps([model]))
            done = subprocess.run(
                [program, "-m", "clients", "--key", "sk-clients", *quiet, *schema, "hello"],
                env=environment(LLM_USER_PATH=folder, HOME=folder),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
            )
        if done.returncode or not done.stdout.strip():
            return case["case"], {"error": done.stderr[-500:] or "no output"}
        if not schema:
            return case["case"], "str"
        try:
            return case["case"], {key: type(value).__name__ for key, value in json.loads(done.stdout).items()}
        except ValueError:
            return case["case"], {"error": f"no JSON: {done.stdout[:100]}"}

    with concurrent.futures.ThreadPoolExecutor(max_workers=4) as pool:
        return dict(pool.map(run, asked))


def codex_turns(program, asked):
    """A turn with whatever Codex offers; nothing of it may be run."""
    results = codex.run(program, asked)
    items = lambda result, kind: sum(
        event["type"] == "item.completed" and event["item"]["type"] == kind for event in result["events"]
    )
    return {
        name: {"ended": result["ended"], "commands": items(result, "command_execution"), "messages": items(result, "agent_message")}
        for name, result in results.items()
    }


def runners(cache):
    python = lambda name: by_command([python_of(cache), script_of(name)])
    node = lambda name: by_command(["node", str(cache / "node" / name)])
    return {
        "openai-python": python("openai_python.py"),
        "openai-node": node("openai_node.mjs"),
        "vercel-ai": node("vercel.mjs"),
        "openai-agents": python("agents_python.py"),
        "llm": lambda asked: llm(str(cache / "more" / "bin" / "llm"), asked),
        "codex": lambda asked: codex_turns(str(cache / "codex" / "node_modules" / ".bin" / "codex"), asked),
    }


def of_clients(servers, name, run, only):
    wanted = {case: what for case, what in WANTED[name].items() if only in case}
    with servers:
        # What is to be cancelled goes on for a while.
        of = {case: servers.loopback(always({"pace": "200ms"}) if "cancel" in case else None) for case in wanted}
        results = run([{"case": case, "action": case, "url": of[case].url} for case in wanted])
        for case, what in wanted.items():
            result = results.get(case, {"error": "no result"})
            if isinstance(what, dict) and "requests" in what:
                result["requests"] = of[case].requests()
            yield name, case, result, wrong(what, result)


def wrong(wanted, result):
    if isinstance(result, dict) and result.get("error"):
        return shown(result["error"])
    if wanted is ...:
        return None
    if isinstance(wanted, dict) and isinstance(result, dict):
        # One of several.
        wanted = {
            key: result.get(key) if isinstance(value, list) and result.get(key) in value else value for key, value in wanted.items()
        }
    found = difference(wanted, result)
    return found and found.replace("direct", "wanted").replace("relayed", "found")


# What LLMock can be told to do, and what it says of it where that is not PASS. It looks at requests alone: a stream that it cut is well
# where another request follows, and one with a chunk that is no JSON where another follows on a connection that was closed before its end.
# So it says PASS of what breaks before text was printed, and, of a cut, where `--retry-after-output restart` lets it be asked for again.
CUT = "what was printed is not asked for again: it ends with exit status 1, which the judge does not see"
# The judge warns wherever no request follows, whether anything is missing or not. There is none to make: a whole answer is not paid for
# twice, and what was printed is not asked for again unless that is wanted.
WHOLE = "the answer is whole without what was lost, and is not asked for twice: the judge warns wherever no request follows"
HOLE = "as with a cut; over Responses the closing events bring the text whole, and stderr says that what was printed has a hole"
# The first piece of the text, which each wire has at another place.
FIRST_PIECE = {"responses": 4, "chat": 1}
RESTART = ["--retry-after-output", "restart"]
FAULTS = {
    **{f"{status}": ({"type": "fail", "status": status}, None) for status in (400, 401, 403, 404, 422)},
    **{
        f"{status}, then well": ({"type": "fail", "status": status}, None)
        for status in (408, 409, 429, 500, 502, 503, 504, 529)
    },
    "429 for 1 s, then well": ({"type": "fail", "status": 429, "retry_after": 1}, None),
    "429": ({"type": "fail", "status": 429, "times": None}, None),
    "500": ({"type": "fail", "status": 500, "times": None}, None),
    "delay": ({"type": "delay", "seconds": 1}, None),
    "slow_first_token": ({"type": "slow_first_token", "seconds": 0.5}, None),
    "disconnect before output": ({"type": "stream_fault", "kind": "disconnect", "after_chunks": 1}, None),
    "truncate before output": ({"type": "stream_fault", "kind": "truncate", "after_chunks": 1}, None),
    "stall before output": ({"type": "stream_fault", "kind": "stall", "after_chunks": 1, "stall_seconds": 3}, None),
    "stall": ({"type": "stream_fault", "kind": "stall", "after_chunks": 6, "stall_seconds": 3}, None),
    "disconnect": ({"type": "stream_fault", "kind": "disconnect", "after_chunks": 6}, ("WARN gave_up", CUT)),
    "truncate": ({"type": "stream_fault", "kind": "truncate", "after_chunks": 6}, ("FAIL truncated_stream_accepted", CUT)),
    "disconnect, restart": ({"type": "stream_fault", "kind": "disconnect", "after_chunks": 6}, None),
    "truncate, restart": ({"type": "stream_fault", "kind": "truncate", "after_chunks": 6}, None),
    "malformed before output": ({"type": "stream_fault", "kind": "malformed", "after_chunks": FIRST_PIECE}, None),
    "malformed announcement": (
        {"type": "stream_fault", "kind": "malformed", "after_chunks": {"responses": 1}},
        ("WARN malformed_chunk_ignored", WHOLE),
    ),
    "malformed": ({"type": "stream_fault", "kind": "malformed", "after_chunks": 6}, ("WARN malformed_chunk_ignored", HOLE)),
    "malformed_arguments": ({"type": "tool_fault", "kind": "malformed_arguments"}, None),
    "unknown_tool": ({"type": "tool_fault", "kind": "unknown_tool"}, None),
}
TOOLS = [{"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}]


def of_llmock(servers, program, cache, only):
    """The verdicts of LLMock on `ask`, over both APIs."""
    with servers:
        server = servers.graded(str(cache / "more" / "bin" / "llmock"))
        control = server.url.removesuffix("/v1") + "/_llmock/"
        tools = servers.file("tools.json", json.dumps(TOOLS))
        for wire in ("responses", "chat"):
            for mode, (fault, known) in FAULTS.items():
                name = f"{wire}: {mode}"
                if only not in name:
                    continue
                at = fault.get("after_chunks")
                if isinstance(at, dict):
                    if wire not in at:
                        continue
                    fault = {**fault, "after_chunks": at[wire]}
                call(control + "reset", {})
                call(control + "scenario", {"behaviors": [fault]})
                command = [program, "ask", "--base-url", server.url, "--wire", wire, "-m", "gpt-4o", "--idle-timeout", "1s"]
                command += ["--tools", tools] if fault["type"] == "tool_fault" else []
                command += RESTART if mode.endswith("restart") else []
                ask = subprocess.run(
                    [*command, "hello"], env=environment(OPENAI_API_KEY="sk-clients"), stdin=subprocess.DEVNULL, capture_output=True, timeout=60
                )
                verdict = call(control + "verdict")
                marks = {"error": "FAIL", "warning": "WARN"}
                said = [f"{marks[finding['severity']]} {finding['code']}" for finding in verdict["findings"]] or ["PASS"]
                told = f"{', '.join(said)}; {verdict['attempts']} requests, exit {ask.returncode}"
                yield "ask, by LLMock", name, told, None if said == [known[0] if known else "PASS"] else "not as expected"


def call(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=10) as answer:
        return json.load(answer)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--program", required=True)
    options.add_argument("--cache", type=pathlib.Path, required=True)
    options.add_argument("--only", default="", help="the cases whose name has this")
    options.add_argument("clients", nargs="*")
    options = options.parse_args()
    run_by = runners(options.cache)
    rows = []
    for name in options.clients or [*run_by, "llmock"]:
        started = time.monotonic()
        servers = Servers(options.program, "")
        if name == "llmock":
            rows += of_llmock(servers, options.program, options.cache, options.only)
        else:
            rows += of_clients(servers, name, run_by[name], options.only)
        print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    print("| client | case | what came | |\n|---|---|---|---|")
    for client, case, result, problem in rows:
        print(f"| {client} | {case} | {result if isinstance(result, str) else shown(result)} | {'WRONG' if problem else ''} |")
    for name, (_, known) in FAULTS.items():
        if known:
            print(f"LLMock, {name}: {known[0]}: {known[1]}")
    bad = [row for row in rows if row[-1]]
    for client, case, _, problem in bad:
        print(f"{client}, {case}: {problem}", file=sys.stderr)
    print(f"{len(rows) - len(bad)} of {len(rows)} as they are wanted")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
