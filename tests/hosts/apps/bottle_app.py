"""Bottle."""

from __future__ import annotations

from bottle import Bottle

from hookline_io.hosts.bottle import webhook_callback
from tests.hosts.bot import OPTIONS, SETTINGS, TOKEN, blocking_handler

app = Bottle()
app.post("/telegram", callback=webhook_callback(blocking_handler, TOKEN, OPTIONS, **SETTINGS))
