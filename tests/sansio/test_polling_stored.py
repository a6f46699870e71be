"""Long polling with confirm="stored": what comes is stored, then confirmed, then handled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from hookline import PollingOptions
from hookline.effects import Cancel, Effect, Ended, Fetch, Handle, Kept, Log, Mark, Open, Status, Store, Verdict
from hookline.errors import LocalProtocolError, OptionError
from hookline.outcomes import Raised, Refused
from tests.sansio.keeper import kept
from tests.sansio.poller import Poller, message

RAISED = Raised("ValueError: no such user", "Traceback ...")


class Storing(Poller):
    """A poller with an inbox."""

    def __init__(self, **options: Any) -> None:
        super().__init__(PollingOptions(confirm="stored", **options))

    def stored(self, *fresh: int) -> list[Effect]:
        """The last `Store` is kept; fresh: what was not known before, all of it if nothing is said."""
        store = self.of(Store)[-1]
        return self.tell("stored", store.store, fresh or tuple(one.update_id for one in store.updates))

    def marked(self) -> list[Effect]:
        """The last `Mark` is noted."""
        return self.tell("marked", self.of(Mark)[-1].mark)

    def end(self, update_id: int) -> None:
        """The handler of an update has ended well, and the inbox knows."""
        self.finish(update_id)
        self.tell("marked", [mark.mark for mark in self.of(Mark) if mark.update_id == update_id][-1])


def poller(left: Sequence[Kept] = (), **options: Any) -> Storing:
    """One whose first getUpdates is pending."""
    found = opening(**options)
    found.tell("opened", left, durable=True)
    found.answer(True)
    return found


def opening(**options: Any) -> Storing:
    """One whose inbox is being opened."""
    found = Storing(**options)
    found.tell("start")
    found.answer({"id": 42, "is_bot": True, "first_name": "Bot"})
    return found


# Stored, confirmed, handled


def test_the_inbox_is_opened_when_telegram_is_known_to_be_there() -> None:
    """Handlers of what is in it would fail otherwise. Who does not get it, has changed nothing at Telegram."""
    found = Storing()
    found.tell("start")
    found.fail()
    assert found.of(Open) == []
    found.next_poll()
    assert found.answer({"id": 42, "is_bot": True, "first_name": "Bot"})[-1] == Open()
    assert found.pending is None
    found.tell("opened", (), durable=True)
    assert found.pending is not None
    assert found.pending.method == "deleteWebhook"


def test_who_stands_by_is_healthy_however_long_it_takes() -> None:
    found = opening()
    found.wait(1_000.0)
    assert found.machine.healthy(found.now)


def test_one_whose_inbox_can_keep_nothing_is_not_healthy() -> None:
    found = poller()
    found.give(10)
    assert found.machine.healthy(found.now)
    found.tell("store_failed", found.of(Store)[-1].store, "the disk is full")
    assert not found.machine.healthy(found.now)


def test_what_comes_is_stored_before_it_is_confirmed_or_handled() -> None:
    found = poller()
    (store,) = found.give(10, 11)
    assert isinstance(store, Store)
    assert [update.update_id for update in store.updates] == [10, 11]
    assert found.pending is None
    found.stored()
    assert found.offset == 12
    assert found.handed == [10]


def test_the_next_poll_does_not_wait_for_handlers() -> None:
    found = poller()
    for update_id in range(10, 15):
        found.give(update_id, chat=1)
        found.stored()
        found.next_poll()
    assert found.handed == [10]
    assert found.offset == 15


def test_what_the_inbox_knew_already_is_confirmed_and_not_handled_again() -> None:
    found = poller()
    found.give(10, 11)
    found.tell("stored", 1, (11,))
    assert found.offset == 12
    assert found.handed == [11]


def test_what_is_in_hand_is_not_stored_again() -> None:
    found = poller(kept(10))
    (store,) = found.give(10, 11)
    assert isinstance(store, Store)
    assert [update.update_id for update in store.updates] == [11]


def test_what_could_not_be_stored_stays_with_telegram_and_is_fetched_again_after_a_while() -> None:
    found = poller()
    found.give(10)
    found.tell("store_failed", 1, "the disk is full")
    assert found.machine.reason == "the inbox could not keep what came; it is fetched again"
    began = found.now
    assert found.next_poll().params.get("offset") is None
    assert found.now - began >= 0.75
    assert [report.update_id for report in found.reports(Verdict.NOT_STORED)] == [10]
    found.give(10)
    found.stored()
    assert found.handed == [10]


def test_each_failure_to_store_makes_the_wait_longer_and_a_success_short_again() -> None:
    found = poller()

    def fail() -> float:
        found.give(10)
        found.tell("store_failed", found.of(Store)[-1].store, "no")
        began = found.now
        found.next_poll()
        return found.now - began

    waits = [fail() for _ in range(5)]
    assert waits == sorted(waits)
    assert waits[-1] > 10.0
    found.give(10)
    found.stored()
    found.next_poll()
    assert fail() <= 1.0


def test_when_enough_waits_nothing_is_fetched_until_there_is_room() -> None:
    found = poller(max_waiting=2)
    found.give(10, 11, 12)
    found.stored()
    assert found.pending is None
    assert found.machine.deadline is None
    found.end(10)
    assert found.offset == 13


def test_what_is_tried_again_makes_room_for_more() -> None:
    found = poller(kept(9), max_waiting=1)
    found.fail()
    found.finish(9, RAISED)
    found.wait(1.0)
    assert found.pending is None
    found.marked()
    found.wait(1.0)
    assert found.handed == [9, 9]
    assert found.pending is not None


def test_an_element_that_is_no_update_is_passed_over() -> None:
    found = poller()
    found.answer([{"update_id": "x"}, message(10)])
    assert len(found.reports(Verdict.NOT_AN_UPDATE)) == 1
    found.stored()
    assert found.next_poll().params["offset"] == 11


def test_update_ids_that_jump_down_are_stored_and_confirmed() -> None:
    found = poller()
    found.give(1_000)
    found.stored()
    found.give(10)
    found.stored()
    assert found.next_poll().params["offset"] == 11
    assert found.handed == [1_000]
    found.end(1_000)
    assert found.handed == [1_000, 10]


def test_a_failed_run_is_tried_again_while_polling_goes_on() -> None:
    found = poller()
    found.give(10)
    found.stored()
    found.finish(10, RAISED)
    found.marked()
    assert found.machine.reason == "an update is tried again, or the inbox is told again"
    found.wait(1.0)
    assert found.handed == [10, 10]
    assert found.pending is not None


def test_what_the_inbox_had_is_handled_from_the_start() -> None:
    found = opening()
    effects = found.tell("opened", kept(7), durable=True)
    assert [type(effect) for effect in effects] == [Log, Mark, Fetch, Handle]
    assert found.machine.progress.running == 1


def test_what_somebody_puts_back_is_handled() -> None:
    found = poller()
    found.tell("found", kept(7))
    assert found.handed == [7]


# The end


def test_an_inbox_that_cannot_be_opened_ends_the_run() -> None:
    found = opening()
    assert found.tell("open_failed", "it is not a database") == [
        Ended("the inbox could not be opened: it is not a database")
    ]
    assert found.tell("opened", (), durable=True) == []
    assert found.tell("open_failed", "no") == []


def test_a_stop_while_the_inbox_is_opened_ends_the_run() -> None:
    found = opening()
    assert found.tell("stop") == [Ended(None)]


def test_a_stop_leaves_what_waits_in_the_inbox_and_confirms_what_is_stored() -> None:
    found = poller()
    found.give(10, 11, chat=1)
    found.stored()
    said = "stopping: 1 running, with 20 s to end (update 10); 1 waiting, left in the inbox"
    assert Log(said) in found.tell("stop")
    found.end(10)
    assert found.pending is not None
    assert found.pending.params == {"offset": 12, "limit": 1, "timeout": 0}
    found.give()
    assert found.handed == [10]
    assert found.ended == [None]


def test_a_stop_waits_for_what_is_being_stored_and_confirms_it() -> None:
    found = poller()
    found.give(10)
    found.tell("stop")
    assert found.ended == []
    found.stored()
    assert found.pending is not None
    assert found.pending.params["offset"] == 11
    assert found.handed == []


def test_what_could_not_be_stored_during_a_stop_is_not_confirmed() -> None:
    found = poller()
    found.give(10)
    found.tell("stop")
    found.tell("store_failed", 1, "no")
    assert found.pending is None
    assert found.ended == [None]


def test_when_the_grace_time_ends_what_runs_is_left_for_the_next_start() -> None:
    found = poller(grace=5)
    found.give(10)
    found.stored()
    found.tell("stop")
    found.wait(5.1)
    assert found.of(Cancel) == [Cancel(1)]
    assert (found.of(Mark)[-1].status, found.of(Mark)[-1].runs) == (Status.WAITING, 0)
    assert found.pending is not None
    assert found.pending.params["offset"] == 11


def test_a_store_that_hangs_does_not_hold_up_a_stop_for_longer_than_the_grace_time() -> None:
    found = poller(grace=5)
    found.give(10)
    found.tell("stop")
    found.wait(5.1)
    assert found.ended == [None]
    assert found.tell("stored", 1, (10,)) == []


def test_a_token_that_is_refused_ends_the_run_once_its_handlers_have() -> None:
    found = poller()
    found.give(10)
    found.stored()
    found.outcome(Refused(401, "Unauthorized"))
    found.finish(10)
    assert found.ended == []
    found.marked()
    assert len(found.ended) == 1
    assert "token" in (found.ended[0] or "")


# Wrong use


@pytest.mark.parametrize(
    ("fact", "args"),
    [
        ("opened", ((),)),
        ("open_failed", ("no",)),
        ("found", ((),)),
        ("stored", (1, ())),
        ("store_failed", (1, "no")),
        ("marked", (1,)),
        ("mark_failed", (1, "no")),
    ],
)
def test_without_an_inbox_nothing_is_heard_of_one(fact: str, args: tuple[Any, ...]) -> None:
    found = Poller().start()
    with pytest.raises(LocalProtocolError, match="no inbox without confirm='stored'"):
        found.tell(fact, *args, **{"durable": True} if fact == "opened" else {})


def test_on_error_stop_does_not_go_with_an_inbox() -> None:
    with pytest.raises(OptionError, match="on_error must be 'pass'"):
        PollingOptions(confirm="stored", on_error="stop")
