"""What users do in the simulation: commands are marked, and a button is pressed under the message that has it."""

from __future__ import annotations

from typing import Any

import pytest

from hookline.sim.methods import Chats
from hookline.sim.params import Params
from hookline.sim.users import message, press

YES_OR_NO = '{"inline_keyboard": [[{"text": "Yes", "callback_data": "yes"}, {"text": "No", "callback_data": "no"}]]}'


def commands(text: str) -> list[tuple[int, int]]:
    """Where a text's commands begin, and how long they are."""
    entities = message(Chats(42), text, 0, user=1, chat=None).get("entities", [])
    assert all(entity["type"] == "bot_command" for entity in entities)
    return [(entity["offset"], entity["length"]) for entity in entities]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/start", [(0, 6)]),
        ("/start@some_bot now", [(0, 15)]),
        ("try /help, or /quit.", [(4, 5), (14, 5)]),
        ("🪝 /start", [(3, 6)]),  # offsets count UTF-16 code units
        (f"/{'a' * 64}", [(0, 65)]),
        ("hello", []),
        ("/", []),
        ("a/start", []),
        ("я/start", []),
        ("/startя", []),
        ("/start/now", []),
        ("</start>", []),
        ("/start@ab", []),  # too short for the name of a bot
        (f"/{'a' * 65}", []),
    ],
)
def test_commands_are_marked_as_the_server_marks_them(text: str, found: list[tuple[int, int]]) -> None:
    """TDLib's `match_bot_commands`. Libraries know a command by its entity alone."""
    assert commands(text) == found


def test_a_message_without_a_command_has_no_entities() -> None:
    assert "entities" not in message(Chats(42), "hello", 0, user=1, chat=None)


def send(chats: Chats, text: str, **more: str) -> dict[str, Any]:
    """A message that the bot sends to chat 7."""
    sent: dict[str, Any] = chats.run("sendmessage", Params({"chat_id": "7", "text": text} | more), 0)
    return sent


def pressed(chats: Chats, data: str, chat: int = 7) -> Any:
    """The message whose button a user presses."""
    return press(chats, data, 0, "1", user=5, chat=chat)["message"]


def test_a_press_is_of_the_last_message_in_the_chat_with_the_button() -> None:
    chats = Chats(42)
    send(chats, "Sure?", reply_markup=YES_OR_NO)
    second = send(chats, "Really?", reply_markup=YES_OR_NO)
    send(chats, "no buttons")

    assert pressed(chats, "yes") == second


@pytest.mark.parametrize(("data", "chat"), [("maybe", 7), ("yes", 8)])
def test_a_button_that_nobody_has_sent_is_pressed_under_a_message_of_its_own(data: str, chat: int) -> None:
    chats = Chats(42)
    asked = send(chats, "Sure?", reply_markup=YES_OR_NO)

    invented = pressed(chats, data, chat)
    assert invented["message_id"] != asked["message_id"]
    assert invented["from"]["id"] == 42
    assert invented["chat"]["id"] == chat
    assert invented["reply_markup"] == {"inline_keyboard": [[{"text": data, "callback_data": data}]]}


def test_the_message_of_a_pressed_button_can_be_edited() -> None:
    """Every library's example of a callback_query edits it."""
    chats = Chats(42)
    message_id = pressed(chats, "yes")["message_id"]

    params = Params({"chat_id": "7", "message_id": str(message_id), "text": "You chose yes"})
    edited = chats.run("editmessagetext", params, 1)
    assert (edited["message_id"], edited["text"], edited["edit_date"]) == (message_id, "You chose yes", 1)


@pytest.mark.parametrize("markup", ['{"inline_keyboard": 1}', '{"inline_keyboard": [1, [2, {}]]}', "[]", "{"])
def test_a_keyboard_that_makes_no_sense_has_no_buttons(markup: str) -> None:
    chats = Chats(42)
    asked = send(chats, "Sure?", reply_markup=markup)
    assert pressed(chats, "yes")["message_id"] != asked["message_id"]
