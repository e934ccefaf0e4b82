"""The processes: a Redis, a provider, and nodes of the relay. Only what was started here is ended, by its id."""

import asyncio
import ctypes
import os
import pathlib
import shutil
import signal
import socket
import tempfile

from client import ask

# A claim of this length, so that nobody waits long.
CLAIM_TIME = 1.0


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def dies_with_us():
    """On Linux a child gets a SIGKILL when this process ends, however that ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Process:
    """One of them, with its output in files of the folder."""

    def __init__(self, folder, name, arguments, prefix=(), environment=None):
        self.folder, self.name = folder, name
        self.arguments = [*prefix, *map(str, arguments)]
        self.environment = environment
        self.child = None
        self.url = None

    @property
    def log(self):
        return self.folder / f"{self.name}.stderr"

    async def start(self):
        """Starts it; until it has said a URL, if it is one of ours."""
        out = open(self.folder / f"{self.name}.stdout", "wb")
        with out, open(self.log, "ab") as err:
            self.child = await asyncio.create_subprocess_exec(
                *self.arguments, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=err,
                preexec_fn=dies_with_us, env={**os.environ, **(self.environment or {})},
            )
        return self

    async def serving(self):
        """Waits for the line with the URL."""
        path = self.folder / f"{self.name}.stdout"
        for _ in range(600):
            line = path.read_text()
            if line.endswith("\n"):
                self.url = line.strip().removesuffix("/v1")
                return self
            if self.child.returncode is not None:
                break
            await asyncio.sleep(0.05)
        raise AssertionError(f"{self.name} does not start: {self.log.read_text()}")

    def send(self, number):
        self.child.send_signal(number)

    async def end(self, number=signal.SIGKILL):
        """Ends it, and waits until it is gone; its exit status."""
        if self.child is None or self.child.returncode is not None:
            return self.child and self.child.returncode
        self.child.send_signal(number)
        return await asyncio.wait_for(self.child.wait(), 30)


class Redis(Process):
    def __init__(self, folder, name="redis", keeps=True, host="127.0.0.1", prefix=(), more=(), login=None):
        self.host, self.port, self.keeps, self.login = host, free_port(), keeps, login
        (folder / name).mkdir()
        super().__init__(folder, name, [
            "redis-server", "--bind", host, "--port", self.port, "--dir", folder / name, "--save", "",
            "--appendonly", "yes" if keeps else "no", "--appendfsync", "everysec", "--protected-mode", "no", *more,
        ], prefix)

    @property
    def store(self):
        place = f"{self.host}:{self.port}"
        return self.login.replace("@redis", f"@{place}") if self.login else f"redis://{place}"

    async def start(self):
        await super().start()
        for _ in range(200):
            try:
                # Without a password it is refused, which is an answer, too.
                said = await self.say(b"PING")
                if b"PONG" in said or b"NOAUTH" in said:
                    return self
            except OSError:
                pass
            await asyncio.sleep(0.05)
        raise AssertionError(f"redis-server does not start: {(self.folder / (self.name + '.stdout')).read_text()}")

    async def say(self, command):
        """What it answers to a command, as far as it came at once."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        writer.write(command + b"\r\n")
        answer = await asyncio.wait_for(reader.read(1 << 20), 5)
        writer.close()
        return answer


class Cluster:
    """A Redis, a provider and some nodes, in a folder that goes with them."""

    def __init__(self, program, nodes=2, pace="40ms", keeps=True, resumes=True, flags=(), script=None, redis=None, places=None, provider_prefix=(),
                 claim_time=CLAIM_TIME):
        self.program, self.count, self.flags, self.claim_time = program, nodes, list(flags), claim_time
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="actix-responses-nodes-"))
        self.redis = (redis or Redis)(self.folder, keeps=keeps)
        served = ["--script", script] if script else ["--pace", pace]
        self.provider = Process(self.folder, "provider", [program, "loopback", *served], provider_prefix)
        # Where a node listens that does not on loopback, and what is to be said before its command.
        self.places = places or {}
        self.nodes = []

    async def __aenter__(self):
        try:
            await asyncio.gather(self.redis.start(), self.provider.start())
            await self.provider.serving()
            config = self.folder / "relay.toml"
            config.write_text(
                "[relay]\ndrain_notice = '200ms'\n"
                f"[providers.local]\nbase_url = '{self.provider.url}/v1'\nmax_attempts = 1\n"
                f"[providers.chat]\nbase_url = '{self.provider.url}/v1'\nwire = 'chat'\nmax_attempts = 1\n"
                "[[route]]\nmodel = 'chat*'\nprovider = 'chat'\n[[route]]\nmodel = '*'\nprovider = 'local'\n"
            )
            for number in range(self.count):
                await self.add(f"node{number}")
            return self
        except BaseException:
            await self.__aexit__(None, None, None)
            raise

    async def __aexit__(self, kind, error, _):
        for process in [*self.nodes, self.provider, self.redis]:
            await process.end()
        if error is not None and not isinstance(error, asyncio.CancelledError):
            for node in self.nodes:
                tail = node.log.read_text()[-1500:] if node.log.exists() else ""
                print(f"--- {node.name} said:\n{tail}")
        shutil.rmtree(self.folder, ignore_errors=True)

    def node(self, name, store=None):
        listen, prefix = self.places.get(name, ("127.0.0.1:0", ()))
        return Process(self.folder, name, [
            self.program, "serve", "--listen", listen, "--config", self.folder / "relay.toml", "--node", name,
            "--claim-time", f"{int(self.claim_time * 1000)}ms", *(["--allow-anonymous"] if prefix else []), *self.flags,
        ], prefix, {"RESPONSES_STORE": store or self.redis.store})

    async def add(self, name):
        node = self.node(name)
        self.nodes.append(node)
        await node.start()
        await node.serving()
        return node

    @property
    def urls(self):
        return [node.url for node in self.nodes if node.child.returncode is None]

    def posts(self):
        """How many requests for an answer the provider has had."""
        lines = self.provider.log.read_text().splitlines()
        return sum("method=POST" in line and ('path="/v1/responses"' in line or "/chat/completions" in line) for line in lines)

    async def ready(self, node, wanted=200, seconds=10):
        """Until a node's readiness is so."""
        for _ in range(int(seconds * 20)):
            status, text = await ask(node.url, "GET", "/readyz")
            if status == wanted:
                return text
            await asyncio.sleep(0.05)
        raise AssertionError(f"{node.name}: readiness is {status} {text!r}, and not {wanted}")
