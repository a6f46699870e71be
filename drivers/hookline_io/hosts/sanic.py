"""Sanic: a view, with listeners.

hook = webhook_callback(handler, TOKEN)
app = Sanic("bot")
app.add_route(hook.handle, "/telegram")
app.before_server_start(hook.start)
app.after_server_stop(hook.stop)

Each of Sanic's workers has a webhook of its own, so let there be one. Sanic's REQUEST_MAX_SIZE, 100 MB, must be no less
than `WebhookOptions.max_body`; its RESPONSE_TIMEOUT, 60 s, more than `WebhookOptions.timeout`.
"""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import Any, cast

from sanic import HTTPResponse, Request
from sanic.views import HTTPMethodView, stream

from hookline.botapi import Token
from hookline.http import body_bytes
from hookline.options import WebhookOptions
from hookline_io.asyncio import Handler
from hookline_io.hosts.asynchronous import AsyncWebhook, joined


class WebhookView(HTTPMethodView):
    """A view that answers Telegram's requests."""

    def __init__(self, webhook: AsyncWebhook) -> None:
        self.webhook = webhook

    @stream  # type: ignore[untyped-decorator]
    async def post(self, request: Request) -> HTTPResponse:
        """One request. Sanic cancels it when its client goes."""
        response = await self.webhook.answer(
            request.method,
            self.webhook.options.path,
            request.headers.items(),
            lambda limit: joined(cast("AsyncIterable[bytes]", request.stream), limit),
        )
        return HTTPResponse(body_bytes(response.body), response.status, dict(response.headers))


class WebhookHandler:
    """A handler of Telegram's requests. It begins and ends by its listeners, `start` and `stop`."""

    def __init__(self, webhook: AsyncWebhook) -> None:
        self.webhook = webhook
        self.handle = WebhookView.as_view(webhook)

    async def start(self, app: object) -> None:
        """Begin; before the server starts."""
        await self.webhook.start()

    async def stop(self, app: object) -> None:
        """End; after the server has stopped."""
        await self.webhook.stop()


def webhook_callback(
    handler: Handler, token: str | Token, options: WebhookOptions | None = None, **settings: Any
) -> WebhookHandler:
    """A handler and listeners; it hands updates to `async def handler(update, api)`.

    settings: those of `Exchange` (url, api, lane, on_timeout, reply_with, tls, trace).
    """
    return WebhookHandler(AsyncWebhook(handler, token, options, **settings))
