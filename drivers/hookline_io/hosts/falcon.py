"""Falcon on WSGI: a resource.

app = falcon.App()
app.add_route("/telegram", webhook_callback(handler, TOKEN))

It runs on what serves WSGI, with threads (see `wsgi`).
"""

from __future__ import annotations

from typing import Any

import falcon

from hookline.botapi import Token
from hookline.http import body_bytes
from hookline.options import WebhookOptions
from hookline_io.hosts.synchronous import Handler, SyncWebhook
from hookline_io.hosts.wsgi import answer


class WebhookResource:
    """A resource that answers Telegram's requests."""

    def __init__(self, webhook: SyncWebhook) -> None:
        self.webhook = webhook

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """One request."""
        response = answer(self.webhook, req.env)
        resp.status = falcon.code_to_http_status(response.status)
        resp.set_headers(response.headers)
        resp.data = body_bytes(response.body)


def webhook_callback(
    handler: Handler, token: str | Token, options: WebhookOptions | None = None, **settings: Any
) -> WebhookResource:
    """A resource that hands updates to `handler(update, api)`, `def` or `async def`.

    settings: those of `Exchange` (api, lane, on_timeout, reply_with, tls, trace).
    """
    return WebhookResource(SyncWebhook(handler, token, options, **settings))
