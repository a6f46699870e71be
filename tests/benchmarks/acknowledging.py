"""How fast a webhook acknowledges updates, by what it waits for: the handler, the memory, or the file of an inbox.

`python -m tests.benchmarks.acknowledging` prints requests per second, and the processor's time that the bot took for
each: medians of several rounds, in which all kinds take turns. The clients are in another process: keep-alive
connections that send the next update when the last one was answered, as Telegram does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

from hookline import WebhookOptions
from hookline_io import serve_webhook
from tests.benchmarks.telegram import say

TOKEN: Final = f"42:{'t' * 35}"
CONNECTIONS: Final = 40
KINDS: Final = ("handled", "memory", "file")
TEXT: Final = "x" * 500


async def bot(kind: str, port: int, folder: str) -> None:
    """A bot whose handler does nothing; at its end it prints the processor's seconds that it took."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin, stop.set)
    settings: dict[str, Any] = {"handled": {}, "memory": {"inbox": "memory"}}.get(
        kind, {"inbox": f"sqlite:///{folder}/inbox.db"}
    )
    began: list[float] = []

    async def handler(update: Any, api: Any) -> None:
        if not began:
            began.append(time.process_time())

    options = WebhookOptions(concurrency=10_000, max_waiting=1_000_000, secret_token="s", remember=1_000)
    await serve_webhook(
        handler, TOKEN, options, listen=("127.0.0.1", port), stop=stop, started=lambda _: say("up"), **settings
    )
    say(str(time.process_time() - began[0]))


async def client(port: int, number: int, updates: int) -> None:
    """One connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for index in range(updates):
        message = {"message_id": 1, "chat": {"id": number + 1, "type": "private"}, "text": TEXT}
        body = json.dumps({"update_id": number * 1_000_000 + index, "message": message}).encode()
        head = f"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        writer.write(f"{head}x-telegram-bot-api-secret-token: s\r\n\r\n".encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 "), answer
    writer.close()


async def load(port: int, updates: int) -> None:
    """All connections; prints the seconds that they took."""
    began = time.perf_counter()
    await asyncio.gather(*(client(port, number, updates // CONNECTIONS) for number in range(CONNECTIONS)))
    say(str(time.perf_counter() - began))


def measure(kind: str, port: int, updates: int) -> tuple[float, float]:
    """Requests per second, and the bot's microseconds per request."""
    me = [sys.executable, "-m", "tests.benchmarks.acknowledging"]
    with tempfile.TemporaryDirectory() as folder:
        command = [*me, "--bot", kind, "--port", str(port), "--folder", folder]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            time.sleep(0.3)
            loaded = subprocess.run(
                [*me, "--load", str(updates), "--port", str(port)], capture_output=True, text=True, check=True
            )
            process.stdin.close()
            took = float(process.stdout.readline())
    return updates / float(loaded.stdout), took / updates * 1e6


def main() -> None:
    """Measure, or be one of the processes that are measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=8_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--port", type=int, default=18_080)
    parser.add_argument("--bot", choices=KINDS)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--load", type=int)
    given = parser.parse_args()
    if given.bot:
        asyncio.run(bot(given.bot, given.port, str(given.folder)))
    elif given.load:
        asyncio.run(load(given.port, given.load))
    else:
        found: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for _ in range(given.rounds):
            for kind in KINDS:
                found[kind].append(measure(kind, given.port, given.updates))
        say(f"{given.updates} updates over {CONNECTIONS} connections, medians of {given.rounds} rounds")
        for kind in KINDS:
            rates, costs = zip(*found[kind], strict=True)
            rate, cost = statistics.median(rates), statistics.median(costs)
            said = f"{rate:7.0f} requests/s ({min(rates):.0f} to {max(rates):.0f}), {cost:5.0f} us of the bot's CPU"
            say(f"{kind:8} {said}")


if __name__ == "__main__":
    main()
