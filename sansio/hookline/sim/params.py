"""The parameters of a request, as the server reads them (telegram-server.md, 2.1, 3.1 and 5.2).

Names are case-sensitive, the first occurrence wins, the query comes before the body. Nothing here refuses bad syntax:
the server runs a method with what it could read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from attrs import define, field, frozen

from hookline import codec
from hookline.http import Headers, values_of

MAX_PARAMETER_BYTES: Final = 1_048_576
MAX_FILES: Final = 50


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
    """Why a webhook's reply cannot be read at all (4.7)."""

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
        number = int(match[2][:40]) & 0xFFFFFFFF
        signed = -number if match[1] else number
        return (signed + 0x80000000) % 0x100000000 - 0x80000000

    def flag(self, name: str) -> bool:
        """A boolean as the server parses it."""
        return self.values.get(name, "").strip().lower() in ("true", "yes", "1")

    def json(self, name: str) -> Any:
        """A JSON parameter's value; None if it is missing or no JSON."""
        try:
            return codec.decode(self.values[name].encode("utf-8", "replace"))
        except (KeyError, ValueError):
            return None


def read_params(query: str, headers: Headers, body: bytes) -> Params:
    """The parameters of a request, or of a webhook's response (whose query is empty)."""
    params = Params()
    _add(params, parse_qsl(query, keep_blank_values=True))
    content_type = next(iter(values_of(headers, "content-type")), "")
    lowered = content_type.lower()
    if not body:
        return params
    if "application/json" in lowered:
        if len(body) > MAX_PARAMETER_BYTES:
            params.problem = "Request Entity Too Large: too many parameters"
        else:
            _read_json(params, body)
    elif "application/x-www-form-urlencoded" in lowered:
        if len(body) > MAX_PARAMETER_BYTES:
            params.problem = "Request Entity Too Large: too many parameters"
        else:
            _add(params, parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    elif "multipart/form-data" in lowered:
        _read_multipart(params, content_type, body)
    return params


def _add(params: Params, pairs: list[tuple[str, str]]) -> None:
    for name, value in pairs:
        params.values.setdefault(name, value)


def _read_json(params: Params, body: bytes) -> None:
    try:
        value = codec.decode(body)
    except ValueError:
        return
    if isinstance(value, str):
        params.values.setdefault("content", value)
    if isinstance(value, Mapping):
        for name, inner in value.items():
            params.values.setdefault(name, inner if isinstance(inner, str) else codec.encode(inner).decode())


def _read_multipart(params: Params, content_type: str, body: bytes) -> None:
    boundary = re.search(r'boundary=(?:"([^"]+)"|([^;\s]+))', content_type, re.IGNORECASE)
    mark = b"--" + (boundary[1] or boundary[2]).encode("latin-1") if boundary else b""
    if boundary is None or b"\r\n" + mark + b"--" not in body:
        params.problem = "Bad Request: unexpected end of request content"
        return
    size = 0
    for part in (b"\r\n" + body.rpartition(b"\r\n" + mark + b"--")[0]).split(b"\r\n" + mark)[1:]:
        head, blank, data = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        if not blank:
            continue
        text = head.decode("utf-8", "replace")
        name, filename = _attribute(text, "name"), _attribute(text, "filename")
        if name is None:
            continue
        if filename is not None:
            kind = re.search(r"content-type:\s*([^\r\n;]+)", text, re.IGNORECASE)
            file = File(filename, kind[1].strip() if kind else "application/octet-stream", data)
            params.files.setdefault(name, file)
        else:
            size += len(name) + len(data)
            params.values.setdefault(name, data.decode("utf-8", "replace"))
    if size > MAX_PARAMETER_BYTES:
        params.problem = "Request Entity Too Large: too many parameters in form data"
    elif len(params.files) > MAX_FILES:
        params.problem = "Request Entity Too Large: too many files attached"


def _attribute(head: str, name: str) -> str | None:
    found = re.search(rf'[;\s]{name}=(?:"([^"]*)"|([^;\s]*))', head, re.IGNORECASE)
    return None if found is None else found[1] if found[1] is not None else found[2]
