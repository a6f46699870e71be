"""JSON in and out: the one place that decides what counts as JSON.

The decoder is handed to the machines as a function, so that a faster one can take its place; whatever it is, it takes
bytes and raises ValueError, and nothing else, for what is not JSON.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeAlias

Decode: TypeAlias = "Callable[[bytes], Any]"

MAX_DEPTH: Final = 500
"""Arrays and objects within each other; the server itself reads no more than 100 (telegram-server.md, 5.2)."""

_UNSTRUCTURED: Final = bytes(set(range(256)) - set(b'"[]{}'))
_TOO_DEEP: Final = re.compile(rb"[\[{]{%d}" % (MAX_DEPTH + 1))


def decode(data: bytes) -> Any:
    """The value of a JSON text in UTF-8. ValueError for anything else: NaN, too deep or too long a number included."""
    if sys.platform == "emscripten" and is_deep(data):  # the stack there is at its end before RecursionError
        raise ValueError("JSON is nested too deep")
    try:
        return _DECODER.decode(data.decode("utf-8"))
    except RecursionError:
        raise ValueError("JSON is nested too deep") from None
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
    """Whether a JSON text is nested deeper than MAX_DEPTH.

    What is left when strings and closed pairs are taken out again and again, are brackets that stay open.
    """
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return False
    left = data.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _UNSTRUCTURED)
    left = re.sub(rb'"[^"]*"', b"", left)
    while not _TOO_DEEP.search(left):
        flat = left.replace(b"[]", b"").replace(b"{}", b"")
        if flat == left:
            return False
        left = flat
    return True


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# Made once: `loads` and `dumps` make one for each call that has options.
_DECODER: Final = json.JSONDecoder(parse_constant=_no_constant)
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
