"""Nodes that die, or stand still for longer than their claim."""

import asyncio
import signal
import time

from client import Answer, Cut
from cluster import CLAIM_TIME, Cluster

DETACHED = {"x-relay-detach": "true"}
# What a take-over may take beside the claim's time: that somebody looks, and asks.
SLACK = 2.5


async def begun_on(node, answers, events=5):
    """The answers run on that node, each with a client there. Their tasks."""
    tasks = [asyncio.create_task(answer.begin(node.url)) for answer in answers]
    while not all(len(answer.events) >= events for answer in answers):
        for task in tasks:
            if task.done():
                task.result()
        await asyncio.sleep(0.01)
    return tasks


async def watched_on(nodes, answers):
    """A reader of each on each of the nodes."""
    readers = [(answer.joined(), node) for answer in answers for node in nodes]
    tasks = [asyncio.create_task(reader.finish([node.url])) for reader, node in readers]
    while not all(reader.events for reader, _ in readers):
        for task in tasks:
            if task.done():
                task.result()
        await asyncio.sleep(0.01)
    return [reader for reader, _ in readers], tasks


async def killed(arguments, make, check, resumes):
    async with Cluster(arguments.program, nodes=3, pace="100ms") as cluster:
        first, *others = cluster.nodes
        answers = [make(f"answer {number}") for number in range(20 if arguments.long else 4)]
        begun = await begun_on(first, answers)
        readers, watching = await watched_on(others, answers)
        await first.end()
        died = time.monotonic()
        for ended in await asyncio.gather(*begun, return_exceptions=True):
            assert isinstance(ended, (Cut, OSError)), f"a killed node ended with {ended!r}"
        await asyncio.gather(*watching, *(answer.finish(cluster.urls) for answer in answers))
        for one in [*answers, *readers]:
            check(one)
        for reader in readers:
            whole = next(answer for answer in answers if answer.id == reader.id)
            assert resumes is False or reader.events == whole.events, f"{reader.prompt}: readers got different events"
            assert reader.end == whole.end, f"{reader.prompt}: two ends: {reader.end} and {whole.end}"
        waits = [reader.longest_pause for reader in readers]
        assert max(waits) < CLAIM_TIME + SLACK, f"a reader waited {max(waits):.1f} s"
        assert cluster.posts() == len(answers), f"{cluster.posts()} requests for {len(answers)} answers"
        # Nobody comes later with another end.
        again = [answer.joined() for answer in answers]
        await asyncio.gather(*(one.finish([others[0].url]) for one in again))
        assert [one.end for one in again] == [answer.end for answer in answers], "another end came later"
        return f"{len(readers)} readers waited {max(waits):.1f} s at most, {len(answers)} requests; {time.monotonic() - died:.1f} s to the ends"


async def killed_resumed(arguments):
    """kill -9 of a node whose server goes on with the answer: so does another node, with one request."""
    return await killed(arguments, lambda prompt: Answer(prompt, background=True), Answer.check_whole, True)


async def killed_lost(arguments):
    """kill -9 of a node whose server does not: `node_lost` for every reader, within the claim's time."""
    return await killed(arguments, lambda prompt: Answer(prompt, headers=DETACHED, store=False), Answer.check_lost, False)


async def killed_chat(arguments):
    """The same over Chat."""
    make = lambda prompt: Answer(prompt, headers={**DETACHED, "x-relay-ids": "true"}, chat=True)
    return await killed(arguments, make, Answer.check_lost, False)


async def stopped(arguments, make, check):
    async with Cluster(arguments.program, pace="100ms") as cluster:
        first, other = cluster.nodes
        answer = make("stopped")
        [begun] = await begun_on(first, [answer])
        [reader], [watching] = await watched_on([other], [answer])
        first.send(signal.SIGSTOP)
        await asyncio.sleep(CLAIM_TIME * 2.5)
        # The other node has the answer now, or has ended it.
        first.send(signal.SIGCONT)
        try:
            await asyncio.wait_for(begun, 20)
        except (Cut, OSError):
            await answer.finish(cluster.urls)
        await watching
        for one in (answer, reader):
            check(one)
        assert answer.end == reader.end, f"two ends: {answer.end} and {reader.end}"
        assert cluster.posts() == 1, f"{cluster.posts()} requests"
        late = [answer.joined() for _ in cluster.urls]
        await asyncio.gather(*(one.finish([url]) for one, url in zip(late, cluster.urls)))
        assert all(one.end == answer.end for one in late), "a late reader sees another end"
        assert late[0].events == late[1].events, "two nodes tell it differently"
        return f"one end; the reader of the other node waited {reader.longest_pause:.1f} s"


async def stopped_resumed(arguments):
    """A node stands still for longer than its claim, and comes back: it is refused, and its readers get the others' end."""
    return await stopped(arguments, lambda prompt: Answer(prompt, background=True), Answer.check_whole)


async def stopped_lost(arguments):
    return await stopped(arguments, lambda prompt: Answer(prompt, headers=DETACHED, store=False), Answer.check_lost)


SCENARIOS = {
    "node killed, goes on": killed_resumed,
    "node killed, lost": killed_lost,
    "node killed, lost over Chat": killed_chat,
    "node stopped, goes on": stopped_resumed,
    "node stopped, lost": stopped_lost,
}
