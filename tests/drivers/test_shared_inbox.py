"""An inbox on PostgreSQL, by every driver: who receives, who works, who polls, and what happens when a lease ends."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from hookline import OptionError, PollingOptions, RunFailed, Update, WebhookOptions, WorkOptions
from hookline.trace import read_trace, replay
from hookline_io.simulation import serve_simulation
from hookline_io.stores import inspection_at
from tests.drivers.bench import BOT_ID, DRIVERS, Bot, Toolbox, calls, running, until
from tests.drivers.test_conformance import SOURCES, check, echo
from tests.postgresql import Server

psycopg = pytest.importorskip("psycopg", reason="the extra postgresql is not installed")
from hookline_io.stores import postgresql as module  # noqa: E402

pytestmark = pytest.mark.parametrize("driver", DRIVERS)
both = pytest.mark.parametrize("source", SOURCES)


@pytest.fixture
def address(postgresql: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """An inbox that nobody has opened yet."""
    monkeypatch.setattr(module, "LOOK_EVERY", 0.2)
    monkeypatch.setattr(module, "STANDBY_EVERY", 0.05)
    return postgresql.new_address()


def answered(simulation: Any) -> list[tuple[str, int]]:
    """The answers of the bot: the chat, and the number that it was sent."""
    return [(call.params["chat_id"], int(call.params["text"])) for call in calls(simulation, "sendMessage")]


def in_order(answers: list[tuple[str, int]]) -> bool:
    """Whether the answers of each chat are in the order of its messages, and none is there twice."""
    return all(
        numbers == sorted(set(numbers))
        for chat in {chat for chat, _ in answers}
        for numbers in [[number for one, number in answers if one == chat]]
    )


@both
def test_every_message_is_answered_in_its_chats_order(driver: str, source: Any, address: str) -> None:
    async def main() -> None:
        async with running(driver, echo, source, inbox=address) as (simulation, _):
            for number in range(40):
                simulation.message(BOT_ID, str(number), user=1 + number % 4)
            await until(lambda: len(answered(simulation)) == 40)
            assert in_order(answered(simulation))

    check(main())


@both
def test_one_receives_and_others_work(driver: str, source: Any, address: str) -> None:
    async def main() -> None:
        async with running(driver, None, source, inbox=address) as (simulation, _):
            workers = [Bot(driver, simulation.root, echo, WorkOptions(concurrency=2), inbox=address) for _ in range(2)]
            for number in range(60):
                simulation.message(BOT_ID, str(number), user=1 + number % 6)
            await until(lambda: len(answered(simulation)) == 60)
            assert in_order(answered(simulation))
            for worker in workers:
                await worker.stop()
                assert worker.failure is None

    check(main())


def test_what_a_worker_cuts_short_at_its_stop_another_runs_again(
    driver: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEASE", 1.0)
    events: list[str] = []
    hanging = [True]

    async def handler(update: Update, tools: Toolbox) -> None:
        events.append(update.payload["text"])
        while hanging[0]:
            await tools.sleep(0.01)

    async def main() -> None:
        async with running(driver, None, WebhookOptions(), inbox=address) as (simulation, _):
            first = Bot(driver, simulation.root, handler, WorkOptions(grace=0.1), inbox=address)
            for text in ("1", "2"):
                simulation.message(BOT_ID, text)
            await until(lambda: events == ["1"])
            await first.stop()
            hanging[0] = False
            second = Bot(driver, simulation.root, handler, WorkOptions(), inbox=address)
            await until(lambda: events == ["1", "1", "2"])
            await second.stop()
            assert (first.failure, second.failure) == (None, None)

    check(main())


def test_a_worker_whose_lease_ends_cancels_what_it_runs_and_goes_on(driver: str, address: str) -> None:
    """A thread cannot be cancelled: what it does then is noted by nobody."""
    events: list[str] = []
    hanging = [True]

    async def handler(update: Update, tools: Toolbox) -> None:
        events.append("begin")
        try:
            while hanging[0]:
                await tools.sleep(0.01)
        finally:
            events.append("end")

    async def main() -> None:
        async with running(driver, None, WebhookOptions(), inbox=address) as (simulation, _):
            worker = Bot(driver, simulation.root, handler, WorkOptions(), inbox=address)
            simulation.message(BOT_ID, "1")
            await until(lambda: events == ["begin"])
            with psycopg.connect(address, autocommit=True) as db:
                db.execute("DELETE FROM hookline_workers")
            if driver == "blocking":
                await asyncio.sleep(0.5)
            else:
                await until(lambda: events == ["begin", "end", "begin"])
            hanging[0] = False
            await until(lambda: events == ["begin", "end"] * 2)
            await worker.stop()
            assert worker.failure is None
        with inspection_at(address) as inspection:
            assert inspection.overview().oldest is None

    check(main())


def test_one_polls_and_the_other_when_it_has_ended(driver: str, address: str) -> None:
    async def main() -> None:
        async with running(driver, echo, PollingOptions(timeout=1), inbox=address) as (simulation, first):
            second = Bot(driver, simulation.root, echo, PollingOptions(timeout=1), inbox=address)
            simulation.message(BOT_ID, "1")
            await until(lambda: len(answered(simulation)) == 1)
            await until(lambda: len(calls(simulation, "getMe")) == 2)
            assert len(calls(simulation, "deleteWebhook")) == 1
            await first.stop()
            await until(lambda: len(calls(simulation, "deleteWebhook")) == 2)
            simulation.message(BOT_ID, "2")
            await until(lambda: len(answered(simulation)) == 2)
            await second.stop()
            assert second.failure is None

    check(main())


def test_one_that_stands_by_ends_when_it_is_told_to(driver: str, address: str) -> None:
    async def main() -> None:
        async with running(driver, echo, PollingOptions(), inbox=address) as (simulation, _):
            second = Bot(driver, simulation.root, echo, PollingOptions(), inbox=address)
            await asyncio.sleep(0.3)
            await second.stop()
            assert second.failure is None

    check(main())


def test_a_poller_whose_lease_ends_fails_and_does_not_poll_beside_another(driver: str, address: str) -> None:
    async def main() -> None:
        async with serve_simulation() as simulation:
            bot = Bot(driver, simulation.root, echo, PollingOptions(), inbox=address)
            await until(lambda: any(calls(simulation, "getUpdates")))
            with psycopg.connect(address, autocommit=True) as db:
                db.execute("DELETE FROM hookline_workers")
            await until(lambda: bot.failure is not None)
            await bot.stop()
            assert isinstance(bot.failure, RunFailed)
            assert "another process may poll for this bot by now" in str(bot.failure)

    check(main())


def test_a_trace_of_a_worker_replays_the_same(driver: str, address: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with running(driver, None, WebhookOptions(), inbox=address) as (simulation, _):
            trace = tmp_path / "trace"
            worker = Bot(driver, simulation.root, echo, WorkOptions(), inbox=address, trace=trace)
            simulation.message(BOT_ID, "1")
            await until(lambda: len(answered(simulation)) == 1)
            with psycopg.connect(address, autocommit=True) as db:
                db.execute("DELETE FROM hookline_workers")
            await asyncio.sleep(0.5)
            await worker.stop()
        with trace.open(encoding="utf-8", newline="\n") as lines:
            assert replay(read_trace(lines)) is None

    check(main())


def test_a_worker_works_off_what_a_file_has(driver: str, tmp_path: Path) -> None:
    inbox = f"sqlite:///{tmp_path}/inbox.db"

    async def never(update: Update, tools: Toolbox) -> None:
        while not ended:
            await tools.sleep(0.01)

    ended: list[bool] = []

    async def main() -> None:
        source = evolve(WebhookOptions(), grace=0.1)
        async with running(driver, never, source, inbox=inbox) as (simulation, bot):
            for text in ("1", "2"):
                simulation.message(BOT_ID, text)
            await until(lambda: simulation.telegram.pending(BOT_ID) == 0)
            await bot.stop()
            ended.append(True)
            worker = Bot(driver, simulation.root, echo, WorkOptions(), inbox=inbox)
            await until(lambda: answered(simulation) == [("1", 1), ("1", 2)])
            await worker.stop()
            assert worker.failure is None

    check(main())


@pytest.mark.parametrize(
    ("source", "inbox", "text"),
    [
        (PollingOptions(), None, "there is no handler"),
        (PollingOptions(confirm="stored"), None, "there is no handler"),
        (WebhookOptions(), "sqlite:///inbox.db", "there is no handler"),
        (WorkOptions(), "memory", "a worker needs one in a file or a database"),
        (WorkOptions(), "mysql://here", "an inbox's address is"),
        (WorkOptions(), "sqlite:///nowhere.db", "there is no inbox nowhere.db"),
        (PollingOptions(confirm="received"), "postgresql://here", "confirm='received'"),
    ],
)
def test_what_cannot_be_is_refused(driver: str, source: Any, inbox: str | None, text: str) -> None:
    async def main() -> None:
        async with serve_simulation() as simulation:
            handler = echo if isinstance(source, WorkOptions) else None
            bot = Bot(driver, simulation.root, handler, source, inbox=inbox)
            await bot.stop()
            assert isinstance(bot.failure, OptionError)
            assert text in str(bot.failure)

    check(main())
