"""Starlette, with a route."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.routing import Route

from hookline_io.hosts.starlette import webhook_callback
from tests.hosts.bot import OPTIONS, SETTINGS, TOKEN, handler

hook = webhook_callback(handler, TOKEN, OPTIONS, **SETTINGS)
app = Starlette(routes=[Route("/telegram", hook.handle, methods=["POST"])], lifespan=hook.lifespan)
