"""aiohttp.web, on its own server."""

from __future__ import annotations

import sys

from aiohttp import web

from hookline_io.hosts.aiohttp import webhook_callback
from tests.hosts.bot import OPTIONS, SETTINGS, TOKEN, handler

hook = webhook_callback(handler, TOKEN, OPTIONS, **SETTINGS)
app = web.Application()
app.router.add_post("/telegram", hook.handle)
app.cleanup_ctx.append(hook.cleanup_ctx)

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), handler_cancellation=True)
