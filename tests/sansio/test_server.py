"""The connections of clients: nobody may dawdle, everything is bounded, and what was asked whole is answered.

`owner` below is told as little as an owner needs: the requests that were asked, come and gone.
"""

from __future__ import annotations

import copy
import pickle
from pathlib import PurePath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookline.effects import Close, Pull, Report, Send, Verdict
from hookline.errors import LocalProtocolError
from hookline.http import Request, Response, body_bytes
from hookline.options import HttpLimits
from hookline.server import TABLE, Asked, BrokenOff, Gone, Requested, Server, ServerEffect, WentOut

LIMITS = HttpLimits(max_head=1_024, head_timeout=10.0, body_timeout=30.0, keep_alive=75.0, connections=3)
OK = Response(200, (("content-length", "2"),), (b"ok",))
FILE = Response(200, (("transfer-encoding", "chunked"),), (b"a", PurePath("f")))

HEAD = b"POST /hook HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"
WHOLE = HEAD + b"body"
EXPECTING = HEAD.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")


def server(**limits: float) -> Server:
    values = {name: getattr(LIMITS, name) for name in ("max_head", "head_timeout", "body_timeout", "keep_alive")}
    return Server(HttpLimits(**{**values, "connections": 3, **limits}), max_body=2_048)


def sent(effects: list[ServerEffect]) -> bytes:
    return b"".join(effect.data for effect in effects if isinstance(effect, Send))


def requested(effects: list[ServerEffect]) -> list[int]:
    return [effect.request for effect in effects if isinstance(effect, Requested)]


def closed(effects: list[ServerEffect]) -> list[int]:
    return [effect.connection for effect in effects if isinstance(effect, Close)]


def verdicts(effects: list[ServerEffect]) -> list[Verdict]:
    return [effect.verdict for effect in effects if isinstance(effect, Report)]


def asked(machine: Server, connection: int = 1, data: bytes = WHOLE, now: float = 0.0) -> int:
    """The number of a request that came whole over a new connection."""
    assert machine.accepted(connection, now) == []
    (request,) = requested(machine.received(connection, data, now))
    return request


def test_a_request_that_comes_whole_is_told_once() -> None:
    machine = server()
    machine.accepted(1, 0.0)
    request = Request("POST", "/hook", (("host", "a"), ("content-length", "4")), (b"body",))
    assert machine.received(1, WHOLE, 0.0) == [Requested(1, request, asked=False)]


def test_a_request_is_asked_then_requested_then_answered() -> None:
    machine = server()
    machine.accepted(1, 0.0)
    headers = (("host", "a"), ("content-length", "4"))
    assert machine.received(1, HEAD, 0.0) == [Asked(1, Request("POST", "/hook", headers))]
    assert machine.received(1, b"body", 1.0) == [
        Requested(1, Request("POST", "/hook", headers, (b"body",)), asked=True)
    ]
    effects = machine.respond(1, OK, 2.0)
    assert sent(effects).endswith(b"\r\n\r\nok")
    assert closed(effects) == []
    assert machine.respond(1, OK, 3.0) == [], "it is answered once"


def test_a_connection_carries_one_request_after_the_other() -> None:
    machine = server()
    request = asked(machine)
    for number in range(5):
        assert closed(machine.respond(request, OK, float(number))) == []
        (request,) = requested(machine.received(1, WHOLE, float(number)))
    assert request == 6


# Time


def trickle(machine: Server, data: bytes, every: float, now: float = 0.0) -> tuple[list[ServerEffect], float]:
    """Bytes that come one at a time; what came of it, until the connection is closed."""
    effects: list[ServerEffect] = []
    for at in range(len(data)):
        effects += machine.received(1, data[at : at + 1], now)
        then = now + every
        while machine.deadline is not None and machine.deadline <= then:
            now = machine.deadline
            effects += machine.tick(now)
        if not machine.owns(1):
            return effects, now
        now = then
    return effects, now


def test_a_head_that_trickles_is_cut_off() -> None:
    machine = server()
    machine.accepted(1, 0.0)
    effects, now = trickle(machine, WHOLE, every=1.0)
    assert now == 10.0
    assert sent(effects).startswith(b"HTTP/1.1 408 ")
    assert closed(effects) == [1]
    assert verdicts(effects) == [Verdict.REQUEST_REJECTED]


def test_a_body_that_trickles_is_cut_off_and_never_requested() -> None:
    machine = server()
    machine.accepted(1, 0.0)
    machine.received(1, HEAD.replace(b"4", b"1000"), 5.0)
    effects, now = trickle(machine, b"x" * 1_000, every=1.0, now=5.0)
    assert now == 35.0
    assert sent(effects).startswith(b"HTTP/1.1 408 ")
    assert closed(effects) == [1]
    assert requested(effects) == []


def test_a_fresh_connection_may_be_silent_for_keep_alive() -> None:
    """Telegram opens one ahead (4.1)."""
    machine = server()
    machine.accepted(1, 0.0)
    assert machine.deadline == 75.0
    assert machine.tick(75.0) == [Close(1)]


def test_a_head_has_its_time_from_its_first_byte() -> None:
    machine = server()
    machine.accepted(1, 0.0)
    machine.received(1, HEAD[:1], 50.0)
    assert machine.deadline == 60.0
    machine.received(1, HEAD[1:2], 59.0)
    assert machine.deadline == 60.0


def test_an_idle_connection_is_kept_for_keep_alive() -> None:
    machine = server()
    machine.respond(asked(machine), OK, 1.0)
    assert machine.deadline == 76.0
    assert machine.tick(75.9) == []
    assert machine.tick(76.0) == [Close(1)]
    assert machine.deadline is None


def test_the_next_head_has_its_own_time() -> None:
    machine = server()
    machine.respond(asked(machine), OK, 1.0)
    machine.received(1, b"P", 50.0)
    assert machine.deadline == 60.0
    machine.received(1, b"O", 59.0)
    assert machine.deadline == 60.0


def test_a_head_that_began_before_the_last_answer_has_no_more_time_than_any() -> None:
    machine = server()
    request = asked(machine, data=WHOLE + b"POST /ho")
    machine.respond(request, OK, 1.0)
    assert machine.deadline == 11.0
    assert sent(machine.tick(11.0)).startswith(b"HTTP/1.1 408 ")


def test_a_body_that_began_before_the_last_answer_has_its_own_time() -> None:
    machine = server()
    request = asked(machine, data=WHOLE + HEAD)
    assert [type(effect) for effect in machine.respond(request, OK, 1.0)] == [Send, Asked]
    assert machine.deadline == 31.0


def test_the_owner_has_all_the_time_it_wants() -> None:
    machine = server()
    asked(machine)
    assert machine.deadline is None
    assert machine.tick(1e6) == []


def test_a_client_must_take_each_piece_of_an_answer_in_time() -> None:
    machine = server()
    machine.respond(asked(machine), FILE, 1.0)
    assert machine.deadline == 31.0
    machine.pulled(1, b"piece", 20.0)
    assert machine.deadline == 50.0
    effects = machine.tick(50.0)
    assert verdicts(effects) == [Verdict.PEER_MISBEHAVED]
    assert closed(effects) == [1]
    assert sent(effects) == b"", "no second answer goes into the middle of the first"
    assert machine.pulled(1, b"piece", 51.0) == []
    assert machine.deadline is None


# Limits


def test_one_connection_more_than_the_limit_is_closed_at_once() -> None:
    machine = server()
    for connection in (1, 2, 3):
        machine.accepted(connection, 0.0)
    effects = machine.accepted(4, 0.0)
    assert closed(effects) == [4]
    assert verdicts(effects) == [Verdict.PEER_MISBEHAVED]
    assert machine.received(4, WHOLE, 0.0) == []
    machine.disconnected(2, 1.0)
    assert machine.accepted(5, 1.0) == []


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nx: " + b"v" * 2_000 + b"\r\n\r\n", 431),
        (HEAD.replace(b"4", b"9000") + b"x" * 9_000, 413),
        (b"nonsense\r\n\r\n", 400),
    ],
)
def test_what_is_no_proper_request_is_answered_and_closed(data: bytes, status: int, together: bool) -> None:
    machine = server()
    machine.accepted(1, 0.0)
    effects: list[ServerEffect] = []
    for piece in [data] if together else [data[at : at + 1] for at in range(len(data))]:
        effects += machine.received(1, piece, 0.0)
    assert sent(effects).startswith(b"HTTP/1.1 %d " % status)
    assert closed(effects) == [1]
    assert isinstance(effects[-1], Close)
    assert requested(effects) == []
    assert verdicts(effects) == [Verdict.REQUEST_REJECTED]
    # An owner that rejects it by its head comes too late, and that does no harm.
    assert [machine.respond(effect.request, OK, 0.0) for effect in effects if isinstance(effect, Asked)] in ([], [[]])


def test_pipelined_requests_are_answered_in_order_one_at_a_time() -> None:
    machine = server()
    machine.accepted(1, 0.0)
    data = b"".join(b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n%d" % (at, at) for at in range(9))
    effects = machine.received(1, data, 0.0)
    for number in range(9):
        come = [effect.message for effect in effects if isinstance(effect, Requested)]
        assert [(message.target, body_bytes(message.body)) for message in come] == [(f"/{number}", b"%d" % number)]
        effects = machine.respond(requested(effects)[0], OK, 1.0)
    assert requested(effects) == []
    assert machine.deadline == 76.0


def test_a_client_that_floods_while_it_waits_is_cut_off_and_gone() -> None:
    machine = server()
    request = asked(machine)
    effects: list[ServerEffect] = []
    for _ in range(4):
        effects += machine.received(1, b"x" * 1_024, 1.0)
    assert [type(effect) for effect in effects] == [Report, Gone, Close]
    assert Gone(request) in effects
    assert machine.respond(request, OK, 2.0) == []


def test_a_client_that_floods_while_its_answer_goes_out_is_cut_off_and_not_gone() -> None:
    machine = server()
    machine.respond(asked(machine), FILE, 1.0)
    assert [type(effect) for effect in machine.received(1, b"x" * 4_096, 1.0)] == [Report, BrokenOff, Close]


def test_garbage_behind_a_last_request_does_not_cost_its_answer() -> None:
    machine = server()
    request = asked(machine, data=WHOLE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + b"\r\n")
    assert machine.received(1, b"\r\n\r\n", 0.0) == []
    effects = machine.respond(request, OK, 0.0)
    assert sent(effects).endswith(b"ok")
    assert closed(effects) == [1]


# By the head alone


def test_a_request_is_rejected_by_its_head_and_its_body_is_not_read() -> None:
    machine = server()
    machine.accepted(1, 0.0)
    machine.received(1, HEAD, 0.0)
    effects = machine.respond(1, Response(401, (("content-length", "0"),)), 0.0)
    assert sent(effects).startswith(b"HTTP/1.1 401 Unauthorized\r\n")
    assert b"connection: close\r\n" in sent(effects).lower()
    assert closed(effects) == [1]
    assert machine.received(1, b"body", 0.0) == []


def test_a_request_that_came_whole_is_rejected_and_the_connection_is_kept() -> None:
    machine = server()
    effects = machine.respond(asked(machine), Response(401, (("content-length", "0"),)), 0.0)
    assert sent(effects).startswith(b"HTTP/1.1 401 Unauthorized\r\n")
    assert closed(effects) == []


def test_a_client_that_waits_to_send_its_body_is_told_only_when_it_is_wanted() -> None:
    machine = server()
    machine.accepted(1, 0.0)
    assert [type(effect) for effect in machine.received(1, EXPECTING, 0.0)] == [Asked]
    assert sent(machine.proceed(1, 0.0)).startswith(b"HTTP/1.1 100 Continue\r\n")
    assert machine.proceed(1, 0.0) == []
    assert requested(machine.received(1, b"body", 0.0)) == [1]
    assert sent(machine.respond(1, OK, 0.0)).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_waits_to_send_a_body_that_is_not_wanted_hears_that_alone() -> None:
    machine = server()
    machine.accepted(1, 0.0)
    machine.received(1, EXPECTING, 0.0)
    assert sent(machine.respond(1, Response(413, (("content-length", "0"),)), 0.0)).startswith(b"HTTP/1.1 413 ")
    assert machine.proceed(1, 0.0) == []


def test_proceed_says_nothing_to_others() -> None:
    machine = server()
    assert machine.proceed(asked(machine), 0.0) == []
    assert machine.proceed(99, 0.0) == []


# Ends


def test_a_client_that_goes_before_its_answer_is_gone() -> None:
    machine = server()
    request = asked(machine)
    assert machine.disconnected(1, 1.0) == [Gone(request)]
    assert machine.respond(request, OK, 2.0) == []
    assert machine.disconnected(1, 3.0) == []


@pytest.mark.parametrize("data", [b"", HEAD[:20], HEAD, HEAD + b"bo"])
def test_a_client_that_goes_before_its_request_has_come_is_nobodys_loss(data: bytes) -> None:
    machine = server()
    machine.accepted(1, 0.0)
    if data:
        machine.received(1, data, 0.0)
    assert machine.disconnected(1, 1.0) == []
    assert machine.deadline is None


def test_a_client_that_goes_while_its_answer_goes_out_breaks_it_off() -> None:
    machine = server()
    request = asked(machine)
    machine.respond(request, FILE, 0.0)
    assert machine.disconnected(1, 1.0) == [BrokenOff(request)]


def test_a_half_close_after_a_whole_request_still_gets_its_answer() -> None:
    machine = server()
    request = asked(machine)
    assert machine.received(1, b"", 1.0) == []
    effects = machine.respond(request, OK, 2.0)
    assert sent(effects).endswith(b"\r\n\r\nok")
    assert closed(effects) == [1]


def test_a_half_close_after_pipelined_requests_still_gets_all_answers() -> None:
    machine = server()
    first = asked(machine, data=WHOLE * 2)
    machine.received(1, b"", 1.0)
    effects = machine.respond(first, OK, 2.0)
    assert closed(effects) == []
    (second,) = requested(effects)
    assert closed(machine.respond(second, OK, 3.0)) == [1]


def test_a_half_close_within_a_pipelined_request_closes_after_the_answer_before() -> None:
    machine = server()
    first = asked(machine, data=WHOLE + HEAD[:10])
    machine.received(1, b"", 1.0)
    assert closed(machine.respond(first, OK, 2.0)) == [1]


@pytest.mark.parametrize("data", [b"", HEAD[:20], HEAD, HEAD + b"bo"])
def test_a_half_close_before_the_requests_end_closes(data: bytes) -> None:
    """And is no news, as little as a client that goes."""
    machine = server()
    machine.accepted(1, 0.0)
    if data:
        machine.received(1, data, 0.0)
    effects = machine.received(1, b"", 1.0)
    assert closed(effects) == [1]
    assert requested(effects) == []
    assert verdicts(effects) == []
    assert machine.deadline is None


def test_an_answer_from_a_file_is_pulled() -> None:
    machine = server()
    request = asked(machine)
    assert not machine.sending
    assert [type(effect) for effect in machine.respond(request, FILE, 0.0)] == [Send, Pull]
    assert [type(effect) for effect in machine.pulled(1, b"piece", 1.0)] == [Send, Pull]
    assert machine.sending
    assert [type(effect) for effect in machine.pulled(1, b"", 2.0)] == [Send, WentOut]
    assert not machine.sending
    assert machine.deadline == 77.0
    assert requested(machine.received(1, WHOLE, 3.0)) == [2]


def test_a_request_behind_one_that_is_answered_from_a_file_comes_after_it() -> None:
    machine = server()
    request = asked(machine, data=WHOLE * 2)
    assert requested(machine.respond(request, FILE, 0.0)) == []
    assert requested(machine.pulled(1, b"", 1.0)) == [2]


def test_a_file_that_cannot_be_read_breaks_the_answer_off() -> None:
    machine = server()
    request = asked(machine)
    machine.respond(request, FILE, 0.0)
    report, *rest = machine.pull_failed(1, "No such file", 1.0)
    assert rest == [BrokenOff(request), Close(1)]
    assert "No such file" in repr(report)


def test_pieces_that_nobody_asked_for_are_ignored() -> None:
    machine = server()
    asked(machine)
    assert machine.pulled(1, b"x", 1.0) == []
    assert machine.pull_failed(1, "no", 1.0) == []
    machine.respond(1, OK, 2.0)
    assert machine.pulled(1, b"", 3.0) == []
    assert machine.owns(1)
    assert machine.pulled(9, b"x", 3.0) == machine.pull_failed(9, "no", 3.0) == []


def test_hanging_up_sends_a_part_and_closes() -> None:
    machine = server()
    request = asked(machine)
    assert machine.hang_up(request, b"HTTP/1.1 2", 1.0) == [Send(1, b"HTTP/1.1 2"), Close(1)]
    assert machine.hang_up(request, b"", 1.0) == []


# Stop


def test_a_stop_closes_what_is_idle_and_answers_the_rest_as_the_last() -> None:
    machine = server(connections=9)
    machine.accepted(1, 0.0)
    machine.accepted(2, 0.0)
    machine.received(2, HEAD[:9], 0.0)
    waiting, kept = asked(machine, 3), asked(machine, 4)
    machine.respond(kept, OK, 0.0)
    machine.accepted(5, 0.0)
    machine.received(5, HEAD, 0.0)
    assert sorted(closed(machine.stop(1.0))) == [1, 2, 4]
    effects = machine.respond(waiting, OK, 2.0)
    assert b"\r\nconnection: close\r\n" in sent(effects).lower()
    assert closed(effects) == [3]
    (last,) = requested(machine.received(5, b"body", 3.0))
    assert closed(machine.respond(last, OK, 4.0)) == [5]
    assert machine.stop(6.0) == []
    assert (machine.connections, machine.deadline) == (0, None)


def test_a_client_that_comes_during_a_stop_is_answered_and_closed() -> None:
    machine = server()
    machine.stop(0.0)
    effects = machine.respond(asked(machine, data=WHOLE * 2), OK, 1.0)
    assert b"\r\nconnection: close\r\n" in sent(effects).lower()
    assert closed(effects) == [1]
    assert requested(effects) == []


def test_a_stop_lets_an_answer_from_a_file_go_out_whole() -> None:
    machine = server()
    machine.respond(asked(machine, data=WHOLE * 2), FILE, 0.0)
    assert machine.stop(1.0) == []
    effects = machine.pulled(1, b"", 2.0)
    assert closed(effects) == [1]
    assert requested(effects) == [], "the request behind it is not taken up"


def test_close_closes_all_that_is_left() -> None:
    machine = server()
    request = asked(machine)
    machine.accepted(2, 0.0)
    assert closed(machine.close(1.0)) == [1, 2]
    assert machine.respond(request, OK, 2.0) == []
    assert machine.deadline is None


def test_the_number_of_an_open_connection_is_refused() -> None:
    machine = server()
    asked(machine)
    before = pickle.dumps(machine)
    with pytest.raises(LocalProtocolError, match="connection 1"):
        machine.accepted(1, 1.0)
    assert pickle.dumps(machine) == before


# Always

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("accepted"), st.integers(1, 5), st.just(b"")),
        st.tuples(
            st.just("received"),
            st.integers(1, 5),
            st.sampled_from([WHOLE, HEAD, EXPECTING, b"body", b"P", WHOLE * 3, b"\x00", b"x" * 3_000, b""]),
        ),
        st.tuples(st.just("disconnected"), st.integers(1, 5), st.just(b"")),
        st.tuples(st.sampled_from(["respond", "file", "proceed"]), st.integers(0, 4), st.just(b"")),
        st.tuples(st.sampled_from(["pulled", "pull_failed"]), st.integers(1, 5), st.sampled_from([b"", b"x"])),
        st.tuples(st.just("pass"), st.sampled_from([0, 1, 9, 40, 100]), st.just(b"")),
        st.tuples(st.just("stop"), st.just(0), st.just(b"")),
    ),
    max_size=60,
)


@settings(max_examples=300)
@given(STEPS)
def test_every_request_is_answered_or_gone_once_and_nothing_lingers(steps: list[tuple[str, int, bytes]]) -> None:
    """In any conversation; and copied after each step, it goes on the same."""
    machine, now = server(), 0.0
    waiting: list[int] = []
    open_connections: set[int] = set()

    def take(effects: list[ServerEffect]) -> None:
        for effect in effects:
            if isinstance(effect, Requested):
                assert effect.request not in waiting
                waiting.append(effect.request)
            elif isinstance(effect, Gone):
                waiting.remove(effect.request)
            elif isinstance(effect, (Send, Pull)):
                assert effect.connection in open_connections
            elif isinstance(effect, Close):
                open_connections.remove(effect.connection)

    for what, number, data in steps:
        twin = pickle.loads(pickle.dumps(copy.deepcopy(machine)))
        outcomes: list[list[ServerEffect]] = []
        for each in (twin, machine):
            effects: list[ServerEffect] = []
            if what == "accepted" and number not in open_connections:
                effects = each.accepted(number, now)
            elif what == "received" and number in open_connections:
                effects = each.received(number, data, now)
            elif what == "disconnected":
                effects = each.disconnected(number, now)
            elif what in ("respond", "file") and number < len(waiting):
                effects = each.respond(waiting[number], OK if what == "respond" else FILE, now)
            elif what == "proceed":
                effects = each.proceed(number, now)
            elif what == "pulled":
                effects = each.pulled(number, data, now)
            elif what == "pull_failed":
                effects = each.pull_failed(number, "no", now)
            elif what == "stop":
                effects = each.stop(now)
            outcomes.append(effects)
        expected, effects = outcomes
        assert effects == expected
        if what == "accepted" and number not in open_connections:
            open_connections.add(number)
        elif what == "disconnected":
            open_connections.discard(number)
        elif what in ("respond", "file") and number < len(waiting):
            waiting.pop(number)
        take(effects)
        if what == "pass":
            until = now + number
            while machine.deadline is not None and machine.deadline <= until:
                now = machine.deadline
                take(machine.tick(now))
                assert machine.tick(now) == []
                assert machine.deadline is None or machine.deadline > now
            now = until
        assert machine.connections == len(open_connections) <= 3
    take(machine.close(now))
    assert not open_connections
    assert machine.deadline is None


def test_no_state_grows_with_the_connections_that_were() -> None:
    machine = server()
    sizes = []
    for connection in range(1, 2_001):
        request = asked(machine, connection, now=float(connection))
        if connection % 3:
            machine.respond(request, OK, float(connection))
        if connection % 5:
            machine.disconnected(connection, float(connection))
        else:
            machine.received(connection, b"\x00" * 5_000, float(connection))
        assert machine.connections == 0
        machine.tick(float(connection))
        sizes.append(len(pickle.dumps(machine)))
    assert max(sizes[1_000:]) <= max(sizes[100:200]) + 64


def test_every_edge_of_the_table_is_taken() -> None:
    TABLE.seen = set()
    try:
        machine = server()
        request = asked(machine)  # Reading to Answering
        machine.respond(request, OK, 0.0)  # Answering to Reading
        machine.disconnected(1, 0.0)  # Reading to Closed
        asked(machine, 2)
        machine.disconnected(2, 0.0)  # Answering to Closed
        assert {(source, target) for source, targets in TABLE.edges.items() for target in targets} == TABLE.seen
    finally:
        TABLE.seen = None
