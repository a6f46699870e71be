"""Django: a view, without the check of CSRF tokens, which Telegram has none of.

urlpatterns = [path("telegram", webhook_callback(handler, TOKEN))]  # under WSGI

telegram = async_webhook_callback(handler, TOKEN)  # under ASGI
urlpatterns = [path("telegram", telegram)]
application = with_lifespan(get_asgi_application(), telegram.webhook)  # in asgi.py

Django tells nobody of its start or its end: it answers no lifespan, and its signals are of requests. The view for WSGI
begins with the first request and ends with the process (see `wsgi`, also on servers with threads). The view for ASGI
begins and ends with the server by `with_lifespan`. Without it, it begins with the first request, and its end is the
loop's: handlers that run on are then cut off, and Telegram sends their updates again.

DATA_UPLOAD_MAX_MEMORY_SIZE does not count here. Under WSGI Django takes no body that comes in chunks, without a length;
under ASGI it has the whole body before it calls a view: how large one may be is for the server in front to say.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from asgiref.sync import markcoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from hookline.botapi import Token
from hookline.http import Response, body_bytes
from hookline.options import WebhookOptions
from hookline_io import asyncio
from hookline_io.hosts.asgi import WebhookApp
from hookline_io.hosts.asynchronous import AsyncWebhook
from hookline_io.hosts.synchronous import Handler, SyncWebhook

View: TypeAlias = "Callable[[HttpRequest], HttpResponse]"
App: TypeAlias = "Callable[[Any, Any, Any], Awaitable[None]]"


def webhook_callback(
    handler: Handler, token: str | Token, options: WebhookOptions | None = None, **settings: Any
) -> View:
    """A view, for WSGI, that hands updates to `handler(update, api)`, `def` or `async def`.

    settings: those of `Exchange` (api, lane, on_timeout, reply_with, tls, trace).
    """
    webhook = SyncWebhook(handler, token, options, **settings)

    def telegram(request: HttpRequest) -> HttpResponse:
        def read(limit: int) -> bytes:
            data: bytes = request.read(limit + 1)
            return data

        return _response(webhook.answer(request.method, webhook.options.path, request.headers.items(), read))

    view: View = csrf_exempt(telegram)
    return view


class AsyncView:
    """A view, for ASGI. A client that goes is noticed, since Django cancels the view then.

    webhook: to be started and stopped, by `with_lifespan`.
    """

    csrf_exempt = True

    def __init__(self, webhook: AsyncWebhook) -> None:
        self.webhook = webhook
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        """One request."""

        async def read(limit: int) -> bytes:
            data: bytes = request.read(limit + 1)  # it is here already
            return data

        path = self.webhook.options.path
        return _response(await self.webhook.answer(request.method, path, request.headers.items(), read))


def async_webhook_callback(
    handler: asyncio.Handler, token: str | Token, options: WebhookOptions | None = None, **settings: Any
) -> AsyncView:
    """A view, for ASGI, that hands updates to `async def handler(update, api)`.

    settings: those of `Exchange` (url, api, lane, on_timeout, reply_with, tls, trace).
    """
    return AsyncView(AsyncWebhook(handler, token, options, **settings))


def with_lifespan(application: App, webhook: AsyncWebhook) -> App:
    """Django's ASGI application with a lifespan, which is the webhook's."""
    life = WebhookApp(webhook)

    async def with_life(scope: Any, receive: Any, send: Any) -> None:
        await (life if scope["type"] == "lifespan" else application)(scope, receive, send)

    return with_life


def _response(response: Response) -> HttpResponse:
    return HttpResponse(body_bytes(response.body), status=response.status, headers=dict(response.headers))
