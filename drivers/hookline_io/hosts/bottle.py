"""Bottle: a route's callback.

app = Bottle()
app.post("/telegram", callback=webhook_callback(handler, TOKEN))

It runs on what serves WSGI, with threads (see `wsgi`); Bottle's own server has none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bottle import HTTPResponse, request

from hookline.botapi import Token
from hookline.http import body_bytes
from hookline.options import WebhookOptions
from hookline_io.hosts.synchronous import Handler, SyncWebhook
from hookline_io.hosts.wsgi import answer


def webhook_callback(
    handler: Handler, token: str | Token, options: WebhookOptions | None = None, **settings: Any
) -> Callable[[], HTTPResponse]:
    """A callback that hands updates to `handler(update, api)`, `def` or `async def`.

    settings: those of `Exchange` (api, lane, on_timeout, reply_with, tls, trace).
    """
    webhook = SyncWebhook(handler, token, options, **settings)

    def telegram() -> HTTPResponse:
        response = answer(webhook, request.environ)
        return HTTPResponse(body_bytes(response.body), response.status, list(response.headers))

    return telegram
