"""What Telegram knows about each kind of update: its lifetime, its ordering queue, and whether it is allowed.

Everything here is a table or a pure function of one payload (telegram-server.md, 1.3, 1.5 and 4.3). A kind that is not
in the tables stands for one that Telegram adds later: always allowed, a day's life, ordered with nothing.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any, Final

DAY: Final = 86_400

KINDS: Final = (
    "message",
    "edited_message",
    "channel_post",
    "edited_channel_post",
    "inline_query",
    "chosen_inline_result",
    "callback_query",
    "custom_event",
    "custom_query",
    "shipping_query",
    "pre_checkout_query",
    "poll",
    "poll_answer",
    "my_chat_member",
    "chat_member",
    "chat_join_request",
    "chat_boost",
    "removed_chat_boost",
    "message_reaction",
    "message_reaction_count",
    "business_connection",
    "business_message",
    "edited_business_message",
    "deleted_business_messages",
    "purchased_paid_media",
    "managed_bot",
    "guest_message",
)
"""The names that allowed_updates knows, in the server's order."""

DEFAULT_ALLOWED: Final = frozenset(KINDS) - {"chat_member", "message_reaction", "message_reaction_count"}
_INTERNAL: Final = ("custom_event", "custom_query")

_MESSAGES: Final = frozenset(kind for kind in KINDS if kind.endswith(("message", "channel_post")))
_SECONDS: Final = {
    "inline_query": 30,
    "chosen_inline_result": 600,
    "callback_query": 150,
    "shipping_query": 150,
    "pre_checkout_query": 150,
    "custom_event": 600,
}
_DATED: Final = {
    "my_chat_member": ("date",),
    "chat_member": ("date",),
    "chat_join_request": ("date",),
    "chat_boost": ("boost", "add_date"),
    "removed_chat_boost": ("remove_date",),
    "message_reaction": ("date",),
    "message_reaction_count": ("date",),
}
_QUEUE: Final = {
    "message": (("chat", "id"), 0),
    "edited_message": (("chat", "id"), 0),
    "channel_post": (("chat", "id"), 0),
    "edited_channel_post": (("chat", "id"), 0),
    "poll": (("id",), 0),
    "poll_answer": (("poll_id",), 0),
    "inline_query": (("from", "id"), 1),
    "chosen_inline_result": (("from", "id"), 2),
    "callback_query": (("from", "id"), 3),
    "shipping_query": (("from", "id"), 4),
    "pre_checkout_query": (("from", "id"), 4),
    "my_chat_member": (("chat", "id"), 5),
    "chat_member": (("new_chat_member", "user", "id"), 6),
    "chat_join_request": (("from", "id"), 6),
    "chat_boost": (("chat", "id"), 7),
    "removed_chat_boost": (("chat", "id"), 7),
    "message_reaction": (("chat", "id"), 8),
    "message_reaction_count": (("chat", "id"), 9),
    "business_connection": (("user", "id"), 10),
    "business_message": (("chat", "id"), 11),
    "edited_business_message": (("chat", "id"), 11),
    "deleted_business_messages": (("chat", "id"), 11),
    "guest_message": (("chat", "id"), 12),
    "purchased_paid_media": (("from", "id"), 12),
    "managed_bot": (("user", "id"), 13),
}


def expires_at(kind: str, payload: Any, unix: int) -> int | None:
    """The unix time after which the update is thrown away; None if it is too old to be created at all (1.3)."""
    if kind in _SECONDS:
        return unix + _SECONDS[kind]
    if kind in _MESSAGES:
        date = _whole(_at(payload, ("edit_date",))) or _whole(_at(payload, ("date",))) or unix
        return date + DAY if unix - date < DAY else None
    if kind in _DATED:
        date = _whole(_at(payload, _DATED[kind])) or unix
        return date + DAY if date + DAY >= unix else None
    return unix + DAY


def ordering_queue(kind: str, payload: Any) -> int | None:
    """The number of the queue in which the webhook sender keeps the update's order; None for a queue of its own (4.3).

    Kinds have queues of their own, so a message and a button press of one private chat are sent in parallel.
    """
    if kind not in _QUEUE:
        return None
    path, namespace = _QUEUE[kind]
    key = _at(payload, path)
    if isinstance(key, str):  # a poll's id
        key = int(key) if key.isdecimal() and len(key) < 20 else zlib.crc32(key.encode("utf-8", "surrogatepass"))
    return None if _whole(key) is None else key + (namespace << 33)


def read_allowed(text: str, current: frozenset[str]) -> frozenset[str]:
    """The kinds allowed after `allowed_updates` was given as `text`: lenient as the server is (1.5)."""
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):
        return current
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return current
    return frozenset(name.lower() for name in names) & frozenset(KINDS) or DEFAULT_ALLOWED


def is_allowed(kind: str, allowed: frozenset[str]) -> bool:
    """Whether an update of this kind is created."""
    return kind in allowed or kind not in KINDS


def shown_allowed(allowed: frozenset[str]) -> list[str] | None:
    """What getWebhookInfo shows as allowed_updates; None for the default, which it leaves out (3.6)."""
    if allowed == DEFAULT_ALLOWED:
        return None
    return [kind for kind in KINDS if kind in allowed and kind not in _INTERNAL]


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def _whole(value: Any) -> int | None:
    return value if type(value) is int else None
