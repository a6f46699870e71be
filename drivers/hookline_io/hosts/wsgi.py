"""WSGI: an application of its own, or mounted in one by its host's means; and what frameworks on WSGI share.

application = webhook_callback(handler, TOKEN)

The server should have threads, since a request waits in one for the end of its update's run, and should not close
connections before Telegram does, after 60 s: `gunicorn --threads 16 --keep-alive 75`. Without threads gunicorn takes
its worker `sync`, which serves one request at a time: each is answered as it should be, but one slow update holds up
those of every other chat, for up to `WebhookOptions.timeout` each time that it comes. An error of an application is for
the server to answer: gunicorn closes the connection, which Telegram takes as it takes a 500.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, TypeAlias

from hookline.botapi import Token
from hookline.http import Response, body_bytes
from hookline.options import WebhookOptions
from hookline_io.hosts.synchronous import Handler, SyncWebhook

Environ: TypeAlias = "dict[str, Any]"


class WebhookApp:
    """A WSGI application that answers Telegram's requests.

    `WebhookOptions.path` is compared with what is left of the path (PATH_INFO) where the application is mounted.
    """

    def __init__(self, webhook: SyncWebhook) -> None:
        self.webhook = webhook

    def __call__(self, environ: Environ, start_response: Callable[..., object]) -> Iterable[bytes]:
        """One request."""
        response = answer(self.webhook, environ, environ.get("PATH_INFO") or "/")
        start_response(status_line(response.status), list(response.headers))
        return [body_bytes(response.body)]


def answer(webhook: SyncWebhook, environ: Environ, path: str | None = None) -> Response:
    """Answer a request. path: the request's; None where the host has seen to it that it is the webhook's.

    Errors: WebhookTimeout, to be raised in the host.
    """
    target = webhook.options.path if path is None else path
    return webhook.answer(
        environ["REQUEST_METHOD"], target, headers_of(environ), lambda limit: read_body(environ, limit)
    )


def headers_of(environ: Environ) -> list[tuple[str, str]]:
    """The headers of a request."""
    headers = [(name[5:].replace("_", "-"), value) for name, value in environ.items() if name.startswith("HTTP_")]
    plain = (("content-type", "CONTENT_TYPE"), ("content-length", "CONTENT_LENGTH"))
    return headers + [(name, environ[key]) for name, key in plain if environ.get(key)]


def read_body(environ: Environ, limit: int) -> bytes:
    """The body of a request; of one that is longer than `limit` a little more than that."""
    length = environ.get("CONTENT_LENGTH")
    if not length and not environ.get("wsgi.input_terminated"):  # nothing would say where its end is
        return b""
    data: bytes = environ["wsgi.input"].read(min(int(length), limit + 1) if length else limit + 1)
    return data


def status_line(status: int) -> str:
    """A status with its phrase."""
    return f"{status} {HTTPStatus(status).phrase}"


def webhook_callback(
    handler: Handler, token: str | Token, options: WebhookOptions | None = None, **settings: Any
) -> WebhookApp:
    """A WSGI application that hands updates to `handler(update, api)`, `def` or `async def`.

    settings: those of `Exchange` (api, lane, on_timeout, reply_with, tls, trace).
    """
    return WebhookApp(SyncWebhook(handler, token, options, **settings))
