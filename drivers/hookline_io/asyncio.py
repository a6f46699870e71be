"""The asyncio driver: carries a machine's effects out on transports and protocols, and runs handlers in tasks.

It opens, writes, closes, runs the handler and wakes on the deadline; every decision is the machine's. Effects are
carried out strictly in the order in which they were given, also when one of them leads to news for the machine at once
(an eager task may end within the call that starts it): what comes of the news waits in the queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path, PurePath
from typing import Any, BinaryIO, Protocol, TypeAlias

from hookline.bot import Bot, ReplyWith
from hookline.botapi import Token, with_stream_ids
from hookline.effects import (
    Cancel,
    Close,
    Connect,
    Effect,
    Ended,
    Handle,
    Log,
    Pull,
    Receive,
    Report,
    Resolve,
    Send,
)
from hookline.errors import RunFailed
from hookline.http import StreamId
from hookline.options import ApiOptions, HttpLimits, PollingOptions, SetWebhookOptions, WebhookOptions
from hookline.outcomes import CallOutcome, Cancelled, Returned
from hookline.updates import Lane, Update
from hookline.webhook import OnTimeoutPolicy
from hookline_io import common
from hookline_io.common import HANDSHAKE_TIMEOUT

Handler: TypeAlias = "Callable[[Update, Api], Awaitable[object]]"
"""`async def handler(update, api)`."""


class Machine(Protocol):
    """The part of a machine's contract that this driver needs; `Bot` has it, and so has the simulated Telegram."""

    @property
    def deadline(self) -> float | None: ...
    def new_connection(self) -> int: ...
    def accepted(self, connection: int, now: float) -> list[Effect]: ...
    def connected(self, connection: int, now: float) -> list[Effect]: ...
    def connect_failed(self, connection: int, reason: str, now: float) -> list[Effect]: ...
    def received(self, connection: int, data: bytes, now: float) -> list[Effect]: ...
    def disconnected(self, connection: int, reason: str, now: float) -> list[Effect]: ...
    def pulled(self, connection: int, data: bytes, now: float) -> list[Effect]: ...
    def pull_failed(self, connection: int, reason: str, now: float) -> list[Effect]: ...
    def start(self, now: float) -> list[Effect]: ...
    def stop(self, now: float) -> list[Effect]: ...
    def tick(self, now: float) -> list[Effect]: ...


class Link(asyncio.Protocol):
    """One connection: tells the machine what happens on it."""

    def __init__(self, run: Run, connection: int | None) -> None:
        self.run = run
        self.accepted = connection is None
        self.connection = run.machine.new_connection() if connection is None else connection
        self.transport: asyncio.Transport | None = None
        self.writable = asyncio.Event()
        self.writable.set()
        self.file: BinaryIO | None = None
        self.gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        sock: socket.socket | None = transport.get_extra_info("socket")
        if sock is not None:
            common.tune(sock)
        if self.run.ended.done():
            transport.abort()
            return
        self.run.links[self.connection] = self
        if self.accepted:
            self.run.tell(self.run.machine.accepted, self.connection)
        else:
            self.run.tell(self.run.machine.connected, self.connection)

    def data_received(self, data: bytes) -> None:
        self.run.tell(self.run.machine.received, self.connection, data)

    def eof_received(self) -> bool:
        self.run.tell(self.run.machine.received, self.connection, b"")
        return self.accepted  # an answer may still have to go out

    def connection_lost(self, exc: Exception | None) -> None:
        self.run.links.pop(self.connection, None)
        self.run.leaving.discard(self)
        self.gone.set()
        self.writable.set()
        if self.file is not None:
            self.file.close()
        self.run.tell(self.run.machine.disconnected, self.connection, common.why(exc))

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()


class Run:
    """One machine and what it holds of this loop: links, timers, tasks, futures."""

    def __init__(self, machine: Machine, handler: Handler | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.machine = machine
        self.handler = handler
        self.tls = tls
        self.loop = asyncio.get_running_loop()
        self.links: dict[int, Link] = {}
        self.leaving: set[Link] = set()
        self.ended: asyncio.Future[str | None] = self.loop.create_future()
        self.calls: dict[int, asyncio.Future[CallOutcome]] = {}
        self.sinks: dict[int, Callable[[bytes], object]] = {}
        self.streams: dict[int, Any] = {}
        self._connecting: dict[int, asyncio.Task[None]] = {}
        self._jobs: dict[int, asyncio.Task[None]] = {}
        self._pulls: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._queue: deque[Effect] = deque()
        self._performing = False
        self._last_number = 0
        self._perform: dict[type, Callable[[Any], None]] = {
            Connect: self._connect,
            Send: self._send,
            Pull: self._pull,
            Close: self._close,
            Handle: self._handle,
            Cancel: self._cancel,
            Resolve: self._resolve,
            Receive: self._receive,
            Report: common.show,
            Log: common.show,
            Ended: self._end,
        }

    # The interpreter

    def tell(self, fact: Callable[..., list[Effect]], *args: Any, **kwargs: Any) -> None:
        """Tell the machine a fact or give it a command, and carry out what it wants done."""
        self._queue.extend(fact(*args, now=self.loop.time(), **kwargs))
        if self._performing:
            return
        self._performing = True
        try:
            while self._queue:
                effect = self._queue.popleft()
                self._perform[type(effect)](effect)
        finally:
            self._performing = False
        self._arm()

    def _arm(self) -> None:
        deadline = self.machine.deadline
        if self._timer is not None:
            if self._timer.when() == deadline:
                return
            self._timer.cancel()
        self._timer = None if deadline is None else self.loop.call_at(deadline, self._tick, deadline)

    def _tick(self, deadline: float) -> None:
        self._timer = None
        # A loop may fire a little early: what is due is due.
        self._queue.extend(self.machine.tick(max(self.loop.time(), deadline)))
        self.tell(lambda now: [])

    def number(self) -> int:
        """A number for a call or a stream."""
        self._last_number += 1
        return self._last_number

    # Connections

    def _connect(self, effect: Connect) -> None:
        self._connecting[effect.connection] = self.loop.create_task(self._open(effect))

    async def _open(self, effect: Connect) -> None:
        tls = None
        if effect.tls:
            self.tls = self.tls or common.client_tls()
            tls = self.tls
        try:
            await self.loop.create_connection(lambda: Link(self, effect.connection), effect.host, effect.port, ssl=tls)
        except (OSError, ssl.SSLError) as error:
            self.tell(self.machine.connect_failed, effect.connection, common.why(error))
        finally:
            self._connecting.pop(effect.connection, None)

    def _send(self, effect: Send) -> None:
        link = self.links.get(effect.connection)
        if link is not None and link.transport is not None and not link.transport.is_closing():
            link.transport.write(effect.data)

    def _close(self, effect: Close) -> None:
        connecting = self._connecting.pop(effect.connection, None)
        if connecting is not None:
            connecting.cancel()
        link = self.links.pop(effect.connection, None)
        if link is not None and link.transport is not None:
            self.leaving.add(link)
            link.transport.close()

    def _pull(self, effect: Pull) -> None:
        task = self.loop.create_task(self._read(effect))
        self._pulls.add(task)
        task.add_done_callback(self._pulls.discard)

    async def _read(self, effect: Pull) -> None:
        link = self.links.get(effect.connection)
        if link is None:
            return
        await link.writable.wait()
        try:
            if isinstance(effect.source, PurePath):
                if link.file is None:
                    link.file = await self.loop.run_in_executor(None, Path(effect.source).open, "rb")
                stream: Any = link.file
            else:
                stream = self.streams[effect.source.id]
            data = await self.loop.run_in_executor(None, stream.read, effect.size)
        except Exception as error:  # a stream is the program's own: anything may come out of it
            self.tell(self.machine.pull_failed, effect.connection, common.why(error))
            return
        if not data and link.file is not None:
            link.file.close()
            link.file = None
        self.tell(self.machine.pulled, effect.connection, data)

    # Handlers and calls

    def _handle(self, effect: Handle) -> None:
        self._jobs[effect.job] = self.loop.create_task(self._run_handler(effect))

    async def _run_handler(self, effect: Handle) -> None:
        assert self.handler is not None
        assert isinstance(self.machine, Bot)
        outcome: Any = Returned()
        try:
            await self.handler(effect.update, Api._of(self, effect.job))
        except asyncio.CancelledError:
            outcome = Cancelled()
        except Exception as error:
            outcome = common.raised(error)
        self._jobs.pop(effect.job, None)
        self.tell(self.machine.finished, effect.job, outcome)

    def _cancel(self, effect: Cancel) -> None:
        task = self._jobs.get(effect.job)
        if task is not None:
            task.cancel()

    def _resolve(self, effect: Resolve) -> None:
        self.sinks.pop(effect.call, None)
        future = self.calls.pop(effect.call, None)
        if future is not None and not future.done():
            future.set_result(effect.outcome)

    def _receive(self, effect: Receive) -> None:
        sink = self.sinks.get(effect.call)
        if sink is not None:
            try:
                sink(effect.data)
            except Exception as error:
                future = self.calls.pop(effect.call)
                if not future.done():
                    future.set_exception(error)

    def _end(self, effect: Ended) -> None:
        if not self.ended.done():
            self.ended.set_result(effect.failure)

    # The whole

    async def until_ended(self) -> None:
        """Wait for the end of the run, then leave nothing behind. RunFailed if it ended by itself."""
        try:
            failure = await self.ended
        finally:
            if self._timer is not None:
                self._timer.cancel()
            left = [*self._jobs.values(), *self._connecting.values(), *self._pulls]
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left, timeout=common.CANCEL_PATIENCE)
            await self._leave()
        if failure is not None:
            raise RunFailed(failure)

    async def _leave(self) -> None:
        """Let what was said last go out, for a while, and cut all connections off then."""
        if self.leaving:
            gone = [asyncio.ensure_future(link.gone.wait()) for link in self.leaving]
            _, waiting = await asyncio.wait(gone, timeout=common.CANCEL_PATIENCE)
            for task in waiting:
                task.cancel()
        cut = [*self.links.values(), *self.leaving]
        for link in cut:
            if link.transport is not None:
                link.transport.abort()
        for link in cut:
            await link.gone.wait()


class Api:
    """Calls of the Bot API.

    A handler is given one. Alone, it is an asynchronous context manager: `async with Api(token) as api: ...`.
    """

    def __init__(
        self, token: str | Token, options: ApiOptions | None = None, *, tls: ssl.SSLContext | None = None
    ) -> None:
        self._bot = Bot(common.as_token(token), api=options, seed=common.seed())
        self._tls = tls
        self._run: Run | None = None
        self._job: int | None = None

    @classmethod
    def _of(cls, run: Run, job: int) -> Api:
        api = cls.__new__(cls)
        assert isinstance(run.machine, Bot)
        api._bot, api._tls, api._run, api._job = run.machine, None, run, job
        return api

    async def __aenter__(self) -> Api:
        self._run = Run(self._bot, tls=self._tls)
        self._run.tell(self._bot.start)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._run is not None:
            self._run.tell(self._bot.stop)
            await self._run.until_ended()

    async def call(self, method: str, /, *, within: float | None = None, **params: Any) -> Any:
        """Call a method of the Bot API and return its result as plain JSON values (`REPLIED` if it went as a reply).

        within: seconds for all its tries. Parameters that are None are left out; files are `InputFile`.
        Errors: ApiError, NetworkError; LocalProtocolError for what can't be sent.
        """
        run = self._running()
        number, future = self._await(run)
        streams: list[int] = []

        def register(stream: Any) -> StreamId:
            streams.append(run.number())
            run.streams[streams[-1]] = stream
            return StreamId(streams[-1])

        try:
            values = with_stream_ids(params, register)
            run.tell(self._bot.call, number, method, values, timeout=within, job=self._job)
            return common.value_of(method, await future)
        finally:
            self._forget(run, number, future)
            for stream in streams:
                del run.streams[stream]

    async def download(self, file_path: str, destination: BinaryIO) -> None:
        """Write a file of Telegram's (getFile's `file_path`) to an open binary file, piece by piece.

        Errors: ApiError, NetworkError.
        """
        run = self._running()
        number, future = self._await(run)
        run.sinks[number] = destination.write
        try:
            run.tell(self._bot.download, number, file_path)
            common.value_of("download", await future)
        finally:
            self._forget(run, number, future)

    def stop(self) -> None:
        """End the run gracefully, as a signal would."""
        self._running().tell(self._bot.stop)

    def _running(self) -> Run:
        if self._run is None:
            raise RuntimeError("use the Api as a context manager: async with Api(token) as api: ...")
        return self._run

    @staticmethod
    def _await(run: Run) -> tuple[int, asyncio.Future[CallOutcome]]:
        number = run.number()
        future = run.calls[number] = run.loop.create_future()
        return number, future

    def _forget(self, run: Run, number: int, future: asyncio.Future[CallOutcome]) -> None:
        run.sinks.pop(number, None)
        if run.calls.pop(number, None) is not None or future.cancelled():
            run.tell(self._bot.cancel, number)


async def run_polling(
    handler: Handler,
    token: str | Token,
    options: PollingOptions | None = None,
    *,
    api: ApiOptions | None = None,
    lane: Lane | None = None,
    health: tuple[str, int] | None = None,
    stop: asyncio.Event | None = None,
    signals: bool = True,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Run a bot by long polling until it is stopped.

    handler: `async def handler(update, api)`. lane: replaces `default_lane`. health: serve /healthz there.
    stop: set it to end the run gracefully; so do SIGINT and SIGTERM, if `signals`. tls: to Telegram.
    Errors: RunFailed if the run ended by itself (a revoked token, a webhook that is set); OptionError.
    """
    common.check_handler(handler, asynchronous=True)
    bot = Bot(common.as_token(token), options or PollingOptions(), api=api, seed=common.seed(), lane=lane)
    run = Run(bot, handler, tls)
    sockets = [common.listen(*health)] if health is not None else []
    await _carry(run, sockets, None, stop, signals)


async def serve_webhook(
    handler: Handler,
    token: str | Token,
    options: WebhookOptions | None = None,
    *,
    listen: tuple[str, int],
    url: str | SetWebhookOptions | None = None,
    api: ApiOptions | None = None,
    http: HttpLimits | None = None,
    lane: Lane | None = None,
    on_timeout: OnTimeoutPolicy | None = None,
    reply_with: ReplyWith | None = None,
    certificate: tuple[str, str] | None = None,
    stop: asyncio.Event | None = None,
    signals: bool = True,
    tls: ssl.SSLContext | None = None,
    started: Callable[[tuple[str, int]], object] | None = None,
) -> None:
    """Run a bot by webhook, on a server of its own, until it is stopped.

    listen: host and port; port 0 takes a free one. url: call setWebhook with it (and with the secret token, made if
        there is none) once the server listens. certificate: paths of a certificate and its key, to serve TLS.
    on_timeout, reply_with, lane: the program's own pure functions. started: called with the address listened on.
    stop, signals, tls, errors: as `run_polling`.
    """
    common.check_handler(handler, asynchronous=True)
    options, set_webhook = common.with_secret(options, url)
    bot = Bot(
        common.as_token(token),
        options,
        api=api,
        set_webhook=set_webhook,
        http=http,
        seed=common.seed(),
        lane=lane,
        on_timeout=on_timeout,
        reply_with=reply_with,
    )
    context = common.server_tls(*certificate) if certificate is not None else None
    run = Run(bot, handler, tls)
    sock = common.listen(*listen)
    if started is not None:
        started(sock.getsockname()[:2])
    await _carry(run, [sock], context, stop, signals)


async def _carry(
    run: Run,
    sockets: Iterable[socket.socket],
    server_tls: ssl.SSLContext | None,
    stop: asyncio.Event | None,
    signals: bool,
) -> None:
    """Run a machine to its end, with what it listens on and what stops it."""
    handshake = None if server_tls is None else HANDSHAKE_TIMEOUT
    servers = [
        await run.loop.create_server(
            lambda: Link(run, None), sock=sock, ssl=server_tls, ssl_handshake_timeout=handshake
        )
        for sock in sockets
    ]
    try:
        async with _stopped_by(run, stop, signals):
            run.tell(run.machine.start)
            await run.until_ended()
    finally:
        for server in servers:
            server.close()


@contextlib.asynccontextmanager
async def _stopped_by(run: Run, stop: asyncio.Event | None, signals: bool) -> AsyncIterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM) if signals and common.in_main_thread() else ()
    for number in numbers:
        with contextlib.suppress(NotImplementedError):  # Windows
            run.loop.add_signal_handler(number, run.tell, run.machine.stop)

    async def watch() -> None:
        if stop is not None:
            await stop.wait()
            run.tell(run.machine.stop)

    watcher = run.loop.create_task(watch())
    try:
        yield
    finally:
        watcher.cancel()
        for number in numbers:
            with contextlib.suppress(NotImplementedError):
                run.loop.remove_signal_handler(number)
