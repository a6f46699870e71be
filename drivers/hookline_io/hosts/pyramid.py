"""Pyramid: a view.

config.add_route("telegram", "/telegram")
config.add_view(webhook_callback(handler, TOKEN), route_name="telegram", require_csrf=False)

It runs on what serves WSGI, with threads (see `wsgi`). An error for which the program has no view of its own
(`exception_view_config`) goes on to the server, as Pyramid's errors do: gunicorn closes the connection then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyramid.request import Request
from pyramid.response import Response

from hookline.botapi import Token
from hookline.http import body_bytes
from hookline.options import WebhookOptions
from hookline_io.hosts.synchronous import Handler, SyncWebhook
from hookline_io.hosts.wsgi import answer, status_line


def webhook_callback(
    handler: Handler, token: str | Token, options: WebhookOptions | None = None, **settings: Any
) -> Callable[[Request], Response]:
    """A view that hands updates to `handler(update, api)`, `def` or `async def`.

    settings: those of `Exchange` (api, lane, on_timeout, reply_with, tls, trace).
    """
    webhook = SyncWebhook(handler, token, options, **settings)

    def telegram(request: Request) -> Response:
        response = answer(webhook, request.environ)
        return Response(body_bytes(response.body), status_line(response.status), list(response.headers))

    return telegram
