"""Results of methods: what libraries require of them, and what bots do with them next."""

from __future__ import annotations

from typing import Any

import pytest

from hookline import codec
from hookline.sim.answers import Refusal
from hookline.sim.methods import MAX_IDS, NOT_MODIFIED, WRONG_FILE, Chats
from hookline.sim.objects import MEDIA
from hookline.sim.params import File, Params

KEYBOARD = '{"inline_keyboard": [[{"text": "Yes", "callback_data": "yes"}]]}'
NOTE = File("note.txt", "text/plain", b"a note")


def call(chats: Chats, method: str, *files: File, **params: Any) -> Any:
    """A call for chat 7; files are attached as file0, file1, ..."""
    texts = {name: value if isinstance(value, str) else codec.encode(value).decode() for name, value in params.items()}
    attached = {f"file{number}": file for number, file in enumerate(files)}
    return chats.run(method, Params({"chat_id": "7"} | texts, attached), 0)


# Media


REQUIRED = {
    "photo": {"width", "height"},
    "document": set(),
    "audio": {"duration"},
    "video": {"width", "height", "duration"},
    "voice": {"duration"},
    "animation": {"width", "height", "duration"},
    "sticker": {"type", "width", "height", "is_animated", "is_video"},
    "video_note": {"length", "duration"},
}
"""The fields of the Bot API's documentation that are not optional, besides file_id and file_unique_id."""


@pytest.mark.parametrize("kind", MEDIA)
def test_sent_media_have_all_fields_that_are_not_optional(kind: str) -> None:
    sent = call(Chats(42), f"send{kind.replace('_', '')}", NOTE, **{kind: "attach://file0"})
    [medium] = sent[kind] if kind == "photo" else [sent[kind]]
    assert REQUIRED[kind] | {"file_id", "file_unique_id"} <= set(medium)


def test_a_file_is_sent_again_by_its_id() -> None:
    chats = Chats(42)
    first = call(chats, "senddocument", NOTE, document="attach://file0")
    again = call(chats, "senddocument", document=first["document"]["file_id"])
    assert again["document"] == first["document"]


def test_a_file_may_be_given_by_its_url() -> None:
    assert call(Chats(42), "sendphoto", photo="https://example.org/cat.jpg")["photo"][0]["file_size"] == 0


@pytest.mark.parametrize("unknown", ["AgACAgIAAxk", "attach://nothing"])
def test_a_file_that_is_not_there_is_refused(unknown: str) -> None:
    assert call(Chats(42), "sendphoto", photo=unknown) == WRONG_FILE


def test_each_item_of_a_media_group_is_a_message_with_its_medium() -> None:
    items = [
        {"type": "photo", "media": "attach://file0", "caption": "one"},
        {"type": "video", "media": "attach://file1"},
    ]
    first, second = call(Chats(42), "sendmediagroup", NOTE, NOTE, media=items)
    assert (first["caption"], "video" in first, "photo" in first) == ("one", False, True)
    assert ("caption" in second, "video" in second, "photo" in second) == (False, True, False)


@pytest.mark.parametrize("items", [[{"type": ["photo"], "media": 5}], [None], ["photo"]])
def test_an_item_of_a_media_group_that_makes_no_sense_is_a_message_without_medium(items: list[Any]) -> None:
    [message] = call(Chats(42), "sendmediagroup", media=items)
    assert not set(MEDIA) & set(message)


def test_a_media_group_with_a_file_that_is_not_there_is_refused() -> None:
    assert call(Chats(42), "sendmediagroup", media=[{"type": "photo", "media": "attach://file0"}]) == WRONG_FILE


# Messages


@pytest.mark.parametrize("method", ["forwardmessages", "copymessages"])
def test_several_messages_give_a_list_of_ids(method: str) -> None:
    assert call(Chats(42), method, from_chat_id=1, message_ids=[1, 2]) == [{"message_id": 1}, {"message_id": 2}]
    assert isinstance(call(Chats(42), method, from_chat_id=1), Refusal)
    assert len(call(Chats(42), method, from_chat_id=1, message_ids=list(range(1_000)))) == MAX_IDS


def test_a_copy_is_no_new_medium() -> None:
    """Whatever else the call names."""
    assert call(Chats(42), "copymessage", from_chat_id=1, message_id=1, photo="AgACAgIAAxk") == {"message_id": 1}


def test_an_edit_changes_what_it_gives_and_takes_the_keyboard_away_unless_it_gives_one() -> None:
    chats = Chats(42)
    sent = call(chats, "sendmessage", text="Sure?", reply_markup=KEYBOARD)
    assert sent["reply_markup"] == codec.decode(KEYBOARD.encode())

    edited = call(chats, "editmessagetext", message_id=1, text="Sure.")
    assert edited == {**{name: sent[name] for name in sent if name != "reply_markup"}, "text": "Sure.", "edit_date": 0}
    edited = call(chats, "editmessagereplymarkup", message_id=1, reply_markup=KEYBOARD)
    assert (edited["text"], edited["reply_markup"]) == ("Sure.", sent["reply_markup"])
    edited = call(chats, "editmessagecaption", message_id=1, caption="new")
    assert edited["caption"] == "new"


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("editmessagetext", {"text": "Sure?", "reply_markup": KEYBOARD}),
        ("editmessagereplymarkup", {"reply_markup": KEYBOARD}),
    ],
)
def test_an_edit_that_changes_nothing_is_refused(method: str, params: dict[str, str]) -> None:
    chats = Chats(42)
    call(chats, "sendmessage", text="Sure?", reply_markup=KEYBOARD)
    assert call(chats, method, message_id=1, **params) == NOT_MODIFIED


def test_the_same_text_with_another_keyboard_is_a_change() -> None:
    chats = Chats(42)
    call(chats, "sendmessage", text="Sure?")
    assert "reply_markup" in call(chats, "editmessagetext", message_id=1, text="Sure?", reply_markup=KEYBOARD)


# What is asked of chats


def test_a_chat_has_all_fields_of_chat_full_info_that_are_not_optional() -> None:
    chat = call(Chats(42), "getchat")
    assert {"id", "type", "accent_color_id", "max_reaction_count", "accepted_gift_types"} <= set(chat)


@pytest.mark.parametrize(("user_id", "bot"), [("42", True), ("5", False), ("5" * 5_000, False), ("x", False)])
def test_everybody_is_a_member_of_every_chat(user_id: str, bot: bool) -> None:
    member = call(Chats(42), "getchatmember", user_id=user_id)
    assert (member["status"], member["user"]["is_bot"]) == ("member", bot)
