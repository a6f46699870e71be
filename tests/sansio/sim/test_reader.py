"""What the server reads from an endpoint, bytes to responses (telegram-server.md, 4.1, 4.4, 4.7 and 4.8)."""

from __future__ import annotations

import copy
import pickle
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline.http import Response
from hookline.sim.reader import MAX_BODY, Answer, ResponseReader, Unreadable

OK = b"HTTP/1.1 200 OK\r\n"
CLOSE = ("connection", "close")


def read(*pieces: bytes) -> Answer | Unreadable | None:
    """What comes of the pieces, up to the first that is something."""
    reader = ResponseReader()
    for piece in pieces:
        found = reader.received(piece)
        if found is not None:
            return found
    return None


def bytewise(data: bytes) -> Answer | Unreadable | None:
    return read(*(data[at : at + 1] for at in range(len(data))))


GOOD = {
    "no length": (OK + b"\r\n", Response(200), "OK"),
    "a length of 0": (OK + b"Content-Length: 0\r\n\r\n", Response(200, (("content-length", "0"),)), "OK"),
    "a length": (
        OK + b"Content-Length: 3\r\nX-Y:  z \r\n\r\nabc",
        Response(200, (("content-length", "3"), ("x-y", "z")), (b"abc",)),
        "OK",
    ),
    "chunks": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0A\r\n0123456789\r\n0\r\n\r\n",
        Response(200, (("transfer-encoding", "chunked"),), (b"abc0123456789",)),
        "OK",
    ),
    "a short chunk extension": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n",
        Response(200, (("transfer-encoding", "chunked"),), (b"abc",)),
        "OK",
    ),
    "a reason phrase": (b"HTTP/1.1 500 It's  broken\r\n\r\n", Response(500), "It's  broken"),
    "an empty reason phrase": (b"HTTP/1.1 500 \r\n\r\n", Response(500), ""),
    "an interim response": (b"HTTP/1.1 100 Continue\r\n\r\n", Response(100), "Continue"),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\n", Response(200, (CLOSE,)), "OK"),
    "HTTP/1.0 that stays": (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n",
        Response(200, (("connection", "keep-alive"),)),
        "OK",
    ),
    "no space after the code": (b"HTTP/1.1 500\r\nRetry-After: 5\r\n\r\n", Response(500), "Retry-After: 5"),
    "no space and no header": (b"HTTP/1.1 200\r\n\r\n", Response(200), ""),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_response_is_read_however_it_comes(name: str) -> None:
    """Whole by its length or its chunks; one with neither ends with its head (4.4)."""
    data, response, reason = GOOD[name]
    assert read(data) == bytewise(data) == Answer(response, reason)


@pytest.mark.parametrize("name", GOOD)
def test_a_response_with_more_behind_it_ends_its_connection(name: str) -> None:
    """What was not asked for could be taken for the next response (4.4)."""
    data, response, reason = GOOD[name]
    answer = read(data + b"HTTP/1.1 500 Not asked for\r\n\r\n")
    assert answer == Answer(Response(response.status, (*response.headers, CLOSE), response.body), reason)


def test_a_reader_reads_one_response_after_the_other() -> None:
    """A connection is kept (4.1)."""
    reader = ResponseReader()
    for data, response, reason in GOOD.values():
        assert reader.received(data) == Answer(response, reason)


@pytest.mark.parametrize("name", GOOD)
def test_a_response_that_has_not_come_whole_is_waited_for(name: str) -> None:
    """For as long as the connection is open (4.7, last lines)."""
    assert read(GOOD[name][0][:-1]) is None


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"hello\r\n\r\n", "Not Implemented"),
        (b"GET / HTTP/1.1\r\n\r\n", "Not Implemented"),
        (b"HTTP/2 200\r\n\r\n", "HTTP Version Not Supported"),
        (b"HTTP/1.2 200 OK\r\n\r\n", "HTTP Version Not Supported"),
        (b"HTTP/1.1 2x0 OK\r\n\r\n", "Bad Request"),
        (OK + b"no colon\r\n\r\n", "Bad Request"),
        (OK + b"Content-Length: x\r\n\r\n", "Bad Request"),
        (OK + b"Content-Length: -1\r\n\r\n", "Bad Request"),
        (
            OK + b"Content-Length: 4294967295\r\n\r\n",
            "Request Entity Too Large: content length is 4294967295",
        ),
        (OK + b"Transfer-Encoding: gzip\r\n\r\n", "Unimplemented: unsupported transfer-encoding"),
        (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "Unimplemented: unsupported transfer-encoding"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nx\r\n", "Bad Request"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n123456789\r\n", "Bad Request"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n3;name=value\r\nabc\r\n0\r\n\r\n", "Bad Request"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcde", "Bad Request"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nTrailer: x\r\n\r\n", "Bad Request"),
        (OK + b"X: " + b"y" * 262_144 + b"\r\n\r\n", "Request Header Fields Too Large: total headers size exceeded"),
        (OK + b"X: " + b"y" * 262_144, "Request Header Fields Too Large: total headers size exceeded"),
    ],
    ids=lambda value: value[:40] if isinstance(value, (str, bytes)) else None,
)
def test_what_cannot_be_read_has_its_words(data: bytes, problem: str) -> None:
    """The table of 4.7; a chunk's size of more than 8 characters and trailers are not understood."""
    assert read(data) == Unreadable(problem)
    if len(data) < 1_000:
        assert bytewise(data) == Unreadable(problem)


def test_the_longest_length_is_one_less_than_refused() -> None:
    """4 294 967 294 bytes may come (4.7)."""
    assert read(OK + b"Content-Length: 4294967294\r\n\r\n") is None


def test_a_body_is_kept_up_to_a_limit() -> None:
    """Longer ones the server would write to a file; here they fail, so that nothing grows without end."""
    data = OK + b"Content-Length: %d\r\n\r\n" % (MAX_BODY + 1) + bytes(MAX_BODY + 1)
    assert isinstance(read(data), Unreadable)


# Properties

BYTES = st.lists(
    st.sampled_from([piece for data, _, _ in GOOD.values() for piece in data.split(b" ")] + [b"\r\n", b" ", b":"])
    | st.binary(max_size=6),
    max_size=20,
).map(b"".join)


@given(data=st.sampled_from([data for data, _, _ in GOOD.values()]) | BYTES, cuts=st.lists(st.integers(0, 200)))
def test_it_does_not_matter_where_the_bytes_are_cut(data: bytes, cuts: list[int]) -> None:
    """Whole, byte by byte or in any pieces, the first thing that is read is the same; and nothing raises."""
    edges = [0, *sorted(cut for cut in cuts if cut <= len(data)), len(data)]
    pieces = [data[start:end] for start, end in pairwise(edges)]
    whole = read(data)
    for other in (bytewise(data), read(*pieces)):
        assert kept(other) == kept(whole)


def kept(found: Answer | Unreadable | None) -> object:
    """A response without what was said of the bytes behind it: in pieces they have not come yet."""
    if not isinstance(found, Answer):
        return found
    headers = tuple(header for header in found.response.headers if header != CLOSE)
    return found.response.status, headers, found.response.body, found.reason


@pytest.mark.parametrize("name", GOOD)
def test_a_reader_goes_on_the_same_when_it_was_copied(name: str) -> None:
    """It is plain data (law 8)."""
    data, response, reason = GOOD[name]
    reader = ResponseReader()
    for at in range(len(data) - 1):
        assert reader.received(data[at : at + 1]) is None
        reader = pickle.loads(pickle.dumps(copy.deepcopy(reader)))
    assert reader.received(data[-1:]) == Answer(response, reason)
