"""What users do: the payloads of the updates that a message and a press of a button make.

The server marks the commands in a text; libraries know a command by that mark alone.
"""

from __future__ import annotations

import re
from typing import Any, Final

from hookline.sim import objects
from hookline.sim.methods import Chats

_COMMAND: Final = re.compile(r"(?<![\w/<>])/[A-Za-z0-9_]{1,64}(?:@[A-Za-z0-9_]{3,32}|(?!@))(?![\w/<>])")
"""A command as TDLib's `match_bot_commands` has it."""


def message(chats: Chats, text: str, unix: int, *, user: int, chat: int | None) -> dict[str, Any]:
    """A user's message: in private, or in the chat that is given."""
    where = user if chat is None else chat
    written: dict[str, Any] = {
        "message_id": chats.new_message_id(),
        "from": objects.person(user),
        "chat": objects.chat(where),
        "date": unix,
        "text": text,
    }
    commands = [_entity(text, match) for match in _COMMAND.finditer(text)]
    return written | {"entities": commands} if commands else written


def press(chats: Chats, data: str, unix: int, query_id: str, *, user: int, chat: int | None) -> dict[str, Any]:
    """A press of the button with this data: under the last message in the chat that has it, else under a new one."""
    where = user if chat is None else chat
    pressed = chats.with_button(where, data)
    if pressed is None:
        pressed = {
            "message_id": chats.new_message_id(),
            "from": chats.me(),
            "chat": objects.chat(where),
            "date": unix,
            "text": "press a button",
            "reply_markup": {"inline_keyboard": [[{"text": data, "callback_data": data}]]},
        }
        chats.keep(pressed)
    return {"id": query_id, "from": objects.person(user), "message": pressed, "chat_instance": str(where), "data": data}


def _entity(text: str, match: re.Match[str]) -> dict[str, Any]:
    return {"type": "bot_command", "offset": _length(text[: match.start()]), "length": _length(match[0])}


def _length(text: str) -> int:
    """In UTF-16 code units, as the Bot API counts."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
