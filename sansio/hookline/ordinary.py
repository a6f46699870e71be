"""What nearly all messages are: POST requests and their answers, with a Content-Length, and nothing unusual about them.

A head that matches a narrow grammar is read, or written, in one go; None says that it is not ordinary, and is for h11
to judge. The rule that keeps it right: whatever is ordinary, h11 takes for the same message, and would write with the
same bytes. So h11 stays the arbiter, and what is left out here is its business: other methods and versions, chunks, 100
Continue, upgrades, connections that are to be closed, any doubt about a length.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, TypeAlias

from hookline.http import Body, Headers, Request, Response, body_bytes, is_in_memory

_FIELDS: Final = rb"((?:[A-Za-z0-9-]+: [!-~](?:[ -~]*[!-~])?\r\n)+)\r\n"
_REQUEST: Final = re.compile(rb"POST (/[!-~]*) HTTP/1\.1\r\n" + _FIELDS)
_RESPONSE: Final = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9]) [ -~]*\r\n" + _FIELDS)
_LENGTH: Final = re.compile(r"[0-9]{1,15}")
_UNUSUAL: Final = frozenset(("transfer-encoding", "expect", "upgrade"))
"""Headers by which the body, or what follows it, would be something else."""
_WITHOUT_BODY: Final = frozenset((204, 304))

Found: TypeAlias = "tuple[int, int]"
"""Where a body begins, and how long it is."""


def read_request(data: bytes, most: int) -> tuple[Request, Found] | None:
    """The request, without its body, whose head `data` begins with, if it is ordinary and has at most `most` bytes."""
    head = _REQUEST.match(data, 0, most)
    fields = None if head is None else _read_fields(head[2], hosts=1)
    if head is None or fields is None:
        return None
    headers, length = fields
    return Request("POST", head[1].decode("ascii"), headers), (head.end(), length)


def read_response(data: bytes, most: int) -> tuple[Response, Found] | None:
    """The response, without its body, whose head `data` begins with, if it is ordinary and has at most `most` bytes."""
    head = _RESPONSE.match(data, 0, most)
    fields = None if head is None else _read_fields(head[2])
    if head is None or fields is None or int(head[1]) in _WITHOUT_BODY:
        return None
    headers, length = fields
    return Response(int(head[1]), headers), (head.end(), length)


def write_request(request: Request) -> bytes | None:
    """The bytes of an ordinary request whose body is in memory."""
    if request.method != "POST" or not is_in_memory(request.body):
        return None
    head = _head(f"POST {request.target} HTTP/1.1", request.headers, _REQUEST, hosts=1)
    return _whole(head, request.body)


def write_response(response: Response, reason: str) -> bytes | None:
    """The bytes of an ordinary response whose body is in memory. reason: the words beside the status."""
    if not is_in_memory(response.body):
        return None
    return _whole(_response_head(response.status, reason, response.headers), response.body)


def _read_fields(data: bytes, hosts: int | None = None) -> tuple[Headers, int] | None:
    """The headers and the length of the body. hosts: how often `host` must be there, if that matters."""
    headers: list[tuple[str, str]] = []
    lengths: list[str] = []
    for line in data.decode("ascii").split("\r\n")[:-1]:
        name, _, value = line.partition(": ")
        name = name.lower()
        if name == "content-length":
            lengths.append(value)
        elif name in _UNUSUAL or (name == "connection" and value.lower() != "keep-alive"):
            return None
        elif name == "host" and hosts is not None:
            hosts -= 1
        headers.append((name, value))
    if len(lengths) != 1 or hosts or not _LENGTH.fullmatch(lengths[0]):
        return None
    return tuple(headers), int(lengths[0])


@lru_cache(maxsize=256)
def _response_head(status: int, reason: str, headers: Headers) -> tuple[bytes, int] | None:
    """A webhook gives few different answers, and each of them again and again."""
    return None if status in _WITHOUT_BODY else _head(f"HTTP/1.1 {status} {reason}", headers, _RESPONSE)


def _head(
    first: str, headers: Headers, grammar: re.Pattern[bytes], hosts: int | None = None
) -> tuple[bytes, int] | None:
    """The bytes of a head, and the length that it names; None if it would not be read as ordinary, and the same."""
    fields = "".join([f"{name}: {value}\r\n" for name, value in headers])
    try:
        head = f"{first}\r\n{fields}\r\n".encode("ascii")
    except UnicodeEncodeError:
        return None
    found = grammar.fullmatch(head)
    read = None if found is None else _read_fields(found[2], hosts)
    return (head, read[1]) if read is not None and read[0] == headers else None


def _whole(head: tuple[bytes, int] | None, body: Body) -> bytes | None:
    """A message, if its body has the length that its head names."""
    data = body_bytes(body)
    return head[0] + data if head is not None and head[1] == len(data) else None
