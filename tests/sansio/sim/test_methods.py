"""Plausible results of the other methods: what a bot finds that runs against the simulation."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline.sim.answers import Refusal
from hookline.sim.methods import MAX_CAPTION, MAX_FILES, MAX_MESSAGES, MAX_STORED_BYTES, MAX_TEXT, Chats
from hookline.sim.params import File, Params

NOW = 1_750_000_000


def run(chats: Chats, method: str, files: dict[str, bytes] | None = None, **values: Any) -> Any:
    """The result of a method, its parameters as JSON has them."""
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    uploads = {name: File("f", "text/plain", content) for name, content in (files or {}).items()}
    return chats.run(method.lower(), Params(texts, uploads), NOW)


def test_getme_is_the_bot() -> None:
    """A User that is a bot, with what only getMe says."""
    me = run(Chats(42), "getMe")
    assert me["id"] == 42
    assert me["is_bot"] is True
    assert me["username"] == "sim42_bot"
    assert me["can_join_groups"] is True
    assert run(Chats(42), "getMyName") == {"name": me["first_name"]}


@pytest.mark.parametrize(
    ("chat_id", "chat"),
    [
        (7, {"id": 7, "type": "private", "first_name": "User 7"}),
        (-5, {"id": -5, "type": "supergroup", "title": "Chat -5"}),
        ("nonsense", {"id": 0, "type": "private", "first_name": "User 0"}),
    ],
)
def test_a_message_is_sent_to_a_chat(chat_id: Any, chat: Any) -> None:
    """From the bot, at the time that it is."""
    message = run(Chats(42), "sendMessage", chat_id=chat_id, text="hi")
    assert message["chat"] == chat
    assert (message["text"], message["date"], message["from"]["id"]) == ("hi", NOW, 42)


def test_a_channel_is_known_by_its_name() -> None:
    """The same name is the same chat."""
    chats = Chats(42)
    one, two = (run(chats, "sendMessage", chat_id="@name", text="hi")["chat"] for _ in range(2))
    assert one == two
    assert (one["type"], one["username"]) == ("channel", "name")
    assert run(chats, "getChat", chat_id="@name").items() >= one.items()


def test_message_ids_ascend() -> None:
    """Of what the bot sends and of what users send."""
    chats = Chats(42)
    ids = [run(chats, "sendMessage", chat_id=1, text="hi")["message_id"], chats.new_message_id()]
    ids.append(run(chats, "copyMessage", chat_id=1)["message_id"])
    assert ids == sorted(set(ids))


@pytest.mark.parametrize(
    ("method", "values", "description"),
    [
        ("sendMessage", {"text": "hi"}, "chat_id is empty"),
        ("sendMessage", {"chat_id": 1}, "message text is empty"),
        ("sendMessage", {"chat_id": 1, "text": "x" * (MAX_TEXT + 1)}, "message is too long"),
        ("sendPhoto", {"chat_id": 1, "caption": "x" * (MAX_CAPTION + 1)}, "message caption is too long"),
        ("sendMediaGroup", {"chat_id": 1}, "media is empty"),
        ("editMessageText", {"chat_id": 1, "message_id": 5, "text": "x"}, "message to edit not found"),
    ],
)
def test_what_cannot_be_sent_is_a_bad_request(method: str, values: Any, description: str) -> None:
    """In the server's words."""
    assert run(Chats(42), method, **values) == Refusal(400, f"Bad Request: {description}")


def test_a_message_is_edited_and_not_twice_to_the_same() -> None:
    """It has an edit_date; what changes nothing is refused."""
    chats = Chats(42)
    message_id = run(chats, "sendMessage", chat_id=1, text="one")["message_id"]
    edited = run(chats, "editMessageText", chat_id=1, message_id=message_id, text="two")
    assert (edited["text"], edited["edit_date"]) == ("two", NOW)
    again = run(chats, "editMessageText", chat_id=1, message_id=message_id, text="two")
    assert isinstance(again, Refusal)
    assert again.description.startswith("Bad Request: message is not modified: ")
    too_long = run(chats, "editMessageText", chat_id=1, message_id=message_id, text="x" * (MAX_TEXT + 1))
    assert too_long == Refusal(400, "Bad Request: message is too long")
    assert run(chats, "editMessageText", inline_message_id="x", text="two") is True


def test_an_inline_keyboard_is_a_part_of_its_message() -> None:
    """Other markup is not."""
    chats = Chats(42)
    markup = {"inline_keyboard": [[{"text": "a", "callback_data": "b"}]]}
    assert run(chats, "sendMessage", chat_id=1, text="hi", reply_markup=markup)["reply_markup"] == markup
    keyboard = {"keyboard": [["a"]]}
    assert "reply_markup" not in run(chats, "sendMessage", chat_id=1, text="hi", reply_markup=keyboard)


@pytest.mark.parametrize("kind", ["document", "audio", "video", "voice", "animation", "sticker", "video_note"])
def test_an_uploaded_file_is_stored(kind: str) -> None:
    """And found again by its file_id."""
    chats = Chats(42)
    file = run(chats, f"send{kind.replace('_', '')}", {kind: b"abc"}, chat_id=1)[kind]
    found = run(chats, "getFile", file_id=file["file_id"])
    assert (file["file_size"], found["file_size"]) == (3, 3)
    assert chats.files[file["file_id"]] == File("f", "text/plain", b"abc")


def test_a_photo_has_sizes() -> None:
    """A list of them."""
    (size,) = run(Chats(42), "sendPhoto", {"photo": b"abc"}, chat_id=1)["photo"]
    assert {"file_id", "width", "height"} <= size.keys()


def test_a_media_group_is_as_many_messages() -> None:
    """At most ten."""
    media = [{"type": "photo", "media": "https://example.org/a.jpg"}] * 12
    assert len(run(Chats(42), "sendMediaGroup", chat_id=1, media=media[:3])) == 3
    assert len(run(Chats(42), "sendMediaGroup", chat_id=1, media=media)) == 10


def test_commands_are_what_was_set() -> None:
    """An empty list before."""
    chats = Chats(42)
    assert run(chats, "getMyCommands") == []
    assert run(chats, "setMyCommands", commands=[{"command": "a", "description": "b"}]) is True
    assert run(chats, "getMyCommands") == [{"command": "a", "description": "b"}]


@pytest.mark.parametrize(
    "method",
    [
        "setMyName",
        "deleteMessage",
        "answerCallbackQuery",
        "pinChatMessage",
        "banChatMember",
        "leaveChat",
        "sendChatAction",
    ],
)
def test_what_sets_deletes_or_answers_is_true(method: str) -> None:
    """Whatever its parameters."""
    assert run(Chats(42), method) is True


@pytest.mark.parametrize("method", ["", "unheardOf", "get", "send message", "sendMessage/", "*"])
def test_a_method_that_is_none_is_not_found(method: str) -> None:
    """`Not Found: method not found` (5.1)."""
    assert run(Chats(42), method) == Refusal(404, "Not Found: method not found")


# Limits


def test_messages_and_files_are_kept_up_to_a_limit() -> None:
    """The oldest are forgotten."""
    chats = Chats(42)
    for _ in range(MAX_MESSAGES + 5):
        run(chats, "sendMessage", chat_id=1, text="hi")
    assert len(chats.messages) == MAX_MESSAGES
    for _ in range(MAX_FILES + 5):
        run(chats, "sendDocument", {"document": b""}, chat_id=1)
    assert len(chats.files) == MAX_FILES
    for _ in range(5):
        run(chats, "sendDocument", {"document": bytes(MAX_STORED_BYTES // 3)}, chat_id=1)
    assert chats.stored == sum(len(file.content) for file in chats.files.values()) <= MAX_STORED_BYTES


METHODS = [
    "getMe",
    "sendMessage",
    "sendPhoto",
    "sendMediaGroup",
    "forwardMessage",
    "copyMessage",
    "editMessageText",
    "editMessageReplyMarkup",
    "setMyCommands",
    "getMyCommands",
    "getFile",
    "getChat",
    "getUserProfilePhotos",
    "deleteMessage",
    "unheardOf",
]
VALUES = st.dictionaries(
    st.sampled_from(["chat_id", "text", "caption", "media", "reply_markup", "message_id", "commands", "file_id"]),
    st.sampled_from(["", "1", "-5", "@", "@name", "[]", "{}", "null", "[1,2]"]) | st.text(max_size=10),
)


@given(calls=st.lists(st.tuples(st.sampled_from(METHODS), VALUES, st.booleans()), max_size=8))
def test_any_parameters_have_a_result(calls: list[tuple[str, dict[str, str], bool]]) -> None:
    """That JSON can say, or a refusal; nothing raises."""
    chats = Chats(42)
    for method, values, file in calls:
        files = {"photo": b"x", "document": b"y"} if file else {}
        result = run(chats, method, files, **values)
        assert isinstance(result, Refusal) or json.dumps(result)
