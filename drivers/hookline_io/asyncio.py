"""The asyncio driver: carries a machine's effects out on transports and protocols, and runs handlers in tasks.

It opens, writes, closes, runs the handler and wakes on the deadline; every decision is the machine's. Effects are
carried out strictly in the order in which they were given, also when one of them leads to news for the machine at once
(an eager task may end within the call that starts it): what comes of the news waits in the queue. All tasks of a run
have the context that it was begun in, whoever made the call that led to them.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import signal
import socket
import ssl
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any, BinaryIO, Final, Protocol, TypeAlias, cast

from attrs import evolve

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
    Recall,
    Receive,
    Release,
    Report,
    Resolve,
    Respond,
    Send,
    Store,
    Throw,
    Transmit,
)
from hookline.errors import RunFailed
from hookline.http import Request, Response, with_body
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

Handler: TypeAlias = "Callable[[Update, Api], Awaitable[object]]"
"""`async def handler(update, api)`."""


RETURNED: Final = Returned()

Fetch: TypeAlias = "Callable[[Request], Awaitable[Response]]"
"""An HTTP client: sends a request, whose target is a path of the Bot API server's, and returns the whole response."""


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
    """One connection: tells the machine what happens on it.

    written: set while all that was to be written has been. reading: more may come. cut: the timer that ends a closed
    one. gone: done when it has ended.
    """

    transport: asyncio.Transport

    def __init__(self, run: Run, connection: int | None = None) -> None:
        self.run = run
        self.accepted = connection is None
        self.connection = run.machine.new_connection() if connection is None else connection
        self.written = asyncio.Event()
        self.written.set()
        self.reading = True
        self.upload: common.Upload | None = None
        self.cut: asyncio.TimerHandle | None = None
        self.gone: asyncio.Future[None] = run.loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        common.tune(transport.get_extra_info("socket"))
        # As little as can be: TLS may keep a few bytes of its own back until it reads more.
        self.transport.set_write_buffer_limits(high=4_096, low=0)
        self.run.opened(self)

    def data_received(self, data: bytes) -> None:
        self.run.hear(self.run.machine.received, self.connection, data)

    def eof_received(self) -> bool:
        self.reading = False
        self.run.hear(self.run.machine.received, self.connection, b"")
        # To a client an answer may still have to go out; asyncio's TLS knows no connection that is half closed.
        return self.accepted and self.transport.get_extra_info("sslcontext") is None

    def connection_lost(self, exc: Exception | None) -> None:
        if self.cut is not None:
            self.cut.cancel()
        self.transport.close()  # or that of TLS, on Python 3.10, takes itself for left open
        self.end_upload()
        self.written.set()
        self.gone.set_result(None)
        self.run.lost(self, common.why(exc))

    def pause_writing(self) -> None:
        self.written.clear()
        if self.accepted and self.reading:  # who does not take his answers is not heard
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.written.set()
        if self.accepted and self.reading:
            self.transport.resume_reading()

    def end_upload(self) -> None:
        """Close the file that was being read, if there is one."""
        if self.upload is not None:
            self.upload.end()
            self.upload = None


class Run:
    """One machine and what it holds of this loop: links, a timer, tasks, futures."""

    def __init__(
        self,
        machine: Machine,
        handler: Handler | None = None,
        tls: ssl.SSLContext | None = None,
        fetch: Fetch | None = None,
        store: UpdateStore | None = None,
    ) -> None:
        self.machine = machine
        self.handler = handler
        self.tls = tls
        self.fetch = fetch
        self.loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self.over = False
        self.calls: dict[int, asyncio.Future[CallOutcome]] = {}
        self.requests: dict[int, asyncio.Future[common.Answer]] = {}
        self.sinks: dict[int, Callable[[bytes], object]] = {}
        self.streams: dict[int, Any] = {}
        self._ended = asyncio.Event()
        self._failure: BaseException | None = None
        self._links: dict[int, Link] = {}
        self._leaving: set[Link] = set()
        self._connecting: dict[int, asyncio.Task[None]] = {}
        self._listening: list[socket.socket] = []
        self._jobs: dict[int, asyncio.Task[None]] = {}
        self._cancelled: set[int] = set()  # of these
        self._fetches: dict[int, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._keeper = None if store is None else keeping.Keeper(store, cast("Bot", machine), self._hear_from_anywhere)
        self._from_threads: deque[Callable[[], None]] = deque()  # what other threads have told, and
        self._woken = False  # whether the loop is about to hear of it
        self._threads = common.Threads()  # the loop's own would hold up its end, if something hangs in one
        self._timer: asyncio.Handle | None = None
        self._armed: float | None = None
        self._context = contextvars.copy_context()
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
            Respond: self._respond,
            Throw: self._respond,
            Transmit: self._transmit,
            Recall: self._recall,
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
        self._queue.extend(fact(*args, now=self.loop.time(), **kwargs))
        if not self._performing:
            self._context.run(self._carry_out)

    def hear(self, fact: Callable[..., list[Effect]], *args: Any, **kwargs: Any) -> None:
        """Tell what the loop says. An error ends the run: the loop would log it, and the run would hang."""
        try:
            self.tell(fact, *args, **kwargs)
        except Exception as error:
            self._break(error)

    def _hear_from_anywhere(self, fact: Callable[..., list[Effect]], *args: Any, **kwargs: Any) -> None:
        """Hear of something from any thread."""
        if threading.get_ident() == self._thread:
            self.hear(fact, *args, **kwargs)
            return
        self._from_threads.append(partial(self.hear, fact, *args, **kwargs))
        if not self._woken:  # a store answers many at once: it need not wake the loop for each
            self._woken = True
            with contextlib.suppress(RuntimeError):  # the loop was closed before a store that hangs has answered
                self.loop.call_soon_threadsafe(self._hear_from_threads)

    def _hear_from_threads(self) -> None:
        self._woken = False  # before the row is empty: what comes behind its end wakes the loop again
        while self._from_threads:
            self._from_threads.popleft()()

    def _carry_out(self) -> None:
        self._performing = True
        try:
            while self._queue:
                effect = self._queue.popleft()
                self._perform[type(effect)](effect)
            self._arm(self.machine.deadline)
        except Exception as error:  # it is not the fault of whoever tells just now
            self._break(error)
        finally:
            self._performing = False

    def _arm(self, deadline: float | None) -> None:
        if deadline is not None and self._armed is not None and self._armed <= deadline:
            return  # an early tick does nothing, and costs less than a new timer for each request
        if self._timer is not None:
            self._timer.cancel()
        self._armed = deadline
        self._timer = None if deadline is None else self.loop.call_at(deadline, self._tick, deadline)

    def _tick(self, deadline: float) -> None:
        self._armed = self._timer = None
        # A loop may fire a little early: what is due is due.
        self.hear(lambda now: self.machine.tick(now=max(now, deadline)))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._break(error)

    def _break(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._ended.set()

    def stop_at(self, event: asyncio.Event) -> None:
        """Give the machine the command to stop when an event is set."""

        async def heed() -> None:
            await event.wait()
            self.hear(self.machine.stop)

        self._start(heed())

    def number(self) -> int:
        """A number for a call or a stream."""
        self._last_number += 1
        return self._last_number

    # Connections

    def _connect(self, effect: Connect) -> None:
        task = self._connecting[effect.connection] = self._start(self._open(effect))
        task.add_done_callback(lambda _: self._connecting.pop(effect.connection, None))

    async def _open(self, effect: Connect) -> None:
        tls: dict[str, Any] = {}
        try:
            if effect.tls:
                self.tls = self.tls or common.client_tls()
                tls = {"ssl": self.tls, "server_hostname": effect.host}
            places = await self._look_up(effect.host, effect.port)
            while not await self._reach(effect.connection, places.pop(0), tls, last=not places):
                pass
        except (OSError, ValueError, asyncio.TimeoutError) as error:  # ValueError: what is no host name
            self.hear(self.machine.connect_failed, effect.connection, common.why(error))

    async def _reach(self, connection: int, place: Any, tls: dict[str, Any], *, last: bool) -> bool:
        """Connect to one address of a host; whether it could be reached, if it is not the last."""
        opening = self.loop.create_connection(lambda: Link(self, connection), *place[:2], **tls)
        try:
            await asyncio.wait_for(opening, None if last else common.CONNECT_TIMEOUT)
        except (OSError, asyncio.TimeoutError):
            if last:
                raise
            return False
        return True

    async def _look_up(self, host: str, port: int) -> list[Any]:
        found = common.look_up_number(host, port)
        if not found:
            looking: Future[Any] = self._threads.submit(socket.getaddrinfo, host, port, 0, socket.SOCK_STREAM)
            found = await asyncio.wrap_future(looking)
        return [place for *_, place in found]

    def listen(self, sock: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Accept clients from a listening socket, which is closed at the end of the run."""
        sock.setblocking(False)
        self._listening.append(sock)
        self._start(self._accept(sock, tls))

    async def _accept(self, sock: socket.socket, tls: ssl.SSLContext | None) -> None:
        # No server of asyncio's: it tells nobody of the handshakes that are under way when it is closed.
        while not self.over:
            try:
                while not self.over:
                    client, _ = await self.loop.sock_accept(sock)
                    self._start(self._serve(client, tls))
                    await asyncio.sleep(0)  # while many wait to be accepted, the others' turn comes all the same
            except OSError as error:
                common.logger.warning("a client could not be accepted: %s", common.why(error))
            await asyncio.sleep(common.ACCEPT_PAUSE)

    async def _serve(self, sock: socket.socket, tls: ssl.SSLContext | None) -> None:
        limit = None if tls is None else common.HANDSHAKE_TIMEOUT
        try:
            await self.loop.connect_accepted_socket(lambda: Link(self), sock, ssl=tls, ssl_handshake_timeout=limit)
        except OSError:  # it has gone, or its handshake has failed
            sock.close()

    def opened(self, link: Link) -> None:
        """A link has its transport."""
        task = self._connecting.pop(link.connection, None)
        if self.over or (task is None and not link.accepted):  # nobody wants it any more
            link.transport.abort()
            return
        if task is not None:  # it ends in a moment; cancelled now, it would cut the link off
            self._tasks.discard(task)
        self._links[link.connection] = link
        self.hear(self.machine.accepted if link.accepted else self.machine.connected, link.connection)

    def lost(self, link: Link, reason: str) -> None:
        """A link has gone."""
        self._leaving.discard(link)
        if self._links.pop(link.connection, None) is not None:
            self.hear(self.machine.disconnected, link.connection, reason)

    def _send(self, effect: Send) -> None:
        link = self._links.get(effect.connection)
        if link is not None and not link.transport.is_closing():
            link.transport.write(effect.data)

    def _close(self, effect: Close) -> None:
        connecting = self._connecting.pop(effect.connection, None)
        if connecting is not None:
            connecting.cancel()
        link = self._links.pop(effect.connection, None)
        if link is not None:
            self._leaving.add(link)
            link.cut = self.loop.call_later(common.FLUSH_TIMEOUT, link.transport.abort)
            link.transport.close()

    def _pull(self, effect: Pull) -> None:
        link = self._links.get(effect.connection)
        if link is not None:
            self._start(self._read(effect, link))

    async def _read(self, effect: Pull, link: Link) -> None:
        await link.written.wait()
        if link.transport.is_closing():
            return
        try:
            if link.upload is None:
                link.upload = common.Upload(effect.source, self.streams)
            data = await asyncio.wrap_future(self._threads.submit(link.upload.read, effect.size))
        except Exception as error:
            link.end_upload()
            self.hear(self.machine.pull_failed, effect.connection, common.why(error))
            return
        if not data:
            link.end_upload()
        self.hear(self.machine.pulled, effect.connection, data)

    # Handlers and calls

    def _handle(self, effect: Handle) -> None:
        task = self.loop.create_task(self._run_handler(effect))
        if not task.done():  # an eager one may be
            self._jobs[effect.job] = task

    async def _run_handler(self, effect: Handle) -> None:
        assert self.handler is not None
        outcome: Outcome = RETURNED
        try:
            await self.handler(effect.update, Api._of(self, effect.job))
        except asyncio.CancelledError as error:
            # Not cancelled by us, it has awaited what somebody else has cancelled: that is a failure as any.
            outcome = Cancelled() if effect.job in self._cancelled else common.raised(error)
        except (Exception, SystemExit) as error:  # sys.exit() would end the process at its update, at each start again
            outcome = common.raised(error)
        except BaseException as error:  # KeyboardInterrupt ends more than a handler
            self._jobs.pop(effect.job, None)
            cast("asyncio.Task[None]", asyncio.current_task()).add_done_callback(asyncio.Task.exception)  # it was seen
            self._break(error)
            raise
        # Told from within: a callback of the task's end would cost each update another turn of the loop.
        self._handled(effect.job, outcome)

    def _handled(self, job: int, outcome: Outcome) -> None:
        self._jobs.pop(job, None)
        self._cancelled.discard(job)
        self.hear(cast("Bot", self.machine).finished, job, outcome)

    def _cancel(self, effect: Cancel) -> None:
        task = self._jobs.get(effect.job)
        if task is None:
            return
        self._cancelled.add(effect.job)
        begun = inspect.getcoroutinestate(cast("Coroutine[Any, Any, None]", task.get_coro())) != inspect.CORO_CREATED
        task.cancel()
        if not begun:  # then nothing of it ever runs, and it cannot tell its end
            self._handled(effect.job, Cancelled())

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
                del self.sinks[effect.call]
                if isinstance(error, StopIteration):  # which no future can have
                    error = RuntimeError("its write() raised StopIteration")
                future = self.calls[effect.call]
                if not future.done():
                    future.set_exception(error)

    def _transmit(self, effect: Transmit) -> None:
        task = self._fetches[effect.fetch] = self._start(self._exchange(effect))
        task.add_done_callback(lambda _: self._fetches.pop(effect.fetch, None))

    async def _exchange(self, effect: Transmit) -> None:
        assert self.fetch is not None
        bot = cast("Bot", self.machine)
        try:
            response = await self.fetch(await self._in_memory(effect.request))
        except Exception as error:  # anybody's client: anything may come out of it
            self.hear(bot.transmit_failed, effect.fetch, common.why(error))
        else:
            self.hear(bot.responded, effect.fetch, response)

    async def _in_memory(self, request: Request) -> Request:
        """A request whose body is read from its files."""
        pieces: list[bytes] = []
        for piece in request.body:
            if isinstance(piece, bytes):
                pieces.append(piece)
            else:
                upload = common.Upload(piece, self.streams)
                pieces.append(await asyncio.wrap_future(self._threads.submit(upload.read_all)))
        return with_body(request, b"".join(pieces))

    def _recall(self, effect: Recall) -> None:
        task = self._fetches.pop(effect.fetch, None)
        if task is not None:
            task.cancel()

    def _respond(self, effect: Respond | Throw) -> None:
        future = self.requests.pop(effect.request)
        if not future.done():
            future.set_result(effect)

    def _end(self, effect: Ended) -> None:
        if effect.failure is not None:
            self._failure = self._failure or RunFailed(effect.failure)
        self._ended.set()

    # The end

    async def until_ended(self) -> None:
        """Wait for the end of the run, then leave nothing behind. RunFailed if it ended by itself."""
        try:
            await self._ended.wait()
        finally:
            await self._leave()
        if self._failure is not None:
            raise self._failure

    async def _leave(self) -> None:
        """What was said last still goes out, handlers are cut off, nothing stays."""
        self.over = True
        self._arm(None)
        closing = [] if self._keeper is None else [asyncio.wrap_future(self._threads.submit(self._keeper.close))]
        for sock in self._listening:
            with contextlib.suppress(NotImplementedError):  # Windows
                self.loop.remove_reader(sock)
        try:
            await _turns()  # who is being accepted gets a transport: nothing else would close his socket
        finally:
            for link in self._links.values():
                link.transport.abort()
            tasks = [*self._tasks, *self._jobs.values()]
            for task in tasks:
                task.cancel()
            for future in self.calls.values():
                if not future.done():
                    future.set_result(common.STOPPED)
            for waiting in self.requests.values():
                if not waiting.done():
                    waiting.set_result(None)
        gone = [link.gone for link in (*self._links.values(), *self._leaving)]
        try:
            await _settle([*tasks, *gone])
            if closing:
                await asyncio.wait(closing, timeout=keeping.CLOSE_PATIENCE)
        finally:
            for link in self._leaving:
                link.transport.abort()
            for sock in self._listening:
                sock.close()
            self._threads.end()
        await _settle(gone)
        await _turns()
        if self._jobs:
            common.logger.warning("handlers that ignore their cancellation go on after the end: %d", len(self._jobs))


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
        api._bot, api._tls, api._run, api._job = cast("Bot", run.machine), None, run, job
        return api

    async def __aenter__(self) -> Api:
        common.check_unused(self._run)
        self._run = Run(self._bot, tls=self._tls)
        self._run.hear(self._bot.start)
        return self

    async def __aexit__(self, *_: object) -> None:
        run = self._running()
        run.hear(self._bot.stop)
        await run.until_ended()

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
        future = run.calls[number] = run.loop.create_future()
        if sink is not None:
            run.sinks[number] = sink
        try:
            run.tell(command, number, *args, **kwargs)
            return common.value_of(method, await future)
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
    fetch: an HTTP client that the calls go out by, where the program has one, or may open no connections.
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
        fetch: Fetch | None = None,
    ) -> None:
        common.check_handler(handler, asynchronous=True)
        token = common.as_token(token)
        self.options, self._store = keeping.with_inbox(options or WebhookOptions(), inbox, token)
        """How requests are treated."""
        if fetch is not None:
            api = evolve(api or ApiOptions(), own_client=True)
        self._bot, self._closing = tracing.recorded_webhook_bot(
            trace, token, self.options, url, api=api, lane=lane, on_timeout=on_timeout, reply_with=reply_with
        )
        self._handler = handler
        self._tls = tls
        self._fetch = fetch
        self._run: Run | None = None

    async def __aenter__(self) -> Exchange:
        common.check_unused(self._run)
        self._run = Run(self._bot, self._handler, self._tls, self._fetch, self._store)
        self._run.hear(self._bot.start)
        self._end = self._run.loop.create_task(self._run.until_ended())
        self._end.add_done_callback(_log_failure)
        return self

    async def __aexit__(self, *_: object) -> None:
        with self._closing:
            self._running().hear(self._bot.stop)
            await self._end

    def screen(self, request: Request) -> Response | None:
        """The answer that a request's head alone earns; None for one whose body is wanted."""
        return self._bot.screen(request, self._running().loop.time())

    async def __call__(self, request: Request) -> Response:
        """Answer a request. If it is cancelled, its client counts as gone.

        Errors: WebhookTimeout, to be raised in the host, if the time was up (on_timeout="throw" or "cancel").
        """
        run = self._running()
        if run.over:
            return common.response_after_the_end(self._bot, request, run.loop.time())
        number = self._bot.new_request()
        future = run.requests[number] = run.loop.create_future()
        try:
            run.tell(self._bot.requested, number, request)
            return common.response_of(await future, self._bot, request, run.loop.time())
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
    stop: asyncio.Event | None = None,
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
    stop: set it to end the run gracefully; so do SIGINT and SIGTERM, if `signals`. tls: to Telegram.
    trace: a new file that the run is written to, to be played again and drawn.
    Errors: RunFailed if the run ended by itself (a revoked token, a webhook that is set); OptionError.
    """
    if handler is not None:
        common.check_handler(handler, asynchronous=True)
    token = common.as_token(token)
    options, store = keeping.with_inbox(options or PollingOptions(), inbox, token, handles=handler is not None)
    with tracing.recording(trace) as new_bot:
        bot = new_bot(token, options, api=api, seed=common.seed(), lane=lane)
        with common.listen(*health) if health is not None else contextlib.nullcontext() as sock:
            await _carry(Run(bot, handler, tls, store=store), sock, None, stop, signals)


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
    stop: asyncio.Event | None = None,
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
        with common.listen(*listen) as sock:
            if started is not None:
                started(sock.getsockname()[:2])
            await _carry(Run(bot, handler, tls, store=store), sock, server_tls, stop, signals)


async def run_worker(
    handler: Handler,
    token: str | Token,
    options: WorkOptions | None = None,
    *,
    inbox: str,
    api: ApiOptions | None = None,
    health: tuple[str, int] | None = None,
    stop: asyncio.Event | None = None,
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
        with common.listen(*health) if health is not None else contextlib.nullcontext() as sock:
            await _carry(Run(bot, handler, tls, store=store), sock, None, stop, signals)


async def _carry(
    run: Run, sock: socket.socket | None, server_tls: ssl.SSLContext | None, stop: asyncio.Event | None, signals: bool
) -> None:
    """Run a machine to its end, with what it listens on and what stops it."""
    with _signals(run) if signals and common.in_main_thread() else contextlib.nullcontext():
        if sock is not None:
            run.listen(sock, server_tls)
        if stop is not None:
            run.stop_at(stop)
        run.hear(run.machine.start)
        await run.until_ended()


@contextlib.contextmanager
def _signals(run: Run) -> Iterator[None]:
    before: dict[signal.Signals, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        found = signal.getsignal(number)
        with contextlib.suppress(NotImplementedError):  # Windows
            run.loop.add_signal_handler(number, run.hear, run.machine.stop)
            before[number] = found
    try:
        yield
    finally:
        for number, handler in before.items():
            loops = signal.getsignal(number)
            run.loop.remove_signal_handler(number)
            if handler not in (None, loops):  # what the loop had there itself, its owner has to set again
                signal.signal(number, handler)


def _log_failure(run: asyncio.Task[None]) -> None:
    if not run.cancelled() and (error := run.exception()) is not None:
        common.logger.error("the webhook's run has ended: %s", error)


async def _settle(awaited: Collection[asyncio.Future[Any]]) -> None:
    """Wait for the end of tasks and futures, for a while."""
    if awaited:
        await asyncio.wait(awaited, timeout=common.CANCEL_PATIENCE)


async def _turns() -> None:
    """As many turns of the loop as a transport takes, from the one that accepts or cancels it."""
    for _ in range(4):
        await asyncio.sleep(0)
