"""The parameters of a request or of a webhook's response, as the server reads them (telegram-server.md, 2.1, 3.1, 5.2).

Names are case-sensitive, the first occurrence wins, the query comes before the body. Bad syntax within JSON is not
refused: the server runs a method with what it could read before. What it does refuse is in `Params.problem`.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import Any, Final
from urllib.parse import parse_qsl

from attrs import define, field, frozen

from hookline import codec
from hookline.http import Headers, values_of

MAX_PARAMETER_BYTES: Final = 1_048_576
MAX_FILES: Final = 50
MAX_HEADERS: Final = 262_144
MAX_BOUNDARY: Final = 70
MAX_DEPTH: Final = 100
MAX_INFLATED: Final = 67_108_864
"""Bytes that a compressed body may become."""

TOO_MANY: Final = "Request Entity Too Large: too many parameters"
TOO_MANY_IN_FORM: Final = "Request Entity Too Large: too many parameters in form data"
TOO_MANY_FILES: Final = "Request Entity Too Large: too many files attached"
BAD_ENCODING: Final = "Unsupported Media Type: unsupported content-encoding"
TOO_LONG_HEADERS: Final = "Request Header Fields Too Large: total headers size exceeded"
NO_BOUNDARY: Final = "Bad Request: boundary not found"
BAD_BOUNDARY: Final = "Bad Request: boundary too big or empty"
NO_NAME: Final = "Bad Request: field name in multipart/form-data not found"
UNEXPECTED_END: Final = "Bad Request: unexpected end of request content"

_STATUSES: Final = {
    "Request Entity Too Large": 413,
    "Unsupported Media Type": 415,
    "Request Header Fields Too Large": 431,
}


@frozen
class File:
    """An uploaded file."""

    filename: str
    content_type: str
    content: bytes = field(repr=lambda content: f"{len(content)} bytes")


@define
class Params:
    """A request's parameters, as text, and its files."""

    values: dict[str, str] = field(factory=dict)
    files: dict[str, File] = field(factory=dict)
    problem: str | None = None
    """Why the body cannot be read at all: a text of 4.7."""

    @property
    def status(self) -> int:
        """The status, without a body, that a request with this problem is answered by (5.3)."""
        return _STATUSES.get((self.problem or "").partition(":")[0], 400)

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        """An integer as the server parses it: leading digits count, no digits are 0, 32 bits; then clamped."""
        return max(low, min(high, self.raw_integer(name, default)))

    def raw_integer(self, name: str, default: int) -> int:
        """The same, not clamped."""
        text = self.values.get(name, "")
        if not text:
            return default
        match = re.match(r"(-?)([0-9]+)", text)
        if match is None:
            return 0
        number = int(match[2][-32:])  # no digit above 10 ** 32 is left by 2 ** 32
        return ((-number if match[1] else number) + 0x80000000) % 0x100000000 - 0x80000000

    def flag(self, name: str) -> bool:
        """A boolean as the server parses it."""
        return self.values.get(name, "").strip().lower() in ("true", "yes", "1")

    def json(self, name: str) -> Any:
        """A JSON parameter's value; None if it is missing or no JSON."""
        try:
            value = codec.decode(self.values[name].encode("utf-8"))
            codec.encode(value)  # what holds half of a surrogate pair could not be sent again
        except (KeyError, ValueError, RecursionError):
            return None
        return value

    def file(self, name: str) -> File | None:
        """An uploaded file: in the field `name`, or in the one that `attach://` names (5.2)."""
        reference = self.values.get(name, "")
        if reference.startswith("attach://"):
            return self.files.get(reference.removeprefix("attach://"))
        return self.files.get(name)


def read_params(query: str, headers: Headers, body: bytes) -> Params:
    """The parameters of a request, or of a webhook's response (whose query is empty)."""
    params = Params()
    if query:
        _add(params, query)
    if not body and not values_of(headers, "transfer-encoding"):
        return params
    plain = _inflated(headers, body)
    if isinstance(plain, str):
        params.problem = plain
        return params
    content_type = next(iter(values_of(headers, "content-type")), "")
    lowered = content_type.lower()
    room = MAX_PARAMETER_BYTES - len(query)
    if "multipart/form-data" in lowered:
        params.problem = _read_multipart(params, content_type, plain, room)
    elif "application/json" not in lowered and "application/x-www-form-urlencoded" not in lowered:
        params.files["file"] = File("", content_type, plain)
    elif len(plain) > room:
        params.problem = TOO_MANY
    elif "application/json" in lowered:
        _read_json(params, plain.decode("utf-8", "replace"))
    else:
        _add(params, plain.decode("utf-8", "replace"))
    return params


def _inflated(headers: Headers, body: bytes) -> bytes | str:
    """The body without its content coding; a text of 4.7 if it has none that is known, or is broken."""
    coding = next(iter(values_of(headers, "content-encoding")), "none").lower()
    if coding == "none":
        return body
    if coding not in ("gzip", "deflate"):
        return BAD_ENCODING
    inflater = zlib.decompressobj(47)  # takes the headers of gzip and zlib
    try:
        plain = inflater.decompress(body, MAX_INFLATED)
    except zlib.error:
        return "Bad Request"
    if inflater.unconsumed_tail:
        return TOO_MANY
    return plain if inflater.eof else "Bad Request"


def _add(params: Params, form: str) -> None:
    for name, value in parse_qsl(form, keep_blank_values=True):
        params.values.setdefault(name, value)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_SCANNER: Final = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_no_constant)
_SPACE: Final = re.compile(r"[ \t\r\n]*")
_TOKEN: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)


def _read_json(params: Params, text: str) -> None:
    """Read an object's values up to where it breaks: strings are decoded, all others keep their own text."""
    text = _shallow(text)
    at = _skip(text, 0)
    try:
        if text[at : at + 1] == '"':
            content, at = _scan(text, at)
            if at == len(text):
                params.values.setdefault("content", content)
            return
        opening = "{"
        while text[at : at + 1] == opening:
            at = _skip(text, at + 1)
            if text[at : at + 1] != '"':
                return
            name, at = _scan(text, at)
            if text[at : at + 1] != ":":
                return
            value, at = _scan(text, at + 1)
            params.values.setdefault(name, value)
            opening = ","
    except ValueError:
        return


def _scan(text: str, at: int) -> tuple[str, int]:
    """The JSON value at `at` as a parameter, and where the next character after it stands."""
    start = _skip(text, at)
    value, end = _SCANNER.raw_decode(text, start)
    # Half of a surrogate pair is no character: it could not be sent again.
    plain = value.encode("utf-8", "replace").decode() if isinstance(value, str) else text[start:end]
    return plain, _skip(text, end)


def _shallow(text: str) -> str:
    """The text up to where it is nested too deep. The decoder would recurse, and on some platforms end the process."""
    if text.count("[") + text.count("{") <= 1 + MAX_DEPTH:  # as nearly all texts are
        return text
    depth = 0
    for token in _TOKEN.finditer(text):
        bracket = token[0]
        if bracket in "]}":
            depth -= 1
        elif bracket in "[{":
            depth += 1
            if depth > 1 + MAX_DEPTH:  # the parameters themselves are an object
                return text[: token.start()]
    return text


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _read_multipart(params: Params, content_type: str, body: bytes, room: int) -> str | None:
    """Read a form's values, of at most `room` bytes, and files; what is wrong with it, if it can't be read."""
    found = re.search(r'boundary=("[^"]*"|[^;]*)', content_type, re.IGNORECASE)
    if found is None:
        return NO_BOUNDARY
    boundary = found[1].strip().strip('"').encode("latin-1", "replace")
    if not 1 <= len(boundary) <= MAX_BOUNDARY:
        return BAD_BOUNDARY
    at = body.find(b"--" + boundary)
    at = -1 if at < 0 else at + 2 + len(boundary)
    files = heads = 0
    while at >= 0:
        start = body.find(b"\r\n\r\n", at) + 4
        end = body.find(b"\r\n--" + boundary, start)
        if start < 4 or end < 0:
            break
        head, data = body[at : start - 2].decode("utf-8", "replace"), body[start:end]
        heads += start - at
        if heads > MAX_HEADERS:
            return TOO_LONG_HEADERS
        name, filename = _attribute(head, "name"), _attribute(head, "filename")
        if not name:
            return NO_NAME
        if filename is None:
            room -= len(data)
            if room < 0:
                return TOO_MANY_IN_FORM
            params.values.setdefault(name, data.decode("utf-8", "replace"))
        else:
            files += 1
            if files > MAX_FILES:
                return TOO_MANY_FILES
            kind = re.search(r"content-type:\s*([^\r\n;]+)", head, re.IGNORECASE)
            file = File(filename, kind[1].strip() if kind else "application/octet-stream", data)
            params.files.setdefault(name, file)
        at = end + 4 + len(boundary)
        if body.startswith(b"--", at):
            return None
    return UNEXPECTED_END


def _attribute(head: str, name: str) -> str | None:
    found = re.search(rf'[;\s]{name}=(?:"([^"]*)"|([^;\s]*))', head, re.IGNORECASE)
    return None if found is None else found[1] if found[1] is not None else found[2]
