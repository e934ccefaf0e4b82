"""A Redis that dies, with its data or without, is full, or can't be reached."""

import asyncio
import functools
import itertools
import os
import shutil
import subprocess

from client import Answer, Cut, ask
from cluster import CLAIM_TIME, Cluster, Redis
from deaths import DETACHED, SLACK, begun_on, watched_on
from everyday import LeftOut, cut_often, kinds

# A claim of this length where nobody waits for its end: a machine that does much else is not to lose it.
UNHURRIED = 4
# How long Redis is away, at the least.
OUTAGE = 2


async def restarted(arguments, keeps):
    async with Cluster(arguments.program, pace="100ms", keeps=keeps, claim_time=UNHURRIED) as cluster:
        first, other = cluster.nodes
        answers = list(kinds(12 if arguments.long else 6))
        begun = await begun_on(first, answers)
        readers, watching = await watched_on([other], answers)
        # What lies in the file is what a second ago was written.
        await asyncio.sleep(1.1 if keeps else 0)
        await cluster.redis.end()
        await cluster.ready(other, 503)
        late = answers[0]
        status, said = await ask(other.url, "GET", f"/v1/responses/{late.id}")
        assert status == 503 and "store_unavailable" in str(said), f"{status} {said}"
        status, said = await ask(other.url, "POST", f"/v1/responses/{late.id}/cancel", {})
        assert status == 503, f"a cancel that can't be had is {status} {said}"
        meanwhile = Answer("meanwhile", headers=DETACHED)
        new = asyncio.create_task(meanwhile.begin(other.url))
        await asyncio.sleep(OUTAGE)
        await cluster.redis.start()
        await cluster.ready(other)
        # Those at the node that asks the server notice nothing.
        await asyncio.gather(*begun, new)
        for answer in [*answers, meanwhile]:
            answer.check_whole()
            assert answer.connections == 1
            assert answer.longest_pause < OUTAGE, f"{answer.prompt}: a pause of {answer.longest_pause:.1f} s"
        await asyncio.gather(*watching)
        for reader in readers:
            reader.check_whole()
        # All of it lies there, what came in the meantime too.
        again = [answer.joined() for answer in [*answers, meanwhile]]
        await asyncio.gather(*(one.finish([first.url if one.prompt == "meanwhile" else other.url]) for one in again))
        for one, answer in zip(again, [*answers, meanwhile]):
            assert one.events == answer.events, f"{one.prompt}: what was appended later is not the same"
        assert cluster.posts() == len(answers) + 1
        return f"{len(readers)} readers on the other node waited {max(one.longest_pause for one in readers):.1f} s at most"


async def with_data(arguments):
    """Redis is killed in mid-answer and comes back with its data."""
    return await restarted(arguments, keeps=True)


async def without_data(arguments):
    """Redis is killed in mid-answer and comes back with nothing: what runs is written again."""
    return await restarted(arguments, keeps=False)


async def cuts_and_restarts(arguments):
    """The same client that is cut a hundred times, while Redis goes and comes."""
    async with Cluster(arguments.program, nodes=3, pace="60ms", claim_time=UNHURRIED) as cluster:
        answers = list(kinds(60 if arguments.long else 12))
        cutting = asyncio.create_task(cut_often(cluster, answers, 5))
        restarts = 0
        while not cutting.done():
            await asyncio.wait([cutting], timeout=1)
            if not cutting.done():
                await cluster.redis.end()
                await asyncio.wait([cutting], timeout=0.3)
                await cluster.redis.start()
                restarts += 1
        count = await cutting
        assert cluster.posts() == len(answers)
        return f"{len(answers)} answers whole over {count} connections and {restarts} restarts of Redis"


async def down_at_the_start(arguments):
    """A node starts without its Redis, relays, says so, and takes part when that is there."""
    async with Cluster(arguments.program, nodes=1) as cluster:
        [first] = cluster.nodes
        await cluster.redis.end()
        late = await cluster.add("late")
        assert "503" in str(await ask(late.url, "GET", "/readyz"))
        answer = Answer("while it is down")
        await answer.begin(late.url)
        answer.check_whole()
        await cluster.redis.start()
        await cluster.ready(late)
        await cluster.ready(first)
        answer = Answer("when it is up", store=True)
        await answer.begin(late.url)
        again = answer.joined()
        await again.finish([first.url])
        assert again.events == answer.events
        said = late.log.read_text()
        assert said.count("does not answer") == 1 and "the store answers" in said, said
        return "starts, relays, and takes part later"


async def full(arguments):
    """A Redis that is full takes no new answers, and the head does not promise that one can be read again."""
    async with Cluster(arguments.program, nodes=1) as cluster:
        await cluster.redis.say(b"CONFIG SET maxmemory 1mb")
        answer = Answer("full", store=True)
        for _ in range(50):
            answer = Answer("full", store=True)
            await answer.begin(cluster.urls[0])
            answer.check_whole()
            if answer.id is None:
                return "relayed without x-relay-stream"
            await asyncio.sleep(0.1)
        raise AssertionError("a full Redis promises that answers can be read again")


NETWORKS = itertools.count()


class Network:
    """A namespace with two cables to here: one for clients, and one for Redis, which can be cut without either side being told."""

    def __init__(self):
        # Each its own: one that is deleted is there for a moment longer.
        self.key = f"{os.getpid()}{next(NETWORKS)}"
        self.name = f"actix-nodes-{self.key}"
        self.inside = ("ip", "netns", "exec", self.name)
        # Of the range for benchmarks (RFC 2544), by the process, so that two runs are not in each other's way.
        self.net = f"198.{18 + int(self.key) % 2}.{int(self.key) // 2 % 256}"

    def ip(self, *arguments):
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    def __enter__(self):
        if not shutil.which("ip") or subprocess.run(["ip", "netns", "add", self.name], capture_output=True).returncode:
            raise LeftOut("this needs 'ip netns', and to be root")
        try:
            self.ip("-n", self.name, "link", "set", "lo", "up")
            for number, what in enumerate(("c", "r")):
                out, into = f"an{self.key}{what}0", f"an{self.key}{what}1"
                self.ip("link", "add", out, "type", "veth", "peer", "name", into, "netns", self.name)
                self.ip("address", "add", f"{self.net}.{number * 4 + 1}/30", "dev", out)
                self.ip("-n", self.name, "address", "add", f"{self.net}.{number * 4 + 2}/30", "dev", into)
                self.ip("link", "set", out, "up")
                self.ip("-n", self.name, "link", "set", into, "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        # The cables go with it.
        self.ip("netns", "delete", self.name)

    def redis_cable(self, state):
        self.ip("-n", self.name, "link", "set", f"an{self.key}r1", state)

    def cluster(self, program, **more):
        """The first node lies inside, with the provider; Redis and the other node do not."""
        places = {"node0": (f"{self.net}.2:0", self.inside)}
        redis = functools.partial(Redis, host=f"{self.net}.5")
        return Cluster(program, pace="100ms", redis=redis, places=places, provider_prefix=self.inside, **more)


async def network_cut(arguments):
    """The network between a node and Redis is cut in mid-answer, for less than the claim and for longer."""
    with Network() as network:
        async with network.cluster(arguments.program, claim_time=2 * UNHURRIED) as cluster:
            first, other = cluster.nodes
            answers = list(kinds(3))
            begun = await begun_on(first, answers)
            readers, watching = await watched_on([other], answers)
            network.redis_cable("down")
            await cluster.ready(first, 503)
            await asyncio.sleep(1)
            network.redis_cable("up")
            await cluster.ready(first)
            await asyncio.gather(*begun, *watching)
            for one in [*answers, *readers]:
                one.check_whole()
            short = max(one.longest_pause for one in readers)
    with Network() as network:
        async with network.cluster(arguments.program) as cluster:
            first, other = cluster.nodes
            answer = Answer("cut off", headers=DETACHED, store=False)
            [begun] = await begun_on(first, [answer])
            [reader], [watching] = await watched_on([other], [answer])
            network.redis_cable("down")
            # Nobody can tell it from a node that is dead; who reads there gets the whole answer all the same.
            await begun
            answer.check_whole()
            await watching
            reader.check_lost()
            network.redis_cable("up")
            await cluster.ready(first)
            late = [answer.joined() for _ in cluster.nodes]
            await asyncio.gather(*(one.finish([node.url]) for one, node in zip(late, cluster.nodes)))
            assert late[1].end == reader.end, "another end came later"
            assert reader.longest_pause < CLAIM_TIME + SLACK, f"a reader waited {reader.longest_pause:.1f} s"
            return f"whole after a pause of {short:.1f} s; cut off for good, the other's readers waited {reader.longest_pause:.1f} s"


SCENARIOS = {
    "Redis killed, keeps its data": with_data,
    "Redis killed, loses its data": without_data,
    "cuts and restarts of Redis": cuts_and_restarts,
    "Redis down at the start": down_at_the_start,
    "Redis full": full,
    "network cut": network_cut,
}
