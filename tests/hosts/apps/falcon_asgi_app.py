"""Falcon on ASGI."""

from __future__ import annotations

import logging

import falcon.asgi

from hookline_io.hosts.falcon_asgi import webhook_callback
from tests.hosts.bot import OPTIONS, SETTINGS, TOKEN, handler

logging.basicConfig()  # Falcon 4.0 shows errors only where logging is set up
hook = webhook_callback(handler, TOKEN, OPTIONS, **SETTINGS)
app = falcon.asgi.App(middleware=[hook])
app.add_route("/telegram", hook)
