"""The blocking driver: plain sockets and one selector in the caller's thread, handlers in threads of their own.

It opens, writes, closes, runs the handler and wakes on the deadline; every decision is the machine's. Only the thread
of the loop touches the machine: others `post` what they want told. A thread can't be cancelled: `Cancel` waits for its
end.
"""

from __future__ import annotations

import contextlib
import selectors
import signal
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from enum import Enum
from typing import Any, BinaryIO, TypeAlias

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
from hookline.errors import RunFailed
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
from hookline.outcomes import CallOutcome, Outcome, Returned
from hookline.updates import Lane, Update
from hookline_io import common, keeping, speed, tracing
from hookline_io.stores import UpdateStore

Handler: TypeAlias = "Callable[[Update, Api], object]"
"""`def handler(update, api)`."""


class Phase(Enum):
    """What a connection is good for."""

    HANDSHAKING = "nothing yet"
    OPEN = "reading and writing"
    ENDED = "writing: the other side sends no more"
    CLOSING = "writing what was sent before it was closed"
    CLOSED = "nothing more"


@define(eq=False)
class Link:
    """One connection: what is to be written, and what is to be read from a file then.

    events: what the selector looks for. until: when the time for the rest of a closed one is up.
    """

    connection: int
    sock: socket.socket
    accepted: bool
    phase: Phase
    outbox: bytearray = field(factory=bytearray)
    pull: Pull | None = None
    upload: common.Upload | None = None
    events: int = 0
    until: float = 0.0

    @property
    def unread(self) -> bool:
        """Whether TLS has taken something from the socket already, which the selector does not see."""
        return isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0

    def end_upload(self) -> None:
        """Close the file that was being read, if there is one."""
        if self.upload is not None:
            self.upload.end()
            self.upload = None


class Run:
    """One machine and what it holds: sockets, threads, calls."""

    def __init__(
        self,
        machine: Bot,
        handler: Handler | None = None,
        tls: ssl.SSLContext | None = None,
        server_tls: ssl.SSLContext | None = None,
        store: UpdateStore | None = None,
    ) -> None:
        self.machine = machine
        self.handler = handler
        self.tls = tls
        self.failure: str | None = None
        self.over = False
        self.calls: dict[int, Future[CallOutcome]] = {}
        self.requests: dict[int, Future[common.Answer]] = {}
        self.sinks: dict[int, Callable[[bytes], object]] = {}
        self.streams: dict[int, Any] = {}
        self._server_tls = server_tls
        self._selector = selectors.DefaultSelector()
        self._links: dict[int, Link] = {}
        self._closing: dict[int, Link] = {}  # the first is due first
        self._connecting: set[int] = set()
        self._listener: socket.socket | None = None
        self._accept_again: float | None = None
        self._posted: deque[Callable[[], None]] = deque()
        self._closed = False
        self._door = threading.RLock()  # reentrant: the handler of a signal may come in while its thread is here
        self._keeper = None if store is None else keeping.Keeper(store, machine, self._hear_from_anywhere)
        self._threads = common.Threads()
        self._queue: deque[Effect] = deque()
        self._performing = False
        self._number = 0
        self._number_lock = threading.Lock()
        self._wake_reader, self._wake_writer = socket.socketpair()
        for end in (self._wake_reader, self._wake_writer):
            end.setblocking(False)
        self._selector.register(self._wake_reader, selectors.EVENT_READ, self._drain)
        self._perform: dict[type, Callable[[Any], None]] = {
            Connect: self._connect,
            Send: self._send,
            Pull: self._pull,
            Close: self._close,
            Handle: lambda effect: self._threads.do(lambda: self._run_handler(effect)),
            Cancel: lambda effect: None,
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

    def run(self) -> None:
        """Run the machine from its start to its end, in this thread. What was said last still goes out."""
        try:
            self.tell(self.machine.start)
            while not self.over:
                self._turn()
            end = time.monotonic() + common.CANCEL_PATIENCE
            while self._closing and time.monotonic() < end:
                self._turn(end)
        finally:
            self._clean_up()

    def _turn(self, end: float | None = None) -> None:
        first = next(iter(self._closing.values())).until if self._closing else None
        times = [time for time in (self.machine.deadline, first, self._accept_again, end) if time is not None]
        for key, _ in self._selector.select(max(0.0, min(times) - time.monotonic()) if times else None):
            key.data()
        while self._posted:
            self._posted.popleft()()
        now = time.monotonic()
        if self.machine.deadline is not None and now >= self.machine.deadline:
            self.tell(self.machine.tick)
        for link in [link for link in self._closing.values() if now >= link.until]:
            self._discard(link)
        if self._listener is not None and self._accept_again is not None and now >= self._accept_again:
            self.listen(self._listener)

    def tell(self, fact: Callable[..., list[Effect]], *args: Any, **kwargs: Any) -> None:
        """Tell the machine a fact or give it a command, and carry out what it wants done. In the loop's thread."""
        if self._closed:  # there is nothing left to carry anything out with
            return
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

    def post(self, action: Callable[[], None]) -> bool:
        """Let the loop's thread do something; False if it has ended. From any thread, and from a signal's handler."""
        with self._door:
            if self._closed:
                return False
            self._posted.append(action)
            with contextlib.suppress(OSError):  # full: it wakes anyway
                self._wake_writer.send(b"\0")
        return True

    def _hear_from_anywhere(self, fact: Callable[..., list[Effect]], *args: Any, **kwargs: Any) -> None:
        """Tell the machine something, which may be known in any thread."""
        self.post(lambda: self.tell(fact, *args, **kwargs))

    def number(self) -> int:
        """A number for a call or a stream. From any thread."""
        with self._number_lock:
            self._number += 1
            return self._number

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._wake_reader.recv(4_096):
                pass

    def _clean_up(self) -> None:
        with self._door:
            self._closed = self.over = True
        while self._posted:  # calls and connections that came too late
            self._posted.popleft()()
        for future in list(self.calls.values()):
            future.set_result(common.STOPPED)
        for waiting in self.requests.values():
            waiting.set_result(None)
        if self._keeper is not None:
            wait([self._threads.submit(self._keeper.close)], keeping.CLOSE_PATIENCE)
        self._threads.end()
        for link in [*self._links.values(), *self._closing.values()]:
            self._discard(link)
        self._selector.close()
        for sock in (self._listener, self._wake_reader, self._wake_writer):
            if sock is not None:
                sock.close()

    # Connections

    def listen(self, sock: socket.socket) -> None:
        """Accept clients from a listening socket."""
        sock.setblocking(False)
        self._listener, self._accept_again = sock, None
        self._selector.register(sock, selectors.EVENT_READ, lambda: self._accept(sock))

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):  # the client has gone already
            return
        except OSError as error:  # no descriptor is left for it
            common.logger.warning("a client could not be accepted: %s", common.why(error))
            self._selector.unregister(listener)
            self._accept_again = time.monotonic() + common.ACCEPT_PAUSE
            return
        phase = Phase.OPEN
        try:
            common.tune(sock)
            sock.setblocking(False)
            if self._server_tls is not None:
                phase = Phase.HANDSHAKING
                sock = self._server_tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        except OSError:  # the client has gone again
            sock.close()
            return
        self._add(Link(self.machine.new_connection(), sock, True, phase), self.machine.accepted)

    def _connect(self, effect: Connect) -> None:
        self._connecting.add(effect.connection)
        self._threads.do(lambda: self._open(effect))

    def _open(self, effect: Connect) -> None:
        """Connect, in a thread: looking a name up can't be done otherwise."""
        sock: socket.socket | None = None
        try:
            sock = socket.create_connection((effect.host, effect.port), timeout=common.CONNECT_TIMEOUT)
            common.tune(sock)
            if effect.tls:
                self.tls = self.tls or common.client_tls()
                sock = self.tls.wrap_socket(sock, server_hostname=effect.host)
            sock.setblocking(False)
        except (OSError, ValueError) as error:  # ValueError: what is no host name, to sockets or to TLS
            reason = common.why(error)
            if sock is not None:
                sock.close()
            self.post(lambda: self._opened(effect.connection, None, reason))
        else:
            link = Link(effect.connection, sock, False, Phase.OPEN)
            if not self.post(lambda: self._opened(effect.connection, link, "")):
                sock.close()

    def _opened(self, connection: int, link: Link | None, reason: str) -> None:
        wanted = connection in self._connecting and not self.over
        self._connecting.discard(connection)
        if link is None:
            if wanted:
                self.tell(self.machine.connect_failed, connection, reason)
        elif wanted:
            self._add(link, self.machine.connected)
        else:
            link.sock.close()

    def _add(self, link: Link, fact: Callable[..., list[Effect]]) -> None:
        self._links[link.connection] = link
        self._watch(link, writing=False)
        self.tell(fact, link.connection)

    def _ready(self, link: Link) -> None:
        """Read and write what can be without waiting, and let the selector look for the rest."""
        try:
            if link.phase is Phase.HANDSHAKING:
                assert isinstance(link.sock, ssl.SSLSocket)
                link.sock.do_handshake()
                link.phase = Phase.OPEN
            self._write(link)
            self._read(link)
        except (BlockingIOError, ssl.SSLWantReadError):
            self._watch(link, writing=False)
        except ssl.SSLWantWriteError:
            self._watch(link, writing=True)
        except OSError as error:
            self._lost(link, common.why(error))

    def _read(self, link: Link) -> None:
        more = True
        while more and link.phase is Phase.OPEN and not (link.accepted and link.outbox):
            try:
                data = link.sock.recv(common.READ_SIZE)
            except (BlockingIOError, ssl.SSLWantReadError):
                return
            if not data:
                link.phase = Phase.ENDED
            self.tell(self.machine.received, link.connection, data)
            more = link.unread
        if link.phase is Phase.ENDED and not link.accepted:  # to a client an answer may still have to go out
            self._lost(link, common.why(None))

    def _write(self, link: Link) -> None:
        while link.outbox and link.phase is not Phase.CLOSED:
            try:
                sent = link.sock.send(link.outbox)
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._watch(link, writing=True)
                return
            del link.outbox[:sent]
        if link.phase is Phase.CLOSING:
            self._discard(link)
        self._watch(link, writing=link.phase is Phase.OPEN and link.unread)
        if link.pull is not None and link.phase is not Phase.CLOSED:
            link.upload = link.upload or common.Upload(link.pull.source, self.streams)
            piece = self._threads.submit(link.upload.read, link.pull.size)
            link.pull = None
            piece.add_done_callback(lambda piece: self.post(lambda: self._pulled(link, piece)))

    def _flush(self, link: Link) -> None:
        """Write what can be written at once."""
        if link.phase is not Phase.HANDSHAKING:
            try:
                self._write(link)
            except ssl.SSLWantReadError:
                self._watch(link, writing=False)
            except OSError as error:
                self._lost(link, common.why(error))

    def _watch(self, link: Link, *, writing: bool) -> None:
        """Let the selector look for what the connection can go on with."""
        heard = not (link.accepted and link.outbox)  # who does not take his answers is not heard
        reading = link.phase is Phase.HANDSHAKING or (link.phase is Phase.OPEN and heard)
        events = (selectors.EVENT_READ if reading else 0) | (selectors.EVENT_WRITE if writing else 0)
        if link.phase is Phase.CLOSED or events == link.events:
            return
        if not link.events:
            self._selector.register(link.sock, events, lambda: self._ready(link))
        elif events:
            self._selector.modify(link.sock, events, lambda: self._ready(link))
        else:
            self._selector.unregister(link.sock)
        link.events = events

    def _lost(self, link: Link, reason: str) -> None:
        self._discard(link)
        if self._links.pop(link.connection, None) is not None:
            self.tell(self.machine.disconnected, link.connection, reason)

    def _discard(self, link: Link) -> None:
        if link.phase is not Phase.CLOSED:
            link.phase = Phase.CLOSED
            self._closing.pop(link.connection, None)
            if link.events:
                self._selector.unregister(link.sock)
            link.sock.close()
            link.end_upload()

    def _send(self, effect: Send) -> None:
        link = self._links.get(effect.connection)
        if link is not None:
            link.outbox += effect.data
            self._flush(link)

    def _close(self, effect: Close) -> None:
        self._connecting.discard(effect.connection)
        link = self._links.pop(effect.connection, None)
        if link is None:
            return
        if link.outbox and link.phase is not Phase.HANDSHAKING:
            link.phase = Phase.CLOSING
            link.until = time.monotonic() + common.FLUSH_TIMEOUT
            self._closing[link.connection] = link
            self._watch(link, writing=True)
        else:
            self._discard(link)

    def _pull(self, effect: Pull) -> None:
        link = self._links.get(effect.connection)
        if link is not None:
            link.pull = effect
            self._flush(link)

    def _pulled(self, link: Link, piece: Future[bytes]) -> None:
        error = piece.exception()
        if error is not None:
            link.end_upload()
            self.tell(self.machine.pull_failed, link.connection, common.why(error))
            return
        data = piece.result()
        if not data:
            link.end_upload()
        self.tell(self.machine.pulled, link.connection, data)

    # Handlers and calls

    def _run_handler(self, effect: Handle) -> None:
        assert self.handler is not None
        outcome: Outcome = Returned()
        try:
            self.handler(effect.update, Api._of(self, effect.job))
        except BaseException as error:  # sys.exit() in a thread would end that alone, and nobody would know
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
                self.calls[effect.call].set_exception(error)
                self.forget(effect.call)

    def forget(self, call: int) -> None:
        """Nobody waits for a call any more. In the loop's thread."""
        self.sinks.pop(call, None)
        if self.calls.pop(call, None) is not None:
            self.tell(self.machine.cancel, call)

    def _respond(self, effect: Respond | Throw) -> None:
        self.requests.pop(effect.request).set_result(effect)

    def desert(self, request: Future[common.Answer]) -> None:
        """Nobody waits for the answer to a request any more. In the loop's thread."""
        for number, waiting in list(self.requests.items()):
            if waiting is request:
                del self.requests[number]
                self.tell(self.machine.gone, number)

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
        self._bot = Bot(common.as_token(token), api=options, seed=common.seed(), decode=speed.decode)
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
        common.check_unused(self._run)
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
        with common.numbered_streams(params, run.streams, run.number) as values:
            return self._outcome(method, self._bot.call, method, values, timeout=within, job=self._job)

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
        run.calls[number] = future
        if sink is not None:
            run.sinks[number] = sink

        def begin() -> None:
            try:
                run.tell(command, number, *args, **kwargs)
            except Exception as error:  # wrong use is the caller's to hear
                del run.calls[number]
                future.set_exception(error)

        try:
            if not run.post(begin):
                return common.value_of(method, common.STOPPED)
            return common.value_of(method, future.result())
        finally:
            if not future.done():  # the program's thread was interrupted
                run.post(lambda: run.forget(number))


class Exchange:
    """A webhook behind a server that is not ours: requests come as values, and are answered by values.

    A context manager, within which it is called for each request, from any thread. It is what the adapters of web
    frameworks and other hosts are made of; handlers go on in it after their request was answered, and at its end they
    get their grace time.

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
        common.check_handler(handler, asynchronous=False)
        token = common.as_token(token)
        self.options, self._store = keeping.with_inbox(options or WebhookOptions(), inbox, token)
        """How requests are treated."""
        self._bot, self._closing = tracing.recorded_webhook_bot(
            trace, token, self.options, url, api=api, lane=lane, on_timeout=on_timeout, reply_with=reply_with
        )
        self._handler = handler
        self._tls = tls
        self._run: Run | None = None
        self._after_the_end = threading.Lock()

    def __enter__(self) -> Exchange:
        common.check_unused(self._run)
        self._run = Run(self._bot, self._handler, self._tls, store=self._store)
        self._thread = threading.Thread(target=self._carry, args=(self._run,), name="hookline webhook", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        run = self._running()
        with self._closing:
            run.post(lambda: run.tell(self._bot.stop))
            self._thread.join()
        if run.failure is not None:
            raise RunFailed(run.failure)

    def screen(self, request: Request) -> Response | None:
        """The answer that a request's head alone earns; None for one whose body is wanted."""
        return self._bot.screen(request, time.monotonic())

    def __call__(self, request: Request) -> Response:
        """Answer a request.

        Errors: WebhookTimeout, to be raised in the host, if the time was up (on_timeout="throw" or "cancel").
        """
        run = self._running()
        answer: Future[common.Answer] = Future()

        def begin() -> None:
            number = self._bot.new_request()
            run.requests[number] = answer
            run.tell(self._bot.requested, number, request)

        if not run.post(begin):
            answer.set_result(None)
        try:
            with self._after_the_end if answer.result() is None else contextlib.nullcontext():
                return common.response_of(answer.result(), self._bot, request, time.monotonic())
        finally:
            if not answer.done():  # the host's thread was interrupted
                run.post(lambda: run.desert(answer))

    @staticmethod
    def _carry(run: Run) -> None:
        run.run()
        if run.failure is not None:
            common.logger.error("the webhook's run has ended: %s", run.failure)

    def _running(self) -> Run:
        if self._run is None:
            raise RuntimeError("use the Exchange as a context manager: with Exchange(...) as exchange: ...")
        return self._run


def run_polling(
    handler: Handler | None,
    token: str | Token,
    options: PollingOptions | None = None,
    *,
    inbox: keeping.Address = None,
    api: ApiOptions | None = None,
    lane: Lane | None = None,
    health: tuple[str, int] | None = None,
    stop: threading.Event | None = None,
    signals: bool = True,
    tls: ssl.SSLContext | None = None,
    trace: tracing.TracePath = None,
) -> None:
    """Run a bot by long polling until it is stopped.

    handler: `def handler(update, api)`, run in threads. lane: replaces `default_lane`. health: serve /healthz there.
    inbox: updates are stored there ("sqlite:///inbox.db"), and confirmed when they are; what a crash leaves is handled
        after the next start. "memory" keeps them in the process. One that many processes share
        ("postgresql://host/database") needs no handler here, if others work on it: give None. One process polls for it
        at a time; another waits for its end.
    stop: set it to end the run gracefully; so do SIGINT and SIGTERM, if `signals`. tls: to Telegram.
    trace: a new file that the run is written to, to be played again and drawn.
    Errors: RunFailed if the run ended by itself (a revoked token, a webhook that is set); OptionError.
    """
    if handler is not None:
        common.check_handler(handler, asynchronous=False)
    token = common.as_token(token)
    options, store = keeping.with_inbox(options or PollingOptions(), inbox, token, handles=handler is not None)
    with tracing.recording(trace) as new_bot:
        bot = new_bot(token, options, api=api, seed=common.seed(), lane=lane)
        with common.listen(*health) if health is not None else contextlib.nullcontext() as sock:
            _carry(Run(bot, handler, tls, store=store), sock, stop, signals)


def serve_webhook(
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
    stop: threading.Event | None = None,
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
    stop, signals, tls, trace, errors: as `run_polling`. A thread cannot be cancelled: on_timeout="cancel" waits for its
        end.
    """
    if handler is not None:
        common.check_handler(handler, asynchronous=False)
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
            _carry(Run(bot, handler, tls, server_tls, store), sock, stop, signals)


def run_worker(
    handler: Handler,
    token: str | Token,
    options: WorkOptions | None = None,
    *,
    inbox: str,
    api: ApiOptions | None = None,
    health: tuple[str, int] | None = None,
    stop: threading.Event | None = None,
    signals: bool = True,
    tls: ssl.SSLContext | None = None,
    trace: tracing.TracePath = None,
) -> None:
    """Handle what an inbox has, until it is stopped; others receive it.

    handler: `def handler(update, api)`, run in threads.
    inbox: where others store updates ("postgresql://host/database"), or a file ("sqlite:///inbox.db") whose bot does
        not run.
    health, stop, signals, tls, trace, errors: as `run_polling`. A thread cannot be
    cancelled: what the inbox takes back, because its database could not be reached, may then run twice at a time.
    """
    common.check_handler(handler, asynchronous=False)
    token = common.as_token(token)
    options = options or WorkOptions()
    store = keeping.store_to_work_off(options, inbox, token)
    with tracing.recording(trace) as new_bot:
        bot = new_bot(token, options, api=api, seed=common.seed())
        with common.listen(*health) if health is not None else contextlib.nullcontext() as sock:
            _carry(Run(bot, handler, tls, store=store), sock, stop, signals)


def _carry(run: Run, sock: socket.socket | None, stop: threading.Event | None, signals: bool) -> None:
    """Run a machine to its end, with what it listens on and what stops it."""
    if sock is not None:
        run.listen(sock)

    def end() -> None:
        run.post(lambda: run.tell(run.machine.stop))

    def watch(event: threading.Event) -> None:
        while not run.over:
            if event.wait(1.0):  # a thread can't wait for the end of the run as well
                end()
                return

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
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: it was not set by Python
