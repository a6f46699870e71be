"""Litestar: a route's handler.

hook = webhook_callback(handler, TOKEN)
app = Litestar([post("/telegram")(hook.handle)], lifespan=[hook.lifespan])

Litestar shows errors in its log only with `logging_config=LoggingConfig(log_exceptions="always")`, or when it debugs.
"""

from __future__ import annotations

from typing import Any

from litestar import Request, Response

from hookline.botapi import Token
from hookline.http import body_bytes
from hookline.options import WebhookOptions
from hookline_io.asyncio import Handler
from hookline_io.hosts.asgi import answer
from hookline_io.hosts.asynchronous import AsyncWebhook


class WebhookHandler:
    """A handler of Telegram's requests. Its `lifespan` is one of the application's."""

    def __init__(self, webhook: AsyncWebhook) -> None:
        self.webhook = webhook
        self.lifespan = webhook.lifespan

    async def handle(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """One request."""
        response = await answer(self.webhook, request.scope, request.receive, self.webhook.options.path)
        if response is None:
            return Response(b"", status_code=499)  # nobody hears it
        return Response(body_bytes(response.body), status_code=response.status, headers=dict(response.headers))


def webhook_callback(
    handler: Handler, token: str | Token, options: WebhookOptions | None = None, **settings: Any
) -> WebhookHandler:
    """A route's handler that hands updates to `async def handler(update, api)`.

    settings: those of `Exchange` (url, api, lane, on_timeout, reply_with, tls, trace).
    """
    return WebhookHandler(AsyncWebhook(handler, token, options, **settings))
