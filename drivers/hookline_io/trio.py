"""The trio driver: carries a machine's effects out in the tasks of one task group, through anyio.

It opens, writes, closes, runs the handler and wakes on the deadline; every decision is the machine's. Each connection
has one task that reads and one that writes; effects are carried out strictly in the order in which they were given,
since carrying one out never waits: it fills a writer's queue or starts a task. All tasks of a run have the context that
it was begun in, whoever made the call that led to them.
"""

from __future__ import annotations

import contextlib
import contextvars
import math
import signal
import socket
import ssl
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, BinaryIO, TypeAlias, TypeVar, cast

import anyio
import trio
from anyio.abc import ByteStream, SocketAttribute, SocketListener, SocketStream, TaskGroup
from anyio.streams.tls import TLSStream
from attrs import define, field

from hookline.bot import Bot, ReplyWith
from hookline.botapi import Token
from hookline.effects import (
    Cancel,
    Close,
    Connect,
    Effect,
    Ended,
    Handle,
    Log,
    Mark,
    Open,
    Pull,
    Receive,
    Release,
    Report,
    Resolve,
    Respond,
    Send,
    Store,
    Throw,
)
from hookline.errors import OptionError, RunFailed
from hookline.http import Request, Response
from hookline.options import (
    ApiOptions,
    HttpLimits,
    OnTimeoutPolicy,
    PollingOptions,
    SetWebhookOptions,
    WebhookOptions,
    WorkOptions,
)
from hookline.outcomes import CallOutcome, Cancelled, Outcome, Returned
from hookline.updates import Lane, Update
from hookline_io import common, keeping, speed, tracing
from hookline_io.stores import UpdateStore

T = TypeVar("T")

Handler: TypeAlias = "Callable[[Update, Api], Awaitable[object]]"
"""`async def handler(update, api)`."""


BROKEN = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)
"""What the streams of anyio raise when a connection is at its end."""


@define(eq=False)
class Link:
    """One connection: what is to be written, and whether it is to be closed then.

    writing: the writer's scope. written: set while all that was to be written has been. gone: it is closed.
    """

    stream: ByteStream
    outbox: deque[bytes] = field(factory=deque)
    closing: bool = False
    writing: anyio.CancelScope = field(factory=anyio.CancelScope)
    news: anyio.Event = field(factory=anyio.Event)
    written: anyio.Event = field(factory=anyio.Event)
    gone: bool = False
    upload: common.Upload | None = None

    def end_upload(self) -> None:
        """Close the file that was being read, if there is one."""
        if self.upload is not None:
            self.upload.end()
            self.upload = None


@define(eq=False)
class Asking:
    """A request that came as a value and waits for its answer."""

    done: anyio.Event = field(factory=anyio.Event)
    answer: common.Answer = None


@define(eq=False)
class Waiting:
    """A call that the program waits for."""

    done: anyio.Event = field(factory=anyio.Event)
    outcome: CallOutcome | None = None
    error: Exception | None = None


class Run:
    """One machine and what it holds of this task group: links, handlers, calls."""

    def __init__(
        self,
        machine: Bot,
        tasks: TaskGroup,
        handler: Handler | None,
        tls: ssl.SSLContext | None,
        store: UpdateStore | None,
    ) -> None:
        self.machine = machine
        self.handler = handler
        self.tls = tls
        self.tasks = tasks
        self.over = False
        self.failure: str | None = None
        self.calls: dict[int, Waiting] = {}
        self.requests: dict[int, Asking] = {}
        self.sinks: dict[int, Callable[[bytes], object]] = {}
        self.streams: dict[int, Any] = {}
        self._token = trio.lowlevel.current_trio_token()
        self._thread = threading.get_ident()
        self._keeper = None if store is None else keeping.Keeper(store, machine, self._hear_from_anywhere)
        self._links: dict[int, Link] = {}
        self._leaving: set[Link] = set()
        self._connecting: dict[int, anyio.CancelScope] = {}
        self._jobs: dict[int, anyio.CancelScope] = {}
        self._ended = anyio.Event()
        self._left = anyio.Event()
        self._changed = anyio.Event()
        self._context = contextvars.copy_context()
        self._threads = anyio.CapacityLimiter(math.inf)
        self._armed: float | None = None
        self._queue: deque[Effect] = deque()
        self._heard: deque[Callable[[], None]] = deque()  # of other threads, and not told yet
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
            Respond: self._respond,
            Throw: self._respond,
            Report: common.show,
            Log: common.show,
            Ended: self._end,
        }
        if self._keeper is not None:
            keeper = self._keeper
            self._perform |= {Open: keeper.open, Store: keeper.store, Mark: keeper.mark, Release: keeper.release}

    # The interpreter

    def tell(self, fact: Callable[..., list[Effect]], *args: Any, **kwargs: Any) -> None:
        """Tell the machine a fact or give it a command, and carry out what it wants done."""
        if self.over:  # there is nothing left to carry anything out with
            return
        self._queue.extend(fact(*args, now=anyio.current_time(), **kwargs))
        if not self._performing:
            self._context.run(self._carry_out)

    def _hear_from_anywhere(self, fact: Callable[..., list[Effect]], *args: Any, **kwargs: Any) -> None:
        """Tell the machine something, which may be known in any thread."""
        if threading.get_ident() == self._thread:
            self.tell(fact, *args, **kwargs)
            return
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(partial(self._hear, fact, *args, **kwargs))

    def _hear(self, fact: Callable[..., list[Effect]], *args: Any, **kwargs: Any) -> None:
        """Tell something in one of the run's tasks, so that an error ends the run and not trio."""
        # Tasks that are started together run in any order; what they tell must not.
        self._heard.append(partial(self.tell, fact, *args, **kwargs))

        async def tell() -> None:
            self._heard.popleft()()

        if not self.over:
            self.tasks.start_soon(tell)

    def _carry_out(self) -> None:
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
        scope = self._connecting[effect.connection] = anyio.CancelScope()
        self.tasks.start_soon(self._open, effect, scope)

    async def _open(self, effect: Connect, scope: anyio.CancelScope) -> None:
        stream: ByteStream | None = None
        reason = ""
        try:
            with scope:
                plain = await self._reach(effect.host, effect.port)
                stream = await self._to_telegram(plain, effect.host) if effect.tls else _tuned(plain)
        except (*BROKEN, ValueError) as error:  # ValueError: what is no host name, to sockets or to TLS
            reason = common.why(error)
        if self._connecting.pop(effect.connection, None) is None:  # closed meanwhile
            if stream is not None:
                await anyio.aclose_forcefully(stream)
        elif stream is None:
            self.tell(self.machine.connect_failed, effect.connection, reason)
        else:
            await self._attend(stream, effect.connection, accepted=False)

    async def _reach(self, host: str, port: int) -> SocketStream:
        """Connect to the first address of a host that can be reached."""
        *others, last = await self._look_up(host, port)
        for address in others:
            with contextlib.suppress(OSError), anyio.move_on_after(common.CONNECT_TIMEOUT):
                return await anyio.connect_tcp(address, port)
        return await anyio.connect_tcp(last, port)

    async def _look_up(self, host: str, port: int) -> list[str]:
        found = common.look_up_number(host, port)
        if not found:
            found = await self._in_thread(socket.getaddrinfo, host, port, 0, socket.SOCK_STREAM)
        return [str(place[0]) for *_, place in found]

    async def _in_thread(self, work: Callable[..., T], *args: Any) -> T:
        """What a thread makes of it. The program's own threads may all be busy: these do not count with them."""
        return await anyio.to_thread.run_sync(work, *args, abandon_on_cancel=True, limiter=self._threads)

    async def _to_telegram(self, stream: SocketStream, host: str) -> ByteStream:
        self.tls = self.tls or common.client_tls()
        return await _with_tls(_tuned(stream), self.tls, hostname=host)

    async def listen(self, listener: SocketListener, tls: ssl.SSLContext | None) -> None:
        """Accept clients, for ever."""
        while True:
            try:
                while True:
                    self.tasks.start_soon(self._serve, await listener.accept(), tls)
            except anyio.BrokenResourceError as error:
                common.logger.warning("a client could not be accepted: %s", common.why(error))
            await anyio.sleep(common.ACCEPT_PAUSE)

    async def _serve(self, plain: SocketStream, tls: ssl.SSLContext | None) -> None:
        stream: ByteStream = _tuned(plain)
        if tls is not None:
            try:
                with anyio.fail_after(common.HANDSHAKE_TIMEOUT):
                    stream = await _with_tls(plain, tls, server_side=True)
            except (*BROKEN, TimeoutError):
                return
        await self._attend(stream, self.machine.new_connection(), accepted=True)

    async def _attend(self, stream: ByteStream, connection: int, *, accepted: bool) -> None:
        """Read from a connection to its end."""
        link = self._links[connection] = Link(stream)
        self.tasks.start_soon(self._write, connection, link)
        self.tell(self.machine.accepted if accepted else self.machine.connected, connection)
        try:
            while True:
                self.tell(self.machine.received, connection, await stream.receive(common.READ_SIZE))
                if accepted:  # who does not take his answers is not heard
                    await link.written.wait()
        except anyio.EndOfStream:
            self.tell(self.machine.received, connection, b"")
            if not accepted:  # to a client an answer may still have to go out
                self._lost(connection, common.why(None))
        except BROKEN as error:
            self._lost(connection, common.why(error))

    async def _write(self, connection: int, link: Link) -> None:
        """Write what is in a connection's queue, and close it when that is asked for."""
        try:
            with link.writing:
                while link.outbox or not link.closing:
                    if link.outbox:
                        data = b"".join(link.outbox)
                        link.outbox.clear()
                        await link.stream.send(data)
                    else:
                        link.written.set()
                        await link.news.wait()
                        link.news = anyio.Event()
        except BROKEN as error:
            self._lost(connection, common.why(error))
        finally:
            link.written.set()
            link.end_upload()
            link.gone = True
            self._leaving.discard(link)
            self._left.set()
            await anyio.aclose_forcefully(link.stream)

    def _lost(self, connection: int, reason: str) -> None:
        link = self._links.pop(connection, None)
        if link is not None:
            link.writing.cancel()
            self.tell(self.machine.disconnected, connection, reason)

    def _send(self, effect: Send) -> None:
        link = self._links.get(effect.connection)
        if link is not None:
            link.outbox.append(effect.data)
            link.written = anyio.Event()
            link.news.set()

    def _close(self, effect: Close) -> None:
        connecting = self._connecting.pop(effect.connection, None)
        if connecting is not None:
            connecting.cancel()
        link = self._links.pop(effect.connection, None)
        if link is not None:
            self._leaving.add(link)
            link.closing = True
            link.writing.deadline = anyio.current_time() + common.FLUSH_TIMEOUT
            link.news.set()

    def _pull(self, effect: Pull) -> None:
        link = self._links.get(effect.connection)
        if link is not None:
            self.tasks.start_soon(self._read_file, effect, link)

    async def _read_file(self, effect: Pull, link: Link) -> None:
        await link.written.wait()
        if link.gone:
            return
        try:
            link.upload = link.upload or common.Upload(effect.source, self.streams)
            # It may never give anything: the end of the run does not wait for it.
            data = await self._in_thread(link.upload.read, effect.size)
        except Exception as error:
            link.end_upload()
            self.tell(self.machine.pull_failed, effect.connection, common.why(error))
            return
        if not data:
            link.end_upload()
        self.tell(self.machine.pulled, effect.connection, data)

    # Handlers and calls

    def _handle(self, effect: Handle) -> None:
        scope = self._jobs[effect.job] = anyio.CancelScope()
        self.tasks.start_soon(self._run_handler, effect, scope)

    async def _run_handler(self, effect: Handle, scope: anyio.CancelScope) -> None:
        assert self.handler is not None
        outcome: Outcome
        try:
            with scope:
                await self.handler(effect.update, Api._of(self, effect.job))
            outcome = Cancelled() if scope.cancelled_caught else Returned()
        except (Exception, SystemExit) as error:  # sys.exit() would end the process at its update, at each start again
            outcome = common.raised(error)
        del self._jobs[effect.job]
        self._left.set()
        self.tell(self.machine.finished, effect.job, outcome)

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
                del self.sinks[effect.call]
                waiting = self.calls[effect.call]
                waiting.error = error
                waiting.done.set()

    def _respond(self, effect: Respond | Throw) -> None:
        asking = self.requests.pop(effect.request)
        asking.answer = effect
        asking.done.set()

    def _end(self, effect: Ended) -> None:
        self.failure = effect.failure
        self._ended.set()

    async def until_ended(self) -> None:
        """Wait for the end of the run; what was said last still goes out, handlers are cut off, nothing stays."""
        await self._ended.wait()
        for job in self._jobs.values():
            job.cancel()
        with anyio.move_on_after(common.CANCEL_PATIENCE):
            while self._jobs or self._leaving:
                self._left = anyio.Event()
                await self._left.wait()
        self.tasks.cancel_scope.cancel()

    async def log_failure(self) -> None:
        """Say why the run has ended, if it was not asked for: nobody may be waiting for its end."""
        await self._ended.wait()
        if self.failure is not None:
            common.logger.error("the webhook's run has ended: %s", self.failure)

    def leave(self) -> None:
        """Nothing is carried out any more; calls that others still wait for fail."""
        self.over = True
        for waiting in self.calls.values():
            waiting.outcome = waiting.outcome or common.STOPPED
            waiting.done.set()
        for asking in self.requests.values():
            asking.done.set()

    async def close_inbox(self) -> None:
        """Wait until what was to be stored is written."""
        if self._keeper is not None:
            with anyio.move_on_after(keeping.CLOSE_PATIENCE, shield=True):
                await self._in_thread(self._keeper.close)


class Api:
    """Calls of the Bot API.

    A handler is given one. Alone, it is an asynchronous context manager: `async with Api(token) as api: ...`.
    """

    def __init__(
        self, token: str | Token, options: ApiOptions | None = None, *, tls: ssl.SSLContext | None = None
    ) -> None:
        self._bot = Bot(common.as_token(token), api=options, seed=common.seed(), decode=speed.decode)
        self._tls = tls
        self._run: Run | None = None
        self._job: int | None = None

    @classmethod
    def _of(cls, run: Run, job: int) -> Api:
        api = cls.__new__(cls)
        api._bot, api._tls, api._run, api._job = run.machine, None, run, job
        return api

    async def __aenter__(self) -> Api:
        common.check_unused(self._run)
        self._entered = _running(self._bot, None, self._tls)
        self._run = await self._entered.__aenter__()
        self._run.tell(self._bot.start)
        return self

    async def __aexit__(self, *_: object) -> None:
        await _leave(self._running(), self._entered)

    async def call(self, method: str, /, *, within: float | None = None, **params: Any) -> Any:
        """Call a method of the Bot API and return its result as plain JSON values (`REPLIED` if it went as a reply).

        within: seconds for all its tries. Parameters that are None are left out; files are `InputFile`.
        Errors: ApiError, NetworkError; LocalProtocolError for what can't be sent.
        """
        run = self._running()
        with common.numbered_streams(params, run.streams, run.number) as values:
            return await self._outcome(method, self._bot.call, method, values, timeout=within, job=self._job)

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
        if run.over:
            return common.value_of(method, common.STOPPED)
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
            if run.calls.pop(number, None) is not None:  # nobody waits for it any more
                run.tell(self._bot.cancel, number)


class Exchange:
    """A webhook behind a server that is not ours: requests come as values, and are answered by values.

    An asynchronous context manager, within which it is called for each request, at the same time for many. It is what
    the adapters of web frameworks and other hosts are made of; handlers go on in it after their request was answered,
    and at its end they get their grace time.

    options, inbox, url, api, lane, on_timeout, reply_with, tls, trace: as `serve_webhook`. Only what is in memory
    travels in an answer: a call with a file that is to be read goes out by itself. A run that ends by itself
    (setWebhook is refused) is logged then, and requests get 503; RunFailed is raised at the end of the context.
    """

    def __init__(
        self,
        handler: Handler,
        token: str | Token,
        options: WebhookOptions | None = None,
        *,
        inbox: keeping.Address = None,
        url: str | SetWebhookOptions | None = None,
        api: ApiOptions | None = None,
        lane: Lane | None = None,
        on_timeout: OnTimeoutPolicy | None = None,
        reply_with: ReplyWith | None = None,
        tls: ssl.SSLContext | None = None,
        trace: tracing.TracePath = None,
    ) -> None:
        common.check_handler(handler, asynchronous=True)
        token = common.as_token(token)
        self.options, self._store = keeping.with_inbox(options or WebhookOptions(), inbox, token)
        """How requests are treated."""
        self._bot, self._closing = tracing.recorded_webhook_bot(
            trace, token, self.options, url, api=api, lane=lane, on_timeout=on_timeout, reply_with=reply_with
        )
        self._handler = handler
        self._tls = tls
        self._run: Run | None = None

    async def __aenter__(self) -> Exchange:
        common.check_unused(self._run)
        self._entered = _running(self._bot, self._handler, self._tls, self._store)
        self._run = await self._entered.__aenter__()
        self._run.tasks.start_soon(self._run.log_failure)
        self._run.tell(self._bot.start)
        return self

    async def __aexit__(self, *_: object) -> None:
        run = self._running()
        with self._closing:
            await _leave(run, self._entered)
        if run.failure is not None:
            raise RunFailed(run.failure)

    def screen(self, request: Request) -> Response | None:
        """The answer that a request's head alone earns; None for one whose body is wanted."""
        return self._bot.screen(request, anyio.current_time())

    async def __call__(self, request: Request) -> Response:
        """Answer a request. If it is cancelled, its client counts as gone.

        Errors: WebhookTimeout, to be raised in the host, if the time was up (on_timeout="throw" or "cancel").
        """
        run = self._running()
        if run.over:
            return common.response_after_the_end(self._bot, request, anyio.current_time())
        number = self._bot.new_request()
        asking = run.requests[number] = Asking()
        try:
            run.tell(self._bot.requested, number, request)
            await asking.done.wait()
            return common.response_of(asking.answer, self._bot, request, anyio.current_time())
        finally:
            if run.requests.pop(number, None) is not None:  # nobody waits for it any more
                run.tell(self._bot.gone, number)

    def _running(self) -> Run:
        if self._run is None:
            raise RuntimeError("use the Exchange as a context manager: async with Exchange(...) as exchange: ...")
        return self._run


async def run_polling(
    handler: Handler | None,
    token: str | Token,
    options: PollingOptions | None = None,
    *,
    inbox: keeping.Address = None,
    api: ApiOptions | None = None,
    lane: Lane | None = None,
    health: tuple[str, int] | None = None,
    stop: trio.Event | None = None,
    signals: bool = True,
    tls: ssl.SSLContext | None = None,
    trace: tracing.TracePath = None,
) -> None:
    """Run a bot by long polling until it is stopped.

    handler: `async def handler(update, api)`. lane: replaces `default_lane`. health: serve /healthz there.
    inbox: updates are stored there ("sqlite:///inbox.db"), and confirmed when they are; what a crash leaves is handled
        after the next start. "memory" keeps them in the process. One that many processes share
        ("postgresql://host/database") needs no handler here, if others work on it: give None. One process polls for it
        at a time; another waits for its end.
    stop: a `trio.Event`; set it to end the run gracefully; so do SIGINT and SIGTERM, if `signals`. tls: to Telegram.
    trace: a new file that the run is written to, to be played again and drawn.
    Errors: RunFailed if the run ended by itself (a revoked token, a webhook that is set); OptionError.
    """
    if handler is not None:
        common.check_handler(handler, asynchronous=True)
    token = common.as_token(token)
    options, store = keeping.with_inbox(options or PollingOptions(), inbox, token, handles=handler is not None)
    with tracing.recording(trace) as new_bot:
        bot = new_bot(token, options, api=api, seed=common.seed(), lane=lane)
        async with _listening(*health) if health is not None else contextlib.nullcontext(()) as listeners:
            await _carry(bot, handler, listeners, None, stop, signals, tls, store)


async def serve_webhook(
    handler: Handler | None,
    token: str | Token,
    options: WebhookOptions | None = None,
    *,
    inbox: keeping.Address = None,
    listen: tuple[str, int],
    url: str | SetWebhookOptions | None = None,
    api: ApiOptions | None = None,
    http: HttpLimits | None = None,
    lane: Lane | None = None,
    on_timeout: OnTimeoutPolicy | None = None,
    reply_with: ReplyWith | None = None,
    certificate: tuple[str, str] | None = None,
    stop: trio.Event | None = None,
    signals: bool = True,
    tls: ssl.SSLContext | None = None,
    started: Callable[[tuple[str, int]], object] | None = None,
    trace: tracing.TracePath = None,
) -> None:
    """Run a bot by webhook, on a server of its own, until it is stopped.

    listen: host and port; port 0 takes a free one. inbox: as `run_polling`; requests are answered when their updates
        are stored. url: call setWebhook with it (and with the secret token, made if
        there is none) once the server listens. certificate: paths of a certificate and its key, to serve TLS.
    on_timeout, reply_with, lane: the program's own pure functions. started: called with the address listened on.
    stop, signals, tls, trace, errors: as `run_polling`.
    """
    if handler is not None:
        common.check_handler(handler, asynchronous=True)
    token = common.as_token(token)
    options, store = keeping.with_inbox(options or WebhookOptions(), inbox, token, handles=handler is not None)
    with tracing.recording(trace) as new_bot:
        bot = common.webhook_bot(
            new_bot, token, options, url, api=api, http=http, lane=lane, on_timeout=on_timeout, reply_with=reply_with
        )
        server_tls = common.server_tls(*certificate) if certificate is not None else None
        async with _listening(*listen) as listeners:
            if started is not None:
                started(listeners[0].extra(SocketAttribute.raw_socket).getsockname()[:2])
            await _carry(bot, handler, listeners, server_tls, stop, signals, tls, store)


async def run_worker(
    handler: Handler,
    token: str | Token,
    options: WorkOptions | None = None,
    *,
    inbox: str,
    api: ApiOptions | None = None,
    health: tuple[str, int] | None = None,
    stop: trio.Event | None = None,
    signals: bool = True,
    tls: ssl.SSLContext | None = None,
    trace: tracing.TracePath = None,
) -> None:
    """Handle what an inbox has, until it is stopped; others receive it.

    handler: `async def handler(update, api)`.
    inbox: where others store updates ("postgresql://host/database"), or a file ("sqlite:///inbox.db") whose bot does
        not run.
    health, stop, signals, tls, trace, errors: as `run_polling`.
    """
    common.check_handler(handler, asynchronous=True)
    token = common.as_token(token)
    options = options or WorkOptions()
    store = keeping.store_to_work_off(options, inbox, token)
    with tracing.recording(trace) as new_bot:
        bot = new_bot(token, options, api=api, seed=common.seed())
        async with _listening(*health) if health is not None else contextlib.nullcontext(()) as listeners:
            await _carry(bot, handler, listeners, None, stop, signals, tls, store)


async def _carry(
    bot: Bot,
    handler: Handler | None,
    listeners: Sequence[SocketListener],
    server_tls: ssl.SSLContext | None,
    stop: trio.Event | None,
    signals: bool,
    tls: ssl.SSLContext | None,
    store: UpdateStore | None,
) -> None:
    """Run a machine to its end, with what it listens on and what stops it."""
    async with _running(bot, handler, tls, store) as run:

        async def watch(event: trio.Event) -> None:
            await event.wait()
            run.tell(bot.stop)

        async def heed() -> None:
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
                async for _ in received:
                    run.tell(bot.stop)

        if stop is not None:
            run.tasks.start_soon(watch, stop)
        if signals and common.in_main_thread():
            run.tasks.start_soon(heed)
        for listener in listeners:
            run.tasks.start_soon(run.listen, listener, server_tls)
        run.tell(bot.start)
        await run.until_ended()
    if run.failure is not None:
        raise RunFailed(run.failure)


@contextlib.asynccontextmanager
async def _running(
    bot: Bot, handler: Handler | None, tls: ssl.SSLContext | None, store: UpdateStore | None = None
) -> AsyncIterator[Run]:
    """A run in a task group of its own; the error that breaks it comes out as it is, and not in a group."""
    try:
        async with anyio.create_task_group() as tasks:
            run = Run(bot, tasks, handler, tls, store)
            tasks.start_soon(run.clock)
            try:
                yield run
            finally:
                run.leave()
                await run.close_inbox()
    except BaseException as error:
        only: Any = error
        while len(getattr(only, "exceptions", ())) == 1:
            only = only.exceptions[0]
        if only is error:
            raise
        raise only from only.__cause__


async def _leave(run: Run, entered: contextlib.AbstractAsyncContextManager[Run]) -> None:
    """Stop a run that `_running` has given, and leave it."""
    try:
        run.tell(run.machine.stop)
        with anyio.CancelScope(shield=True):
            await run.until_ended()
    finally:  # What was raised within is not the tasks': they would put it into a group.
        await entered.__aexit__(None, None, None)


@contextlib.asynccontextmanager
async def _listening(host: str, port: int) -> AsyncIterator[Sequence[SocketListener]]:
    try:
        found = await anyio.create_tcp_listener(
            local_host=host,
            local_port=port,
            family=socket.AF_INET6 if ":" in host else socket.AF_INET,
            backlog=1_024,
        )
    except (OSError, OverflowError) as error:
        raise OptionError(f"cannot listen on {host}:{port}: {common.why(error)}") from None
    listeners = cast("Sequence[SocketListener]", found.listeners)
    try:
        yield listeners
    finally:
        for listener in listeners:
            await anyio.aclose_forcefully(listener)


async def _with_tls(stream: SocketStream, context: ssl.SSLContext, **side: Any) -> ByteStream:
    """TLS on a connection, which is closed if the handshake fails."""
    try:
        return await TLSStream.wrap(stream, ssl_context=context, standard_compatible=False, **side)
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise


def _tuned(stream: SocketStream) -> SocketStream:
    common.tune(stream.extra(SocketAttribute.raw_socket))
    return stream
