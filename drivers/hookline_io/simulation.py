"""Serves the simulated Telegram on loopback, by the asyncio driver: for `hookline sim`, the demo and tests."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from attrs import frozen

from hookline.effects import Effect
from hookline.sim import SimulatedServer, SimulatedTelegram
from hookline.sim.effects import SimEffect
from hookline_io import common
from hookline_io.asyncio import Run


@frozen
class Simulation:
    """A simulated Telegram that is being served. root: the address that bots take for the Bot API's."""

    telegram: SimulatedTelegram
    root: str
    _server: SimulatedServer
    _run: Run

    def tell(self, command: Callable[[float], list[SimEffect]]) -> None:
        """Give the simulation a command: a function of `now` that returns what the command returned."""

        def carry(now: float) -> list[Effect]:
            return self._server.command(command(now), now)

        self._run.tell(carry)

    def inject(self, bot_id: int, kind: str, payload: Any) -> int | None:
        """Make an update of a bot; its id."""
        made: list[int | None] = []

        def command(now: float) -> list[SimEffect]:
            update_id, effects = self.telegram.inject(bot_id, kind, payload, now)
            made.append(update_id)
            return effects

        self.tell(command)
        return made[0]

    def message(self, bot_id: int, text: str, *, user: int = 1, chat: int | None = None) -> int | None:
        """Let a user send a bot a message; the update's id."""
        payload = self.telegram.user_message(bot_id, text, self._run.loop.time(), user=user, chat=chat)
        return self.inject(bot_id, "message", payload)

    def button(self, bot_id: int, data: str, *, user: int = 1, chat: int | None = None) -> int | None:
        """Let a user press a button; the update's id."""
        payload = self.telegram.button_press(bot_id, data, self._run.loop.time(), user=user, chat=chat)
        return self.inject(bot_id, "callback_query", payload)


@contextlib.asynccontextmanager
async def serve_simulation(
    telegram: SimulatedTelegram | None = None,
    *,
    listen: tuple[str, int] = ("127.0.0.1", 0),
    certificate: tuple[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Simulation]:
    """Serve a simulated Telegram while the context lasts.

    listen: host and port; port 0 takes a free one. certificate: paths of a certificate and its key, to serve TLS.
    tls: to webhooks. Errors: OptionError if the address or the certificate can't be had.
    """
    # The loop's clock is the machine's; the epoch makes its dates those of the wall.
    epoch = int(time.time() - asyncio.get_running_loop().time())
    telegram = telegram or SimulatedTelegram(seed=common.seed(), epoch=epoch)
    server = SimulatedServer(telegram)
    server_tls = common.server_tls(*certificate) if certificate is not None else None
    run = Run(server, tls=tls)
    with common.listen(*listen) as sock:
        host, port = sock.getsockname()[:2]
        run.listen(sock, server_tls)
        try:
            yield Simulation(telegram, f"{'http' if server_tls is None else 'https'}://{host}:{port}", server, run)
        finally:
            run.hear(server.stop)
            await run.until_ended()
