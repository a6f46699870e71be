"""What the adapters of asynchronous hosts share: one `Exchange`, begun and ended with its host."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from attrs import evolve

from hookline.botapi import Token
from hookline.http import Request, Response, lower_names
from hookline.options import WebhookOptions
from hookline_io import common
from hookline_io.asyncio import Exchange, Handler

ReadBody: TypeAlias = "Callable[[int], Awaitable[bytes]]"
"""Reads the body of a request; not much more of it than so many bytes, where the host lets one stop."""


class AsyncWebhook:
    """A webhook in an asynchronous host, on asyncio or trio.

    It begins with its host, by `start`, or else with the first request (on asyncio; trio has no home for that); `stop`
    ends it gracefully. What began with a request and is not stopped ends with the event loop: its handlers are cut
    off, and Telegram sends again what it was not told to be delivered. The arguments are those of `Exchange`.
    """

    def __init__(
        self, handler: Handler, token: str | Token, options: WebhookOptions | None = None, **settings: Any
    ) -> None:
        common.check_handler(handler, asynchronous=True)
        self.options = options or WebhookOptions()
        self._arguments = (handler, common.as_token(token), self.options)
        self._settings = settings
        self._exchange: Exchange | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Begin, in the task that will call `stop`."""
        self._loop = _running_loop()
        exchange = _exchange_class()(*self._arguments, **self._settings)
        await exchange.__aenter__()
        self._exchange = exchange

    async def stop(self) -> None:
        """End: handlers get their grace time. RunFailed if the run had ended by itself."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            await exchange.__aexit__(None, None, None)

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[None]:
        """From `start` to `stop`, as a context; many hosts call it with their application."""
        await self.start()
        try:
            yield
        finally:
            await self.stop()

    async def answer(self, method: str, target: str, headers: Iterable[tuple[str, str]], read: ReadBody) -> Response:
        """Answer a request; its body is only read if its head does not earn a rejection.

        Errors: WebhookTimeout, to be raised in the host; whatever `read` raises.
        """
        if self._exchange is None:
            await self._start_late()
        if self._loop is not _running_loop():
            raise RuntimeError("this webhook began in another event loop: the host must keep one for all its requests")
        exchange = self._exchange
        assert exchange is not None
        request = Request(method, target, lower_names(headers))
        if exchange.screen(request) is None:
            request = evolve(request, body=(await read(self.options.max_body),))
        return await exchange(request)

    async def _start_late(self) -> None:
        if _exchange_class() is not Exchange:
            raise RuntimeError(
                "on trio, the webhook must be started with its host: is the host's lifespan switched on?"
            )
        await self.start()


async def joined(pieces: AsyncIterable[bytes], limit: int) -> bytes:
    """A body that comes in pieces; of one that is longer than `limit` not much more than that."""
    body = bytearray()
    async for piece in pieces:
        body += piece
        if len(body) > limit:
            break
    return bytes(body)


def _exchange_class() -> type[Exchange]:
    """The exchange of the library that runs this task."""
    if _running_loop() is not None:
        return Exchange
    from hookline_io import trio

    return trio.Exchange  # type: ignore[return-value]  # they are used alike


def _running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs this task; None on trio."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
