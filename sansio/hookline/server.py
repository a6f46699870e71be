"""The connections that clients opened to us: requests in, responses out, and nobody may dawdle.

`Server` knows HTTP framing (`http1`), limits and time; what a request means, its owner decides: it hands out `Asked`
when a head has come and `Requested` when the whole has, and is told `respond` for each. A client has `head_timeout` for
a whole head and `body_timeout` for a whole body, however it trickles, and `keep_alive` between requests.
"""

from __future__ import annotations

from typing import TypeAlias

from attrs import define, field, frozen

from hookline.effects import Close, Effect, Report, Send, Verdict
from hookline.errors import LocalProtocolError
from hookline.http import Request, Response
from hookline.http1 import Broken, Complete, Event, Head, ServerConnection
from hookline.options import HttpLimits
from hookline.states import StateTable
from hookline.timers import Timers


@frozen
class Asked:
    """The head of a request has come. Whoever rejects it by that alone responds at once, and the body is not read."""

    request: int
    message: Request


@frozen
class Requested:
    """A whole request has come; it is answered by `respond`."""

    request: int
    message: Request


@frozen
class Gone:
    """The client of a request that was not answered has gone."""

    request: int


ServerEffect: TypeAlias = "Effect | Asked | Requested | Gone"


@frozen
class Reading:
    """Between requests, or while one comes in."""


@frozen
class Answering:
    """A request waits for its answer, or the answer goes out."""

    request: int


@frozen
class Closed:
    """Gone, or about to."""


State: TypeAlias = "Reading | Answering | Closed"

TABLE = StateTable("Server", {Reading: (Answering, Closed), Answering: (Reading, Closed), Closed: ()})


@define
class Client:
    """One connection."""

    http: ServerConnection
    state: State = field(factory=Reading)
    asked: int = 0  # the number of the request whose head came last


class Server:
    """Facts: `accepted`, `received`, `disconnected`, `pulled`, `pull_failed`; commands: `respond`, `stop`; `tick`.

    The contract is that of `Webhook`.
    """

    def __init__(self, limits: HttpLimits | None = None, *, max_body: int) -> None:
        self.limits = limits or HttpLimits()
        self._max_body = max_body
        self._clients: dict[int, Client] = {}
        self._requests: dict[int, int] = {}  # the connection of each request that is not answered
        self._next_request = 1
        self._timers = Timers()
        self._stopping = False

    @property
    def deadline(self) -> float | None:
        """The earliest time at which `tick` has something to do."""
        return self._timers.next

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._clients)

    def owns(self, connection: int) -> bool:
        """Whether the connection is one of these."""
        return connection in self._clients

    def accepted(self, connection: int, now: float) -> list[ServerEffect]:
        """A client has connected."""
        if connection in self._clients:
            raise LocalProtocolError(f"connection {connection} was told as accepted before")
        if self._stopping or len(self._clients) >= self.limits.connections:
            why = "the bot stops" if self._stopping else f"{len(self._clients)} are open already"
            return [Report(Verdict.PEER_MISBEHAVED, f"a connection was closed at once: {why}"), Close(connection)]
        http = ServerConnection(connection, max_head=self.limits.max_head, max_body=self._max_body)
        self._clients[connection] = Client(http)
        self._timers.set(connection, now + self.limits.head_timeout)
        return []

    def received(self, connection: int, data: bytes, now: float) -> list[ServerEffect]:
        """Bytes have come; empty bytes say that the client sends no more."""
        client = self._clients.get(connection)
        if client is None:
            return []
        was_idle = isinstance(client.state, Reading) and client.http.idle
        if not data and was_idle:
            return self._close(connection)
        effects: list[ServerEffect] = []
        if was_idle:
            self._timers.set(connection, now + self.limits.head_timeout)
        effects += self._heard(connection, client, client.http.received(data), now)
        if not data and connection in self._clients and isinstance(client.state, Reading):
            effects += self._close(connection)
        return effects

    def disconnected(self, connection: int, now: float) -> list[ServerEffect]:
        """The client has gone."""
        client = self._clients.get(connection)
        if client is None:
            return []
        waiting = isinstance(client.state, Answering) and client.asked in self._requests
        self._drop(connection)
        return [Gone(client.asked)] if waiting else []

    def respond(self, request: int, response: Response, now: float) -> list[ServerEffect]:
        """Answer a request. One whose client has gone is ignored."""
        connection = self._requests.pop(request, None)
        if connection is None:
            return []
        client = self._clients[connection]
        if isinstance(client.state, Reading):  # rejected by its head
            client.state = TABLE.move(client.state, Answering(request))
        self._timers.clear(connection)
        effects = client.http.respond(response, close=self._stopping)
        return self._sent(connection, client, [*effects], now)

    def hang_up(self, request: int, part: bytes, now: float) -> list[ServerEffect]:
        """Close the connection of a request after `part` of an answer, or after nothing."""
        connection = self._requests.get(request)
        if connection is None:
            return []
        sent: list[ServerEffect] = [Send(connection, part)] if part else []
        return [*sent, *self._close(connection)]

    def pulled(self, connection: int, data: bytes, now: float) -> list[ServerEffect]:
        """The answer to `Pull`."""
        client = self._clients.get(connection)
        if client is None:
            return []
        effects = client.http.pulled(data)
        if not client.http.sending:
            effects += client.http.after_response()
        return self._sent(connection, client, [*effects], now)

    def pull_failed(self, connection: int, reason: str, now: float) -> list[ServerEffect]:
        """A file that an answer carries could not be read: the answer breaks off, and counts as none."""
        if connection not in self._clients:
            return []
        text = f"an answer was broken off: a file could not be read: {reason}"
        return [Report(Verdict.UNREACHABLE, text), *self._close(connection)]

    def stop(self, now: float) -> list[ServerEffect]:
        """Close what is idle; the others are closed when they are answered."""
        self._stopping = True
        effects: list[ServerEffect] = []
        for connection, client in list(self._clients.items()):
            if isinstance(client.state, Reading) and not client.http.reading_body:
                effects += self._close(connection)
        return effects

    def close(self, now: float) -> list[ServerEffect]:
        """Close all that is left."""
        effects: list[ServerEffect] = []
        for connection in list(self._clients):
            effects += self._close(connection)
        self._requests.clear()
        return effects

    def tick(self, now: float) -> list[ServerEffect]:
        """Do what is due. Early and repeated ticks do nothing."""
        effects: list[ServerEffect] = []
        for connection in self._timers.due(now):
            client = self._clients[connection]
            if client.http.idle:
                effects += self._close(connection)
            else:
                effects += self._reject(connection, client, Broken("it was not sent whole in time", 408))
        return effects

    def _heard(self, connection: int, client: Client, events: list[Event], now: float) -> list[ServerEffect]:
        effects: list[ServerEffect] = []
        for event in events:
            if isinstance(event, Head):
                assert isinstance(event.message, Request)
                client.asked = self._next_request
                self._next_request += 1
                self._requests[client.asked] = connection
                self._timers.set(connection, now + self.limits.body_timeout)
                effects.append(Asked(client.asked, event.message))
                interim = client.http.expects_continue()
                if interim:
                    effects.append(Send(connection, interim))
            elif isinstance(event, Complete):
                assert isinstance(event.message, Request)
                client.state = TABLE.move(client.state, Answering(client.asked))
                self._timers.clear(connection)
                effects.append(Requested(client.asked, event.message))
            elif isinstance(event, Broken):
                effects += self._reject(connection, client, event)
        return effects

    def _reject(self, connection: int, client: Client, broken: Broken) -> list[ServerEffect]:
        """Answer what is no proper request as well as that can be done, and close."""
        effects: list[ServerEffect] = [
            Report(Verdict.REQUEST_REJECTED, f"a request was answered {broken.status}: {broken.reason}")
        ]
        self._requests.pop(client.asked, None)
        if isinstance(client.state, Reading):
            nothing = Response(broken.status, (("content-length", "0"),))
            effects += [effect for effect in client.http.respond(nothing, close=True) if not isinstance(effect, Close)]
        else:
            effects.append(Gone(client.asked))
        return [*effects, *self._close(connection)]

    def _sent(self, connection: int, client: Client, effects: list[ServerEffect], now: float) -> list[ServerEffect]:
        """After a response, or a part of it, has been given out."""
        if any(isinstance(effect, Close) for effect in effects):
            self._drop(connection)
        elif not client.http.sending and isinstance(client.state, Answering):
            client.state = TABLE.move(client.state, Reading())
            if self._stopping:
                return [*effects, *self._close(connection)]
            self._timers.set(connection, now + self.limits.keep_alive)
            effects += self._heard(connection, client, client.http.next_events(), now)
        return effects

    def _close(self, connection: int) -> list[ServerEffect]:
        self._drop(connection)
        return [Close(connection)]

    def _drop(self, connection: int) -> None:
        client = self._clients.pop(connection)
        client.state = TABLE.move(client.state, Closed())
        self._timers.clear(connection)
        if client.asked:
            self._requests.pop(client.asked, None)
