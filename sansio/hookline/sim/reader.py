"""What the server reads from a webhook's endpoint: bytes to one response at a time (telegram-server.md, 4.4 and 4.7).

This is not HTTP as its documents have it, but as this one reader reads it: an interim answer is the answer, a body
without a length is none, and each fault has its own words, which getWebhookInfo shows.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import define, field, frozen

from hookline.http import Response

MAX_HEADERS: Final = 262_144
MAX_LENGTH: Final = 4_294_967_295
MAX_BODY: Final = 67_108_864
"""Bytes of a body that are kept. The server writes longer ones to a file, and they are no method call either way."""


@frozen
class Answer:
    """A whole response. reason: its reason phrase, verbatim. One that ends its connection has `connection: close`."""

    response: Response
    reason: str


@frozen
class Unreadable:
    """The endpoint does not answer by HTTP that the server can read. problem: the text of 4.7."""

    problem: str


class _Fault(Exception):
    """What is wrong, in the words of 4.7."""


@define
class _Head:
    """length: what is left of the body, or of its current chunk; None when a chunk's size is to come."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    chunked: bool
    length: int | None


@define
class ResponseReader:
    """Reads the responses of one connection."""

    _buffer: bytearray = field(factory=bytearray)
    _head: _Head | None = None
    _body: list[bytes] = field(factory=list)
    _size: int = 0

    def received(self, data: bytes) -> Answer | Unreadable | None:
        """Bytes have come; None while the response is not whole."""
        self._buffer += data
        try:
            return self._read()
        except _Fault as fault:
            return Unreadable(str(fault))

    def _read(self) -> Answer | None:
        if self._head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if (end if end >= 0 else len(self._buffer)) > MAX_HEADERS:
                raise _Fault("Request Header Fields Too Large: total headers size exceeded")
            if end < 0:
                return None
            self._head = _head(self._take(end + 4)[:-4].decode("latin-1"))
        if not (self._chunks(self._head) if self._head.chunked else self._whole(self._head)):
            return None
        head, body = self._head, b"".join(self._body)
        self._head, self._body, self._size = None, [], 0
        if self._buffer:  # bytes that nobody asked for: nothing that follows on this connection could be trusted
            head.headers = (*head.headers, ("connection", "close"))
        return Answer(Response(head.status, head.headers, (body,) if body else ()), head.reason)

    def _whole(self, head: _Head) -> bool:
        """Whether a body of known length has come."""
        assert head.length is not None
        self._add(head)
        return head.length == 0

    def _chunks(self, head: _Head) -> bool:
        """Whether all chunks have come."""
        while True:
            if head.length is None:
                end = self._buffer.find(b"\r\n")
                if end > 8 or (end < 0 and len(self._buffer) > 9):
                    raise _Fault("Bad Request")
                if end < 0:
                    return False
                size = re.match(rb"[0-9a-fA-F]+", self._take(end + 2))  # what follows it is not looked at
                if size is None:
                    raise _Fault("Bad Request")
                head.length = int(size[0], 16)
                if head.length == 0:
                    head.length = -1  # the line that ends the last chunk
            self._add(head)
            if head.length > 0 or len(self._buffer) < 2:
                return False
            if self._take(2) != b"\r\n":
                raise _Fault("Bad Request")
            if head.length < 0:
                return True
            head.length = None

    def _add(self, head: _Head) -> None:
        """Move what has come of the body, or of a chunk, out of the buffer."""
        if head.length is not None and head.length > 0:
            piece = self._take(min(head.length, len(self._buffer)))
            head.length -= len(piece)
            self._size += len(piece)
            if self._size > MAX_BODY:
                raise _Fault("Request Entity Too Large: too many parameters")
            self._body.append(piece)

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken


def _head(text: str) -> _Head:
    first, *lines = text.split("\r\n")
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/"):
        raise _Fault("Not Implemented")
    if version not in ("HTTP/1.0", "HTTP/1.1"):
        raise _Fault("HTTP Version Not Supported")
    code, space, reason = rest.partition(" ")
    if re.fullmatch("[0-9]{3}", code) is None:
        raise _Fault("Bad Request")
    if not space and lines:  # the reader looks for the phrase behind the next space
        reason = lines.pop(0)
    headers: list[tuple[str, str]] = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise _Fault("Bad Request")
        headers.append((name.strip().lower(), value.strip()))
    named = dict(headers)
    if version == "HTTP/1.0" and "connection" not in named:
        headers.append(("connection", "close"))
    coding = named.get("transfer-encoding")
    if coding not in (None, "chunked"):
        raise _Fault("Unimplemented: unsupported transfer-encoding")
    length = named.get("content-length", "0")
    if re.fullmatch("[0-9]{1,20}", length) is None:
        raise _Fault("Bad Request")
    if int(length) >= MAX_LENGTH:
        raise _Fault(f"Request Entity Too Large: content length is {int(length)}")
    chunked = coding == "chunked"
    return _Head(int(code), reason, tuple(headers), chunked, None if chunked else int(length))
