"""Tornado: a RequestHandler.

Hook = webhook_callback(handler, TOKEN)

async def main():
    server = Application([("/telegram", Hook)]).listen(8080)
    async with Hook.webhook.lifespan():
        await stopped.wait()
        server.stop()
"""

from __future__ import annotations

from typing import Any, ClassVar

import anyio
from tornado.web import RequestHandler, stream_request_body

from hookline.botapi import Token
from hookline.http import body_bytes
from hookline.options import WebhookOptions
from hookline_io.asyncio import Handler
from hookline_io.hosts.asynchronous import AsyncWebhook


@stream_request_body
class WebhookHandler(RequestHandler):
    """What answers one of Telegram's requests.

    webhook: is to live, by its `lifespan`, as long as the server.
    """

    webhook: ClassVar[AsyncWebhook]

    def initialize(self) -> None:
        """Begin with no body."""
        self._body = bytearray()
        self._waits = anyio.CancelScope()

    def check_xsrf_cookie(self) -> None:
        """Telegram has no cookies."""

    def data_received(self, chunk: bytes) -> None:
        """Take a piece of the body; of one that is too long the rest is let go."""
        if len(self._body) <= self.webhook.options.max_body:
            self._body += chunk

    async def post(self) -> None:
        """Answer, when the body is here."""
        with self._waits:
            response = await self.webhook.answer(
                "POST", self.webhook.options.path, self.request.headers.get_all(), self._read
            )
            self.set_status(response.status)
            for name, value in response.headers:
                self.set_header(name, value)
            self.write(body_bytes(response.body))

    def on_connection_close(self) -> None:
        """The client has gone."""
        self._waits.cancel()

    async def _read(self, limit: int) -> bytes:
        return bytes(self._body)


def webhook_callback(
    handler: Handler, token: str | Token, options: WebhookOptions | None = None, **settings: Any
) -> type[WebhookHandler]:
    """A class of handlers that hand updates to `async def handler(update, api)`.

    settings: those of `Exchange` (url, api, lane, on_timeout, reply_with, tls, trace).
    """

    class Hook(WebhookHandler):
        webhook = AsyncWebhook(handler, token, options, **settings)

    return Hook
