"""BlackSheep: a request handler.

hook = webhook_callback(handler, TOKEN)
app = Application()
app.router.add_post("/telegram", hook.handle)
app.lifespan(hook.lifespan)
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from blacksheep import Content, Request, Response
from blacksheep.contents import ASGIContent

from hookline import http
from hookline.botapi import Token
from hookline.options import WebhookOptions
from hookline_io.asyncio import Handler
from hookline_io.hosts.asgi import answer
from hookline_io.hosts.asynchronous import AsyncWebhook


class WebhookHandler:
    """A handler of Telegram's requests. It begins and ends by `lifespan`."""

    def __init__(self, webhook: AsyncWebhook) -> None:
        self.webhook = webhook

        async def handle(request: Request) -> Response:
            assert isinstance(request.content, ASGIContent)
            response = await answer(webhook, request.scope, request.content.receive, webhook.options.path)
            return Response(499) if response is None else _response(response)  # 499: nobody hears it

        self.handle = handle  # BlackSheep wants a function, to set attributes of it

    async def lifespan(self) -> AsyncIterator[None]:
        """The webhook's life."""
        async with self.webhook.lifespan():
            yield


def _response(response: http.Response) -> Response:
    headers = {name.encode("latin-1"): value.encode("latin-1") for name, value in response.headers}
    headers.pop(b"content-length", None)  # BlackSheep adds it
    kind = headers.pop(b"content-type", None)
    content = None if kind is None else Content(kind, http.body_bytes(response.body))
    return Response(response.status, list(headers.items()), content)


def webhook_callback(
    handler: Handler, token: str | Token, options: WebhookOptions | None = None, **settings: Any
) -> WebhookHandler:
    """A request handler that hands updates to `async def handler(update, api)`.

    settings: those of `Exchange` (url, api, lane, on_timeout, reply_with, tls, trace).
    """
    return WebhookHandler(AsyncWebhook(handler, token, options, **settings))
