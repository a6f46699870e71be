"""The machine itself: its clock and contract, its limits, the collector, wrong use."""

from __future__ import annotations

import copy
import pickle
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookline.errors import LocalProtocolError
from hookline.http import Request, Response
from hookline.sim import Fault, SimulatedTelegram
from hookline.sim.telegram import MAX_BOTS, MAX_CALL_BYTES, MAX_CALLS, MAX_FAULTS
from tests.sansio.sim.client import BOT_ID, JSON_TYPE, TOKEN, URL, Client

SECRET = "t" * 30


# Time


def test_an_idle_machine_has_no_deadline() -> None:
    """There is nothing to do (law 4)."""
    client = Client()
    assert client.telegram.deadline is None
    client.ask("getMe")
    assert client.telegram.deadline is None


def test_early_and_repeated_ticks_do_nothing() -> None:
    """Nor do they disturb what is due later (law 4)."""
    client = Client()
    poll = client.call("getUpdates", timeout=10)
    for now in (0.0, 1.0, 5.0, 9.9):
        assert client.telegram.tick(now) == []
        assert client.telegram.deadline == 10.0
    client.wait(10)
    assert client.answered_at(poll) == 10.0
    assert client.telegram.tick(10.0) == []


def test_dates_are_those_of_the_epoch() -> None:
    """`epoch` is the unix time at now=0; whole seconds."""
    telegram = SimulatedTelegram(epoch=1_000)
    assert telegram.user_message(BOT_ID, "hi", 5.9)["date"] == 1_005


def test_the_collector_runs_after_600_s_and_then_every_60_s() -> None:
    """Until it does, what has expired counts (1.3)."""
    client = Client()
    client.ask("getMe")
    client.wait(10)

    def collected_at() -> float:
        client.inject("inline_query", {"from": {"id": 1}})
        while client.pending:
            deadline = client.telegram.deadline
            assert deadline is not None
            client.wait(deadline - client.now)
        return client.now

    assert collected_at() == 600.0
    assert collected_at() == 660.0
    client.wait(35)
    assert collected_at() == 780.0, "at 720 it had not expired"
    client.wait(10_000)
    assert (collected_at() - 600) % 60 == 0, "it keeps its rhythm while there is nothing to collect"


def test_the_collector_runs_for_all_bots() -> None:
    """At once (1.3)."""
    client = Client()
    for bot_id in (1, 2, 3):
        client.telegram.inject(bot_id, "inline_query", {"from": {"id": 1}}, client.now)
    client.wait(601)
    assert [client.telegram.pending(bot_id) for bot_id in (1, 2, 3)] == [0, 0, 0]


# Cost


def functions_called(action: Callable[[], object]) -> int:
    """How many functions an action calls: what it costs, told without a clock."""
    count = 0

    def tally(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(tally)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count


def cost_of_a_delivery(client: Client) -> int:
    """A message comes, the one that waits is acknowledged, and the driver asks when to come back."""
    payload = client.telegram.user_message(BOT_ID, "hi", client.now, user=5)
    waiting = client.waiting[0].post.post

    def deliver() -> None:
        client.telegram.inject(BOT_ID, "message", payload, client.now)
        client.telegram.posted(waiting, Response(200), "OK", client.now)
        assert client.telegram.deadline is not None

    return functions_called(deliver)


def test_a_delivery_costs_no_more_with_many_chats_waiting() -> None:
    """A million updates a minute, in virtual time."""

    def cost(chats: int) -> int:
        client = Client()
        client.set_webhook(max_connections=1_000)
        for user in range(chats):
            client.message(user=user + 10)
        return cost_of_a_delivery(client)

    assert cost(1_000) <= cost(20) + 20


def test_a_delivery_costs_no_more_with_many_other_bots() -> None:
    """Each of them with a webhook, and updates waiting."""

    def cost(bots: int) -> int:
        client = Client()
        for number in range(bots):
            client.ask("setWebhook", token=f"{1_000 + number}:{SECRET}", url=URL)
            client.perform(client.telegram.inject(1_000 + number, "poll", {}, client.now)[1])
        client.deliveries.clear()
        client.set_webhook()
        client.message()
        return cost_of_a_delivery(client)

    assert cost(300) <= cost(1) + 20


# Wrong use, and limits


@pytest.mark.parametrize("bot_id", [0, -1, 1 << 54, 1 << 55])
def test_what_can_be_no_bot_is_refused(bot_id: int) -> None:
    """By LocalProtocolError (law 6)."""
    with pytest.raises(LocalProtocolError, match="can't be a bot's id"):
        SimulatedTelegram().pending(bot_id)


@pytest.mark.parametrize("first", [0, -1, 2_000_000_000])
def test_what_can_be_no_id_is_refused(first: int) -> None:
    """And the ids go on (law 6)."""
    client = Client()
    update_id = client.message()
    with pytest.raises(LocalProtocolError, match="can't be an update's id"):
        client.telegram.restart_ids(BOT_ID, first)
    assert client.message() == update_id + 1


def test_an_update_that_json_cannot_say_is_refused() -> None:
    """And nothing is stored (law 6)."""
    client = Client()
    with pytest.raises(LocalProtocolError, match="JSON"):
        client.offer("poll", {"id": object()})
    with pytest.raises(LocalProtocolError, match="JSON"):
        client.offer("poll", {"id": "\ud800"})
    with pytest.raises(LocalProtocolError, match="JSON"):
        client.telegram.inject_raw(BOT_ID, "\ud800", 0.0)
    assert client.pending == 0


def test_bots_are_limited() -> None:
    """A call of one more is refused for a while, a command is wrong use."""
    client = Client()
    for number in range(MAX_BOTS):
        client.telegram.pending(number + 1)
    answer = client.ask("getMe", token=f"{MAX_BOTS + 1}:{SECRET}")
    assert answer["description"] == "Too Many Requests: retry after 60"
    assert client.ask("getMe", token=f"{MAX_BOTS}:{SECRET}")["ok"]
    with pytest.raises(LocalProtocolError, match="10000 bots"):
        client.telegram.pending(MAX_BOTS + 1)


def test_faults_are_limited() -> None:
    """They wait for calls that may never come."""
    client = Client()
    for _ in range(MAX_FAULTS):
        client.fault("close")
    with pytest.raises(LocalProtocolError, match="faults wait already"):
        client.fault("close")


def test_the_calls_that_are_remembered_are_limited() -> None:
    """By their number, and by what they hold; the oldest are forgotten."""
    client = Client()
    for _ in range(MAX_CALLS):
        client.call("getMe")
    client.call("getChat")
    calls = client.telegram.calls(BOT_ID)
    assert (len(calls), calls[-1].method) == (MAX_CALLS, "getchat")
    text = "x" * 1_000_000
    for _ in range(MAX_CALL_BYTES // len(text) + 1):
        client.call("sendMessage", chat_id=1, text=text)
    assert sum(call.size for call in client.telegram.calls(BOT_ID)) <= MAX_CALL_BYTES


def test_what_nobody_knows_is_ignored() -> None:
    """Posts, slots and requests that never were, or are gone."""
    telegram = SimulatedTelegram()
    assert telegram.sent(5, 0.0) == []
    assert telegram.slot_lost(5, "x", 0.0) == []
    assert telegram.disconnected(5, 0.0) == []
    client = Client()
    client.set_webhook()
    client.message()
    (delivery,) = client.waiting
    client.reply(delivery)
    client.reply(delivery)
    client.lose(delivery)
    client.lose(delivery)
    assert client.telegram.sent(delivery.post.post, 0.0) == []
    client.ask("deleteWebhook")
    client.reply(delivery)
    assert client.pending == 0


# Anything that may happen

TARGETS = st.sampled_from(
    [
        f"/bot{TOKEN}/{method}"
        for method in ("getUpdates", "setWebhook", "deleteWebhook", "close", "logOut", "getMe", "")
    ]
    + [f"/bot{TOKEN}/test/getUpdates", f"/file/bot{TOKEN}/x", "/_sim/message", "/bot", "*"]
) | st.text(max_size=20)
BODIES = st.sampled_from(
    [
        b"{}",
        b'{"timeout": 50}',
        b'{"timeout": 2, "offset": -1, "limit": 3}',
        b'{"url": "http://a/", "max_connections": 2}',
        b'{"url": "http://b/", "drop_pending_updates": true}',
        b'{"bot": 42, "text": "hi"}',
    ]
) | st.binary(max_size=20)
EVENTS = st.one_of(
    st.tuples(st.just("request"), st.tuples(st.sampled_from(["GET", "POST", "PUT"]), TARGETS, BODIES)),
    st.tuples(st.just("inject"), st.sampled_from(["message", "callback_query", "inline_query", "poll", "new"])),
    st.tuples(st.just("raw"), st.text(max_size=5)),
    st.tuples(st.just("reply"), st.tuples(st.sampled_from([200, 204, 302, 410, 429, 500]), st.binary(max_size=9))),
    st.tuples(st.just("lose"), st.sampled_from([None, "Connection refused"])),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.001, 0.7, 3.0, 61.0, 700.0])),
    st.tuples(st.just("fault"), st.sampled_from(["close", "silent", "error", "body"])),
    st.tuples(st.just("delivery"), st.sampled_from(["close", "silent", "error", "body"])),
    st.tuples(st.just("command"), st.sampled_from(["restart", "close_idle", "revoke"])),
    st.tuples(st.just("ids"), st.integers(1, 1_999_999_999)),
)


def happen(client: Client, name: str, value: Any) -> None:
    """Tell the simulation one thing."""
    telegram, now = client.telegram, client.now
    if name == "request":
        method, target, body = value
        client.send(Request(method, target, (JSON_TYPE,), (body,)))
    elif name == "inject":
        payload = telegram.user_message(BOT_ID, "hi", now, user=1 + len(client.responses) % 3)
        client.perform(telegram.inject(BOT_ID, value, payload, now)[1])
    elif name == "raw":
        client.perform(telegram.inject_raw(BOT_ID, value, now)[1])
    elif name == "reply" and client.waiting:
        client.reply(client.waiting[0], value[0], headers=(JSON_TYPE,), body=value[1])
    elif name == "lose" and client.slots:
        client.lose_slot(min(client.slots), value)
    elif name == "wait":
        client.wait(value)
    elif name == "fault":
        client.fault(value, after=2.0)
    elif name == "delivery":
        client.fault(value, method="delivery")
    elif name == "command":
        client.perform(getattr(telegram, value)(BOT_ID, now))
    elif name == "ids":
        telegram.restart_ids(BOT_ID, value)


@settings(max_examples=200)
@given(events=st.lists(EVENTS, max_size=30), at=st.integers(0, 30))
def test_nothing_raises_and_a_copy_goes_on_the_same(events: list[tuple[str, Any]], at: int) -> None:
    """Whatever comes, in any order (law 5); after a tick the deadline lies later (law 4); plain data (law 8)."""
    client = Client()
    for name, value in events[:at]:
        happen(client, name, value)
    twin: Client = pickle.loads(pickle.dumps(copy.deepcopy(client)))
    for one in (client, twin):
        for name, value in events[at:]:
            happen(one, name, value)
        one.wait(1_000)
    assert client.responses == twin.responses
    assert client.deliveries == twin.deliveries
    assert (client.hang_ups, client.slots, client.opened) == (twin.hang_ups, twin.slots, twin.opened)
    assert client.telegram.webhook_info(BOT_ID) == twin.telegram.webhook_info(BOT_ID)


def test_the_same_seed_gives_the_same_run() -> None:
    """Ids and waits are drawn from it (law 7)."""

    def story(seed: int) -> list[tuple[float, int]]:
        client = Client(seed=seed)
        client.set_webhook()
        client.message()
        for _ in range(12):
            client.reply(client.wait_for_delivery(), 500)
        return [(delivery.at, delivery.id) for delivery in client.deliveries]

    assert story(5) == story(5)
    assert story(5) != story(6)


def test_bots_do_not_disturb_each_other() -> None:
    """Their polls, webhooks and faults are their own."""
    client = Client()
    other = f"43:{SECRET}"
    client.set_webhook(URL)
    client.telegram.set_fault(43, Fault("error"))
    assert client.ask("getMe")["ok"]
    assert not client.ask("getMe", token=other)["ok"]
    poll = client.call("getUpdates", token=other, timeout=50)
    client.message()
    client.reply_all()
    client.wait(1)
    assert poll not in client.responses
    client.perform(client.telegram.inject(43, "poll", {"id": "5"}, client.now)[1])
    client.wait(1)
    assert len(client.answer(poll)["result"]) == 1
