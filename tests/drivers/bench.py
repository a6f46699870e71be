"""One bench for all drivers: a bot in a thread of its own, by any driver, against the simulated Telegram on loopback.

Handlers are written once, as coroutines that use `call`, `sleep` and `download` of a `Toolbox`; under the blocking
driver these do not wait, and the coroutine is run through at once, in the thread of its handler.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from importlib.util import find_spec
from typing import Any, BinaryIO, TypeAlias, TypeVar

import pytest
from attrs import frozen

from hookline import ApiOptions, PollingOptions, Update, WebhookOptions, WorkOptions
from hookline_io.simulation import Simulation, serve_simulation
from tests.ports import free_port

BOT_ID = 42
TOKEN = f"{BOT_ID}:{'t' * 30}"

NO_EAGER_TASKS = pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
NO_UVLOOP = pytest.mark.skipif(find_spec("uvloop") is None, reason="uvloop is not installed")
NO_TRIO = pytest.mark.skipif(find_spec("trio") is None, reason="trio is not installed")

ASYNCIO = [
    pytest.param("asyncio"),
    pytest.param("asyncio-eager", marks=NO_EAGER_TASKS),
    pytest.param("asyncio-uvloop", marks=NO_UVLOOP),
]
"""The asyncio driver on each loop that it must run on."""

DRIVERS = [*ASYNCIO, pytest.param("trio", marks=NO_TRIO), pytest.param("blocking")]
"""Every driver there is."""


T = TypeVar("T")


class Toolbox:
    """A driver's `Api`, and its way to sleep, for handlers of every colour."""

    def __init__(self, api: Any, sleep: Callable[[float], Any], *, blocking: bool) -> None:
        self._api = api
        self._sleep = sleep
        self._blocking = blocking

    async def call(self, method: str, **params: Any) -> Any:
        """Call a method of the Bot API."""
        result = self._api.call(method, **params)
        return result if self._blocking else await result

    async def download(self, file_path: str, destination: BinaryIO) -> None:
        """Download a file."""
        result = self._api.download(file_path, destination)
        if not self._blocking:
            await result

    async def sleep(self, seconds: float) -> None:
        """Let time go by."""
        result = self._sleep(seconds)
        if not self._blocking:
            await result


Handler: TypeAlias = Callable[[Update, Toolbox], Coroutine[Any, Any, object]]


def run_asyncio(driver: str, main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on one of the loops of `ASYNCIO`."""

    async def begin() -> T:
        if driver == "asyncio-eager":
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
        return await main

    if driver == "asyncio-uvloop":
        import uvloop

        return uvloop.run(begin())  # type: ignore[no-any-return,unused-ignore]
    return asyncio.run(begin())


@frozen
class Native:
    """A driver and what is its library's own: an event that stops a run, and how it is set from any thread; sleep."""

    driver: Any
    stop: Any
    set_stop: Callable[[], object]
    sleep: Callable[[float], Any]
    blocking: bool = False

    def toolbox(self, api: Any) -> Toolbox:
        """What a coroutine of a test works with."""
        return Toolbox(api, self.sleep, blocking=self.blocking)

    def handler(self, handler: Handler) -> Any:
        """A handler of the driver's colour."""

        def run_through(update: Update, api: Any) -> None:
            finish(handler(update, self.toolbox(api)))

        async def run(update: Update, api: Any) -> None:
            await handler(update, self.toolbox(api))

        return run_through if self.blocking else run

    def with_api(self, api: Any, work: Callable[[Toolbox], Coroutine[Any, Any, object]]) -> Any:
        """Let a coroutine work with an `Api` that is entered for it."""

        async def enter() -> None:
            async with api:
                await work(self.toolbox(api))

        if not self.blocking:
            return enter()
        with api:
            return finish(work(self.toolbox(api)))


def finish(steps: Coroutine[Any, Any, object]) -> None:
    """Run a coroutine that has nothing to wait for."""
    with contextlib.suppress(StopIteration):
        steps.send(None)
        raise AssertionError("a blocking handler has nothing to wait for")


def natively(driver: str, use: Callable[[Native], Any]) -> None:
    """Let a function use a driver in this thread; what it returns is awaited, where the driver is not blocking."""

    async def on_asyncio() -> None:
        from hookline_io import asyncio as module

        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        await use(Native(module, stop, lambda: loop.call_soon_threadsafe(stop.set), asyncio.sleep))

    async def on_trio() -> None:
        import trio

        from hookline_io import trio as module

        stop, token = trio.Event(), trio.lowlevel.current_trio_token()
        await use(Native(module, stop, lambda: token.run_sync_soon(stop.set), trio.sleep))

    if driver == "trio":
        import trio

        trio.run(on_trio)
    elif driver == "blocking":
        from hookline_io import blocking as module

        event = threading.Event()
        use(Native(module, event, event.set, time.sleep, blocking=True))
    else:
        run_asyncio(driver, on_asyncio())


class Bot:
    """A bot that runs in a thread. failure: what its entry raised."""

    def __init__(self, driver: str, root: str, handler: Handler | None, source: Any, **kwargs: Any) -> None:
        self.failure: BaseException | None = None
        self.port = free_port()
        self._handler = handler
        self._source = source
        self._kwargs = {"api": ApiOptions(root=root), "signals": False} | kwargs
        if isinstance(source, WebhookOptions):
            scheme = "https" if "certificate" in kwargs else "http"
            self.url = f"{scheme}://127.0.0.1:{self.port}{source.path}"
            self._kwargs = {"listen": ("127.0.0.1", self.port), "url": self.url} | self._kwargs
        self._set_stop: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._run, args=(driver,), daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Stop the bot, and wait for its end."""
        with contextlib.suppress(RuntimeError):
            self._set_stop()
        await asyncio.to_thread(self._thread.join, 10.0)
        assert not self._thread.is_alive()

    def _run(self, driver: str) -> None:
        try:
            natively(driver, self._carry)
        except BaseException as error:
            self.failure = error

    def _carry(self, native: Native) -> Any:
        self._set_stop = native.set_stop
        module = native.driver
        entries = {PollingOptions: "run_polling", WebhookOptions: "serve_webhook", WorkOptions: "run_worker"}
        entry = getattr(module, entries[type(self._source)])
        handler = None if self._handler is None else native.handler(self._handler)
        return entry(handler, TOKEN, self._source, stop=native.stop, **self._kwargs)


async def until(condition: Callable[[], bool], patience: float = 10.0) -> None:
    """Wait for something that is to happen."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def running(
    driver: str, handler: Handler | None, source: Any, simulated: dict[str, Any] | None = None, **kwargs: Any
) -> AsyncIterator[tuple[Simulation, Bot]]:
    """A simulated Telegram and a bot that is ready for updates; the bot is stopped at the end and must end well.

    simulated: how the simulation is served.
    """
    async with serve_simulation(**simulated or {}) as simulation:
        bot = Bot(driver, simulation.root, handler, source, **kwargs)
        wanted = "getupdates" if isinstance(source, PollingOptions) else "setwebhook"
        try:
            await until(lambda: bot.failure is not None or any(calls(simulation, wanted)))
            yield simulation, bot
        finally:
            await bot.stop()
        assert bot.failure is None, bot.failure


def use_api(driver: str, root: str, work: Callable[[Toolbox], Coroutine[Any, Any, object]], **kwargs: Any) -> None:
    """Let a coroutine make calls by an `Api` of its own, in this thread."""
    natively(
        driver,
        lambda native: native.with_api(native.driver.Api(TOKEN, ApiOptions(root=root), **kwargs), work),
    )


def calls(simulation: Simulation, method: str) -> list[Any]:
    """The calls of one method that the simulation saw."""
    return [call for call in simulation.telegram.calls(BOT_ID) if call.method == method.lower()]
