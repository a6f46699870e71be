"""Plain WSGI, with a handler that is a plain function."""

from __future__ import annotations

from attrs import evolve

from hookline_io.hosts.wsgi import webhook_callback
from tests.hosts.bot import OPTIONS, SETTINGS, TOKEN, blocking_handler

app = webhook_callback(blocking_handler, TOKEN, evolve(OPTIONS, path="/telegram"), **SETTINGS)
