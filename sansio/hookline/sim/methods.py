"""Plausible results of the Bot API's methods, so that a bot that runs against the simulation finds what it expects.

Delivery methods (getUpdates, setWebhook, ...) are not here: `telegram` has them. A method that is not listed gets what
its name promises: a message for send*, forward*, copy* and edit*, true for what sets, deletes or answers.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any, Final

from attrs import define, field, frozen

from hookline.sim.params import File, Params

MAX_STORED_BYTES: Final = 33_554_432
"""Of uploaded files that are kept for getFile, per bot."""
MAX_DOWNLOAD: Final = 20_971_520
MAX_MESSAGES: Final = 10_000

_TRUE: Final = re.compile(
    r"(set|delete|answer|pin|unpin|ban|unban|restrict|promote|leave|close|reopen|hide|approve|decline)"
)
_MEDIA: Final = ("photo", "document", "audio", "video", "voice", "animation", "sticker", "video_note")


@frozen
class Refusal:
    """A method's error, as the server words it."""

    code: int
    description: str
    retry_after: int | None = None
    migrate_to_chat_id: int | None = None


@define
class Chats:
    """What one bot has sent and stored: enough to answer the next call."""

    bot_id: int
    next_message: int = 1
    messages: OrderedDict[tuple[int, int], dict[str, Any]] = field(factory=OrderedDict)
    files: OrderedDict[str, tuple[str, bytes]] = field(factory=OrderedDict)
    stored: int = 0
    commands: list[Any] = field(factory=list)

    def me(self) -> dict[str, Any]:
        """The bot as a User."""
        return {
            "id": self.bot_id,
            "is_bot": True,
            "first_name": f"Bot {self.bot_id}",
            "username": f"sim{self.bot_id}_bot",
        }

    def run(self, method: str, params: Params, unix: int) -> Any:
        """The result of a method, or its Refusal. The method's name is in lower case."""
        if method == "getme":
            return self.me() | {
                "can_join_groups": True,
                "can_read_all_group_messages": False,
                "supports_inline_queries": True,
                "can_connect_to_business": False,
                "has_main_web_app": False,
            }
        if method == "sendchataction":
            return True
        if method == "sendmediagroup":
            media = params.json("media")
            count = len(media) if isinstance(media, list) else 0
            return [self._send(params, unix) for _ in range(count)] or Refusal(400, "Bad Request: media is empty")
        if method.startswith(("send", "forward")):
            if not params.values.get("chat_id"):
                return Refusal(400, "Bad Request: chat_id is empty")
            if method == "sendmessage" and not params.values.get("text"):
                return Refusal(400, "Bad Request: message text is empty")
            return self._send(params, unix)
        if method.startswith("copy"):
            return {"message_id": self._send(params, unix)["message_id"]}
        if method.startswith("edit"):
            return self._edit(params, unix)
        if method == "setmycommands":
            commands = params.json("commands")
            self.commands = commands if isinstance(commands, list) else []
            return True
        if method == "getmycommands":
            return self.commands
        if method == "getfile":
            return self._get_file(params.values.get("file_id", ""))
        if method == "getchat":
            return _chat(params)
        if method in ("getchatmembercount", "getuserprofilephotos"):
            return 2 if method == "getchatmembercount" else {"total_count": 0, "photos": []}
        if _TRUE.match(method):
            return True
        return Refusal(404, "Not Found: method not found")

    def new_message_id(self) -> int:
        """The next message_id of this bot's chats."""
        self.next_message += 1
        return self.next_message - 1

    def _send(self, params: Params, unix: int) -> dict[str, Any]:
        chat = _chat(params)
        message: dict[str, Any] = {
            "message_id": self.new_message_id(),
            "from": self.me(),
            "chat": chat,
            "date": unix,
        }
        for name in ("text", "caption"):
            if params.values.get(name):
                message[name] = params.values[name]
        markup = params.json("reply_markup")
        if isinstance(markup, dict) and "inline_keyboard" in markup:
            message["reply_markup"] = markup
        for kind in _MEDIA:
            file = self._uploaded(kind, params)
            if file is not None:
                stored = self._store(file)
                message[kind] = [stored | {"width": 1, "height": 1}] if kind == "photo" else stored
        self.messages[chat["id"], message["message_id"]] = message
        while len(self.messages) > MAX_MESSAGES:
            self.messages.popitem(last=False)
        return message

    def _edit(self, params: Params, unix: int) -> Any:
        if params.values.get("inline_message_id"):
            return True
        message = self.messages.get((_chat(params)["id"], params.raw_integer("message_id", 0)))
        if message is None:
            return Refusal(400, "Bad Request: message to edit not found")
        text = params.values.get("text")
        if text is not None and message.get("text") == text:
            return Refusal(
                400,
                "Bad Request: message is not modified: specified new message content and reply markup are exactly the "
                "same as a current content and reply markup of the message",
            )
        message["edit_date"] = unix
        if text is not None:
            message["text"] = text
        return message

    def _uploaded(self, kind: str, params: Params) -> File | None:
        reference = params.values.get(kind, "")
        if reference.startswith("attach://"):
            return params.files.get(reference.removeprefix("attach://"))
        return params.files.get(kind)

    def _store(self, file: File) -> dict[str, Any]:
        file_id = f"file-{self.bot_id}-{self.next_message}-{len(self.files)}"
        self.files[file_id] = (file.filename, file.content)
        self.stored += len(file.content)
        while self.stored > MAX_STORED_BYTES and self.files:
            _, (_, content) = self.files.popitem(last=False)
            self.stored -= len(content)
        return {
            "file_id": file_id,
            "file_unique_id": file_id,
            "file_name": file.filename,
            "mime_type": file.content_type,
            "file_size": len(file.content),
        }

    def _get_file(self, file_id: str) -> Any:
        stored = self.files.get(file_id)
        if stored is None:
            return Refusal(400, "Bad Request: wrong file_id or the file is temporarily unavailable")
        if len(stored[1]) > MAX_DOWNLOAD:
            return Refusal(400, "Bad Request: file is too big")
        size = len(stored[1])
        return {"file_id": file_id, "file_unique_id": file_id, "file_size": size, "file_path": f"documents/{file_id}"}


def _chat(params: Params) -> dict[str, Any]:
    text = params.values.get("chat_id", "0")
    if text.startswith("@"):
        return {
            "id": -1_000_000_000_000 - sum(text.encode()),
            "type": "channel",
            "title": text[1:],
            "username": text[1:],
        }
    try:
        chat_id = int(text)
    except ValueError:
        chat_id = 0
    if chat_id < 0:
        return {"id": chat_id, "type": "supergroup", "title": f"Chat {chat_id}"}
    return {"id": chat_id, "type": "private", "first_name": f"User {chat_id}"}
