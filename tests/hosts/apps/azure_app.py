"""Azure Functions: a function with a handler that is a plain function."""

from __future__ import annotations

import azure.functions as func

from hookline_io.hosts.azure_functions import webhook_callback
from tests.hosts.bot import OPTIONS, SETTINGS, TOKEN, blocking_handler

app = func.FunctionApp()
webhook = webhook_callback(blocking_handler, TOKEN, OPTIONS, **SETTINGS)


@app.route("telegram", auth_level=func.AuthLevel.ANONYMOUS)
def telegram(req: func.HttpRequest) -> func.HttpResponse:
    """Answer Telegram's requests."""
    return webhook(req)
