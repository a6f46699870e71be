"""The blocking driver: plain sockets and one selector in the caller's thread, handlers in threads of their own.

It opens, writes, closes, runs the handler and wakes on the deadline; every decision is the machine's. Only the thread
of the loop touches the machine: others `post` what they want told. Threads that work are daemons, so that one which
hangs holds up neither the stop nor the end of the process. A thread can't be cancelled: `Cancel` waits for its end.
"""

from __future__ import annotations

import contextlib
import queue
import selectors
import signal
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path, PurePath
from typing import Any, BinaryIO, TypeAlias

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
from hookline.errors import RunFailed
from hookline.http import StreamId
from hookline.options import ApiOptions, HttpLimits, PollingOptions, SetWebhookOptions, WebhookOptions
from hookline.outcomes import CallOutcome, Outcome, Returned
from hookline.updates import Lane, Update
from hookline.webhook import OnTimeoutPolicy
from hookline_io import common

Handler: TypeAlias = "Callable[[Update, Api], object]"
"""`def handler(update, api)`."""

CONNECT_TIMEOUT = 15.0


@define(eq=False)
class Link:
    """One connection: what is to be written, what is to be read from a file then, and whether it is to be closed."""

    sock: socket.socket
    handshaking: bool = False
    outbox: bytearray = field(factory=bytearray)
    pull: Pull | None = None
    closing: bool = False
    eof: bool = False
    file: BinaryIO | None = None


class Run:
    """One machine and what it holds: sockets, threads, calls."""

    def __init__(
        self,
        machine: Bot,
        handler: Handler | None = None,
        tls: ssl.SSLContext | None = None,
        server_tls: ssl.SSLContext | None = None,
    ) -> None:
        self.machine = machine
        self.handler = handler
        self.tls = tls
        self.failure: str | None = None
        self.over = False
        self.calls: dict[int, Future[CallOutcome]] = {}
        self.sinks: dict[int, Callable[[bytes], object]] = {}
        self.streams: dict[int, Any] = {}
        self._server_tls = server_tls
        self._selector = selectors.DefaultSelector()
        self._links: dict[int, Link] = {}
        self._leaving: dict[int, Link] = {}
        self._connecting: set[int] = set()
        self._posted: deque[Callable[[], None]] = deque()
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads = 0
        self._queue: deque[Effect] = deque()
        self._performing = False
        self._number = 0
        self._number_lock = threading.Lock()
        self._wake_reader, self._wake_writer = socket.socketpair()
        for end in (self._wake_reader, self._wake_writer):
            end.setblocking(False)
        self._selector.register(self._wake_reader, selectors.EVENT_READ, lambda _: self._drain())
        self._perform: dict[type, Callable[[Any], None]] = {
            Connect: self._connect,
            Send: self._send,
            Pull: self._pull,
            Close: self._close,
            Handle: lambda effect: self._spawn(lambda: self._run_handler(effect)),
            Cancel: lambda effect: None,
            Resolve: self._resolve,
            Receive: self._receive,
            Report: common.show,
            Log: common.show,
            Ended: self._end,
        }

    # The interpreter

    def run(self) -> None:
        """Run the machine from its start to its end, in this thread."""
        try:
            self.tell(self.machine.start)
            while not self.over:
                self._turn(self.machine.deadline)
            end = time.monotonic() + common.CANCEL_PATIENCE
            while (self._leaving or self._posted) and time.monotonic() < end:
                self._turn(end)
        finally:
            self._clean_up()

    def _turn(self, deadline: float | None) -> None:
        wait = None if deadline is None else max(0.0, deadline - time.monotonic())
        for key, events in self._selector.select(wait):
            key.data(events)
        while self._posted:
            self._posted.popleft()()
        deadline = self.machine.deadline
        if deadline is not None and time.monotonic() >= deadline:
            self.tell(self.machine.tick)

    def tell(self, fact: Callable[..., list[Effect]], *args: Any, **kwargs: Any) -> None:
        """Tell the machine a fact or give it a command, and carry out what it wants done. In the loop's thread."""
        self._queue.extend(fact(*args, now=time.monotonic(), **kwargs))
        if self._performing:
            return
        self._performing = True
        try:
            while self._queue:
                effect = self._queue.popleft()
                self._perform[type(effect)](effect)
        finally:
            self._performing = False

    def post(self, action: Callable[[], None]) -> None:
        """Let the loop's thread do something. From any thread, and from a signal's handler."""
        self._posted.append(action)
        with contextlib.suppress(OSError):  # full: it wakes anyway; closed: nobody is left to wake
            self._wake_writer.send(b"\0")

    def number(self) -> int:
        """A number for a call or a stream. From any thread."""
        with self._number_lock:
            self._number += 1
            return self._number

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._wake_reader.recv(4_096):
                pass

    def _spawn(self, work: Callable[[], None]) -> None:
        """Do something in a thread that is idle, or in a new one."""
        self._work.put(work)
        if not self._idle.acquire(blocking=False):
            self._threads += 1
            threading.Thread(target=self._worker, name=f"hookline {self._threads}", daemon=True).start()

    def _worker(self) -> None:
        while (work := self._work.get()) is not None:
            work()
            del work
            self._idle.release()

    def _clean_up(self) -> None:
        for _ in range(self._threads):
            self._work.put(None)
        for link in [*self._links.values(), *self._leaving.values()]:
            self._discard(link)
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()
        self._wake_writer.close()

    # Connections

    def listen(self, sock: socket.socket) -> None:
        """Accept clients from a listening socket."""
        sock.setblocking(False)
        self._selector.register(sock, selectors.EVENT_READ, lambda _: self._accept(sock))

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except OSError:  # the client has gone already, or there is no descriptor left for it
            return
        common.tune(sock)
        sock.setblocking(False)
        handshaking = self._server_tls is not None
        if self._server_tls is not None:
            sock = self._server_tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        self._add(self.machine.new_connection(), Link(sock, handshaking), self.machine.accepted)

    def _connect(self, effect: Connect) -> None:
        self._connecting.add(effect.connection)
        self._spawn(lambda: self._open(effect))

    def _open(self, effect: Connect) -> None:
        """Connect, in a thread: looking a name up can't be done otherwise."""
        try:
            sock = socket.create_connection((effect.host, effect.port), timeout=CONNECT_TIMEOUT)
            common.tune(sock)
            if effect.tls:
                self.tls = self.tls or common.client_tls()
                sock = self.tls.wrap_socket(sock, server_hostname=effect.host)
            sock.setblocking(False)
        except (OSError, ssl.SSLError) as error:
            reason = common.why(error)
            self.post(lambda: self._opened(effect.connection, None, reason))
        else:
            self.post(lambda: self._opened(effect.connection, sock, ""))

    def _opened(self, connection: int, sock: socket.socket | None, reason: str) -> None:
        wanted = connection in self._connecting
        self._connecting.discard(connection)
        if sock is None:
            if wanted:
                self.tell(self.machine.connect_failed, connection, reason)
        elif wanted and not self.over:
            self._add(connection, Link(sock), self.machine.connected)
        else:
            sock.close()

    def _add(self, connection: int, link: Link, fact: Callable[..., list[Effect]]) -> None:
        self._links[connection] = link
        self._selector.register(link.sock, selectors.EVENT_READ, lambda events: self._ready(connection, link, events))
        self.tell(fact, connection)

    def _ready(self, connection: int, link: Link, events: int) -> None:
        """A socket can be read or written."""
        try:
            if link.handshaking:
                assert isinstance(link.sock, ssl.SSLSocket)
                link.sock.do_handshake()
                link.handshaking = False
            if not link.eof and not link.closing:
                self._read(connection, link)
            self._write(link)
        except ssl.SSLWantReadError:
            self._watch(link, writing=False)
        except ssl.SSLWantWriteError:
            self._watch(link, writing=True)
        except (OSError, ssl.SSLError) as error:
            self._lost(connection, link, common.why(error))
            return
        if link.closing and not link.outbox:
            self._leaving.pop(connection, None)
            self._discard(link)

    def _read(self, connection: int, link: Link) -> None:
        while not link.closing:
            try:
                data = link.sock.recv(common.READ_SIZE)
            except (BlockingIOError, ssl.SSLWantReadError):
                return
            except ssl.SSLZeroReturnError:
                data = b""
            link.eof = not data
            self.tell(self.machine.received, connection, data)
            if link.eof:
                if connection in self._links and not isinstance(link.sock, ssl.SSLSocket):
                    self._watch(link, writing=bool(link.outbox))
                return
            if not isinstance(link.sock, ssl.SSLSocket):
                return

    def _write(self, link: Link) -> None:
        while link.outbox:
            try:
                sent = link.sock.send(link.outbox)
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._watch(link, writing=True)
                return
            del link.outbox[:sent]
        self._watch(link, writing=False)
        if link.pull is not None:
            pull, link.pull = link.pull, None
            self._spawn(lambda: self._read_file(link, pull))

    def _watch(self, link: Link, *, writing: bool) -> None:
        reading = 0 if link.eof else selectors.EVENT_READ
        events = reading | (selectors.EVENT_WRITE if writing else 0)
        with contextlib.suppress(KeyError, ValueError):  # it was closed meanwhile
            key = self._selector.get_key(link.sock)
            if events and key.events != events:
                self._selector.modify(link.sock, events, key.data)
            elif not events:
                # Nothing to read and nothing to write: a half-closed client that waits for its answer.
                self._selector.modify(link.sock, selectors.EVENT_READ, lambda _: self._discard_if_gone(link))

    def _discard_if_gone(self, link: Link) -> None:
        """A socket at its end is readable for ever: stop looking."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(link.sock)

    def _lost(self, connection: int, link: Link, reason: str) -> None:
        self._leaving.pop(connection, None)
        self._discard(link)
        if self._links.pop(connection, None) is not None:
            self.tell(self.machine.disconnected, connection, reason)

    def _discard(self, link: Link) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(link.sock)
        link.sock.close()
        if link.file is not None:
            link.file.close()

    def _send(self, effect: Send) -> None:
        link = self._links.get(effect.connection)
        if link is None:
            return
        link.outbox += effect.data
        if not link.handshaking:
            self._ready_to_write(effect.connection, link)

    def _ready_to_write(self, connection: int, link: Link) -> None:
        try:
            self._write(link)
        except ssl.SSLWantReadError:
            pass
        except (OSError, ssl.SSLError) as error:
            reason = common.why(error)
            self.post(lambda: self._lost(connection, link, reason))

    def _close(self, effect: Close) -> None:
        self._connecting.discard(effect.connection)
        link = self._links.pop(effect.connection, None)
        if link is None:
            return
        if link.outbox and not link.handshaking:
            link.closing = True
            self._leaving[effect.connection] = link
        else:
            self._discard(link)

    def _pull(self, effect: Pull) -> None:
        link = self._links.get(effect.connection)
        if link is not None:
            link.pull = effect
            self._ready_to_write(effect.connection, link)

    def _read_file(self, link: Link, pull: Pull) -> None:
        """Read a piece of a file, in a thread."""
        try:
            if isinstance(pull.source, PurePath):
                if link.file is None:
                    link.file = Path(pull.source).open("rb")  # noqa: SIM115 - read piece by piece
                stream: Any = link.file
            else:
                stream = self.streams[pull.source.id]
            data = stream.read(pull.size)
        except Exception as error:  # a stream is the program's own: anything may come out of it
            reason = common.why(error)
            self.post(lambda: self.tell(self.machine.pull_failed, pull.connection, reason))
            return
        if not data and link.file is not None:
            link.file.close()
            link.file = None
        self.post(lambda: self.tell(self.machine.pulled, pull.connection, data))

    # Handlers and calls

    def _run_handler(self, effect: Handle) -> None:
        assert self.handler is not None
        outcome: Outcome = Returned()
        try:
            self.handler(effect.update, Api._of(self, effect.job))
        except Exception as error:
            outcome = common.raised(error)
        self.post(lambda: self.tell(self.machine.finished, effect.job, outcome))

    def _resolve(self, effect: Resolve) -> None:
        self.sinks.pop(effect.call, None)
        future = self.calls.pop(effect.call, None)
        if future is not None:
            future.set_result(effect.outcome)

    def _receive(self, effect: Receive) -> None:
        sink = self.sinks.get(effect.call)
        if sink is not None:
            try:
                sink(effect.data)
            except Exception as error:
                self.calls.pop(effect.call).set_exception(error)
                self.sinks.pop(effect.call)
                self.post(lambda: self.tell(self.machine.cancel, effect.call))

    def _end(self, effect: Ended) -> None:
        self.failure = effect.failure
        self.over = True


class Api:
    """Calls of the Bot API, from any thread.

    A handler is given one. Alone, it is a context manager: `with Api(token) as api: ...`.
    """

    def __init__(
        self, token: str | Token, options: ApiOptions | None = None, *, tls: ssl.SSLContext | None = None
    ) -> None:
        self._bot = Bot(common.as_token(token), api=options, seed=common.seed())
        self._tls = tls
        self._run: Run | None = None
        self._job: int | None = None
        self._thread: threading.Thread | None = None

    @classmethod
    def _of(cls, run: Run, job: int) -> Api:
        api = cls.__new__(cls)
        api._bot, api._tls, api._run, api._job, api._thread = run.machine, None, run, job, None
        return api

    def __enter__(self) -> Api:
        self._run = Run(self._bot, tls=self._tls)
        self._thread = threading.Thread(target=self._run.run, name="hookline api", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._thread is not None:
            self._thread.join()

    def call(self, method: str, /, *, within: float | None = None, **params: Any) -> Any:
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
            return self._outcome(method, self._bot.call, method, values, timeout=within, job=self._job)
        finally:
            for stream in streams:
                del run.streams[stream]

    def download(self, file_path: str, destination: BinaryIO) -> None:
        """Write a file of Telegram's (getFile's `file_path`) to an open binary file, piece by piece.

        Errors: ApiError, NetworkError.
        """
        self._outcome("download", self._bot.download, file_path, sink=destination.write)

    def stop(self) -> None:
        """End the run gracefully, as a signal would."""
        run = self._running()
        run.post(lambda: run.tell(self._bot.stop))

    def _running(self) -> Run:
        if self._run is None:
            raise RuntimeError("use the Api as a context manager: with Api(token) as api: ...")
        return self._run

    def _outcome(
        self,
        method: str,
        command: Callable[..., list[Effect]],
        *args: Any,
        sink: Callable[[bytes], object] | None = None,
        **kwargs: Any,
    ) -> Any:
        run = self._running()
        number = run.number()
        future: Future[CallOutcome] = Future()

        def begin() -> None:
            run.calls[number] = future
            if sink is not None:
                run.sinks[number] = sink
            try:
                run.tell(command, number, *args, **kwargs)
            except Exception as error:  # wrong use is the caller's to hear
                run.calls.pop(number, None)
                run.sinks.pop(number, None)
                future.set_exception(error)

        run.post(begin)
        return common.value_of(method, future.result())


def run_polling(
    handler: Handler,
    token: str | Token,
    options: PollingOptions | None = None,
    *,
    api: ApiOptions | None = None,
    lane: Lane | None = None,
    health: tuple[str, int] | None = None,
    stop: threading.Event | None = None,
    signals: bool = True,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Run a bot by long polling until it is stopped.

    handler: `def handler(update, api)`, run in threads. lane: replaces `default_lane`. health: serve /healthz there.
    stop: set it to end the run gracefully; so do SIGINT and SIGTERM, if `signals`. tls: to Telegram.
    Errors: RunFailed if the run ended by itself (a revoked token, a webhook that is set); OptionError.
    """
    common.check_handler(handler, asynchronous=False)
    bot = Bot(common.as_token(token), options or PollingOptions(), api=api, seed=common.seed(), lane=lane)
    sock = common.listen(*health) if health is not None else None
    _carry(Run(bot, handler, tls), sock, stop, signals)


def serve_webhook(
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
    stop: threading.Event | None = None,
    signals: bool = True,
    tls: ssl.SSLContext | None = None,
    started: Callable[[tuple[str, int]], object] | None = None,
) -> None:
    """Run a bot by webhook, on a server of its own, until it is stopped.

    listen: host and port; port 0 takes a free one. url: call setWebhook with it (and with the secret token, made if
        there is none) once the server listens. certificate: paths of a certificate and its key, to serve TLS.
    on_timeout, reply_with, lane: the program's own pure functions. started: called with the address listened on.
    stop, signals, tls, errors: as `run_polling`. A thread cannot be cancelled: on_timeout="cancel" waits for its end.
    """
    common.check_handler(handler, asynchronous=False)
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
    sock = common.listen(*listen)
    if started is not None:
        started(sock.getsockname()[:2])
    _carry(Run(bot, handler, tls, context), sock, stop, signals)


def _carry(run: Run, sock: socket.socket | None, stop: threading.Event | None, signals: bool) -> None:
    """Run a machine to its end, with what it listens on and what stops it."""
    if sock is not None:
        run.listen(sock)

    def end() -> None:
        run.post(lambda: run.tell(run.machine.stop))

    def watch(event: threading.Event) -> None:
        event.wait()
        end()

    if stop is not None:
        threading.Thread(target=watch, args=(stop,), name="hookline stop", daemon=True).start()
    with _signals(end) if signals and common.in_main_thread() else contextlib.nullcontext():
        run.run()
    if run.failure is not None:
        raise RunFailed(run.failure)


@contextlib.contextmanager
def _signals(end: Callable[[], None]) -> Iterator[None]:
    before = {number: signal.signal(number, lambda *_: end()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
