"""An update as the machine sees it: its envelope and its lane, no more.

Structuring all of an update costs twice its decoding, so the payload stays the JSON that Telegram sent; whoever wants
classes structures it at the edge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from attrs import frozen

MAX_UPDATE_ID: Final = 2**63 - 1
"""No integer of the Bot API is wider than 64 bits; what a greater one would do as an offset, nobody knows."""

LaneKey: TypeAlias = "int | str"
"""Updates with one lane key are handled one at a time, in order."""


@frozen
class Update:
    """One update, as received.

    update_id: the Bot API's `update_id`.
    kind: the name of its one filled field ("message", "callback_query", ...); of a kind unknown here just the same.
        Empty if Telegram sent nothing but the id.
    payload: that field's value.
    raw: the whole mapping, as received: what the bots of other libraries are fed.
    lane: updates of one lane are never handled at the same time.
    """

    update_id: int
    kind: str
    payload: Any
    raw: Mapping[str, Any]
    lane: LaneKey


Lane: TypeAlias = "Callable[[Mapping[str, Any]], LaneKey]"
"""Gives the lane key of a whole raw update. It must be a pure function; it replaces `default_lane`."""


def read_update(raw: Any, lane: Lane | None = None) -> Update | str:
    """The update that `raw` is, or one sentence that says why it is none. Never raises for what Telegram may send.

    lane: the program's own; whatever it raises is raised here, and TypeError for a key that is neither int nor str.
    """
    if not isinstance(raw, dict):
        return f"it is a JSON {_json_type(raw)}, not an object"
    update_id = raw.get("update_id")
    if type(update_id) is not int:
        return f"its update_id is {'missing' if update_id is None else 'a JSON ' + _json_type(update_id)}"
    if update_id < 0:  # as an offset it would delete updates unseen (telegram-server.md, 2.2)
        return "its update_id is negative"
    if update_id > MAX_UPDATE_ID:
        return "its update_id is too great"
    kind, payload = "", None
    for name, value in raw.items():
        if name != "update_id" and value is not None:
            kind, payload = name, value
            break
    key = _lane_of(update_id, kind, payload) if lane is None else lane(raw)
    if not isinstance(key, (int, str)):
        raise TypeError(f"a lane key must be an int or a str, not {key!r}")
    return Update(update_id, kind, payload, raw, key)


def named(update_ids: Sequence[int], most: int = 5) -> str:
    """Updates as a person is told of them: so many ids, and how many more there are."""
    ids = ", ".join(map(str, update_ids[:most]))
    more = f" and {len(update_ids) - most} more" if len(update_ids) > most else ""
    return f"update{'' if len(update_ids) == 1 else 's'} {ids}{more}"


def default_lane(raw: Mapping[str, Any]) -> LaneKey:
    """The lane of an update: its chat, or its user where it has no chat, across all kinds of update.

    The key is the chat's or the user's id. A private chat has the id of its user, so what a user does inline is in one
    lane with the private chat. A poll, which has neither, is a lane of its own; so is what has none of the three.
    """
    update = read_update(raw)
    if isinstance(update, str):
        raise ValueError(f"not an update: {update}")
    return update.lane


def _lane_of(update_id: int, kind: str, payload: Any) -> LaneKey:
    if isinstance(payload, dict):
        # The order is that of the design: a chat first, wherever the Bot API's objects keep it, then a user.
        for holder in (payload, payload.get("message")):
            if isinstance(holder, dict):
                key = _id_in(holder, "chat")
                if key is not None:
                    return key
        for name in ("voter_chat", "from", "user"):
            key = _id_in(payload, name)
            if key is not None:
                return key
        if kind == "poll" and isinstance(payload.get("id"), str):
            return f"poll:{payload['id']}"
    return f"update:{update_id}"


def _id_in(holder: Mapping[str, Any], name: str) -> int | None:
    inner = holder.get(name)
    if isinstance(inner, dict):
        key = inner.get("id")
        if type(key) is int:
            return key
    return None


def _json_type(value: Any) -> str:
    return {
        bool: "boolean",
        int: "number",
        float: "number",
        str: "string",
        list: "array",
        dict: "object",
        type(None): "null",
    }.get(type(value), type(value).__name__)
