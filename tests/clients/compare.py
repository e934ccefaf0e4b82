#!/usr/bin/env python3
"""Compares what clients make of a server with what they make of it through the relay; prints a table, fails on a difference.

    compare.py --program PATH --cache FOLDER [--only TEXT] [--direct] [CLIENT ...]

With --direct both sides are the server itself, which shows what of a comparison is the relay's doing.
"""

import argparse
import collections
import json
import pathlib
import subprocess
import sys
import time

import cases as known
import codex
from servers import Servers, environment

HERE = pathlib.Path(__file__).resolve().parent


def python_of(cache):
    return str(cache / "python" / "bin" / "python")


def script_of(name):
    return str(HERE / name)


def clients(cache):
    python = python_of(cache)
    # Packages are looked for beside a module: the script is run as if it lay in their folder.
    node = lambda name: ["node", str(cache / "node" / name)]
    return {
        "openai-python": (known.sdk_cases(), by_command([python, script_of("openai_python.py")])),
        "openai-node": (known.sdk_cases(), by_command(node("openai_node.mjs"))),
        "vercel-ai": (known.turn_cases(), by_command(node("vercel.mjs"))),
        "openai-agents": (known.turn_cases(), by_command([python, script_of("agents_python.py")])),
        "codex": (codex.cases(), lambda asked: codex.run(str(cache / "codex" / "node_modules" / ".bin" / "codex"), asked)),
    }


def by_command(command):
    def run(asked):
        done = subprocess.run(
            command, input=json.dumps(asked), stdout=subprocess.PIPE, text=True, env=environment(), timeout=300, check=True
        )
        lines = map(json.loads, done.stdout.splitlines())
        return {line["case"]: line["result"] for line in lines}

    return run


def sides(servers, case, through_relay):
    """The server that is asked itself, the one behind the relay, and the relay."""
    if case.server == "aimock":
        server = servers.aimock()
        return server, server, servers.relay(server, case.wire or dialect(case)) if through_relay else server
    script = lambda side: case.script.get(side, case.script) if case.script else None
    same = ["--reproducible", "--tool-calls"]
    direct = servers.loopback(script("direct"), same)
    behind = servers.loopback(script("relayed" if through_relay else "direct"), same)
    relay = servers.relay(behind, case.wire or dialect(case)) if through_relay else behind
    return direct, behind, relay


def dialect(case):
    return "chat" if case.action.startswith("chat") else None


def compare(servers, name, cases, run, through_relay):
    started = time.monotonic()
    with servers:
        of = {case.name: sides(servers, case, through_relay) for case in cases}
        asked = []
        for case in cases:
            direct, _, relay = of[case.name]
            for side, server in (("direct", direct), ("relayed", relay)):
                asked.append({"case": f"{side}: {case.name}", "action": case.action, "url": server.url})
        results = run(asked)
        rows = []
        for case in cases:
            direct, behind, _ = of[case.name]
            told = [results.get(f"{side}: {case.name}", {"error": "no result"}) for side in ("direct", "relayed")]
            requests = direct.requests(), behind.requests()
            problem = judged(case, told, requests)
            if case.server == "aimock" and not problem:
                problem = case.received(behind.received("/chat/completions"))
            rows.append((name, case.name, outcome(told[0]), outcome(told[1]), requests, problem))
    print(f"{name}: {len(cases)} cases in {time.monotonic() - started:.0f} s", file=sys.stderr)
    return rows


def judged(case, told, requests):
    try:
        problem = case.judge(*told)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        problem = f"not as expected ({type(error).__name__}: {error}): {known.shown(told[1])}"
    most = max(requests[0], known.MAX_ATTEMPTS + case.answers - 1)
    if not problem and requests[1] > most:
        problem = f"{requests[1]} requests instead of {most} at most"
    return problem


def remark(direct, relayed, requests, problem):
    """What is worse, and what is better or dearer, through the relay."""
    if problem:
        return "WORSE"
    good = ("well", "exit 0")
    if relayed in good and direct not in good:
        return "better: it ends well"
    if requests[0] > requests[1]:
        return "better: fewer requests"
    return "as well, with more requests" if requests[1] > requests[0] else ""


def outcome(result):
    """A result in a word or two."""
    error = result.get("error") if isinstance(result, dict) else None
    if isinstance(error, dict):
        status = error.get("status_code") or error.get("status")
        return " ".join(str(word) for word in (error.get("class"), status) if word)
    if error:
        return str(error)
    if isinstance(result, dict) and "ended" in result:
        return f"exit {result['ended']}"
    events = result.get("events") if isinstance(result, dict) else None
    if events and events[-1].get("type") in ("response.failed", "error"):
        return events[-1]["type"]
    return "well"


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--program", required=True)
    options.add_argument("--cache", type=pathlib.Path, required=True)
    options.add_argument("--only", default="", help="the cases whose name has this")
    options.add_argument("--direct", action="store_true", help="without a relay between")
    options.add_argument("clients", nargs="*")
    options = options.parse_args()
    all_clients = clients(options.cache)
    llmock = options.cache / "node" / "node_modules" / ".bin" / "llmock"
    rows = []
    for name in options.clients or all_clients:
        cases, run = all_clients[name]
        cases = [case for case in cases if options.only in case.name]
        rows += compare(Servers(options.program, str(llmock), [*codex.FIXTURES, *known.FIXTURES]), name, cases, run, not options.direct)
    print("What a case comes to, without the relay and through it, and the requests that reach the server. Worse is another end than")
    print(f"without the relay, unless it is a good one, or more than {known.MAX_ATTEMPTS} requests for an answer and than without.")
    print("| client | case | direct | relayed | requests | |\n|---|---|---|---|---|---|")
    remarks = collections.Counter()
    for client, case, direct, relayed, requests, problem in rows:
        said = remark(direct, relayed, requests, problem)
        remarks[said or "the same"] += 1
        print(f"| {client} | {case} | {direct} | {relayed} | {requests[0]}, {requests[1]} | {said} |")
    bad = [row for row in rows if row[-1]]
    for client, case, *_, problem in bad:
        print(f"{client}, {case}: {problem}", file=sys.stderr)
    print("; ".join(f"{count} {said}" for said, count in remarks.most_common()))
    print(f"{len(rows) - len(bad)} of {len(rows)} no worse than without the relay")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
