"""Connections to the Bot API server: which request goes over which, what is sent once more, and what nothing waits for.

`Net` is a pool and the network under it: the test says what happens on each connection. It checks every effect: nothing
is sent over a connection that is not open or that carries another request, nothing is sent twice that may not be, each
request is answered once, there are never more connections than may be, and no request waits without need. It goes on
with a copy of the pool after each input, which must do the same as the pool itself.
"""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import PurePath
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hookline.effects import Close, Connect, Pull, Send
from hookline.errors import LocalProtocolError
from hookline.http import Body, Request, Response, StreamId, body_bytes
from hookline.numbering import Numbers
from hookline.outcomes import Unreachable
from hookline.pool import (
    CONNECT_TIMEOUT,
    IDLE_TIMEOUT,
    STALL_TIMEOUT,
    TABLE,
    Answered,
    Arrived,
    Pool,
    PoolEffect,
)

FILE = (PurePath("photo.jpg"),)
STREAM = (b"head", StreamId(1))
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"
WITHOUT_LENGTH = b"HTTP/1.1 200 OK\r\n\r\n"
TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n"


def ok(body: bytes = b"ok", *headers: bytes) -> bytes:
    return b"".join(
        [
            b"HTTP/1.1 200 OK\r\n",
            *(header + b"\r\n" for header in headers),
            b"Content-Length: %d\r\n\r\n" % len(body),
            body,
        ]
    )


def message(fetch: int, body: Body = ()) -> Request:
    """A request whose target tells which fetch it is."""
    size = sum(len(piece) for piece in body if isinstance(piece, bytes))
    whole = all(isinstance(piece, bytes) for piece in body)
    framing = ("content-length", str(size)) if whole else ("transfer-encoding", "chunked")
    return Request("POST", f"/{fetch}", (("host", "telegram"), framing), body)


class Net:
    """A pool of at most so many connections, and what became of it."""

    def __init__(self, connections: int = 2, *, max_response: int = 1_000) -> None:
        self.pool = Pool("telegram", 443, True, connections=connections, max_response=max_response)
        self.limit = connections
        self.now = 1_000.0
        self.inputs = 0
        self.opening: list[int] = []
        self.open: list[int] = []
        self.carries: dict[int, int] = {}
        """Connection -> the fetch on it."""
        self.used: set[int] = set()
        """Connections that carried a request once."""
        self.spoke: set[int] = set()
        """Connections by which some byte of the present answer has come."""
        self.pending: dict[int, Request] = {}
        """Fetches that are neither answered nor abandoned."""
        self.streamed: set[int] = set()
        self.urgent: set[int] = set()
        self.tries: dict[int, int] = {}
        self.may_go_again: set[int] = set()
        self.most_urgent = 0
        """How many urgent fetches there were at once, at most."""
        self.pulls: dict[int, Pull] = {}
        self.answers: dict[int, Response | Unreachable] = {}
        self.pieces: dict[int, bytes] = {}

    # What goes in

    def tell(self, method: str, *args: Any, **kwargs: Any) -> list[PoolEffect]:
        """Tell the pool something, and a copy of it the same; the copy goes on. Copied and pickled in turn."""
        self.inputs += 1
        twin = copy.deepcopy(self.pool) if self.inputs % 2 else pickle.loads(pickle.dumps(self.pool))
        effects: list[PoolEffect] = getattr(self.pool, method)(*args, self.now, **kwargs)
        assert getattr(twin, method)(*args, self.now, **kwargs) == effects
        assert twin.deadline == self.pool.deadline
        self.pool = twin
        for effect in effects:
            self.see(effect)
        self.check()
        return effects

    def fetch(self, fetch: int, *, body: Body = (), streamed: bool = False, urgent: bool = False) -> list[PoolEffect]:
        """Commands and facts, as the pool takes them; `now` is the net's."""
        self.pending[fetch] = message(fetch, body)
        self.answers.pop(fetch, None)
        self.tries[fetch] = 0
        if streamed:
            self.streamed.add(fetch)
        if urgent:
            self.urgent.add(fetch)
        self.most_urgent = max(self.most_urgent, len(self.urgent))
        return self.tell("fetch", fetch, self.pending[fetch], streamed=streamed, urgent=urgent)

    def abandon(self, fetch: int) -> list[PoolEffect]:
        self.forget(fetch)
        return self.tell("abandon", fetch)

    def connected(self, connection: int) -> list[PoolEffect]:
        self.opening.remove(connection)
        self.open.append(connection)
        return self.tell("connected", connection)

    def refused(self, connection: int, reason: str = "Connection refused") -> list[PoolEffect]:
        self.opening.remove(connection)
        return self.tell("connect_failed", connection, reason)

    def received(self, connection: int, data: bytes) -> list[PoolEffect]:
        if data:
            self.spoke.add(connection)
            return self.tell("received", connection, data)
        fetch = self.die(connection)
        effects = self.tell("received", connection, data)
        assert Close(connection) in effects
        assert fetch is None or fetch in self.pending
        return effects

    def gone(self, connection: int, reason: str = "reset") -> list[PoolEffect]:
        fetch = self.die(connection)
        self.drop(connection)
        effects = self.tell("disconnected", connection, reason)
        assert fetch is None or fetch in self.pending
        return effects

    def pulled(self, connection: int, data: bytes) -> list[PoolEffect]:
        self.pulls.pop(connection, None)
        return self.tell("pulled", connection, data)

    def pull_failed(self, connection: int, reason: str = "no such file") -> list[PoolEffect]:
        self.pulls.pop(connection, None)
        return self.tell("pull_failed", connection, reason)

    def close(self) -> list[PoolEffect]:
        for fetch in list(self.pending):
            self.forget(fetch)
        return self.tell("close")

    def wait(self, seconds: float) -> list[PoolEffect]:
        """Let time go by."""
        effects: list[PoolEffect] = []
        until = self.now + seconds
        while (deadline := self.pool.deadline) is not None and deadline <= until:
            self.now = (self.now + deadline) / 2
            assert self.tell("tick") == [], "an early tick does nothing"
            effects += self.late(deadline)
        self.now = until
        return effects

    def late(self, now: float) -> list[PoolEffect]:
        """A tick at `now`, by when several deadlines may have gone by."""
        self.now = now
        effects = self.tell("tick")
        assert self.tell("tick") == [], "a repeated tick does nothing"
        assert self.pool.deadline is None or self.pool.deadline > now
        return effects

    def begin(self, fetch: int, **kwargs: bool | Body) -> int:
        """Fetch, and open a connection for it if one is opened; the connection that carries it."""
        self.fetch(fetch, **kwargs)  # type: ignore[arg-type]
        if self.connection_of(fetch) is None:
            self.connected(self.opening[0])
        connection = self.connection_of(fetch)
        assert connection is not None
        return connection

    # What came out

    def connection_of(self, fetch: int) -> int | None:
        """What carries a fetch now."""
        return next((connection for connection, carried in self.carries.items() if carried == fetch), None)

    @property
    def waiting(self) -> list[int]:
        """The fetches that no connection carries."""
        return [fetch for fetch in self.pending if fetch not in self.carries.values()]

    def see(self, effect: PoolEffect) -> None:
        if isinstance(effect, Connect):
            assert (effect.host, effect.port, effect.tls) == ("telegram", 443, True)
            assert effect.connection not in self.opening + self.open
            assert effect.connection not in self.used
            self.opening.append(effect.connection)
        elif isinstance(effect, Send):
            assert effect.connection in self.open
            begins = re.match(rb"POST /(\d+) HTTP/1.1\r\n", effect.data)
            if begins is not None:
                self.see_request(effect.connection, int(begins[1]))
            assert effect.connection in self.carries
        elif isinstance(effect, Pull):
            assert effect.connection in self.carries
            assert effect.connection not in self.pulls
            self.pulls[effect.connection] = effect
        elif isinstance(effect, Close):
            assert effect.connection in self.opening + self.open
            self.drop(effect.connection)
        elif isinstance(effect, Arrived):
            assert effect.fetch in self.carries.values() or effect.fetch in self.pending
            self.pieces[effect.fetch] = self.pieces.get(effect.fetch, b"") + effect.data
        else:
            assert isinstance(effect, Answered)
            assert effect.fetch in self.pending, "each is answered once, and not after it was abandoned"
            self.answers[effect.fetch] = effect.response
            self.forget(effect.fetch)

    def see_request(self, connection: int, fetch: int) -> None:
        assert fetch in self.pending
        assert connection not in self.carries, "one request at a time"
        assert fetch not in self.carries.values()
        if self.tries[fetch]:
            assert fetch in self.may_go_again
            assert connection not in self.used, "what is sent once more goes over a fresh connection"
        self.may_go_again.discard(fetch)
        self.tries[fetch] += 1
        self.carries[connection] = fetch
        self.used.add(connection)
        self.spoke.discard(connection)

    def die(self, connection: int) -> int | None:
        """The fetch that is to be sent once more when this connection dies now."""
        fetch = self.carries.get(connection)
        if fetch is None or connection in self.spoke or self.tries[fetch] > 1:
            return None
        if any(isinstance(piece, StreamId) for piece in self.pending[fetch].body):
            return None
        self.may_go_again.add(fetch)
        return fetch

    def drop(self, connection: int) -> None:
        for connections in (self.opening, self.open):
            if connection in connections:
                connections.remove(connection)
        self.carries.pop(connection, None)
        self.pulls.pop(connection, None)

    def forget(self, fetch: int) -> None:
        self.pending.pop(fetch, None)
        self.urgent.discard(fetch)
        connection = self.connection_of(fetch)
        if connection is not None:
            del self.carries[connection]

    def check(self) -> None:
        """What holds after each input."""
        assert len(self.opening) + len(self.open) <= self.limit + self.most_urgent
        ordinary = [fetch for fetch in self.carries.values() if fetch not in self.urgent]
        assert len(ordinary) <= self.limit
        for connection in self.opening + self.open:
            assert self.pool.owns(connection)
        # Whatever may go now has a connection that is being opened, and could not go by one that is there.
        urgent = [fetch for fetch in self.waiting if fetch in self.urgent]
        others = [fetch for fetch in self.waiting if fetch not in self.urgent]
        free = min(self.limit - len(ordinary), len(others))
        assert len(self.opening) >= len(urgent) + free
        idle = [connection for connection in self.open if connection not in self.carries]
        if urgent or free:
            assert all(connection in self.used for connection in idle)
        again = [fetch for fetch in self.waiting if self.tries[fetch]]
        if idle and len(again) < len(urgent) + free:
            raise AssertionError(f"{self.waiting} wait although {idle} are idle")


# Which connection


def test_a_request_opens_a_connection_and_goes_when_it_is_open() -> None:
    pool = Pool("telegram", 8081, False, connections=2, max_response=1_000)
    assert pool.fetch(7, message(7, (b"{}",)), 0.0) == [Connect(1, "telegram", 8081, False)]
    (send,) = pool.connected(1, 1.0)
    assert isinstance(send, Send)
    assert send.data == b"POST /7 HTTP/1.1\r\nhost: telegram\r\ncontent-length: 2\r\n\r\n{}"
    assert pool.received(1, ok(b"hi"), 2.0) == [Answered(7, Response(200, (("content-length", "2"),), (b"hi",)))]


def test_a_connection_is_used_again() -> None:
    net = Net()
    first = net.begin(1)
    net.received(first, ok())
    (send,) = net.fetch(2)
    assert isinstance(send, Send)
    assert send.connection == first
    net.received(first, NOT_FOUND)
    assert net.begin(3) == first


def test_requests_at_once_have_a_connection_each() -> None:
    net = Net(3)
    assert len({net.begin(fetch) for fetch in (1, 2, 3)}) == 3


def test_what_the_limit_does_not_let_go_waits_for_the_first_that_ends() -> None:
    net = Net(2)
    first, second = net.begin(1), net.begin(2)
    assert net.fetch(3) == net.fetch(4) == []
    net.received(second, ok())
    assert net.connection_of(3) == second
    net.received(first, ok())
    assert net.connection_of(4) == first


def test_requests_go_in_their_order() -> None:
    net = Net(1)
    connection = net.begin(0)
    for fetch in range(1, 20):
        net.fetch(fetch)
    for fetch in range(20):
        assert net.carries == {connection: fetch}
        net.received(connection, ok())


def test_a_request_takes_the_connection_that_is_free_first_and_not_the_one_opened_for_it() -> None:
    net = Net(2)
    first = net.begin(1)
    net.fetch(2)
    net.received(first, ok())
    assert net.connection_of(2) == first
    assert net.fetch(3) == [], "and the next one takes that"
    net.connected(net.opening[0])
    assert net.connection_of(3) == 2


def test_no_more_connections_are_opened_than_requests_wait() -> None:
    net = Net(5)
    net.fetch(1)
    net.abandon(1)
    assert net.fetch(2) == []
    assert len(net.opening) == 1


def test_the_numbers_of_connections_come_from_the_row_that_was_given() -> None:
    numbers = Numbers()
    pool = Pool("telegram", 443, True, connections=2, max_response=1_000, numbers=numbers)
    assert numbers.new() == 1
    assert pool.fetch(1, message(1), 0.0) == [Connect(2, "telegram", 443, True)]
    assert numbers.new() == 3
    assert (pool.owns(2), pool.owns(1), pool.owns(3)) == (True, False, False)
    assert [numbers.gave(number) for number in (-1, 0, 1, 3, 4)] == [False, False, True, True, False]


# Urgent requests


def test_an_urgent_request_does_not_wait_for_the_others() -> None:
    net = Net(1)
    net.begin(1)
    net.fetch(2)
    assert [type(effect) for effect in net.fetch(3, urgent=True)] == [Connect]
    net.connected(net.opening[0])
    assert net.connection_of(3) is not None
    assert net.waiting == [2]


def test_an_urgent_request_goes_before_all_that_wait() -> None:
    net = Net(2)
    net.fetch(1)
    net.fetch(2)
    net.fetch(3, urgent=True)
    net.connected(net.opening[0])
    assert list(net.carries.values()) == [3]


def test_urgent_requests_go_in_their_order() -> None:
    net = Net(1)
    net.fetch(1, urgent=True)
    net.fetch(2, urgent=True)
    net.connected(net.opening[0])
    assert list(net.carries.values()) == [1]


def test_an_urgent_request_goes_before_one_that_is_sent_once_more() -> None:
    net = Net(2)
    dying = net.begin(1)
    net.gone(dying)
    net.fetch(2, urgent=True)
    net.connected(net.opening[0])
    assert list(net.carries.values()) == [2]
    net.connected(net.opening[0])
    assert sorted(net.carries.values()) == [1, 2]


def test_an_urgent_request_waits_behind_one_that_was_urgent_before_and_is_sent_once_more() -> None:
    net = Net(1)
    dying = net.begin(1, urgent=True)
    net.fetch(2, urgent=True)
    net.gone(dying)
    net.connected(net.opening[0])
    assert list(net.carries.values()) == [1]


def test_urgent_requests_do_not_count_against_the_limit() -> None:
    net = Net(2)
    for fetch in (1, 2, 3):
        net.begin(fetch, urgent=True)
    net.begin(4)
    net.begin(5)
    assert net.fetch(6) == []
    net.received(net.connection_of(1) or 0, ok())
    assert net.waiting == [6], "an urgent one that ends leaves no room for others"
    net.received(net.connection_of(4) or 0, ok())
    assert net.waiting == []


# Time


def test_an_idle_connection_is_closed_after_a_while() -> None:
    net = Net()
    connection = net.begin(1)
    assert net.pool.deadline is None, "how long an answer takes is its owner's business"
    net.received(connection, ok())
    assert net.pool.deadline == net.now + IDLE_TIMEOUT
    assert net.wait(IDLE_TIMEOUT - 0.1) == []
    assert net.wait(0.1) == [Close(connection)]
    assert net.pool.deadline is None
    assert not net.pool.owns(connection)


def test_a_connection_that_nobody_came_to_use_is_closed_after_a_while() -> None:
    net = Net()
    net.fetch(1)
    net.abandon(1)
    net.connected(1)
    assert net.wait(IDLE_TIMEOUT) == [Close(1)]


def test_each_use_gives_an_idle_connection_its_time_anew() -> None:
    net = Net()
    connection = net.begin(1)
    net.received(connection, ok())
    net.wait(20.0)
    assert net.begin(2) == connection
    assert net.pool.deadline is None
    net.wait(20.0)
    net.received(connection, ok())
    assert net.pool.deadline == net.now + IDLE_TIMEOUT


def test_a_connection_that_does_not_open_in_time_is_closed_and_its_request_fails() -> None:
    net = Net()
    net.fetch(1)
    assert net.pool.deadline == net.now + CONNECT_TIMEOUT
    effects = net.wait(CONNECT_TIMEOUT)
    reason = "no connection to telegram:443: not opened within 15 s"
    assert effects == [Close(1), Answered(1, Unreachable(reason))]
    assert net.pool.deadline is None
    assert net.pool.connected(1, net.now) == [], "it opens too late"


def test_a_connection_has_all_its_time_though_its_request_was_abandoned() -> None:
    net = Net()
    net.fetch(1)
    net.wait(14.0)
    net.abandon(1)
    net.fetch(2)
    assert net.wait(1.0)[0] == Close(1)
    assert isinstance(net.answers[2], Unreachable)


def test_a_late_tick_gives_no_request_a_connection_that_it_closes() -> None:
    """The request that waits behind one which fails may take any idle connection, but not one whose time is up."""
    net = Net(1)
    spare = net.begin(1, urgent=True)
    dying = net.begin(2)
    net.fetch(3)
    net.gone(dying)  # 2 waits for a fresh connection, 3 for 2
    net.received(spare, ok())
    effects = net.late(net.now + 60.0)
    assert [effect.connection for effect in effects if isinstance(effect, Close)] == [spare, 3]
    assert isinstance(net.answers[2], Unreachable)
    assert net.waiting == [3]
    net.connected(net.opening[0])
    assert net.waiting == []


def test_a_request_does_not_go_by_a_connection_that_idled_too_long_though_no_tick_has_closed_it_yet() -> None:
    """A process that was frozen meanwhile hears of the request first, and the connection may lead nowhere by then."""
    net = Net()
    stale = net.begin(1)
    net.received(stale, ok())
    net.now += IDLE_TIMEOUT
    fresh = net.begin(2)
    assert fresh != stale
    assert not net.pool.owns(stale)


# Once more


def test_a_request_whose_connection_died_before_any_answer_is_sent_once_more_over_a_fresh_one() -> None:
    net = Net()
    dead = net.begin(1, body=(b"{}",))
    assert [type(effect) for effect in net.gone(dead)] == [Connect]
    (send,) = net.connected(net.opening[0])
    assert isinstance(send, Send)
    assert send.data.endswith(b"\r\n\r\n{}")
    net.received(send.connection, ok(b"hi"))
    assert net.answers[1] == Response(200, (("content-length", "2"),), (b"hi",))


def test_a_connection_that_another_request_used_is_not_fresh() -> None:
    """It may be as dead as the one before: both idled for as long."""
    net = Net()
    first, second = net.begin(1), net.begin(2)
    net.received(first, ok())
    net.received(second, ok())
    net.fetch(3)
    carrying = net.connection_of(3)
    assert carrying is not None
    assert [type(effect) for effect in net.gone(carrying)] == [Connect]
    assert net.waiting == [3]


def test_a_connection_that_no_request_used_is_fresh() -> None:
    net = Net()
    dead = net.begin(1)
    net.fetch(2)
    net.abandon(2)
    unused = net.opening[0]
    net.connected(unused)
    net.gone(dead)
    assert net.connection_of(1) == unused


def test_others_use_what_one_that_is_sent_once_more_may_not() -> None:
    net = Net(2)
    dying, other = net.begin(1), net.begin(2)
    net.fetch(3)
    net.gone(dying)
    net.received(other, ok())
    assert net.connection_of(3) == other
    assert net.waiting == [1]


def test_one_that_is_sent_once_more_goes_before_those_that_wait() -> None:
    net = Net(1)
    dying = net.begin(1)
    net.fetch(2)
    net.gone(dying)
    net.connected(net.opening[0])
    assert list(net.carries.values()) == [1]


def test_nothing_is_sent_a_third_time() -> None:
    net = Net()
    net.gone(net.begin(1))
    net.connected(net.opening[0])
    assert net.gone(net.open[0], "reset by peer") == [
        Answered(1, Unreachable("the connection was closed before any answer: reset by peer"))
    ]


@pytest.mark.parametrize("end", ["received", "gone"])
def test_an_end_of_the_servers_before_any_answer_counts_as_dead_too(end: str) -> None:
    net = Net()
    connection = net.begin(1)
    effects = net.received(connection, b"") if end == "received" else net.gone(connection)
    assert isinstance(effects[-1], Connect)


@pytest.mark.parametrize("part", [b"H", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", ok()[:-1]])
def test_a_request_whose_answer_had_begun_is_not_sent_again(part: bytes) -> None:
    net = Net()
    connection = net.begin(1)
    net.received(connection, part)
    assert net.gone(connection, "reset") == [
        Answered(1, Unreachable("the connection was closed in the middle of its answer: reset"))
    ]


def test_a_request_with_a_stream_is_not_sent_again() -> None:
    net = Net()
    (answered,) = net.gone(net.begin(1, body=STREAM))
    assert isinstance(answered, Answered)
    assert net.tries[1] == 1


def test_a_request_with_a_file_is_sent_once_more_and_the_file_read_anew() -> None:
    net = Net()
    dead = net.begin(1, body=FILE)
    net.pulled(dead, b"piece")
    net.gone(dead)
    send, pull = net.connected(net.opening[0])
    assert isinstance(send, Send)
    assert isinstance(pull, Pull)
    assert (pull.connection, pull.source) == (send.connection, FILE[0])
    assert net.pool.pulled(dead, b"late", net.now) == []


def test_a_request_that_is_sent_once_more_fails_if_no_fresh_connection_opens() -> None:
    net = Net()
    net.gone(net.begin(1))
    net.refused(net.opening[0])
    assert net.answers[1] == Unreachable("no connection to telegram:443: Connection refused")


# Abandon


def test_abandon_closes_what_carries_the_request_and_the_next_one_goes() -> None:
    net = Net(1)
    connection = net.begin(1)
    net.fetch(2)
    close, connect = net.abandon(1)
    assert close == Close(connection)
    assert isinstance(connect, Connect)
    net.connected(connect.connection)
    assert list(net.carries.values()) == [2]


def test_what_comes_for_an_abandoned_request_is_ignored() -> None:
    net = Net()
    connection = net.begin(1)
    net.abandon(1)
    assert net.pool.received(connection, ok(), net.now) == []
    assert net.pool.disconnected(connection, "closed", net.now) == []
    assert net.pool.abandon(1, net.now) == []


def test_an_abandoned_request_that_waits_never_goes() -> None:
    net = Net(1)
    connection = net.begin(1)
    net.fetch(2)
    net.fetch(3)
    assert net.abandon(2) == []
    net.received(connection, ok())
    assert net.carries == {connection: 3}


def test_a_connection_that_was_opened_for_an_abandoned_request_serves_the_next() -> None:
    net = Net(1)
    net.fetch(1)
    net.fetch(2)
    assert net.abandon(1) == []
    net.connected(1)
    assert net.carries == {1: 2}


def test_when_one_that_waits_for_a_fresh_connection_is_abandoned_the_next_takes_what_is_there() -> None:
    net = Net(1)
    spare = net.begin(1, urgent=True)
    dying = net.begin(2)
    net.fetch(3)
    net.gone(dying)
    net.received(spare, ok())
    net.abandon(2)
    assert net.connection_of(3) == spare


def test_abandoning_what_is_not_under_way_does_nothing() -> None:
    net = Net()
    connection = net.begin(1)
    net.received(connection, ok())
    before = pickle.dumps(net.pool)
    assert net.abandon(1) == net.abandon(9) == []
    assert pickle.dumps(net.pool) == before


def test_a_number_is_free_when_its_request_has_ended() -> None:
    net = Net()
    net.received(net.begin(1), ok())
    net.begin(1)
    net.abandon(1)
    net.begin(1)


# Answers


@pytest.mark.parametrize("step", [1, 7, 1_000])
def test_an_answer_may_come_in_pieces(step: int) -> None:
    net = Net()
    connection = net.begin(1)
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n"
    for at in range(0, len(data), step):
        assert net.answers == {}
        net.received(connection, data[at : at + step])
    answer = net.answers[1]
    assert isinstance(answer, Response)
    assert body_bytes(answer.body) == b"abcd"
    assert net.begin(2) == connection


def test_an_answer_that_is_too_large_fails_and_closes_its_connection() -> None:
    net = Net(max_response=1_000)
    connection = net.begin(1)
    net.received(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1_000)
    assert net.received(connection, b"x") == [Close(connection), Answered(1, Unreachable("the answer is too large"))]


def test_an_answer_as_large_as_may_be_is_taken() -> None:
    net = Net(max_response=1_000)
    connection = net.begin(1)
    net.received(connection, ok(b"x" * 1_000))
    assert isinstance(net.answers[1], Response)
    net.received(net.begin(2), ok(b"y" * 1_000))
    assert isinstance(net.answers[2], Response), "the limit is of each answer"


@pytest.mark.parametrize(
    "data",
    [b"\x00", b"nonsense\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"<html>", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"],
)
def test_an_answer_that_is_no_http_fails_and_is_not_sent_again(data: bytes) -> None:
    net = Net()
    connection = net.begin(1)
    close, answered = net.received(connection, data + b"\r\n\r\n")
    assert close == Close(connection)
    assert isinstance(answered, Answered)
    assert isinstance(answered.response, Unreachable)
    assert answered.response.reason.startswith("the answer is not HTTP/1.1")


@pytest.mark.parametrize("end", ["received", "gone"])
def test_a_body_without_a_length_ends_with_its_connection(end: str) -> None:
    net = Net(1)
    connection = net.begin(1)
    net.fetch(2)
    net.received(connection, WITHOUT_LENGTH + b"all ")
    net.received(connection, b"of it")
    effects = net.received(connection, b"") if end == "received" else net.gone(connection)
    answer = net.answers[1]
    assert isinstance(answer, Response)
    assert body_bytes(answer.body) == b"all of it"
    assert isinstance(effects[-1], Connect), "the next one goes by another"


@pytest.mark.parametrize(
    "data", [ok()[:-1], WITHOUT_LENGTH[:-2], b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab"]
)
@pytest.mark.parametrize("end", ["received", "gone"])
def test_an_answer_that_breaks_off_is_none(end: str, data: bytes) -> None:
    net = Net()
    connection = net.begin(1)
    net.received(connection, data)
    effects = net.received(connection, b"") if end == "received" else net.gone(connection)
    answer = net.answers[1]
    assert isinstance(answer, Unreachable)
    assert answer.reason.startswith("the connection was closed in the middle of its answer")
    assert not any(isinstance(effect, Connect) for effect in effects)


def test_an_end_of_the_servers_closes_our_side() -> None:
    """Whoever has the socket closes it when it is told to, and not before."""
    net = Net()
    connection = net.begin(1)
    net.received(connection, ok())
    assert net.received(connection, b"") == [Close(connection)]
    assert not net.pool.owns(connection)


def test_interim_answers_are_passed_over() -> None:
    net = Net()
    connection = net.begin(1)
    assert net.received(connection, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n") == []
    net.received(connection, NOT_FOUND)
    answer = net.answers[1]
    assert isinstance(answer, Response)
    assert answer.status == 404
    assert net.begin(2) == connection


@pytest.mark.parametrize("more", [b"\x00", b"HTTP", ok()])
def test_a_connection_with_more_behind_its_answer_is_not_used_again(more: bytes) -> None:
    net = Net(1)
    connection = net.begin(1)
    net.fetch(2)
    effects = net.received(connection, ok() + more)
    assert isinstance(net.answers[1], Response)
    assert effects[0] == Close(connection)
    assert net.waiting == [2]


def test_bytes_on_an_idle_connection_close_it() -> None:
    net = Net()
    connection = net.begin(1)
    net.received(connection, ok())
    assert net.received(connection, ok(b"for nobody")) == [Close(connection)]
    assert net.pool.deadline is None


def test_bytes_before_a_connection_is_open_cost_no_request() -> None:
    net = Net()
    net.fetch(1)
    close, connect = net.tell("received", 1, b"x")
    assert close == Close(1)
    assert isinstance(connect, Connect)
    net.connected(connect.connection)
    assert net.waiting == []


@pytest.mark.parametrize("answer", [ok(b"ok", b"Connection: close"), ok().replace(b"1.1", b"1.0")])
def test_a_connection_that_the_server_wants_closed_is_not_used_again(answer: bytes) -> None:
    net = Net(1)
    connection = net.begin(1)
    net.fetch(2)
    effects = net.received(connection, answer)
    assert [type(effect) for effect in effects] == [Close, Answered, Connect]
    assert isinstance(net.answers[1], Response)


def test_an_idle_connection_that_goes_is_forgotten() -> None:
    net = Net()
    connection = net.begin(1)
    net.received(connection, ok())
    assert net.gone(connection) == []
    assert net.pool.deadline is None
    assert net.begin(2) != connection


# Files


def test_a_file_is_pulled_piece_by_piece() -> None:
    net = Net()
    connection = net.begin(1, body=(b"head", *FILE, b"tail"))
    assert net.pulls[connection].source == FILE[0]
    send, pull = net.pulled(connection, b"piece")
    assert isinstance(send, Send)
    assert b"piece" in send.data
    assert pull == net.pulls[connection]
    (send,) = net.pulled(connection, b"")
    assert isinstance(send, Send)
    assert b"tail" in send.data
    net.received(connection, ok())
    assert net.begin(2) == connection


def test_a_file_that_cannot_be_read_fails_its_request_and_closes_what_carries_it() -> None:
    net = Net(1)
    connection = net.begin(1, body=FILE)
    net.fetch(2)
    effects = net.pull_failed(connection, "Permission denied")
    assert [type(effect) for effect in effects] == [Close, Answered, Connect]
    assert net.answers[1] == Unreachable("a file could not be read: Permission denied")


def test_an_answer_before_the_body_has_left_is_taken_and_the_connection_closed() -> None:
    net = Net(1)
    connection = net.begin(1, body=FILE)
    net.fetch(2)
    net.pulled(connection, b"piece")
    effects = net.received(connection, TOO_LARGE)
    assert [type(effect) for effect in effects] == [Close, Answered, Connect]
    assert net.answers[1] == Response(413, (("content-length", "0"),))
    assert net.pool.pulled(connection, b"late", net.now) == []
    assert net.pool.pull_failed(connection, "late", net.now) == []


def test_a_continue_lets_the_body_go_on() -> None:
    net = Net()
    connection = net.begin(1, body=FILE)
    assert net.received(connection, b"HTTP/1.1 100 Continue\r\n\r\n") == []
    net.pulled(connection, b"piece")
    net.pulled(connection, b"")
    net.received(connection, ok())
    assert isinstance(net.answers[1], Response)


def test_pieces_that_nobody_asked_for_are_ignored() -> None:
    net = Net()
    connection = net.begin(1)
    assert net.pool.pulled(connection, b"x", net.now) == []
    assert net.pool.pull_failed(connection, "no", net.now) == []
    net.received(connection, ok())
    assert net.pool.pulled(connection, b"x", net.now) == []
    assert net.pool.pulled(99, b"x", net.now) == net.pool.pull_failed(99, "no", net.now) == []
    assert net.pool.owns(connection)


# Answers that are handed on while they come


def test_a_streamed_answer_is_handed_on_while_it_comes() -> None:
    net = Net(max_response=1_000)
    connection = net.begin(1, streamed=True)
    size = 5_000
    assert net.received(connection, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size) == []
    assert net.received(connection, b"x" * 4_000) == [Arrived(1, b"x" * 4_000)]
    arrived, answered = net.received(connection, b"x" * 1_000)
    assert arrived == Arrived(1, b"x" * 1_000)
    assert answered == Answered(1, Response(200, (("content-length", "5000"),)))
    assert net.begin(2) == connection


def test_only_a_200_is_handed_on() -> None:
    net = Net()
    net.received(net.begin(1, streamed=True), NOT_FOUND)
    answer = net.answers[1]
    assert isinstance(answer, Response)
    assert body_bytes(answer.body) == b"no"
    assert net.pieces == {}


def test_a_streamed_answer_without_a_length_ends_with_its_connection() -> None:
    net = Net()
    connection = net.begin(1, streamed=True)
    net.received(connection, WITHOUT_LENGTH + b"abc")
    net.gone(connection)
    assert net.pieces == {1: b"abc"}
    assert isinstance(net.answers[1], Response)


def test_a_streamed_answer_may_take_long_but_not_stall() -> None:
    net = Net(1)
    connection = net.begin(1, streamed=True)
    net.fetch(2)
    net.received(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
    for _ in range(8):
        net.now += STALL_TIMEOUT - 1
        net.tell("tick")
        net.received(connection, b"x")
    assert net.pool.deadline == net.now + STALL_TIMEOUT
    net.now += STALL_TIMEOUT
    assert Close(connection) in net.tell("tick")
    assert net.answers == {1: Unreachable("nothing of its answer came for 60 s")}
    assert net.opening, "the next request has its place"


def test_a_streamed_answer_of_which_nothing_comes_stalls_too() -> None:
    net = Net()
    net.begin(1, streamed=True)
    net.now += STALL_TIMEOUT
    net.tell("tick")
    assert isinstance(net.answers[1], Unreachable)


def test_a_streamed_answer_that_breaks_off_fails_after_its_pieces() -> None:
    net = Net()
    connection = net.begin(1, streamed=True)
    net.received(connection, ok(b"x" * 100)[:-1])
    net.gone(connection)
    assert net.pieces == {1: b"x" * 99}
    assert isinstance(net.answers[1], Unreachable)
    assert net.tries[1] == 1


# Connections that do not open


def test_the_request_that_waited_longest_fails_for_a_connection_that_does_not_open() -> None:
    net = Net(2)
    for fetch in (1, 2, 3):
        net.fetch(fetch)
    first, second = net.opening
    net.refused(second)
    assert list(net.answers) == [1]
    net.connected(first)
    assert list(net.carries.values()) == [2]


def test_each_connection_that_does_not_open_costs_one_request() -> None:
    net = Net(2)
    for fetch in range(1, 8):
        net.fetch(fetch)
    for failed in range(1, 8):
        assert len(net.opening) == min(2, 8 - failed)
        net.refused(net.opening[0])
        assert list(net.answers) == list(range(1, failed + 1))
    assert net.opening == []


def test_no_request_fails_while_enough_others_are_being_opened() -> None:
    net = Net(2)
    net.fetch(1)
    net.fetch(2)
    net.abandon(1)
    assert net.refused(net.opening[0]) == []
    net.connected(net.opening[0])
    assert list(net.carries.values()) == [2]


def test_the_next_request_tries_anew_when_one_has_failed() -> None:
    net = Net(1)
    net.fetch(1)
    net.fetch(2)
    answered, connect = net.refused(net.opening[0])
    assert isinstance(answered, Answered)
    assert isinstance(connect, Connect)


def test_a_connection_that_goes_before_it_was_told_as_open_did_not_open() -> None:
    net = Net()
    net.fetch(1)
    net.gone(1, "reset")
    assert net.answers[1] == Unreachable("no connection to telegram:443: reset")


def test_what_is_said_of_connections_that_are_not_being_opened_is_ignored() -> None:
    net = Net()
    connection = net.begin(1)
    before = pickle.dumps(net.pool)
    for number in (connection, 99):
        assert net.pool.connected(number, net.now) == []
        assert net.pool.connect_failed(number, "no", net.now) == []
    assert net.pool.received(99, b"x", net.now) == net.pool.disconnected(99, "no", net.now) == []
    assert pickle.dumps(net.pool) == before


# The end


def test_close_closes_everything_and_answers_nothing() -> None:
    net = Net(2)
    net.received(net.begin(1), ok())
    net.begin(2)
    net.begin(3, urgent=True)
    net.fetch(4)
    net.fetch(5)
    effects = net.close()
    assert {type(effect) for effect in effects} == {Close}
    assert net.open == net.opening == []
    assert net.pool.deadline is None
    assert net.pool.close(net.now) == []


def test_after_a_close_it_can_be_used_anew() -> None:
    net = Net(1)
    net.begin(1)
    net.fetch(2)
    net.close()
    net.received(net.begin(1), ok())
    assert isinstance(net.answers[1], Response)


# Use


@pytest.mark.parametrize("waits", [True, False])
def test_a_number_in_use_is_refused_and_changes_nothing(waits: bool) -> None:
    net = Net(1)
    net.begin(1)
    net.fetch(2)
    before = pickle.dumps(net.pool)
    with pytest.raises(LocalProtocolError, match="under way"):
        net.pool.fetch(2 if waits else 1, message(9), net.now, urgent=True)
    assert pickle.dumps(net.pool) == before


def test_every_declared_edge_is_taken_and_no_other() -> None:
    TABLE.seen = set()
    try:
        net = Net()
        net.fetch(1)
        net.refused(1)  # Connecting to Closed
        connection = net.begin(2)  # Connecting to Ready to Busy
        net.received(connection, ok())  # Busy to Ready
        net.wait(IDLE_TIMEOUT)  # Ready to Closed
        net.begin(3)
        net.abandon(3)  # Busy to Closed
        assert {(source, target) for source, targets in TABLE.edges.items() for target in targets} == TABLE.seen
    finally:
        TABLE.seen = None


# Always

BODIES = st.sampled_from([(), (b"{}",), FILE, (b"a", *FILE, b"b"), STREAM])
ANSWERS = st.sampled_from(
    [ok(), ok(b""), NOT_FOUND, TOO_LARGE, ok(b"ok", b"Connection: close"), ok(b"x" * 200), ok(b"x" * 1_001), ok() * 2]
)
PIECES = st.sampled_from([b"H", ok()[:-1], WITHOUT_LENGTH, b"abc", b"\x00", b"HTTP/1.1 100 Continue\r\n\r\n", b"\r\n"])


class Exchanges(RuleBasedStateMachine):
    """Owners who fetch and abandon, and a network that does what it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()
        self.last = 0
        self.abandoned: set[int] = set()

    @initialize(connections=st.sampled_from([1, 1, 2, 3]))
    def begin(self, connections: int) -> None:
        self.net = Net(connections)

    # Owners

    @rule(body=BODIES, streamed=st.booleans(), urgent=st.sampled_from([False, False, True]))
    def fetch(self, body: Body, streamed: bool, urgent: bool) -> None:
        self.last += 1
        self.net.fetch(self.last, body=body, streamed=streamed, urgent=urgent)

    @precondition(lambda self: self.net.pending)
    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        fetch = data.draw(st.sampled_from(sorted(self.net.pending)))
        connection = self.net.connection_of(fetch)
        self.abandoned.add(fetch)
        effects = self.net.abandon(fetch)
        assert (Close(connection or 0) in effects) == (connection is not None)

    # The network

    @precondition(lambda self: self.net.opening)
    @rule(data=st.data(), opens=st.sampled_from([True, True, False]))
    def open(self, data: st.DataObject, opens: bool) -> None:
        connection = data.draw(st.sampled_from(self.net.opening))
        if opens:
            self.net.connected(connection)
        else:
            self.net.refused(connection)

    @precondition(lambda self: self.net.carries)
    @rule(data=st.data(), answer=ANSWERS)
    def answer(self, data: st.DataObject, answer: bytes) -> None:
        self.net.received(data.draw(st.sampled_from(sorted(self.net.carries))), answer)

    @precondition(lambda self: self.net.open or self.net.opening)
    @rule(data=st.data(), piece=PIECES)
    def receive(self, data: st.DataObject, piece: bytes) -> None:
        self.net.received(data.draw(st.sampled_from(self.net.open + self.net.opening)), piece)

    @precondition(lambda self: self.net.open)
    @rule(data=st.data(), end=st.booleans())
    def lose(self, data: st.DataObject, end: bool) -> None:
        connection = data.draw(st.sampled_from(self.net.open))
        if end:
            self.net.received(connection, b"")
        else:
            self.net.gone(connection)

    @precondition(lambda self: self.net.pulls)
    @rule(data=st.data(), piece=st.sampled_from([b"piece", b"", None]))
    def read(self, data: st.DataObject, piece: bytes | None) -> None:
        connection = data.draw(st.sampled_from(sorted(self.net.pulls)))
        if piece is None:
            self.net.pull_failed(connection)
        else:
            self.net.pulled(connection, piece)

    @rule(connection=st.integers(0, 40))
    def late_news(self, connection: int) -> None:
        """Of connections that are no more."""
        if connection not in self.net.open + self.net.opening:
            assert self.net.pool.connected(connection, self.net.now) == []
            assert self.net.pool.connect_failed(connection, "late", self.net.now) == []
            assert self.net.pool.received(connection, b"late", self.net.now) == []
            assert self.net.pool.received(connection, b"", self.net.now) == []
            assert self.net.pool.pulled(connection, b"late", self.net.now) == []
            assert self.net.pool.pull_failed(connection, "late", self.net.now) == []
            assert self.net.pool.disconnected(connection, "late", self.net.now) == []

    # The clock

    @rule(seconds=st.sampled_from([0.1, 7.0, 16.0]))
    def wait(self, seconds: float) -> None:
        self.net.wait(seconds)

    @rule(seconds=st.sampled_from([1.0, 16.0, 40.0, 61.0]))
    def sleep(self, seconds: float) -> None:
        """The process stood still: one tick for all that became due meanwhile."""
        self.net.late(self.net.now + seconds)

    # What holds, besides what `Net` checks

    @invariant()
    def each_is_answered_unless_it_is_abandoned(self) -> None:
        done = set(self.net.answers) | self.abandoned | set(self.net.pending)
        assert done == set(range(1, self.last + 1))

    @invariant()
    def an_answer_comes_in_time_or_its_owner_decides(self) -> None:
        """A deadline is there for each connection that carries nothing or a streamed answer, and for no other."""
        owned = {connection for connection, fetch in self.net.carries.items() if fetch not in self.net.streamed}
        timed = [connection for connection in self.net.open + self.net.opening if connection not in owned]
        assert (self.net.pool.deadline is not None) == bool(timed)

    def teardown(self) -> None:
        """When all are answered and time has gone by, nothing is left."""
        for _ in range(2 * len(self.net.pending)):
            if self.net.opening:
                self.net.connected(self.net.opening[0])
            for connection in list(self.net.carries):
                self.net.received(connection, ok())
                if connection in self.net.carries:  # to be read to the connection's end
                    self.net.received(connection, b"")
        assert self.net.pending == {}
        self.net.wait(60.0)
        assert self.net.open == self.net.opening == []
        assert self.net.pool.deadline is None
        fresh = Pool("telegram", 443, True, connections=self.net.limit, max_response=1_000)
        assert len(pickle.dumps(self.net.pool)) <= len(pickle.dumps(fresh)) + 16


TestExchanges = pytest.mark.exhaustive(Exchanges.TestCase)
TestExchanges.settings = settings(max_examples=200, stateful_step_count=40)
