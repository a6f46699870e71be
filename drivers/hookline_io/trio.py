"""The trio driver: carries a machine's effects out in the tasks of one task group, through anyio.

It opens, writes, closes, runs the handler and wakes on the deadline; every decision is the machine's. Each connection
has one task that reads and one that writes; effects are carried out strictly in the order in which they were given,
since carrying one out never waits: it fills a writer's queue or starts a task.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import PurePath
from typing import Any, BinaryIO, TypeAlias

import anyio
from anyio.abc import ByteStream, Listener, SocketAttribute, SocketStream, TaskGroup
from anyio.streams.tls import TLSStream
from attrs import define, field

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
from hookline.errors import OptionError, RunFailed
from hookline.http import StreamId
from hookline.options import ApiOptions, HttpLimits, PollingOptions, SetWebhookOptions, WebhookOptions
from hookline.outcomes import CallOutcome, Cancelled, Outcome, Returned
from hookline.updates import Lane, Update
from hookline.webhook import OnTimeoutPolicy
from hookline_io import common

Handler: TypeAlias = "Callable[[Update, Api], Awaitable[object]]"
"""`async def handler(update, api)`."""


@define(eq=False)
class Link:
    """One connection: what is to be written, and whether it is to be closed then."""

    stream: ByteStream
    outbox: deque[bytes] = field(factory=deque)
    closing: bool = False
    news: anyio.Event = field(factory=anyio.Event)
    written: anyio.Event = field(factory=anyio.Event)
    gone: anyio.Event = field(factory=anyio.Event)
    file: BinaryIO | None = None

    def wake(self) -> None:
        """Tell the writer that there is something to do."""
        self.news.set()


@define(eq=False)
class Waiting:
    """A call that the program waits for."""

    done: anyio.Event = field(factory=anyio.Event)
    outcome: CallOutcome | None = None
    error: Exception | None = None


class Run:
    """One machine and what it holds of this task group: links, handlers, calls."""

    def __init__(self, machine: Bot, tasks: TaskGroup, handler: Handler | None, tls: ssl.SSLContext | None) -> None:
        self.machine = machine
        self.handler = handler
        self.tls = tls
        self.tasks = tasks
        self.ended = anyio.Event()
        self.failure: str | None = None
        self.calls: dict[int, Waiting] = {}
        self.sinks: dict[int, Callable[[bytes], object]] = {}
        self.streams: dict[int, Any] = {}
        self._links: dict[int, Link] = {}
        self._leaving: dict[int, Link] = {}
        self._connecting: dict[int, anyio.CancelScope] = {}
        self._jobs: dict[int, anyio.CancelScope] = {}
        self._changed = anyio.Event()
        self._armed: float | None = None
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
        self._queue.extend(fact(*args, now=anyio.current_time(), **kwargs))
        if self._performing:
            return
        self._performing = True
        try:
            while self._queue:
                effect = self._queue.popleft()
                self._perform[type(effect)](effect)
        finally:
            self._performing = False
        if self.machine.deadline != self._armed:
            self._changed.set()

    async def clock(self) -> None:
        """Wake at the machine's deadline, for ever."""
        while True:
            self._changed = anyio.Event()
            self._armed = self.machine.deadline
            with anyio.CancelScope(deadline=math.inf if self._armed is None else self._armed):
                await self._changed.wait()
            if self._armed is not None and anyio.current_time() >= self._armed:
                self.tell(self.machine.tick)

    def number(self) -> int:
        """A number for a call or a stream."""
        self._last_number += 1
        return self._last_number

    # Connections

    def _connect(self, effect: Connect) -> None:
        self._connecting[effect.connection] = anyio.CancelScope()
        self.tasks.start_soon(self._open, effect)

    async def _open(self, effect: Connect) -> None:
        stream: ByteStream | None = None
        with self._connecting[effect.connection]:
            try:
                stream = await anyio.connect_tcp(effect.host, effect.port)
                _tune(stream)
                if effect.tls:
                    self.tls = self.tls or common.client_tls()
                    stream = await TLSStream.wrap(
                        stream, hostname=effect.host, ssl_context=self.tls, standard_compatible=False
                    )
            except (OSError, ssl.SSLError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
                del self._connecting[effect.connection]
                self.tell(self.machine.connect_failed, effect.connection, common.why(error))
                return
        if self._connecting.pop(effect.connection, None) is not None and stream is not None:
            await self._attend(stream, effect.connection, self.machine.connected)

    async def accept(self, stream: SocketStream, tls: ssl.SSLContext | None) -> None:
        """Serve a client that has connected."""
        accepted: ByteStream = stream
        _tune(stream)
        if tls is not None:
            try:
                with anyio.fail_after(common.HANDSHAKE_TIMEOUT):
                    accepted = await TLSStream.wrap(
                        stream, server_side=True, ssl_context=tls, standard_compatible=False
                    )
            except (OSError, ssl.SSLError, TimeoutError, anyio.BrokenResourceError, anyio.EndOfStream):
                await anyio.aclose_forcefully(stream)
                return
        await self._attend(accepted, self.machine.new_connection(), self.machine.accepted)

    async def _attend(self, stream: ByteStream, connection: int, fact: Callable[..., list[Effect]]) -> None:
        """Read from a connection to its end."""
        link = self._links[connection] = Link(stream)
        self.tasks.start_soon(self._write, connection, link)
        self.tell(fact, connection)
        reason = "closed by the other side"
        try:
            while True:
                data = await stream.receive(common.READ_SIZE)
                self.tell(self.machine.received, connection, data)
        except anyio.EndOfStream:
            self.tell(self.machine.received, connection, b"")
            if fact == self.machine.accepted and connection in self._links:
                return  # an answer may still have to go out; the writer closes
        except (OSError, ssl.SSLError, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            reason = common.why(error)
        if self._links.pop(connection, None) is not None:
            link.closing = True
            link.wake()
            self.tell(self.machine.disconnected, connection, reason)

    async def _write(self, connection: int, link: Link) -> None:
        """Write what is in a connection's queue, and close it when that is asked for."""
        try:
            while link.outbox or not link.closing:
                while link.outbox:
                    data = b"".join(link.outbox)
                    link.outbox.clear()
                    await link.stream.send(data)
                link.written.set()
                if not link.closing:
                    await link.news.wait()
                    link.news = anyio.Event()
        except (OSError, ssl.SSLError, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            if self._links.pop(connection, None) is not None:
                self.tell(self.machine.disconnected, connection, common.why(error))
        finally:
            link.written.set()
            if link.file is not None:
                link.file.close()
            with anyio.CancelScope(shield=True):
                await anyio.aclose_forcefully(link.stream) if connection not in self._leaving else await _end(link)
            self._leaving.pop(connection, None)
            link.gone.set()

    def _send(self, effect: Send) -> None:
        link = self._links.get(effect.connection)
        if link is not None:
            link.outbox.append(effect.data)
            link.written = anyio.Event()
            link.wake()

    def _close(self, effect: Close) -> None:
        connecting = self._connecting.pop(effect.connection, None)
        if connecting is not None:
            connecting.cancel()
        link = self._links.pop(effect.connection, None)
        if link is not None:
            self._leaving[effect.connection] = link
            link.closing = True
            link.wake()

    def _pull(self, effect: Pull) -> None:
        self.tasks.start_soon(self._read_file, effect)

    async def _read_file(self, effect: Pull) -> None:
        link = self._links.get(effect.connection)
        if link is None:
            return
        await link.written.wait()
        try:
            if isinstance(effect.source, PurePath):
                if link.file is None:
                    link.file = await anyio.to_thread.run_sync(open, os.fspath(effect.source), "rb")
                stream: Any = link.file
            else:
                stream = self.streams[effect.source.id]
            data = await anyio.to_thread.run_sync(stream.read, effect.size)
        except Exception as error:  # a stream is the program's own: anything may come out of it
            self.tell(self.machine.pull_failed, effect.connection, common.why(error))
            return
        if not data and link.file is not None:
            link.file.close()
            link.file = None
        self.tell(self.machine.pulled, effect.connection, data)

    # Handlers and calls

    def _handle(self, effect: Handle) -> None:
        self.tasks.start_soon(self._run_handler, effect)

    async def _run_handler(self, effect: Handle) -> None:
        assert self.handler is not None
        outcome: Outcome = Returned()
        scope = self._jobs[effect.job] = anyio.CancelScope()
        with scope:
            try:
                await self.handler(effect.update, Api._of(self, effect.job))
            except Exception as error:
                outcome = common.raised(error)
        del self._jobs[effect.job]
        self.tell(self.machine.finished, effect.job, Cancelled() if scope.cancelled_caught else outcome)

    def _cancel(self, effect: Cancel) -> None:
        scope = self._jobs.get(effect.job)
        if scope is not None:
            scope.cancel()

    def _resolve(self, effect: Resolve) -> None:
        self.sinks.pop(effect.call, None)
        waiting = self.calls.pop(effect.call, None)
        if waiting is not None:
            waiting.outcome = effect.outcome
            waiting.done.set()

    def _receive(self, effect: Receive) -> None:
        sink = self.sinks.get(effect.call)
        if sink is not None:
            try:
                sink(effect.data)
            except Exception as error:
                waiting = self.calls[effect.call]
                waiting.error = error
                waiting.done.set()

    def _end(self, effect: Ended) -> None:
        self.failure = effect.failure
        self.ended.set()

    async def until_ended(self) -> None:
        """Wait for the end of the run; what was said last still goes out, and nothing is left behind."""
        await self.ended.wait()
        with anyio.move_on_after(common.CANCEL_PATIENCE):
            for link in list(self._leaving.values()):
                await link.gone.wait()
        self.tasks.cancel_scope.cancel()


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
        self._exit = contextlib.AsyncExitStack()

    @classmethod
    def _of(cls, run: Run, job: int) -> Api:
        api = cls.__new__(cls)
        api._bot, api._tls, api._run, api._job = run.machine, None, run, job
        return api

    async def __aenter__(self) -> Api:
        tasks = await self._exit.enter_async_context(anyio.create_task_group())
        self._run = Run(self._bot, tasks, None, self._tls)
        tasks.start_soon(self._run.clock)
        self._run.tell(self._bot.start)
        return self

    async def __aexit__(self, *exc: Any) -> bool | None:
        run = self._running()
        run.tell(self._bot.stop)
        with anyio.CancelScope(shield=True):
            await run.until_ended()
        return await self._exit.__aexit__(*exc)

    async def call(self, method: str, /, *, within: float | None = None, **params: Any) -> Any:
        """Call a method of the Bot API and return its result as plain JSON values (`REPLIED` if it went as a reply).

        within: seconds for all its tries. Parameters that are None are left out; files are `InputFile`.
        Errors: ApiError, NetworkError; LocalProtocolError for what can't be sent.
        """
        run = self._running()
        streams: list[int] = []

        def register(stream: Any) -> StreamId:
            streams.append(run.number())
            run.streams[streams[-1]] = stream
            return StreamId(streams[-1])

        values = with_stream_ids(params, register)
        try:
            return await self._outcome(method, self._bot.call, method, values, timeout=within, job=self._job)
        finally:
            for stream in streams:
                del run.streams[stream]

    async def download(self, file_path: str, destination: BinaryIO) -> None:
        """Write a file of Telegram's (getFile's `file_path`) to an open binary file, piece by piece.

        Errors: ApiError, NetworkError.
        """
        await self._outcome("download", self._bot.download, file_path, sink=destination.write)

    def stop(self) -> None:
        """End the run gracefully, as a signal would."""
        self._running().tell(self._bot.stop)

    def _running(self) -> Run:
        if self._run is None:
            raise RuntimeError("use the Api as a context manager: async with Api(token) as api: ...")
        return self._run

    async def _outcome(
        self,
        method: str,
        command: Callable[..., list[Effect]],
        *args: Any,
        sink: Callable[[bytes], object] | None = None,
        **kwargs: Any,
    ) -> Any:
        run = self._running()
        number = run.number()
        waiting = run.calls[number] = Waiting()
        if sink is not None:
            run.sinks[number] = sink
        try:
            run.tell(command, number, *args, **kwargs)
            await waiting.done.wait()
            if waiting.error is not None:
                raise waiting.error
            assert waiting.outcome is not None
            return common.value_of(method, waiting.outcome)
        finally:
            run.sinks.pop(number, None)
            if run.calls.pop(number, None) is not None:
                run.tell(self._bot.cancel, number)


async def run_polling(
    handler: Handler,
    token: str | Token,
    options: PollingOptions | None = None,
    *,
    api: ApiOptions | None = None,
    lane: Lane | None = None,
    health: tuple[str, int] | None = None,
    stop: Any = None,
    signals: bool = True,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Run a bot by long polling until it is stopped.

    handler: `async def handler(update, api)`. lane: replaces `default_lane`. health: serve /healthz there.
    stop: a `trio.Event`; set it to end the run gracefully; so do SIGINT and SIGTERM, if `signals`. tls: to Telegram.
    Errors: RunFailed if the run ended by itself (a revoked token, a webhook that is set); OptionError.
    """
    common.check_handler(handler, asynchronous=True)
    bot = Bot(common.as_token(token), options or PollingOptions(), api=api, seed=common.seed(), lane=lane)
    listener = await _listen(health) if health is not None else None
    await _carry(bot, handler, listener, None, stop, signals, tls)


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
    stop: Any = None,
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
    listener = await _listen(listen)
    if started is not None:
        started(listener.extra(SocketAttribute.local_address)[:2])  # type: ignore[arg-type]
    await _carry(bot, handler, listener, context, stop, signals, tls)


async def _carry(
    bot: Bot,
    handler: Handler,
    listener: Listener[SocketStream] | None,
    server_tls: ssl.SSLContext | None,
    stop: Any,
    signals: bool,
    tls: ssl.SSLContext | None,
) -> None:
    """Run a machine to its end, with what it listens on and what stops it."""
    async with contextlib.AsyncExitStack() as stack:
        if listener is not None:
            stack.push_async_callback(listener.aclose)
        async with anyio.create_task_group() as tasks:
            run = Run(bot, tasks, handler, tls)

            async def watch() -> None:
                await stop.wait()
                run.tell(bot.stop)

            async def heed() -> None:
                with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
                    async for _ in received:
                        run.tell(bot.stop)

            if stop is not None:
                tasks.start_soon(watch)
            if signals and common.in_main_thread():
                tasks.start_soon(heed)
            if listener is not None:
                tasks.start_soon(listener.serve, lambda stream: run.accept(stream, server_tls), tasks)
            tasks.start_soon(run.clock)
            run.tell(bot.start)
            await run.until_ended()
    if run.failure is not None:
        raise RunFailed(run.failure)


async def _listen(address: tuple[str, int]) -> Listener[SocketStream]:
    host, port = address
    try:
        listener = await anyio.create_tcp_listener(local_host=host, local_port=port, backlog=1_024)
    except (OSError, OverflowError) as error:
        raise OptionError(f"cannot listen on {host}:{port}: {common.why(error)}") from None
    return listener.listeners[0]


async def _end(link: Link) -> None:
    with anyio.move_on_after(common.CANCEL_PATIENCE), contextlib.suppress(OSError, anyio.BrokenResourceError):
        await link.stream.aclose()


def _tune(stream: SocketStream) -> None:
    common.tune(stream.extra(SocketAttribute.raw_socket))
