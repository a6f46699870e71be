"""Flask."""

from __future__ import annotations

from flask import Flask

from hookline_io.hosts.flask import webhook_callback
from tests.hosts.bot import OPTIONS, SETTINGS, TOKEN, blocking_handler

app = Flask(__name__)
app.post("/telegram")(webhook_callback(blocking_handler, TOKEN, OPTIONS, **SETTINGS))
