"""The file of a store: what it keeps and how, whose it is, and what is refused."""

from __future__ import annotations

import queue
import sqlite3
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hookline import LaneKey, StoreError, Update, read_update
from hookline.codec import decode
from hookline.effects import Kept, Mark, Status, Store
from hookline_io.stores import Outcome, inspection_at, sqlite
from tests.drivers.stores.asking import an_update, ask, at, ids, keep, mark, opened


def execute(path: Path, *statements: str) -> list[Any]:
    """What the last of these gives, by a connection of its own."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        return [db.execute(statement).fetchall() for statement in statements][-1]


class Writer:
    """Holds the thread of a store in the telling of an outcome, so that what is asked meanwhile is queued."""

    def __enter__(self) -> Writer:
        self._held, self._free = threading.Event(), threading.Event()
        return self

    def hold(self, store: sqlite.SqliteStore | Any) -> None:
        def tell(_: Outcome) -> None:
            self._held.set()
            assert self._free.wait(20)

        store.carry_out(Store(0, ()), tell)
        assert self._held.wait(20)

    def __exit__(self, *exception: object) -> None:
        self._free.set()


# What is kept


def test_what_waits_or_was_running_is_kept_in_the_order_of_storing(path: Path) -> None:
    with opened(path) as (store, _):
        keep(store, 5, 3)
        keep(store, 4, 1, 2)
        mark(store, 3, Status.RUNNING, runs=2)
        mark(store, 4, Status.DONE)
        mark(store, 1, Status.FAILED)
        mark(store, 2, Status.RUNNING)
        mark(store, 2, Status.WAITING, runs=7)
    with opened(path) as (_, kept):
        assert kept == [Kept(an_update(5), 0), Kept(an_update(3), 2, interrupted=True), Kept(an_update(2), 7)]


def test_order_outlasts_the_removal_of_the_last_rows(path: Path) -> None:
    for update_ids in ([1, 2], [3], [4]):
        with opened(path) as (store, _):
            keep(store, *update_ids)
            mark(store, max(update_ids), Status.DONE)
    with opened(path) as (store, kept):
        keep(store, 0)
        assert ids(kept) == [1]
    with opened(path) as (_, kept):
        assert ids(kept) == [1, 0]


@pytest.mark.parametrize("lane", [7, -100_123, 2**70, "", "7", "poll:1", "\ud800", "ä\x00"])
def test_a_lane_is_kept_as_it_was_given(path: Path, lane: LaneKey) -> None:
    with opened(path) as (store, _):
        ask(store, Store(1, (an_update(1, lane=lane),)))
    with opened(path) as (_, [kept]):
        assert kept.update == an_update(1, lane=lane)
        assert type(kept.update.lane) is type(lane)


@pytest.mark.parametrize(
    "raw",
    [
        rb'{"update_id":1}',
        rb'{"update_id":9223372036854775807,"message":null,"a_new_kind":[1.5,-0.0,true,null,"\u0000"]}',
        rb'{"message":{"text":"half a pair: \ud800, \udc00\ud800, a pair: \ud83d\ude00"},"update_id":2}',
        b'{"update_id":5,"message":{"too great for a float":1e400,"text":"NaN"}}',
        '{"update_id":3,"поле":{"text":"Привет 😀 \\u2028 \\\\ud800 \\" "}}'.encode(),
        rb'{"update_id":4,"message":' + b"9" * 4_000 + b"}",
        rb'{"update_id":5,"message":' + b"[" * 190 + b"]" * 190 + b"}",
        rb'{"update_id":6,"message":"' + b"x" * 1_000_000 + b'"}',
    ],
    ids=range(8),
)
def test_an_update_is_kept_to_the_last_character(path: Path, raw: bytes) -> None:
    update = read_update(decode(raw))
    assert isinstance(update, Update)
    with opened(path) as (store, _):
        assert ask(store, Store(1, (update,))) == frozenset({update.update_id})
    with opened(path) as (_, [kept]):
        assert kept.update == update
        assert list(kept.update.raw) == list(update.raw)


def test_the_content_of_what_is_done_goes(path: Path) -> None:
    with opened(path) as (store, _):
        keep(store, 1, 2)
        mark(store, 1, Status.DONE)
    assert execute(path, "SELECT update_id FROM updates") == [(2,)]
    assert execute(path, "SELECT update_id FROM done") == [(1,)]


def test_what_failed_keeps_its_error_when_it_is_marked_without_one(path: Path) -> None:
    with opened(path) as (store, _):
        keep(store, 1)
        mark(store, 1, Status.WAITING, 1, "KeyError: '\ud800'")
        mark(store, 1, Status.RUNNING, 2)
        mark(store, 1, Status.FAILED, 2)
    with inspection_at(f"sqlite:///{path}") as inspection:
        [failed] = inspection.failed()
    assert (failed.update, failed.runs, failed.error) == (an_update(1), 2, r"KeyError: '\ud800'")


def test_a_new_file_is_its_owners_alone(path: Path) -> None:
    with opened(path) as (store, _):
        keep(store, 1)
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert modes == dict.fromkeys(["inbox.db", "inbox.db-wal", "inbox.db-shm", "inbox.db-lock"], 0o600)


# How it is written


def test_what_is_told_is_on_the_disk(path: Path, connections: list[sqlite3.Connection]) -> None:
    with opened(path):
        assert connections[-1].execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connections[-1].execute("PRAGMA synchronous").fetchone() == (2,)  # FULL: an fsync in each commit


def test_what_is_queued_is_one_transaction(path: Path, connections: list[sqlite3.Connection]) -> None:
    statements: list[str] = []
    told: list[Outcome] = []
    with opened(path) as (store, _):
        with Writer() as writer:
            writer.hold(store)
            connections[-1].set_trace_callback(statements.append)
            for number in range(100):
                store.carry_out(Store(number, (an_update(number),)), told.append)
        keep(store)
        connections[-1].set_trace_callback(None)
    assert told == [frozenset({number}) for number in range(100)]
    assert statements.count("COMMIT") in {1, 2}  # the second is that of the last question


def test_a_transaction_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch, connections: list[Any]) -> None:
    monkeypatch.setattr(sqlite, "MOST_AT_ONCE", 10)
    statements: list[str] = []
    with opened(path) as (store, _):
        with Writer() as writer:
            writer.hold(store)
            connections[-1].set_trace_callback(statements.append)
            for number in range(100):
                store.carry_out(Store(number, (an_update(number),)), id)
        keep(store)
        connections[-1].set_trace_callback(None)
    assert statements.count("COMMIT") == 11


@pytest.mark.parametrize(
    ("effect", "words"),
    [
        (Store(1, (an_update(10), an_update(11, what=object()))), "not JSON serializable"),
        (Mark(1, 2, Status.WAITING, 2**63), "too large"),
    ],
    ids=["object", "runs"],
)
def test_what_cannot_be_stored_fails_alone_and_as_a_whole(path: Path, effect: Store | Mark, words: str) -> None:
    told: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
    with opened(path) as (store, _):
        with Writer() as writer:
            writer.hold(store)
            store.carry_out(Store(1, (an_update(1),)), told.put)
            store.carry_out(effect, told.put)
            store.carry_out(Store(1, (an_update(2),)), told.put)
        first, failed, last = [told.get(timeout=20) for _ in range(3)]
    assert (first, last) == (frozenset({1}), frozenset({2}))
    assert isinstance(failed, str)
    assert words in failed
    with opened(path) as (_, kept):
        assert ids(kept) == [1, 2]


def test_a_full_disk_fails_each_effect_and_none_after_it(path: Path, connections: list[sqlite3.Connection]) -> None:
    told: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
    with opened(path) as (store, _):
        keep(store, 1)
        with Writer() as writer:
            writer.hold(store)
            connections[-1].execute("PRAGMA max_page_count = 1")  # as many as there are, which is more
            store.carry_out(Store(1, (an_update(2, "x" * 100_000),)), told.put)
            store.carry_out(Mark(1, 1, Status.DONE, 1), told.put)
        assert [told.get(timeout=20) for _ in range(2)] == ["database or disk is full"] * 2
        connections[-1].execute("PRAGMA max_page_count = 1000000")
        assert keep(store, 1, 2) == [2]
    with opened(path) as (_, kept):
        assert ids(kept) == [1, 2]


def test_a_writer_outlives_a_driver_that_fails(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: Outcome) -> None:
        raise RuntimeError("the loop is closed")

    with opened(path) as (store, _):
        store.carry_out(Store(1, (an_update(1),)), fail)
        assert keep(store, 1) == []
    assert "the loop is closed" in caplog.text


def test_it_waits_for_another_connections_transaction(path: Path) -> None:
    told: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
    with opened(path) as (store, _), closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        store.carry_out(Store(1, (an_update(1),)), told.put)
        other.execute("COMMIT")
        assert told.get(timeout=20) == frozenset({1})


def test_a_lock_that_lasts_fails_what_is_asked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite._connect, "__defaults__", (0.0,))
    with opened(path) as (store, _), closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert keep(store, 1) == "database is locked"
        other.execute("COMMIT")
        assert keep(store, 1) == [1]


# Whose it is


def test_it_is_open_once(path: Path) -> None:
    with opened(path) as (store, _):
        for _ in range(2):  # to be refused must not unlock it
            with pytest.raises(StoreError, match=r"inbox\.db is open already: one process at a time"):
                at(path).open()
        assert keep(store, 1) == [1]
    with opened(path) as (_, kept):
        assert ids(kept) == [1]


def test_it_is_open_once_by_whatever_name(path: Path) -> None:
    link = path.with_name("link.db")
    link.symlink_to(path)
    with opened(path), pytest.raises(StoreError, match="is open already"):
        at(link).open()


def test_an_open_that_is_refused_leaves_the_file_free(path: Path) -> None:
    with opened(path):
        pass
    with pytest.raises(StoreError, match="belongs to bot 1234, and this token to bot 5: give each bot a file"):
        at(path, bot_id=5).open()
    with opened(path):
        pass


def test_readers_are_welcome_while_it_is_open(path: Path) -> None:
    with opened(path) as (store, _):
        keep(store, 1)
        assert execute(path, "SELECT update_id FROM updates") == [(1,)]


def test_the_folder_must_exist(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"needs the folder .*/missing, which does not exist"):
        at(tmp_path / "missing" / "inbox.db").open()


def test_what_is_in_the_place_of_its_lock_is_named(path: Path) -> None:
    path.with_name("inbox.db-lock").write_bytes(b"hello")
    with pytest.raises(StoreError, match=r"inbox\.db-lock is damaged, or no inbox"):
        at(path).open()


def test_a_lock_that_cannot_be_written_is_not_one_that_another_has(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda address, **options: connect(f"{address}&mode=ro", **options))
    with pytest.raises(StoreError, match=r"inbox\.db-lock cannot be used: attempt to write a readonly database"):
        at(path).open()


@pytest.mark.skipif(sys.platform == "win32", reason="it takes a file system layer of POSIX's")
def test_a_file_system_without_shared_memory_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda address, **options: connect(f"{address}&vfs=unix-dotfile", **options)
    )
    with pytest.raises(StoreError, match="a file system that SQLite's WAL mode does not work on"):
        at(path).open()


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be used: unable to open database file"):
        at(tmp_path).open()


def test_another_applications_file_is_refused_and_left_alone(path: Path) -> None:
    execute(path, "CREATE TABLE notes (text)", "INSERT INTO notes VALUES ('mine')")
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"inbox\.db is a database of another application"):
        at(path).open()
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [
        b"hello",
        b"\x00" * 4_096,
        b"{}" * 10_000,
        b"SQLite format 3\x00" + b"\xff" * 84,
        b"SQLite format 3\x00" + b"\xff" * 8_176,
    ],
    ids=["short", "zeros", "text", "header", "header and rubbish"],
)
def test_what_is_no_database_is_refused_with_what_to_do_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"no inbox at all \(.*\): if it was meant, move it away"):
        at(path).open()
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("place", "content"),
    [(100, b"\xff" * 8), (2 * 4_096, b"\xff" * 200), (5 * 4_096, b"\x00" * 4_096), (6 * 4_096, None)],
    ids=["schema", "the head of a page", "an empty page", "half of it"],
)
def test_a_damaged_file_is_refused_with_what_to_do_and_left_alone(
    path: Path, place: int, content: bytes | None
) -> None:
    with opened(path) as (store, _):
        for number in range(100):
            ask(store, Store(1, (an_update(number, "x" * 500),)))
    good = path.read_bytes()
    assert len(good) > 10 * 4_096
    bad = good[:place] if content is None else good[:place] + content + good[place + len(content) :]
    path.write_bytes(bad)
    with pytest.raises(StoreError, match="is damaged"):
        at(path).open()
    assert path.read_bytes() == bad


@pytest.mark.parametrize(
    "damage", ["raw = '{\"update_id\":'", 'raw = \'{"update_id":"1"}\'', "raw = '[]'", "lane = 'x'", "lane = 'null'"]
)
def test_a_damaged_row_is_refused(path: Path, damage: str) -> None:
    with opened(path) as (store, _):
        keep(store, 1)
    execute(path, f"UPDATE updates SET {damage}")
    with pytest.raises(StoreError, match="is damaged"):
        at(path).open()


# Its versions


def test_a_file_of_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    with opened(path) as (store, _):
        keep(store, 1)
    execute(path, "PRAGMA user_version = 99")
    before = path.read_bytes()
    for refused in (lambda: at(path).open(), lambda: inspection_at(f"sqlite:///{path}")):
        with pytest.raises(StoreError, match="is of version 99, and this hookline knows up to 1: install a newer one"):
            refused()
    assert path.read_bytes() == before


def test_an_older_file_is_brought_up_to_date(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(path) as (store, _):
        keep(store, 1)
    second = ("ALTER TABLE updates ADD COLUMN note TEXT NOT NULL DEFAULT 'none'",)
    third = ("UPDATE updates SET note = 'new'", "CREATE TABLE third (id)")
    monkeypatch.setattr(sqlite, "MIGRATIONS", (*sqlite.MIGRATIONS, second, third))
    with pytest.raises(StoreError, match="of an older hookline: start its bot once"):
        inspection_at(f"sqlite:///{path}")
    for _ in range(2):
        with opened(path) as (_, kept):
            assert ids(kept) == [1]
    assert execute(path, "PRAGMA user_version") == [(3,)]
    assert execute(path, "SELECT update_id, note FROM updates") == [(1, "new")]


def test_a_migration_that_fails_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(path) as (store, _):
        keep(store, 1)
    broken = ("CREATE TABLE more (id)", "UPDATE missing SET id = 1")
    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "MIGRATIONS", (*sqlite.MIGRATIONS, broken))
        with pytest.raises(StoreError, match="cannot be used: no such table: missing"):
            at(path).open()
    assert execute(path, "SELECT name FROM sqlite_master WHERE name = 'more'") == []
    with opened(path) as (_, kept):
        assert ids(kept) == [1]


def test_another_bots_file_is_not_brought_up_to_date(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(path):
        pass
    monkeypatch.setattr(sqlite, "MIGRATIONS", (*sqlite.MIGRATIONS, ("CREATE TABLE more (id)",)))
    with pytest.raises(StoreError, match="belongs to bot"):
        at(path, bot_id=5).open()
    assert execute(path, "PRAGMA user_version") == [(1,)]


def test_an_empty_file_is_a_new_one(path: Path) -> None:
    path.touch()
    with opened(path) as (store, kept):
        assert kept == []
        assert keep(store, 1) == [1]
