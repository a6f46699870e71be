"""Azure Functions, by the programming model v2. The function is of the handler's colour, `def` or `async def`:

webhook = webhook_callback(handler, TOKEN)

@app.route("telegram", auth_level=func.AuthLevel.ANONYMOUS)
async def telegram(req: func.HttpRequest) -> func.HttpResponse:
    return await webhook(req)

`asgi` with WebhookOptions(path="/api/telegram", freezes=True) runs in an AsgiFunctionApp. With another `auth_level`
the webhook's address needs `?code=` and a key of the function.

Azure waits for invocations before it takes a process away, and for nothing else (see `WebhookOptions.freezes`): a
handler that goes on after its time was up may be lost, and Telegram sends its update again. It starts as many processes
as it needs, which know nothing of each other's runs: one with a scale-out limit of 1 instance and
FUNCTIONS_WORKER_PROCESS_COUNT=1, as it is at first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, overload

from attrs import evolve
from azure.functions import HttpRequest, HttpResponse

from hookline import http
from hookline.botapi import Token
from hookline.options import WebhookOptions
from hookline_io import asyncio, blocking, common
from hookline_io.hosts.asynchronous import AsyncWebhook
from hookline_io.hosts.synchronous import SyncWebhook

Function: TypeAlias = "Callable[[HttpRequest], HttpResponse]"
AsyncFunction: TypeAlias = "Callable[[HttpRequest], Awaitable[HttpResponse]]"


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
    def function(req: HttpRequest) -> HttpResponse:
        path = webhook.options.path
        return _given(webhook.answer(req.method, path, req.headers.items(), lambda limit: req.get_body()))

    return function


def _asynchronous(webhook: AsyncWebhook) -> AsyncFunction:
    async def function(req: HttpRequest) -> HttpResponse:
        async def read(limit: int) -> bytes:
            return req.get_body()

        return _given(await webhook.answer(req.method, webhook.options.path, req.headers.items(), read))

    return function


def _given(response: http.Response) -> HttpResponse:
    return HttpResponse(http.body_bytes(response.body), status_code=response.status, headers=dict(response.headers))
