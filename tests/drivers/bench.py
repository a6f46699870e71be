"""One bench for all drivers: a bot in a thread of its own, by any driver, against the simulated Telegram on loopback.

Handlers are written once, as coroutines that use `call`, `sleep` and `download` of a `Toolbox`; under the blocking
driver these do not wait, and the coroutine is run through at once, in the thread of its handler.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, BinaryIO, TypeAlias

from hookline import ApiOptions, PollingOptions, Update, WebhookOptions
from hookline_io.simulation import Simulation, serve_simulation

BOT_ID = 42
TOKEN = f"{BOT_ID}:{'t' * 30}"
DRIVERS = ["asyncio", "trio", "blocking"]


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


class Bot:
    """A bot that runs in a thread. failure: what its entry raised."""

    def __init__(self, driver: str, root: str, handler: Handler, source: Any, **kwargs: Any) -> None:
        self.failure: BaseException | None = None
        self.port = free_port()
        self._driver = driver
        self._handler = handler
        self._source = source
        self._kwargs = {"api": ApiOptions(root=root), "signals": False} | kwargs
        if isinstance(source, WebhookOptions):
            self._kwargs |= {
                "listen": ("127.0.0.1", self.port),
                "url": f"http://127.0.0.1:{self.port}{source.path}",
            } | kwargs
        self._set_stop: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Stop the bot, and wait for its end."""
        with contextlib.suppress(RuntimeError):
            self._set_stop()
        await asyncio.to_thread(self._thread.join, 10.0)
        assert not self._thread.is_alive()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            {"asyncio": self._on_asyncio, "trio": self._on_trio, "blocking": self._on_blocking}[self._driver]()
        except BaseException as error:
            self.failure = error

    def _entry(self, driver: Any, handler: Any, stop: Any) -> Any:
        entry = driver.run_polling if isinstance(self._source, PollingOptions) else driver.serve_webhook
        return entry(handler, TOKEN, self._source, stop=stop, **self._kwargs)

    def _async_handler(self, sleep: Callable[[float], Awaitable[None]]) -> Any:
        async def handler(update: Update, api: Any) -> None:
            await self._handler(update, Toolbox(api, sleep, blocking=False))

        return handler

    def _on_asyncio(self) -> None:
        from hookline_io import asyncio as driver

        async def main() -> None:
            stop = asyncio.Event()
            loop = asyncio.get_running_loop()
            self._set_stop = lambda: loop.call_soon_threadsafe(stop.set)
            await self._entry(driver, self._async_handler(asyncio.sleep), stop)

        asyncio.run(main())

    def _on_trio(self) -> None:
        import trio

        from hookline_io import trio as driver

        async def main() -> None:
            stop = trio.Event()
            token = trio.lowlevel.current_trio_token()
            self._set_stop = lambda: token.run_sync_soon(stop.set)
            await self._entry(driver, self._async_handler(trio.sleep), stop)

        trio.run(main)

    def _on_blocking(self) -> None:
        from hookline_io import blocking as driver

        stop = threading.Event()
        self._set_stop = stop.set

        def handler(update: Update, api: Any) -> None:
            steps = self._handler(update, Toolbox(api, time.sleep, blocking=True))
            with contextlib.suppress(StopIteration):
                steps.send(None)
                raise AssertionError("a blocking handler has nothing to wait for")

        self._entry(driver, handler, stop)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


async def until(condition: Callable[[], bool], patience: float = 10.0) -> None:
    """Wait for something that is to happen."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def running(driver: str, handler: Handler, source: Any, **kwargs: Any) -> AsyncIterator[tuple[Simulation, Bot]]:
    """A simulated Telegram and a bot that is ready for updates; the bot is stopped at the end and must end well."""
    async with serve_simulation() as simulation:
        bot = Bot(driver, simulation.root, handler, source, **kwargs)
        wanted = "getupdates" if isinstance(source, PollingOptions) else "setwebhook"
        await until(lambda: any(call.method == wanted for call in simulation.telegram.calls(BOT_ID)))
        try:
            yield simulation, bot
        finally:
            await bot.stop()
        assert bot.failure is None, bot.failure


def calls(simulation: Simulation, method: str) -> list[Any]:
    """The calls of one method that the simulation saw."""
    return [call for call in simulation.telegram.calls(BOT_ID) if call.method == method.lower()]
