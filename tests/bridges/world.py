"""A bridged bot and the simulated Telegram in one event loop: in virtual time, but for a bot that blocks a thread.

The programs of `bots/` know nothing of hookline: each is loaded as a program that was written before would be, and its
bridge is all that is added.
"""

from __future__ import annotations

import asyncio
import importlib.util
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from attrs import define, frozen

from hookline import ApiOptions, PollingOptions, WebhookOptions
from hookline.sim import Call
from hookline_io import blocking, bridges, common, run_polling, serve_webhook
from hookline_io.simulation import Simulation, serve_simulation
from hookline_io.testing import BOT_ID, TOKEN, VirtualLoop

BOTS = Path(__file__).parent / "bots"
PATIENCE = 60.0
OWN_CALLS = ("getme", "getupdates", "setwebhook", "deletewebhook")


@frozen
class Library:
    """A program, the package that it needs, and how it is bridged. blocking: for the blocking driver."""

    program: str
    package: str
    bridge: Callable[[Any], Any]
    blocking: bool = False


AIOGRAM = Library("aiogram_bot.py", "aiogram", lambda program: bridges.aiogram_handler(program.dp, program.bot))
PTB = Library("ptb_bot.py", "telegram", lambda program: bridges.ptb_handler(program.application))
ASYNC_TELEBOT = Library("telebot_async_bot.py", "telebot", lambda program: bridges.telebot_handler(program.bot))
TELEBOT = Library("telebot_bot.py", "telebot", lambda program: bridges.telebot_handler(program.bot), blocking=True)
ALL = (AIOGRAM, PTB, ASYNC_TELEBOT, TELEBOT)


def each(*libraries: Library) -> pytest.MarkDecorator:
    """Run the test with each of these bots."""
    return pytest.mark.parametrize("library", [pytest.param(library, id=library.program) for library in libraries])


@define(eq=False)
class World:
    """One bot and its Telegram. program: the bot's module."""

    library: Library
    program: ModuleType
    simulation: Simulation

    @property
    def happened(self) -> list[str]:
        """What the bot has noted."""
        noted: list[str] = self.program.happened
        return noted

    @asynccontextmanager
    async def running(
        self, options: PollingOptions | WebhookOptions | None = None, **kwargs: Any
    ) -> AsyncIterator[None]:
        """Run the bot by long polling, or by webhook if those are the options, and stop it at the end."""
        kwargs |= {"api": ApiOptions(root=self.simulation.root), "signals": False}
        if self.library.blocking:
            stop = threading.Event()
            running = asyncio.create_task(asyncio.to_thread(self._run_blocking, options, stop=stop, **kwargs))
            try:
                yield
            finally:
                stop.set()
                await running
        else:
            halt = asyncio.Event()
            async with self.library.bridge(self.program) as handler:
                running = asyncio.create_task(run(run_polling, serve_webhook, handler, options, stop=halt, **kwargs))
                try:
                    yield
                finally:
                    halt.set()
                    await running

    def _run_blocking(self, options: PollingOptions | WebhookOptions | None, **kwargs: Any) -> None:
        with self.library.bridge(self.program) as handler:
            run(blocking.run_polling, blocking.serve_webhook, handler, options, **kwargs)

    def message(self, text: str, user: int = 1) -> None:
        """Let a user send a message."""
        self.simulation.message(BOT_ID, text, user=user)

    def press(self, data: str, user: int = 1) -> None:
        """Let a user press a button."""
        self.simulation.button(BOT_ID, data, user=user)

    def calls(self, method: str = "") -> list[Call]:
        """The bot's calls of a method, or of all but those that hookline makes by itself."""
        calls = self.simulation.telegram.calls(BOT_ID)
        return [call for call in calls if (call.method == method.lower() if method else call.method not in OWN_CALLS)]

    def texts(self) -> list[str]:
        """The texts that the bot has sent."""
        return [call.params["text"] for call in self.calls("sendMessage")]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that is to happen."""
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE
        while not condition():
            assert loop.time() < end, f"it did not happen: {self.happened}, {self.calls()}"
            await asyncio.sleep(0.01)

    async def quiet(self) -> None:
        """Wait until Telegram has nothing more for the bot."""
        await self.until(lambda: self.simulation.telegram.pending(BOT_ID) == 0)


def run(
    polling: Callable[..., Any],
    webhook: Callable[..., Any],
    handler: Any,
    options: PollingOptions | WebhookOptions | None,
    **kwargs: Any,
) -> Any:
    """Call one of a driver's two entries."""
    if isinstance(options, WebhookOptions):
        with common.listen("127.0.0.1", 0) as probe:
            port = probe.getsockname()[1]
        url = f"http://127.0.0.1:{port}/"
        return webhook(handler, TOKEN, options, listen=("127.0.0.1", port), url=url, **kwargs)
    return polling(handler, TOKEN, options, **kwargs)


def play(library: Library, story: Callable[[World], Coroutine[Any, Any, None]], **environment: str) -> None:
    """Let something happen to a bot, which finds `environment` when it is loaded."""
    pytest.importorskip(library.package, reason="tox installs it")

    async def main() -> None:
        async with serve_simulation() as simulation:
            with loaded(library.program, simulation.root, environment) as program:
                await story(World(library, program, simulation))

    loop = asyncio.new_event_loop() if library.blocking else VirtualLoop()
    try:
        loop.run_until_complete(main())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


@contextmanager
def loaded(program: str, root: str, environment: dict[str, str]) -> Iterator[ModuleType]:
    """A program of `bots/`, loaded afresh."""
    spec = importlib.util.spec_from_file_location(f"bridged_{Path(program).stem}", BOTS / program)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ({"BOT_TOKEN": TOKEN, "BOT_API_ROOT": root} | environment).items():
            patch.setenv(name, value)
        spec.loader.exec_module(module)
    yield module


def reports(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The verdicts of what hookline has reported."""
    return [record.verdict for record in caplog.records if hasattr(record, "verdict")]
