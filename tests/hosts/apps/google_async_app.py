"""Google Cloud Functions: a coroutine function with a handler that is one."""

from __future__ import annotations

import functions_framework.aio
from attrs import evolve
from starlette.requests import Request
from starlette.responses import Response

from hookline_io.hosts.google_functions import AsyncFunction, webhook_callback
from tests.hosts.bot import OPTIONS, SETTINGS, TOKEN, handler

webhook: AsyncFunction = webhook_callback(handler, TOKEN, evolve(OPTIONS, path="/telegram"), **SETTINGS)


@functions_framework.aio.http
async def hook(request: Request) -> Response:
    """Answer Telegram's requests."""
    return await webhook(request)
