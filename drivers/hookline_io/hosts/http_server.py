"""The standard library's server: a request handler.

ThreadingHTTPServer(("", 8080), webhook_callback(handler, TOKEN)).serve_forever()

The program ends at SIGTERM if it says so: `signal.signal(signal.SIGTERM, lambda *_: sys.exit())`; handlers then get
their grace time. The server sets no limit to how many clients it takes, and knows no chunked bodies: it belongs behind
a proxy.
"""

from __future__ import annotations

import atexit
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any

from hookline.botapi import Token
from hookline.http import body_bytes
from hookline.options import WebhookOptions
from hookline_io.hosts.synchronous import Handler, SyncWebhook

IDLE = 75.0
"""Seconds that a connection may be silent. Telegram closes its own after 60, and so is the first to."""

LAST_ANSWERS = 5.0
"""Seconds at most that the end of the process waits for answers to be written."""


def webhook_callback(
    handler: Handler, token: str | Token, options: WebhookOptions | None = None, **settings: Any
) -> type[BaseHTTPRequestHandler]:
    """A class of request handlers that hand updates to `handler(update, api)`, `def` or `async def`.

    settings: those of `Exchange` (api, lane, on_timeout, reply_with, tls, trace).
    """
    last_answers = _LastAnswers()
    atexit.register(last_answers.wait)  # before the webhook registers its own end, and so called after it
    webhook = SyncWebhook(handler, token, options, **settings)

    class RequestHandler(BaseHTTPRequestHandler):
        """Answers Telegram's requests."""

        protocol_version = "HTTP/1.1"
        timeout = IDLE
        wbufsize = -1  # an answer goes out in one piece

        def do_POST(self) -> None:
            """One request."""
            with last_answers:
                self._answer()
                self.wfile.flush()

        do_GET = do_POST  # noqa: N815

        def _answer(self) -> None:
            self._unread = True
            try:
                response = webhook.answer(self.command, self.path, self.headers.items(), self._read)
            except Exception:
                self.server.handle_error(self.request, self.client_address)  # raised, a timeout would seem a client's
                self.send_error(500)
                self.close_connection = True
                return
            self.send_response(response.status)
            for name, value in response.headers:
                self.send_header(name, value)
            if self._unread:  # the next request would not begin where this one's head ends
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body_bytes(response.body))

        def _read(self, limit: int) -> bytes:
            length = int(self.headers.get("Content-Length") or 0)
            self._unread = length > limit or "Transfer-Encoding" in self.headers
            return b"" if self._unread else self.rfile.read(length)

    return RequestHandler


class _LastAnswers:
    """Requests that are not answered yet. The server's threads are daemons, which the end of the process cuts off."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._requests = 0

    def __enter__(self) -> None:
        with self._changed:
            self._requests += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._requests -= 1
            self._changed.notify_all()

    def wait(self) -> None:
        """Wait until they are."""
        with self._changed:
            self._changed.wait_for(lambda: not self._requests, LAST_ANSWERS)
