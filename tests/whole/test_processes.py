"""What other libraries lose, with real processes, sockets and signals, on every driver."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from hookline_io.simulation import Simulation, serve_simulation

BOT_ID = 42
SECRET = "s" * 30
ROOT = Path(__file__).parents[2]

DRIVERS = ["asyncio", "trio", "blocking"]
SOURCES = ["polling", "webhook"]


class Process:
    """A bot's process; its journal outlives it."""

    def __init__(self, driver: str, source: str, journal: Path) -> None:
        self.driver = driver
        self.source = source
        self.journal = journal
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]

    def start(self, root: str, *, slow: float, concurrency: int = 12) -> subprocess.Popen[str]:
        """Start the bot, or start it again."""
        self.journal.touch()
        arguments = [self.driver, self.source, str(self.journal), str(slow), str(concurrency), str(self.port)]
        return subprocess.Popen(
            [sys.executable, "-m", "tests.whole.process_bot", *arguments],
            env=os.environ | {"BOT_TOKEN": f"{BOT_ID}:{SECRET}", "BOT_API_ROOT": root},
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )

    def count(self, what: str) -> Counter[int]:
        """How often each update's run has begun or ended."""
        lines = [line.split() for line in self.journal.read_text().splitlines()]
        return Counter(int(update_id) for word, update_id in lines if word == what)


async def until(condition: Callable[[], bool], patience: float = 20.0) -> None:
    """Wait for something that is to happen."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.02)


async def end_of(process: subprocess.Popen[str], patience: float = 20.0) -> tuple[int, str]:
    """The exit status of a process that is to end, and what it wrote on standard error."""
    _, errors = await asyncio.to_thread(process.communicate, timeout=patience)
    return process.returncode, errors


def with_simulation(test: Callable[[Simulation], Coroutine[Any, Any, None]]) -> None:
    """Run a test beside a simulated Telegram on loopback."""

    async def main() -> None:
        async with serve_simulation() as simulation:
            await test(simulation)

    asyncio.run(main())


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("driver", DRIVERS)
def test_a_killed_process_loses_nothing(driver: str, source: str, tmp_path: Path) -> None:
    """SIGKILL in the middle of twelve handlers, then a new start: all twelve are handled."""

    async def test(simulation: Simulation) -> None:
        bot = Process(driver, source, tmp_path / "journal")
        ids = {simulation.message(BOT_ID, "hi", user=user) for user in range(1, 13)}
        process = bot.start(simulation.root, slow=1.0)
        try:
            await until(lambda: len(bot.count("began")) > 0)
            await asyncio.sleep(0.3)
            assert not bot.count("ended")
        finally:
            process.kill()
            await end_of(process)

        process = bot.start(simulation.root, slow=0.0)
        try:
            await until(lambda: ids == set(bot.count("ended")))
            await until(lambda: simulation.telegram.pending(BOT_ID) == 0)
        finally:
            process.terminate()
            status, errors = await end_of(process)
        assert (status, "Traceback" in errors, SECRET in errors) == (0, False, False), errors

    with_simulation(test)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("driver", DRIVERS)
def test_a_terminated_process_finishes_what_runs_and_leaves_the_rest(driver: str, source: str, tmp_path: Path) -> None:
    """SIGTERM while four of twelve run: those end, none is lost, none is run twice."""

    async def test(simulation: Simulation) -> None:
        bot = Process(driver, source, tmp_path / "journal")
        ids = [simulation.message(BOT_ID, "hi", user=user) for user in range(1, 13)]
        process = bot.start(simulation.root, slow=0.6, concurrency=4)
        try:
            await until(lambda: len(bot.count("began")) > 0)
            await asyncio.sleep(0.2)
        finally:
            process.terminate()
            status, errors = await end_of(process)
        assert status == 0, errors
        assert bot.count("began") == bot.count("ended")
        assert len(bot.count("ended")) < len(ids)

        process = bot.start(simulation.root, slow=0.0)
        try:
            await until(lambda: set(ids) == set(bot.count("ended")))
            await until(lambda: simulation.telegram.pending(BOT_ID) == 0)
        finally:
            process.terminate()
            status, errors = await end_of(process)
        assert status == 0, errors
        assert Counter(ids) == bot.count("ended") == bot.count("began")

    with_simulation(test)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_revoked_token_ends_the_process_with_an_error(driver: str, tmp_path: Path) -> None:
    """Exit status 1 and a sentence, without the token."""

    async def test(simulation: Simulation) -> None:
        bot = Process(driver, "polling", tmp_path / "journal")
        process = bot.start(simulation.root, slow=0.0)
        simulation.message(BOT_ID, "hi")
        await until(lambda: len(bot.count("ended")) == 1)
        simulation.tell(lambda now: simulation.telegram.revoke(BOT_ID, now))
        status, errors = await end_of(process)
        assert status == 1
        assert "does not accept the token" in errors
        assert SECRET not in errors

    with_simulation(test)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_second_signal_cuts_the_grace_time_short(driver: str, tmp_path: Path) -> None:
    """A handler that hangs is left behind, and its update stays with Telegram."""

    async def test(simulation: Simulation) -> None:
        bot = Process(driver, "polling", tmp_path / "journal")
        process = bot.start(simulation.root, slow=1_000.0)
        simulation.message(BOT_ID, "hi")
        await until(lambda: len(bot.count("began")) == 1)
        process.send_signal(signal.SIGINT)
        await asyncio.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        status, errors = await end_of(process)
        assert status == 0, errors
        assert simulation.telegram.pending(BOT_ID) == 1

    with_simulation(test)
