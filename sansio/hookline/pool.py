"""Connections to the Bot API server: which carries which request, kept open and reused, at most so many.

`Pool` knows HTTP requests and responses, connections and how long they may idle; it knows no method of the Bot API.
The rule that keeps it right: a request whose connection died before any byte of an answer is sent once more, on a fresh
connection, unless its body can't be read again; nothing else is ever sent twice. At most so many requests are under way
at once, not counting urgent ones, which go before all others.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import chain, islice
from typing import Final, TypeAlias

from attrs import define, frozen

from hookline.effects import Close, Connect, Effect
from hookline.errors import LocalProtocolError
from hookline.http import Request, Response, StreamId
from hookline.http1 import Broken, ClientConnection, Complete, Piece
from hookline.numbering import Numbers
from hookline.outcomes import Unreachable
from hookline.states import StateTable
from hookline.timers import Timers

IDLE_TIMEOUT: Final = 30.0
"""An idle connection is closed after this; the cloud has been seen to close one at 39 s (telegram-server.md, 5.4)."""
CONNECT_TIMEOUT: Final = 15.0
STALL_TIMEOUT: Final = 60.0
"""How long an answer that is handed on while it comes may bring nothing; it may take as long as it likes in all."""


@frozen
class Answered:
    """The answer to a request, or why there is none."""

    fetch: int
    response: Response | Unreachable


@frozen
class Arrived:
    """The next bytes of an answer that is handed on while it comes."""

    fetch: int
    data: bytes


PoolEffect: TypeAlias = "Effect | Answered | Arrived"


@frozen
class Connecting:
    """Opened for a request that waits: the first that may go when it is open."""


@frozen
class Ready:
    """Open, and no request on it. used: whether it carried one before, so that it may be dead without our knowing."""

    used: bool


@frozen
class Busy:
    """It carries a request. urgent: one that does not count against the limit."""

    fetch: int
    urgent: bool


@frozen
class Closed:
    """Gone."""


State: TypeAlias = "Connecting | Ready | Busy | Closed"

TABLE = StateTable(
    "Pool",
    {Connecting: (Ready, Closed), Ready: (Busy, Closed), Busy: (Ready, Closed), Closed: ()},
)


@define(eq=False)
class Wanted:
    """A request on its way. streamed: its answer is handed on while it comes. tries: how often it was sent.

    connection: what carries it; None while it waits.
    """

    fetch: int
    request: Request
    streamed: bool
    urgent: bool
    tries: int = 0
    connection: int | None = None


@define
class Line:
    """One connection."""

    http: ClientConnection
    state: State


class Pool:
    """Commands: `fetch`, `abandon`, `close`; facts: those of connections; the clock: `tick`.

    The contract is that of `Polling`. The deadlines of requests are their owner's: it abandons what is overdue. Only of
    an answer that is handed on while it comes, each piece has its time here.
    """

    def __init__(
        self, host: str, port: int, tls: bool, *, connections: int, max_response: int, numbers: Numbers | None = None
    ) -> None:
        self._numbers = numbers or Numbers()
        self._address = (host, port, tls)
        self._limit = connections
        self._max_response = max_response
        self._lines: dict[int, Line] = {}
        self._opening = 0  # how many are being opened
        self._ready: dict[int, Ready] = {}  # the one that was used last is the last
        self._under_way = 0  # how many carry a request that is not urgent
        self._wanted: dict[int, Wanted] = {}
        self._urgent: OrderedDict[int, Wanted] = OrderedDict()  # those that wait, in the order in which they go:
        self._others: OrderedDict[int, Wanted] = OrderedDict()  # first the urgent ones, then these
        self._timers = Timers()

    @property
    def deadline(self) -> float | None:
        """The earliest time at which `tick` has something to do."""
        return self._timers.next

    def owns(self, connection: int) -> bool:
        """Whether the connection is one of this pool's."""
        return connection in self._lines

    def fetch(
        self, fetch: int, request: Request, now: float, *, streamed: bool = False, urgent: bool = False
    ) -> list[PoolEffect]:
        """Send a request. streamed: hand its answer on while it comes. urgent: do not wait for others to end.

        Errors: LocalProtocolError for a number that is in use.
        """
        if fetch in self._wanted:
            raise LocalProtocolError(f"fetch {fetch} is under way already")
        # What is due comes first: no request goes by a connection that has idled too long, as while a host was frozen.
        effects = self.tick(now)
        wanted = Wanted(fetch, request, streamed, urgent)
        self._wanted[fetch] = wanted
        self._queue(wanted)[fetch] = wanted
        return effects + self._assign(now)

    def abandon(self, fetch: int, now: float) -> list[PoolEffect]:
        """Nobody waits for this answer any more. The connection that carries it cannot be used again."""
        wanted = self._wanted.pop(fetch, None)
        if wanted is None:
            return []
        if wanted.connection is not None:
            return [*self._close(wanted.connection), *self._assign(now)]
        del self._queue(wanted)[fetch]
        return self._assign(now)

    def connected(self, connection: int, now: float) -> list[PoolEffect]:
        """The connection is open."""
        line = self._lines.get(connection)
        if line is None or not isinstance(line.state, Connecting):
            return []
        self._go(connection, Ready(used=False))
        self._timers.set(connection, now + IDLE_TIMEOUT)
        return self._assign(now)

    def connect_failed(self, connection: int, reason: str, now: float) -> list[PoolEffect]:
        """The connection could not be opened: the first request that waits for one fails for it."""
        line = self._lines.get(connection)
        if line is None or not isinstance(line.state, Connecting):
            return []
        self._drop(connection)
        if self._going <= self._opening:
            return []  # those that are being opened are enough
        fetch, _ = (self._urgent or self._others).popitem(last=False)
        host, port, _ = self._address
        failed = self._answer(fetch, Unreachable(f"no connection to {host}:{port}: {reason}"))
        return [*failed, *self._assign(now)]

    def received(self, connection: int, data: bytes, now: float) -> list[PoolEffect]:
        """Bytes have come; empty bytes say that the server sends no more."""
        line = self._lines.get(connection)
        if line is None:
            return []
        if not data:
            return [Close(connection), *self.disconnected(connection, "closed by the server", now)]
        if not isinstance(line.state, Busy):
            return [*self._close(connection), *self._assign(now)]  # it has nothing to say
        fetch = line.state.fetch
        effects: list[PoolEffect] = []
        if self._wanted[fetch].streamed:
            self._timers.set(connection, now + STALL_TIMEOUT)
        for event in line.http.received(data):
            if isinstance(event, Piece):
                effects.append(Arrived(fetch, event.data))
            elif isinstance(event, Broken):
                effects += self._close(connection)
                effects += self._answer(fetch, Unreachable(event.reason))
            elif isinstance(event, Complete):
                assert isinstance(event.message, Response)
                if line.http.reusable:
                    self._go(connection, Ready(used=True))
                    self._timers.set(connection, now + IDLE_TIMEOUT)
                else:
                    effects += self._close(connection)
                effects += self._answer(fetch, event.message)
        return effects + self._assign(now)

    def disconnected(self, connection: int, reason: str, now: float) -> list[PoolEffect]:
        """The connection has gone."""
        line = self._lines.get(connection)
        if line is None:
            return []
        if not isinstance(line.state, Busy):
            if isinstance(line.state, Connecting):
                return self.connect_failed(connection, reason, now)
            self._drop(connection)
            return []
        fetch, answered = line.state.fetch, line.http.answered
        events = line.http.received(b"") if answered else []
        self._drop(connection)
        for event in events:
            if isinstance(event, Complete):  # a body without a length ends with its connection
                assert isinstance(event.message, Response)
                return [*self._answer(fetch, event.message), *self._assign(now)]
        wanted = self._wanted[fetch]
        if not answered and wanted.tries < 2 and _can_resend(wanted.request):
            wanted.connection = None
            self._queue(wanted)[fetch] = wanted
            self._queue(wanted).move_to_end(fetch, last=False)
            return self._assign(now)
        what = "in the middle of its answer" if answered else "before any answer"
        gone = Unreachable(f"the connection was closed {what}: {reason}")
        return [*self._answer(fetch, gone), *self._assign(now)]

    def pulled(self, connection: int, data: bytes, now: float) -> list[PoolEffect]:
        """The answer to `Pull`."""
        line = self._lines.get(connection)
        return [*line.http.pulled(data)] if line is not None and isinstance(line.state, Busy) else []

    def pull_failed(self, connection: int, reason: str, now: float) -> list[PoolEffect]:
        """A file could not be read: its request cannot be sent to the end."""
        line = self._lines.get(connection)
        if line is None or not isinstance(line.state, Busy) or not line.http.sending:
            return []
        fetch = line.state.fetch
        failed = self._answer(fetch, Unreachable(f"a file could not be read: {reason}"))
        return [*self._close(connection), *failed, *self._assign(now)]

    def close(self, now: float) -> list[PoolEffect]:
        """Close everything. Requests under way get no answer."""
        effects: list[PoolEffect] = []
        for connection in list(self._lines):
            effects += self._close(connection)
        self._urgent.clear()
        self._others.clear()
        self._wanted.clear()
        return effects

    def tick(self, now: float) -> list[PoolEffect]:
        """Do what is due. Early and repeated ticks do nothing."""
        effects: list[PoolEffect] = []
        late: list[int] = []
        for connection in self._timers.due(now):
            if isinstance(self._lines[connection].state, Ready):
                effects += self._close(connection)
            else:
                late.append(connection)
        # Only when all that idled too long are closed: the request behind one that fails may go by any that is idle.
        for connection in late:
            state = self._lines[connection].state
            if isinstance(state, Busy):
                stalled = Unreachable(f"nothing of its answer came for {STALL_TIMEOUT:g} s")
                effects += [*self._close(connection), *self._answer(state.fetch, stalled), *self._assign(now)]
            else:
                effects.append(Close(connection))
                effects += self.connect_failed(connection, f"not opened within {CONNECT_TIMEOUT:g} s", now)
        return effects

    def _assign(self, now: float) -> list[PoolEffect]:
        """Give requests that wait the connections that are ready, and open new ones as far as there may be more."""
        effects: list[PoolEffect] = []
        if not (self._urgent or self._others):
            return effects
        while (match := self._match()) is not None:
            wanted, connection = match
            del self._queue(wanted)[wanted.fetch]
            wanted.tries += 1
            wanted.connection = connection
            self._go(connection, Busy(wanted.fetch, wanted.urgent))
            if wanted.streamed:
                self._timers.set(connection, now + STALL_TIMEOUT)
            else:
                self._timers.clear(connection)
            effects += self._lines[connection].http.request(wanted.request, streamed=wanted.streamed)
        while self._opening < self._going:
            connection = self._numbers.new()
            http = ClientConnection(connection, max_response=self._max_response)
            self._lines[connection] = Line(http, Connecting())
            self._opening += 1
            self._timers.set(connection, now + CONNECT_TIMEOUT)
            effects.append(Connect(connection, *self._address))
        return effects

    def _queue(self, wanted: Wanted) -> OrderedDict[int, Wanted]:
        return self._urgent if wanted.urgent else self._others

    @property
    def _free(self) -> int:
        """How many more requests that are not urgent may be under way."""
        return self._limit - self._under_way

    @property
    def _going(self) -> int:
        """How many of those that wait may go now: the urgent ones, and the first others."""
        return len(self._urgent) + min(len(self._others), self._free)

    def _match(self) -> tuple[Wanted, int] | None:
        """The first that may go now and can, and by what. One that is sent once more goes by one that no other used."""
        if self._ready:
            for wanted in chain(self._urgent.values(), islice(self._others.values(), self._free)):
                for connection, ready in reversed(self._ready.items()):
                    if not (wanted.tries and ready.used):
                        return wanted, connection
        return None

    def _answer(self, fetch: int, response: Response | Unreachable) -> list[PoolEffect]:
        return [Answered(fetch, response)] if self._wanted.pop(fetch, None) is not None else []

    def _close(self, connection: int) -> list[PoolEffect]:
        self._drop(connection)
        return [Close(connection)]

    def _drop(self, connection: int) -> None:
        self._go(connection, Closed())
        del self._lines[connection]
        self._timers.clear(connection)

    def _go(self, connection: int, state: State) -> None:
        """The one place that changes the state of a connection, and what is counted by it."""
        line = self._lines[connection]
        old, line.state = line.state, TABLE.move(line.state, state)
        if isinstance(old, Connecting):
            self._opening -= 1
        elif isinstance(old, Ready):
            del self._ready[connection]
        else:
            assert isinstance(old, Busy)
            self._under_way -= not old.urgent
        if isinstance(state, Ready):
            self._ready[connection] = state
        elif isinstance(state, Busy):
            self._under_way += not state.urgent


def _can_resend(request: Request) -> bool:
    return not any(isinstance(piece, StreamId) for piece in request.body)
