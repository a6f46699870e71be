"""Google Cloud Functions (Cloud Run functions), by functions-framework. With a handler that is `def`:

hook = webhook_callback(handler, TOKEN)

and with one that is `async def`:

webhook = webhook_callback(handler, TOKEN)

@functions_framework.aio.http
async def hook(request):
    return await webhook(request)

The process gets next to no CPU when it has answered (see `WebhookOptions.freezes`): a handler that goes on after its
time was up hardly moves until the next request comes, or is lost; Telegram sends its update again in any case. Google
starts as many processes as it needs, which know nothing of each other's runs: one with `--max-instances=1
--concurrency=80`. The function's timeout, 60 s at first, must be longer than `WebhookOptions.timeout`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, overload

import flask
from attrs import evolve
from starlette.requests import Request
from starlette.responses import Response

from hookline.botapi import Token
from hookline.http import body_bytes
from hookline.options import WebhookOptions
from hookline_io import asyncio, blocking, common
from hookline_io.hosts.asynchronous import AsyncWebhook, joined
from hookline_io.hosts.flask import read_body
from hookline_io.hosts.synchronous import SyncWebhook

Function: TypeAlias = "Callable[[flask.Request], flask.Response]"
AsyncFunction: TypeAlias = "Callable[[Request], Awaitable[Response]]"


@overload
def webhook_callback(
    handler: asyncio.Handler, token: str | Token, options: WebhookOptions | None = None, **settings: Any
) -> AsyncFunction: ...
@overload
def webhook_callback(
    handler: blocking.Handler, token: str | Token, options: WebhookOptions | None = None, **settings: Any
) -> Function: ...
def webhook_callback(
    handler: Any, token: str | Token, options: WebhookOptions | None = None, **settings: Any
) -> Function | AsyncFunction:
    """A function that hands updates to `handler(update, api)`; it is of the handler's colour.

    settings: those of `Exchange` (api, lane, on_timeout, reply_with, tls, trace).
    """
    options = evolve(options or WebhookOptions(), freezes=True)
    if common.is_asynchronous(handler):
        return _asynchronous(AsyncWebhook(handler, token, options, **settings))
    return _synchronous(SyncWebhook(handler, token, options, **settings))


def _synchronous(webhook: SyncWebhook) -> Function:
    def function(request: flask.Request) -> flask.Response:
        response = webhook.answer(request.method, request.path, request.headers.items(), read_body)
        return flask.Response(body_bytes(response.body), response.status, list(response.headers))

    return function


def _asynchronous(webhook: AsyncWebhook) -> AsyncFunction:
    async def function(request: Request) -> Response:
        response = await webhook.answer(
            request.method,
            request.url.path,
            request.headers.items(),
            lambda limit: joined(request.stream(), limit),
        )
        return Response(body_bytes(response.body), response.status, dict(response.headers))

    return function
