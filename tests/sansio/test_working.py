"""An inbox that is shared by many processes, and the worker: what is handed over, given back and taken back."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from hookline.effects import Abandon, Cancel, Ended, Fetch, Handle, Kept, Log, Mark, Open, Release, Status, Store
from hookline.errors import LocalProtocolError
from hookline.inbox import Inbox
from hookline.options import PollingOptions, WorkOptions
from hookline.outcomes import Cancelled, Raised, Returned
from hookline.working import TABLE, Over, Working
from tests.sansio.keeper import Keeper, kept, update
from tests.sansio.poller import ME, Poller, message

RAISED = Raised("ValueError: no such user", "Traceback ...")


def inbox(*handed: Kept, concurrency: int = 10) -> Keeper:
    """A shared inbox that has handed over these."""
    found = Keeper(Inbox(concurrency=concurrency, max_attempts=3))
    found.tell("opened", (), durable=True, shared=True)
    if handed:
        found.tell("found", handed)
    return found


def lane(*update_ids: int) -> list[Kept]:
    """Updates of one lane."""
    return [Kept(update(update_id)) for update_id in update_ids]


def test_a_run_that_was_never_asked_for_changes_nothing() -> None:
    worker = Working(WorkOptions())
    worker.start(0.0)
    worker.opened((), 0.0, durable=True)
    before = pickle.dumps(worker)
    with pytest.raises(LocalProtocolError):
        worker.finished(99, Returned(), 50.0)
    assert pickle.dumps(worker) == before


# A shared inbox


def test_what_comes_here_is_not_handled_here_unless_it_is_handed_over() -> None:
    found = inbox()
    store: Store = found.machine.store([update(1)])
    assert found.tell("stored", store.store, ()) == []
    found.tell("found", lane(1))
    assert found.handed == [1]


def test_a_lane_that_is_handed_over_keeps_its_order() -> None:
    found = inbox(*lane(1, 2))
    found.finish(1)
    assert found.handed == [1]
    found.marked()
    assert found.handed == [1, 2]


def test_a_stop_gives_back_what_waits() -> None:
    found = inbox(*lane(1, 2, 3), *kept(4), concurrency=2)
    assert found.tell("stop") == [Release((2, 3))]
    assert found.tell("found", lane(5)) == []


def test_a_stop_says_that_nothing_more_is_wanted_even_if_nothing_waits() -> None:
    assert inbox().tell("stop") == [Release(())]


def test_what_is_to_be_tried_again_is_given_back_too() -> None:
    found = inbox(*lane(1))
    found.finish(1, RAISED)
    found.marked()
    assert found.tell("stop") == [Release((1,))]


# What is taken back


def test_what_runs_is_cancelled_what_waits_is_forgotten_and_nothing_is_noted() -> None:
    found = inbox(*lane(1, 2), *kept(3))
    noted = len(found.marks)
    log, *cancels = found.tell("lost", "the database is away")
    assert isinstance(log, Log)
    assert log.text == (
        "the inbox has taken back what it had handed over: the database is away; "
        "what runs of it is cancelled, and runs again here or in another process: updates 1, 3"
    )
    assert cancels == [Cancel(1), Cancel(3)]
    found.finish(1, Cancelled())
    found.finish(3, Returned())
    assert len(found.marks) == noted
    assert found.handed == [1, 3]
    assert found.machine.idle


def test_a_lane_that_comes_again_waits_for_the_run_that_was_cancelled() -> None:
    found = inbox(*lane(1, 2))
    found.tell("lost", "away")
    found.tell("found", lane(1, 2))
    assert found.handed == [1]
    found.finish(1, Cancelled())
    assert found.handed == [1, 1]


def test_a_mark_that_is_under_way_then_means_nothing() -> None:
    found = inbox(*lane(1, 2))
    found.finish(1)
    found.tell("lost", "away")
    assert found.machine.idle
    found.tell("found", lane(1, 2))
    assert found.marked() == []
    assert found.handed == [1, 1]


def test_what_was_to_be_told_or_tried_again_is_not() -> None:
    found = inbox(*lane(1), *kept(2))
    found.finish(1, RAISED)
    found.marked()
    found.finish(2)
    found.tell("mark_failed", found.of(Mark)[-1].mark, "no")
    found.tell("lost", "away")
    assert found.machine.deadline is None
    assert found.machine.idle


def test_with_nothing_in_hand_there_is_nothing_to_say() -> None:
    assert inbox().tell("lost", "away") == []


def test_a_stop_waits_for_what_was_cancelled() -> None:
    found = inbox(*lane(1))
    found.tell("stop")
    found.tell("lost", "away")
    assert not found.machine.idle
    found.finish(1, Cancelled())
    assert found.machine.idle
    assert found.machine.leave(found.now) == []


def test_after_the_end_nothing_is_taken_back() -> None:
    found = inbox(*lane(1))
    found.tell("stop")
    found.machine.leave(found.now)
    assert found.tell("lost", "away") == []


# A poller


def poller(**options: Any) -> Poller:
    """One with a shared inbox, whose first getUpdates is pending."""
    found = Poller(PollingOptions(confirm="stored", **options))
    found.tell("start")
    found.answer(ME)
    found.tell("opened", (), durable=True, shared=True)
    found.answer(True)
    return found


def test_a_poller_goes_on_when_what_came_is_stored_whoever_handles_it() -> None:
    found = poller(max_waiting=1)
    found.answer([message(1), message(2)])
    store = found.of(Store)[-1]
    found.tell("stored", store.store, ())
    assert found.pending is not None
    assert found.pending.params["offset"] == 3
    assert found.handed == []


def test_a_poller_whose_lease_is_over_polls_no_more_and_ends() -> None:
    found = poller()
    fetch = found.pending
    assert fetch is not None
    effects = found.tell("lost", "the database is away")
    assert effects[0] == Abandon(fetch.fetch)
    assert effects[-1] == Ended("another process may poll for this bot by now, so this one ends: the database is away")


def test_it_waits_for_what_it_has_cancelled_but_confirms_nothing() -> None:
    found = poller()
    found.tell("found", lane(1))
    found.tell("lost", "away")
    assert found.of(Cancel) == [Cancel(1)]
    assert found.of(Ended) == []
    fetches = len(found.of(Fetch))
    found.finish(1, Cancelled())
    assert len(found.of(Ended)) == 1
    assert len(found.of(Fetch)) == fetches


def test_a_stop_that_is_under_way_confirms_nothing_then() -> None:
    found = poller()
    found.answer([message(1)])
    found.tell("stored", found.of(Store)[-1].store, ())
    found.tell("found", lane(1))
    found.tell("stop")
    fetches = len(found.of(Fetch))
    found.tell("lost", "away")
    found.finish(1, Cancelled())
    assert found.of(Ended) == [Ended(None)]
    assert len(found.of(Fetch)) == fetches


# The worker


def worker(*handed: Kept, **options: Any) -> Keeper:
    """One that works, and these were handed over to it."""
    found = Keeper(Working(WorkOptions(**options)))
    found.tell("start")
    found.tell("opened", (), durable=True, shared=True)
    if handed:
        found.tell("found", handed)
    return found


def test_a_worker_begins_with_the_inbox() -> None:
    found = Keeper(Working())
    assert found.tell("start") == [Open()]
    assert not found.machine.serving
    found.tell("opened", (), durable=True, shared=True)
    assert found.machine.serving
    assert found.texts == ["the inbox is open"]


def test_it_handles_what_is_there_and_what_is_handed_over() -> None:
    found = Keeper(Working())
    found.tell("start")
    found.tell("opened", kept(1), durable=True)
    found.tell("found", kept(2))
    assert found.handed == [1, 2]
    assert found.machine.progress.running == 2


def test_it_ends_with_the_reason_if_the_inbox_cannot_be_opened() -> None:
    found = Keeper(Working())
    found.tell("start")
    assert found.tell("open_failed", "no such database") == [Ended("the inbox could not be opened: no such database")]
    assert found.tell("opened", (), durable=True) == []


def test_it_tries_again_what_fails() -> None:
    found = worker(*lane(1), max_attempts=2)
    found.finish(1, RAISED)
    found.marked()
    assert found.machine.reason == "an update is tried again, or the inbox is told again"
    found.wait(2.0)
    assert found.handed == [1, 1]
    found.finish(1, RAISED)
    assert found.marks[-1] == (1, Status.FAILED, 2)


def test_at_a_stop_what_runs_has_its_grace_time_and_the_rest_goes_back() -> None:
    found = worker(*lane(1, 2), grace=5.0)
    assert found.tell("stop")[-1] == Release((2,))
    assert found.machine.deadline == found.now + 5.0
    assert found.machine.reason == "the grace time of running handlers ends"
    found.wait(4.0)
    found.finish(1)
    assert found.of(Ended) == []
    found.marked()
    assert found.of(Ended) == [Ended(None)]


@pytest.mark.parametrize("how", ["time", "second stop"])
def test_after_the_grace_time_what_runs_is_cut_short_and_goes_back(how: str) -> None:
    found = worker(*lane(1), grace=5.0)
    found.tell("stop")
    if how == "time":
        found.wait(5.0)
    else:
        found.tell("stop")
    assert found.of(Cancel) == [Cancel(1)]
    assert found.marks[-1] == (1, Status.WAITING, 0)
    assert found.of(Ended) == [Ended(None)]
    assert found.finish(1, Cancelled()) == []


def test_a_stop_with_nothing_to_do_is_the_end() -> None:
    found = worker()
    assert found.tell("stop")[-1] == Ended(None)
    assert found.tell("stop") == []


@pytest.mark.parametrize("started", [False, True])
def test_a_stop_before_the_inbox_is_open_is_the_end(started: bool) -> None:
    found = Keeper(Working())
    if started:
        found.tell("start")
    assert found.tell("stop") == [Ended(None)]


def test_it_goes_on_after_all_was_taken_back() -> None:
    found = worker(*lane(1))
    found.tell("lost", "away")
    found.finish(1, Cancelled())
    found.tell("found", lane(1))
    assert found.handed == [1, 1]
    assert found.machine.serving


def test_what_was_taken_back_during_a_stop_is_waited_for() -> None:
    found = worker(*lane(1))
    found.tell("stop")
    found.tell("lost", "away")
    assert found.of(Ended) == []
    found.finish(1, Cancelled())
    assert found.of(Ended) == [Ended(None)]


def test_a_mark_that_failed_is_told_again() -> None:
    found = worker(*lane(1))
    found.finish(1)
    found.tell("mark_failed", found.of(Mark)[-1].mark, "no")
    found.wait(2.0)
    assert found.marks[-2:] == [(1, Status.DONE, 1), (1, Status.DONE, 1)]


def test_to_start_it_twice_is_wrong_use() -> None:
    found = worker()
    with pytest.raises(LocalProtocolError, match="started before"):
        found.tell("start")


@pytest.mark.parametrize("again", [copy.deepcopy, lambda machine: pickle.loads(pickle.dumps(machine))])
def test_a_copy_goes_on_the_same(again: Any) -> None:
    found = worker(*lane(1, 2))
    found.machine = again(found.machine)
    found.tell("lost", "away")
    found.machine = again(found.machine)
    found.finish(1, Cancelled())
    found.machine = again(found.machine)
    found.tell("found", lane(1, 2))
    assert [effect.update.update_id for effect in found.of(Handle)] == [1, 1]


def test_the_declared_edges_are_those_that_are_taken() -> None:
    TABLE.seen = set()
    try:
        test_a_stop_before_the_inbox_is_open_is_the_end(False)
        test_a_stop_before_the_inbox_is_open_is_the_end(True)
        test_after_the_grace_time_what_runs_is_cut_short_and_goes_back("second stop")
        assert set(TABLE.taken()) == set(TABLE.declared())
    finally:
        TABLE.seen = None
    assert Over.__doc__
