"""A simulated Telegram for the tests of a bot: on loopback for bots of any kind, or in virtual time for async handlers.

`LoopbackTelegram` serves it from a thread of its own, so that any program can be pointed at `root`. `VirtualTelegram`
runs the real asyncio driver and the simulation in one loop whose clock jumps: a minute of waiting passes at once. Both
have the same methods for what users do and what the bot did. `hookline_io.pytest_plugin` has them as fixtures.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from attrs import evolve

from hookline.options import ApiOptions, PollingOptions, WebhookOptions
from hookline.sim import Call, Fault
from hookline_io.asyncio import Handler, run_polling, serve_webhook
from hookline_io.simulation import Simulation, serve_simulation

T = TypeVar("T")

BOT_ID = 42
TOKEN = f"{BOT_ID}:a-simulated-bots-secret-0123456789"
"""A token that the simulation takes; any other of the same form names a bot of its own."""
PATIENCE = 10.0
SETTLING = 0.000_5
"""Seconds of the wall clock in which what was written on loopback has surely arrived."""

_OWN_CALLS = ("getme", "getupdates", "setwebhook", "deletewebhook")


class _Telegram:
    """What users do, and what the bot did. Every method asks the simulation where it runs."""

    _simulation: Simulation

    def _ask(self, question: Callable[[Simulation], T]) -> T:
        raise NotImplementedError

    @property
    def root(self) -> str:
        """The address that bots take for the Bot API's."""
        return self._simulation.root

    def message(self, text: str = "hi", *, user: int = 1, chat: int | None = None) -> int | None:
        """A user's message, in the private chat or in another; the update's id, or None if there is none of it."""
        return self._ask(lambda simulation: simulation.message(BOT_ID, text, user=user, chat=chat))

    def button(self, data: str, *, user: int = 1, chat: int | None = None) -> int | None:
        """A user's press of a button; the update's id, or None."""
        return self._ask(lambda simulation: simulation.button(BOT_ID, data, user=user, chat=chat))

    def update(self, kind: str, payload: Mapping[str, Any]) -> int | None:
        """Any update: the Bot API's name of its field, and that field's value; the update's id, or None."""
        return self._ask(lambda simulation: simulation.inject(BOT_ID, kind, payload))

    def go_wrong(self, kind: str, *, method: str = "", times: int = 1, **details: Any) -> None:
        """Let the next calls of the bot go wrong; the arguments are `Fault`'s."""
        fault = Fault(kind, method, times, **details)
        self._ask(lambda simulation: simulation.telegram.set_fault(BOT_ID, fault))

    def pending(self) -> int:
        """How many updates Telegram still keeps for the bot."""
        return self._ask(lambda simulation: simulation.telegram.pending(BOT_ID))

    def calls(self, method: str = "") -> list[Call]:
        """The calls of a method that the bot made, the oldest first; of all but what hookline calls by itself."""
        calls = self._ask(lambda simulation: simulation.telegram.calls(BOT_ID))
        if method:
            return [call for call in calls if call.method == method.lower()]
        return [call for call in calls if call.method not in _OWN_CALLS]

    def texts(self) -> list[str]:
        """The texts that the bot sent by sendMessage."""
        return [call.params.get("text", "") for call in self.calls("sendMessage")]


class LoopbackTelegram(_Telegram):
    """The simulation on a free port of loopback, served from a thread; a context manager."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._closed = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="simulated Telegram", daemon=True)

    def __enter__(self) -> LoopbackTelegram:
        self._thread.start()
        if not self._ready.wait(PATIENCE):
            raise RuntimeError("the simulated Telegram did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._closed.set)
        self._thread.join(PATIENCE)

    def wait_until(self, condition: Callable[[], bool], *, patience: float = PATIENCE) -> None:
        """Wait for something that is to happen. AssertionError if it does not within `patience` seconds."""
        end = time.monotonic() + patience
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"it did not happen within {patience:g} s: {_told(condition)}")
            time.sleep(0.005)

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        async with serve_simulation() as self._simulation:
            self._ready.set()
            await self._closed.wait()

    def _ask(self, question: Callable[[Simulation], T]) -> T:
        async def answer() -> T:
            return question(self._simulation)

        return asyncio.run_coroutine_threadsafe(answer(), self._loop).result(PATIENCE)


class VirtualTelegram(_Telegram):
    """The simulation and a bot on the asyncio driver, in virtual time; a context manager.

    Time stands still but in `wait`, `wait_until` and `stop`. Handlers may await whatever lives in the loop; what comes
    from a thread (`asyncio.to_thread`) does not hold the clock.
    """

    def __init__(self) -> None:
        self._loop = VirtualLoop()
        self._serving = serve_simulation()
        self._bot: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()

    def __enter__(self) -> VirtualTelegram:
        self._simulation = self._loop.run_until_complete(self._serving.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        if self._bot is not None:
            self._bot.cancel()
            self._loop.run_until_complete(asyncio.wait([self._bot]))
        self._loop.run_until_complete(self._serving.__aexit__(None, None, None))
        self._loop.close()

    @property
    def now(self) -> float:
        """The virtual clock's seconds."""
        return self._loop.time()

    def start(self, handler: Handler, options: PollingOptions | WebhookOptions | None = None, **kwargs: Any) -> None:
        """Start the bot: by long polling, or by webhook if those are the options.

        kwargs: of `run_polling` or `serve_webhook`. RuntimeError if one runs already.
        """
        if self._bot is not None and not self._bot.done():
            raise RuntimeError("a bot runs already: stop it before another is started")
        self._stop = asyncio.Event()
        api = evolve(kwargs.pop("api", None) or ApiOptions(), root=self.root)
        kwargs |= {"api": api, "signals": False, "stop": self._stop}
        if isinstance(options, WebhookOptions):
            with socket.create_server(("127.0.0.1", 0)) as probe:
                port = probe.getsockname()[1]
            kwargs |= {"listen": ("127.0.0.1", port), "url": f"http://127.0.0.1:{port}{options.path}"}
            running = serve_webhook(handler, TOKEN, options, **kwargs)
        else:
            running = run_polling(handler, TOKEN, options, **kwargs)
        self._bot = self._loop.create_task(running)

    def wait(self, seconds: float) -> None:
        """Let time go by. What ended the bot meanwhile is raised here."""
        self._loop.run_until_complete(asyncio.sleep(seconds))
        self._raise_what_ended_it()

    def wait_until(self, condition: Callable[[], bool], *, patience: float = 3_600.0) -> None:
        """Let time go by until something holds. AssertionError if it does not within `patience` seconds.

        It is looked at twenty times a second at first, and less often the longer it takes.
        """
        began = self.now
        while not condition():
            waited = self.now - began
            if waited > patience:
                raise AssertionError(f"it did not happen within {patience:g} s of virtual time: {_told(condition)}")
            self.wait(max(0.05, waited / 100))

    def stop(self) -> None:
        """Stop the bot gracefully, as a signal would, and wait for its end."""
        if self._bot is None:
            raise RuntimeError("no bot was started")
        self._stop.set()
        self._loop.run_until_complete(self._bot)

    def _raise_what_ended_it(self) -> None:
        if self._bot is not None and self._bot.done() and not self._bot.cancelled():
            error = self._bot.exception()
            if error is not None:
                raise error

    def _ask(self, question: Callable[[Simulation], T]) -> T:
        async def answer() -> T:
            return question(self._simulation)

        return self._loop.run_until_complete(answer())


def _told(condition: Callable[[], bool]) -> str:
    """What was waited for: a function's name, or the line in which a lambda stands."""
    name = getattr(condition, "__name__", "")
    if name != "<lambda>":
        return name or repr(condition)
    try:
        source = " ".join(inspect.getsource(condition).split())
    except OSError:  # as of what was typed into an interpreter
        return repr(condition)
    return source if "lambda" in source else repr(condition)  # or some other text is taken for what was typed


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still while something happens, and jumps to the next timer when nothing does."""

    def __init__(self) -> None:
        self._clock = _JumpingSelector()
        super().__init__(self._clock)

    def time(self) -> float:
        """The virtual clock's seconds."""
        return self._clock.now


class _JumpingSelector(selectors.DefaultSelector):
    """Waits for no timer: where nothing is ready, the time is over at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready, now or a moment later; else the clock goes on by `timeout`."""
        if timeout is None:  # no timer: only what comes from outside can wake the loop
            ready = super().select(PATIENCE)
            if not ready:
                raise RuntimeError("nothing is awaited that could still happen")
            return ready
        ready = super().select(0)
        if not ready and timeout > 0:
            ready = super().select(min(timeout, SETTLING))
            if not ready:
                self.now += timeout
        return ready
