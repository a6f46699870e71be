"""Whether an update costs the same however many there are: of updates, of chats, of handlers that wait, of clients.

`python -m tests.benchmarks.scaling` prints the cost of an update in the machine alone (`Bot`, bytes in and bytes out)
as each size grows, with its ratio to the smallest, and what an idle connection of a webhook takes of memory, with the
asyncio driver. Times are the processor's, the least of several rounds.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from hookline import Bot, HttpLimits, PollingOptions, Returned, Token, WebhookOptions
from hookline.effects import Connect, Effect, Handle, Send
from hookline_io import serve_webhook
from tests.benchmarks.telegram import SECRET, say, update

TOKEN: Final = Token(f"42:{'t' * 35}")
ROUNDS: Final = 5
RETURNED: Final = Returned()
ME: Final = '{"id":42,"is_bot":true,"first_name":"Bench"}'


def polled(updates: int, chats: int) -> float:
    """Microseconds for one of so many updates of so many chats, by polling."""
    bot = Bot(TOKEN, PollingOptions())
    effects = deque[Effect](bot.start(0.0))
    handled, now, offset, cost = 0, 0.0, 1, 0.0
    while handled < updates:
        effect = effects.popleft()
        now += 1e-5
        answer = b""
        if isinstance(effect, Send) and b"/getUpdates" in effect.data:
            last = min(offset + 99, updates)
            answer = ok(f"[{','.join(update(number, chats) for number in range(offset, last + 1))}]")
            offset = last + 1
        elif isinstance(effect, Send):
            answer = ok(ME if b"/getMe" in effect.data else "true")
        began = time.process_time()
        if isinstance(effect, Handle):
            handled += 1
            effects += bot.finished(effect.job, RETURNED, now)
        elif isinstance(effect, Send):
            effects += bot.received(effect.connection, answer, now)
        elif isinstance(effect, Connect):
            effects += bot.connected(effect.connection, now)
        assert bot.deadline is not None or handled
        cost += time.process_time() - began
    return cost / updates * 1e6


def posted(updates: int, waiting: int) -> float:
    """Microseconds for one of so many updates by webhook, while so many others wait for their handler's end."""
    bot = Bot(TOKEN, WebhookOptions(secret_token=SECRET, concurrency=10_000, max_waiting=100_000), http=HttpLimits())
    bot.start(0.0)
    numbers = iter(range(1, updates + waiting + 1))
    for _ in range(waiting):
        post(bot, next(numbers), 0.0)
    cost = 0.0
    connection = bot.new_connection()
    bot.accepted(connection, 0.0)
    for index in range(updates):
        now = index * 1e-5
        data = request(next(numbers))
        began = time.process_time()
        [handle] = bot.received(connection, data, now)
        assert isinstance(handle, Handle)
        assert bot.deadline is not None
        bot.finished(handle.job, RETURNED, now)
        cost += time.process_time() - began
    return cost / updates * 1e6


def post(bot: Bot, number: int, now: float) -> None:
    """An update by a connection of its own."""
    connection = bot.new_connection()
    bot.accepted(connection, now)
    bot.received(connection, request(number), now)


def request(number: int) -> bytes:
    """An update in a request, each of a chat of its own."""
    body = update(number, 10**9).encode()
    return (
        b"POST / HTTP/1.1\r\nHost: x\r\nX-Telegram-Bot-Api-Secret-Token: %b\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (SECRET.encode(), len(body), body)
    )


def ok(result: str) -> bytes:
    """An answer of the Bot API."""
    body = f'{{"ok":true,"result":{result}}}'.encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


async def idle(connections: int) -> float:
    """KiB of memory that one of so many idle connections of a webhook takes, in a process that does nothing else."""
    stop = asyncio.Event()
    listening: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()
    run = asyncio.create_task(
        serve_webhook(_nothing, TOKEN, listen=("127.0.0.1", 0), stop=stop, started=listening.set_result)
    )
    address = await listening
    program = f"import socket, sys\nall_ = [socket.create_connection({address!r}) for _ in range({connections})]\n"
    program += "print(len(all_), flush=True)\nsys.stdin.read()"
    gc.collect()
    before = resident()
    clients = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert clients.stdout is not None
    await clients.stdout.readline()
    await asyncio.sleep(0.5)  # the last of them are accepted
    gc.collect()
    taken = (resident() - before) / connections
    await clients.communicate(b"")
    stop.set()
    await run
    return taken


async def _nothing(update: Any, api: Any) -> None:
    pass


def resident() -> float:
    """KiB of memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


def best(cost: Callable[..., float], *sizes: int) -> float:
    """The least of several rounds."""
    return min(cost(*sizes) for _ in range(ROUNDS if max(sizes) < 500_000 else 1))


def rows() -> Iterator[tuple[str, int, float]]:
    """What is measured: what grows, how much there is of it, and what an update costs then."""
    for updates in (1_000, 10_000, 100_000, 1_000_000):
        yield "updates, by polling", updates, best(polled, updates, 100)
    for chats in (1, 100, 10_000, 100_000):
        yield "chats, by polling", chats, best(polled, 20_000, chats)
    for waiting in (1, 100, 1_000, 9_999):
        yield "handlers that wait, by webhook", waiting, best(posted, 3_000, waiting)


def main() -> None:
    first: dict[str, float] = {}
    say("| what grows | how much | us per update | ratio |\n| --- | --- | --- | --- |")
    for what, size, cost in rows():
        ratio = cost / first.setdefault(what, cost)
        say(f"| {what} | {size:,} | {cost:.1f} | {ratio:.2f} |")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most[1], most[1]))
    connections = min(10_000, most[1] - 500)
    say(f"\n{connections:,} idle connections: {asyncio.run(idle(connections)):.1f} KiB each")


if __name__ == "__main__":
    main()
