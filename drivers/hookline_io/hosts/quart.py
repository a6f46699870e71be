"""Quart: a view.

hook = webhook_callback(handler, TOKEN)
app = Quart(__name__)
app.post("/telegram")(hook.handle)
app.before_serving(hook.start)
app.after_serving(hook.stop)

Quart's own MAX_CONTENT_LENGTH, 16 MiB, must be no less than `WebhookOptions.max_body`.
"""

from __future__ import annotations

from typing import Any

from quart import Response, request

from hookline.botapi import Token
from hookline.http import body_bytes
from hookline.options import WebhookOptions
from hookline_io.asyncio import Handler
from hookline_io.hosts.asynchronous import AsyncWebhook, joined


class WebhookView:
    """A view that answers Telegram's requests. It begins and ends by `start` and `stop`."""

    def __init__(self, webhook: AsyncWebhook) -> None:
        self.webhook = webhook
        self.start = webhook.start
        self.stop = webhook.stop

    async def handle(self) -> Response:
        """One request. Quart cancels it when its client goes."""
        response = await self.webhook.answer(
            request.method,
            self.webhook.options.path,
            request.headers.items(),
            lambda limit: joined(request.body, limit),
        )
        return Response(body_bytes(response.body), response.status, dict(response.headers))


def webhook_callback(
    handler: Handler, token: str | Token, options: WebhookOptions | None = None, **settings: Any
) -> WebhookView:
    """A view that hands updates to `async def handler(update, api)`.

    settings: those of `Exchange` (url, api, lane, on_timeout, reply_with, tls, trace).
    """
    return WebhookView(AsyncWebhook(handler, token, options, **settings))
