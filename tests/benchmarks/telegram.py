"""A Telegram that costs little: it hands out updates as fast as a bot takes them, and takes its calls.

It runs in a process of its own beside the bot that is measured. It knows what a benchmark needs and no more; how the
real server behaves is the simulated Telegram's business (`hookline.sim`). Updates are text messages of about 700 bytes,
the chats take turns. What was asked for and taken comes back as a line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
from typing import Any, Final

import httptools

TEXT: Final = "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt. " * 4
SECRET: Final = "a-secret-of-benchmarks"
CONNECTIONS: Final = 40
POLL_TIMEOUT: Final = 1.0
"""Seconds for which a poll is held when there is nothing left."""

_OFFSET: Final = re.compile(rb'"?offset"?[=:]\s*"?(-?\d+)|name="offset"\r\n\r\n(-?\d+)')
_LIMIT: Final = re.compile(rb'"?limit"?[=:]\s*"?(\d+)|name="limit"\r\n\r\n(\d+)')
_SENT: Final = '{"message_id":1,"date":1760000000,"chat":{"id":1,"type":"private","first_name":"Ada"},"text":"x"}'
_ME: Final = {"id": 42, "is_bot": True, "first_name": "Bench", "username": "bench_bot", "can_join_groups": True}


def update(number: int, chats: int) -> str:
    """The JSON of an update."""
    chat = number % chats + 1
    person = f'"id":{chat},"first_name":"Ada","last_name":"Lovelace","username":"ada_{chat}"'
    return (
        f'{{"update_id":{number},"message":{{"message_id":{number},"from":{{{person},"is_bot":false,'
        f'"language_code":"en"}},"chat":{{{person},"type":"private"}},"date":1760000000,"text":"{TEXT}",'
        '"entities":[{"offset":0,"length":5,"type":"bold"}]}}'
    )


class Counts:
    """What was asked for."""

    def __init__(self) -> None:
        self.first_poll: float | None = None
        self.confirmed = 0
        self.sent = 0
        self.answered = 0


class Server(asyncio.Protocol):
    """A connection of the bot's: calls of the Bot API."""

    def __init__(self, counts: Counts, updates: int, chats: int) -> None:
        self.counts, self.updates, self.chats = counts, updates, chats
        self.transport: Any = None
        self.parser = httptools.HttpRequestParser(self)
        self.url = b""
        self.body = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.url, self.body = b"", b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        path, _, query = self.url.partition(b"?")
        method = path.rpartition(b"/")[2].lower()
        if method == b"getupdates":
            self.poll(query + b"&" + self.body)
        elif method == b"getme":
            self.answer(json.dumps(_ME))
        elif method == b"sendmessage":
            self.counts.sent += 1
            self.answer(_SENT)
        else:
            self.answer("true")

    def poll(self, asked: bytes) -> None:
        if self.counts.first_poll is None:
            self.counts.first_poll = time.monotonic()
        offset = max(number(_OFFSET, asked, 1), 1)
        self.counts.confirmed = max(self.counts.confirmed, offset - 1)
        last = min(offset + min(number(_LIMIT, asked, 100), 100) - 1, self.updates)
        if last < offset:
            asyncio.get_running_loop().call_later(POLL_TIMEOUT, self.answer, "[]")
        else:
            self.answer(f"[{','.join(update(one, self.chats) for one in range(offset, last + 1))}]")

    def answer(self, result: str) -> None:
        body = f'{{"ok":true,"result":{result}}}'.encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)


class Client(asyncio.Protocol):
    """A connection to the bot's webhook: the next update goes out when the last was answered."""

    def __init__(self, counts: Counts, numbers: Any, chats: int) -> None:
        self.counts, self.numbers, self.chats = counts, numbers, chats
        self.transport: Any = None
        self.parser = httptools.HttpResponseParser(self)
        self.over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.post()

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        status = self.parser.get_status_code()
        if status != 200:
            self.over.set_exception(RuntimeError(f"the bot has answered {status}"))
            return
        self.counts.answered += 1
        self.post()

    def post(self) -> None:
        one = next(self.numbers, None)
        if one is None:
            self.over.set_result(None)
            return
        body = update(one, self.chats).encode()
        self.transport.write(
            b"POST /hook HTTP/1.1\r\nHost: bot.example.com\r\nX-Telegram-Bot-Api-Secret-Token: %b\r\n"
            b"Content-Length: %d\r\nContent-Type: application/json\r\nConnection: keep-alive\r\n"
            b"Accept-Encoding: gzip, deflate\r\n\r\n%b" % (SECRET.encode(), len(body), body)
        )

    def connection_lost(self, _: Exception | None) -> None:
        if not self.over.done():
            self.over.set_exception(RuntimeError("the bot has closed a connection of its webhook"))


def number(pattern: re.Pattern[bytes], data: bytes, default: int) -> int:
    """What a parameter is."""
    found = pattern.search(data)
    return int(found[1] or found[2]) if found else default


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, required=True)
    parser.add_argument("--chats", type=int, default=100)
    options = parser.parse_args()
    loop, counts = asyncio.get_running_loop(), Counts()
    server = await loop.create_server(lambda: Server(counts, options.updates, options.chats), "127.0.0.1", 0)
    say(str(server.sockets[0].getsockname()[1]))
    # A line is the port of a webhook that listens: it gets the updates. The end of the input is the end.
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    numbers = iter(range(1, options.updates + 1))
    while line := await lines.readline():
        links = [
            (await loop.create_connection(lambda: Client(counts, numbers, options.chats), "127.0.0.1", int(line)))[1]
            for _ in range(CONNECTIONS)
        ]
        await asyncio.gather(*(link.over for link in links))
        say(json.dumps({"answered": counts.answered}))
    say(json.dumps(vars(counts)))
    server.close()


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
