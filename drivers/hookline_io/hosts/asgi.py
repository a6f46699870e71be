"""ASGI: an application of its own, or mounted in one; and what frameworks on ASGI share.

app = webhook_callback(handler, TOKEN)

Mounted, it needs `app.lifespan` in the lifespan of the application around it. Mind that Starlette and FastAPI have no
"/telegram" where something is mounted at "/telegram", but only "/telegram/": `starlette` has a route for them.

The server should keep idle connections for longer than Telegram's 60 s: `uvicorn --timeout-keep-alive 75`,
`hypercorn --keep-alive 75`. Let it have one worker: webhooks in several processes know nothing of each other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

import anyio

from hookline.botapi import Token
from hookline.http import Response, body_bytes
from hookline.options import WebhookOptions
from hookline_io.asyncio import Handler
from hookline_io.hosts.asynchronous import AsyncWebhook

Message: TypeAlias = "MutableMapping[str, Any]"
Receive: TypeAlias = "Callable[[], Awaitable[Message]]"
Send: TypeAlias = "Callable[[Message], Awaitable[None]]"


class WebhookApp:
    """An ASGI application that answers Telegram's requests.

    It begins and ends by the lifespan protocol if it is the server's application; mounted in another, that one's
    lifespan must be, or enter, `lifespan`. The path that it was mounted at does not count: `WebhookOptions.path` is
    compared with the rest.
    """

    def __init__(self, webhook: AsyncWebhook) -> None:
        self.webhook = webhook
        self.lifespan = webhook.lifespan

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One connection's request, or the life of the server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
            response = await answer(self.webhook, scope, receive, path)
            if response is not None:  # else its client has gone
                raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
                await send({"type": "http.response.start", "status": response.status, "headers": raw})
                await send({"type": "http.response.body", "body": body_bytes(response.body)})
        else:
            raise ValueError(f"a webhook is served by HTTP, not by {scope['type']}")

    async def _live(self, receive: Receive, send: Send) -> None:
        for verb, act in (("startup", self.webhook.start), ("shutdown", self.webhook.stop)):
            await receive()
            try:
                await act()
            except Exception as error:
                await send({"type": f"lifespan.{verb}.failed", "message": str(error)})
                raise
            await send({"type": f"lifespan.{verb}.complete"})


async def answer(
    webhook: AsyncWebhook, scope: Any, receive: Callable[[], Awaitable[Any]], path: str
) -> Response | None:
    """Answer a request; None if its client has gone, which cancels it.

    scope, receive: of its connection; frameworks have types of their own for them. path: what counts as its path.

    Errors: WebhookTimeout, to be raised in the host.
    """
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    response: Response | None = None
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:

        async def read(limit: int) -> bytes:
            body, more = bytearray(), True
            while more and len(body) <= limit:
                message = await receive()
                if message["type"] == "http.disconnect":
                    tasks.cancel_scope.cancel()
                    await anyio.sleep_forever()  # until that is felt: what has come is no whole body
                body += message.get("body", b"")
                more = message.get("more_body", False)
            tasks.start_soon(watch)
            return bytes(body)

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            tasks.cancel_scope.cancel()

        try:
            response = await webhook.answer(scope["method"], path, headers, read)
        except Exception as error:  # the host sees it as it is, and not in a group
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return response


def webhook_callback(
    handler: Handler, token: str | Token, options: WebhookOptions | None = None, **settings: Any
) -> WebhookApp:
    """An ASGI application that hands updates to `async def handler(update, api)`.

    settings: those of `Exchange` (url, api, lane, on_timeout, reply_with, tls, trace).
    """
    return WebhookApp(AsyncWebhook(handler, token, options, **settings))
