"""HTTP messages as values: what `Webhook` is asked and answers, what a call is encoded to and its answer decoded from.

How they become bytes is the business of `http1`, or of whoever brings an HTTP stack of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePath
from typing import TypeAlias

from attrs import evolve, field, frozen

Headers: TypeAlias = "tuple[tuple[str, str], ...]"
"""Name and value pairs in their order; names in lower case."""


@frozen
class StreamId:
    """Stands for an open stream that the driver holds: the machine's values carry ids, no live objects (law 3)."""

    id: int


Source: TypeAlias = "PurePath | StreamId"
"""Where a driver reads the bytes of a file that is sent: a path, or a stream that it holds."""

Body: TypeAlias = "tuple[bytes | Source, ...]"
"""A message's body: pieces to be sent one after the other. Sources are read while they are sent, never whole."""

_TOKEN_IN_PATH = re.compile(r"(/bot\d+:|\d+:(?=[A-Za-z0-9_-]{24}))[^/]+")


def without_token(text: str) -> str:
    """`text` with the secret half of every bot token in it blotted out."""
    return _TOKEN_IN_PATH.sub(r"\1***", text)


def _redacted_headers(headers: Headers) -> str:
    shown = [(name, "***" if name == "x-telegram-bot-api-secret-token" else value) for name, value in headers]
    return repr(tuple(shown))


def _body_size(body: Body) -> str:
    return "+".join(str(len(piece)) if isinstance(piece, bytes) else "file" for piece in body) + " bytes"


@frozen
class Request:
    """An HTTP request. Its representation shows neither token nor secret nor body."""

    method: str
    target: str = field(repr=without_token)
    headers: Headers = field(default=(), repr=_redacted_headers)
    body: Body = field(default=(), repr=_body_size)


@frozen
class Response:
    """An HTTP response."""

    status: int
    headers: Headers = field(default=(), repr=_redacted_headers)
    body: Body = field(default=(), repr=_body_size)


def values_of(headers: Headers, name: str) -> list[str]:
    """All values of the header `name` (given in lower case), in their order."""
    return [value for key, value in headers if key == name]


def body_bytes(body: Body) -> bytes:
    """The body as one string of bytes; for bodies without a source."""
    return b"".join(piece for piece in body if isinstance(piece, bytes))


def is_in_memory(body: Body) -> bool:
    """Whether nothing of a body is to be read from files."""
    return all(isinstance(piece, bytes) for piece in body)


def lower_names(headers: Iterable[tuple[str, str]]) -> Headers:
    """Headers as the machine wants them, from pairs in any case."""
    return tuple((name.lower(), value) for name, value in headers)


def with_body(request: Request, body: bytes) -> Request:
    """A request whose body was read to its end: its length is known now."""
    framing = ("transfer-encoding", "content-length")
    headers = [(name, value) for name, value in request.headers if name not in framing]
    return evolve(request, headers=(*headers, ("content-length", str(len(body)))), body=(body,))
