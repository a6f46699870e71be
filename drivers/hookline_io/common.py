"""What every driver does the same way: set up the machine, log its reports, open TLS, turn outcomes into exceptions.

Nothing here decides anything about Telegram, and nothing here waits.
"""

from __future__ import annotations

import inspect
import logging
import os
import secrets
import socket
import ssl
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import evolve

from hookline.botapi import Token
from hookline.effects import Log, Report, Verdict
from hookline.errors import ApiError, NetworkError, OptionError
from hookline.options import SetWebhookOptions, WebhookOptions
from hookline.outcomes import REPLIED, CallOutcome, Outcome, Raised, Refused, Result

logger = logging.getLogger("hookline")

READ_SIZE = 262_144
HANDSHAKE_TIMEOUT = 10.0
"""Seconds in which a client must have finished its TLS handshake."""
CANCEL_PATIENCE = 1.0
"""Seconds in which cancelled handlers may clean up after the end of a run."""

_ERRORS = (Verdict.HANDLER_FAILED, Verdict.GIVEN_UP, Verdict.LOST, Verdict.POLICY_FAILED)
_SHOWN = 2_000


def seed() -> int:
    """The randomness that a machine gets: for jitter and for multipart boundaries."""
    return int.from_bytes(os.urandom(16), "big")


def as_token(token: str | Token) -> Token:
    """The token, checked. OptionError if it has not the form of one."""
    return token if isinstance(token, Token) else Token(token)


def check_handler(handler: Callable[..., Any], *, asynchronous: bool) -> None:
    """OptionError if the handler is not of the driver's colour."""
    if not callable(handler):
        raise OptionError(f"the handler must be a function, not {type(handler).__name__}")
    is_async = inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(getattr(handler, "__call__", None))  # noqa: B004
    name = getattr(handler, "__qualname__", repr(handler))
    if asynchronous and not is_async:
        raise OptionError(
            f"the handler {name} is a plain function, but this driver wants 'async def' (or use the blocking driver)"
        )
    if not asynchronous and is_async:
        raise OptionError(
            f"the handler {name} is 'async def', but the blocking driver wants a plain function (or use another)"
        )


def with_secret(
    options: WebhookOptions | None, set_webhook: SetWebhookOptions | str | None
) -> tuple[WebhookOptions, SetWebhookOptions | None]:
    """The options of a webhook: one that is set by us gets a secret token, so that nobody else can send updates."""
    options = options or WebhookOptions()
    if isinstance(set_webhook, str):
        set_webhook = SetWebhookOptions(url=set_webhook)
    if set_webhook is not None and options.secret_token is None:
        options = evolve(options, secret_token=secrets.token_urlsafe(32))
    return options, set_webhook


def show(effect: Report | Log) -> None:
    """Log what a machine has to say."""
    if isinstance(effect, Log):
        logger.log(effect.level, "%s", effect.text)
        return
    level = logging.ERROR if effect.verdict in _ERRORS else logging.WARNING
    if effect.raw is None or effect.raw == "":
        logger.log(level, "%s", effect.text)
    elif effect.verdict is Verdict.HANDLER_FAILED:
        logger.log(level, "%s\n%s", effect.text, effect.raw)
    else:
        raw = repr(effect.raw)
        logger.log(level, "%s: %s", effect.text, raw if len(raw) <= _SHOWN else f"{raw[:_SHOWN]}... ({len(raw)} long)")


def raised(error: BaseException) -> Outcome:
    """How the run of a handler that raised has ended."""
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    summary = "".join(traceback.format_exception_only(type(error), error)).strip().replace("\n", " ")
    return Raised(summary[:500], text)


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
            raise OptionError(f"the {name} file {os.fspath(path)!r} does not exist")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise OptionError(f"the certificate {os.fspath(certificate)!r} and its key cannot be used: {error}") from None
    return context


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. OptionError if the address can't be had."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=1_024, reuse_port=False)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise OptionError(f"cannot listen on {host}:{port}: {reason}") from None


def tune(sock: socket.socket) -> None:
    """Keepalive, so that a dead path is noticed, and no delay of small writes."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if sys.platform == "linux":
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


def why(error: BaseException | None) -> str:
    """An I/O error in words, for a machine."""
    if error is None:
        return "closed by the other side"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {getattr(error, 'verify_message', '') or error.reason or error}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def in_main_thread() -> bool:
    """Whether signals can be handled here."""
    return threading.current_thread() is threading.main_thread()
