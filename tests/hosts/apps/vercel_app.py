"""Vercel: a class of request handlers, with a handler that is a plain function."""

from __future__ import annotations

from attrs import evolve

from hookline_io.hosts.vercel import webhook_callback
from tests.hosts.bot import OPTIONS, SETTINGS, TOKEN, blocking_handler


class handler(  # noqa: N801 - as Vercel wants it
    webhook_callback(blocking_handler, TOKEN, evolve(OPTIONS, path="/telegram"), **SETTINGS)  # type: ignore[misc]
):
    """Answers Telegram's requests."""
