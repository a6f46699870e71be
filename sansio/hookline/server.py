"""The connections that clients opened to us: requests in, responses out, and nobody may dawdle.

`Server` knows HTTP framing (`http1`), limits and time; what a request means, its owner decides: it hands out
`Requested` when one has come whole, before that `Asked` if its head comes first, and is told `respond` for each. A
client has `head_timeout` for a whole head and `body_timeout` for a whole body, however it trickles, and `keep_alive`
before and between requests; of an answer that is read from files it must take each piece within `body_timeout`. While
it stops it still takes requests, so that its owner can say that the service ends (503), and closes the connection after
each.
"""

from __future__ import annotations

from typing import TypeAlias

from attrs import define, field, frozen

from hookline.effects import Close, Effect, Report, Send, Verdict
from hookline.errors import LocalProtocolError
from hookline.http import Request, Response
from hookline.http1 import Broken, Complete, Event, Head, ServerConnection
from hookline.numbering import Numbers
from hookline.options import HttpLimits
from hookline.states import StateTable
from hookline.timers import Timers


@frozen
class Asked:
    """The head of a request has come, its body has not. Whoever rejects it by that alone responds at once, and the body
    is not read.

    Whoever does not may say so by `proceed`: a client that asked whether to send its body is told to.
    """

    request: int
    message: Request


@frozen
class Requested:
    """A whole request has come; it is answered by `respond`. asked: its head came first, and was told as `Asked`."""

    request: int
    message: Request
    asked: bool


@frozen
class Gone:
    """The client of a request that was not answered has gone."""

    request: int


@frozen
class BrokenOff:
    """The answer to a request was begun and will never be whole: its client did not get it."""

    request: int


@frozen
class WentOut:
    """An answer that was read from files has gone out whole."""

    request: int


ServerEffect: TypeAlias = "Effect | Asked | Requested | Gone | BrokenOff | WentOut"


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
    request: int = 0  # the number of the one that came last, be it only its head


class Server:
    """Facts: `accepted`, `received`, `disconnected`, `pulled`, `pull_failed`; commands: `proceed`, `respond`,
    `hang_up`, `stop`, `close`; the clock: `tick`.

    The contract is that of `Webhook`.
    """

    def __init__(self, limits: HttpLimits | None = None, *, max_body: int, numbers: Numbers | None = None) -> None:
        self.limits = limits or HttpLimits()
        self._numbers = numbers or Numbers()
        self._max_body = max_body
        self._clients: dict[int, Client] = {}
        self._requests: dict[int, int] = {}  # the connection of each request that is not answered
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

    @property
    def sending(self) -> bool:
        """Whether an answer that is read from a file is still going out."""
        return any(client.http.sending for client in self._clients.values())

    def owns(self, connection: int) -> bool:
        """Whether the connection is one of these."""
        return connection in self._clients

    def awaits(self, request: int) -> bool:
        """Whether the request was not answered yet, and its client is there."""
        return request in self._requests

    def accepted(self, connection: int, now: float) -> list[ServerEffect]:
        """A client has connected."""
        if connection in self._clients:
            raise LocalProtocolError(f"connection {connection} was told as accepted before")
        if len(self._clients) >= self.limits.connections:
            text = f"a connection was closed at once: {len(self._clients)} are open already"
            return [Report(Verdict.PEER_MISBEHAVED, text), Close(connection)]
        http = ServerConnection(connection, max_head=self.limits.max_head, max_body=self._max_body)
        self._clients[connection] = Client(http)
        # Telegram opens one ahead, and sends nothing before it has an update (telegram-server.md, 4.1).
        self._timers.set(connection, now + self.limits.keep_alive)
        return []

    def received(self, connection: int, data: bytes, now: float) -> list[ServerEffect]:
        """Bytes have come; empty bytes say that the client sends no more."""
        client = self._clients.get(connection)
        if client is None:
            return []
        was_idle = isinstance(client.state, Reading) and client.http.idle
        if not data and was_idle:
            return self._close(connection)
        events = client.http.received(data)
        if was_idle and not events:
            self._timers.set(connection, now + self.limits.head_timeout)
        return self._heard(connection, client, events, now)

    def disconnected(self, connection: int, now: float) -> list[ServerEffect]:
        """The client has gone."""
        client = self._clients.get(connection)
        if client is None:
            return []
        waiting = isinstance(client.state, Answering) and client.request in self._requests
        if client.http.sending:
            return self._break_off(connection, client)
        self._drop(connection)
        return [Gone(client.request)] if waiting else []

    def proceed(self, request: int, now: float) -> list[ServerEffect]:
        """The body of a request is wanted: tells a client that waits for that word (100 Continue)."""
        connection = self._requests.get(request)
        if connection is None:
            return []
        interim = self._clients[connection].http.expects_continue()
        return [Send(connection, interim)] if interim else []

    def respond(self, request: int, response: Response, now: float, *, close: bool = False) -> list[ServerEffect]:
        """Answer a request, and close its connection then, if so told. One whose client has gone is ignored."""
        connection = self._requests.pop(request, None)
        if connection is None:
            return []
        client = self._clients[connection]
        if isinstance(client.state, Reading):  # rejected by its head
            client.state = TABLE.move(client.state, Answering(request))
        self._timers.clear(connection)
        effects = client.http.respond(response, close=close or self._stopping)
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
        if client is None or not client.http.sending:
            return []
        effects: list[ServerEffect] = [*client.http.pulled(data)]
        if not client.http.sending:
            effects += [*client.http.after_response(), WentOut(client.request)]
        return self._sent(connection, client, effects, now)

    def pull_failed(self, connection: int, reason: str, now: float) -> list[ServerEffect]:
        """A file that an answer carries could not be read."""
        client = self._clients.get(connection)
        if client is None or not client.http.sending:
            return []
        text = f"an answer was broken off: a file could not be read: {reason}"
        return [Report(Verdict.UNREACHABLE, text), *self._break_off(connection, client), Close(connection)]

    def stop(self, now: float) -> list[ServerEffect]:
        """Close what is idle; the others, and those that are yet to come, are closed when they are answered."""
        self._stopping = True
        return self.close_idle(now)

    def close_idle(self, now: float) -> list[ServerEffect]:
        """Close the connections that carry no request."""
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
        return effects

    def tick(self, now: float) -> list[ServerEffect]:
        """Do what is due. Early and repeated ticks do nothing."""
        effects: list[ServerEffect] = []
        for connection in self._timers.due(now):
            client = self._clients[connection]
            if client.http.idle:
                effects += self._close(connection)
            elif client.http.sending:
                text = f"an answer was broken off: its client did not take a piece in {self.limits.body_timeout:g} s"
                report = Report(Verdict.PEER_MISBEHAVED, text)
                effects += [report, *self._break_off(connection, client), Close(connection)]
            else:
                effects += self._reject(connection, client, Broken("it was not sent whole in time", 408), now)
        return effects

    def _heard(self, connection: int, client: Client, events: list[Event], now: float) -> list[ServerEffect]:
        effects: list[ServerEffect] = []
        for event in events:
            if isinstance(event, Broken):
                effects += self._reject(connection, client, event, now)
                continue
            asked = client.request in self._requests
            if not asked:
                client.request = self._numbers.new()
                self._requests[client.request] = connection
            if isinstance(event, Head):
                self._timers.set(connection, now + self.limits.body_timeout)
                effects.append(Asked(client.request, event.message))
            else:
                assert isinstance(event, Complete)
                assert isinstance(event.message, Request)
                client.state = TABLE.move(client.state, Answering(client.request))
                self._timers.clear(connection)
                effects.append(Requested(client.request, event.message, asked))
        return effects

    def _reject(self, connection: int, client: Client, broken: Broken, now: float) -> list[ServerEffect]:
        """Answer what is no proper request as well as that can be done, and close."""
        if not isinstance(client.state, Reading):  # its answer is not ready, or goes out just now
            report = Report(Verdict.PEER_MISBEHAVED, f"a connection was closed before its answer: {broken.reason}")
            return [report, *self.disconnected(connection, now), Close(connection)]
        report = Report(Verdict.REQUEST_REJECTED, f"a request was answered {broken.status}: {broken.reason}")
        said = [] if client.http.ended else [report]  # who leaves within a request is hardly there to be answered
        nothing = Response(broken.status, (("content-length", "0"),))
        answer = [effect for effect in client.http.respond(nothing, close=True) if not isinstance(effect, Close)]
        return [*said, *answer, *self._close(connection)]

    def _sent(self, connection: int, client: Client, effects: list[ServerEffect], now: float) -> list[ServerEffect]:
        """After a response, or a part of it, has been given out."""
        if any(isinstance(effect, Close) for effect in effects):
            self._drop(connection)
        elif client.http.sending:
            self._timers.set(connection, now + self.limits.body_timeout)
        else:
            client.state = TABLE.move(client.state, Reading())
            if self._stopping:
                return [*effects, *self._close(connection)]
            wait = self.limits.keep_alive if client.http.idle else self.limits.head_timeout
            self._timers.set(connection, now + wait)
            effects += self._heard(connection, client, client.http.next_events(), now)
        return effects

    def _break_off(self, connection: int, client: Client) -> list[ServerEffect]:
        self._drop(connection)
        return [BrokenOff(client.request)]

    def _close(self, connection: int) -> list[ServerEffect]:
        self._drop(connection)
        return [Close(connection)]

    def _drop(self, connection: int) -> None:
        client = self._clients.pop(connection)
        client.state = TABLE.move(client.state, Closed())
        self._timers.clear(connection)
        if client.request:
            self._requests.pop(client.request, None)
