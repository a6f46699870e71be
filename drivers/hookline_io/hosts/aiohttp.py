"""aiohttp.web: a request handler.

hook = webhook_callback(handler, TOKEN)
app = web.Application()
app.router.add_post("/telegram", hook.handle)
app.cleanup_ctx.append(hook.cleanup_ctx)
web.run_app(app, handler_cancellation=True)

Only with `handler_cancellation` does aiohttp tell that a client has gone. It answers WebhookTimeout 504, as every
TimeoutError, and without a traceback in its log; middlewares see it as it is. `WebhookOptions.max_body` counts here,
not `client_max_size`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from hookline.botapi import Token
from hookline.http import body_bytes
from hookline.options import WebhookOptions
from hookline_io.asyncio import Handler
from hookline_io.hosts.asynchronous import AsyncWebhook, joined


class WebhookHandler:
    """A handler of Telegram's requests. It begins and ends by `cleanup_ctx`."""

    def __init__(self, webhook: AsyncWebhook) -> None:
        self.webhook = webhook

    async def cleanup_ctx(self, app: web.Application) -> AsyncIterator[None]:
        """The webhook's life."""
        async with self.webhook.lifespan():
            yield

    async def handle(self, request: web.Request) -> web.Response:
        """One request."""
        response = await self.webhook.answer(
            request.method,
            self.webhook.options.path,
            request.headers.items(),
            lambda limit: joined(request.content.iter_any(), limit),
        )
        return web.Response(body=body_bytes(response.body), status=response.status, headers=response.headers)


def webhook_callback(
    handler: Handler, token: str | Token, options: WebhookOptions | None = None, **settings: Any
) -> WebhookHandler:
    """A request handler that hands updates to `async def handler(update, api)`.

    settings: those of `Exchange` (url, api, lane, on_timeout, reply_with, tls, trace).
    """
    return WebhookHandler(AsyncWebhook(handler, token, options, **settings))
