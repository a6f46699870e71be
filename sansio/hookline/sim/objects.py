"""The Bot API's objects as the simulation makes them up.

They have every field that the Bot API's documentation does not call optional: libraries refuse an object without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from hookline.sim.params import File, Params

MEDIA: Final[dict[str, dict[str, Any]]] = {
    "photo": {"width": 1, "height": 1},
    "document": {},
    "audio": {"duration": 1},
    "video": {"width": 1, "height": 1, "duration": 1},
    "voice": {"duration": 1},
    "animation": {"width": 1, "height": 1, "duration": 1},
    "sticker": {"type": "regular", "width": 1, "height": 1, "is_animated": False, "is_video": False},
    "video_note": {"length": 1, "duration": 1},
}
"""The kinds of media, and what is said of one besides its file."""


def person(user: int) -> dict[str, Any]:
    """A User."""
    return {"id": user, "is_bot": False, "first_name": f"User {user}", "language_code": "en"}


def chat(chat_id: int) -> dict[str, Any]:
    """A Chat: private, or a group where its id is negative."""
    if chat_id < 0:
        return {"id": chat_id, "type": "supergroup", "title": f"Chat {chat_id}"}
    return {"id": chat_id, "type": "private", "first_name": f"User {chat_id}"}


def chat_of(params: Params) -> dict[str, Any]:
    """The Chat that a call names."""
    text = params.values.get("chat_id", "0")
    if text.startswith("@"):
        chat_id = -1_000_000_000_000 - sum(text.encode())
        return {"id": chat_id, "type": "channel", "title": text[1:], "username": text[1:]}
    try:
        return chat(int(text))
    except ValueError:
        return chat(0)


def full(some_chat: dict[str, Any]) -> dict[str, Any]:
    """A Chat as a ChatFullInfo."""
    gifts = ("unlimited_gifts", "limited_gifts", "unique_gifts", "premium_subscription", "gifts_from_channels")
    accepted = dict.fromkeys(gifts, False)
    return some_chat | {"accent_color_id": 0, "max_reaction_count": 11, "accepted_gift_types": accepted}


def document(file_id: str, file: File) -> dict[str, Any]:
    """A file as a Document, which is what all media have in common."""
    return {
        "file_id": file_id,
        "file_unique_id": file_id,
        "file_name": file.filename,
        "mime_type": file.content_type,
        "file_size": len(file.content),
    }


def media(kind: str, described: dict[str, Any]) -> Any:
    """What a message holds of a file that is sent as this kind."""
    one = described | MEDIA[kind]
    return [one] if kind == "photo" else one


def keyboard(params: Params) -> dict[str, Any] | None:
    """The inline keyboard that a call gives to a message."""
    markup = params.json("reply_markup")
    return markup if isinstance(markup, dict) and "inline_keyboard" in markup else None


def buttons(message: dict[str, Any]) -> Iterator[Any]:
    """What the buttons under a message send when they are pressed."""
    rows = message.get("reply_markup", {}).get("inline_keyboard")
    for row in rows if isinstance(rows, list) else []:
        for button in row if isinstance(row, list) else []:
            if isinstance(button, dict):
                yield button.get("callback_data")
