"""`Bot` with an inbox: its facts go to the source that has it, its health, and how a run ends that cannot have it."""

from __future__ import annotations

from typing import Any

import pytest

from hookline import Bot, OptionError, PollingOptions, SetWebhookOptions, Token, WebhookOptions, WorkOptions
from hookline.effects import Cancel, Effect, Ended, Handle, Log, Mark, Open, Report, Status, Store, Verdict
from hookline.errors import LocalProtocolError
from hookline.outcomes import Raised, Returned
from tests.sansio.keeper import kept
from tests.sansio.test_storing_webhook import post

TOKEN = Token(f"42:{'t' * 35}")
SOURCES: dict[str, Any] = {"webhook": WebhookOptions(confirm="stored"), "worker": WorkOptions()}


def of(kind: type[Any], effects: list[Effect]) -> list[Any]:
    """The effects of one class."""
    return [effect for effect in effects if isinstance(effect, kind)]


def running(source: Any) -> tuple[Bot, int]:
    """A bot whose inbox had update 7, and that update's job."""
    bot = Bot(TOKEN, source)
    assert bot.start(0.0) == [Open()]
    (mark,) = of(Mark, bot.opened(kept(7), 0.0, durable=True))
    (handle,) = of(Handle, bot.marked(mark.mark, 0.0))
    return bot, handle.job


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_what_fails_is_tried_again(source: Any) -> None:
    bot, job = running(source)
    (mark,) = of(Mark, bot.finished(job, Raised("ValueError"), 1.0))
    bot.marked(mark.mark, 1.0)
    assert bot.deadline is not None
    assert bot.deadline <= 2.0
    assert of(Mark, bot.tick(2.0))[0].status is Status.RUNNING


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_what_is_found_is_handled_and_what_is_lost_is_cancelled(source: Any) -> None:
    bot, job = running(source)
    assert [mark.update_id for mark in of(Mark, bot.found(kept(8), 1.0))] == [8]
    effects = bot.lost("the database is away", 2.0)
    assert of(Cancel, effects) == [Cancel(job)]
    assert len(of(Log, effects)) == 1


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_a_bot_whose_inbox_can_note_nothing_is_not_healthy_until_it_can(source: Any) -> None:
    bot, job = running(source)
    assert bot.healthy(0.0)
    (mark,) = of(Mark, bot.finished(job, Returned(), 1.0))
    (report,) = of(Report, bot.mark_failed(mark.mark, "the disk is full", 1.0))
    assert report.verdict is Verdict.NOT_STORED
    assert not bot.healthy(1.0)
    (again,) = of(Mark, bot.tick(2.0))
    bot.marked(again.mark, 2.0)
    assert bot.healthy(2.0)


def test_a_webhook_whose_inbox_can_keep_nothing_is_not_healthy() -> None:
    bot, _ = running(SOURCES["webhook"])
    (store,) = of(Store, bot.requested(bot.new_request(), post(8), 1.0))
    assert len(bot.store_failed(store.store, "the disk is full", 1.0)) == 2
    assert not bot.healthy(1.0)


def test_a_stop_tells_at_once_what_could_not_be_noted_before() -> None:
    bot, job = running(SOURCES["worker"])
    (mark,) = of(Mark, bot.finished(job, Returned(), 1.0))
    bot.mark_failed(mark.mark, "the disk is full", 1.0)
    bot.stop(1.1)
    assert bot.deadline == 1.1
    assert of(Mark, bot.tick(1.1))[0].status is Status.DONE


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_an_inbox_that_cannot_be_opened_ends_the_run(source: Any) -> None:
    bot = Bot(TOKEN, source)
    bot.start(0.0)
    assert bot.open_failed("it is locked", 0.0) == [Ended("the inbox could not be opened: it is locked")]
    assert bot.reason == "nothing is awaited"


def test_a_webhook_is_not_set_before_its_inbox_is_open() -> None:
    bot = Bot(TOKEN, SOURCES["webhook"], set_webhook=SetWebhookOptions(url="https://bot.example.org/"))
    assert bot.start(0.0) == [Open()]
    assert bot.open_failed("it is locked", 0.0)[-1] == Ended("the inbox could not be opened: it is locked")


@pytest.mark.parametrize(
    ("fact", "args"),
    [
        ("opened", ((),)),
        ("open_failed", ("no",)),
        ("found", ((),)),
        ("lost", ("no",)),
        ("stored", (1, ())),
        ("store_failed", (1, "no")),
        ("marked", (1,)),
        ("mark_failed", (1, "no")),
    ],
)
@pytest.mark.parametrize("source", [None, PollingOptions(), WebhookOptions()], ids=["calls", "polling", "webhook"])
def test_a_bot_without_an_inbox_hears_of_none(source: Any, fact: str, args: tuple[Any, ...]) -> None:
    bot = Bot(TOKEN, source)
    with pytest.raises(LocalProtocolError, match="there is no inbox"):
        getattr(bot, fact)(*args, now=0.0, **{"durable": True} if fact == "opened" else {})


@pytest.mark.parametrize("name", ["on_timeout", "reply_with"])
def test_what_is_for_handlers_that_are_waited_for_does_not_go_with_an_inbox(name: str) -> None:
    functions: dict[str, Any] = {name: lambda _: True}
    with pytest.raises(OptionError, match=f"{name} cannot be given"):
        Bot(TOKEN, SOURCES["webhook"], **functions)
