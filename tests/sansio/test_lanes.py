"""Lanes alone: which update may run now."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hookline.effects import Cancel, Effect, Handle
from hookline.errors import LocalProtocolError
from hookline.lanes import TABLE, Lanes
from hookline.updates import LaneKey, Update


def update(update_id: int, lane: LaneKey) -> Update:
    """An update of a lane."""
    return Update(update_id, "message", None, {"update_id": update_id}, lane)


def ids(effects: list[Effect]) -> list[int]:
    """The updates that may run now."""
    return [effect.update.update_id for effect in effects if isinstance(effect, Handle)]


def filled(concurrency: int, *lanes: LaneKey) -> tuple[Lanes, list[int]]:
    """Lanes with the updates 1, 2, ... of these lanes as jobs 1, 2, ...; and the ids of those that began."""
    machine = Lanes(concurrency)
    begun = []
    for number, lane in enumerate(lanes, 1):
        job, effects = machine.add(update(number, lane), 0.0)
        assert job == number
        begun += ids(effects)
    return machine, begun


def test_an_update_of_a_free_lane_runs_at_once() -> None:
    lanes = Lanes(1)

    assert lanes.add(update(7, "a"), 5.0) == (1, [Handle(1, update(7, "a"))])
    assert lanes.job(1).started == 5.0


def test_updates_of_one_lane_run_one_after_the_other_in_order() -> None:
    lanes, begun = filled(10, "a", "a", "a")

    assert begun == [1]
    assert [ids(lanes.finished(job, 1.0)) for job in (1, 2, 3)] == [[2], [3], []]


def test_updates_of_different_lanes_run_at_once() -> None:
    assert filled(10, "a", "b", 3)[1] == [1, 2, 3]


def test_a_number_and_its_text_are_different_lanes() -> None:
    assert filled(10, 1, "1")[1] == [1, 2]


def test_no_more_than_concurrency_run_and_the_oldest_is_next() -> None:
    lanes, begun = filled(2, "a", "b", "c", "a", "d")

    assert begun == [1, 2]
    assert (lanes.running, lanes.waiting, lanes.free) == (2, 3, 0)
    assert ids(lanes.finished(1, 1.0)) == [3]
    assert ids(lanes.finished(2, 1.0)) == [4]


def test_the_oldest_that_waits_is_next_whichever_lane_it_is_in() -> None:
    lanes, _ = filled(1, "a", "a", "b", "a")

    assert [ids(lanes.finished(job, 1.0)) for job in (1, 2, 3, 4)] == [[2], [3], [4], []]


def test_a_slot_that_no_lane_can_use_stays_free() -> None:
    lanes, _ = filled(2, "a", "a")

    assert (lanes.running, lanes.waiting, lanes.free) == (1, 1, 1)


def test_an_update_that_waits_or_runs_is_known_by_its_id() -> None:
    lanes, _ = filled(1, "a", "a")

    assert [lanes.job_of(update_id) for update_id in (1, 2, 3)] == [1, 2, None]
    lanes.finished(1, 1.0)
    assert lanes.job_of(1) is None


def test_a_lane_is_busy_while_an_update_of_it_waits_or_runs() -> None:
    lanes, _ = filled(1, "a", "b")

    assert (lanes.is_busy("a"), lanes.is_busy("b"), lanes.is_busy("c")) == (True, True, False)
    lanes.finished(1, 1.0)
    assert not lanes.is_busy("a")


def test_jobs_are_listed_the_oldest_first() -> None:
    lanes, _ = filled(1, "a", "b", "a")
    lanes.finished(1, 1.0)

    assert [job.number for job in lanes.jobs()] == [2, 3]


def test_a_job_that_waits_is_forgotten_at_once_when_cancelled() -> None:
    lanes, _ = filled(1, "a", "a", "a")

    assert lanes.cancel(2, 1.0) == []
    assert lanes.job_of(2) is None
    assert ids(lanes.finished(1, 1.0)) == [3]


def test_the_head_of_a_waiting_lane_that_is_cancelled_makes_room_for_the_next_of_its_lane() -> None:
    lanes, _ = filled(1, "a", "b", "b", "c")
    lanes.cancel(2, 1.0)

    assert ids(lanes.finished(1, 1.0)) == [3]


def test_a_cancelled_run_keeps_its_lane_until_it_has_ended() -> None:
    lanes, _ = filled(5, "a", "a")

    assert lanes.cancel(1, 1.0) == [Cancel(1)]
    assert (lanes.running, lanes.waiting) == (1, 1)
    assert ids(lanes.finished(1, 2.0)) == [2]


def test_a_run_is_cancelled_once() -> None:
    lanes, _ = filled(5, "a")
    lanes.cancel(1, 1.0)

    assert lanes.cancel(1, 2.0) == []


def test_the_update_of_a_cancelled_run_is_not_joined_and_runs_afresh_after_it() -> None:
    lanes, _ = filled(5, "a")
    lanes.cancel(1, 1.0)
    assert lanes.job_of(1) is None
    job, effects = lanes.add(update(1, "a"), 2.0)
    assert effects == []
    assert lanes.job_of(1) == job

    assert ids(lanes.finished(1, 3.0)) == [1]
    assert lanes.job_of(1) == job


@pytest.mark.parametrize("number", [0, 2, 99])
def test_the_end_of_a_job_that_does_not_run_is_wrong_use_and_changes_nothing(number: int) -> None:
    lanes, _ = filled(1, "a", "a")
    before = pickle.dumps(lanes)
    with pytest.raises(LocalProtocolError, match=f"job {number}"):
        lanes.finished(number, 1.0)

    assert before == pickle.dumps(lanes)


def test_a_job_that_has_ended_is_unknown() -> None:
    lanes, _ = filled(1, "a")
    lanes.finished(1, 1.0)
    for method in (lanes.finished, lanes.cancel):
        with pytest.raises(LocalProtocolError, match="job 1"):
            method(1, 2.0)


def test_nothing_is_left_of_what_has_ended() -> None:
    """A run of weeks keeps no trace of lanes and updates that were."""
    lanes = Lanes(2)
    empty = len(pickle.dumps(lanes))
    for number in range(1, 200):
        lanes.add(update(number, number % 7), 0.0)
    for number in range(1, 200):
        lanes.finished(number, 1.0)

    assert len(pickle.dumps(lanes)) <= empty + 2  # the number of the next job is longer now


def test_what_is_cancelled_while_all_slots_are_taken_does_not_pile_up() -> None:
    """A slot that hangs for days, and updates that come and are cancelled meanwhile."""
    lanes, _ = filled(1, "hangs")
    before = len(pickle.dumps(lanes))
    for number in range(2, 1000):
        job, _ = lanes.add(update(number, number), 0.0)
        lanes.cancel(job, 0.0)

    assert len(pickle.dumps(lanes)) < before + 50


def test_while_a_job_is_held_others_run_but_not_those_of_its_lane() -> None:
    lanes, begun = filled(1, "a", "a", "b")

    assert begun == [1]
    assert ids(lanes.held(1, 1.0)) == [3]
    assert (lanes.running, lanes.waiting) == (1, 2)
    assert ids(lanes.finished(3, 2.0)) == []
    assert ids(lanes.finished(1, 2.0)) == [2]


def test_a_held_update_runs_again_before_the_others_of_its_lane() -> None:
    lanes, _ = filled(2, "a", "a")
    lanes.held(1, 1.0)
    job, effects = lanes.again(1, 2.0)

    assert effects == [Handle(job, update(1, "a"))]
    assert lanes.job_of(1) == job
    assert ids(lanes.finished(job, 3.0)) == [2]
    with pytest.raises(LocalProtocolError):
        lanes.job(1)


def test_a_held_job_is_not_cancelled_since_it_does_not_run() -> None:
    lanes, _ = filled(1, "a")
    lanes.held(1, 1.0)

    assert lanes.cancel(1, 1.0) == []


def test_what_waits_cannot_be_held() -> None:
    lanes, _ = filled(1, "a", "b")

    with pytest.raises(LocalProtocolError):
        lanes.held(2, 1.0)


def test_the_declared_edges_are_those_that_are_taken() -> None:
    TABLE.seen = set()
    try:
        lanes, _ = filled(1, "a")
        lanes.held(1, 1.0)
        lanes.finished(1, 1.0)
        lanes, _ = filled(1, "a", "b", "c", "d")
        lanes.finished(1, 1.0)
        lanes.cancel(3, 1.0)
        lanes.cancel(2, 1.0)
        lanes.finished(2, 1.0)
        seen = {tuple(getattr(kind, "name", "").lower() for kind in edge) for edge in TABLE.seen}
    finally:
        TABLE.seen = None

    assert set(TABLE.declared()) == seen


class Runs(RuleBasedStateMachine):
    """Lanes beside a model that is a list: what waits and what runs, in the order of coming."""

    def __init__(self) -> None:
        super().__init__()
        self.lanes = Lanes(1)
        self.concurrency = 1
        self.waiting: list[tuple[int, LaneKey]] = []  # job, lane
        self.running: list[tuple[int, LaneKey]] = []
        self.cancelling: set[int] = set()
        self.next_update = 1
        self.now = 0.0

    @initialize(concurrency=st.integers(1, 4))
    def begin(self, concurrency: int) -> None:
        self.lanes = Lanes(concurrency)
        self.concurrency = concurrency

    def expect(self, effects: list[Effect]) -> None:
        """The oldest that may run do, and nothing else comes out."""
        for effect in effects:
            assert isinstance(effect, Handle)
            busy = {lane for _, lane in self.running}
            (oldest, *_) = (job for job in self.waiting if job[1] not in busy)
            assert oldest == (effect.job, effect.update.lane)
            self.waiting.remove(oldest)
            self.running.append(oldest)

    @rule(lane=st.integers(1, 4))
    def add(self, lane: int) -> None:
        job, effects = self.lanes.add(update(self.next_update, lane), self.now)
        self.next_update += 1
        self.waiting.append((job, lane))
        self.expect(effects)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.running))
        effects = self.lanes.finished(job[0], self.now)
        self.running.remove(job)
        self.cancelling.discard(job[0])
        self.expect(effects)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def cancel_what_runs(self, data: st.DataObject) -> None:
        number, _ = data.draw(st.sampled_from(self.running))
        expected: list[Any] = [] if number in self.cancelling else [Cancel(number)]
        assert expected == self.lanes.cancel(number, self.now)
        self.cancelling.add(number)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel_what_waits(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.waiting))
        assert self.lanes.cancel(job[0], self.now) == []
        self.waiting.remove(job)

    @rule()
    def copy(self) -> None:
        self.lanes = pickle.loads(pickle.dumps(copy.deepcopy(self.lanes)))

    @rule()
    def pass_time(self) -> None:
        self.now += 1.0

    @invariant()
    def one_of_a_lane_runs(self) -> None:
        lanes = [lane for _, lane in self.running]
        assert len(set(lanes)) == len(lanes) <= self.concurrency

    @invariant()
    def no_slot_is_free_that_could_be_used(self) -> None:
        busy = {lane for _, lane in self.running}
        assert len(self.running) == self.concurrency or all(lane in busy for _, lane in self.waiting)

    @invariant()
    def it_reads_as_it_is(self) -> None:
        assert (self.lanes.running, self.lanes.waiting) == (len(self.running), len(self.waiting))
        assert self.lanes.free == self.concurrency - len(self.running)
        assert [job.number for job in self.lanes.jobs()] == sorted(job for job, _ in self.running + self.waiting)
        for job in self.lanes.jobs():
            joined = None if job.number in self.cancelling else job.number
            assert joined == self.lanes.job_of(job.update.update_id)
        for lane in range(1, 5):
            assert self.lanes.is_busy(lane) == any(lane == other for _, other in self.running + self.waiting)


TestRuns = pytest.mark.exhaustive(Runs.TestCase)
TestRuns.settings = settings(max_examples=100, stateful_step_count=50)
