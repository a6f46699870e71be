"""What the server knows of each kind of update: whether it is sent by default, how long it lives, its ordering queue.

Sources: telegram-server.md, 1.3 (lifetimes), 1.5 (allowed_updates), 4.3 (ordering queues).
"""

from __future__ import annotations

from typing import Any, Final

KINDS: Final = (  # in the order of their bits, which is that of getWebhookInfo
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
NOT_DEFAULT: Final = frozenset(("chat_member", "message_reaction", "message_reaction_count"))
DEFAULT: Final = frozenset(KINDS) - NOT_DEFAULT
INTERNAL: Final = frozenset(("custom_event", "custom_query"))
"""What getWebhookInfo does not show (3.6)."""

_LIFETIMES: Final = {
    "inline_query": 30,
    "chosen_inline_result": 600,
    "callback_query": 150,
    "custom_event": 600,
    "shipping_query": 150,
    "pre_checkout_query": 150,
}
_DAY: Final = 86_400

# Where the date stands from which an update's day is counted; it is the time of creation for all others.
_DATES: Final = {
    "message": ("date",),
    "channel_post": ("date",),
    "business_message": ("date",),
    "guest_message": ("date",),
    "edited_message": ("edit_date",),
    "edited_channel_post": ("edit_date",),
    "edited_business_message": ("edit_date",),
    "my_chat_member": ("date",),
    "chat_member": ("date",),
    "chat_join_request": ("date",),
    "chat_boost": ("boost", "add_date"),
    "removed_chat_boost": ("remove_date",),
    "message_reaction": ("date",),
    "message_reaction_count": ("date",),
}

# Where the object stands whose id names the queue, and the namespace that is added to the id.
_QUEUES: Final = {
    "message": (("chat",), 0),
    "edited_message": (("chat",), 0),
    "channel_post": (("chat",), 0),
    "edited_channel_post": (("chat",), 0),
    "inline_query": (("from",), 1),
    "chosen_inline_result": (("from",), 2),
    "callback_query": (("from",), 3),
    "shipping_query": (("from",), 4),
    "pre_checkout_query": (("from",), 4),
    "my_chat_member": (("chat",), 5),
    "chat_member": (("new_chat_member", "user"), 6),
    "chat_join_request": (("from",), 6),
    "chat_boost": (("chat",), 7),
    "removed_chat_boost": (("chat",), 7),
    "message_reaction": (("chat",), 8),
    "message_reaction_count": (("chat",), 9),
    "business_connection": (("user",), 10),
    "business_message": (("chat",), 11),
    "edited_business_message": (("chat",), 11),
    "deleted_business_messages": (("chat",), 11),
    "guest_message": (("chat",), 12),
    "purchased_paid_media": (("from",), 12),
    "managed_bot": (("user",), 13),
}


def expires_at(kind: str, payload: Any, unix: int) -> int | None:
    """When an update that is created at the unix second `unix` expires; None if it is too old to be created (1.3)."""
    date = _inside(payload, _DATES[kind]) if kind in _DATES else None
    if type(date) is not int:
        return unix + _LIFETIMES.get(kind, _DAY)
    return date + _DAY if date + _DAY > unix else None


def ordering_queue(kind: str, payload: Any, fresh: int) -> int:
    """The webhook queue of an update (4.3); `fresh` where it has none of its own."""
    if kind in ("poll", "poll_answer"):
        own = _inside(payload, ("id" if kind == "poll" else "poll_id",))
        return int(own) if isinstance(own, str) and own.isascii() and own.isdigit() and len(own) < 20 else fresh
    if kind not in _QUEUES:
        return fresh
    path, space = _QUEUES[kind]
    own = _inside(payload, (*path, "id"))
    return own + (space << 33) if type(own) is int else fresh


def _inside(payload: Any, path: tuple[str, ...]) -> Any:
    """What stands at `path` in a payload; None if it is not there."""
    for name in path:
        payload = payload.get(name) if isinstance(payload, dict) else None
    return payload
