"""What the stores on databases share: updates as text and back, and the driver told in spite of its errors."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

from hookline.codec import decode
from hookline.updates import Update, read_update

logger = logging.getLogger("hookline")


def as_update(raw: str, lane: str) -> Update:
    """An update as it was stored. ValueError or TypeError if these are no such thing."""
    key = decode(lane.encode())
    update = read_update(json.loads(raw), lambda _: key)
    if isinstance(update, str):
        raise ValueError(update)
    return update


def as_json(value: Any) -> str:
    """A value as JSON, in text that can be stored."""
    # A number such as 1e400 is infinite to Python: json writes and reads that, though it is no JSON.
    return as_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def as_text(text: str) -> str:
    """Text that UTF-8 can say: half of a surrogate pair becomes its escape, which is JSON's too."""
    return text.encode("utf-8", "backslashreplace").decode()


def call(told: Callable[..., object], *values: Any) -> None:
    """Tell the driver something. If that fails, the thread has more to tell."""
    try:
        told(*values)
    except Exception:
        logger.exception("what the inbox said was not heard")
