"""The few objects of the Bot API that are structured."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline.objects import ResponseParameters, User, WebhookInfo, structure

BOT: dict[str, Any] = {"id": 42, "is_bot": True, "first_name": "Bot", "username": "some_bot"}
INFO: dict[str, Any] = {"url": "https://bot.example/", "has_custom_certificate": False, "pending_update_count": 3}


def test_a_user_is_structured() -> None:
    assert User(42, True, "Bot", "some_bot") == structure(BOT, User)


def test_what_may_be_missing_may_be_null_too() -> None:
    assert structure({**BOT, "username": None}, User).username is None
    del (bot := dict(BOT))["username"]
    assert structure(bot, User).username is None


def test_fields_that_are_not_used_are_passed_over() -> None:
    assert structure({**BOT, "can_join_groups": True, "tomorrow": {}}, User) == structure(BOT, User)


def test_a_webhook_info_is_structured() -> None:
    assert WebhookInfo("https://bot.example/", False, 3) == structure(INFO, WebhookInfo)
    full = {**INFO, "ip_address": "1.2.3.4", "last_error_date": 5, "last_error_message": "no", "max_connections": 40}
    info = structure({**full, "last_synchronization_error_date": 6, "allowed_updates": ["message"]}, WebhookInfo)

    assert WebhookInfo("https://bot.example/", False, 3, "1.2.3.4", 5, "no", 6, 40, ["message"]) == info


def test_response_parameters_are_structured() -> None:
    assert ResponseParameters() == structure({}, ResponseParameters)
    assert ResponseParameters(5, -100123) == structure(
        {"retry_after": 5, "migrate_to_chat_id": -100123}, ResponseParameters
    )


@pytest.mark.parametrize(
    ("value", "cls"),
    [
        (None, User),
        ([], User),
        ("text", User),
        (7, User),
        ({}, User),
        ({**BOT, "id": "42"}, User),
        ({**BOT, "id": True}, User),
        ({**BOT, "id": 42.0}, User),
        ({**BOT, "is_bot": 1}, User),
        ({**BOT, "first_name": None}, User),
        ({**BOT, "username": 7}, User),
        ({**INFO, "url": 7}, WebhookInfo),
        ({**INFO, "has_custom_certificate": "no"}, WebhookInfo),
        ({**INFO, "allowed_updates": [1]}, WebhookInfo),
        ({**INFO, "allowed_updates": 7}, WebhookInfo),
        ({**INFO, "allowed_updates": "message"}, WebhookInfo),
        ({**INFO, "allowed_updates": {"message": 1}}, WebhookInfo),
        ({"retry_after": "5"}, ResponseParameters),
        ({"retry_after": 5.5}, ResponseParameters),
        (["retry_after"], ResponseParameters),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else repr(value),
)
def test_another_shape_is_a_value_error(value: Any, cls: type[Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        structure(value, cls)


def test_the_error_names_the_object() -> None:
    with pytest.raises(ValueError, match="not a User: 'id'"):
        structure({}, User)


NAMES = st.sampled_from([*BOT, *INFO, "allowed_updates", "retry_after"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=12,
)


@given(JSON, st.sampled_from([User, WebhookInfo, ResponseParameters]))
def test_any_json_is_the_object_or_a_value_error(value: Any, cls: type[Any]) -> None:
    try:
        found = structure(value, cls)
    except ValueError:
        return
    assert isinstance(found, cls)
