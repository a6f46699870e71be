"""Litestar."""

from __future__ import annotations

from litestar import Litestar, post
from litestar.logging import LoggingConfig

from hookline_io.hosts.litestar import webhook_callback
from tests.hosts.bot import OPTIONS, SETTINGS, TOKEN, handler

hook = webhook_callback(handler, TOKEN, OPTIONS, **SETTINGS)
app = Litestar(
    [post("/telegram")(hook.handle)],
    lifespan=[hook.lifespan],
    logging_config=LoggingConfig(log_exceptions="always"),
)
