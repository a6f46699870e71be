"""Sanic, on its own server."""

from __future__ import annotations

import sys

from sanic import Sanic

from hookline_io.hosts.sanic import webhook_callback
from tests.hosts.bot import OPTIONS, SETTINGS, TOKEN, handler

hook = webhook_callback(handler, TOKEN, OPTIONS, **SETTINGS)
app = Sanic("bot")
app.add_route(hook.handle, "/telegram")
app.before_server_start(hook.start)
app.after_server_stop(hook.stop)

if __name__ == "__main__":
    app.run("127.0.0.1", int(sys.argv[1]), single_process=True)
