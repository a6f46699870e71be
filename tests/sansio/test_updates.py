"""Updates: what is one, its kind and payload, and its lane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline.updates import LaneKey, Update, default_lane, read_update

CHAT = {"id": -100, "type": "group"}
USER = {"id": 7, "is_bot": False, "first_name": "Ann"}


def read(raw: Any) -> Update:
    """The update that it is."""
    update = read_update(raw)
    assert isinstance(update, Update)
    return update


def test_an_update_has_its_id_kind_payload_lane_and_all_of_it() -> None:
    raw = {"update_id": 5, "message": {"chat": CHAT, "text": "hi"}}

    assert Update(5, "message", raw["message"], raw, -100) == read(raw)
    assert read(raw).raw is raw


def test_a_kind_unknown_here_is_an_update_like_any() -> None:
    assert read({"update_id": 5, "tomorrow": {"chat": CHAT}}) == Update(
        5, "tomorrow", {"chat": CHAT}, {"update_id": 5, "tomorrow": {"chat": CHAT}}, -100
    )


def test_the_id_may_stand_last() -> None:
    assert read({"poll": {"id": "1"}, "update_id": 5}).kind == "poll"


def test_a_field_that_is_null_is_no_kind() -> None:
    assert read({"update_id": 5, "message": None, "poll": {"id": "1"}}).kind == "poll"


def test_an_update_of_its_id_alone_has_no_kind() -> None:
    assert Update(5, "", None, {"update_id": 5}, "update:5") == read({"update_id": 5})


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (None, "it is a JSON null, not an object"),
        (True, "it is a JSON boolean, not an object"),
        (7, "it is a JSON number, not an object"),
        (7.5, "it is a JSON number, not an object"),
        ("text", "it is a JSON string, not an object"),
        ([], "it is a JSON array, not an object"),
        ({}, "its update_id is missing"),
        ({"update_id": None}, "its update_id is missing"),
        ({"update_id": "5"}, "its update_id is a JSON string"),
        ({"update_id": True}, "its update_id is a JSON boolean"),
        ({"update_id": 5.5}, "its update_id is a JSON number"),
        ({"update_id": {}}, "its update_id is a JSON object"),
        ({"update_id": -5}, "its update_id is negative"),
        ({"update_id": 2**63}, "its update_id is too great"),
        ({"update_id": 10**30}, "its update_id is too great"),
    ],
    ids=repr,
)
def test_what_is_no_update_is_told_in_a_sentence(raw: Any, why: str) -> None:
    assert why == read_update(raw)


def test_an_id_may_be_as_wide_as_any_integer_of_the_bot_api() -> None:
    assert read({"update_id": 2**63 - 1}).update_id == 2**63 - 1


@pytest.mark.parametrize(
    ("kind", "payload", "lane"),
    [
        ("message", {"chat": CHAT, "from": USER}, -100),
        ("edited_message", {"chat": CHAT, "from": USER}, -100),
        ("channel_post", {"chat": CHAT, "sender_chat": {"id": -3}}, -100),
        ("business_message", {"chat": CHAT, "from": USER}, -100),
        ("deleted_business_messages", {"chat": CHAT}, -100),
        ("message_reaction", {"chat": CHAT, "user": USER}, -100),
        ("message_reaction_count", {"chat": CHAT}, -100),
        ("my_chat_member", {"chat": CHAT, "from": USER}, -100),
        ("chat_member", {"chat": CHAT, "from": USER}, -100),
        ("chat_join_request", {"chat": CHAT, "from": USER}, -100),
        ("chat_boost", {"chat": CHAT, "boost": {}}, -100),
        ("callback_query", {"from": USER, "message": {"chat": CHAT}}, -100),
        ("callback_query", {"from": USER, "inline_message_id": "x"}, 7),
        ("inline_query", {"from": USER}, 7),
        ("chosen_inline_result", {"from": USER}, 7),
        ("shipping_query", {"from": USER}, 7),
        ("pre_checkout_query", {"from": USER}, 7),
        ("purchased_paid_media", {"from": USER}, 7),
        ("business_connection", {"user": USER, "user_chat_id": 8}, 7),
        ("poll_answer", {"user": USER}, 7),
        ("poll_answer", {"voter_chat": CHAT, "user": USER}, -100),
        ("poll", {"id": "123"}, "poll:123"),
        ("tomorrow", {"x": 1}, "update:5"),
        ("tomorrow", {"id": "123"}, "update:5"),
        ("tomorrow", "text", "update:5"),
        ("message", {"chat": {"id": "-100"}}, "update:5"),
        ("message", {"chat": {"id": True}}, "update:5"),
        ("message", {"chat": -100, "from": USER}, 7),
        ("callback_query", {"message": "gone", "from": USER}, 7),
        ("poll", {"id": 123}, "update:5"),
    ],
)
def test_the_default_lane_is_the_chat_or_else_the_user(kind: str, payload: Any, lane: LaneKey) -> None:
    raw = {"update_id": 5, kind: payload}

    assert lane == read(raw).lane == default_lane(raw)


def test_a_message_and_a_button_press_of_one_chat_are_in_one_lane() -> None:
    written = read({"update_id": 5, "message": {"chat": CHAT, "from": USER}})
    pressed = read({"update_id": 6, "callback_query": {"from": {"id": 8}, "message": {"chat": CHAT}}})

    assert written.lane == pressed.lane


def test_what_a_user_does_inline_is_in_one_lane_with_the_private_chat() -> None:
    private = read({"update_id": 5, "message": {"chat": {"id": 7, "type": "private"}, "from": USER}})
    inline = read({"update_id": 6, "inline_query": {"from": USER}})

    assert private.lane == inline.lane


def test_polls_are_lanes_of_their_own() -> None:
    lanes = {read({"update_id": number, "poll": {"id": str(number)}}).lane for number in range(3)}

    assert len(lanes) == 3


def test_the_default_lane_of_what_is_no_update_is_an_error() -> None:
    with pytest.raises(ValueError, match="not an update: its update_id is missing"):
        default_lane({"message": {}})


def test_the_programs_own_lane_gets_all_of_the_update() -> None:
    def lane(raw: Mapping[str, Any]) -> LaneKey:
        return f"{raw['update_id']}:{raw['message']['text']}"

    update = read_update({"update_id": 5, "message": {"text": "hi"}}, lane)
    assert isinstance(update, Update)
    assert update.lane == "5:hi"


def test_what_the_programs_own_lane_raises_is_raised() -> None:
    with pytest.raises(KeyError):
        read_update({"update_id": 5}, lambda raw: cast(LaneKey, raw["message"]))


@pytest.mark.parametrize("key", [None, [1], (1, 2), 1.5])
def test_a_lane_key_of_another_type_is_an_error(key: Any) -> None:
    with pytest.raises(TypeError, match="a lane key must be an int or a str"):
        read_update({"update_id": 5}, lambda raw: cast(LaneKey, key))


def test_the_programs_own_lane_is_not_asked_about_what_is_no_update() -> None:
    asked = []

    def lane(raw: Mapping[str, Any]) -> LaneKey:
        asked.append(raw)
        return 1

    read_update({"update_id": "5"}, lane)
    assert asked == []


NAMES = st.sampled_from(["update_id", "message", "poll", "chat", "from", "user", "voter_chat", "id", "x"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(JSON | st.dictionaries(NAMES, JSON).map(lambda rest: {**rest, "update_id": 5}))
def test_any_json_is_an_update_or_told_why_not(raw: Any) -> None:
    update = read_update(raw)

    if isinstance(update, Update):
        assert update.raw is raw
        assert raw["update_id"] == update.update_id >= 0
        assert update.kind == "" or raw[update.kind] is update.payload is not None
        assert type(update.lane) in (int, str)
    else:
        assert update.startswith(("it is ", "its update_id is "))
