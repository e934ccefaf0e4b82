"""The servers of a comparison: each case has its own, so that ids, replies and counts are those of its requests alone."""

import json
import os
import pathlib
import re
import socket
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request

# What a client may not take from whoever runs this.
UNWANTED = re.compile(r"^(OPENAI_|CODEX_|AI_SDK|AWS_|.*_proxy$|.*_PROXY$)")


def environment(**more):
    """An environment without anybody's keys and proxies, and with what keeps the clients from telling others of it."""
    kept = {name: value for name, value in os.environ.items() if not UNWANTED.match(name)}
    quiet = {
        "OPENAI_AGENTS_DISABLE_TRACING": "1",
        "DO_NOT_TRACK": "1",
        "NEXT_TELEMETRY_DISABLED": "1",
        "NO_PROXY": "*",
        # Two of the package's types do not fit what OpenAI's own server sends.
        "PYTHONWARNINGS": "ignore",
    }
    return {**kept, **quiet, **more}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


class Servers:
    """Starts them, counts what they were asked, and ends them again."""

    def __init__(self, program, llmock, fixtures=()):
        self.program = program
        self.fixtures = fixtures
        self.llmock = llmock
        self.aimocks = None
        self.folder = tempfile.TemporaryDirectory()
        self.started = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in self.started:
            server.process.kill()
            server.process.wait()
        self.folder.cleanup()

    def file(self, name, text):
        path = pathlib.Path(self.folder.name, f"{len(list(pathlib.Path(self.folder.name).iterdir()))}-{name}")
        path.write_text(text)
        return str(path)

    def loopback(self, script=None, flags=()):
        command = [self.program, "loopback", *flags]
        if script:
            command += ["--script", self.file("script.json", json.dumps(script))]
        return self.start("loopback", command)

    def aimock(self):
        """Somebody else's server; one for all cases, as it counts nothing."""
        if not self.aimocks:
            port = free_port()
            shared = pathlib.Path(__file__).resolve().parent.parent / "interop" / "aimock.json"
            fixtures = {"fixtures": [*self.fixtures, *json.loads(shared.read_text())["fixtures"]]}
            command = [self.llmock, "-p", str(port), "-h", "127.0.0.1", "-f", self.file("aimock.json", json.dumps(fixtures))]
            self.aimocks = self.start("aimock", command, f"http://127.0.0.1:{port}/v1")
        return self.aimocks

    def graded(self, llmock):
        """The server that grades its clients, another llmock than aimock's."""
        port = free_port()
        # At the pace of a model: of an answer that is written at once it can't see that its reader stopped in the middle.
        command = [llmock, "serve", "--host", "127.0.0.1", "--port", str(port), "--stream-chunk-delay-ms", "20"]
        return self.start("llmock", command, f"http://127.0.0.1:{port}/v1")

    def relay(self, server, wire=None):
        command = [self.program, "serve", "--listen", "127.0.0.1:0", "--base-url", server.url]
        if wire:
            command += ["--wire", wire]
        return self.start("relay", command)

    def start(self, name, command, url=None):
        server = Server(command, self.file(f"{name}.log", ""), url)
        self.started.append(server)
        return server


class Server:
    """One that runs."""

    def __init__(self, command, log, url=None):
        """A server that says its URL on its first line, or one whose URL is known and that listens after a while."""
        self.log = log
        with open(log, "w") as stderr:
            stdout = stderr if url else subprocess.PIPE
            self.process = subprocess.Popen(
                command, stdout=stdout, stderr=stderr, stdin=subprocess.DEVNULL, text=True, env=environment()
            )
        self.url = url or self.process.stdout.readline().strip()
        if not self.url.startswith("http") or not self.listens():
            self.process.kill()
            raise SystemExit(f"{' '.join(command)} does not start:\n{pathlib.Path(log).read_text()}")

    def listens(self):
        at = urllib.parse.urlsplit(self.url)
        for _ in range(200):
            try:
                socket.create_connection((at.hostname, at.port)).close()
                return True
            except OSError:
                time.sleep(0.1)
        return False

    def requests(self):
        """How many requests reached it: each is a line of its log."""
        time.sleep(0.05)
        return len(re.findall(r" method=[A-Z]+ path=", pathlib.Path(self.log).read_text()))

    def received(self, path):
        """The bodies that aimock was sent; itself it takes each API for Chat."""
        at = urllib.parse.urlsplit(self.url)
        with urllib.request.urlopen(f"http://{at.netloc}/__aimock/journal", timeout=10) as answer:
            return [entry["body"] for entry in json.load(answer) if entry["path"].endswith(path)]
