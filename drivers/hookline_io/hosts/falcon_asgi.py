"""Falcon on ASGI: a resource.

hook = webhook_callback(handler, TOKEN)
app = falcon.asgi.App(middleware=[hook])
app.add_route("/telegram", hook)

As middleware it begins and ends with the server. Falcon does not tell that a client has gone.
"""

from __future__ import annotations

from typing import Any

from falcon import code_to_http_status
from falcon.asgi import Request, Response

from hookline.botapi import Token
from hookline.http import body_bytes
from hookline.options import WebhookOptions
from hookline_io.asyncio import Handler
from hookline_io.hosts.asynchronous import AsyncWebhook


class WebhookResource:
    """A resource that answers Telegram's requests, and the middleware that begins and ends it."""

    def __init__(self, webhook: AsyncWebhook) -> None:
        self.webhook = webhook

    async def process_startup(self, scope: object, event: object) -> None:
        """Begin."""
        await self.webhook.start()

    async def process_shutdown(self, scope: object, event: object) -> None:
        """End."""
        await self.webhook.stop()

    async def on_post(self, req: Request, resp: Response) -> None:
        """One request."""

        async def read(limit: int) -> bytes:
            return await req.stream.read(limit + 1)

        path = self.webhook.options.path
        response = await self.webhook.answer(req.method, path, req.headers.items(), read)
        resp.status = code_to_http_status(response.status)
        resp.set_headers(response.headers)
        resp.data = body_bytes(response.body)


def webhook_callback(
    handler: Handler, token: str | Token, options: WebhookOptions | None = None, **settings: Any
) -> WebhookResource:
    """A resource that hands updates to `async def handler(update, api)`.

    settings: those of `Exchange` (url, api, lane, on_timeout, reply_with, tls, trace).
    """
    return WebhookResource(AsyncWebhook(handler, token, options, **settings))
