"""Flask: a view.

app = Flask(__name__)
app.post("/telegram")(webhook_callback(handler, TOKEN))

It runs on what serves WSGI, with threads (see `wsgi`). `WebhookOptions.max_body` takes the place of MAX_CONTENT_LENGTH.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Response, request

from hookline.botapi import Token
from hookline.http import body_bytes
from hookline.options import WebhookOptions
from hookline_io.hosts.synchronous import Handler, SyncWebhook


def webhook_callback(
    handler: Handler, token: str | Token, options: WebhookOptions | None = None, **settings: Any
) -> Callable[[], Response]:
    """A view that hands updates to `handler(update, api)`, `def` or `async def`; its endpoint is named "telegram".

    settings: those of `Exchange` (api, lane, on_timeout, reply_with, tls, trace).
    """
    webhook = SyncWebhook(handler, token, options, **settings)

    def telegram() -> Response:
        response = webhook.answer(request.method, webhook.options.path, request.headers.items(), read_body)
        return Response(body_bytes(response.body), response.status, list(response.headers))

    return telegram


def read_body(limit: int) -> bytes:
    """The body of Flask's request; of one that is longer than `limit` a little more than that."""
    request.max_content_length = limit + 1
    return request.get_data()
