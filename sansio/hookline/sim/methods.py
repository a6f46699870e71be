"""Plausible results of the Bot API's methods, so that a bot that runs against the simulation finds what it expects.

Delivery methods (getUpdates, setWebhook, ...) are not here: `telegram` has them. A method that is not listed gets what
its name promises: a message for send*, forward*, copy* and edit*, true for what sets, deletes or answers.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any, Final

from attrs import define, field

from hookline.sim.answers import NO_METHOD, Refusal
from hookline.sim.objects import MEDIA, buttons, chat_of, document, full, keyboard, media, person
from hookline.sim.params import File, Params

MAX_STORED_BYTES: Final = 33_554_432
"""Of uploaded files that are kept for getFile, per bot."""
MAX_FILES: Final = 10_000
MAX_DOWNLOAD: Final = 20_971_520
MAX_MESSAGES: Final = 10_000
MAX_TEXT: Final = 4_096
MAX_CAPTION: Final = 1_024
MAX_MEDIA: Final = 10
MAX_IDS: Final = 100

NOT_MODIFIED: Final = Refusal(
    400,
    "Bad Request: message is not modified: specified new message content and reply markup are exactly the same as a "
    "current content and reply markup of the message",
)
WRONG_FILE: Final = Refusal(400, "Bad Request: wrong file identifier/HTTP URL specified")

_FIXED: Final[dict[str, Any]] = {
    "answerwebappquery": {},
    "getchatadministrators": [{"status": "creator", "user": person(1), "is_anonymous": False}],
    "getchatmembercount": 2,
    "getchatmenubutton": {"type": "default"},
    "getmydescription": {"description": ""},
    "getmyshortdescription": {"short_description": ""},
    "getuserprofilephotos": {"total_count": 0, "photos": []},
    "sendchataction": True,
    "sendgift": True,
    "sendmessagedraft": True,
}
"""Results that depend on nothing."""
_TRUE: Final = re.compile(
    r"(set|delete|answer|pin|unpin|ban|unban|restrict|promote|leave|close|reopen|hide|approve|decline)"
)


@define
class Chats:
    """What one bot has sent and stored: enough to answer the next call."""

    bot_id: int
    next_message: int = 1
    next_file: int = 1
    messages: OrderedDict[tuple[int, int], dict[str, Any]] = field(factory=OrderedDict)
    files: OrderedDict[str, File] = field(factory=OrderedDict)
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
        if not method.isalnum():
            return NO_METHOD
        if method == "getme":
            return self.me() | {
                "can_join_groups": True,
                "can_read_all_group_messages": False,
                "supports_inline_queries": True,
                "can_connect_to_business": False,
                "has_main_web_app": False,
            }
        if method in _FIXED:
            return _FIXED[method]
        if method == "sendmediagroup":
            return self._send_group(params, unix)
        if method in ("forwardmessages", "copymessages"):
            ids = params.json("message_ids")
            count = min(len(ids), MAX_IDS) if isinstance(ids, list) else 0
            copies = [self._copy(params, unix) for _ in range(count)]
            return copies or Refusal(400, "Bad Request: message identifiers are not specified")
        if method.startswith(("send", "forward")):
            if not params.values.get("chat_id"):
                return Refusal(400, "Bad Request: chat_id is empty")
            if method == "sendmessage" and not params.values.get("text"):
                return Refusal(400, "Bad Request: message text is empty")
            return _too_long(params) or self._send(params, unix)
        if method.startswith("copy"):
            return self._copy(params, unix)
        if method.startswith("edit"):
            return self._edit(method, params, unix)
        if method == "setmycommands":
            commands = params.json("commands")
            self.commands = commands if isinstance(commands, list) else []
            return True
        if method == "getmycommands":
            return self.commands
        if method == "getmyname":
            return {"name": self.me()["first_name"]}
        if method == "getfile":
            return self._get_file(params.values.get("file_id", ""))
        if method == "getchat":
            return full(chat_of(params))
        if method == "getchatmember":
            user = _id(params.values.get("user_id", ""))
            return {"status": "member", "user": self.me() if user == self.bot_id else person(user)}
        if _TRUE.match(method):
            return True
        return NO_METHOD

    def new_message_id(self) -> int:
        """The next message_id of this bot's chats."""
        self.next_message += 1
        return self.next_message - 1

    def keep(self, message: dict[str, Any]) -> None:
        """Remember a message of the bot's; the oldest are forgotten."""
        self.messages[message["chat"]["id"], message["message_id"]] = message
        while len(self.messages) > MAX_MESSAGES:
            self.messages.popitem(last=False)

    def with_button(self, chat_id: int, data: str) -> dict[str, Any] | None:
        """The last message of a chat with a button that sends this data."""
        for (where, _), message in reversed(self.messages.items()):
            if where == chat_id and data in buttons(message):
                return message
        return None

    def _send(self, params: Params, unix: int) -> Any:
        message: dict[str, Any] = {
            "message_id": self.new_message_id(),
            "from": self.me(),
            "chat": chat_of(params),
            "date": unix,
        }
        for name in ("text", "caption"):
            if params.values.get(name):
                message[name] = params.values[name]
        markup = keyboard(params)
        if markup is not None:
            message["reply_markup"] = markup
        for kind in MEDIA:
            attached = self._attached(kind, params)
            if isinstance(attached, Refusal):
                return attached
            if attached is not None:
                message[kind] = attached
        self.keep(message)
        return message

    def _copy(self, params: Params, unix: int) -> dict[str, Any]:
        kept = ("chat_id", "caption", "reply_markup")
        copy = Params({name: value for name, value in params.values.items() if name in kept})
        return {"message_id": self._send(copy, unix)["message_id"]}

    def _send_group(self, params: Params, unix: int) -> Any:
        items = params.json("media")
        sent: list[dict[str, Any]] = []
        for item in items[:MAX_MEDIA] if isinstance(items, list) else []:
            message = self._send(_of_group(params, item), unix)
            if isinstance(message, Refusal):
                return message
            sent.append(message)
        return sent or Refusal(400, "Bad Request: media is empty")

    def _edit(self, method: str, params: Params, unix: int) -> Any:
        if params.values.get("inline_message_id"):
            return True
        message = self.messages.get((chat_of(params)["id"], params.raw_integer("message_id", 0)))
        if message is None:
            return Refusal(400, "Bad Request: message to edit not found")
        too_long = _too_long(params)
        if too_long is not None:
            return too_long
        edited = message | {name: params.values[name] for name in ("text", "caption") if name in params.values}
        edited.pop("reply_markup", None)  # an edit that gives no keyboard takes the old one away
        markup = keyboard(params)
        if markup is not None:
            edited["reply_markup"] = markup
        if edited == message and method in ("editmessagetext", "editmessagecaption", "editmessagereplymarkup"):
            return NOT_MODIFIED
        edited["edit_date"] = unix
        self.keep(edited)
        return edited

    def _attached(self, kind: str, params: Params) -> Any:
        """What a message holds of the file that is sent as this kind: uploaded, known by its id, or at a url."""
        file, given = params.file(kind), params.values.get(kind, "")
        if file is None and given.startswith(("http://", "https://")):
            file = File(given.rpartition("/")[2], "application/octet-stream", b"")  # nothing is fetched here
        if file is not None:
            return media(kind, self._store(file))
        if given in self.files:
            return media(kind, document(given, self.files[given]))
        return WRONG_FILE if given else None

    def _store(self, file: File) -> dict[str, Any]:
        file_id = f"file-{self.bot_id}-{self.next_file}"
        self.next_file += 1
        self.files[file_id] = file
        self.stored += len(file.content)
        while self.stored > MAX_STORED_BYTES or len(self.files) > MAX_FILES:
            _, oldest = self.files.popitem(last=False)
            self.stored -= len(oldest.content)
        return document(file_id, file)

    def _get_file(self, file_id: str) -> Any:
        file = self.files.get(file_id)
        if file is None:
            return Refusal(400, "Bad Request: wrong file_id or the file is temporarily unavailable")
        if len(file.content) > MAX_DOWNLOAD:
            return Refusal(400, "Bad Request: file is too big")
        size = len(file.content)
        return {"file_id": file_id, "file_unique_id": file_id, "file_size": size, "file_path": f"documents/{file_id}"}


def _too_long(params: Params) -> Refusal | None:
    if len(params.values.get("text", "")) > MAX_TEXT:
        return Refusal(400, "Bad Request: message is too long")
    if len(params.values.get("caption", "")) > MAX_CAPTION:
        return Refusal(400, "Bad Request: message caption is too long")
    return None


def _of_group(params: Params, item: Any) -> Params:
    """What sends one item of a media group."""
    texts = {name: value for name, value in item.items() if isinstance(value, str)} if isinstance(item, dict) else {}
    values = {"chat_id": params.values.get("chat_id", "0"), "caption": texts.get("caption", "")}
    return Params(values | {texts.get("type", ""): texts.get("media", "")}, params.files)


def _id(text: str) -> int:
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else 0
