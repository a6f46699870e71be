"""The simulated Telegram down to the bytes: `SimulatedTelegram` with HTTP/1.1 on both of its sides.

It has the facts and effects of `Bot`, so the same drivers run it: clients connect to it (`accepted`), and its webhooks
connect to endpoints (`Connect`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from attrs import define, field

from hookline.effects import Close, Connect, Effect, Ended, Respond, Send
from hookline.http import body_bytes
from hookline.numbering import Numbers
from hookline.options import HttpLimits
from hookline.server import Asked, BrokenOff, Gone, Requested, Server, ServerEffect, WentOut
from hookline.sim.effects import CloseIdle, HangUp, OpenSlot, Post, SimEffect
from hookline.sim.reader import ResponseReader, Unreadable
from hookline.sim.sender import head_bytes
from hookline.sim.telegram import SimulatedTelegram

MAX_BODY: Final = 67_108_864
LIMITS: Final = HttpLimits(max_head=262_144, head_timeout=500.0, body_timeout=500.0, keep_alive=500.0)
"""The server's own (telegram-server.md, 0): a client's connection may idle for 500 s."""


@define
class Link:
    """A webhook's connection: its slot, and the post that it carries, or will once it is open."""

    slot: int
    open: bool = False
    post: Post | None = None
    reader: ResponseReader = field(factory=ResponseReader)


class SimulatedServer:
    """The machine that a driver serves; `telegram` is the simulation itself."""

    def __init__(self, telegram: SimulatedTelegram) -> None:
        self.telegram = telegram
        self._server = Server(LIMITS, max_body=MAX_BODY)
        self._numbers = Numbers()
        self._links: dict[int, Link] = {}
        self._slots: dict[int, int] = {}
        self._over = False

    @property
    def deadline(self) -> float | None:
        """The earliest time at which `tick` has something to do."""
        if self._over:
            return None
        times = (self.telegram.deadline, self._server.deadline)
        return min((time for time in times if time is not None), default=None)

    def new_connection(self) -> int:
        """A number for a connection that the program is about to tell as `accepted`."""
        return self._numbers.new()

    def start(self, now: float) -> list[Effect]:
        """Begin."""
        return []

    def stop(self, now: float) -> list[Effect]:
        """Close everything, at once."""
        if self._over:
            return []
        self._over = True
        effects = self._clients(self._server.close(now), now)
        effects += [Close(connection) for connection in self._links]
        self._links.clear()
        return [*effects, Ended()]

    def tick(self, now: float) -> list[Effect]:
        """Do what is due."""
        if self._over:
            return []
        return self._carry(self.telegram.tick(now), now) + self._clients(self._server.tick(now), now)

    def command(self, effects: list[SimEffect], now: float) -> list[Effect]:
        """Go on from a command that was given to `telegram`, by the effects that it returned."""
        return [] if self._over else self._carry(effects, now)

    # Facts

    def accepted(self, connection: int, now: float) -> list[Effect]:
        """A client has connected."""
        if self._over:
            return [Close(connection)]
        return self._clients(self._server.accepted(connection, now), now)

    def connected(self, connection: int, now: float) -> list[Effect]:
        """A webhook's connection is open."""
        link = self._links.get(connection)
        if link is None:
            return [Close(connection)]
        link.open = True
        return [] if link.post is None else self._write(connection, link.post, now)

    def connect_failed(self, connection: int, reason: str, now: float) -> list[Effect]:
        """A webhook's endpoint can't be reached."""
        return self._lost(connection, reason, now)

    def received(self, connection: int, data: bytes, now: float) -> list[Effect]:
        """Bytes have come; empty bytes say that the other side sends no more."""
        if self._server.owns(connection):
            return self._clients(self._server.received(connection, data, now), now)
        link = self._links.get(connection)
        if link is None:
            return []
        if not data:
            return [*self._lost(connection, None, now), Close(connection)]
        if link.post is None:  # an endpoint that speaks unasked
            return [*self._lost(connection, None, now), Close(connection)]
        answer = link.reader.received(data)
        if answer is None:
            return []
        if isinstance(answer, Unreadable):
            return [*self._lost(connection, answer.problem, now), Close(connection)]
        post, link.post = link.post, None
        return self._carry(self.telegram.posted(post.post, answer.response, answer.reason, now), now)

    def disconnected(self, connection: int, reason: str, now: float) -> list[Effect]:
        """A connection has broken."""
        if self._server.owns(connection):
            return self._clients(self._server.disconnected(connection, now), now)
        return self._lost(connection, reason, now)

    def pulled(self, connection: int, data: bytes, now: float) -> list[Effect]:
        """The answer to `Pull`; nothing here asks for one."""
        return []

    def pull_failed(self, connection: int, reason: str, now: float) -> list[Effect]:
        """The answer to `Pull`; nothing here asks for one."""
        return []

    # How the parts are joined

    def _clients(self, effects: list[ServerEffect], now: float) -> list[Effect]:
        """Go on from what happened on the clients' connections."""
        asked: deque[SimEffect] = deque()
        return self._ask(effects, asked, now) + self._carry(asked, now)

    def _ask(self, effects: list[ServerEffect], todo: deque[SimEffect], now: float) -> list[Effect]:
        """Tell the simulation what clients want; what it wants done for that is done after all that waits in `todo`."""
        out: list[Effect] = []
        for effect in effects:
            if isinstance(effect, Requested):
                todo += self.telegram.requested(effect.request, effect.message, now)
            elif isinstance(effect, Gone):
                todo += self.telegram.disconnected(effect.request, now)
            elif not isinstance(effect, (Asked, BrokenOff, WentOut)):
                out.append(effect)
        return out

    def _carry(self, effects: Iterable[SimEffect], now: float) -> list[Effect]:
        """Do what the simulation wants done."""
        out: list[Effect] = []
        todo = deque(effects)
        while todo:
            effect = todo.popleft()
            if isinstance(effect, Respond):
                out += self._ask(self._server.respond(effect.request, effect.response, now), todo, now)
            elif isinstance(effect, HangUp):
                out += self._ask(self._server.hang_up(effect.request, effect.part, now), todo, now)
            elif isinstance(effect, CloseIdle):
                out += self._ask(self._server.close_idle(now), todo, now)
            elif isinstance(effect, OpenSlot):
                connection = self._numbers.new()
                self._slots[effect.slot] = connection
                self._links[connection] = Link(effect.slot)
                host = effect.host.removeprefix("[").removesuffix("]")
                out.append(Connect(connection, host, effect.port, effect.tls))
            elif isinstance(effect, Post):
                connection = self._slots[effect.slot]
                self._links[connection].post = effect
                if self._links[connection].open:
                    out += self._write(connection, effect, now)
            else:
                connection = self._slots.pop(effect.slot)
                del self._links[connection]
                out.append(Close(connection))
        return out

    def _write(self, connection: int, post: Post, now: float) -> list[Effect]:
        # A driver does not say when the socket has taken what was sent; at most 520 KiB, it does so at once as a rule.
        data = head_bytes(post.request) + body_bytes(post.request.body)
        self.telegram.sent(post.post, now)
        return [Send(connection, data)]

    def _lost(self, connection: int, reason: str | None, now: float) -> list[Effect]:
        """A webhook's connection is gone; reason: what getWebhookInfo shows (a clean close shows nothing, 4.8)."""
        link = self._links.pop(connection, None)
        if link is None:
            return []
        self._slots.pop(link.slot, None)
        return self._carry(self.telegram.slot_lost(link.slot, reason, now), now)
