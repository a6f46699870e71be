"""An inbox that is shared: who has which chat, when that ends, and what a database does to it."""

from __future__ import annotations

import logging
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from hookline import LaneKey, OptionError, StoreError
from hookline.effects import Kept, Mark, Release, Status, Store
from hookline_io.stores import Outcome, UpdateStore, inspection_at, store_at
from tests.drivers.stores.asking import BOT, an_update, ask, ids, keep, mark
from tests.postgresql import Server, serving

psycopg = pytest.importorskip("psycopg", reason="the extra postgresql is not installed")
from hookline_io.stores import postgresql as module  # noqa: E402

PATIENCE = 20.0


@pytest.fixture
def address(postgresql: Server) -> str:
    """An inbox that nobody has opened yet."""
    return postgresql.new_address()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases are short, and looked after all the time."""
    monkeypatch.setattr(module, "LOOK_EVERY", 0.2)
    monkeypatch.setattr(module, "STANDBY_EVERY", 0.05)


def until(condition: Callable[[], object]) -> None:
    """Wait for what must happen."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


class Process:
    """One of those that share an inbox: its store, what was handed over to it, and what was taken back."""

    def __init__(self, address: str, *, concurrency: int = 10, polls: bool = False, bot_id: int = BOT) -> None:
        self.store: UpdateStore = store_at(address, bot_id=bot_id, remember=100, concurrency=concurrency, polls=polls)
        self.handed: queue.SimpleQueue[list[Kept]] = queue.SimpleQueue()
        self.lost: queue.SimpleQueue[tuple[str, Callable[[], object]]] = queue.SimpleQueue()

    def open(self, leaving: threading.Event | None = None) -> None:
        """Open it."""
        assert self.store.open(self.handed.put, lambda *what: self.lost.put(what), leaving) == []

    def next(self) -> list[int]:
        """What is handed over next."""
        return ids(self.handed.get(timeout=PATIENCE))

    def has_nothing_new(self) -> bool:
        """Whether nothing is handed over in the time that it takes to hand something over."""
        for _ in range(3):
            ask(self.store, Mark(1, -1, Status.DONE, 1))
        return self.handed.empty()

    def done(self, *update_ids: int) -> None:
        """Mark these."""
        for update_id in update_ids:
            assert mark(self.store, update_id, Status.DONE) == frozenset()


@contextmanager
def sharing(address: str, **options: Any) -> Iterator[Process]:
    """A process that has the inbox open."""
    process = Process(address, **options)
    process.open()
    try:
        yield process
    finally:
        process.store.close()


def put(store: UpdateStore, *updates: tuple[int, LaneKey]) -> None:
    """Store updates of these lanes."""
    assert ask(store, Store(1, tuple(an_update(update_id, lane=lane) for update_id, lane in updates))) == frozenset()


def counts(address: str) -> dict[str, int]:
    """How many updates are where."""
    with inspection_at(address) as inspection:
        return {status.name: number for status, number in inspection.overview().counts.items() if number}


# What is handed over


def test_what_is_stored_is_handed_over_to_a_process_that_works(address: str) -> None:
    with sharing(address, concurrency=0) as receiver, sharing(address) as worker:
        assert keep(receiver.store, 1) == []
        assert worker.next() == [1]
        assert receiver.handed.empty()


def test_what_is_stored_comes_at_once(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 1_000)
    with sharing(address, concurrency=0) as receiver, sharing(address) as worker:
        for update_id in range(1, 20):
            put(receiver.store, (update_id, update_id))
            assert worker.next() == [update_id]
            worker.done(update_id)


@pytest.mark.parametrize(
    "address",
    [
        "postgresq://bot:s3cr3t@127.0.0.1/bot",
        "mysql://bot:s3cr3t@127.0.0.1/bot",
        "postgresql:bot:s3cr3t@127.0.0.1/bot",
        "postgresql+psycopg://bot:s3cr3t@127.0.0.1/bot",
        "host=127.0.0.1 password=s3cr3t",
        "postgresql://bot:pa@s3cr3t@127.0.0.1/bot",
        "postgresql://bot:pa@s3cr3t/word@127.0.0.1/bot",
        "postgresql://bot:pa/s3cr3t@127.0.0.1/bot",
    ],
)
def test_an_address_with_a_mistake_is_refused_without_its_password(address: str) -> None:
    with pytest.raises(OptionError, match="address") as refused:
        store_at(address, bot_id=BOT, remember=1)
    assert "s3cr3t" not in str(refused.value)


def test_what_is_asked_before_it_is_open_is_done_when_it_is(address: str) -> None:
    """A webhook takes requests while its inbox is being opened."""
    process = Process(address)
    told: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
    process.store.carry_out(Store(1, (an_update(1),)), told.put)
    process.open()
    assert told.get(timeout=PATIENCE) == frozenset()
    assert process.next() == [1]
    process.store.close()


def test_a_process_that_begins_has_what_was_there(address: str) -> None:
    with sharing(address, concurrency=0) as receiver:
        put(receiver.store, (1, "a"), (2, "b"), (3, "a"))
    with sharing(address) as worker:
        assert worker.next() == [1, 2, 3]


def test_an_update_that_comes_again_is_kept_once(address: str) -> None:
    with sharing(address) as one, sharing(address, concurrency=0) as other:
        keep(one.store, 1)
        keep(other.store, 1, 2, 2)
        assert one.next() == [1]
        one.done(1)
        assert one.next() == [2]
        one.done(2)
        keep(other.store, 1, 2)
        assert one.has_nothing_new()
        assert counts(address) == {"DONE": 2}


def test_a_lane_is_leased_to_one_process_until_all_of_it_is_done(address: str) -> None:
    with sharing(address, concurrency=1) as one:  # which can have no other lane as long as it has this one
        put(one.store, (1, "a"), (2, "a"))
        assert one.next() == [1, 2]
        with sharing(address) as other:
            put(other.store, (3, "a"), (4, "b"))
            assert other.next() == [4]
            one.done(1)
            assert one.has_nothing_new()
            assert other.has_nothing_new()
            one.done(2)
            assert one.next() == [3]


def test_at_most_so_many_lanes_are_leased_as_run_at_once_and_the_oldest_first(address: str) -> None:
    with sharing(address, concurrency=0) as receiver:
        put(receiver.store, *((update_id, update_id) for update_id in range(1, 6)))
    with sharing(address, concurrency=2) as one, sharing(address, concurrency=1) as other:
        assert one.next() == [1, 2]
        assert other.next() == [3]
        other.done(3)
        assert other.next() == [4]
        one.done(2)
        assert one.next() == [5]


def test_a_lane_with_much_to_do_lets_others_have_their_turn(address: str) -> None:
    with sharing(address, concurrency=0) as receiver:
        put(receiver.store, *((update_id, "busy") for update_id in range(1, 16)))
        put(receiver.store, (16, "other"))
    with sharing(address, concurrency=1) as worker:
        first = worker.next()
        assert first == list(range(1, 11))
        worker.done(*first)
        second = worker.next()
        assert second == list(range(11, 16))
        worker.done(*second)
        assert worker.next() == [16]


@pytest.mark.parametrize("status", [Status.DONE, Status.FAILED])
def test_what_is_done_or_given_up_frees_its_lane(address: str, status: Status) -> None:
    with sharing(address, concurrency=1) as worker:
        put(worker.store, (1, "a"), (2, "b"))
        assert worker.next() == [1]
        mark(worker.store, 1, status)
        assert worker.next() == [2]


@pytest.mark.parametrize("status", [Status.WAITING, Status.RUNNING])
def test_what_runs_or_is_tried_again_keeps_its_lane(address: str, status: Status) -> None:
    with sharing(address, concurrency=1) as worker:
        put(worker.store, (1, "a"), (2, "b"))
        assert worker.next() == [1]
        mark(worker.store, 1, status)
        assert worker.has_nothing_new()


def test_the_runs_of_an_update_go_with_it(address: str) -> None:
    with sharing(address) as one:
        put(one.store, (1, "a"))
        assert one.next() == [1]
        mark(one.store, 1, Status.WAITING, runs=3, error="ValueError")
    with sharing(address) as other:
        assert other.handed.get(timeout=PATIENCE) == [Kept(an_update(1, lane="a"), 3)]


def test_it_is_told_that_a_run_has_no_end(address: str) -> None:
    with sharing(address) as one:
        put(one.store, (1, "a"))
        assert one.next() == [1]
        mark(one.store, 1, Status.RUNNING, runs=2)
    with sharing(address) as other:
        assert other.handed.get(timeout=PATIENCE) == [Kept(an_update(1, lane="a"), 2, interrupted=True)]


def test_lanes_are_told_apart_as_python_does_and_may_be_long(address: str) -> None:
    lanes: list[LaneKey] = [1, "1", "x" * 5_000, "y" * 5_000, "\0\ud800"]
    with sharing(address) as worker:
        put(worker.store, *enumerate(lanes))
        kept = worker.handed.get(timeout=PATIENCE)
        assert len({one.update.lane for one in kept}) == len(lanes)
        assert [one.update.lane for one in kept][:2] == lanes[:2]


def test_an_update_is_handed_over_as_it_came(address: str) -> None:
    with sharing(address) as worker:
        update = an_update(1, "a\0\ud800\U0001f600", number=1e300, more=[None, True, 2**70])
        ask(worker.store, Store(1, (update,)))
        [kept] = worker.handed.get(timeout=PATIENCE)
        assert kept.update == update
        mark(worker.store, 1, Status.FAILED, error="it said \0 and \ud800")
    with inspection_at(address) as inspection:
        assert inspection.failed()[0].update == update


def test_bots_in_one_database_do_not_meet(address: str) -> None:
    with sharing(address) as one, sharing(address, bot_id=99) as other:
        put(one.store, (1, "a"))
        assert one.next() == [1]
        put(other.store, (1, "a"))
        assert other.next() == [1]
    with pytest.raises(StoreError, match=r"has the inboxes of bots 99, 1234: say of which"):
        inspection_at(address)
    with inspection_at(address, 99) as inspection:
        assert inspection.overview().bot_id == 99
    with pytest.raises(StoreError, match="nothing of bot 5"):
        inspection_at(address, 5)


def test_only_the_newest_of_what_is_done_stay_known(address: str) -> None:
    store = store_at(address, bot_id=BOT, remember=3, concurrency=10)
    handed: queue.SimpleQueue[list[Kept]] = queue.SimpleQueue()
    store.open(handed.put)
    put(store, *((update_id, update_id) for update_id in range(1, 6)))
    for one in handed.get(timeout=PATIENCE):
        mark(store, one.update.update_id, Status.DONE)
    store.close()
    with inspection_at(address) as inspection:
        assert inspection.overview().counts[Status.DONE] == 3
        assert inspection.forget() == 3


# Giving back


def test_at_its_end_a_process_frees_its_lanes_at_once(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 1_000)
    with sharing(address) as one:
        put(one.store, (1, "a"))
        assert one.next() == [1]
        other = Process(address)
        other.open()
    assert other.next() == [1]
    other.store.close()


def test_what_is_released_goes_to_others_and_what_runs_keeps_its_lane(address: str) -> None:
    with sharing(address) as one:
        put(one.store, (1, "runs"), (2, "runs"), (3, "waits"))
        assert one.next() == [1, 2, 3]
        with sharing(address) as other:
            ask_to_release(one.store, 2, 3)
            assert other.next() == [3]
            put(one.store, (4, "new"))
            assert other.next() == [4]
            one.done(1)
            assert other.next() == [2]
            assert one.handed.empty()


def test_what_is_cut_short_goes_to_others_when_it_cannot_go_on_any_more(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread may outlive the run for a moment. The rest goes back at once, and so does the right to poll."""
    monkeypatch.setattr(module, "LEASE", 1.0)
    with sharing(address, polls=True) as one:
        put(one.store, (1, "runs"), (2, "ends"))
        assert one.next() == [1, 2]
        ask_to_release(one.store)
        mark(one.store, 1, Status.WAITING)
        one.done(2)
    ended = time.monotonic()
    with sharing(address, polls=True, concurrency=0):
        assert time.monotonic() - ended < 0.9
    with sharing(address) as another:
        assert another.next() == [1]
        assert time.monotonic() - ended > 0.9


def ask_to_release(store: UpdateStore, *update_ids: int) -> None:
    """As the machine does at a stop."""
    told: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
    store.carry_out(Release(update_ids), told.put)
    assert told.get(timeout=PATIENCE) == frozenset()


# The end of leases


def test_what_a_killed_process_had_goes_to_another_when_it_was_not_seen_for_a_while(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEASE", 1.0)
    command = [sys.executable, "-c", PROCESS, address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "[1, 2]\n"
        assert counts(address) == {"RUNNING": 1, "WAITING": 1}
        process.send_signal(signal.SIGKILL)
        with sharing(address) as other:
            began = time.monotonic()
            assert other.next() == [1, 2]
            assert time.monotonic() - began < 5


PROCESS = f"""
import sys, time
from tests.drivers.stores.asking import *
store = store_at(sys.argv[1], bot_id={BOT}, remember=1, concurrency=1)
def found(kept):
    store.carry_out(Mark(1, 1, Status.RUNNING, 1), lambda _: print(ids(kept), flush=True))
store.open(found)
keep(store, 1, 2)
time.sleep(60)
"""


def test_a_process_that_is_seen_keeps_its_lanes(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEASE", 0.5)
    monkeypatch.setattr(module, "LOOK_EVERY", 0.05)
    with sharing(address) as one:
        put(one.store, (1, "a"))
        assert one.next() == [1]
        with sharing(address) as other:
            end = time.monotonic() + 1.5
            until(lambda: time.monotonic() > end)
            assert other.handed.empty()
            assert one.lost.empty()


def forget_workers(address: str) -> None:
    """As if none of them had been seen for too long."""
    with psycopg.connect(address, autocommit=True) as db:
        db.execute("DELETE FROM hookline_workers")


def test_a_process_whose_lease_is_over_is_told_and_its_marks_change_nothing(address: str) -> None:
    with sharing(address) as one:
        put(one.store, (1, "a"))
        assert one.next() == [1]
        forget_workers(address)
        assert mark(one.store, 1, Status.DONE) == module.NOT_OURS
        reason, _ = one.lost.get(timeout=PATIENCE)
        assert reason == "it was not seen by the database in time"
        assert mark(one.store, 1, Status.DONE) == module.NOT_OURS
        with sharing(address) as other:
            assert other.next() == [1]
        assert counts(address) == {"WAITING": 1}


def test_it_has_lanes_again_when_nothing_of_the_old_ones_goes_on(address: str) -> None:
    with sharing(address) as one:
        put(one.store, (1, "a"))
        assert one.next() == [1]
        forget_workers(address)
        _, resume = one.lost.get(timeout=PATIENCE)
        assert keep(one.store, 2) == []
        assert one.handed.empty()
        one.store.carry_out(Mark(1, 1, Status.DONE, 1), lambda _: None)  # of the old lease, though it comes late
        resume()
        assert one.next() == [1, 2]
        one.done(1, 2)
        until(lambda: counts(address) == {"DONE": 2})


def test_a_process_that_cannot_renew_is_told_before_others_may_have_its_lanes(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STOP_AFTER", 0.5)
    with sharing(address) as one:
        put(one.store, (1, "a"))
        assert one.next() == [1]
        with psycopg.connect(address) as db:
            db.execute("LOCK hookline_workers IN ACCESS EXCLUSIVE MODE")
            reason, _ = one.lost.get(timeout=PATIENCE)
            assert reason == "the database could not be reached for 0.5 s"
        assert one.handed.empty()


def test_a_mark_of_what_was_never_leased_changes_nothing(address: str) -> None:
    with sharing(address) as one, sharing(address) as other:
        put(one.store, (1, "a"))
        until(lambda: not (one.handed.empty() and other.handed.empty()))
        stranger = other if other.handed.empty() else one
        mark(stranger.store, 1, Status.DONE)
        assert counts(address) == {"WAITING": 1}


# Order


def test_processes_that_store_and_work_keep_every_lane_in_order(address: str) -> None:
    """Each of four processes stores and works; a lane's updates are stored in order, as Telegram sends them."""
    handled: dict[LaneKey, list[int]] = defaultdict(list)
    running: set[LaneKey] = set()
    wrong: list[str] = []
    lock = threading.Lock()
    over = threading.Event()

    def work(process: Process) -> None:
        mine: list[Kept] = []
        while not over.is_set():
            try:
                mine += process.handed.get(timeout=0.05)
            except queue.Empty:
                continue
            while mine:
                update = mine.pop(0).update
                with lock:
                    if update.lane in running:
                        wrong.append(f"{update.lane} runs twice at a time")
                    running.add(update.lane)
                    handled[update.lane].append(update.update_id)
                time.sleep(random.random() * 0.002)
                with lock:
                    running.discard(update.lane)
                mark(process.store, update.update_id, Status.DONE)

    def store(process: Process, lanes: list[int]) -> None:
        for number in range(60):
            for lane in lanes:
                put(process.store, (lane * 1_000 + number, lane))

    processes = [Process(address, concurrency=3) for _ in range(4)]
    for process in processes:
        process.open()
    threads = [threading.Thread(target=work, args=(process,)) for process in processes]
    storing = [
        threading.Thread(target=store, args=(process, [index, index + 4, index + 8]))
        for index, process in enumerate(processes)
    ]
    for thread in threads + storing:
        thread.start()
    for thread in storing:
        thread.join()
    until(lambda: sum(map(len, handled.values())) == 720)
    over.set()
    for thread in threads:
        thread.join()
    for process in processes:
        process.store.close()
    assert wrong == []
    assert handled == {lane: [lane * 1_000 + number for number in range(60)] for lane in range(12)}
    assert counts(address) == {"DONE": 100} or counts(address)["DONE"] < 250


# Polling


def test_one_process_polls_and_another_waits_for_its_end(address: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    first, second = Process(address, polls=True), Process(address, polls=True)
    first.open()
    waiting = threading.Thread(target=second.open)
    waiting.start()
    until(lambda: "stands by" in caplog.text)
    waiting.join(0.3)
    assert waiting.is_alive()
    first.store.close()
    waiting.join(PATIENCE)
    assert not waiting.is_alive()
    second.store.close()
    assert caplog.text.count("stands by") == 1


def test_a_process_that_ends_does_not_wait_for_its_turn(address: str) -> None:
    leaving = threading.Event()
    raised: list[BaseException] = []

    def open_second() -> None:
        try:
            Process(address, polls=True).open(leaving)
        except StoreError as error:
            raised.append(error)

    with sharing(address, polls=True):
        waiting = threading.Thread(target=open_second)
        waiting.start()
        leaving.set()
        waiting.join(PATIENCE)
    assert len(raised) == 1


def test_who_works_or_receives_need_not_wait_for_who_polls(address: str) -> None:
    with sharing(address, polls=True, concurrency=0) as poller, sharing(address) as worker, sharing(address):
        put(poller.store, (1, "a"))
        with inspection_at(address) as inspection:
            workers = inspection.overview().workers
        assert workers is not None
        assert [worker.polls for worker in workers] == [True, False, False]
        worker.store.carry_out(Mark(1, 1, Status.DONE, 1), lambda _: None)


def test_a_poller_that_was_not_seen_is_told_and_polls_no_more(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with sharing(address, polls=True) as one:
        forget_workers(address)
        _, resume = one.lost.get(timeout=PATIENCE)
        with sharing(address, polls=True):
            resume()
            assert one.has_nothing_new()


# The database


@contextmanager
def frozen(address: str) -> Iterator[None]:
    """The database's processes for all connections that hookline has by now are there, and do nothing."""
    with psycopg.connect(address) as db:
        mine = "SELECT pid FROM pg_stat_activity WHERE application_name = 'hookline' AND datname = current_database()"
        pids = [pid for (pid,) in db.execute(mine)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="the database's processes are another user's"
)
def test_a_connection_that_falls_silent_is_given_up_and_another_is_made(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing ends it: its bytes are taken, by the kernel or by a proxy."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(module, "SILENCE", 0.3)
    with sharing(address) as worker:
        put(worker.store, (1, "a"))
        assert worker.next() == [1]
        with frozen(address):
            until(lambda: "can be reached again" in caplog.text)
            worker.done(1)
            put(worker.store, (2, "a"))
            assert worker.next() == [2]
    assert "no answer within 0.3 s" in caplog.text


def test_a_process_that_has_no_descriptors_left_for_a_while_goes_on_with_its_inbox(address: str) -> None:
    resource = pytest.importorskip("resource", reason="it is Unix's")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with sharing(address) as worker:
        put(worker.store, (1, "a"))
        assert worker.next() == [1]
        with (Path(os.devnull)).open("rb") as last:
            resource.setrlimit(resource.RLIMIT_NOFILE, (last.fileno(), most[1]))
            try:
                time.sleep(3 * module.LOOK_EVERY)
                worker.done(1)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, most)
        put(worker.store, (2, "a"))
        assert worker.next() == [2]


def test_a_database_that_restarts_fails_what_is_asked_meanwhile_and_is_used_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    with serving() as server:
        address = server.address()
        with sharing(address) as one:
            put(one.store, (1, "a"))
            assert one.next() == [1]
            server.stop()
            outcome = keep(one.store, 2)
            assert isinstance(outcome, str)
            assert isinstance(mark(one.store, 1, Status.DONE), str)
            server.start()
            until(lambda: keep(one.store, 2) == [])
            until(lambda: mark(one.store, 1, Status.DONE) == frozenset())
            assert one.next() == [2]
            assert one.lost.empty()
            one.done(2)
            assert counts(address) == {"DONE": 2}
    assert caplog.text.count("the inbox's database is gone") == 1
    assert caplog.text.count("can be reached again") == 1
    assert "a-password" not in caplog.text


def test_who_stands_by_says_that_the_database_is_away_and_is_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with serving() as server:
        with sharing(server.address(), polls=True):
            second = Process(server.address(), polls=True)
            waiting = threading.Thread(target=second.open)
            waiting.start()
            until(lambda: "stands by" in caplog.text)
            caplog.clear()
            server.stop()
            until(lambda: caplog.text.count("the inbox's database is gone") == 2)
            server.start()
            until(lambda: caplog.text.count("can be reached again") == 2)
        waiting.join(PATIENCE)
        assert not waiting.is_alive()
        second.store.close()


def test_a_process_can_be_closed_while_the_database_is_away() -> None:
    with serving() as server:
        process = Process(server.address())
        process.open()
        server.stop()
        process.store.close()


def test_what_cannot_be_stored_does_not_fail_the_others_with_it(address: str) -> None:
    with sharing(address, concurrency=0) as one:
        told: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        cyclic: list[Any] = []
        cyclic.append(cyclic)
        bad = an_update(2)
        object.__setattr__(bad, "raw", {"update_id": 2, "message": cyclic})
        for update in (an_update(1), bad, an_update(3)):
            one.store.carry_out(Store(1, (update,)), told.put)
        outcomes = [told.get(timeout=PATIENCE) for _ in range(3)]
        assert [isinstance(outcome, str) for outcome in outcomes] == [False, True, False]
    assert counts(address) == {"WAITING": 2}


def test_many_that_begin_at_once_make_the_tables_once(address: str) -> None:
    processes = [Process(address) for _ in range(6)]
    threads = [threading.Thread(target=process.open) for process in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    put(processes[0].store, (1, "a"))
    until(lambda: any(not process.handed.empty() for process in processes))
    for process in processes:
        process.store.close()


def test_tables_of_a_newer_hookline_are_refused(address: str) -> None:
    with sharing(address):
        pass
    with psycopg.connect(address, autocommit=True) as db:
        db.execute("UPDATE hookline_schema SET version = 7")
    for refuse in (Process(address).open, lambda: inspection_at(address)):
        with pytest.raises(StoreError, match=r"is of version 7, and this hookline knows up to 1: install a newer one"):
            refuse()


def test_a_database_without_an_inbox_is_said_to_have_none(address: str) -> None:
    with pytest.raises(StoreError, match=r"there is no inbox in .* yet: start its bot once"):
        inspection_at(address)
    with sharing(address, concurrency=0), pytest.raises(StoreError, match="there is nothing of a bot in"):
        inspection_at(address)


def test_a_database_that_cannot_be_reached_or_refuses_is_said_in_a_sentence_without_the_password(
    postgresql: Server,
) -> None:
    from tests.ports import free_port

    nobody = f"postgresql://me:a-password@127.0.0.1:{free_port()}/bot"
    missing = postgresql.address().removesuffix("postgres") + "missing"
    refused = postgresql.new_address().replace("search_path", "default_transaction_read_only%3Don%20-csearch_path")
    for address, reason in ((nobody, "Connection refused"), (missing, "does not exist"), (refused, "read-only")):
        for refuse in (Process(address).open, lambda address=address: inspection_at(address)):
            if address == refused and refuse != Process(address).open:
                continue
            with pytest.raises(StoreError, match=rf"the inbox postgresql://127.* cannot be used: .*{reason}") as caught:
                refuse()
            assert "a-password" not in str(caught.value)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rest", ["me:a-password@[host/db", "me:a-password@host/db?no=thing", "me:a-pass%word@h/d"])
def test_an_address_that_cannot_be_read_is_refused_without_the_password(rest: str) -> None:
    with pytest.raises(OptionError, match=r"write postgresql://") as caught:
        Process(f"postgresql://{rest}").open()
    assert "a-pass" not in str(caught.value)


def test_without_the_drivers_package_the_extra_is_named() -> None:
    code = "import sys; sys.modules['psycopg'] = None; from hookline_io.stores import store_at; "
    code += "store_at('postgresql://host/db', bot_id=1, remember=1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "OptionError: an inbox on PostgreSQL needs the extra 'postgresql'" in done.stderr


# Put right by hand


def test_what_failed_is_shown_and_tried_again_at_once_by_who_works(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 1_000)
    with sharing(address) as worker, inspection_at_when_open(address) as inspection:
        before = time.time()
        put(worker.store, (1, "a"), (2, "b"), (3, "c"))
        assert worker.next() == [1, 2, 3]
        for update_id in (3, 1):
            mark(worker.store, update_id, Status.FAILED, runs=5, error="ValueError: no")
        failed = inspection.failed()
        assert [(one.update.update_id, one.runs, one.error) for one in failed] == [
            (1, 5, "ValueError: no"),
            (3, 5, "ValueError: no"),
        ]
        assert before - 5 <= failed[0].failed <= time.time() + 5
        assert inspection.retry([3, 2, 99]) == [3]
        assert worker.handed.get(timeout=PATIENCE) == [Kept(an_update(3, lane="c"), 0)]
        assert inspection.purge() == [1]
        assert inspection.retry() == []


@contextmanager
def inspection_at_when_open(address: str) -> Iterator[Any]:
    """It has to have a bot before."""
    with inspection_at(address) as inspection:
        yield inspection


def test_the_overview_counts_what_is_where_and_who_works(address: str) -> None:
    with sharing(address, concurrency=2) as worker, inspection_at(address) as inspection:
        assert inspection.overview().oldest is None
        put(worker.store, (1, "a"), (2, "b"), (3, "a"), (4, "c"))
        assert worker.next() == [1, 2, 3]
        mark(worker.store, 1, Status.RUNNING)
        worker.done(2)
        overview = inspection.overview()
        assert overview.bot_id == BOT
        assert {status.name: number for status, number in overview.counts.items()} == {
            "WAITING": 2,
            "RUNNING": 1,
            "DONE": 1,
            "FAILED": 0,
        }
        assert overview.oldest is not None
        assert overview.workers is not None
        [load] = overview.workers
        assert load.lanes == 2
        assert load.seen < PATIENCE
        slowest = inspection.slowest(10)
        assert [(one.lane, one.waiting, one.running) for one in slowest] == [("a", 1, 1), ("c", 1, 0)]
        assert inspection.slowest(1) == slowest[:1]
