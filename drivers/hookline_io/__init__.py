"""Drivers: everything of hookline that touches a socket, a clock, a file or a thread.

The names here are the asyncio driver's, the default; `hookline_io.trio` and `hookline_io.blocking` have them too. They
are loaded when they are asked for, so that who uses another driver does without asyncio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hookline_io.asyncio import Api, Exchange, Handler, run_polling, run_worker, serve_webhook

__all__ = ["Api", "Exchange", "Handler", "run_polling", "run_worker", "serve_webhook"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hookline_io import asyncio

    return getattr(asyncio, name)
