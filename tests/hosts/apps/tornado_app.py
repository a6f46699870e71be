"""Tornado, on its own server."""

from __future__ import annotations

import asyncio
import signal
import sys

from tornado.web import Application

from hookline_io.hosts.tornado import webhook_callback
from tests.hosts.bot import OPTIONS, SETTINGS, TOKEN, handler

Hook = webhook_callback(handler, TOKEN, OPTIONS, **SETTINGS)


async def main(port: int) -> None:
    """Serve until SIGTERM."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    server = Application([("/telegram", Hook)], xsrf_cookies=True).listen(port, "127.0.0.1")
    async with Hook.webhook.lifespan():
        await stopped.wait()
        server.stop()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
