"""What nearly all messages are: POST requests and their answers, with a Content-Length, and nothing unusual about them.

A head that matches a narrow grammar is read, or written, in one go; None says that it is not ordinary, and is for h11
to judge. The rule that keeps it right: whatever is ordinary, h11 takes for the same message, and would write with the
same bytes. So h11 stays the arbiter, and what is left out here is its business: other methods and versions, chunks, 100
Continue, upgrades, connections that are to be closed, any doubt about a length.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final, TypeAlias

from hookline.http import Body, Headers, Request, Response, body_bytes, is_in_memory

_FIELDS: Final = rb"((?:[A-Za-z0-9-]+: [!-~](?:[ -~]*[!-~])?\r\n)+)\r\n"
_REQUEST: Final = re.compile(rb"POST (/[!-~]*) HTTP/1\.1\r\n" + _FIELDS)
_RESPONSE: Final = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9]) [ -~]*\r\n" + _FIELDS)
_LENGTH: Final = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ([0-9]{1,15})\r\n")
_UNUSUAL: Final = frozenset(("transfer-encoding", "expect", "upgrade"))
"""Headers by which the body, or what follows it, would be something else."""
_WITHOUT_BODY: Final = frozenset(("204", "304"))
_KNOWN: Final = 256
"""How many heads are remembered, of each side and each way: they differ in little but the length of the body."""
_MAX_KNOWN: Final = 1_024
"""Bytes of a head that is remembered: what clients send must not fill the memory."""

Found: TypeAlias = "tuple[int, int]"
"""Where a body begins, and how long it is."""

Form: TypeAlias = "tuple[str, Headers, Headers]"
"""A head without the length of its body: the request's target, or the response's status, and the headers before the
length and behind it."""


def read_request(data: bytes, most: int) -> tuple[Request, Found] | None:
    """The request, without its body, whose head `data` begins with, if it is ordinary and has at most `most` bytes."""
    read = _read(data, most, _known_request, _request_form)
    return None if read is None else (Request("POST", read[0], read[1]), read[2])


def read_response(data: bytes, most: int) -> tuple[Response, Found] | None:
    """The response, without its body, whose head `data` begins with, if it is ordinary and has at most `most` bytes."""
    read = _read(data, most, _known_response, _response_form)
    return None if read is None else (Response(int(read[0]), read[1]), read[2])


def write_request(request: Request) -> bytes | None:
    """The bytes of an ordinary request whose body is in memory."""
    if request.method != "POST" or not is_in_memory(request.body):
        return None
    return _write(_request_start(request.target, request.headers[:-1]), request.headers, request.body)


def write_response(response: Response, reason: str) -> bytes | None:
    """The bytes of an ordinary response whose body is in memory. reason: the words beside the status."""
    if not is_in_memory(response.body):
        return None
    start = _response_start(response.status, reason, response.headers[:-1])
    return _write(start, response.headers, response.body)


def _read(
    data: bytes, most: int, known: Callable[[bytes], Form | None], form: Callable[[bytes], Form | None]
) -> tuple[str, Headers, Found] | None:
    end = data.find(b"\r\n\r\n", 0, most) + 4
    length = _LENGTH.search(data, 0, end)
    if length is None:
        return None
    head = b"%b0%b" % (data[: length.start(1)], data[length.end(1) : end])
    found = known(head) if end <= _MAX_KNOWN else form(head)
    if found is None:
        return None
    first, before, behind = found
    return first, (*before, ("content-length", length[1].decode("ascii")), *behind), (end, int(length[1]))


def _request_form(head: bytes) -> Form | None:
    form = _form(_REQUEST.fullmatch(head))
    if form is None or [name for name, _ in (*form[1], *form[2])].count("host") != 1:
        return None
    return form


def _response_form(head: bytes) -> Form | None:
    form = _form(_RESPONSE.fullmatch(head))
    return None if form is None or form[0] in _WITHOUT_BODY else form


_known_request = lru_cache(_KNOWN)(_request_form)
_known_response = lru_cache(_KNOWN)(_response_form)


def _form(head: re.Match[bytes] | None) -> Form | None:
    """What a head is that fits the grammar."""
    if head is None:
        return None
    headers: list[tuple[str, str]] = []
    lengths: list[int] = []
    for line in head[2].decode("ascii").split("\r\n")[:-1]:
        name, _, value = line.partition(": ")
        name = name.lower()
        if name == "content-length":
            lengths.append(len(headers))
        elif name in _UNUSUAL or (name == "connection" and value.lower() != "keep-alive"):
            return None
        headers.append((name, value))
    if len(lengths) != 1:
        return None
    return head[1].decode("ascii"), tuple(headers[: lengths[0]]), tuple(headers[lengths[0] + 1 :])


@lru_cache(_KNOWN)
def _request_start(target: str, headers: Headers) -> bytes | None:
    if headers[:1] and headers[0][0] != "host":
        return None  # h11 would write it first
    return _start(f"POST {target} HTTP/1.1", headers, _request_form)


@lru_cache(_KNOWN)
def _response_start(status: int, reason: str, headers: Headers) -> bytes | None:
    return _start(f"HTTP/1.1 {status} {reason}", headers, _response_form)


def _start(first: str, headers: Headers, form: Callable[[bytes], Form | None]) -> bytes | None:
    """The bytes of a head up to the length; None if it would not be read as ordinary, and the same."""
    fields = "".join([f"{name}: {value}\r\n" for name, value in headers])
    try:
        start = f"{first}\r\n{fields}".encode("ascii")
    except UnicodeEncodeError:
        return None
    read = form(start + b"content-length: 0\r\n\r\n")
    return start if read is not None and read[1:] == (headers, ()) else None


def _write(start: bytes | None, headers: Headers, body: Body) -> bytes | None:
    """A message, if the last of its headers is the length that its body has."""
    data = body_bytes(body)
    if start is None or headers[-1:] != (("content-length", str(len(data))),):
        return None
    return b"%bcontent-length: %d\r\n\r\n%b" % (start, len(data), data)
