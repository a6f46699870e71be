"""The standard library's server: `python -m tests.hosts.apps.http_server_app PORT`."""

from __future__ import annotations

import signal
import sys
from http.server import ThreadingHTTPServer

from attrs import evolve

from hookline_io.hosts.http_server import webhook_callback
from tests.hosts.bot import OPTIONS, SETTINGS, TOKEN, blocking_handler

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    hook = webhook_callback(blocking_handler, TOKEN, evolve(OPTIONS, path="/telegram"), **SETTINGS)
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), hook).serve_forever()
