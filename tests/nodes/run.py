#!/usr/bin/env python3
"""Several nodes as people run them: real processes, a real Redis, and clients that are cut.

    tests/nodes/run.py [--long] [--times N] [--only NAME]... [--list] [PROGRAM]     the program, else the debug build's

Needs redis-server, and Python 3.11; `ip netns` and root for the cut network, nginx for what stands in front. It ends with 77 where nothing
can be checked, and says at the end what it left out.
"""

import argparse
import asyncio
import pathlib
import random
import shutil
import sys
import time

import deaths
import everyday
import outages

HERE = pathlib.Path(__file__).resolve().parent


async def one(name, scenario, arguments):
    started = time.monotonic()
    for _ in range(arguments.times):
        said = await asyncio.wait_for(scenario(arguments), 600 if arguments.long else 120)
    print(f"nodes: {name}: {said} ({time.monotonic() - started:.1f} s)", flush=True)


async def all_of(scenarios, arguments):
    failed, left_out = [], []
    # They wait most of the time.
    turns = asyncio.Semaphore(arguments.at_once)

    async def run(name, scenario):
        async with turns:
            try:
                await one(name, scenario, arguments)
            except everyday.LeftOut as reason:
                left_out.append(f"{name}: {reason}")
            except Exception as error:
                failed.append(name)
                print(f"nodes: {name}: FAILED: {type(error).__name__}: {error}", flush=True)
                if arguments.trace:
                    raise

    # What goes on when its scenario has failed.
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    await asyncio.gather(*(run(*named) for named in scenarios.items()))
    for line in left_out:
        print(f"nodes: left out: {line}")
    return failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", nargs="?", default=HERE.parent.parent / "target/debug/actix-responses")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    arguments = parser.parse_args()
    scenarios = {**everyday.SCENARIOS, **deaths.SCENARIOS, **outages.SCENARIOS}
    if arguments.list:
        return print("\n".join(scenarios))
    arguments.program = pathlib.Path(arguments.program).resolve()
    if not shutil.which("redis-server") or sys.version_info < (3, 11):
        print("nodes: left out as a whole: it needs redis-server, and Python 3.11")
        sys.exit(77)
    chosen = {name: scenarios[name] for name in arguments.only or scenarios}
    random.seed(arguments.seed)
    failed = asyncio.run(all_of(chosen, arguments))
    if failed:
        sys.exit(f"nodes: {len(failed)} of {len(chosen)} failed, with --seed {arguments.seed}: {', '.join(failed)}")
    print(f"nodes: {len(chosen)} of {len(chosen)} done")


main()
