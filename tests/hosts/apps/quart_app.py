"""Quart."""

from __future__ import annotations

from quart import Quart

from hookline_io.hosts.quart import webhook_callback
from tests.hosts.bot import OPTIONS, SETTINGS, TOKEN, handler

hook = webhook_callback(handler, TOKEN, OPTIONS, **SETTINGS)
app = Quart(__name__)
app.post("/telegram")(hook.handle)
app.before_serving(hook.start)
app.after_serving(hook.stop)
