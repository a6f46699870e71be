"""Falcon on WSGI."""

from __future__ import annotations

import falcon

from hookline_io.hosts.falcon import webhook_callback
from tests.hosts.bot import OPTIONS, SETTINGS, TOKEN, blocking_handler

app = falcon.App()
app.add_route("/telegram", webhook_callback(blocking_handler, TOKEN, OPTIONS, **SETTINGS))
