"""A simulated Telegram in a thread of its own, and the entries of the drivers redirected to it.

What the documentation shows runs as it is written: `run_polling`, `serve_webhook` and `Api` are wrapped, so that they
take the simulation for the Bot API's address, listen on a free port of loopback, and stop once a message that a user
sent was handled. A call that names an address itself (`api=`) is left alone.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from attrs import evolve

import hookline_io
import hookline_io.blocking
import hookline_io.trio
from hookline import ApiOptions, SetWebhookOptions, WebhookOptions
from hookline.sim import Call
from hookline_io.simulation import Simulation, serve_simulation
from tests.ports import free_port

BOT_ID = 42
TOKEN = f"{BOT_ID}:{'t' * 30}"
PATIENCE = 15.0
NOT_ANSWERS = {"getme", "getupdates", "setwebhook", "deletewebhook"}
"""What a bot calls without being told to by its handler."""


class Telegram:
    """The simulation, for use from any thread. problems: what went wrong in threads that watched a run."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.sent = 0
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)
        self._thread.start()
        assert self._ready.wait(PATIENCE)

    async def _serve(self) -> None:
        self._closed = asyncio.Event()
        async with serve_simulation() as self._simulation:
            self._ready.set()
            await self._closed.wait()

    def close(self) -> None:
        """End the simulation."""
        self._loop.call_soon_threadsafe(self._closed.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        self._loop.close()

    @property
    def root(self) -> str:
        """The address that bots take for the Bot API's."""
        return self._simulation.root

    def ask(self, question: Callable[[Simulation], Any]) -> Any:
        """What a function of the simulation returns, run where the simulation runs."""

        async def answer() -> Any:
            return question(self._simulation)

        return asyncio.run_coroutine_threadsafe(answer(), self._loop).result(PATIENCE)

    def message(self, text: str, user: int = 1) -> int:
        """Let a user send the bot a message; the update's id."""
        self.sent += 1
        update_id: int = self.ask(lambda simulation: simulation.message(BOT_ID, text, user=user))
        return update_id

    def pending(self) -> int:
        """How many updates Telegram still has for the bot."""
        waiting: int = self.ask(lambda simulation: simulation.telegram.pending(BOT_ID))
        return waiting

    def answers(self) -> list[Call]:
        """The calls that the bot's handler made."""
        calls: list[Call] = self.ask(lambda simulation: simulation.telegram.calls(BOT_ID))
        return [call for call in calls if call.method not in NOT_ANSWERS]

    def texts(self) -> list[str]:
        """The texts that the bot sent."""
        return [call.params["text"] for call in self.answers() if call.method == "sendmessage"]

    def watch(self, stop: Callable[[], object]) -> None:
        """Send a message in a thread of its own, and call `stop` once the bot has answered and confirmed it."""

        def watcher() -> None:
            before = len(self.answers())
            self.message("hello")
            try:
                until(lambda: len(self.answers()) > before and self.pending() == 0)
            except AssertionError:
                self.problems.append("the bot did not answer a message")
            stop()

        threading.Thread(target=watcher, daemon=True).start()


def until(condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait for something that is to happen."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def redirect(telegram: Telegram, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the drivers' entries reach `telegram` alone."""
    api = ApiOptions(root=telegram.root)

    def moved(kwargs: dict[str, Any], args: tuple[Any, ...]) -> dict[str, Any]:
        """The keyword arguments, with addresses of loopback for those of the world."""
        changed: dict[str, Any] = {"api": api}
        if kwargs.get("health"):
            changed["health"] = ("127.0.0.1", free_port())
        if "listen" in kwargs:
            port = free_port()
            changed["listen"] = ("127.0.0.1", port)
            shown = kwargs["url"]
            address = shown.url if isinstance(shown, SetWebhookOptions) else shown
            options = next((value for value in args if isinstance(value, WebhookOptions)), WebhookOptions())
            assert urlsplit(address).path == options.path, "the webhook's address and its path differ"
            local = f"http://127.0.0.1:{port}{options.path}"
            changed["url"] = evolve(shown, url=local) if isinstance(shown, SetWebhookOptions) else local
        return kwargs | changed

    def on_asyncio(entry: Callable[..., Any]) -> Callable[..., Any]:
        async def run(*args: Any, **kwargs: Any) -> None:
            if "api" not in kwargs:
                stop, loop = asyncio.Event(), asyncio.get_running_loop()
                telegram.watch(lambda: loop.call_soon_threadsafe(stop.set))
                kwargs = moved(kwargs, args) | {"stop": stop}
            await entry(*args, **kwargs)

        return run

    def on_trio(entry: Callable[..., Any]) -> Callable[..., Any]:
        async def run(*args: Any, **kwargs: Any) -> None:
            import trio

            if "api" not in kwargs:
                stop, token = trio.Event(), trio.lowlevel.current_trio_token()
                telegram.watch(lambda: token.run_sync_soon(stop.set))
                kwargs = moved(kwargs, args) | {"stop": stop}
            await entry(*args, **kwargs)

        return run

    def on_blocking(entry: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> None:
            if "api" not in kwargs:
                stop = threading.Event()
                telegram.watch(stop.set)
                kwargs = moved(kwargs, args) | {"stop": stop}
            entry(*args, **kwargs)

        return run

    for module, wrap in ((hookline_io, on_asyncio), (hookline_io.trio, on_trio), (hookline_io.blocking, on_blocking)):
        for name in ("run_polling", "serve_webhook"):
            monkeypatch.setattr(module, name, wrap(getattr(module, name)))
    alone = hookline_io.Api
    monkeypatch.setattr(hookline_io, "Api", lambda token, options=api, **kwargs: alone(token, options, **kwargs))
