"""What other libraries lose, in virtual time: crashes, stops, bad updates, conflicts, dead paths, by both sources."""

from __future__ import annotations

from collections import Counter
from typing import TypeAlias

import pytest

from hookline import PollingOptions, WebhookOptions
from hookline.effects import Verdict
from hookline.sim import Fault
from hookline.testing import Behaviour, World
from hookline.testing.world import BOT_ID

Source: TypeAlias = "PollingOptions | WebhookOptions"

SOURCES = [
    pytest.param(PollingOptions(), id="polling"),
    pytest.param(PollingOptions(concurrency=20), id="polling-20"),
    pytest.param(WebhookOptions(), id="webhook-throw"),
    pytest.param(WebhookOptions(timeout=1), id="webhook-throw-short"),
]


def slow_world(seconds: float) -> World:
    """A world whose handlers take so long."""
    world = World()
    world.behave = lambda update, attempt: Behaviour((seconds,))
    return world


@pytest.mark.parametrize("source", SOURCES)
def test_a_crash_loses_nothing(source: Source) -> None:
    """Twelve updates wait, handlers take 3 s, the process dies 1 s in and is started again: all twelve are handled."""
    world = slow_world(3.0)
    first = world.bot(source)
    world.run(1)
    ids = [world.message(user=user) for user in range(1, 13)]
    world.run(1)
    assert world.attempts

    world.kill(first)
    world.bot(source)
    world.run(120)

    assert set(ids) == set(world.handled)
    assert world.telegram.pending(BOT_ID) == 0


@pytest.mark.parametrize("source", SOURCES)
def test_a_stop_loses_and_repeats_nothing(source: Source) -> None:
    """A stop 0.5 s into handlers of 1 s: what runs ends, the rest stays with Telegram, each is handled once."""
    world = slow_world(0.9)
    first = world.bot(source)
    world.run(1)
    ids = [world.message(user=user) for user in range(1, 13)]
    world.run(0.5)

    world.stop(first)
    world.run(10)
    assert first.ended == [None]
    world.kill(first)
    world.bot(source)
    world.run(120)

    assert Counter(ids) == Counter(world.handled) == world.attempts


@pytest.mark.parametrize("source", SOURCES)
def test_a_handler_that_hangs_does_not_hold_up_the_stop(source: Source) -> None:
    """The stop ends at its deadline, and what hung is sent again."""
    world = slow_world(1_000_000.0)
    host = world.bot(source)
    world.run(1)
    world.message()
    world.run(1)

    world.stop(host)
    world.run(30)

    assert host.ended == [None]
    assert world.telegram.pending(BOT_ID) == 1


@pytest.mark.parametrize("source", SOURCES)
def test_updates_of_one_chat_run_in_order_and_one_at_a_time(source: Source) -> None:
    """Whatever the source and however slow, a chat's messages are handled in their order."""
    world = slow_world(0.7)
    world.bot(source)
    world.run(1)
    ids = [world.message(user=5) for _ in range(6)]
    world.run(60)

    assert ids == world.handled


@pytest.mark.parametrize("source", SOURCES)
def test_a_slow_handler_runs_once(source: Source) -> None:
    """A handler that takes minutes is run once: what Telegram sends again joins the run."""
    world = slow_world(300.0)
    world.bot(source)
    world.run(1)
    update_id = world.message()
    world.run(900)

    assert Counter({update_id: 1}) == world.attempts
    assert world.telegram.pending(BOT_ID) == 0


@pytest.mark.parametrize("concurrency", [1, 20])
def test_an_element_that_is_no_update_is_passed_over(concurrency: int) -> None:
    """Its neighbours are handled, it is reported once, and nothing of it stays at Telegram."""
    world = World()
    before = world.message()
    world.command(world.telegram.inject_raw(BOT_ID, '{"bad": 1}', world.now)[1])
    after = world.message(user=2)
    host = world.bot(PollingOptions(concurrency=concurrency))
    world.run(5)
    world.command(world.telegram.inject_raw(BOT_ID, '["worse"]', world.now)[1])
    world.run(5)
    last = world.message(user=3)
    world.run(5)

    assert [before, after, last] == world.handled
    reports = [report for report in host.reports if report.verdict is Verdict.NOT_AN_UPDATE]
    assert [report.raw for report in reports] == [{"bad": 1}, ["worse"]]
    assert world.telegram.pending(BOT_ID) == 0


def test_a_revoked_token_ends_the_run_with_an_error() -> None:
    """401 is not tried for ever."""
    world = World()
    host = world.bot(PollingOptions())
    world.run(5)
    world.command(world.telegram.revoke(BOT_ID, world.now))
    world.run(40)

    assert host.ended[0] is not None
    assert "401" in host.ended[0]


def test_a_server_that_accepts_and_never_answers_is_noticed_within_45_seconds() -> None:
    """The dead path is reported, and a new connection is tried."""
    world = World()
    host = world.bot(PollingOptions())
    world.run(5)
    world.network.deaf.add(world.server.name)
    world.message()
    world.run(45)

    assert any(report.verdict is Verdict.UNREACHABLE for report in host.reports)
    world.network.deaf.clear()
    world.run(30)
    assert len(world.handled) == 1


def test_two_pollers_for_twenty_seconds_are_survived() -> None:
    """As in a rolling deploy: the new one waits the old one out, and no update is lost."""
    world = World()
    old = world.bot(PollingOptions())
    world.run(5)
    new = world.bot(PollingOptions())
    ids = []
    for _ in range(20):
        ids.append(world.message())
        world.run(1)
    world.stop(old)
    ids.append(world.message())
    world.run(60)

    assert new.ended == []
    assert set(ids) == set(world.handled)
    assert any(report.verdict is Verdict.CONFLICT for report in old.reports + new.reports)


def test_another_poller_that_stays_ends_the_run() -> None:
    """After `conflict_grace` it is said so."""
    world = World()
    hosts = [world.bot(PollingOptions()) for _ in range(2)]
    world.run(200)

    failures = [failure for host in hosts for failure in host.ended]
    assert len(failures) == 1
    assert "another poller" in str(failures[0])


def test_ids_that_jump_down_are_handled_once_each() -> None:
    """A new range of ids is trusted, and its updates are handled like any."""
    world = World()
    world.bot(PollingOptions())
    ids = [world.message() for _ in range(3)]
    world.run(5)
    world.telegram.restart_ids(BOT_ID, 1_000)
    ids += [world.message() for _ in range(3)]
    world.run(40)
    ids += [world.message() for _ in range(3)]
    world.run(5)

    assert Counter(ids) == world.attempts
    assert world.telegram.pending(BOT_ID) == 0


@pytest.mark.parametrize(
    "fault",
    [
        Fault("html", times=5, code=502),
        Fault("error", times=5, code=500, description="Internal Server Error: restart"),
        Fault("error", times=5, code=429, description="Too Many Requests: retry after 3", retry_after=3),
        Fault("empty", times=5, code=413),
        Fault("close", times=5),
        Fault("half", times=5),
        Fault("silent", times=2),
        Fault("body", times=5, body='{"ok":true,"result":{"not":"a list"}}'),
        Fault("body", times=5, body="[[[["),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.code}",
)
def test_trouble_with_telegram_is_outlived(fault: Fault) -> None:
    """Whatever comes instead of an answer, the bot goes on, without a hot loop, and handles each update once."""
    world = World()
    host = world.bot(PollingOptions())
    world.run(5)
    world.telegram.set_fault(BOT_ID, fault)
    ids = [world.message() for _ in range(3)]
    calls = len(world.telegram.calls(BOT_ID))
    world.run(240)

    assert Counter(ids) == world.attempts
    assert host.ended == []
    assert len(world.telegram.calls(BOT_ID)) - calls < 60


def test_a_webhook_that_is_set_ends_polling_and_names_the_cure() -> None:
    """Not waited out: no time would heal it."""
    world = World()
    poller = world.bot(PollingOptions())
    world.run(5)
    world.bot(WebhookOptions())
    world.run(40)

    assert "deleteWebhook" in str(poller.ended[0])


def polls(world: World) -> int:
    """How often getUpdates was called."""
    return sum(call.method == "getupdates" for call in world.telegram.calls(BOT_ID))


def test_polling_does_not_run_hot_while_updates_are_held() -> None:
    """A slow update holds the offset back for a minute: at most two requests a second, and news within a second."""
    world = World()
    world.behave = lambda update, attempt: Behaviour((60.0,) if update.payload["text"] == "slow" else ())
    world.bot(PollingOptions(concurrency=5))
    world.run(5)
    world.message("slow")
    world.run(10)
    before = polls(world)
    quick = world.message("quick", user=2)
    world.run(1)
    assert quick in world.handled
    world.run(29)

    assert polls(world) - before <= 60
