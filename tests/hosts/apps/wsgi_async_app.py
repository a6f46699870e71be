"""Plain WSGI, with a handler that is a coroutine function."""

from __future__ import annotations

from attrs import evolve

from hookline_io.hosts.wsgi import webhook_callback
from tests.hosts.bot import OPTIONS, SETTINGS, TOKEN, handler

app = webhook_callback(handler, TOKEN, evolve(OPTIONS, path="/telegram"), **SETTINGS)
