"""A bot with an inbox, by every driver: stored, told, handled; across stops and starts."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from hookline import NetworkError, OptionError, PollingOptions, RunFailed, Update, WebhookOptions
from hookline.trace import read_trace, replay
from hookline_io.simulation import serve_simulation
from hookline_io.stores import inspection_at
from tests.drivers.bench import BOT_ID, DRIVERS, TOKEN, Bot, Toolbox, calls, running, until
from tests.drivers.test_conformance import SOURCES, check, echo

pytestmark = pytest.mark.parametrize("driver", DRIVERS)
both = pytest.mark.parametrize("source", SOURCES)


@pytest.fixture
def address(tmp_path: Path) -> str:
    """An inbox in a file."""
    return f"sqlite:///{tmp_path}/inbox.db"


@both
@pytest.mark.parametrize("kind", ["memory", "file"])
def test_every_message_is_answered_in_its_chats_order(driver: str, source: Any, kind: str, address: str) -> None:
    inbox = address if kind == "file" else kind

    async def main() -> None:
        async with running(driver, echo, source, inbox=inbox) as (simulation, _):
            for number in range(40):
                simulation.message(BOT_ID, str(number), user=1 + number % 4)
            await until(lambda: len(calls(simulation, "sendMessage")) == 40)
            for user in range(1, 5):
                sent = [call.params for call in calls(simulation, "sendMessage")]
                texts = [int(params["text"]) for params in sent if params["chat_id"] == str(user)]
                assert texts == list(range(user - 1, 40, 4))

    check(main())


@both
def test_telegram_does_not_wait_for_a_slow_handler(driver: str, source: Any, address: str) -> None:
    """Nor does another chat; the next update of the same chat does."""
    events: list[str] = []

    async def handler(update: Update, tools: Toolbox) -> None:
        events.append(f"begin {update.payload['text']}")
        while update.payload["text"] == "slow" and "begin other" not in events:
            await tools.sleep(0.01)
        events.append(f"end {update.payload['text']}")

    async def main() -> None:
        async with running(driver, handler, source, inbox=address) as (simulation, _):
            simulation.message(BOT_ID, "slow", user=1)
            simulation.message(BOT_ID, "next", user=1)
            await until(lambda: "begin slow" in events and simulation.telegram.pending(BOT_ID) == 0)
            assert events == ["begin slow"]
            simulation.message(BOT_ID, "other", user=2)
            await until(lambda: "end next" in events)
        assert events.index("end slow") < events.index("begin next")

    check(main())


@both
def test_what_fails_is_tried_again_and_telegram_does_not_hear_of_it(driver: str, source: Any, address: str) -> None:
    runs: Counter[str] = Counter()

    async def handler(update: Update, tools: Toolbox) -> None:
        runs[update.payload["text"]] += 1
        if runs["bad"] == 1:
            raise ValueError("no such thing")

    async def main() -> None:
        async with running(driver, handler, source, inbox=address) as (simulation, _):
            simulation.message(BOT_ID, "bad")
            await until(lambda: runs["bad"] == 2)
            sender = simulation.telegram.bot(BOT_ID).sender
            assert sender is None or sender.last_error is None

    check(main())


def test_what_telegram_failed_does_not_count_and_the_token_is_not_written_down(
    driver: str, address: str, tmp_path: Path
) -> None:
    """Not in the inbox either, though a client's error may name the address with it."""
    runs: Counter[str] = Counter()

    async def handler(update: Update, tools: Toolbox) -> None:
        text = update.payload["text"]
        runs[text] += 1
        if text == "no network" and runs[text] < 4:
            raise NetworkError("sendMessage", "no route")
        if text == "token" and runs[text] == 1:
            raise ValueError(f"it went to https://api.telegram.org/bot{TOKEN}/getMe")

    async def main() -> None:
        options = PollingOptions(max_attempts=2, concurrency=2, confirm="stored")
        async with running(driver, handler, options, inbox=address) as (simulation, _):
            simulation.message(BOT_ID, "no network", user=1)
            simulation.message(BOT_ID, "token", user=2)
            await until(lambda: runs == Counter({"no network": 4, "token": 2}), patience=20.0)

    check(main())
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert TOKEN.encode() not in written
    with inspection_at(address) as inbox:
        assert inbox.failed() == []


@both
def test_what_a_stop_leaves_is_handled_after_the_next_start(driver: str, source: Any, address: str) -> None:
    """In its order; what ran and was cut short, runs again."""
    events: list[str] = []
    hanging = [True]

    async def handler(update: Update, tools: Toolbox) -> None:
        events.append(update.payload["text"])
        while hanging[0]:
            await tools.sleep(0.01)

    async def main() -> None:
        async with running(driver, handler, source, inbox=address) as (simulation, bot):
            for text in ("1", "2", "3"):
                simulation.message(BOT_ID, text)
            await until(lambda: events == ["1"] and simulation.telegram.pending(BOT_ID) == 0)
            await bot.stop()
            hanging[0] = False
            again = Bot(driver, simulation.root, handler, source, inbox=address)
            await until(lambda: events == ["1", "1", "2", "3"])
            await again.stop()
            assert again.failure is None

    source = evolve(source, grace=0.1)
    check(main())
    with inspection_at(address) as inbox:
        assert inbox.overview().oldest is None


def test_an_inbox_that_cannot_be_opened_ends_the_run_with_the_reason(driver: str, tmp_path: Path) -> None:
    (tmp_path / "inbox.db").write_bytes(b"no database at all, but long enough to be taken for one" * 20)

    async def main() -> None:
        async with serve_simulation() as simulation:
            bot = Bot(driver, simulation.root, echo, PollingOptions(), inbox=f"sqlite:///{tmp_path}/inbox.db")
            await until(lambda: bot.failure is not None)
            await bot.stop()
            assert isinstance(bot.failure, RunFailed)
            assert "the inbox could not be opened: " in str(bot.failure)
            assert calls(simulation, "getUpdates") == []

    check(main())


def test_a_second_bot_does_not_get_the_inbox_of_one_that_runs(driver: str, address: str) -> None:
    async def main() -> None:
        async with running(driver, echo, PollingOptions(), inbox=address) as (simulation, _):
            second = Bot(driver, simulation.root, echo, PollingOptions(), inbox=address)
            await until(lambda: second.failure is not None)
            await second.stop()
            assert isinstance(second.failure, RunFailed)

    check(main())


def test_a_trace_of_a_run_with_an_inbox_replays_the_same(driver: str, address: str, tmp_path: Path) -> None:
    async def handler(update: Update, tools: Toolbox) -> None:
        if update.payload["text"] == "bad":
            raise ValueError("no such thing")

    async def main() -> None:
        trace = tmp_path / "trace"
        async with running(driver, handler, WebhookOptions(), inbox=address, trace=trace) as (simulation, _):
            for text in ("good", "bad"):
                simulation.message(BOT_ID, text)
            await until(lambda: simulation.telegram.pending(BOT_ID) == 0)
            await asyncio.sleep(0.1)
        with trace.open(encoding="utf-8", newline="\n") as lines:
            assert replay(read_trace(lines)) is None

    check(main())


@pytest.mark.parametrize(
    ("source", "settings", "text"),
    [
        (PollingOptions(confirm="received"), {"inbox": "memory"}, "confirm='received'"),
        (PollingOptions(on_error="stop"), {"inbox": "memory"}, "on_error"),
        (PollingOptions(), {"inbox": "mysql://here"}, "an inbox's address is"),
        (WebhookOptions(), {"inbox": "memory", "reply_with": lambda method: True}, "reply_with cannot be given"),
        (WebhookOptions(), {"inbox": "memory", "on_timeout": lambda update: "throw"}, "on_timeout cannot be given"),
        (WebhookOptions(freezes=True, secret_token="s"), {"inbox": "memory"}, "freezes"),
    ],
)
def test_what_does_not_go_with_an_inbox_is_refused(
    driver: str, source: Any, settings: dict[str, Any], text: str
) -> None:
    async def main() -> None:
        async with serve_simulation() as simulation:
            bot = Bot(driver, simulation.root, echo, source, **settings)
            await bot.stop()
            assert isinstance(bot.failure, OptionError)
            assert text in str(bot.failure)

    check(main())
