"""How fast a shared inbox stores and hands over, and how another engine does with the same work.

`python -m tests.benchmarks.shared` prints: updates stored per second by 40 submitters that each wait for one; handled
per second by 1, 2 and 4 worker processes that have a backlog of all chats; lanes out of order; how long a chat waits
whose worker was killed; and which repeated updates are refused. It starts a PostgreSQL of its own. With `--engine
procrastinate` the same is done by that package, which must be installed (`pip install procrastinate`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from hookline import Update, WorkOptions, read_update
from hookline.effects import Status, Store
from hookline_io import run_worker
from hookline_io.stores import Outcome, inspection_at, store_at
from tests.postgresql import serving

TOKEN: Final = f"42:{'t' * 35}"
SUBMITTERS: Final = 40
CHATS: Final = 50
TEXT: Final = "x" * 500


def raw_update(update_id: int, chat: int, text: str = TEXT) -> dict[str, Any]:
    """A message, as Telegram sends it."""
    return {"update_id": update_id, "message": {"chat": {"id": chat, "type": "private"}, "text": text}}


def note(journal: int, what: str, update_id: int, chat: int) -> None:
    """Add a line to the journal: the handler's work."""
    os.write(journal, f"{what} {chat} {update_id} {time.time()}\n".encode())


async def handle(journal: int, raw: Mapping[str, Any]) -> None:
    """The handler: a message that says "hang" takes for ever in the process that has it first."""
    chat = raw["message"]["chat"]["id"]
    note(journal, "begin", raw["update_id"], chat)
    if raw["message"]["text"] == "hang" and os.environ.get("HANGS"):
        await asyncio.sleep(3_600)
    note(journal, "end", raw["update_id"], chat)


# hookline


class Hookline:
    """Our own store."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._store = store_at(address, bot_id=42, remember=10_000, concurrency=0)

    async def prepare(self) -> None:
        """Make the tables."""
        await asyncio.to_thread(self._store.open)

    async def close(self) -> None:
        """Leave the database."""
        await asyncio.to_thread(self._store.close)

    async def submit(self, raw: dict[str, Any]) -> None:
        """Store an update."""
        loop = asyncio.get_running_loop()
        stored: asyncio.Future[Outcome] = loop.create_future()
        update = read_update(raw)
        assert isinstance(update, Update)
        tell: Callable[[Outcome], object] = lambda outcome: loop.call_soon_threadsafe(stored.set_result, outcome)  # noqa: E731
        self._store.carry_out(Store(raw["update_id"], (update,)), tell)
        assert await stored == frozenset()

    async def known(self) -> int:
        """How many updates it has that are not done."""
        with inspection_at(self._address) as inspection:
            counts = inspection.overview().counts
        return counts[Status.WAITING] + counts[Status.RUNNING]

    @staticmethod
    async def work(address: str, journal: int, concurrency: int, poll: float) -> None:
        """Be a worker."""

        async def handler(update: Update, api: Any) -> None:
            await handle(journal, update.raw)

        await run_worker(handler, TOKEN, WorkOptions(concurrency=concurrency), inbox=address)


# procrastinate


class Procrastinate:
    """A task for each update: its lock is the chat, its queueing lock the update."""

    def __init__(self, address: str) -> None:
        self._app, self._task = self.app(address, None, SUBMITTERS)

    @staticmethod
    def app(address: str, journal: int | None, connections: int) -> tuple[Any, Any]:
        """Its application, and the one task there is."""
        import procrastinate

        connector = procrastinate.PsycopgConnector(conninfo=address, min_size=2, max_size=connections)
        app = procrastinate.App(connector=connector)

        async def task(raw: dict[str, Any]) -> None:
            assert journal is not None
            await handle(journal, raw)

        return app, app.task(task, name="update", pass_context=False)

    async def prepare(self) -> None:
        """Make the tables."""
        await self._app.open_async()
        await self._app.schema_manager.apply_schema_async()

    async def close(self) -> None:
        """Leave the database."""
        await self._app.close_async()

    async def submit(self, raw: dict[str, Any]) -> None:
        """Defer an update."""
        from procrastinate.exceptions import AlreadyEnqueued

        chat, update_id = raw["message"]["chat"]["id"], raw["update_id"]
        deferrer = self._task.configure(lock=f"chat:{chat}", queueing_lock=f"update:{update_id}")
        with contextlib.suppress(AlreadyEnqueued):
            await deferrer.defer_async(raw=raw)

    async def known(self) -> int:
        """How many jobs it has that are not done."""
        jobs = await self._app.job_manager.list_jobs_async()
        return sum(job.status in {"todo", "doing"} for job in jobs)

    @staticmethod
    async def work(address: str, journal: int, concurrency: int, poll: float) -> None:
        """Be a worker."""
        app, _ = Procrastinate.app(address, journal, concurrency + 5)
        async with app.open_async():
            options = {"fetch_job_polling_interval": poll} if poll else {}
            await app.run_worker_async(concurrency=concurrency, delete_jobs="successful", **options)


ENGINES: Final[dict[str, Any]] = {"hookline": Hookline, "procrastinate": Procrastinate}


# The measuring


class Journal:
    """What the handlers of all processes have written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def read(self) -> list[tuple[str, int, int, float]]:
        """The lines: begin or end, the chat, the update, the time."""
        whole, _, _ = self.path.read_text().rpartition("\n")  # a line may be in the middle of being written
        lines = [line.split() for line in whole.splitlines()]
        return [(what, int(chat), int(update_id), float(at)) for what, chat, update_id, at in lines]

    def of(self, what: str) -> list[int]:
        """The updates of all lines of one kind."""
        return [update_id for kind, _, update_id, _ in self.read() if kind == what]

    def out_of_order(self) -> int:
        """How often an update began before one of its chat that was stored earlier had ended."""
        last: dict[int, int] = defaultdict(int)
        running: set[int] = set()
        wrong = 0
        for what, chat, update_id, _ in self.read():
            if what == "begin":
                wrong += chat in running or update_id < last[chat]
                running.add(chat)
                last[chat] = update_id
            else:
                running.discard(chat)
        return wrong


def start(engine: str, address: str, journal: Journal, concurrency: int, poll: float, **env: str) -> Any:
    """A worker process."""
    command = [sys.executable, "-m", "tests.benchmarks.shared", "--engine", engine, "--work", address]
    command += ["--journal", str(journal.path), "--concurrency", str(concurrency), "--poll", str(poll)]
    with Path(journal.path.parent, f"log-{time.time()}").open("wb") as log:
        return subprocess.Popen(command, env=os.environ | env, stderr=log)


def stop(*processes: subprocess.Popen[bytes]) -> None:
    """Let workers end; one that does not is killed, and said to be."""
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        process.wait(30)


async def until(condition: Callable[[], bool], patience: float) -> bool:
    """Whether it comes true in time."""
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.05)
    return True


async def measure(given: argparse.Namespace) -> dict[str, Any]:
    """All of it."""
    found: dict[str, Any] = {"engine": given.engine, "concurrency": given.concurrency, "poll": given.poll}
    with serving() as server, tempfile.TemporaryDirectory() as name:
        for workers in given.workers:
            address = server.new_address()
            engine = ENGINES[given.engine](address)
            await engine.prepare()
            numbers = iter(range(1, given.updates + 1))

            async def submit(chats: list[int], engine: Any = engine, numbers: Any = numbers) -> None:
                for number in numbers:
                    await engine.submit(raw_update(number, chats[number % len(chats)]))

            began = time.monotonic()
            await asyncio.gather(*(submit(list(range(CHATS))) for _ in range(SUBMITTERS)))
            found.setdefault("stored/s", []).append(round(given.updates / (time.monotonic() - began)))
            journal = Journal(Path(name, f"journal-{workers}"))
            processes = [start(given.engine, address, journal, given.concurrency, given.poll) for _ in range(workers)]
            done = await until(lambda: len(journal.of("end")) >= given.updates, 120.0)  # noqa: B023
            times = [at for *_, at in journal.read()]
            handled = len(journal.of("end"))
            rate = round(handled / (max(times) - min(times)))
            found[f"handled/s by {workers}"] = rate if done else f"{rate}, {handled} of {given.updates} in 120 s"
            found["out of order"] = found.get("out of order", 0) + journal.out_of_order()
            stop(*processes)
            await engine.close()
        if given.killing:
            found |= await kill(given, server.new_address(), Journal(Path(name, "journal-kill")))
    return found


async def kill(given: argparse.Namespace, address: str, journal: Journal) -> dict[str, Any]:
    """What becomes of a chat whose worker is killed, and of updates that come again."""
    engine = ENGINES[given.engine](address)
    await engine.prepare()
    await engine.submit(raw_update(1, 1, "hang"))
    await engine.submit(raw_update(2, 1))
    await engine.submit(raw_update(2, 1))
    refused = {"while it waits": await engine.known() == 2}
    first = start(given.engine, address, journal, given.concurrency, given.poll, HANGS="1")
    assert await until(lambda: journal.of("begin") == [1], 30.0)
    await engine.submit(raw_update(1, 1))
    refused["while it runs"] = await engine.known() == 2
    second = start(given.engine, address, journal, given.concurrency, given.poll)
    await asyncio.sleep(3.0)
    first.kill()
    first.wait()
    began = time.monotonic()
    taken = await until(lambda: journal.of("begin")[:2] == [1, 1], 60.0)
    result: dict[str, Any] = {"seconds to take over": round(time.monotonic() - began, 1) if taken else "not in 60 s"}
    if taken:
        await until(lambda: 2 in journal.of("end"), 30.0)
        await engine.submit(raw_update(2, 1))
        refused["when it is done"] = not await until(lambda: journal.of("begin").count(2) > 1, 7.0)
    stop(second)
    if not taken:
        third = start(given.engine, address, journal, given.concurrency, given.poll)
        await engine.submit(raw_update(3, 3))
        await until(lambda: 3 in journal.of("end"), 30.0)
        await engine.submit(raw_update(3, 3))
        refused["when it is done"] = not await until(lambda: journal.of("begin").count(3) > 1, 7.0)
        stop(third)
    await engine.close()
    return result | {"refused": refused}


def main() -> None:
    """Measure, or be a worker."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=list(ENGINES), default="hookline")
    parser.add_argument("--updates", type=int, default=4_000)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--concurrency", type=int, default=10)
    parser.add_argument("--poll", type=float, default=0.0, help="of procrastinate: fetch_job_polling_interval")
    parser.add_argument("--no-kill", dest="killing", action="store_false")
    parser.add_argument("--work")
    parser.add_argument("--journal")
    given = parser.parse_args()
    if given.work is None:
        sys.stdout.write(json.dumps(asyncio.run(measure(given)), indent=1) + "\n")
        return
    journal = os.open(given.journal, os.O_WRONLY | os.O_APPEND)
    asyncio.run(ENGINES[given.engine].work(given.work, journal, given.concurrency, given.poll))


if __name__ == "__main__":
    main()
