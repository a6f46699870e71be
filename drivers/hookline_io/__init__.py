"""Drivers: everything of hookline that touches a socket, a clock, a file or a thread.

The names here are the asyncio driver's, the default; `hookline_io.trio` and `hookline_io.blocking` have them too.
"""

from __future__ import annotations

from hookline_io.asyncio import Api, Handler, run_polling, serve_webhook

__all__ = ["Api", "Handler", "run_polling", "serve_webhook"]
