"""JSON in and out: the one place that decides what counts as JSON.

The decoder is handed to the machines as a function, so that a faster one can take its place; whatever it is, it takes
bytes and raises ValueError, and nothing else, for what is not JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeAlias

Decode: TypeAlias = "Callable[[bytes], Any]"

MAX_DEPTH: Final = 200
"""Arrays and objects within each other; the server itself reads no more than 100 (telegram-server.md, 5.2). Whatever
looks into a value later, by recursion, can rely on it."""

_UNSTRUCTURED: Final = bytes(set(range(256)) - set(b'"[]{}'))
_BRACES: Final = bytes.maketrans(b"[]", b"{}")
_ALIKE: Final = re.compile(rb"{+|}+")


def decode(data: bytes) -> Any:
    """The value of a JSON text in UTF-8. ValueError for anything else: NaN, too deep or too long a number included."""
    if is_deep(data):
        raise ValueError("JSON is nested too deep")
    try:
        return _DECODER.decode(data.decode("utf-8"))
    except ValueError as error:
        if "set_int_max_str_digits" not in str(error):
            raise
        raise ValueError("a number has too many digits") from None  # Python's own text is advice for programmers


def encode(value: Any) -> bytes:
    """The compact JSON text of a value in UTF-8. ValueError or TypeError for what JSON cannot say."""
    try:
        return _ENCODER.encode(value).encode("utf-8")
    except RecursionError:
        raise ValueError("the value is nested too deep for JSON") from None


def is_deep(data: bytes) -> bool:
    """Whether a JSON text is nested deeper than MAX_DEPTH. Of what is no JSON it may say either."""
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    # Two quotes side by side are an empty string, or the seam of two strings with nothing between them.
    left = data.translate(_BRACES, _UNSTRUCTURED).replace(b'""', b"")
    if b'"' in left:
        left = re.sub(rb'"[^"]*"', b"", left)
    depth = 0
    # Each time the innermost go, all over: of the usual text nothing is left then, and of any a small part.
    while depth < 8:
        if depth + len(left) <= MAX_DEPTH:
            return False
        left = left.replace(b"{}", b"")
        depth += 1
    for braces in _ALIKE.finditer(left):
        size = braces.end() - braces.start()
        depth += size if left[braces.start()] == 0x7B else -size
        if depth > MAX_DEPTH:
            return True
    return False


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# Made once: `loads` and `dumps` make one for each call that has options.
_DECODER: Final = json.JSONDecoder(parse_constant=_no_constant)
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
