"""HTTP/1.1 for both sides: the same events however the bytes come, limits on all of it, and never an exception.

Broken messages are compared by their status: the words depend on where the bytes were cut.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import PurePath

import h11
import pytest
from attrs import evolve
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hookline.effects import Close, Effect, Pull, Send
from hookline.http import Request, Response, StreamId, body_bytes
from hookline.http1 import MAX_HEAD, PULL_SIZE, Broken, ClientConnection, Complete, Event, Head, Piece, ServerConnection

MAX_SERVER_HEAD = 1_024
MAX_SERVER_BODY = 2_048
MAX_RESPONSE = 4_096
GARBAGE = b"\x00\xff garbage \r\n\r\n"
OK = Response(200, (("content-length", "2"),), (b"ok",))

ROOM = MAX_SERVER_HEAD - len(b"GET / HTTP/1.1\r\nhost: a\r\nx: \r\n\r\n")


def server() -> ServerConnection:
    return ServerConnection(1, max_head=MAX_SERVER_HEAD, max_body=MAX_SERVER_BODY)


def client(method: str = "POST", *, streamed: bool = False, body: tuple[bytes, ...] = (b"{}",)) -> ClientConnection:
    """A client whose request has been sent."""
    connection = ClientConnection(1, max_response=MAX_RESPONSE)
    length = str(sum(map(len, body)))
    connection.request(Request(method, "/", (("host", "a"), ("content-length", length)), body), streamed=streamed)
    return connection


def sent(effects: Iterable[Effect]) -> bytes:
    return b"".join(effect.data for effect in effects if isinstance(effect, Send))


def whole(data: bytes) -> list[bytes]:
    return [data]


def byte_by_byte(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


WAYS = [whole, byte_by_byte]
Way = Callable[[bytes], list[bytes]]


def feed(connection: ServerConnection | ClientConnection, pieces: Iterable[bytes]) -> list[Event]:
    """What comes of the pieces, up to the first thing that is broken; pieces of a body are joined."""
    events: list[Event] = []
    for piece in pieces:
        for event in connection.received(piece):
            if isinstance(event, Piece) and events and isinstance(events[-1], Piece):
                events[-1] = Piece(events[-1].data + event.data)
            else:
                events.append(event)
            if isinstance(event, Broken):
                return events
    return events


def seen(events: list[Event]) -> list[object]:
    return [event.status if isinstance(event, Broken) else event for event in events]


def statuses(events: list[Event]) -> list[int]:
    return [event.status for event in events if isinstance(event, Broken)]


def messages(events: list[Event]) -> list[Request | Response]:
    return [event.message for event in events if isinstance(event, Complete)]


# Requests

GOOD_REQUESTS = {
    "no body": (
        b"GET /healthz?x=1 HTTP/1.1\r\nHost: a\r\n\r\n",
        Request("GET", "/healthz?x=1", (("host", "a"),)),
    ),
    "a length": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n\x00\r\n\xff",
        Request("POST", "/", (("host", "a"), ("content-length", "4")), (b"\x00\r\n\xff",)),
    ),
    "chunks": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n3\r\ncde\r\n0\r\nX: y\r\n\r\n",
        Request("POST", "/", (("host", "a"), ("transfer-encoding", "chunked")), (b"abcde",)),
    ),
    "the largest head": (
        b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"v" * ROOM + b"\r\n\r\n",
        Request("GET", "/", (("host", "a"), ("x", "v" * ROOM))),
    ),
    "the largest body": (
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2048\r\n\r\n" + b"b" * 2_048,
        Request("POST", "/", (("host", "a"), ("content-length", "2048")), (b"b" * 2_048,)),
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("garbage", [b"", GARBAGE])
@pytest.mark.parametrize("name", GOOD_REQUESTS)
def test_a_request_is_read_however_it_comes_and_whatever_follows(name: str, way: Way, garbage: bytes) -> None:
    data, request = GOOD_REQUESTS[name]
    connection = server()
    events = feed(connection, way(data + garbage))
    comes_later = [Head(evolve(request, body=()))] if way is byte_by_byte and request.body else []
    assert events == [*comes_later, Complete(request)]
    assert b" 200 OK\r\n" in sent(connection.respond(OK))
    assert statuses(connection.next_events()) == ([400] if garbage else [])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("last", [b"HTTP/1.0\r\n", b"HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"])
@pytest.mark.parametrize("garbage", [b"", b"\r\n", GARBAGE, b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n"])
def test_the_last_request_of_a_connection_is_answered_whatever_follows_it(
    way: Way, last: bytes, garbage: bytes
) -> None:
    connection = server()
    assert [message.body for message in messages(feed(connection, way(b"GET /1 " + last + b"\r\n" + garbage)))] == [()]
    effects = connection.respond(OK)
    answer = sent(effects).lower()
    assert answer.startswith(b"http/1.1 200 ok\r\n")
    assert b"\r\nconnection: close\r\n" in answer
    assert effects[-1] == Close(1)


BAD_REQUESTS = {
    "not HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "an empty line first": (b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "no version": (b"GET /\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "a space in a name": (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    "a NUL in a value": (b"GET / HTTP/1.1\r\nHost: a\r\nx: \x00\r\n\r\n", 400),
    "a length that is no number": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nabcde", 400),
    "a negative length": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
    "two lengths": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
    "a length and chunks": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "an unknown coding": (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    "a chunk without a size": (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    "a chunk longer than said": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        400,
    ),
    "another version": (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "a head too large by one byte": (b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"v" * (ROOM + 1) + b"\r\n\r\n", 431),
    "a head far too large": (b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"v" * 9_000 + b"\r\n\r\n", 431),
    "a head far too large and malformed": (b"GET / HTTP/1.1\r\nhost : a\r\nx: " + b"v" * 9_000 + b"\r\n\r\n", 431),
    "many headers": (b"GET / HTTP/1.1\r\nhost: a\r\n" + b"x: y\r\n" * 500 + b"\r\n", 431),
    "a target too large": (b"GET /" + b"t" * 9_000, 431),
    "a trailer too large": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"v" * 9_000 + b"\r\n\r\n",
        431,
    ),
    "a body too large": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2049\r\n\r\n" + b"b" * 2_049, 413),
    "a body too large in chunks": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"400\r\n" + b"b" * 1_024 + b"\r\n") * 3,
        413,
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("garbage", [b"", GARBAGE])
@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_what_is_no_proper_request_is_broken_and_can_be_answered(name: str, way: Way, garbage: bytes) -> None:
    data, status = BAD_REQUESTS[name]
    connection = server()
    events = feed(connection, way(data + garbage))
    assert statuses(events) == [status]
    assert messages(events) == []
    effects = connection.respond(Response(status, (("content-length", "0"),)), close=True)
    assert sent(effects).startswith(b"HTTP/1.1 %d " % status)
    assert effects[-1] == Close(1)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", GOOD_REQUESTS)
def test_a_request_that_breaks_off_is_broken(name: str, way: Way) -> None:
    data = GOOD_REQUESTS[name][0]
    for end in (1, len(data) // 2, len(data) - 1):
        connection = server()
        assert messages(feed(connection, way(data[:end]))) == []
        assert statuses(feed(connection, [b""])) == [400]


def test_the_words_for_what_is_broken_do_not_repeat_it() -> None:
    events = feed(server(), [b"GET / HTTP/1.1\r\nHost: a\r\nX-Telegram-Bot-Api-Secret-Token : s3cret\r\n\r\n"])
    assert statuses(events) == [400]
    assert "s3cret" not in repr(events)


def test_a_connection_is_idle_between_requests_alone() -> None:
    connection = server()
    assert connection.idle
    connection.received(b"P")
    assert not connection.idle
    connection.received(b"OST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n")
    assert connection.reading_body
    connection.received(b"x")
    assert not connection.idle
    assert not connection.reading_body
    assert sent(connection.respond(OK))
    assert connection.idle


def test_pipelined_requests_are_read_one_after_the_other_is_answered() -> None:
    connection = server()
    events = feed(connection, [b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(5))])
    for number in range(5):
        assert [message.target for message in messages(events) if isinstance(message, Request)] == [f"/{number}"]
        assert connection.received(b"") == [] if number == 4 else not connection.idle
        assert sent(connection.respond(OK)).endswith(b"\r\n\r\nok")
        events = connection.next_events()
    assert events == []


@pytest.mark.parametrize("extra", [b"", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"])
@pytest.mark.parametrize("size", [100, 10_000_000])
def test_what_a_client_sends_before_its_answer_is_kept_within_a_limit(size: int, extra: bytes) -> None:
    connection = server()
    kept, events = 0, feed(connection, [b"GET / HTTP/1.1\r\nHost: a\r\n" + extra + b"\r\n"])
    while not statuses(events):
        kept += size
        events = connection.received(b"x" * size)
        assert kept - size <= MAX_SERVER_HEAD + MAX_SERVER_BODY
    assert kept > MAX_SERVER_HEAD + MAX_SERVER_BODY


def test_too_much_behind_a_request_is_refused_even_in_one_piece_with_it() -> None:
    events = server().received(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + b"x" * 3_073)
    assert [type(event) for event in events] == [Complete, Broken]


def test_too_much_behind_a_body_is_refused_too() -> None:
    """Also where the head came by itself."""
    connection = server()
    feed(connection, [b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"])
    assert [type(event) for event in connection.received(b"null" + b"x" * 3_073)] == [Complete, Broken]


def test_an_upgrade_is_not_taken_up() -> None:
    connection = server()
    feed(connection, [b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"])
    assert sent(connection.respond(OK)).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_client_that_asks_is_told_to_go_on_once() -> None:
    connection = server()
    feed(connection, [b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"])
    assert connection.expects_continue().startswith(b"HTTP/1.1 100 ")
    assert connection.expects_continue() == b""
    assert len(messages(feed(connection, [b"x"]))) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
        b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
    ],
)
def test_who_does_not_wait_for_a_word_is_told_none(data: bytes) -> None:
    connection = server()
    feed(connection, [data])
    assert connection.expects_continue() == b""


def test_an_answer_before_the_body_closes_the_connection() -> None:
    connection = server()
    feed(connection, [b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx"])
    effects = connection.respond(Response(401, (("content-length", "0"),)))
    assert b"connection: close\r\n" in sent(effects).lower()
    assert effects[-1] == Close(1)


def test_an_answer_after_a_half_close_is_sent() -> None:
    connection = server()
    assert len(messages(feed(connection, [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"", b""]))) == 1
    effects = connection.respond(OK)
    assert sent(effects).endswith(b"\r\n\r\nok")
    assert effects[-1] == Close(1)


@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"])
def test_what_is_told_after_the_clients_end_is_not_read(data: bytes) -> None:
    connection = server()
    feed(connection, [data, b""])
    assert connection.received(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") == connection.received(b"") == []


def test_a_connection_whose_client_has_ended_between_requests_is_beyond_an_answer() -> None:
    connection = server()
    assert connection.received(b"") == []

    assert connection.respond(Response(408), close=True) == [Close(1)]


def test_a_head_alone_answers_head() -> None:
    connection = server()
    feed(connection, [b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"])
    assert sent(connection.respond(Response(200, (("content-length", "99"),)))).endswith(b"content-length: 99\r\n\r\n")
    assert connection.idle


# Bodies from files

FILES = Response(
    200,
    (("transfer-encoding", "chunked"),),
    (b"head,", PurePath("a.txt"), b",middle,", StreamId(1), PurePath("b.txt"), b",tail"),
)
CONTENT: dict[object, list[bytes]] = {
    PurePath("a.txt"): [b"A" * PULL_SIZE, b"a"],
    StreamId(1): [b"S"],
    PurePath("b.txt"): [],
}
WHOLE = b"head," + b"A" * PULL_SIZE + b"a" + b",middle," + b"S" + b",tail"


def pump(connection: ServerConnection | ClientConnection, effects: list[Effect]) -> bytes:
    """Carry out pulls until there are no more; all that was sent."""
    left = copy.deepcopy(CONTENT)
    data = b""
    while True:
        assert all(effect.data for effect in effects if isinstance(effect, Send))
        assert not [effect for effect in effects[:-1] if isinstance(effect, Pull)]
        data += sent(effects)
        last = effects[-1]
        if not isinstance(last, Pull):
            return data
        assert connection.sending
        assert last.size == PULL_SIZE
        pieces = left[last.source]
        effects = connection.pulled(pieces.pop(0) if pieces else b"")


def read_by_h11(reader: h11.Connection, data: bytes) -> bytes:
    body = b""
    reader.receive_data(data)
    while True:
        event = reader.next_event()
        assert event is not h11.NEED_DATA
        if isinstance(event, h11.Data):
            body += event.data
        if isinstance(event, h11.EndOfMessage):
            return body


def test_an_answer_from_files_goes_out_piece_by_piece() -> None:
    connection = server()
    feed(connection, [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"])
    data = pump(connection, connection.respond(FILES))
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
    reader.send(h11.EndOfMessage())
    assert read_by_h11(reader, data) == WHOLE
    assert not connection.sending
    assert connection.after_response() == []
    assert connection.idle


def test_an_answer_from_files_to_http_1_0_is_ended_by_the_connections_end() -> None:
    connection = server()
    feed(connection, [b"GET / HTTP/1.0\r\n\r\n"])
    data = pump(connection, connection.respond(FILES))
    assert b"chunked" not in data
    assert data.endswith(b"\r\n\r\n" + WHOLE)
    assert connection.after_response() == [Close(1)]


def test_a_request_from_files_goes_out_piece_by_piece() -> None:
    connection = ClientConnection(1, max_response=MAX_RESPONSE)
    request = Request("POST", "/", (("host", "a"), ("transfer-encoding", "chunked")), FILES.body)
    data = pump(connection, connection.request(request))
    assert read_by_h11(h11.Connection(h11.SERVER), data) == WHOLE


def test_a_piece_that_nobody_pulled_is_ignored() -> None:
    assert server().pulled(b"x") == []
    assert client().pulled(b"x") == []


# Responses

GOOD_RESPONSES = {
    "a length": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 200, b"{}"),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", 200, b"{}"),
    "no reason": (b"HTTP/1.1 502\r\nContent-Length: 0\r\n\r\n", 502, b""),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "1xx first": (
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n"
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1"
        ),
        200,
        b"1",
    ),
    "the largest": (b"HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n\r\n" + b"x" * 4_096, 200, b"x" * 4_096),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("garbage", [b"", GARBAGE, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2"])
@pytest.mark.parametrize("name", GOOD_RESPONSES)
def test_an_answer_is_read_however_it_comes(name: str, way: Way, garbage: bytes) -> None:
    data, status, body = GOOD_RESPONSES[name]
    connection = client()
    events = feed(connection, way(data + garbage))
    assert [type(event) for event in events] == [Complete]
    answer = messages(events)[0]
    assert isinstance(answer, Response)
    assert (answer.status, body_bytes(answer.body)) == (status, body)
    assert connection.reusable == (not garbage), "what follows an answer would be taken for the next one"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "head", [b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nConnection: close\r\n"]
)
def test_a_body_without_a_length_ends_with_the_connection(way: Way, head: bytes) -> None:
    connection = client()
    assert messages(feed(connection, way(head + b"\r\n{}"))) == []
    (answer,) = messages(feed(connection, [b""]))
    assert body_bytes(answer.body) == b"{}"
    assert not connection.reusable
    assert connection.received(b"") == []


@pytest.mark.parametrize("way", WAYS)
def test_an_answer_that_says_close_is_the_last(way: Way) -> None:
    connection = client()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    assert [type(event) for event in feed(connection, way(answer + GARBAGE))] == [Complete]
    assert not connection.reusable


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "data",
    [
        b"\x15\x03\x03\x00\x02\x02\x28\r\n",
        b"<html>\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4097\r\n\r\n" + b"x" * 4_097,
        b"HTTP/1.1 500 OK\r\n\r\n" + b"x" * 4_097,
        b"HTTP/1.1 200 OK\r\nx: " + b"v" * MAX_HEAD + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\nx: " + b"v" * MAX_HEAD + b"\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_what_is_no_answer_is_broken(data: bytes, way: Way) -> None:
    events = feed(client(), way(data))
    assert isinstance(events[-1], Broken)
    assert messages(events) == []


@pytest.mark.parametrize(
    "data", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{"]
)
def test_an_answer_that_breaks_off_is_broken(data: bytes) -> None:
    connection = client()
    assert statuses(feed(connection, [data] if data else [])) == []
    assert messages(events := feed(connection, [b""])) == []
    assert isinstance(events[-1], Broken)


def test_answered_says_whether_any_byte_has_come() -> None:
    connection = client()
    assert not connection.answered
    connection.received(b"H")
    assert connection.answered


def test_the_next_request_follows_on_the_same_connection() -> None:
    connection = client()
    for _ in range(3):
        feed(connection, [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])
        assert connection.reusable
        assert sent(connection.request(Request("GET", "/", (("host", "a"),)))).startswith(b"GET / HTTP/1.1\r\n")
        assert not connection.answered


def test_an_answer_before_the_requests_end_leaves_the_connection_unusable() -> None:
    connection = ClientConnection(1, max_response=MAX_RESPONSE)
    headers = (("host", "a"), ("transfer-encoding", "chunked"))
    connection.request(Request("POST", "/", headers, (b"a", PurePath("b"))))
    assert len(messages(feed(connection, [b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"]))) == 1
    assert not connection.reusable


def test_a_200_is_streamed_without_a_limit_and_others_are_not_streamed() -> None:
    connection = client(streamed=True)
    events = feed(connection, [b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n", b"x" * 4_500, b"y" * 4_500])
    assert [event.data for event in events if isinstance(event, Piece)] == [b"x" * 4_500 + b"y" * 4_500]
    assert body_bytes(messages(events)[0].body) == b""
    connection = client(streamed=True)
    events = feed(connection, [b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}"])
    assert [type(event) for event in events] == [Complete]
    assert body_bytes(messages(events)[0].body) == b"{}"


# Any bytes

LINES = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n",
        b"POST /x HTTP/1.1\r\n",
        b"HEAD / HTTP/1.0\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 204 \r\n",
        b"HTTP/1.0 500 No\r\n",
        b"Host: a\r\n",
        b"Content-Length: 0\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 3000\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Expect: 100-continue\r\n",
        b"Upgrade: a\r\nConnection: upgrade\r\n",
        b"x: " + b"y" * 600 + b"\r\n",
        b" folded\r\n",
        b"\r\n",
        b"\n",
        b"5\r\nabcde\r\n",
        b"5;e\r\nabcde\r\n0\r\n\r\n",
        b"0\r\n\r\n",
        b"abcde",
        b"\x00",
        b"z" * 3_000,
    ]
)
BYTES = st.lists(st.one_of(LINES, st.binary(max_size=20)), max_size=12).map(b"".join)
MESSAGES = st.one_of(
    BYTES,
    st.builds(lambda rest: b"POST / HTTP/1.1\r\nHost: a\r\n" + rest, BYTES),
    st.builds(lambda rest: b"HTTP/1.1 200 OK\r\n" + rest, BYTES),
    st.builds(
        lambda data, at, byte: data[: at % len(data)] + byte + data[at % len(data) + 1 :],
        st.sampled_from([data for data, *_ in (*GOOD_REQUESTS.values(), *GOOD_RESPONSES.values())]),
        st.integers(0, 10_000),
        st.binary(max_size=2),
    ),
)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(at)]


@pytest.mark.exhaustive
@settings(max_examples=400)
@given(MESSAGES, st.lists(st.integers(0, 10_000), max_size=8), st.booleans())
@example(b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + b"z" * 5_000, [], False)
def test_any_bytes_give_a_server_the_same_events_in_any_pieces(data: bytes, cuts: list[int], ends: bool) -> None:
    """Never an exception: bytes are parsed or they are broken. What is parsed is answered, and the next one follows."""

    def run(pieces: list[bytes]) -> tuple[list[object], bytes]:
        connection = server()
        events = feed(connection, [*pieces, b""] if ends else pieces)
        said, answers = seen(events), b""
        for _ in range(20):
            if not events or not isinstance(events[-1], Complete):
                break
            effects = connection.respond(OK)
            answers += sent(effects)
            if effects[-1] == Close(1):
                break
            events = connection.next_events()
            said += seen(events)
        # A head is an event only where its body comes later.
        return [event for event in said if not isinstance(event, Head)], answers

    expected = run([data] if data else [])
    assert run(cut(data, cuts)) == expected
    assert run(byte_by_byte(data)) == expected


@pytest.mark.exhaustive
@settings(max_examples=400)
@given(MESSAGES, st.lists(st.integers(0, 10_000), max_size=8), st.sampled_from(["GET", "HEAD"]), st.booleans())
def test_any_bytes_give_a_client_the_same_events_in_any_pieces(
    data: bytes, cuts: list[int], method: str, streamed: bool
) -> None:
    """Never an exception: bytes are parsed or they are broken. Whether the connection is used again is the same too."""

    def run(pieces: list[bytes]) -> tuple[list[object], bool]:
        connection = client(method, streamed=streamed, body=())
        said = seen(feed(connection, pieces))
        reusable = copy.deepcopy(connection).reusable
        if 400 not in said and 431 not in said:
            said += seen(feed(connection, [b""]))
        return said, reusable

    expected = run([data] if data else [])
    assert run(cut(data, cuts)) == expected
    assert run(byte_by_byte(data)) == expected


@given(MESSAGES, st.lists(st.integers(0, 10_000), max_size=4))
def test_a_copy_goes_on_the_same(data: bytes, cuts: list[int]) -> None:
    connection, twin = server(), server()
    for piece in cut(data, cuts):
        events = connection.received(piece)
        assert twin.received(piece) == events
        twin = pickle.loads(pickle.dumps(copy.deepcopy(twin)))
        if any(isinstance(event, Broken) for event in events):
            break
    assert twin.respond(OK) == connection.respond(OK)
