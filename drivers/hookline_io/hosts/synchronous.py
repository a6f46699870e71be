"""What the adapters of synchronous hosts share: one exchange for each process, in threads of its own.

So several worker processes know nothing of each other. An update that is sent again may come to another one than the
first time, where it joins no run and is not known as handled; two updates of one chat may run at the same time in two.
Hence one worker process with threads, such as `gunicorn --workers 1 --threads 16`.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeAlias

from attrs import evolve

from hookline.botapi import Token
from hookline.errors import OptionError
from hookline.http import Request, Response, lower_names
from hookline.options import WebhookOptions
from hookline_io import asyncio as asyncio_driver
from hookline_io import blocking, common

Handler: TypeAlias = "blocking.Handler | asyncio_driver.Handler"
"""`def handler(update, api)`, run in threads, or `async def handler(update, api)`, run on a loop of its own."""

ReadBody: TypeAlias = "Callable[[int], bytes]"
"""Reads the body of a request, and of a longer one not much more than so many bytes."""


class SyncWebhook:
    """A webhook in a synchronous host, which may call it from any thread.

    It begins with the first request in each process: a server forks its workers after it has loaded the program
    (gunicorn's `--preload`). It ends with the process, or by `stop`, gracefully: give the server's own grace time a few
    seconds more than `WebhookOptions.grace`. A process that a signal ends without `atexit` ends it at once; and
    Python 3.12.0 to 3.12.2 start no thread any more then, so that a call which needs a connection fails. The arguments
    are those of `Exchange`, without `url`.
    """

    def __init__(
        self, handler: Handler, token: str | Token, options: WebhookOptions | None = None, **settings: Any
    ) -> None:
        asynchronous = common.is_asynchronous(handler)
        common.check_handler(handler, asynchronous=asynchronous)
        if settings.get("url") is not None:
            raise OptionError(
                "url cannot be given here: the webhook begins with its first request, and that comes only when it is "
                "set; set it once, as by `hookline webhook set`"
            )
        self.options = options or WebhookOptions()
        self._class: Any = _InLoop if asynchronous else blocking.Exchange
        self._arguments = (handler, common.as_token(token), self.options)
        self._settings = settings
        self._exchange: Any = None
        self._process: int | None = None
        self._lock = threading.Lock()

    def answer(self, method: str, target: str, headers: Iterable[tuple[str, str]], read: ReadBody) -> Response:
        """Answer a request; its body is only read if its head does not earn a rejection.

        Errors: WebhookTimeout, to be raised in the host; whatever `read` raises.
        """
        exchange = self._started()
        request = Request(method, target, lower_names(headers))
        if exchange.screen(request) is None:
            request = evolve(request, body=(read(self.options.max_body),))
        response: Response = exchange(request)
        return response

    def stop(self) -> None:
        """End: handlers get their grace time. RunFailed if the run had ended by itself."""
        with self._lock:
            exchange, self._exchange = self._exchange, None
        if exchange is not None and self._process == os.getpid():
            exchange.__exit__(None, None, None)

    def _started(self) -> Any:
        with self._lock:
            if self._process != os.getpid():  # the threads of the process before are not here
                exchange = self._class(*self._arguments, **self._settings)
                self._process, self._exchange = os.getpid(), exchange.__enter__()
                atexit.register(self.stop)
            if self._exchange is None:
                raise RuntimeError("this webhook was stopped")
            return self._exchange


class _InLoop:
    """The asyncio driver's exchange on an event loop in a thread of its own, used as the blocking driver's is."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._exchange = asyncio_driver.Exchange(*args, **settings)

    def __enter__(self) -> _InLoop:
        # A daemon, since others are waited for before `atexit` could stop them.
        threading.Thread(target=self._loop.run_forever, name="hookline webhook", daemon=True).start()
        self._run(self._exchange.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._run(self._exchange.__aexit__())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)

    def screen(self, request: Request) -> Response | None:
        return self._exchange.screen(request)

    def __call__(self, request: Request) -> Response:
        response: Response = self._run(self._exchange(request))
        return response

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
