"""HTTP, multipart and JSON as others read them: h11 used plainly, httptools, the standard library's email, orjson.

What hookline takes for a message, another must take for the same one: where two readers of one connection differ, what
one thinks is a body the other takes for a request.
"""

from __future__ import annotations

import email
import email.policy
import json
from email.message import EmailMessage
from random import Random
from typing import Any

import h11
import pytest
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from hookline import codec
from hookline.botapi import Endpoint, InputFile, Token, encode_call
from hookline.http import Request, Response, body_bytes
from hookline.http1 import Broken, ClientConnection, Complete, ServerConnection
from hookline.ordinary import read_request, read_response

httptools = pytest.importorskip("httptools")
orjson = pytest.importorskip("orjson", reason="the extra 'speed' is not installed")

pytestmark = pytest.mark.exhaustive

MAX_HEAD = 16_384
MAX_BODY = 1_048_576
ENDPOINT = Endpoint(Token(f"42:{'t' * 30}"), "http://127.0.0.1:8081")


@frozen
class Message:
    """One HTTP message as a reader understands it. start: method and target, or the status."""

    start: tuple[str, ...]
    headers: tuple[tuple[str, str], ...]
    body: bytes


# The readers


def as_hookline_reads_requests(data: bytes) -> tuple[list[Message], bool]:
    """The requests that the server's side takes, and whether something was refused."""
    server = ServerConnection(1, max_head=MAX_HEAD, max_body=MAX_BODY)
    messages: list[Message] = []
    events = server.received(data)
    while events:
        for event in events:
            if isinstance(event, Broken):
                return messages, True
            if isinstance(event, Complete):
                request = event.message
                assert isinstance(request, Request)
                start = (request.method, request.target)
                messages.append(Message(start, request.headers, body_bytes(request.body)))
                server.respond(Response(200, (("content-length", "0"),)))
        events = server.next_events()
    return messages, False


def as_h11_reads_requests(data: bytes) -> tuple[list[Message], bool]:
    """The same by h11 without anything around it."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
    connection.receive_data(data)
    messages: list[Message] = []
    request, body = None, b""
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return messages, True
        if isinstance(event, h11.Request):
            request, body = event, b""
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            assert request is not None
            messages.append(
                Message((request.method.decode(), request.target.decode("latin-1")), _texts(request.headers), body)
            )
            connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return messages, False
            connection.start_next_cycle()
        else:
            return messages, False


class _Collector:
    """What httptools calls back."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.parser: Any = None
        self._url, self._body = b"", b""
        self._headers: list[tuple[str, str]] = []

    def on_message_begin(self) -> None:
        self._url, self._headers, self._body = b"", [], b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1").strip()))

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if isinstance(self.parser, httptools.HttpRequestParser):
            start: tuple[str, ...] = (self.parser.get_method().decode(), self._url.decode("latin-1"))
        else:
            start = (str(self.parser.get_status_code()),)
        self.messages.append(Message(start, tuple(self._headers), self._body))


def as_httptools_reads(data: bytes, kind: Any) -> tuple[list[Message], bool]:
    """The messages by the parser of Node.js, and whether it refused something."""
    collector = _Collector()
    collector.parser = kind(collector)
    try:
        collector.parser.feed_data(data)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return collector.messages, True
    return collector.messages, False


def _texts(headers: Any) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)


# Bytes, good and damaged

TOKENS = st.text("abcXYZ-_0", min_size=1, max_size=6)
VALUES = st.text("abc 0;=\"',/", max_size=12).map(str.strip)
BODIES = st.binary(max_size=40) | st.just(b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")


@st.composite
def framed(draw: st.DrawFn, first_line: bytes) -> bytes:
    """A message with a body of known length, or in chunks."""
    body = draw(BODIES)
    headers = [
        (b"Host", b"x"),
        *((f"x-{n}".encode(), v.encode()) for n, v in draw(st.lists(st.tuples(TOKENS, VALUES)))),
    ]
    if draw(st.booleans()):
        headers.append((b"Content-Length", str(len(body)).encode()))
    else:
        headers.append((b"Transfer-Encoding", b"chunked"))
        cut = draw(st.integers(0, len(body)))
        pieces = [piece for piece in (body[:cut], body[cut:]) if piece]
        body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    return first_line + b"".join(b"%s: %s\r\n" % header for header in headers) + b"\r\n" + body


METHODS = st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE"])
REQUESTS = METHODS.flatmap(lambda method: framed(method + b" /path?q=%20 HTTP/1.1\r\n"))
RESPONSES = st.sampled_from([200, 404, 500]).flatmap(lambda status: framed(b"HTTP/1.1 %d Word\r\n" % status))
CONNECTIONS = st.lists(REQUESTS, min_size=1, max_size=3).map(b"".join)

NOISE = st.sampled_from(
    (
        *(
            b"\r\n",
            b"\n",
            b"\r",
            b" ",
            b"\t",
            b"\0",
            b":",
            b",",
            b"0",
            b"ff",
            b"-1",
            b"+5",
            b"\xff",
            b";a=b",
            b"chunked",
        ),
        *(b"HTTP/1.0", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding : chunked\r\n"),
    )
)


@st.composite
def damaged(draw: st.DrawFn, sound: st.SearchStrategy[bytes]) -> bytes:
    """Sound bytes, with pieces put in, taken out or doubled."""
    data = draw(sound)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 8)))
        data = data[:at] + draw(st.sampled_from([b"", data[at:end] * 2]) | NOISE) + data[end:]
    return data


# What must agree


@st.composite
def ordinary(draw: st.DrawFn, first_line: bytes) -> bytes:
    """A message as most are: with nothing unusual about it."""
    body = draw(BODIES)
    headers = [
        (b"Host", b"x"),
        *((f"x-{n}".encode(), v.encode()) for n, v in draw(st.lists(st.tuples(TOKENS, VALUES.filter(bool))))),
        (b"Content-Length", str(len(body)).encode()),
        *draw(st.lists(st.just((b"Connection", b"keep-alive")), max_size=1)),
    ]
    return first_line + b"".join(b"%s: %s\r\n" % header for header in draw(st.permutations(headers))) + b"\r\n" + body


@given(damaged(ordinary(b"POST /path?q=%20 HTTP/1.1\r\n")))
@settings(max_examples=1_000)
def test_what_passes_h11_by_is_the_same_request_to_h11(data: bytes) -> None:
    """And to httptools: whatever the narrow grammar takes, all take, and nobody thinks that the connection ends."""
    read = read_request(data, MAX_HEAD)
    if read is None:
        return
    request, (start, length) = read
    whole = Message((request.method, request.target), request.headers, data[start : start + length].ljust(length, b"x"))
    for messages, _ in (
        as_h11_reads_requests(data[:start] + whole.body),
        as_httptools_reads(data[:start] + whole.body, httptools.HttpRequestParser),
    ):
        assert messages == [whole]


@given(damaged(ordinary(b"HTTP/1.1 200 Word\r\n")))
@settings(max_examples=1_000)
def test_what_passes_h11_by_is_the_same_response_to_h11(data: bytes) -> None:
    read = read_response(data, MAX_HEAD)
    if read is None:
        return
    response, (start, length) = read
    body = data[start : start + length].ljust(length, b"x")
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="POST", target="/", headers=[("host", "x"), ("content-length", "0")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data[:start] + body)
    event = client.next_event()
    assert isinstance(event, h11.Response)
    assert (event.status_code, _texts(event.headers)) == (response.status, response.headers)
    events = iter(client.next_event, h11.NEED_DATA)
    assert b"".join(bytes(event.data) for event in events if isinstance(event, h11.Data)) == body
    assert client.their_state is h11.DONE
    client.start_next_cycle()


@given(CONNECTIONS)
def test_sound_requests_are_the_same_to_all(data: bytes) -> None:
    """hookline, h11 by itself and httptools."""
    messages, refused = as_hookline_reads_requests(data)
    assert not refused
    assert (messages, refused) == as_h11_reads_requests(data)
    assert (messages, refused) == as_httptools_reads(data, httptools.HttpRequestParser)


@given(damaged(CONNECTIONS))
@settings(max_examples=500)
def test_what_hookline_takes_of_damaged_requests_h11_takes_just_so(data: bytes) -> None:
    """It may refuse more, as two framings of one body, and takes nothing that h11 does not."""
    messages, _ = as_hookline_reads_requests(data)
    assert messages == as_h11_reads_requests(data)[0][: len(messages)]


@given(damaged(CONNECTIONS))
@settings(max_examples=500)
def test_what_hookline_takes_of_damaged_requests_is_no_other_request_to_httptools(data: bytes) -> None:
    """It may refuse what hookline takes, but where it takes a request, it is the same one."""
    messages, _ = as_hookline_reads_requests(data)
    others, _ = as_httptools_reads(data, httptools.HttpRequestParser)
    for ours, theirs in zip(messages, others, strict=False):
        assert (ours.start, ours.body) == (theirs.start, theirs.body)


def as_hookline_reads_response(data: bytes) -> tuple[Message | None, bool]:
    """The answer to one GET, and whether it was refused."""
    client = ClientConnection(1, max_response=MAX_BODY)
    client.request(Request("GET", "/", (("host", "x"),)))
    for event in client.received(data):
        if isinstance(event, Broken):
            return None, True
        if isinstance(event, Complete):
            response = event.message
            assert isinstance(response, Response)
            return Message((str(response.status),), response.headers, body_bytes(response.body)), False
    return None, False


@given(RESPONSES)
def test_a_sound_response_is_the_same_to_httptools(data: bytes) -> None:
    message, refused = as_hookline_reads_response(data)
    assert ([message], refused) == as_httptools_reads(data, httptools.HttpResponseParser)


@given(damaged(RESPONSES))
@settings(max_examples=500)
def test_what_hookline_takes_of_a_damaged_response_is_no_other_to_httptools(data: bytes) -> None:
    """Where both take one, it is the same."""
    ours, _ = as_hookline_reads_response(data)
    others, _ = as_httptools_reads(data, httptools.HttpResponseParser)
    if ours is not None and others:
        assert (ours.start, ours.body) == (others[0].start, others[0].body)


# Multipart


@given(
    st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=20) | st.integers(), max_size=4),
    st.dictionaries(
        st.text(min_size=1, max_size=8), st.tuples(st.binary(max_size=60), st.text(max_size=12)), min_size=1
    ),
)
def test_a_form_with_files_is_the_same_to_another_parser(
    values: dict[str, Any], files: dict[str, tuple[bytes, str]]
) -> None:
    """The standard library's: as many parts, with the same bytes in the same order."""
    params = values | {name: InputFile(data, filename) for name, (data, filename) in files.items()}
    texts = [value for value in params.values() if not isinstance(value, InputFile)]
    sources = [value.source for value in params.values() if isinstance(value, InputFile)]
    request = encode_call(ENDPOINT, "sendDocument", params, Random(1))
    content_type = dict(request.headers)["content-type"]
    whole = f"Content-Type: {content_type}\r\n\r\n".encode() + body_bytes(request.body)
    form = email.message_from_bytes(whole, policy=email.policy.HTTP)
    assert isinstance(form, EmailMessage)
    parts = [part.get_payload(decode=True) for part in form.iter_parts()]
    expected = [text.encode() if isinstance(text, str) else json.dumps(text).encode() for text in texts]
    assert parts == expected + sources


# JSON

EDGES = st.sampled_from(
    (
        *(
            b"NaN",
            b"-Infinity",
            b"1e999",
            b"-0",
            b"01",
            b"1.",
            b'"\\ud83d\\ude00"',
            b'"\\u0000"',
            b'{"a":1,"a":2}',
            b"[1,]",
        ),
        *(b"\xef\xbb\xbf{}", b'"\xff"', b"'a'", b"[1 2]", b'{"a"}', b"\t[ ]\r\n", b'"\t"', b"nul", b"", b"{}{}"),
    )
)
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUE = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abé", max_size=4), inner, max_size=3),
    max_leaves=8,
)


def read(decode: Any, data: bytes) -> tuple[bool, Any]:
    try:
        return True, decode(data)
    except ValueError:
        return False, None


def with_floats(value: Any) -> Any:
    """A value with floats for the integers that are too large for orjson."""
    if isinstance(value, dict):
        return {name: with_floats(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [with_floats(inner) for inner in value]
    return float(value) if type(value) is int and not -(2**63) <= value < 2**64 else value


@given(EDGES | damaged(VALUE.map(codec.encode)))
@settings(max_examples=500)
def test_json_is_what_orjson_takes_for_it(data: bytes) -> None:
    """And the same value; but orjson knows no half of a surrogate pair, no great integer, no float past the last."""
    ours, theirs = read(codec.decode, data), read(orjson.loads, data)
    if theirs[0]:
        assert (ours[0], with_floats(ours[1])) == theirs
    elif ours[0]:
        assert b"\\u" in data or b"e" in data.lower() or len(data) > 300
