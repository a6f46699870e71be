"""Starlette and FastAPI: a route.

hook = webhook_callback(handler, TOKEN)
app = FastAPI(lifespan=hook.lifespan)
app.add_route("/telegram", hook.handle, methods=["POST"])

It is an endpoint like others, for `Route("/telegram", hook.handle, methods=["POST"])` and `app.post("/telegram")`, too.
A lifespan of the program's own enters the webhook's: `async with hook.lifespan(app): yield`.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from hookline.botapi import Token
from hookline.http import body_bytes
from hookline.options import WebhookOptions
from hookline_io.asyncio import Handler
from hookline_io.hosts.asgi import answer
from hookline_io.hosts.asynchronous import AsyncWebhook


class WebhookEndpoint:
    """An endpoint that answers Telegram's requests. Its `lifespan` is that of the application, or within it."""

    def __init__(self, webhook: AsyncWebhook) -> None:
        self.webhook = webhook
        self.lifespan = webhook.lifespan

    async def handle(self, request: Request) -> Response:
        """One request."""
        response = await answer(self.webhook, request.scope, request.receive, self.webhook.options.path)
        if response is None:
            return Response(status_code=499)  # nobody hears it
        return Response(body_bytes(response.body), response.status, dict(response.headers))


def webhook_callback(
    handler: Handler, token: str | Token, options: WebhookOptions | None = None, **settings: Any
) -> WebhookEndpoint:
    """An endpoint that hands updates to `async def handler(update, api)`.

    settings: those of `Exchange` (url, api, lane, on_timeout, reply_with, tls, trace).
    """
    return WebhookEndpoint(AsyncWebhook(handler, token, options, **settings))
