"""The servers of a comparison: each case has its own, so that ids, replies and counts are those of its requests alone."""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import time

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


class Servers:
    """Starts them, counts what they were asked, and ends them again."""

    def __init__(self, program):
        self.program = program
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

    def loopback(self, script=None):
        command = [self.program, "loopback"]
        if script:
            command += ["--script", self.file("script.json", json.dumps(script))]
        return self.start("loopback", command)

    def relay(self, server, wire=None):
        command = [self.program, "serve", "--listen", "127.0.0.1:0", "--base-url", server.url]
        if wire:
            command += ["--wire", wire]
        return self.start("relay", command)

    def start(self, name, command):
        server = Server(command, self.file(f"{name}.log", ""))
        self.started.append(server)
        return server


class Server:
    def __init__(self, command, log):
        self.log = log
        with open(log, "w") as stderr:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=stderr, stdin=subprocess.DEVNULL, text=True, env=environment()
            )
        self.url = self.process.stdout.readline().strip()
        if not self.url.startswith("http"):
            raise SystemExit(f"{' '.join(command)} does not start:\n{pathlib.Path(log).read_text()}")

    def requests(self):
        """How many requests reached it: each is a line of its log."""
        time.sleep(0.05)
        return len(re.findall(r" method=[A-Z]+ path=", pathlib.Path(self.log).read_text()))
