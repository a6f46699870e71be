"""BlackSheep."""

from __future__ import annotations

from blacksheep import Application

from hookline_io.hosts.blacksheep import webhook_callback
from tests.hosts.bot import OPTIONS, SETTINGS, TOKEN, handler

hook = webhook_callback(handler, TOKEN, OPTIONS, **SETTINGS)
app = Application()
app.router.add_post("/telegram", hook.handle)
app.lifespan(hook.lifespan)  # type: ignore[no-untyped-call]
