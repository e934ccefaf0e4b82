"""What clients do on any day: they are cut, ask another node, cancel and delete; nodes are stopped in good order."""

import asyncio
import functools
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile
import time

from client import Answer, Cut, ask
from cluster import Cluster, Process, Redis, free_port

EXAMPLE = pathlib.Path(__file__).resolve().parent.parent.parent / "examples/compose"


class LeftOut(Exception):
    """It can't be had here."""


def kinds(count, headers=None, **more):
    """Answers of all three kinds that outlive their connection: in the background, detached, and detached over Chat."""
    headers = headers or {}
    detached = {**headers, "x-relay-detach": "true"}
    for number in range(count):
        prompt = f"answer {number} {random.randrange(1 << 30)}"
        match number % 3:
            case 0:
                yield Answer(prompt, headers=headers, background=True, **more)
            case 1:
                yield Answer(prompt, headers=detached, **more)
            case _:
                yield Answer(prompt, headers={**detached, "x-relay-ids": "true"}, chat=True, **more)


async def cut_often(cluster, answers, most, readers=2, urls=None):
    """Each answer is begun on a random node, cut, and read by itself and others, cut again and again. How many cuts there were."""
    cuts = 0

    def cut():
        nonlocal cuts
        cuts += 1
        return random.randint(1, most)

    async def read(answer):
        try:
            await answer.begin(random.choice(urls or cluster.urls), random.randint(1, most))
        except Cut:
            pass
        others = [answer.joined() for _ in range(readers - 1)]
        await asyncio.gather(*(one.finish(urls or cluster.urls, cut) for one in [answer, *others]))
        for one in [answer, *others]:
            one.check_whole()
            assert one.events == answer.events, f"{answer.prompt}: two readers got different events"

    await asyncio.gather(*map(read, answers))
    return cuts


async def cuts(arguments):
    """A client that is cut a hundred times and comes back to a random node: whole, one end, nothing twice."""
    async with Cluster(arguments.program, nodes=3, pace="30ms") as cluster:
        answers = list(kinds(60 if arguments.long else 12))
        count = await cut_often(cluster, answers, 5)
        assert count >= 100, f"{count} cuts are too few"
        assert cluster.posts() == len(answers), f"{cluster.posts()} requests came to the provider, for {len(answers)} answers"
        return f"{len(answers)} answers whole for 2 readers each, over {count} connections that were cut"


async def other_node(arguments):
    """All that is asked of an answer is asked of the node that does not have it."""
    async with Cluster(arguments.program, pace="60ms") as cluster:
        here, there = cluster.urls
        answer = Answer("one", background=True)
        try:
            await answer.begin(here, 5)
        except Cut:
            pass
        path = f"/v1/responses/{answer.server_id}"
        status, running = await ask(there, "GET", path)
        assert (status, running.get("status")) == (200, "in_progress"), f"{status} {running}"
        status, items = await ask(there, "GET", f"{path}/input_items")
        assert status == 200 and "one" in str(items), f"{status} {items}"
        for url in (here, there):
            status, page = await ask(url, "GET", "/streams")
            assert status == 200 and answer.id in str(page), f"{status} {page}"
        reader = answer.joined()
        reading = asyncio.create_task(reader.finish([there]))
        while not reader.events:
            await asyncio.sleep(0.01)
        started = time.monotonic()
        status, cancelled = await ask(there, "POST", f"{path}/cancel", {})
        took = time.monotonic() - started
        assert (status, cancelled.get("status")) == (200, "cancelled"), f"{status} {cancelled}"
        assert took < 1.5, f"a cancel took {took:.1f} s"
        await reading
        await answer.finish([here])
        assert answer.events == reader.events, "one cancel, two ends"
        # What has ended, on the other node, too.
        whole = Answer("two", store=True)
        await whole.begin(here)
        whole.check_whole()
        status, read = await ask(there, "GET", f"/v1/responses/{whole.server_id}")
        assert (status, read) == (200, whole.end["response"]), f"{status} {read}"
        again = whole.joined()
        await again.finish([there])
        assert again.events == whole.events
        # Going on from it there.
        onward = Answer("three", previous_response_id=whole.server_id)
        await onward.begin(there)
        onward.check_whole()
        status, deleted = await ask(there, "DELETE", f"/v1/responses/{whole.server_id}")
        assert status == 200 and deleted["deleted"], f"{status} {deleted}"
        for url in (here, there):
            status, _ = await ask(url, "GET", f"/v1/responses/{whole.server_id}?stream=true")
            assert status == 404, f"a deleted answer is {status}"
        return f"object, items, list, stream, cancel in {took * 1000:.0f} ms, going on and delete"


async def hand_over(arguments):
    """SIGTERM: what the server goes on with is handed to another node, whose readers see the rest; what is not, ends."""
    async with Cluster(arguments.program, pace="100ms", flags=["--grace", "500ms"]) as cluster:
        first, other = cluster.nodes
        kept = Answer("kept", background=True)
        lost = Answer("lost", headers={"x-relay-detach": "true"}, store=False)
        begun = [asyncio.create_task(answer.begin(first.url)) for answer in (kept, lost)]
        while not (kept.events and lost.events):
            await asyncio.sleep(0.01)
        watcher = kept.joined()
        watching = asyncio.create_task(watcher.finish([other.url]))
        await asyncio.sleep(0.3)
        first.send(signal.SIGTERM)
        await cluster.ready(first, 503)
        ended = await asyncio.gather(*begun, return_exceptions=True)
        assert isinstance(ended[0], (Cut, OSError)), f"the one that goes on elsewhere is cut, and not {ended[0]!r}"
        lost.check_lost("server_shutting_down")
        status = await asyncio.wait_for(first.child.wait(), 20)
        assert status == 0, f"it ended with {status}"
        await asyncio.gather(kept.finish([other.url]), watching)
        for one in (kept, watcher):
            one.check_whole()
        assert kept.events == watcher.events
        assert cluster.posts() == 2, f"{cluster.posts()} requests"
        return f"handed over; its reader waited {watcher.longest_pause:.1f} s"


async def behind_nginx(arguments):
    """The example for compose, as far as it goes without an engine: its nginx.conf, its rules for Redis, its tokens."""
    if not shutil.which("nginx"):
        raise LeftOut("there is no nginx")
    with tempfile.TemporaryDirectory(prefix="actix-responses-secrets-") as folder:
        secrets = pathlib.Path(folder)
        subprocess.run([EXAMPLE / "prepare.sh", secrets], check=True)
        token = (secrets / "token").read_text().strip()
        guarded = {"authorization": f"Bearer {token}"}
        rules = ["--aclfile", secrets / "users.acl"]
        redis = functools.partial(Redis, more=rules, login=(secrets / "store-url").read_text().strip())
        flags = ["--tokens", secrets / "tokens"]
        async with Cluster(arguments.program, pace="60ms", redis=redis, flags=flags) as cluster:
            for node in cluster.nodes:
                await cluster.ready(node)
            front = await nginx_before(cluster)
            try:
                status, _ = await ask(front, "GET", "/v1/models")
                assert status == 401, f"without a token it is {status}"
                answers = list(kinds(6, headers=guarded))
                await cut_often(cluster, answers, 5, urls=[front])
                plain = Answer("plain", headers=guarded)
                await plain.begin(front)
                plain.check_whole()
                assert plain.longest_pause < 1, f"blocks are held back for {plain.longest_pause:.1f} s"
                # One node goes away: who comes back is at the other.
                kept = Answer("kept", headers=guarded, background=True)
                reading = asyncio.create_task(kept.begin(front))
                while len(kept.events) < 5:
                    await asyncio.sleep(0.01)
                # What came in the last 20 ms is not stored yet.
                await asyncio.sleep(0.2)
                await cluster.nodes[0].end()
                try:
                    await reading
                except (Cut, OSError):
                    pass
                await kept.finish([front])
                kept.check_whole()
            finally:
                await cluster.front.end(signal.SIGTERM)
            return f"{len(answers) + 2} answers whole, blocks as they came, with the rules of Redis"


async def nginx_before(cluster):
    """nginx with the conf of the example in front of the nodes; its URL."""
    port = free_port()
    text = (EXAMPLE / "nginx.conf").read_text().replace("listen 8080;", f"listen 127.0.0.1:{port};")
    for number, node in enumerate(cluster.nodes, 1):
        host = node.url.removeprefix("http://")
        assert f"node{number}:8484" in text
        text = text.replace(f"node{number}:8484", host)
    folder = cluster.folder / "nginx"
    folder.mkdir()
    (folder / "nginx.conf").write_text(text)
    main = f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors;"
    cluster.front = Process(cluster.folder, "front", ["nginx", "-p", folder, "-c", folder / "nginx.conf", "-g", main])
    await cluster.front.start()
    for _ in range(100):
        try:
            await ask(f"http://127.0.0.1:{port}", "GET", "/healthz")
            return f"http://127.0.0.1:{port}"
        except (OSError, Cut):
            await asyncio.sleep(0.05)
    raise AssertionError(f"nginx does not start: {cluster.front.log.read_text()}")


SCENARIOS = {"cuts": cuts, "other node": other_node, "hand over": hand_over, "behind nginx": behind_nginx}
