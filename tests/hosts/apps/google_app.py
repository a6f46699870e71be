"""Google Cloud Functions: a function with a handler that is a plain function."""

from __future__ import annotations

from attrs import evolve

from hookline_io.hosts.google_functions import webhook_callback
from tests.hosts.bot import OPTIONS, SETTINGS, TOKEN, blocking_handler

hook = webhook_callback(blocking_handler, TOKEN, evolve(OPTIONS, path="/telegram"), **SETTINGS)
