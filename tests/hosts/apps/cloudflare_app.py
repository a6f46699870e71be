"""A Python Worker, in both styles."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from workers import WorkerEntrypoint

from hookline_io.hosts.cloudflare import webhook_callback
from tests.hosts.bot import OPTIONS, SETTINGS, handler

hook = webhook_callback(handler, lambda env: env.BOT_TOKEN, evolve(OPTIONS, path="/telegram"), **SETTINGS)


class Default(WorkerEntrypoint):  # type: ignore[misc]  # it is not installed where types are checked
    """The style of today."""

    async def fetch(self, request: Any) -> Any:
        """Answer a request."""
        return await hook(request, self.env)


async def on_fetch(request: Any, env: Any) -> Any:
    """The style of before."""
    return await hook(request, env)
