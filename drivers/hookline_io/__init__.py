"""Drivers: everything of hookline that touches a socket, a clock, a file or a thread.

The names here are those of the asyncio driver, the default; `hookline_io.trio` and `hookline_io.blocking` have the same.
"""

from __future__ import annotations

from hookline_io.asyncio import Api, Handler, run_polling, serve_webhook

__all__ = ["Api", "Handler", "run_polling", "serve_webhook"]
