"""Ordinary messages: which they are, and that h11 would read and write them just so, however they come."""

from __future__ import annotations

import itertools
from pathlib import Path

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookline.effects import Effect, Send
from hookline.http import Request, Response
from hookline.http1 import Broken, ClientConnection, Complete, Event, Head, ServerConnection
from hookline.ordinary import read_request, read_response, write_request, write_response

MOST = 16_384
HEAD = (
    b"POST /hook?a=%20 HTTP/1.1\r\nHost: bot.example.com\r\nX-Telegram-Bot-Api-Secret-Token: s\r\n"
    b"Content-Length: 4\r\nContent-Type: application/json\r\nConnection: keep-alive\r\n\r\n"
)
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 4\r\n\r\n"
REQUEST = Request("POST", "/bot1:a/getMe", (("host", "x"), ("content-length", "2")), (b"{", b"}"))
OK = Response(200, (("content-length", "0"),))


# What is ordinary


def test_what_telegram_sends_is_ordinary() -> None:
    headers = (
        ("host", "bot.example.com"),
        ("x-telegram-bot-api-secret-token", "s"),
        ("content-length", "4"),
        ("content-type", "application/json"),
        ("connection", "keep-alive"),
    )
    assert read_request(HEAD + b"null", MOST) == (Request("POST", "/hook?a=%20", headers), (len(HEAD), 4))


def test_what_telegram_answers_is_ordinary() -> None:
    response = Response(200, (("content-type", "application/json"), ("content-length", "4")))
    assert read_response(ANSWER, MOST) == (response, (len(ANSWER), 4))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"POST", b"GET"),
        (b"POST /", b"POST  /"),
        (b"POST /", b"POST "),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"HTTP/1.1", b"http/1.1"),
        (b"\r\n\r\n", b"\r\n"),
        (b"\r\n\r\n", b"\n\n"),
        (b"Host: bot.example.com\r\n", b""),
        (b"Host: bot.example.com\r\n", b"Host: a\r\nhost: b\r\n"),
        (b"Content-Length: 4\r\n", b""),
        (b"Content-Length: 4", b"Content-Length: 4\r\nContent-Length: 4"),
        (b"Content-Length: 4", b"Content-Length: 4, 4"),
        (b"Content-Length: 4", b"Content-Length: +4"),
        (b"Content-Length: 4", b"Content-Length: " + b"0" * 15 + b"4"),
        (b"Content-Length: 4", b"Content-Length : 4"),
        (b"Content-Length: 4", b"Transfer-Encoding: chunked"),
        (b"Content-Length: 4", b"Content-Length: 4\r\nTransfer-Encoding: chunked"),
        (b"Connection: keep-alive", b"Connection: close"),
        (b"Connection: keep-alive", b"Connection: keep-alive, close"),
        (b"Connection: keep-alive", b"Expect: 100-continue"),
        (b"Connection: keep-alive", b"Upgrade: websocket"),
        (b"Content-Type: application/json", b"Content-Type: application/json\r\n folded"),
        (b"Content-Type: application/json", b"Content-Type:\tapplication/json"),
        (b"Content-Type: application/json", b"Content-Type: \xe9"),
        (b"Content-Type: application/json", b"Content-Type: a\0b"),
        (b"Content-Type: application/json", b"Content-Type:"),
        (b"Content-Type", b"Content_Type"),
    ],
)
def test_any_doubt_is_for_h11(old: bytes, new: bytes) -> None:
    assert old in HEAD
    assert read_request(HEAD.replace(old, new) + b"null", MOST) is None


def test_a_head_is_limited() -> None:
    assert read_request(HEAD, len(HEAD)) is not None
    assert read_request(HEAD, len(HEAD) - 1) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"200", b"100"),
        (b"200", b"204"),
        (b"200", b"304"),
        (b"200 OK", b"200"),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"content-length: 4", b"connection: close\r\ncontent-length: 4"),
        (b"content-length: 4", b"transfer-encoding: chunked"),
        (b"content-length: 4\r\n", b""),
    ],
)
def test_a_response_in_doubt_is_for_h11(old: bytes, new: bytes) -> None:
    assert old in ANSWER
    assert read_response(ANSWER.replace(old, new), MOST) is None


@pytest.mark.parametrize(
    "request_",
    [
        Request("GET", "/", (("host", "x"), ("content-length", "0"))),
        Request("POST", "/ ", (("host", "x"), ("content-length", "0"))),
        Request("POST", "/", (("content-length", "0"),)),
        Request("POST", "/", (("host", "x"),)),
        Request("POST", "/", (("host", "x"), ("content-length", "3")), (b"{}",)),
        Request("POST", "/", (("host", "x"), ("a", "b\r\nc: d"), ("content-length", "0"))),
        Request("POST", "/", (("host", "é"), ("content-length", "0"))),
        Request("POST", "/", (("Host", "x"), ("content-length", "0"))),
        Request("POST", "/", (("host", "x"), ("content-length", "9")), (Path("file"),)),
    ],
)
def test_what_would_not_be_read_as_it_is_meant_is_not_written(request_: Request) -> None:
    assert write_request(request_) is None


@pytest.mark.parametrize(
    "response",
    [
        Response(204, (("content-length", "0"),)),
        Response(100, (("content-length", "0"),)),
        Response(200),
        Response(200, (("content-length", "1"),)),
        Response(200, (("content-length", "0"), ("x", "a\nb"))),
        Response(200, (("content-length", "0"), ("connection", "close"))),
    ],
)
def test_a_response_that_would_not_be_read_as_it_is_meant_is_not_written(response: Response) -> None:
    assert write_response(response, "OK") is None


# What is written, h11 would write


def by_h11(head: h11.Request | h11.Response, body: bytes) -> bytes:
    """The bytes that h11 makes of a message."""
    server = isinstance(head, h11.Response)
    connection = h11.Connection(h11.SERVER if server else h11.CLIENT)
    if server:
        connection.receive_data(HEAD + b"null")
        while connection.next_event() is not h11.NEED_DATA:
            pass
    parts = [connection.send(part) or b"" for part in (head, h11.Data(data=body), h11.EndOfMessage())]
    return b"".join(parts)


def test_a_request_is_written_as_h11_does() -> None:
    head = h11.Request(method="POST", target="/bot1:a/getMe", headers=[("host", "x"), ("content-length", "2")])
    assert write_request(REQUEST) == by_h11(head, b"{}")


@pytest.mark.parametrize("status", [200, 401, 404, 413, 500, 503])
def test_a_response_is_written_as_h11_does(status: int) -> None:
    headers = (("content-type", "application/json"), ("content-length", "2"))
    head = h11.Response(status_code=status, headers=[(a.encode(), b.encode()) for a, b in headers], reason=b"Word")
    assert write_response(Response(status, headers, (b"{}",)), "Word") == by_h11(head, b"{}")


# However they come


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """The data, cut at these places."""
    places = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


def served(parts: list[bytes], *, ends: bool) -> list[Event | Effect]:
    """What a server's side says of whole requests, and does, for what comes so, if it answers each at once."""
    server = ServerConnection(1, max_head=MOST, max_body=100)
    said: list[Event | Effect] = []
    closed = False
    for part in [*parts, b""] if ends else parts:
        events = [] if closed else server.received(part)
        while events:
            answered = False
            for event in events:
                if not isinstance(event, Head):  # which comes only where its body comes later
                    said.append(event)
                if isinstance(event, Complete):
                    effects = server.respond(OK)
                    said += effects
                    answered = len(effects) == 1
                closed = closed or isinstance(event, Broken)
            events = server.next_events() if answered else []
    return said


CUTS = st.lists(st.integers(0, 1_000), max_size=4)
BYTE_BY_BYTE = list(range(2_000))
REQUESTS = st.lists(
    st.sampled_from(
        [
            HEAD + b"null",
            HEAD.replace(b": 4", b": 0"),
            HEAD.replace(b": 4", b": 101") + b"x" * 101,
            HEAD.replace(b"keep-alive", b"close") + b"null",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nnull\r\n0\r\n\r\n",
            HEAD + b"nu",
            b"nonsense\r\n\r\n",
        ]
    ),
    min_size=1,
    max_size=3,
)


@given(REQUESTS, CUTS, st.booleans())
@settings(max_examples=300)
def test_requests_are_the_same_however_they_come(requests: list[bytes], cuts: list[int], ends: bool) -> None:
    """Byte by byte, all of it is h11's."""
    data = b"".join(requests)
    expected = served(pieces(data, BYTE_BY_BYTE), ends=ends)
    assert served(pieces(data, cuts), ends=ends) == expected
    assert served(requests, ends=ends) == expected


def fetched(parts: list[bytes], *, ends: bool) -> list[Event | Effect | bool]:
    """All that a client's side says for what comes so after its request, and whether another may follow."""
    client = ClientConnection(1, max_response=100)
    said: list[Event | Effect | bool] = [*client.request(REQUEST)]
    for part in [*parts, b""] if ends else parts:
        for event in client.received(part):
            said.append(event)
            if isinstance(event, Broken):
                return said
            if isinstance(event, Complete):
                return [*said, client.reusable, client.reusable]
    return said


ANSWERS = st.sampled_from(
    [
        ANSWER + b"null",
        ANSWER.replace(b": 4", b": 0"),
        ANSWER + b"nu",
        ANSWER.replace(b": 4", b": 101") + b"x" * 101,
        ANSWER.replace(b"content-length: 4", b"connection: close") + b"null",
        ANSWER.replace(b"content-length: 4", b"transfer-encoding: chunked") + b"4\r\nnull\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER + b"null",
        b"nonsense\r\n\r\n",
    ]
)


@given(ANSWERS, CUTS, st.booleans())
@settings(max_examples=300)
def test_an_answer_is_the_same_however_it_comes(answer: bytes, cuts: list[int], ends: bool) -> None:
    expected = fetched(pieces(answer, BYTE_BY_BYTE), ends=ends)
    assert fetched(pieces(answer, cuts), ends=ends) == expected


def test_an_answer_with_more_behind_it_leaves_no_connection_to_use_again() -> None:
    """What follows would be taken for the next answer."""
    client = ClientConnection(1, max_response=100)
    client.request(REQUEST)
    events = client.received(ANSWER + b"nullHTTP/1.1 200 OK\r\n")
    assert isinstance(events[-1], Complete)
    assert not client.reusable


def test_a_second_exchange_may_be_h11s_and_a_third_ordinary() -> None:
    server = ServerConnection(1, max_head=MOST, max_body=100)
    for request in (HEAD + b"null", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", HEAD + b"null"):
        events = server.received(request)
        assert [type(event) for event in events] == [Complete]
        [sent] = server.respond(OK)
        assert isinstance(sent, Send)
        assert server.idle
