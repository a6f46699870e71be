"""JSON in and out: the one place that decides what counts as JSON.

The decoder is handed to the machines as a function, so that a faster one can take its place; whatever it is, it takes
bytes and raises ValueError, and nothing else, for what is not JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NoReturn, TypeAlias

Decode: TypeAlias = "Callable[[bytes], Any]"


def decode(data: bytes) -> Any:
    """The value of a JSON text in UTF-8. ValueError for anything else: NaN, too deep or too long a number included."""
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("JSON is nested too deep") from None


def encode(value: Any) -> bytes:
    """The compact JSON text of a value in UTF-8. ValueError or TypeError for what JSON cannot say."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
