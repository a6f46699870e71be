"""Azure Functions: a coroutine function with a handler that is one."""

from __future__ import annotations

import azure.functions as func

from hookline_io.hosts.azure_functions import AsyncFunction, webhook_callback
from tests.hosts.bot import OPTIONS, SETTINGS, TOKEN, handler

app = func.FunctionApp()
webhook: AsyncFunction = webhook_callback(handler, TOKEN, OPTIONS, **SETTINGS)


@app.route("telegram", auth_level=func.AuthLevel.ANONYMOUS)
async def telegram(req: func.HttpRequest) -> func.HttpResponse:
    """Answer Telegram's requests."""
    return await webhook(req)
