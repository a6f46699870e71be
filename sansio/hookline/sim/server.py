"""The simulated Telegram down to the bytes: `SimulatedTelegram` with HTTP/1.1 on both of its sides.

It has the facts and effects of `Bot`, so the same drivers run it: clients connect to it (`accepted`), and its webhooks
connect to endpoints (`Connect`).
"""

from __future__ import annotations

from urllib.parse import urlsplit

from attrs import define, evolve

from hookline.effects import Close, Connect, Effect, Ended, Respond
from hookline.http import Response
from hookline.http1 import Broken, ClientConnection, Complete
from hookline.options import HttpLimits
from hookline.pool import Numbers
from hookline.server import Asked, Gone, Requested, Server, ServerEffect
from hookline.sim.effects import CloseSlot, HangUp, Post, SimEffect
from hookline.sim.telegram import SimulatedTelegram

MAX_BODY = 67_108_864
MAX_RESPONSE = 67_108_864
LIMITS = HttpLimits(max_head=262_144, head_timeout=500.0, body_timeout=500.0, keep_alive=500.0)
"""The server's own (telegram-server.md, 0): a client's connection may idle for 500 s."""


@define
class Link:
    """A webhook's connection: its slot, and the post that it carries."""

    slot: int
    http: ClientConnection
    open: bool
    post: Post | None


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
        return [*effects, Ended()]

    def tick(self, now: float) -> list[Effect]:
        """Do what is due."""
        if self._over:
            return []
        return self._carry(self.telegram.tick(now), now) + self._clients(self._server.tick(now), now)

    def command(self, effects: list[SimEffect], now: float) -> list[Effect]:
        """Go on from a command that was given to `telegram`, by the effects that it returned."""
        return self._carry(effects, now)

    # Facts

    def accepted(self, connection: int, now: float) -> list[Effect]:
        """A client has connected."""
        if self._over:
            return [Close(connection)]
        return self._clients(self._server.accepted(connection, now), now)

    def connected(self, connection: int, now: float) -> list[Effect]:
        """A webhook's connection is open."""
        link = self._links.get(connection)
        if link is None or link.post is None:
            return [Close(connection)]
        link.open = True
        return link.http.request(link.post.request)

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
        effects: list[Effect] = []
        for event in link.http.received(data):
            if isinstance(event, Broken):
                return [*effects, *self._lost(connection, "Bad Request", now), Close(connection)]
            if isinstance(event, Complete) and link.post is not None:
                assert isinstance(event.message, Response)
                post, link.post = link.post, None
                response = event.message
                if not link.http.reusable:  # HTTP/1.0 says it without a header (4.1)
                    response = evolve(response, headers=(*response.headers, ("connection", "close")))
                effects += self._carry(self.telegram.posted(post.post, response, now), now)
        return effects

    def disconnected(self, connection: int, reason: str, now: float) -> list[Effect]:
        """A connection has gone."""
        if self._server.owns(connection):
            return self._clients(self._server.disconnected(connection, now), now)
        return self._lost(connection, None, now)

    def pulled(self, connection: int, data: bytes, now: float) -> list[Effect]:
        """The answer to `Pull`; nothing here asks for one."""
        return []

    def pull_failed(self, connection: int, reason: str, now: float) -> list[Effect]:
        """The answer to `Pull`; nothing here asks for one."""
        return []

    # How the parts are joined

    def _clients(self, effects: list[ServerEffect], now: float) -> list[Effect]:
        out: list[Effect] = []
        for effect in effects:
            if isinstance(effect, Requested):
                out += self._carry(self.telegram.requested(effect.request, effect.message, now), now)
            elif isinstance(effect, Gone):
                out += self._carry(self.telegram.disconnected(effect.request, now), now)
            elif not isinstance(effect, Asked):
                out.append(effect)
        return out

    def _carry(self, effects: list[SimEffect], now: float) -> list[Effect]:
        out: list[Effect] = []
        for effect in effects:
            if isinstance(effect, Respond):
                out += self._clients(self._server.respond(effect.request, effect.response, now), now)
            elif isinstance(effect, HangUp):
                out += self._clients(self._server.hang_up(effect.request, effect.part, now), now)
            elif isinstance(effect, Post):
                out += self._post(effect, now)
            elif isinstance(effect, CloseSlot):
                connection = self._slots.pop(effect.slot, None)
                if connection is not None:
                    del self._links[connection]
                    out.append(Close(connection))
            else:
                out.append(effect)
        return out

    def _post(self, post: Post, now: float) -> list[Effect]:
        connection = self._slots.get(post.slot)
        if connection is not None:
            link = self._links[connection]
            link.post = post
            return link.http.request(post.request)
        connection = self._numbers.new()
        self._slots[post.slot] = connection
        self._links[connection] = Link(post.slot, ClientConnection(connection, max_response=MAX_RESPONSE), False, post)
        parts = urlsplit(post.url)
        tls = parts.scheme == "https"
        return [Connect(connection, parts.hostname or "", parts.port or (443 if tls else 80), tls)]

    def _lost(self, connection: int, reason: str | None, now: float) -> list[Effect]:
        """A webhook's connection is gone; reason: what getWebhookInfo shows (a clean close shows nothing, 4.8)."""
        link = self._links.pop(connection, None)
        if link is None:
            return []
        self._slots.pop(link.slot, None)
        if link.post is not None:
            return self._carry(self.telegram.post_failed(link.post.post, reason, now), now)
        return self._carry(self.telegram.slot_lost(link.slot, now), now)
