"""An inbox that is looked at and put right by hand, while its bot runs and while it does not."""

from __future__ import annotations

import queue
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hookline import LaneKey, StoreError
from hookline.effects import Kept, Status, Store
from hookline_io.stores import Inspection, UpdateStore, inspection_at, sqlite
from tests.drivers.stores.asking import BOT, an_update, ask, at, ids, keep, mark, opened


@pytest.fixture
def store(path: Path) -> Iterator[UpdateStore]:
    """The store of the bot, which runs."""
    with opened(path) as (store, _):
        yield store


@pytest.fixture
def inspection(path: Path, store: UpdateStore) -> Iterator[Inspection]:
    with inspection_at(f"sqlite:///{path}") as inspection:
        yield inspection


def test_an_overview_counts_what_is_where(store: UpdateStore, inspection: Inspection) -> None:
    before = time.time()
    keep(store, *range(10))
    for update_id, status in enumerate([Status.RUNNING, Status.FAILED, Status.FAILED, *[Status.DONE] * 3]):
        mark(store, update_id, status)
    overview = inspection.overview()
    assert overview.bot_id == BOT
    assert overview.counts == {Status.WAITING: 4, Status.RUNNING: 1, Status.DONE: 3, Status.FAILED: 2}
    assert overview.oldest is not None
    assert before - 1 <= overview.oldest <= time.time()


def test_an_empty_inbox_has_no_oldest(inspection: Inspection) -> None:
    overview = inspection.overview()
    assert overview.counts == dict.fromkeys(Status, 0)
    assert overview.oldest is None


def test_what_failed_is_not_the_oldest_that_waits(store: UpdateStore, inspection: Inspection) -> None:
    keep(store, 1)
    mark(store, 1, Status.FAILED)
    assert inspection.overview().oldest is None


def test_the_lane_that_is_behind_the_longest_is_first(store: UpdateStore, inspection: Inspection) -> None:
    lanes: list[LaneKey] = ["done", "failed", "slow", 7, "slow", 7, 7, "7"]
    for update_id, lane in enumerate(lanes):
        ask(store, Store(1, (an_update(update_id, lane=lane),)))
    mark(store, 0, Status.DONE)
    mark(store, 1, Status.FAILED)
    mark(store, 2, Status.RUNNING)
    slowest = inspection.slowest(10)
    assert [(load.lane, load.waiting, load.running) for load in slowest] == [("slow", 1, 1), (7, 3, 0), ("7", 1, 0)]
    assert [load.oldest for load in slowest] == sorted(load.oldest for load in slowest)
    assert inspection.slowest(2) == slowest[:2]


def test_what_failed_is_shown_with_its_error_and_its_time(store: UpdateStore, inspection: Inspection) -> None:
    keep(store, 1, 2)
    before = time.time()
    mark(store, 2, Status.FAILED, runs=5, error="ValueError: no")
    [failed] = inspection.failed()
    assert (failed.update, failed.runs, failed.error) == (an_update(2), 5, "ValueError: no")
    assert before - 1 <= failed.failed <= time.time()


def test_retry_lets_failed_updates_wait_as_if_never_run(path: Path, store: UpdateStore, inspection: Inspection) -> None:
    keep(store, 1, 2, 3, 4)
    for update_id in (1, 2, 3):
        mark(store, update_id, Status.FAILED, runs=5)
    assert inspection.retry([3, 1, 4, 2**70, 99, 3]) == [1, 3]
    assert inspection.overview().counts[Status.WAITING] == 3
    assert inspection.retry() == [2]
    assert inspection.failed() == []
    store.close()
    store = at(path)
    assert store.open() == [Kept(an_update(update_id), 0) for update_id in (1, 2, 3, 4)]
    store.close()


def test_purge_removes_failed_updates_and_no_others(store: UpdateStore, inspection: Inspection) -> None:
    keep(store, 1, 2, 3, 4)
    for update_id in (1, 2, 3):
        mark(store, update_id, Status.FAILED)
    assert inspection.purge([2, 4]) == [2]
    assert inspection.purge() == [1, 3]
    assert inspection.overview().counts == {Status.WAITING: 1, Status.RUNNING: 0, Status.DONE: 0, Status.FAILED: 0}
    assert keep(store, 1, 2, 3, 4) == [1, 2, 3]


def test_forget_lets_what_is_done_come_again(store: UpdateStore, inspection: Inspection) -> None:
    keep(store, 1, 2, 3)
    for update_id in (1, 2):
        mark(store, update_id, Status.DONE)
    assert inspection.forget() == 2
    assert inspection.overview().counts[Status.DONE] == 0
    assert keep(store, 1, 2, 3) == [1, 2]


def test_what_is_put_back_is_found_by_the_bot_that_runs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "LOOK_EVERY", 0.01)
    found: queue.SimpleQueue[list[Kept]] = queue.SimpleQueue()
    store = at(path)
    store.open(found.put)
    keep(store, 1, 2, 3, 4)
    for update_id in (1, 2, 3):
        mark(store, update_id, Status.FAILED, runs=5)
    with inspection_at(f"sqlite:///{path}") as inspection:
        inspection.retry([3, 2])
        assert found.get(timeout=20) == [Kept(an_update(2), 0), Kept(an_update(3), 0)]
        inspection.retry([1])
        assert ids(found.get(timeout=20)) == [1]
    store.close()
    assert found.empty()
    with opened(path) as (_, kept):
        assert ids(kept) == [1, 2, 3, 4]


def test_what_is_put_back_is_found_between_other_work(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "LOOK_EVERY", 1_000)
    found: queue.SimpleQueue[list[Kept]] = queue.SimpleQueue()
    store = at(path)
    store.open(found.put)
    keep(store, 1)
    mark(store, 1, Status.FAILED)
    with inspection_at(f"sqlite:///{path}") as inspection:
        inspection.retry()
    keep(store, 2)
    assert ids(found.get(timeout=20)) == [1]
    store.close()


def test_a_bot_looks_for_what_was_put_back_only_after_another_wrote(
    path: Path, monkeypatch: pytest.MonkeyPatch, connections: list[sqlite3.Connection]
) -> None:
    monkeypatch.setattr(sqlite, "LOOK_EVERY", 1_000)
    statements: list[str] = []
    store = at(path)
    store.open(id)
    keep(store, 1)
    keep(store, 2)  # it has looked when it answers for the second time
    connections[-1].set_trace_callback(statements.append)
    keep(store, 3)
    keep(store, 4)
    store.close()
    assert "PRAGMA data_version" in statements
    assert not [statement for statement in statements if sqlite.PUT_BACK in statement]


def test_what_is_put_back_is_found_when_a_lock_on_the_file_is_gone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite._connect, "__defaults__", (0.0,))
    monkeypatch.setattr(sqlite, "LOOK_EVERY", 1_000)
    found: queue.SimpleQueue[list[Kept]] = queue.SimpleQueue()
    store = at(path)
    store.open(found.put)
    keep(store, 1)
    mark(store, 1, Status.FAILED)
    with (
        inspection_at(f"sqlite:///{path}") as inspection,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        inspection.retry()
        other.execute("BEGIN IMMEDIATE")
        for _ in range(2):  # it has looked in vain when it answers for the second time
            assert keep(store, 2) == "database is locked"
        assert found.empty()
        other.execute("ROLLBACK")
        keep(store, 2)
        assert ids(found.get(timeout=20)) == [1]
    store.close()


def test_there_is_nothing_to_look_at_where_no_inbox_is(path: Path) -> None:
    with pytest.raises(StoreError, match="there is no inbox "):
        inspection_at(f"sqlite:///{path}")
    assert not path.exists()


def test_what_is_no_inbox_cannot_be_looked_at(path: Path) -> None:
    path.write_bytes(b"hello" * 1_000)
    with pytest.raises(StoreError, match="no inbox at all"):
        inspection_at(f"sqlite:///{path}")
