"""A client of several nodes: it is cut, comes back to another one, and looks at what it got."""

import asyncio
import json
import random
import time

# The longest that anything is waited for; what holds comes far sooner.
PATIENCE = 30
ENDS = {"response.completed", "response.failed", "response.incomplete", "response.cancelled"}


class Refused(Exception):
    """The answer's status, with what it said."""

    def __init__(self, status, text):
        super().__init__(f"{status} {text[:200]}")
        self.status = status
        self.text = text

    @property
    def code(self):
        try:
            return json.loads(self.text)["error"]["code"]
        except (ValueError, KeyError, TypeError):
            return None


class Cut(Exception):
    """The connection ended before the body did."""


class Response:
    """A head, and a body that is read as it comes."""

    def __init__(self, reader, writer, status, headers):
        self.reader, self.writer = reader, writer
        self.status, self.headers = status, headers
        self.left = int(headers.get("content-length", 0))

    async def chunks(self):
        """Pieces of the body; `Cut` where it does not end as it says."""
        try:
            if self.headers.get("transfer-encoding") != "chunked":
                if self.left:
                    yield await self.reader.readexactly(self.left)
                return
            while size := int((await self.line()) or "0", 16):
                yield await self.reader.readexactly(size)
                await self.line()
            await self.line()
        except (asyncio.IncompleteReadError, ConnectionError, ValueError) as error:
            raise Cut(repr(error)) from error

    async def line(self):
        line = await self.reader.readuntil(b"\n")
        return line.strip().decode()

    async def text(self):
        return b"".join([chunk async for chunk in self.chunks()]).decode()

    async def events(self):
        """(id or None, data) for each block of the stream that has data."""
        rest = b""
        async for chunk in self.chunks():
            rest += chunk
            while b"\n\n" in rest:
                block, rest = rest.split(b"\n\n", 1)
                fields = dict(line.split(": ", 1) for line in block.decode().split("\n") if ": " in line and line[0] != ":")
                if "data" in fields:
                    data = fields["data"]
                    yield fields.get("id"), data if data == "[DONE]" else json.loads(data)
        if rest.strip():
            raise Cut(f"a torn block: {rest!r}")

    def close(self):
        self.writer.transport.abort()


async def request(url, method, path, body=None, headers=(), timeout=PATIENCE):
    """Asks a node; the body is still to be read."""
    async with asyncio.timeout(timeout):
        host, port = url.removeprefix("http://").rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 24)
        try:
            payload = b"" if body is None else json.dumps(body).encode()
            head = [f"{method} {path} HTTP/1.1", f"host: {host}:{port}", "connection: close", f"content-length: {len(payload)}"]
            if body is not None:
                head.append("content-type: application/json")
            head += [f"{name}: {value}" for name, value in dict(headers).items()]
            writer.write("\r\n".join([*head, "", ""]).encode() + payload)
            await writer.drain()
            status = int((await reader.readuntil(b"\r\n")).split()[1])
            fields = {}
            while line := (await reader.readuntil(b"\r\n")).strip().decode():
                name, value = line.split(":", 1)
                fields[name.lower()] = value.strip()
        except asyncio.IncompleteReadError as error:
            writer.transport.abort()
            raise Cut(repr(error)) from error
        except BaseException:
            writer.transport.abort()
            raise
        return Response(reader, writer, status, fields)


async def ask(url, method, path, body=None, headers=(), timeout=PATIENCE):
    """Asks a node, and reads the answer: its status, and its JSON or text."""
    response = await request(url, method, path, body, headers, timeout)
    try:
        async with asyncio.timeout(timeout):
            text = await response.text()
    finally:
        response.close()
    is_json = response.headers.get("content-type", "").startswith("application/json")
    return response.status, json.loads(text) if is_json else text


class Answer:
    """One answer, as one client sees it over all its connections."""

    def __init__(self, prompt, *, chat=False, headers=(), **more):
        self.prompt, self.chat = prompt, chat
        self.headers = dict(headers)
        self.path = "/v1/chat/completions" if chat else "/v1/responses"
        said = {"messages": [{"role": "user", "content": prompt}]} if chat else {"input": prompt}
        # In half of the cases the server speaks Chat, too; in the others it is asked over the bridge.
        model = "chat" if chat and random.random() < 0.5 else "m"
        self.body = {"model": model, "stream": True, **said, **more}
        self.id = None
        self.server_id = None
        self.after = None
        self.events = []
        self.times = []
        self.end = None
        self.connections = 0

    def joined(self):
        """Another client of the same answer, who has seen nothing yet."""
        other = Answer(self.prompt, chat=self.chat, headers=self.headers)
        other.id, other.server_id = self.id, self.server_id
        return other

    async def begin(self, url, cut=None):
        """Asks for it, and reads until `cut` events have come."""
        response = await request(url, "POST", self.path, self.body, self.headers)
        if response.status != 200:
            raise Refused(response.status, await response.text())
        self.id = response.headers.get("x-relay-stream")
        return await self.read(response, cut)

    async def come_back(self, url, cut=None):
        """Goes on behind what it has."""
        id = self.server_id if self.server_id and random.random() < 0.5 else self.id
        query = "stream=true" if self.after is None else f"stream=true&starting_after={self.after}"
        response = await request(url, "GET", f"/v1/responses/{id}?{query}", headers=self.headers)
        if response.status != 200:
            raise Refused(response.status, await response.text())
        return await self.read(response, cut)

    async def read(self, response, cut):
        self.connections += 1
        count = 0
        try:
            async for id, event in response.events():
                if event != "[DONE]" and event.get("type") == "keepalive":
                    continue
                if self.end is not None and event != "[DONE]":
                    raise AssertionError(f"{self.prompt}: behind the end comes {event}")
                self.take(id, event)
                count += 1
                if cut is not None and count >= cut and self.end is None:
                    raise Cut("by ourselves")
            if self.end is None:
                raise AssertionError(f"{self.prompt}: a clean end of a stream that has none, behind {self.after}")
        finally:
            response.close()

    def take(self, id, event):
        if self.chat:
            # A plain answer has no ids: it is the first, from its first block on.
            number = int(id) if id else len(self.events) + 1
            expected = len(self.events) + 1
            is_end = event == "[DONE]" or "error" in event
        else:
            number, expected = event.get("sequence_number"), len(self.events)
            is_end = event["type"] in ENDS
            if "response" in event and self.server_id is None:
                self.server_id = event["response"]["id"]
        # Who had read more of its node than that one could store is told the end that the others got, by the number that it has there.
        is_end_of_others = is_end and number < expected and "node_lost" in json.dumps(event)
        if number != expected and not is_end_of_others:
            raise AssertionError(f"{self.prompt}: {number} instead of {expected}: {json.dumps(event)[:300]}")
        self.after = number
        self.events.append(event)
        self.times.append(time.monotonic())
        if is_end:
            self.end = event

    async def finish(self, urls, cut=lambda: None, seconds=PATIENCE):
        """Comes back, to any of the nodes, until there is an end. Who is down, or cannot say it now, is asked again."""
        deadline = time.monotonic() + seconds
        refused = None
        while self.end is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.prompt} ({self.id}): no end in {seconds} s, behind {self.after}; last: {refused!r}")
            try:
                await self.come_back(random.choice(list(urls)), cut())
            except (Cut, OSError, TimeoutError) as error:
                refused = error
            except Refused as error:
                if error.status not in (502, 503, 504):
                    raise AssertionError(f"{self.prompt} ({self.id}), behind {self.after}: {error}") from error
                refused = error
            if self.end is None:
                await asyncio.sleep(random.uniform(0, 0.05))

    @property
    def code(self):
        """Why it failed, or nothing."""
        if self.end in (None, "[DONE]"):
            return None
        error = self.end["error"] if self.chat else self.end["response"].get("error")
        return error["code"] if error else None

    @property
    def longest_pause(self):
        return max((b - a for a, b in zip(self.times, self.times[1:])), default=0)

    def text(self):
        if self.chat:
            deltas = (choice["delta"].get("content") for event in self.events if event != "[DONE]" for choice in event.get("choices", ()))
            return "".join(text for text in deltas if text)
        return "".join(event["delta"] for event in self.events if event["type"] == "response.output_text.delta")

    def check_whole(self):
        """It is the whole answer, and it is the one to this prompt."""
        ended = self.end == "[DONE]" if self.chat else self.end and self.end["type"] == "response.completed"
        assert ended, f"{self.prompt}: it ended with {str(self.end)[:300]}"
        text = self.text()
        assert f"\u201c{self.prompt}\u201d" in text and text.endswith("the same words."), f"{self.prompt}: {text}"
        if not self.chat:
            output = self.end["response"]["output"]
            closing = "".join(part["text"] for item in output if item["type"] == "message" for part in item["content"])
            assert closing == text, f"{self.prompt}: the closing object says {closing}"

    def check_lost(self, code="node_lost"):
        assert self.code == code, f"{self.prompt}: it ended with {str(self.end)[:300]} instead of {code}"
