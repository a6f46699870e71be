"""The inbox alone: what is stored, handed out, noted, tried again and given up."""

from __future__ import annotations

import copy
import pickle
from itertools import count, islice
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookline.effects import Cancel, Effect, Handle, Kept, Log, Mark, Report, Status, Store, Verdict
from hookline.errors import LocalProtocolError
from hookline.inbox import PHASES, TABLE, WARNING, Inbox
from hookline.outcomes import Cancelled, Outcome, Raised, Returned
from hookline.states import StateTable
from tests.sansio.keeper import Keeper, kept, update

RAISED = Raised("ValueError: no such user", "Traceback ...")


class Box(Keeper):
    """An inbox."""

    def __init__(self, **options: Any) -> None:
        super().__init__(Inbox(**{"concurrency": 10, "max_attempts": 3} | options))

    def store(self, *updates: Any) -> Store:
        """Have updates stored: ids, each of one lane, or updates."""
        effect: Store = self.machine.store([one if not isinstance(one, int) else update(one) for one in updates])
        self.effects.append(effect)
        return effect


def box(*update_ids: int, **options: Any) -> Box:
    """An open inbox with stored updates of one lane, of which the first runs."""
    found = Box(**options)
    found.opened()
    if update_ids:
        found.store(*update_ids)
        found.stored()
    return found


# Stored, then handled


def test_nothing_is_handed_out_before_it_is_stored() -> None:
    inbox = box()
    inbox.store(1, 2)
    assert inbox.handed == []
    inbox.stored()
    assert inbox.handed == [1]


def test_what_the_store_knew_already_is_not_handed_out() -> None:
    inbox = box()
    inbox.store(update(1, 1), update(2, 2), update(3, 3))
    inbox.stored(1, 3)
    assert inbox.handed == [1, 3]


def test_what_could_not_be_stored_is_reported_and_forgotten() -> None:
    inbox = box()
    store = inbox.store(1, 2)
    (report,) = inbox.tell("store_failed", store.store, "the disk is full")
    assert isinstance(report, Report)
    assert (report.verdict, report.update_id) == (Verdict.NOT_STORED, 1)
    assert "updates 1, 2 could not be stored: the disk is full" in report.text
    assert inbox.machine.idle
    assert inbox.tell("stored", store.store, (1, 2)) == []


def beginning(*update_ids: int, **options: Any) -> Box:
    """An inbox that was not told yet whether it is noted that the handler of the first update begins."""
    inbox = Box(**options)
    inbox.begins = False
    inbox.opened()
    inbox.store(*update_ids)
    inbox.stored()
    return inbox


def test_a_handler_begins_when_that_is_noted_and_not_before() -> None:
    """A process that dies by one shall not begin it for ever, and nothing else shall be taken for it."""
    inbox = beginning(1, 2)
    assert inbox.marks == [(1, Status.RUNNING, 1)]
    assert inbox.handed == []
    assert inbox.marked() == [Handle(1, update(1))]


def test_a_handler_whose_begin_cannot_be_noted_waits_and_begins_when_it_can() -> None:
    inbox = beginning(1)
    inbox.tell("mark_failed", inbox.last_mark.mark, "the disk is full")
    assert inbox.reports(Verdict.NOT_STORED) == [1]
    inbox.wait(1.0)
    assert inbox.marks == [(1, Status.RUNNING, 1)] * 2
    assert inbox.handed == []
    inbox.marked()
    assert inbox.handed == [1]


def test_what_a_stop_comes_before_does_not_begin_and_is_taken_back() -> None:
    inbox = beginning(1, 2)
    inbox.machine.stop(inbox.now)
    assert not inbox.machine.idle
    inbox.marked()
    assert inbox.marks[-1] == (1, Status.WAITING, 0)
    assert inbox.handed == []
    assert inbox.machine.idle


def test_what_a_stop_comes_before_and_could_not_be_noted_is_left() -> None:
    inbox = beginning(1, 2)
    inbox.machine.stop(inbox.now)
    assert inbox.tell("mark_failed", inbox.last_mark.mark, "no") == []
    assert inbox.machine.idle


def test_what_did_not_begin_within_the_grace_time_is_taken_back() -> None:
    inbox = beginning(1)
    inbox.machine.stop(inbox.now)
    assert inbox.machine.leave(inbox.now) == [Mark(2, 1, Status.WAITING, 0)]


def test_in_memory_nobody_would_learn_that_a_handler_has_begun() -> None:
    inbox = Box()
    inbox.opened(durable=False)
    inbox.store(1)
    assert [type(effect) for effect in inbox.stored()] == [Handle]


def test_a_lane_is_free_when_the_store_knows_what_became_of_the_update_before() -> None:
    inbox = box(1, 2)
    inbox.finish(1)
    assert inbox.marks[-1] == (1, Status.DONE, 1)
    assert inbox.handed == [1]
    inbox.marked()
    assert inbox.handed == [1, 2]


def test_while_the_store_is_told_other_lanes_have_the_slot() -> None:
    inbox = Box(concurrency=1)
    inbox.opened()
    inbox.store(update(1, "a"), update(2, "b"))
    inbox.stored()
    inbox.finish(1)
    assert inbox.handed == [1, 2]


def test_an_update_that_is_in_hand_is_known_until_the_store_has_it_as_done() -> None:
    inbox = box(1)
    lanes = inbox.machine.lanes
    inbox.finish(1)
    assert lanes.job_of(1) is not None
    inbox.marked()
    assert lanes.job_of(1) is None
    assert inbox.machine.idle


# Failures


@pytest.mark.parametrize("outcome", [RAISED, Cancelled()])
def test_a_failed_run_is_tried_again_after_a_while_and_its_lane_waits(outcome: Outcome) -> None:
    inbox = box(1, 2)
    inbox.finish(1, outcome)
    assert inbox.marks[-1] == (1, Status.WAITING, 1)
    inbox.marked()
    inbox.wait(0.7)
    assert inbox.handed == [1]
    inbox.wait(0.3)
    assert inbox.handed == [1, 1]
    assert inbox.marks[-1] == (1, Status.RUNNING, 2)


def test_each_wait_is_longer_than_the_one_before() -> None:
    inbox = box(1, max_attempts=10)
    times = []
    for _ in range(8):
        inbox.finish(1, RAISED)
        inbox.marked()
        began, runs = inbox.now, len(inbox.handed)
        while len(inbox.handed) == runs:
            inbox.wait(0.25)
        times.append(inbox.now - began)
    assert times == sorted(times)
    assert times[0] <= 1.0
    assert 40.0 < times[-1] <= 60.25


def test_a_handler_that_raises_is_reported_with_its_traceback() -> None:
    inbox = box(1)
    report = inbox.finish(1, RAISED)[0]
    assert isinstance(report, Report)
    assert (report.verdict, report.update_id, report.raw) == (Verdict.HANDLER_FAILED, 1, "Traceback ...")
    assert "ValueError: no such user" in report.text


def test_a_run_that_telegram_failed_does_not_count_and_is_tried_again_for_as_long_as_that_lasts() -> None:
    inbox = box(1, 2, max_attempts=2)
    waits = []
    for _ in range(20):
        inbox.finish(1, Raised("NetworkError: no route", "", transient=True))
        assert inbox.marks[-1] == (1, Status.WAITING, 0)
        inbox.marked()
        began, runs = inbox.now, len(inbox.handed)
        while len(inbox.handed) == runs:
            inbox.wait(0.5)
        waits.append(inbox.now - began)
    assert waits[0] <= 1.0
    assert 40.0 < waits[-1] <= 60.5
    assert inbox.reports(Verdict.GIVEN_UP) == []
    failed(inbox, 1, 2)
    assert inbox.reports(Verdict.GIVEN_UP) == [1]


def test_a_report_of_a_failed_run_says_which_it_was() -> None:
    inbox = box(1)
    inbox.finish(1, RAISED)
    inbox.marked()
    inbox.wait(1.0)
    inbox.finish(1, Raised("NetworkError: no route", "", transient=True))
    texts = [report.text for report in inbox.of(Report)]
    assert texts[0].endswith("raised ValueError: no such user (run 1 of 3)")
    assert texts[1].endswith("raised NetworkError: no route (it does not count, and is tried again)")


def failed(inbox: Box, update_id: int, times: int) -> None:
    """Let the runs of an update fail."""
    for _ in range(times):
        inbox.finish(update_id, RAISED)
        inbox.marked()
        inbox.wait(60.0)


def test_after_max_attempts_an_update_is_put_aside_and_its_lane_goes_on() -> None:
    inbox = box(1, 2)
    failed(inbox, 1, 2)
    inbox.finish(1, RAISED)
    assert inbox.reports(Verdict.GIVEN_UP) == [1]
    assert inbox.of(Report)[-1].raw == {"update_id": 1}
    last = inbox.of(Mark)[-1]
    assert (last.status, last.runs, last.error) == (Status.FAILED, 3, "ValueError: no such user")
    inbox.marked()
    assert inbox.handed == [1, 1, 1, 2]


def test_the_error_of_the_last_run_is_noted() -> None:
    inbox = box(1)
    inbox.finish(1, RAISED)
    assert inbox.of(Mark)[-1].error == "ValueError: no such user"


# The store cannot be told


def test_a_mark_that_failed_is_told_again_and_the_lane_waits() -> None:
    inbox = box(1, 2)
    inbox.finish(1)
    inbox.tell("mark_failed", inbox.of(Mark)[-1].mark, "the disk is full")
    assert inbox.reports(Verdict.NOT_STORED) == [1]
    inbox.wait(1.0)
    assert inbox.marks[-2:] == [(1, Status.DONE, 1), (1, Status.DONE, 1)]
    assert inbox.handed == [1]
    inbox.marked()
    assert inbox.handed == [1, 2]


def test_a_mark_is_told_again_less_and_less_often() -> None:
    inbox = box(1)
    inbox.finish(1)
    for _ in range(20):
        inbox.tell("mark_failed", inbox.of(Mark)[-1].mark, "no")
        inbox.wait(60.0)
    assert inbox.machine.deadline is None
    inbox.tell("mark_failed", inbox.of(Mark)[-1].mark, "no")
    assert inbox.wait(40.0) == []


# What was left


def test_what_was_left_is_handled_first_in_its_order() -> None:
    inbox = Box(concurrency=1)
    inbox.opened(kept(5, 3))
    assert inbox.handed == [5]
    assert inbox.texts == ["the inbox has 2 updates from before"]


def test_the_runs_of_what_was_left_are_counted_on() -> None:
    inbox = Box()
    inbox.opened(kept(5, runs=2))
    assert inbox.marks == [(5, Status.RUNNING, 3)]
    inbox.finish(5, RAISED)
    assert inbox.reports(Verdict.GIVEN_UP) == [5]


def test_an_update_that_has_ended_the_process_again_and_again_is_put_aside() -> None:
    inbox = Box()
    inbox.opened([*kept(5, runs=3), *kept(6)])
    assert inbox.reports(Verdict.GIVEN_UP) == [5]
    assert inbox.marks == [(5, Status.FAILED, 3), (6, Status.RUNNING, 1)]
    assert inbox.handed == [6]


# Which of those that run ends the process


def interrupted(*update_ids: int, runs: int = 2) -> list[Kept]:
    """What ran when its process ended, each in a lane of its own."""
    return [Kept(update(update_id, update_id), runs, interrupted=True) for update_id in update_ids]


def test_what_ran_when_two_processes_ended_runs_alone() -> None:
    inbox = Box(max_attempts=5)
    inbox.opened([*interrupted(5, 6), *kept(7)])
    assert inbox.handed == [5]
    inbox.store(8)
    inbox.stored()
    assert inbox.handed == [5]
    inbox.finish(5)
    assert inbox.handed == [5, 6]
    assert inbox.of(Log)[-1].level == WARNING
    assert (
        inbox.texts[-1] == "updates 5, 6 ran when processes ended, so one handler runs at a time until these have ended"
    )


@pytest.mark.parametrize("outcome", [Returned(), RAISED, Cancelled()])
def test_when_the_last_of_them_has_ended_in_whatever_way_all_run_at_the_same_time_again(outcome: Outcome) -> None:
    inbox = Box(max_attempts=5)
    inbox.opened([*interrupted(5, 6), *kept(7, 8)])
    inbox.finish(5)
    assert inbox.handed == [5, 6]
    inbox.finish(6, outcome)
    assert inbox.handed == [5, 6, 7, 8]


def test_the_one_that_ends_the_process_is_put_aside_alone() -> None:
    """It is begun before the others, and ends each process that begins it; what ran beside it is then handled."""
    inbox = Box(max_attempts=5)
    inbox.opened([*interrupted(5, runs=5), *interrupted(6, 7), *kept(8)])
    assert inbox.reports(Verdict.GIVEN_UP) == [5]
    assert inbox.handed == [6]
    inbox.finish(6)
    inbox.finish(7)
    assert inbox.handed == [6, 7, 8]
    assert inbox.reports(Verdict.GIVEN_UP) == [5]


@pytest.mark.parametrize("left", [interrupted(5, runs=1), kept(5, runs=4)], ids=["once", "failed"])
def test_what_ran_once_or_has_failed_is_not_suspected(left: list[Kept]) -> None:
    inbox = Box(max_attempts=5)
    inbox.opened([*left, *kept(6)])
    assert inbox.handed == [5, 6]


def test_what_is_handed_over_later_waits_until_what_runs_has_ended() -> None:
    inbox = Box(max_attempts=5)
    inbox.opened(kept(4))
    inbox.tell("found", interrupted(5))
    assert inbox.handed == [4]
    inbox.finish(4)
    assert inbox.handed == [4, 5]


def test_what_is_taken_back_is_not_suspected_any_more() -> None:
    inbox = Box(max_attempts=5)
    inbox.tell("opened", (), durable=True, shared=True)
    inbox.tell("found", interrupted(5, 6))
    inbox.tell("lost", "away")
    inbox.finish(5, Cancelled())
    inbox.tell("found", kept(7, 8))
    assert inbox.handed == [5, 7, 8]


def test_what_is_taken_back_with_the_last_suspect_begins_nothing_and_keeps_no_slot() -> None:
    inbox = Box(max_attempts=5)
    inbox.tell("opened", (), durable=True, shared=True)
    inbox.tell("found", [*kept(1), *interrupted(2), *kept(3, 4)])
    inbox.tell("lost", "away")
    inbox.finish(1, Cancelled())
    assert inbox.machine.idle
    assert (inbox.machine.lanes.running, inbox.machine.lanes.waiting) == (0, 0)
    inbox.tell("found", kept(1, 2, 3, 4))
    assert inbox.handed == [1, 1, 2, 3, 4]


def test_what_somebody_puts_back_is_handled_unless_it_is_in_hand() -> None:
    inbox = box(1)
    inbox.tell("found", [Kept(update(1)), *kept(2)])
    assert inbox.handed == [1, 2]


# The stop


def stopping(*update_ids: int, durable: bool = True) -> Box:
    """A stopped inbox with updates of one lane, of which the first runs."""
    inbox = Box()
    inbox.opened(durable=durable)
    inbox.store(*update_ids)
    inbox.stored()
    inbox.machine.stop(inbox.now)
    return inbox


def test_a_stop_begins_nothing_and_leaves_what_waits_in_the_store() -> None:
    inbox = stopping(1, 2)
    inbox.finish(1)
    assert not inbox.machine.idle
    inbox.marked()
    assert inbox.machine.idle
    assert inbox.handed == [1]
    assert inbox.machine.leave(inbox.now) == []


def test_what_is_stored_during_a_stop_is_there_at_the_next_start() -> None:
    inbox = stopping(1)
    inbox.store(update(2, 2))
    assert not inbox.machine.idle
    assert inbox.stored() == []


def test_a_stop_does_not_wait_for_what_is_to_be_tried_again() -> None:
    inbox = box(1)
    inbox.finish(1, RAISED)
    inbox.marked()
    inbox.machine.stop(inbox.now)
    assert inbox.machine.idle
    assert inbox.machine.deadline is None


def test_a_run_that_a_stop_cancels_is_no_failure() -> None:
    inbox = stopping(1)
    assert inbox.finish(1, Cancelled()) == [Mark(2, 1, Status.WAITING, 0)]
    inbox.marked()
    assert inbox.machine.idle


def test_a_run_that_fails_during_a_stop_is_tried_again_at_the_next_start() -> None:
    inbox = stopping(1)
    inbox.finish(1, RAISED)
    inbox.marked()
    assert inbox.machine.idle
    assert inbox.marks[-1] == (1, Status.WAITING, 1)


def test_what_outlasts_the_grace_time_is_cancelled_and_left_for_the_next_start() -> None:
    inbox = stopping(1, 2)
    effects = inbox.machine.leave(inbox.now)
    assert effects[:2] == [Cancel(1), Mark(2, 1, Status.WAITING, 0)]
    assert effects[2:] == [
        Log("handlers that did not end within the grace time: 1 (update 1); they run again at the next start")
    ]
    assert inbox.finish(1, Cancelled()) == []


def test_what_the_store_could_not_be_told_is_told_once_more_at_the_end() -> None:
    inbox = stopping(1)
    inbox.finish(1)
    inbox.tell("mark_failed", inbox.of(Mark)[-1].mark, "no")
    mark, report = inbox.machine.leave(inbox.now)
    assert isinstance(mark, Mark)
    assert isinstance(report, Report)
    assert (mark.update_id, mark.status) == (1, Status.DONE)
    assert (report.verdict, report.update_id) == (Verdict.NOT_STORED, 1)
    assert inbox.tell("mark_failed", mark.mark, "no") == []


def test_answers_that_come_after_the_end_do_nothing() -> None:
    inbox = stopping(1)
    store = inbox.store(update(2, 2))
    inbox.finish(1)
    mark = inbox.of(Mark)[-1]
    inbox.machine.leave(inbox.now)
    assert inbox.tell("stored", store.store, (2,)) == []
    assert inbox.tell("marked", mark.mark) == []
    assert inbox.tell("found", kept(7)) == []


def test_what_is_only_in_memory_is_still_handled_during_a_stop() -> None:
    inbox = stopping(1, 2, durable=False)
    inbox.finish(1)
    inbox.marked()
    assert inbox.handed == [1, 2]
    assert not inbox.machine.idle


def test_what_is_only_in_memory_and_not_handled_before_the_end_is_reported_as_lost() -> None:
    """But what is not stored yet is not: Telegram was not told of it."""
    inbox = stopping(1, 2, durable=False)
    inbox.store(update(3, 3))
    inbox.effects += inbox.machine.leave(inbox.now)
    assert inbox.reports(Verdict.LOST) == [1, 2]
    assert inbox.of(Cancel) == [Cancel(1)]
    assert inbox.of(Mark) == []


def test_what_ended_in_time_is_not_lost() -> None:
    inbox = stopping(1, durable=False)
    inbox.finish(1)
    assert [effect for effect in inbox.machine.leave(inbox.now) if isinstance(effect, Report)] == []


# The law


@pytest.mark.parametrize(
    ("fact", "args"),
    [
        ("stored", (9, ())),
        ("store_failed", (9, "no")),
        ("marked", (9,)),
        ("mark_failed", (9, "no")),
        ("finished", (9, RAISED)),
        ("opened", ((),)),
    ],
)
def test_what_was_never_asked_for_cannot_be_answered(fact: str, args: tuple[Any, ...]) -> None:
    inbox = box(1)
    before = pickle.dumps(inbox.machine)
    with pytest.raises(LocalProtocolError):
        inbox.tell(fact, *args, **{"durable": True} if fact == "opened" else {})
    assert pickle.dumps(inbox.machine) == before


def test_a_run_ends_once() -> None:
    inbox = box(1)
    inbox.finish(1)
    with pytest.raises(LocalProtocolError, match="does not run"):
        inbox.finish(1)


def test_an_early_tick_does_nothing() -> None:
    inbox = box(1)
    inbox.finish(1, RAISED)
    inbox.marked()
    assert inbox.tell("tick") == []


@pytest.mark.parametrize("again", [copy.deepcopy, lambda machine: pickle.loads(pickle.dumps(machine))])
def test_a_copy_goes_on_the_same(again: Any) -> None:
    def effects(between: Any) -> list[Effect]:
        inbox = box(1, 2)
        for _ in range(3):
            inbox.machine = between(inbox.machine)
            inbox.finish(1, RAISED)
            inbox.machine = between(inbox.machine)
            inbox.marked()
            inbox.wait(60.0)
        return inbox.effects

    assert effects(again) == effects(lambda machine: machine)


def one_of(random: Random, left: list[Any]) -> Any:
    """One of these, taken out."""
    return left.pop(random.randrange(len(left)))


@settings(max_examples=300)
@given(st.randoms(use_true_random=False))
def test_whatever_happens_the_lanes_have_what_the_inbox_knows_and_no_more(random: Random) -> None:
    """Nothing gets stuck: when all that was asked for is answered, nothing is left."""
    durable, ids = random.random() < 0.8, count(1)
    inbox = Box(concurrency=random.choice((1, 2, 10)), max_attempts=random.choice((1, 3)))
    inbox.begins = False
    lanes = inbox.machine.lanes
    marks: list[int] = []
    running: list[int] = []

    def tell(fact: str, *args: Any, **kwargs: Any) -> None:
        for effect in inbox.tell(fact, *args, **kwargs):
            if isinstance(effect, Mark):
                marks.append(effect.mark)
            elif isinstance(effect, Handle):
                running.append(effect.job)

    def some() -> list[Kept]:
        left = []
        for number in islice(ids, random.randint(0, 4)):
            runs, lane = random.choice((0, 0, 1, 2, 3)), random.choice((1, 2, number))
            left.append(Kept(update(number, lane), runs, runs > 0 and random.random() < 0.5))
        return left

    tell("opened", some(), durable=durable, shared=durable and random.random() < 0.7)
    for _ in range(60):
        step = random.random()
        if step < 0.15:
            tell("found", some())
        elif step < 0.45 and marks:
            late = random.random() < 0.2
            tell("mark_failed" if late else "marked", one_of(random, marks), *["the disk is full"] * late)
        elif step < 0.75 and running:
            tell("finished", one_of(random, running), random.choice((Returned(), RAISED, Cancelled())))
        elif step < 0.8 and inbox.machine.shared:
            tell("lost", "away")
        else:
            inbox.now += random.choice((0.1, 1.0, 60.0))
            tell("tick")
        assert {job.number for job in lanes.jobs()} == {*inbox.machine._states, *inbox.machine._lost}
    while marks or running or inbox.machine.deadline is not None:
        if marks:
            tell("marked", one_of(random, marks))
        elif running:
            tell("finished", one_of(random, running), Returned())
        else:
            inbox.now = inbox.machine.deadline
            tell("tick")
    assert inbox.machine.idle
    assert (lanes.running, lanes.waiting) == (0, 0)


def test_an_inbox_with_nothing_in_hand_keeps_nothing() -> None:
    inbox = box()
    small = len(pickle.dumps(inbox.machine))
    for number in range(1, 500):
        inbox.store(update(number, number))
        inbox.stored()
        inbox.finish(number)
        inbox.marked()
    assert len(pickle.dumps(inbox.machine)) < small + 100


def seen(table: StateTable, act: Any) -> set[tuple[str, str]]:
    """The edges that are taken meanwhile."""
    table.seen = set()
    try:
        act()
        return set(table.taken())
    finally:
        table.seen = None


def test_the_declared_edges_are_those_that_are_taken() -> None:
    def act() -> None:
        inbox = box(1, 2)
        inbox.finish(1, RAISED)
        inbox.tell("mark_failed", inbox.of(Mark)[-1].mark, "no")
        inbox.wait(2.0)
        inbox.marked()
        inbox.wait(2.0)
        inbox.finish(1)
        inbox.marked()
        stopping(1, 2).machine.leave(0.0)
        test_an_update_that_has_ended_the_process_again_and_again_is_put_aside()
        test_what_a_stop_comes_before_does_not_begin_and_is_taken_back()
        test_in_memory_nobody_would_learn_that_a_handler_has_begun()
        test_a_stop_does_not_wait_for_what_is_to_be_tried_again()
        test_what_the_store_could_not_be_told_is_told_once_more_at_the_end()

    assert seen(TABLE, act) == set(TABLE.declared())


def test_the_declared_phases_follow_each_other() -> None:
    def act() -> None:
        stopping(1).machine.leave(0.0)
        Box().machine.stop(0.0)
        Box().machine.leave(0.0)

    assert seen(PHASES, act) == set(PHASES.declared())
