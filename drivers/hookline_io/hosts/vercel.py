"""Vercel. With a handler that is `def`, in a file of `api/`:

class handler(webhook_callback(answer, TOKEN, WebhookOptions(path="/api/telegram"))):
    ...

and with one that is `async def`, an ASGI application:

app = webhook_callback(answer, TOKEN, WebhookOptions(path="/api/telegram"))

The process is frozen when it has answered (see `WebhookOptions.freezes`). A handler that goes on after its time was up
is frozen with it, and goes on with the next request to the same process, or is lost; Telegram sends its update again in
any case. Vercel starts as many processes as it needs, which know nothing of each other's runs. The function's
`maxDuration` must be longer than `WebhookOptions.timeout`.
"""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler
from typing import Any, overload

from attrs import evolve

from hookline.botapi import Token
from hookline.options import WebhookOptions
from hookline_io import asyncio, blocking, common
from hookline_io.hosts import asgi, http_server


@overload
def webhook_callback(
    handler: asyncio.Handler, token: str | Token, options: WebhookOptions | None = None, **settings: Any
) -> asgi.WebhookApp: ...
@overload
def webhook_callback(
    handler: blocking.Handler, token: str | Token, options: WebhookOptions | None = None, **settings: Any
) -> type[BaseHTTPRequestHandler]: ...
def webhook_callback(
    handler: Any, token: str | Token, options: WebhookOptions | None = None, **settings: Any
) -> asgi.WebhookApp | type[BaseHTTPRequestHandler]:
    """What hands updates to `handler(update, api)`: an application if that is `async def`, else a class of handlers.

    settings: those of `Exchange` (api, lane, on_timeout, reply_with, tls, trace).
    """
    options = evolve(options or WebhookOptions(), freezes=True)
    host: Any = asgi if common.is_asynchronous(handler) else http_server
    return host.webhook_callback(handler, token, options, **settings)  # type: ignore[no-any-return]
