"""Connections to the Bot API server: which carries which request, kept open and reused, at most so many.

`Pool` knows HTTP requests and responses, connections and how long they may idle; it knows no method of the Bot API.
The rule that keeps it right: a request whose connection died before any byte of an answer is sent once more, on a fresh
connection, unless its body can't be read again; nothing else is ever sent twice.
"""

from __future__ import annotations

from collections import deque
from typing import Final, TypeAlias

from attrs import define, frozen

from hookline.effects import Close, Connect, Effect
from hookline.http import Request, Response, StreamId
from hookline.http1 import Broken, ClientConnection, Complete, Piece
from hookline.outcomes import Unreachable
from hookline.states import StateTable
from hookline.timers import Timers

IDLE_TIMEOUT: Final = 30.0
"""An idle connection is closed after this; the cloud has been seen to close one at 39 s (telegram-server.md, 5.4)."""
CONNECT_TIMEOUT: Final = 15.0


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
    """Opened for the oldest request that waits."""


@frozen
class Ready:
    """Open, and no request on it."""


@frozen
class Busy:
    """It carries a request."""

    fetch: int


@frozen
class Closed:
    """Gone."""


State: TypeAlias = "Connecting | Ready | Busy | Closed"

TABLE = StateTable(
    "Pool",
    {Connecting: (Busy, Ready, Closed), Ready: (Busy, Closed), Busy: (Ready, Closed), Closed: ()},
)


@define
class Wanted:
    """A request on its way. tries: how often it was sent. streamed: its answer is handed on while it comes."""

    fetch: int
    request: Request
    streamed: bool
    urgent: bool
    tries: int = 0


@define
class Line:
    """One connection."""

    http: ClientConnection
    state: State


@define
class Numbers:
    """Hands out the numbers of connections: a pool's own and those that the program accepted, from one row."""

    last: int = 0

    def new(self) -> int:
        """A number not used before."""
        self.last += 1
        return self.last


class Pool:
    """Commands: `fetch`, `abandon`, `close`; facts: those of connections; the clock: `tick`.

    The contract is that of `Polling`. The deadlines of requests are their owner's: it abandons what is overdue.
    """

    def __init__(
        self, host: str, port: int, tls: bool, *, connections: int, max_response: int, numbers: Numbers | None = None
    ) -> None:
        self._numbers = numbers or Numbers()
        self._address = (host, port, tls)
        self._limit = connections
        self._max_response = max_response
        self._lines: dict[int, Line] = {}
        self._queue: deque[Wanted] = deque()
        self._wanted: dict[int, Wanted] = {}
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
        """Send a request. streamed: hand its answer on while it comes. urgent: do not wait for others to end."""
        wanted = Wanted(fetch, request, streamed, urgent)
        self._wanted[fetch] = wanted
        self._queue.append(wanted)
        return self._assign(now)

    def abandon(self, fetch: int, now: float) -> list[PoolEffect]:
        """Nobody waits for this answer any more. The connection that carries it cannot be used again."""
        wanted = self._wanted.pop(fetch, None)
        if wanted in self._queue and wanted is not None:
            self._queue.remove(wanted)
        for connection, line in self._lines.items():
            if isinstance(line.state, Busy) and line.state.fetch == fetch:
                return [*self._close(connection), *self._assign(now)]
        return []

    def connected(self, connection: int, now: float) -> list[PoolEffect]:
        """The connection is open."""
        line = self._lines.get(connection)
        if line is None or not isinstance(line.state, Connecting):
            return []
        line.state = TABLE.move(line.state, Ready())
        self._timers.set(connection, now + IDLE_TIMEOUT)
        return self._assign(now)

    def connect_failed(self, connection: int, reason: str, now: float) -> list[PoolEffect]:
        """The connection could not be opened: the oldest request that waits fails for it."""
        line = self._lines.get(connection)
        if line is None or not isinstance(line.state, Connecting):
            return []
        self._drop(connection)
        if not self._queue:
            return []
        wanted = self._queue.popleft()
        del self._wanted[wanted.fetch]
        host, port, _ = self._address
        failed = Answered(wanted.fetch, Unreachable(f"no connection to {host}:{port}: {reason}"))
        return [failed, *self._assign(now)]

    def received(self, connection: int, data: bytes, now: float) -> list[PoolEffect]:
        """Bytes have come."""
        line = self._lines.get(connection)
        if line is None:
            return []
        if not isinstance(line.state, Busy):
            return self._close(connection)  # an idle connection has nothing to say
        fetch = line.state.fetch
        effects: list[PoolEffect] = []
        for event in line.http.received(data):
            if isinstance(event, Piece):
                effects.append(Arrived(fetch, event.data))
            elif isinstance(event, Broken):
                effects += self._close(connection)
                effects += self._answer(fetch, Unreachable(event.reason))
            elif isinstance(event, Complete):
                assert isinstance(event.message, Response)
                if line.http.reusable and not line.http.sending:
                    line.state = TABLE.move(line.state, Ready())
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
        fetch = line.state.fetch
        # A body without a length ends with its connection.
        effects: list[PoolEffect] = []
        for event in line.http.received(b"") if line.http.answered else []:
            if isinstance(event, Piece):
                effects.append(Arrived(fetch, event.data))
            elif isinstance(event, Complete):
                assert isinstance(event.message, Response)
                self._drop(connection)
                return [*effects, *self._answer(fetch, event.message), *self._assign(now)]
        answered = line.http.answered
        self._drop(connection)
        wanted = self._wanted.get(fetch)
        if wanted is not None and not answered and wanted.tries < 2 and _can_resend(wanted.request):
            self._queue.appendleft(wanted)
            return [*effects, *self._assign(now, reuse=False)]
        what = "in the middle of its answer" if answered else "before any answer"
        gone = Unreachable(f"the connection was closed {what}: {reason}")
        return [*effects, *self._answer(fetch, gone), *self._assign(now)]

    def pulled(self, connection: int, data: bytes, now: float) -> list[PoolEffect]:
        """The answer to `Pull`."""
        line = self._lines.get(connection)
        return [*line.http.pulled(data)] if line is not None and isinstance(line.state, Busy) else []

    def pull_failed(self, connection: int, reason: str, now: float) -> list[PoolEffect]:
        """A file could not be read: its request cannot be sent to the end."""
        line = self._lines.get(connection)
        if line is None or not isinstance(line.state, Busy):
            return []
        fetch = line.state.fetch
        return [*self._close(connection), *self._answer(fetch, Unreachable(f"a file could not be read: {reason}"))]

    def close(self, now: float) -> list[PoolEffect]:
        """Close everything. Requests under way get no answer."""
        effects: list[PoolEffect] = []
        for connection in list(self._lines):
            effects += self._close(connection)
        self._queue.clear()
        self._wanted.clear()
        return effects

    def tick(self, now: float) -> list[PoolEffect]:
        """Do what is due. Early and repeated ticks do nothing."""
        effects: list[PoolEffect] = []
        for connection in self._timers.due(now):
            if isinstance(self._lines[connection].state, Connecting):
                late = self.connect_failed(connection, f"not opened within {CONNECT_TIMEOUT:g} s", now)
                effects += [Close(connection), *late]
            else:
                effects += self._close(connection)
        return effects

    def _assign(self, now: float, *, reuse: bool = True) -> list[PoolEffect]:
        """Give requests that wait the connections that are ready, and open new ones as far as there may be more."""
        effects: list[PoolEffect] = []
        for number, line in self._lines.items():
            if not self._queue or not reuse:
                break
            if isinstance(line.state, Ready):
                wanted = self._queue.popleft()
                wanted.tries += 1
                line.state = TABLE.move(line.state, Busy(wanted.fetch))
                self._timers.clear(number)
                effects += line.http.request(wanted.request, streamed=wanted.streamed)
        opening = sum(isinstance(line.state, Connecting) for line in self._lines.values())
        for wanted in list(self._queue)[opening:]:
            if len(self._lines) >= self._limit and not wanted.urgent:
                continue
            connection = self._numbers.new()
            http = ClientConnection(connection, max_response=self._max_response)
            self._lines[connection] = Line(http, Connecting())
            self._timers.set(connection, now + CONNECT_TIMEOUT)
            effects.append(Connect(connection, *self._address))
        return effects

    def _answer(self, fetch: int, response: Response | Unreachable) -> list[PoolEffect]:
        return [Answered(fetch, response)] if self._wanted.pop(fetch, None) is not None else []

    def _close(self, connection: int) -> list[PoolEffect]:
        self._drop(connection)
        return [Close(connection)]

    def _drop(self, connection: int) -> None:
        line = self._lines.pop(connection)
        line.state = TABLE.move(line.state, Closed())
        self._timers.clear(connection)


def _can_resend(request: Request) -> bool:
    return not any(isinstance(piece, StreamId) for piece in request.body)
