"""Simulated disks: what is kept there, when it is written, and what a process that ends leaves behind."""

from __future__ import annotations

from random import Random

import pytest

from hookline import PollingOptions, Update
from hookline.effects import Kept, Mark, Open, Status, Store
from hookline.testing import Behaviour, Disk, World
from hookline.testing.disk import FULL, LOCKED, Answer, Asked, Keeper, PutBack, Row


def update(update_id: int) -> Update:
    return Update(update_id, "message", {}, {"update_id": update_id, "message": {}}, 1)


def with_two() -> Disk:
    disk = Disk()
    disk.carry_out(Store(1, (update(5), update(6))), 0.0)
    return disk


class Process:
    """A process that uses a disk, and a clock: each step of the disk waits in `todo` for its turn."""

    def __init__(self, disk: Disk) -> None:
        self.todo: list[tuple[float, object]] = []
        self.written: list[Asked] = []
        self.told: list[Answer] = []
        self.keeper = Keeper(
            disk,
            later=lambda seconds, action: self.todo.append((seconds, action)),
            clock=lambda: 0.0,
            wrote=lambda asked, answer: self.written.append(asked),
            tell=self.told.append,
        )

    def step(self) -> float:
        """The next that is to be done is done; how long it had to wait."""
        seconds, action = self.todo.pop(0)
        assert callable(action)
        action()
        return seconds


STORE, MARK = Store(1, (update(5),)), Mark(1, 5, Status.DONE, 1)


# What is kept


def test_what_is_stored_is_fresh_once() -> None:
    disk = with_two()
    assert disk.carry_out(Store(2, (update(6), update(7))), 1.0) == Answer("stored", (2, (7,)))
    assert list(disk.rows) == [5, 6, 7]


def test_what_waits_or_runs_is_there_when_it_is_opened_the_oldest_first() -> None:
    disk = with_two()
    disk.carry_out(Store(2, (update(1), update(2))), 1.0)
    disk.carry_out(Mark(1, 6, Status.DONE, 1), 1.0)
    disk.carry_out(Mark(2, 1, Status.RUNNING, 1), 1.0)
    disk.carry_out(Mark(3, 2, Status.FAILED, 3, "ValueError"), 1.0)
    assert disk.carry_out(Open(), 2.0) == Answer(
        "opened", ((Kept(update(5), 0), Kept(update(1), 1, interrupted=True)),), {"durable": True}
    )


def test_an_error_stays_until_there_is_another() -> None:
    disk = with_two()
    disk.carry_out(Mark(1, 5, Status.WAITING, 1, "ValueError"), 1.0)
    disk.carry_out(Mark(2, 5, Status.RUNNING, 2), 1.0)
    assert disk.rows[5].error == "ValueError"
    assert disk.rows[5].runs == 2


def test_a_full_disk_keeps_and_notes_nothing() -> None:
    disk = with_two()
    disk.full_until = 2.0
    assert disk.carry_out(Store(2, (update(7),)), 1.0) == Answer("store_failed", (2, FULL))
    assert disk.carry_out(Mark(1, 5, Status.DONE, 1), 1.0) == Answer("mark_failed", (1, FULL))
    assert [row.update.update_id for row in disk.undone] == [5, 6]
    assert not disk.carry_out(Mark(1, 5, Status.DONE, 1), 2.0).failed


def test_what_was_given_up_is_put_back_as_the_newest_with_all_its_attempts() -> None:
    disk = with_two()
    disk.carry_out(Mark(1, 5, Status.FAILED, 3, "ValueError"), 1.0)
    assert disk.carry_out(PutBack(), 2.0) == Answer("found", ((Kept(update(5)),),))
    assert list(disk.rows) == [6, 5]
    assert disk.rows[5] == Row(update(5), Status.WAITING, 0, "ValueError")
    assert disk.carry_out(PutBack(), 3.0) == Answer("found", ((),))


def test_a_locked_disk_is_not_opened() -> None:
    disk = Disk(locked_until=2.0)
    assert disk.carry_out(Open(), 1.0) == Answer("open_failed", (LOCKED,))
    assert disk.carry_out(Open(), 2.0).fact == "opened"


# When


def test_each_is_written_and_then_answered_before_the_next_is_written() -> None:
    process = Process(Disk())
    process.keeper.ask(STORE)
    process.keeper.ask(MARK)
    seen = []
    while process.todo:
        process.step()
        seen.append((len(process.written), len(process.told)))
    assert seen == [(1, 0), (1, 1), (2, 1), (2, 2)]


def test_each_step_takes_its_time() -> None:
    process = Process(Disk(latency=2.0, random=Random(1)))
    process.keeper.ask(STORE)
    first, second = process.step(), process.step()
    assert 0.0 < first < 2.0
    assert 0.0 < second < 2.0
    assert first != second


def test_what_is_asked_for_after_a_rest_is_carried_out_as_well() -> None:
    process = Process(Disk())
    for asked in (STORE, MARK):
        process.keeper.ask(asked)
        process.step()
        process.step()
    assert process.written == [STORE, MARK]
    assert process.todo == []


# The end


@pytest.mark.parametrize("steps", [0, 1])
def test_a_process_that_ends_well_leaves_all_written_and_hears_no_answer(steps: int) -> None:
    process = Process(Disk())
    process.keeper.ask(STORE)
    process.keeper.ask(MARK)
    for _ in range(steps):
        process.step()
    process.keeper.close()
    assert process.written == [STORE, MARK]
    while process.todo:
        process.step()
    assert process.written == [STORE, MARK]
    assert process.told == []


@pytest.mark.parametrize("steps", [0, 1])
def test_a_process_that_could_not_open_a_disk_writes_nothing(steps: int) -> None:
    disk = Disk(locked_until=1.0)
    process = Process(disk)
    process.keeper.ask(Open())
    process.keeper.ask(STORE)
    for _ in range(steps):
        process.step()
    process.keeper.close()
    while process.todo:
        process.step()
    assert process.written == [Open()]
    assert disk.rows == {}


@pytest.mark.parametrize("steps", [0, 1])
def test_a_process_that_dies_leaves_what_was_written_and_hears_no_answer(steps: int) -> None:
    process = Process(Disk())
    process.keeper.ask(STORE)
    process.keeper.ask(MARK)
    for _ in range(steps):
        process.step()
    process.keeper.die()
    while process.todo:
        process.step()
    assert process.written == [STORE, MARK][:steps]
    assert process.told == []


# In a world


def test_a_bot_whose_process_dies_goes_on_from_its_disk() -> None:
    """What ran, runs again: the handler of the first process has not ended."""
    world, disk, options = World(), Disk(), PollingOptions(confirm="stored")
    world.behave = lambda update, attempt: Behaviour((10.0,))
    first = world.bot(options, disk=disk)
    update_id = world.message()
    world.run(5.0)
    world.kill(first)
    world.bot(options, disk=disk)
    world.run(60.0)
    assert world.handled == [update_id]
    assert world.attempts[update_id or 0] == 2
    assert disk.rows[update_id or 0].status is Status.DONE


def test_a_bot_without_a_disk_keeps_its_inbox_in_memory() -> None:
    """It ends with the process; Telegram was told that the update has arrived."""
    world, options = World(), PollingOptions(confirm="stored")
    world.behave = lambda update, attempt: Behaviour((60.0,))
    first = world.bot(options)
    world.message()
    world.run(30.0)
    assert len(first.runs) == len(first.disk.undone) == 1
    assert not first.disk.durable
    world.kill(first)
    second = world.bot(options)
    world.run(120.0)
    assert second.disk.rows == {}
    assert world.handled == []
