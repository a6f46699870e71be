"""What the server knows of each kind of update: whether it is sent by default, how long it lives, its ordering queue.

Sources: telegram-server.md, 1.3 (lifetimes), 1.5 (allowed_updates), 4.3 (ordering queues).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

KINDS: Final = (
    "message",
    "edited_message",
    "channel_post",
    "edited_channel_post",
    "inline_query",
    "chosen_inline_result",
    "callback_query",
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
NOT_DEFAULT: Final = frozenset(("chat_member", "message_reaction", "message_reaction_count"))
DEFAULT: Final = frozenset(KINDS) - NOT_DEFAULT

_LIFETIMES: Final = {
    "inline_query": 30,
    "chosen_inline_result": 600,
    "callback_query": 150,
    "shipping_query": 150,
    "pre_checkout_query": 150,
}
_DAY: Final = 86_400

# The object whose id names the queue, and the namespace that is added to it.
_QUEUES: Final = {
    "message": ("chat", 0),
    "edited_message": ("chat", 0),
    "channel_post": ("chat", 0),
    "edited_channel_post": ("chat", 0),
    "inline_query": ("from", 1),
    "chosen_inline_result": ("from", 2),
    "callback_query": ("from", 3),
    "shipping_query": ("from", 4),
    "pre_checkout_query": ("from", 4),
    "my_chat_member": ("chat", 5),
    "chat_member": ("from", 6),
    "chat_join_request": ("from", 6),
    "chat_boost": ("chat", 7),
    "removed_chat_boost": ("chat", 7),
    "message_reaction": ("chat", 8),
    "message_reaction_count": ("chat", 9),
    "business_connection": ("user", 10),
    "business_message": ("chat", 11),
    "edited_business_message": ("chat", 11),
    "deleted_business_messages": ("chat", 11),
    "guest_message": ("chat", 12),
    "purchased_paid_media": ("from", 12),
    "managed_bot": ("user", 13),
}


def lifetime(kind: str) -> int:
    """Seconds that an update of this kind is kept."""
    return _LIFETIMES.get(kind, _DAY)


def ordering_queue(kind: str, payload: Any, fresh: int) -> int:
    """The webhook queue of an update; `fresh` where it has none of its own."""
    if isinstance(payload, Mapping):
        if kind in ("poll", "poll_answer"):
            own = payload.get("id" if kind == "poll" else "poll_id")
            return int(own) if isinstance(own, str) and own.isdigit() else fresh
        name, space = _QUEUES.get(kind, ("", 0))
        inner = payload.get(name)
        if isinstance(inner, Mapping) and type(inner.get("id")) is int:
            return int(inner["id"]) + (space << 33)
    return fresh
