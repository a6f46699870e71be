"""The kinds of updates: what is sent by default, how long each lives, its ordering queue."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline.sim.kinds import DEFAULT, INTERNAL, KINDS, expires_at, ordering_queue

NOW = 1_750_000_000
DAY = 86_400
FRESH = -(1 << 60)

CHAT = {"chat": {"id": -100}}
SENDER = {"from": {"id": 7}}

PAYLOADS: dict[str, tuple[Any, int]] = {
    "message": (CHAT, -100),
    "edited_message": (CHAT, -100),
    "channel_post": (CHAT, -100),
    "edited_channel_post": (CHAT, -100),
    "poll": ({"id": "5123"}, 5_123),
    "poll_answer": ({"poll_id": "5123"}, 5_123),
    "inline_query": (SENDER, 7 + (1 << 33)),
    "chosen_inline_result": (SENDER, 7 + (2 << 33)),
    "callback_query": (SENDER | {"message": CHAT}, 7 + (3 << 33)),
    "shipping_query": (SENDER, 7 + (4 << 33)),
    "pre_checkout_query": (SENDER, 7 + (4 << 33)),
    "my_chat_member": (CHAT | SENDER, -100 + (5 << 33)),
    "chat_member": (CHAT | SENDER | {"new_chat_member": {"user": {"id": 9}}}, 9 + (6 << 33)),
    "chat_join_request": (CHAT | SENDER, 7 + (6 << 33)),
    "chat_boost": (CHAT, -100 + (7 << 33)),
    "removed_chat_boost": (CHAT, -100 + (7 << 33)),
    "message_reaction": (CHAT | {"user": {"id": 7}}, -100 + (8 << 33)),
    "message_reaction_count": (CHAT, -100 + (9 << 33)),
    "business_connection": ({"id": "b", "user": {"id": 7}}, 7 + (10 << 33)),
    "business_message": (CHAT, -100 + (11 << 33)),
    "edited_business_message": (CHAT, -100 + (11 << 33)),
    "deleted_business_messages": (CHAT, -100 + (11 << 33)),
    "guest_message": (CHAT, -100 + (12 << 33)),
    "purchased_paid_media": (SENDER, 7 + (12 << 33)),
    "managed_bot": ({"user": {"id": 7}}, 7 + (13 << 33)),
    "custom_event": ({"id": 1}, FRESH),
    "custom_query": ({"id": 1}, FRESH),
}
"""The least that each kind of update needs for its ordering queue, and that queue."""

LIFETIMES = {
    "inline_query": 30,
    "chosen_inline_result": 600,
    "callback_query": 150,
    "shipping_query": 150,
    "pre_checkout_query": 150,
    "poll": DAY,
    "poll_answer": DAY,
    "business_connection": DAY,
    "deleted_business_messages": DAY,
    "purchased_paid_media": DAY,
    "managed_bot": DAY,
    "custom_event": 600,
    "custom_query": DAY,
}
"""From their creation."""

DATED: dict[str, Any] = {
    "message": lambda date: {"date": date},
    "channel_post": lambda date: {"date": date},
    "business_message": lambda date: {"date": date},
    "guest_message": lambda date: {"date": date},
    "edited_message": lambda date: {"date": NOW - 10 * DAY, "edit_date": date},
    "edited_channel_post": lambda date: {"date": NOW - 10 * DAY, "edit_date": date},
    "edited_business_message": lambda date: {"date": NOW - 10 * DAY, "edit_date": date},
    "my_chat_member": lambda date: {"date": date},
    "chat_member": lambda date: {"date": date},
    "chat_join_request": lambda date: {"date": date},
    "chat_boost": lambda date: {"boost": {"add_date": date}},
    "removed_chat_boost": lambda date: {"remove_date": date},
    "message_reaction": lambda date: {"date": date},
    "message_reaction_count": lambda date: {"date": date},
}
"""Those that live for a day from a date of their own."""


def test_the_tables_above_have_every_kind() -> None:
    """27 of them, in the order of their bits (1.5)."""
    assert len(KINDS) == 27
    assert set(PAYLOADS) == set(KINDS)
    assert set(LIFETIMES) | set(DATED) == set(KINDS)


def test_three_kinds_are_sent_only_when_asked_for() -> None:
    """The default set (1.5)."""
    assert set(KINDS) - DEFAULT == {"chat_member", "message_reaction", "message_reaction_count"}


def test_two_kinds_are_internal() -> None:
    """getWebhookInfo leaves them out (3.6)."""
    assert {"custom_event", "custom_query"} == INTERNAL


@pytest.mark.parametrize(("kind", "lifetime"), LIFETIMES.items())
def test_a_kind_lives_so_long_from_its_creation(kind: str, lifetime: int) -> None:
    """The table of 1.3; a date in it is not looked at."""
    assert expires_at(kind, {"date": 1}, NOW) == NOW + lifetime


@pytest.mark.parametrize(("kind", "dated"), DATED.items())
def test_a_kind_lives_for_a_day_from_its_date(kind: str, dated: Any) -> None:
    """The edit's date if it was edited (1.3)."""
    assert expires_at(kind, dated(NOW - 5), NOW) == NOW - 5 + DAY


@pytest.mark.parametrize(("kind", "dated"), DATED.items())
def test_what_is_a_day_old_is_not_created(kind: str, dated: Any) -> None:
    """From 86 400 s on (1.3)."""
    assert expires_at(kind, dated(NOW - DAY + 1), NOW) == NOW + 1
    assert expires_at(kind, dated(NOW - DAY), NOW) is None


@pytest.mark.parametrize(("kind", "payload", "queue"), [(kind, *row) for kind, row in PAYLOADS.items()])
def test_a_kind_has_its_ordering_queue(kind: str, payload: Any, queue: int) -> None:
    """The table of 4.3."""
    assert ordering_queue(kind, payload, FRESH) == queue


def test_a_kind_that_is_not_known_is_ordered_after_nothing() -> None:
    """As are custom events (4.3); it lives for a day."""
    assert ordering_queue("new_kind", CHAT, FRESH) == FRESH
    assert expires_at("new_kind", CHAT, NOW) == NOW + DAY


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["chat", "from", "id", "date", "boost", "poll_id"]), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(kind=st.sampled_from([*KINDS, "other"]), payload=JSON)
def test_any_payload_has_a_queue_and_a_life(kind: str, payload: Any) -> None:
    """Whatever a test injects: nothing raises."""
    assert isinstance(ordering_queue(kind, payload, FRESH), int)
    expires = expires_at(kind, payload, NOW)
    assert expires is None or expires > NOW
