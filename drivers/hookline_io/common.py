"""What every driver does the same way: set up the machine, log its reports, open TLS, turn outcomes into exceptions.

Nothing here decides anything about Telegram. Nothing here waits but `Upload.read`, which is for
threads.
"""

from __future__ import annotations

import contextlib
import contextvars
import inspect
import logging
import os
import queue
import re
import secrets
import socket
import ssl
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path, PurePath
from typing import Any, TypeAlias, TypeVar

from attrs import evolve

from hookline.bot import Bot
from hookline.botapi import Token, with_stream_ids
from hookline.effects import Log, Report, Respond, Throw, Verdict
from hookline.errors import ApiError, HooklineError, LocalProtocolError, NetworkError, OptionError, WebhookTimeout
from hookline.http import Request, Response, Source, StreamId
from hookline.options import SetWebhookOptions, WebhookOptions
from hookline.outcomes import REPLIED, CallOutcome, Outcome, Raised, Refused, Result, Unreachable

T = TypeVar("T")

logger = logging.getLogger("hookline")

READ_SIZE = 262_144
CONNECT_TIMEOUT = 5.0
"""Seconds for one address of a host, so that a dead one leaves time for the next; the machine limits the whole."""
HANDSHAKE_TIMEOUT = 10.0
"""Seconds in which a client must have finished its TLS handshake."""
FLUSH_TIMEOUT = 30.0
"""Seconds in which the other side must have taken what was sent before a connection was closed."""
ACCEPT_PAUSE = 0.1
"""Seconds without accepting clients after one could not be accepted, as when no descriptor is left."""
CANCEL_PATIENCE = 1.0
"""Seconds in which cancelled handlers may clean up after the end of a run."""

STOPPED = Unreachable("the bot has stopped")
"""How a call ends that is under way when its run has ended, or that is made later."""

_ERRORS = (Verdict.HANDLER_FAILED, Verdict.GIVEN_UP, Verdict.LOST, Verdict.POLICY_FAILED, Verdict.NOT_STORED)
_SHOWN = 2_000
_OURS = f"{Path(__file__).parent}{os.sep}"
_ERRNO = re.compile(r"^\[Errno -?[0-9]+\] ")


def seed() -> int:
    """The randomness that a machine gets: for jitter and for multipart boundaries."""
    return int.from_bytes(os.urandom(16), "big")


def as_token(token: str | Token) -> Token:
    """The token, checked. OptionError if it has not the form of one."""
    return token if isinstance(token, Token) else Token(token)


def is_asynchronous(handler: Callable[..., Any]) -> bool:
    """Whether a handler is `async def`, be it a function or an object that is called like one."""
    call = getattr(handler, "__call__", None)  # noqa: B004
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(call)


def check_handler(handler: Callable[..., Any], *, asynchronous: bool) -> None:
    """OptionError if the handler is not of the driver's colour."""
    if not callable(handler):
        raise OptionError(f"the handler must be a function, not {type(handler).__name__}")
    is_async = is_asynchronous(handler)
    name = getattr(handler, "__qualname__", repr(handler))
    if asynchronous and not is_async:
        raise OptionError(
            f"the handler {name} is a plain function, but this driver wants 'async def' (or use the blocking driver)"
        )
    if not asynchronous and is_async:
        raise OptionError(
            f"the handler {name} is 'async def', but the blocking driver wants a plain function (or use another)"
        )
    try:
        inspect.signature(handler).bind(None, None)
    except ValueError:  # it is of a kind that has no signature to look at
        pass
    except TypeError as error:  # each update would fail by it, and be passed over
        raise OptionError(f"the handler {name} cannot be called as handler(update, api): {error}") from None


def check_unused(run: object | None) -> None:
    """LocalProtocolError if an Api has a run already: its machine can't be started again."""
    if run is not None:
        raise LocalProtocolError("this Api was entered before: make another one")


def webhook_bot(
    new_bot: Callable[..., Bot],
    token: Token,
    options: WebhookOptions,
    url: SetWebhookOptions | str | None,
    **others: Any,
) -> Bot:
    """The machine of `serve_webhook`. A webhook that is set by us gets a secret token: nobody else can send updates."""
    set_webhook = SetWebhookOptions(url=url) if isinstance(url, str) else url
    if set_webhook is not None and options.secret_token is None:
        if options.freezes:
            raise OptionError(
                "secret_token must be given with url here: each of the host's processes would make another"
            )
        options = evolve(options, secret_token=secrets.token_urlsafe(32))
    return new_bot(token, options, set_webhook=set_webhook, seed=seed(), **others)


Answer: TypeAlias = "Respond | Throw | None"
"""What became of a request that came as a value; None if the run broke before that was known."""


def response_of(answer: Answer, bot: Bot, request: Request, now: float) -> Response:
    """The response to a request that came as a value. WebhookTimeout, to be raised in the host, if its time was up."""
    if answer is None:
        return response_after_the_end(bot, request, now)
    if isinstance(answer, Throw):
        raise WebhookTimeout(answer.update_id, answer.timeout)
    return answer.response


def response_after_the_end(bot: Bot, request: Request, now: float) -> Response:
    """The response to a request that came when the run was over, whatever ended it: nothing else is carried out."""
    for _ in range(2):  # the second stop waits for nothing
        bot.stop(now)
    *reports, answer = bot.requested(bot.new_request(), request, now)
    for report in reports:
        if isinstance(report, (Report, Log)):
            show(report)
    assert isinstance(answer, Respond)
    return answer.response


@contextlib.contextmanager
def numbered_streams(
    params: Mapping[str, Any], streams: dict[int, Any], number: Callable[[], int]
) -> Iterator[dict[str, Any]]:
    """The parameters of a call with numbers for its open streams, which are in `streams` while the call goes on."""
    numbers: list[int] = []

    def register(stream: Any) -> StreamId:
        numbers.append(number())
        streams[numbers[-1]] = stream
        return StreamId(numbers[-1])

    try:
        yield with_stream_ids(params, register)
    finally:
        for known in numbers:
            del streams[known]


def show(effect: Report | Log) -> None:
    """Log what a machine has to say. The record of a report has `verdict` (its name) and `update_id`, to filter by."""
    if isinstance(effect, Log):
        logger.log(effect.level, "%s", effect.text)
        return
    level = logging.ERROR if effect.verdict in _ERRORS else logging.WARNING
    about = {"verdict": effect.verdict.value, "update_id": effect.update_id}
    if effect.raw is None or effect.raw == "":
        logger.log(level, "%s", effect.text, extra=about)
    elif effect.verdict is Verdict.HANDLER_FAILED:
        logger.log(level, "%s\n%s", effect.text, effect.raw, extra=about)
    else:
        raw = repr(effect.raw)
        raw = raw if len(raw) <= _SHOWN else f"{raw[:_SHOWN]}... ({len(raw)} long)"
        logger.log(level, "%s: %s", effect.text, raw, extra=about)


def raised(error: BaseException) -> Outcome:
    """How the run of a handler that raised has ended. The traceback begins where hookline's own frames end."""
    frames = error.__traceback__
    while frames is not None and frames.tb_next is not None and frames.tb_frame.f_code.co_filename.startswith(_OURS):
        frames = frames.tb_next
    text = "".join(traceback.format_exception(type(error), error, frames)).rstrip("\n")
    summary = "".join(traceback.format_exception_only(type(error), error)).strip().replace("\n", " ")
    return Raised(summary[:500], text, isinstance(error, HooklineError) and error.transient)


def value_of(method: str, outcome: CallOutcome) -> Any:
    """The result of a call, or its exception: ApiError, NetworkError."""
    if isinstance(outcome, Result):
        return outcome.value
    if isinstance(outcome, Refused):
        raise ApiError(method, outcome.code, outcome.description, outcome.retry_after, outcome.migrate_to_chat_id)
    if outcome is REPLIED:
        return REPLIED
    raise NetworkError(method, outcome.reason)


def client_tls() -> ssl.SSLContext:
    """TLS to Telegram, with the system's roots, or certifi's where the system has none."""
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"] and not context.get_ca_certs():
        try:
            import certifi
        except ImportError:
            pass
        else:
            context.load_verify_locations(certifi.where())
    return context


def server_tls(certificate: str | os.PathLike[str], key: str | os.PathLike[str]) -> ssl.SSLContext:
    """TLS of our own server. OptionError if a file is missing or is not what it should be."""
    for name, path in (("certificate", certificate), ("key", key)):
        if not Path(path).is_file():
            raise OptionError(f"the {name} file {os.fspath(path)!r} {what_is_no_file(path)}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise OptionError(f"the certificate {os.fspath(certificate)!r} and its key cannot be used: {error}") from None
    return context


def what_is_no_file(path: str | os.PathLike[str]) -> str:
    """What is wrong with a path that names no file, to follow its name."""
    return "is a directory" if Path(path).is_dir() else "does not exist"


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. OptionError if the address can't be had."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=1_024, reuse_port=False)
    except (OSError, OverflowError) as error:
        raise OptionError(f"cannot listen on {host}:{port}: {why(error)}") from None


def look_up_number(host: str, port: int) -> list[Any]:
    """What getaddrinfo finds for a host that is an IP address; nothing for a name, which is a thread's work."""
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return []


def tune(sock: socket.socket) -> None:
    """Keepalive, so that a dead path is noticed, and no delay of small writes."""
    with contextlib.suppress(OSError):  # gone already, which reading will tell
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if sys.platform == "linux":
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


class Threads:
    """Threads that are reused. They are daemons: work that hangs holds up neither a run's end nor the process's."""

    def __init__(self) -> None:
        self._context = contextvars.copy_context()
        self._work: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._count = 0

    def do(self, work: Callable[[], object]) -> None:
        """Let a thread that is idle, or a new one, do something."""
        self._work.put(work)
        if not self._idle.acquire(blocking=False):
            self._count += 1
            threading.Thread(target=self._worker, name=f"hookline {self._count}", daemon=True).start()

    def submit(self, work: Callable[..., T], *args: Any) -> Future[T]:
        """Let a thread do something that has a result."""
        future: Future[T] = Future()

        def settle() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work(*args))
                except BaseException as error:
                    future.set_exception(error)

        self.do(settle)
        return future

    def end(self) -> None:
        """Let each of them end when it has nothing to do."""
        for _ in range(self._count):
            self._work.put(None)

    def _worker(self) -> None:
        while (work := self._work.get()) is not None:
            self._context.copy().run(work)  # what one sets in a context variable, the next must not see
            del work
            self._idle.release()


class Upload:
    """A file that is sent, piece by piece. One that is given as a path is opened here, and closed.

    A stream is the program's own: anything may come out of it, or nothing ever. Only `read` waits for it.
    """

    def __init__(self, source: Source, streams: Mapping[int, Any]) -> None:
        self._source = source
        self._streams = streams
        self._stream: Any = None
        self._reading = threading.Lock()
        self._over = False

    def read(self, size: int) -> bytes:
        """The next bytes, in a thread; none at the end."""
        try:
            with self._reading:
                if self._stream is None:
                    self._stream = self._open()
                data = self._stream.read(size)
        except StopIteration as error:  # which no coroutine can raise
            raise RuntimeError("its read() raised StopIteration") from error
        finally:
            if self._over:
                self.end()
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"its read() gave {type(data).__name__}, not bytes: was it opened without 'b'?")
        return bytes(data)

    def read_all(self) -> bytes:
        """All that is left, in a thread, for a client that takes no pieces."""
        pieces = []
        try:
            while piece := self.read(READ_SIZE):
                pieces.append(piece)
        finally:
            self.end()
        return b"".join(pieces)

    def end(self) -> None:
        """Nothing more is read. While a thread reads, that thread closes the file, later."""
        self._over = True
        if isinstance(self._source, PurePath) and self._reading.acquire(blocking=False):
            if self._stream is not None:
                self._stream.close()
            self._reading.release()

    def _open(self) -> Any:
        if isinstance(self._source, PurePath):
            return Path(self._source).open("rb")
        return self._streams[self._source.id]


def why(error: BaseException | None) -> str:
    """An I/O error in words, for a machine."""
    if error is None:
        return "closed by the other side"
    cause = error.__cause__
    first = getattr(cause, "exceptions", (cause,))[0]  # what the socket said, to anyio and to HTTP clients
    if isinstance(first, OSError):
        error = first
    if isinstance(error, ssl.SSLError):
        return f"TLS: {getattr(error, 'verify_message', '') or error.reason or error}"
    if isinstance(error, socket.gaierror) and error.strerror:  # its errno is of a kind of its own
        return error.strerror
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)  # asyncio and others have words of their own for some
    return _ERRNO.sub("", str(error)) or type(error).__name__


def in_main_thread() -> bool:
    """Whether signals can be handled here."""
    return threading.current_thread() is threading.main_thread()
