"""Azure Functions: an application of ASGI."""

from __future__ import annotations

import azure.functions as func
from attrs import evolve

from hookline_io.hosts.asgi import webhook_callback
from tests.hosts.bot import OPTIONS, SETTINGS, TOKEN, handler

webhook = webhook_callback(handler, TOKEN, evolve(OPTIONS, path="/telegram", freezes=True), **SETTINGS)
app = func.AsgiFunctionApp(app=webhook, http_auth_level=func.AuthLevel.ANONYMOUS)
