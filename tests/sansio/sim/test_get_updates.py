"""getUpdates: parameters, offsets, its pacing, long polls and conflicts (telegram-server.md, 1.5 and 2.1 to 2.5)."""

from __future__ import annotations

from typing import Any

import pytest

from hookline.http import Request, body_bytes
from hookline.sim.kinds import KINDS
from tests.sansio.sim.client import BOT_ID, FORM_TYPE, TOKEN, URL, Client

WEBHOOK_ACTIVE = (
    "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
)
OTHER_POLL = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
BY_WEBHOOK = "Conflict: terminated by setWebhook request"


def filled(count: int = 3) -> tuple[Client, list[int]]:
    """A bot with so many updates, and their ids."""
    client = Client()
    return client, [client.message() for _ in range(count)]


def polling(**params: Any) -> tuple[Client, int]:
    """A bot whose long poll is pending, and the request's number."""
    client = Client()
    return client, client.call("getUpdates", **{"timeout": 50} | params)


# What is returned (2.1, 2.2)


def test_updates_are_returned_as_the_text_that_was_stored() -> None:
    """Byte for byte: the id, a line feed, and the update (4.2, 5.4)."""
    client = Client()
    client.telegram.restart_ids(BOT_ID, 7)
    client.inject("poll", {"id": "5", "question": "ä"})
    client.inject("poll", {"id": "6"})
    request = client.call("getUpdates")
    body = body_bytes(client.responses[request][1].body).decode()
    assert body == (
        '{"ok":true,"result":[{"update_id":7,\n"poll":{"id":"5","question":"ä"}},{"update_id":8,\n"poll":{"id":"6"}}]}'
    )


def test_reading_deletes_nothing_and_a_higher_offset_does() -> None:
    """Only what lies below the offset is confirmed (2.2)."""
    client, ids = filled()
    assert client.ids() == ids
    assert client.pending == 3
    assert client.ids(offset=ids[1]) == ids[1:]
    assert client.pending == 2
    assert client.ids(offset=ids[2] + 1) == []
    assert client.pending == 0


def test_a_negative_offset_keeps_the_newest_and_returns_them() -> None:
    """All others are deleted by the same call (2.2)."""
    client, ids = filled(5)
    assert client.ids(offset=-2) == ids[-2:]
    assert client.pending == 2


def test_an_offset_that_wraps_to_minus_one_is_destructive() -> None:
    """4 294 967 295 is -1 in 32 bits (2.1)."""
    client, ids = filled()
    assert client.ids(offset=4_294_967_295) == ids[-1:]


@pytest.mark.parametrize(
    ("limit", "count"), [(2, 2), (0, 1), (-5, 1), (100, 100), (101, 100), ("7x", 7), (None, 1), ("", 100), ("x", 1)]
)
def test_limit_is_clamped_and_read_as_any_integer(limit: Any, count: int) -> None:
    """1 to 100; a JSON null is the text `null`, which is 0 (2.1)."""
    client, ids = filled(150)
    assert client.ids(limit=limit) == ids[:count]


def test_without_a_limit_it_is_100() -> None:
    """By default (2.1)."""
    client, ids = filled(150)
    assert client.ids() == ids[:100]


def test_an_answer_is_shorter_than_the_limit_where_it_would_pass_4_mib() -> None:
    """The rest comes with the next call (2.2)."""
    client = Client()
    ids = [client.message("x" * 500_000) for _ in range(10)]
    found = client.ids()
    assert found == ids[:8]
    client.wait(4)
    assert client.ids(offset=found[-1] + 1) == ids[8:]


def test_parameters_are_found_wherever_they_stand() -> None:
    """By GET in the query, as a form or as JSON (2.1, 5.2)."""
    client, ids = filled()
    target = f"/bot{TOKEN}/getUpdates"
    for request in (
        Request("GET", f"{target}?limit=2"),
        Request("POST", target, (FORM_TYPE,), (b"limit=2",)),
        Request("POST", f"{target}?limit=2", (FORM_TYPE,), (b"limit=3",)),
    ):
        client.wait(1)
        assert [update["update_id"] for update in client.answer(client.send(request))["result"]] == ids[:2]


# allowed_updates (1.5)


def allow(client: Client, value: Any) -> None:
    """Say which updates are wanted, and wait until that counts as too frequent no more."""
    client.fetch(allowed_updates=value)
    client.wait(3)


@pytest.mark.parametrize(
    ("value", "allowed"),
    [
        (["message", "poll"], ["message", "poll"]),
        ('["poll", "message"]', ["message", "poll"]),
        (["MESSAGE", "unheard_of"], ["message"]),
        (["chat_member"], ["chat_member"]),
        ([], None),
        (["unheard_of"], None),
    ],
    ids=repr,
)
def test_allowed_updates_is_an_array_of_names(value: Any, allowed: list[str] | None) -> None:
    """As JSON or as its text; lower-cased, unknown names ignored; none that is known is the default (1.5)."""
    client = Client()
    allow(client, ["callback_query"])
    allow(client, value)
    assert client.webhook.get("allowed_updates") == allowed


@pytest.mark.parametrize("value", [None, "", "message", "[", {}, 5, ["message", 5], '"message"'], ids=repr)
def test_allowed_updates_of_another_form_changes_nothing(value: Any) -> None:
    """It is ignored without an error; as is what is missing or empty (1.5)."""
    client = Client()
    allow(client, ["callback_query"])
    allow(client, value)
    client.fetch()
    assert client.webhook["allowed_updates"] == ["callback_query"]


def test_an_update_that_is_not_allowed_is_not_created_and_takes_no_id() -> None:
    """The mask is asked when an update is made, not when it is delivered (1.5, 1.1)."""
    client = Client()
    first = client.message()
    allow(client, ["poll"])
    assert client.offer("message", client.telegram.user_message(BOT_ID, "hi", 0.0)) is None
    assert client.inject("poll", {"id": "5"}) == first + 1
    assert client.ids() == [first, first + 1], "what is stored is delivered whatever the mask is now"


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_created_by_default_unless_it_must_be_asked_for(kind: str) -> None:
    """All but chat_member, message_reaction and message_reaction_count (1.5)."""
    client = Client()
    unwanted = kind in ("chat_member", "message_reaction", "message_reaction_count")
    assert (client.offer(kind, {}) is None) is unwanted
    client.fetch(allowed_updates=[kind])
    assert client.offer(kind, {}) is not None


# Calls that are too frequent (2.3)


def test_a_repeated_offset_within_3_s_waits_3_s() -> None:
    """A timeout below 3 is raised to 3 (2.3)."""
    client = Client()
    client.fetch(offset=5)
    client.wait(2.9)
    request = client.call("getUpdates", offset=5, timeout=2)
    client.wait(2.9)
    assert request not in client.responses
    client.wait(0.2)
    assert client.answer(request) == {"ok": True, "result": []}
    assert client.answered_at(request) == pytest.approx(5.9)


@pytest.mark.parametrize(("offset", "seconds"), [(5, 3.0), (6, 0.1)], ids=["3 s later", "another offset"])
def test_a_call_that_is_not_too_frequent_is_answered_at_once(offset: int, seconds: float) -> None:
    """3.0 s after the call before, or with another offset (2.3)."""
    client = Client()
    client.fetch(offset=5)
    client.wait(seconds)
    assert client.fetch(offset=offset) == []


def test_the_raw_offset_is_compared() -> None:
    """5 and 6 both read from the head here, and are different; an absent one is 0 (2.3)."""
    client, ids = filled()
    client.fetch(offset=5)
    assert client.ids(offset=6) == ids
    client.fetch()
    assert client.ids(offset=0) == ids[:1]


def test_a_repeated_offset_within_half_a_second_gets_one_update() -> None:
    """The limit becomes 1 (2.3)."""
    client, ids = filled()
    assert client.ids() == ids
    client.wait(0.4)
    assert client.ids() == ids[:1]
    client.wait(0.5)
    assert client.ids() == ids


def test_the_cut_limit_holds_for_the_long_poll_too() -> None:
    """What the too-frequent call becomes (2.3)."""
    client = Client()
    client.fetch()
    request = client.call("getUpdates")
    ids = [client.message(), client.message()]
    client.wait(1)
    assert [update["update_id"] for update in client.answer(request)["result"]] == ids[:1]


def test_calls_are_too_frequent_whoever_sends_them() -> None:
    """The previous call of the bot counts, whatever became of it (2.3)."""
    client, request = polling(offset=5)
    other = client.call("getUpdates", offset=5)
    client.wait(3)
    assert client.answer(request)["description"] == OTHER_POLL
    assert client.answer(other)["result"] == []


# Long polls (2.4)


@pytest.mark.parametrize(
    ("timeout", "seconds"), [(1, 1.0), (50, 50.0), (51, 50.0), (300, 50.0), ("2.9", 2.0), ("7s", 7.0)]
)
def test_a_long_poll_without_updates_ends_at_its_timeout(timeout: Any, seconds: float) -> None:
    """Clamped to 50 s; with an empty list (2.1, 2.4)."""
    client, request = polling(timeout=timeout)
    client.wait(100)
    assert client.answer(request) == {"ok": True, "result": []}
    assert client.answered_at(request) == seconds


@pytest.mark.parametrize("timeout", [0, -1, None, "x"])
def test_a_timeout_of_nothing_is_answered_at_once(timeout: Any) -> None:
    """Negative and null are 0 (2.1)."""
    assert Client().fetch(timeout=timeout) == []


def test_a_long_poll_is_answered_at_once_if_there_are_updates() -> None:
    """It does not wait for more (2.4)."""
    client, ids = filled()
    assert client.ids(timeout=50) == ids


def test_a_long_poll_is_answered_1_ms_after_an_update() -> None:
    """When no other follows (2.4)."""
    client, request = polling()
    client.wait(10)
    update_id = client.message()
    client.wait(1)
    assert [update["update_id"] for update in client.answer(request)["result"]] == [update_id]
    assert client.answered_at(request) == pytest.approx(10.001)


def test_a_long_poll_is_answered_2_ms_after_the_first_of_many_updates() -> None:
    """Each one puts it off by 1 ms, but not past that (2.4)."""
    client, request = polling()
    ids = []
    for _ in range(6):
        ids.append(client.message())
        client.wait(0.0008)
    assert client.answered_at(request) == pytest.approx(0.002)
    assert [update["update_id"] for update in client.answer(request)["result"]] == ids[:3]


def test_a_long_poll_is_not_put_off_past_its_timeout() -> None:
    """The last millisecond is cut (2.4)."""
    client, request = polling(timeout=1)
    client.wait(0.9995)
    client.message()
    client.wait(1)
    assert client.answered_at(request) == 1.0
    assert len(client.answer(request)["result"]) == 1


def test_a_long_polls_limit_holds_when_it_is_answered() -> None:
    """The rest comes with the next call (2.1)."""
    client, request = polling(limit=2)
    ids = [client.message() for _ in range(3)]
    client.wait(1)
    assert [update["update_id"] for update in client.answer(request)["result"]] == ids[:2]


def test_a_long_polls_offset_just_ahead_deletes_what_comes_below_it() -> None:
    """It holds when the poll is answered as when it came (2.2, 2.4)."""
    client, (first,) = filled(1)
    request = client.call("getUpdates", offset=first + 3, timeout=50)
    ids = [client.message() for _ in range(3)]
    client.wait(1)
    assert [update["update_id"] for update in client.answer(request)["result"]] == ids[2:]
    assert client.pending == 1


@pytest.mark.parametrize("offset", [0, -1, 5])
def test_a_long_poll_of_a_queue_that_was_never_used_loses_nothing(offset: int) -> None:
    """Its offset is kept as given, and means nothing to the ids that come (2.2)."""
    client, request = polling(offset=offset)
    ids = [client.message(), client.message()]
    client.wait(1)
    assert [update["update_id"] for update in client.answer(request)["result"]] == ids


def test_a_poll_whose_client_has_gone_stays_and_a_new_one_succeeds() -> None:
    """The abandoned poll gets the 409, which nobody hears (2.4)."""
    client, abandoned = polling()
    client.perform(client.telegram.disconnected(abandoned, client.now))
    client.wait(5)
    assert client.telegram.bot(BOT_ID).poll is not None
    request = client.call("getUpdates", timeout=50)
    update_id = client.message()
    client.wait(1)
    assert [update["update_id"] for update in client.answer(request)["result"]] == [update_id]


def test_an_abandoned_poll_is_answered_to_nobody_and_confirms_nothing() -> None:
    """No update is lost by it (2.4)."""
    client, abandoned = polling()
    client.perform(client.telegram.disconnected(abandoned, client.now))
    update_id = client.message()
    client.wait(5)
    assert client.ids() == [update_id]


# Conflicts (2.5)


def test_the_older_of_two_polls_gets_a_409() -> None:
    """At once; the newer one waits on (2.5)."""
    client, older = polling()
    client.wait(1)
    newer = client.call("getUpdates", timeout=50)
    assert client.answer(older) == {"ok": False, "error_code": 409, "description": OTHER_POLL}
    assert newer not in client.responses


def test_a_409_has_neither_parameters_nor_a_retry_after_header() -> None:
    """As other errors that no time heals (2.5)."""
    client, older = polling()
    client.call("getUpdates", timeout=50)
    headers = dict(client.responses[older][1].headers)
    assert "retry-after" not in headers
    assert "parameters" not in client.answer(older)


@pytest.mark.parametrize("params", [{"timeout": 50, "limit": 3}, {"offset": -1}])
def test_a_call_that_is_answered_at_once_disturbs_no_pending_poll(params: Any) -> None:
    """One that finds updates, or one with timeout 0 (2.4)."""
    client, older = polling()
    if "timeout" in params:
        client.message()
    client.ask("getUpdates", **params)
    assert older not in client.responses


def test_getupdates_is_refused_while_a_webhook_is_set() -> None:
    """Before its parameters are looked at (2.5)."""
    client = Client()
    client.set_webhook()
    answer = client.ask("getUpdates", allowed_updates=["poll"])
    assert answer == {"ok": False, "error_code": 409, "description": WEBHOOK_ACTIVE}
    assert "allowed_updates" not in client.webhook


def test_setting_a_webhook_ends_the_pending_poll() -> None:
    """With a non-empty url only (2.5)."""
    client, poll = polling()
    client.ask("deleteWebhook", drop_pending_updates=True)
    client.ask("setWebhook", url="", drop_pending_updates=True)
    assert poll not in client.responses
    client.set_webhook()
    assert client.answer(poll) == {"ok": False, "error_code": 409, "description": BY_WEBHOOK}


def test_a_second_409_within_3_s_is_held_for_3_s() -> None:
    """Each for 3.0 s of its own, and the window is not moved by it (2.5)."""
    client, first = polling()
    second = client.call("getUpdates", timeout=50)
    client.wait(1)
    third = client.call("getUpdates", timeout=50)
    client.wait(1.5)
    fourth = client.call("getUpdates", timeout=50)
    client.wait(0.5)
    fifth = client.call("getUpdates", timeout=50)
    client.wait(10)
    times = [client.answered_at(request) for request in (first, second, third, fourth)]
    assert times == [0.0, 4.0, 5.5, 3.0]
    assert all(client.status(request) == 409 for request in (first, second, third, fourth))
    assert fifth not in client.responses


def test_all_kinds_of_409_share_the_pacing() -> None:
    """One window for a bot (2.5)."""
    client, poll = polling()
    client.call("getUpdates", timeout=50)
    client.wait(1)
    client.set_webhook()
    refused = client.call("getUpdates")
    client.wait(5)
    assert client.answered_at(poll) == 0.0
    assert client.answered_at(poll + 1) == 4.0
    assert client.answer(poll + 1)["description"] == BY_WEBHOOK
    assert client.answered_at(refused) == 4.0
    assert client.answer(refused)["description"] == WEBHOOK_ACTIVE


def test_the_pacing_is_a_bots_own() -> None:
    """Another bot's 409 is not held (2.5)."""
    client, _ = polling()
    client.call("getUpdates", timeout=50)
    other = "43:" + "t" * 30
    poll = client.call("getUpdates", token=other, timeout=50)
    client.call("getUpdates", token=other, timeout=50)
    assert client.answered_at(poll) == 0.0


def test_a_held_409_is_forgotten_when_its_client_has_gone() -> None:
    """There is nobody to answer."""
    client = Client()
    client.set_webhook(URL)
    client.ask("getUpdates")
    held = client.call("getUpdates")
    client.perform(client.telegram.disconnected(held, client.now))
    client.wait(10)
    assert held not in client.responses


def test_two_pollers_end_each_other_in_turn() -> None:
    """Each gets a 409 in every round (2.5)."""
    client = Client()
    polls = []
    for _ in range(6):
        polls.append(client.call("getUpdates", timeout=50))
        client.wait(4)
    assert [client.status(poll) for poll in polls[:-1]] == [409] * 5
    assert polls[-1] not in client.responses


# Several bots and environments (1.1)


def test_a_queue_is_a_bots_whatever_its_token() -> None:
    """A new token of the same bot sees the same updates (1.1)."""
    client, ids = filled()
    assert client.ids(token=f"{BOT_ID}:{'n' * 30}") == ids


def test_the_test_environment_has_a_queue_of_its_own() -> None:
    """It is the bot's id and 2^54 (1.1, 5.1)."""
    client, _ = filled()
    assert client.ask("test/getUpdates")["result"] == []
    update_id, _ = client.telegram.inject(BOT_ID + (1 << 54), "poll", {"id": "5"}, client.now)
    client.wait(1)
    assert client.ask("test/getUpdates")["result"] == [{"update_id": update_id, "poll": {"id": "5"}}]
    assert client.ask("test/getMe")["result"]["id"] == BOT_ID
