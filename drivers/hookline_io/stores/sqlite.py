"""A store in a file, by SQLite: what was told as stored is there after a crash of the process or of the machine.

One thread writes. It takes all that is queued into one transaction and tells the outcomes when that is on the disk, so
that a burst of updates costs one fsync. Each transaction does cost one, which is up to some milliseconds: the price of
losing nothing in a power cut.

Three files are left beside it while it is open, or after a crash: SQLite's -wal and -shm, which belong to it (move or
copy them together), and -lock, which is empty. The file must be on a local disk: SQLite's locks and its shared memory
need that.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

from hookline.codec import decode
from hookline.effects import Kept, Mark, Release, Status, Store
from hookline.errors import StoreError
from hookline.updates import Update
from hookline_io.common import why
from hookline_io.stores import FailedUpdate, Found, LaneLoad, Lost, Outcome, Overview, Tell
from hookline_io.stores.rows import as_json, as_text, as_update, call

MOST_AT_ONCE: Final = 500
"""Effects in one transaction: those that come meanwhile wait for it."""
LOOK_EVERY: Final = 1.0
"""Seconds after which an idle writer looks for what was put back."""
PATIENCE: Final = 10.0
"""Seconds to wait for another process's transaction."""

APPLICATION_ID: Final = 0x686F6F6B
"""By which SQLite's header says whose file it is: "hook"."""

PUT_BACK: Final = "PUT_BACK"
"""In place of a status: waiting, but no machine knows of it yet."""

# Entry n makes version n + 1 of the file out of version n. What was released is never changed.
# `lane` is JSON, so that 1 and "1" stay two lanes and no int is too big. What is done moves to a table of its own, of
# which the oldest rows are deleted and no others: so the positions in it are consecutive.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        f"PRAGMA application_id = {APPLICATION_ID}",
        "CREATE TABLE bot (id INTEGER NOT NULL)",
        """CREATE TABLE updates (
            position INTEGER PRIMARY KEY,
            update_id INTEGER NOT NULL UNIQUE,
            lane TEXT NOT NULL,
            status TEXT NOT NULL,
            runs INTEGER NOT NULL DEFAULT 0,
            error TEXT,
            stored REAL NOT NULL,
            changed REAL NOT NULL,
            raw TEXT NOT NULL
        )""",
        """CREATE TABLE done (
            position INTEGER PRIMARY KEY,
            update_id INTEGER NOT NULL UNIQUE,
            changed REAL NOT NULL
        )""",
    ),
)

_Asked: TypeAlias = "tuple[Store | Mark, Tell]"


class SqliteStore:
    """The updates of one bot in the file at `path`, which is made if it is missing. One process has it open at a time.

    A transaction that fails, as when the disk is full, fails each effect in it; the next one is tried afresh.
    """

    durable = True
    shared = False

    def __init__(self, path: Path, *, bot_id: int, remember: int) -> None:
        self._path = path.resolve()  # whatever names it, it has one lock
        self._bot_id = bot_id
        self._remember = remember
        self._queue: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="hookline inbox", daemon=True)
        self._found: Found | None = None
        self._seen: int | None = None

    def open(
        self, found: Found | None = None, lost: Lost | None = None, leaving: threading.Event | None = None
    ) -> list[Kept]:
        """See `UpdateStore.open`. A new file can be read and written by its owner alone: it has people's messages."""
        self._found = found
        with _explained(self._path), contextlib.ExitStack() as opened:
            opened.enter_context(contextlib.closing(_lock(self._path)))
            _create(self._path)
            self._db = opened.enter_context(contextlib.closing(_connect(self._path)))
            version = _version(self._db, self._path)
            if version > 0:
                _check(self._db)
            _make_durable(self._db)
            with _transaction(self._db):
                _migrate(self._db, version)
                self._admit_bot()
            kept = self._take_over("status != 'FAILED'")
            self._opened = opened.pop_all()
        self._writer.start()
        return kept

    def carry_out(self, effect: Store | Mark | Release, tell: Tell) -> None:
        """See `UpdateStore.carry_out`. `tell` is called from the thread that writes."""
        assert not isinstance(effect, Release)
        self._queue.put((effect, tell))

    def close(self) -> None:
        """See `UpdateStore.close`."""
        self._queue.put(None)
        self._writer.join()
        self._opened.close()

    def _admit_bot(self) -> None:
        self._db.execute("INSERT INTO bot SELECT ? WHERE NOT EXISTS (SELECT 1 FROM bot)", (self._bot_id,))
        (owner,) = _one(self._db, "SELECT id FROM bot")
        if owner != self._bot_id:
            raise StoreError(
                f"the inbox {self._path} belongs to bot {owner}, and this token to bot {self._bot_id}: "
                "give each bot a file of its own"
            )

    def _take_over(self, condition: str) -> list[Kept]:
        """What meets this condition on its status. From now on it is waiting, and its machine knows of it."""
        with _transaction(self._db):
            rows = self._db.execute(
                f"SELECT raw, lane, runs, status = 'RUNNING' FROM updates WHERE {condition} ORDER BY position"  # noqa: S608
            )
            kept = [Kept(as_update(raw, lane), runs, bool(running)) for raw, lane, runs, running in rows]
            self._db.execute(
                f"UPDATE updates SET status = 'WAITING', changed = ? WHERE {condition} AND status != 'WAITING'",  # noqa: S608
                (time.time(),),
            )
        return kept

    # What follows runs in the thread that writes.

    def _write(self) -> None:
        closing = False
        while not closing:
            taken = self._take()
            asked = [one for one in taken if one is not None]
            closing = len(asked) < len(taken)
            for (_, tell), outcome in zip(asked, self._outcomes([effect for effect, _ in asked]), strict=True):
                call(tell, outcome)
            if self._found is not None and not closing:
                self._hand_over(self._found)

    def _take(self) -> list[_Asked | None]:
        """All that is queued, after a wait for the first; maybe nothing."""
        taken = []
        with contextlib.suppress(queue.Empty):
            taken.append(self._queue.get(timeout=LOOK_EVERY))
            while len(taken) < MOST_AT_ONCE:
                taken.append(self._queue.get_nowait())
        return taken

    def _outcomes(self, effects: list[Store | Mark]) -> list[Outcome]:
        """Carry these out in one transaction. What cannot be stored itself must not fail the others with it."""
        if not effects:
            return []
        try:
            with _transaction(self._db):
                outcomes: list[Outcome] = []
                more_done = False
                for effect in effects:
                    if more_done and isinstance(effect, Store):  # to which what is forgotten is new
                        self._forget_done()
                        more_done = False
                    more_done = more_done or (isinstance(effect, Mark) and effect.status is Status.DONE)
                    outcomes.append(self._carry_out(effect))
                if more_done:
                    self._forget_done()
                return outcomes
        except sqlite3.OperationalError as error:  # the disk is full or broken, or the file locked: it is none of these
            return [why(error)] * len(effects)
        except Exception as error:
            if len(effects) == 1:
                return [why(error)]
            return [outcome for effect in effects for outcome in self._outcomes([effect])]

    def _carry_out(self, effect: Store | Mark) -> Outcome:
        now = time.time()
        if isinstance(effect, Store):
            return frozenset(update.update_id for update in effect.updates if self._insert(update, now))
        if effect.status is Status.DONE:
            self._db.execute(
                "INSERT INTO done (update_id, changed) SELECT update_id, ? FROM updates WHERE update_id = ?",
                (now, effect.update_id),
            )
            self._db.execute("DELETE FROM updates WHERE update_id = ?", (effect.update_id,))
        else:
            self._db.execute(
                "UPDATE updates SET status = ?, runs = ?, error = coalesce(?, error), changed = ? WHERE update_id = ?",
                (effect.status.name, effect.runs, effect.error and as_text(effect.error), now, effect.update_id),
            )
        return frozenset()

    def _forget_done(self) -> None:
        self._db.execute("DELETE FROM done WHERE position <= (SELECT max(position) FROM done) - ?", (self._remember,))

    def _insert(self, update: Update, now: float) -> bool:
        """Whether it was not known before."""
        inserted = self._db.execute(
            "INSERT OR IGNORE INTO updates (update_id, lane, status, stored, changed, raw) "
            "SELECT :id, :lane, 'WAITING', :now, :now, :raw "
            "WHERE NOT EXISTS (SELECT 1 FROM done WHERE update_id = :id)",
            {"id": update.update_id, "lane": as_json(update.lane), "now": now, "raw": as_json(update.raw)},
        )
        return inserted.rowcount == 1

    def _hand_over(self, found: Found) -> None:
        """If another connection has changed the file, look for what was put back."""
        try:
            (version,) = _one(self._db, "PRAGMA data_version")
            if version == self._seen:
                return
            kept = self._take_over(f"status = '{PUT_BACK}'")
        except (sqlite3.Error, ValueError, TypeError):  # the next look is soon
            return
        self._seen = version
        if kept:
            call(found, kept)


class SqliteInspection:
    """See `Inspection`. StoreError if there is no inbox at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()  # whatever names it, it has one lock
        if not self._path.is_file():
            raise StoreError(f"there is no inbox {self._path}")
        with _explained(self._path), contextlib.ExitStack() as opened:
            self._db = opened.enter_context(contextlib.closing(_connect(self._path)))
            if _version(self._db, self._path) < len(MIGRATIONS):
                raise StoreError(f"the inbox {self._path} is of an older hookline: start its bot once, and look then")
            self._opened = opened.pop_all()

    def __enter__(self) -> SqliteInspection:
        return self

    def __exit__(self, *exception: object) -> None:
        self._opened.close()

    def overview(self) -> Overview:
        """See `Inspection.overview`."""
        with _explained(self._path), _transaction(self._db, "DEFERRED"):
            (bot_id,) = _one(self._db, "SELECT id FROM bot")
            counts = dict(self._db.execute("SELECT status, count(*) FROM updates GROUP BY status"))
            (done,) = _one(self._db, "SELECT count(*) FROM done")
            (oldest,) = _one(self._db, "SELECT min(stored) FROM updates WHERE status != 'FAILED'")
        counts |= {"DONE": done, "WAITING": counts.get("WAITING", 0) + counts.get(PUT_BACK, 0)}
        return Overview(bot_id, {status: counts.get(status.name, 0) for status in Status}, oldest)

    def slowest(self, most: int) -> list[LaneLoad]:
        """See `Inspection.slowest`."""
        with _explained(self._path):
            rows = self._db.execute(
                "SELECT lane, count(*), sum(status = 'RUNNING'), min(stored) FROM updates WHERE status != 'FAILED' "
                "GROUP BY lane ORDER BY min(stored), min(position) LIMIT ?",
                (most,),
            )
            return [
                LaneLoad(decode(lane.encode()), count - running, running, old) for lane, count, running, old in rows
            ]

    def failed(self) -> list[FailedUpdate]:
        """See `Inspection.failed`."""
        with _explained(self._path):
            rows = self._db.execute(
                "SELECT raw, lane, runs, error, changed FROM updates WHERE status = 'FAILED' ORDER BY position"
            )
            return [FailedUpdate(as_update(raw, lane), runs, error, at) for raw, lane, runs, error, at in rows]

    def retry(self, update_ids: Iterable[int] | None = None) -> list[int]:
        """See `Inspection.retry`. A bot that runs takes them over within a second or so."""
        return self._change(
            "UPDATE updates SET status = 'PUT_BACK', runs = 0, changed = :now WHERE update_id = :id", update_ids
        )

    def purge(self, update_ids: Iterable[int] | None = None) -> list[int]:
        """See `Inspection.purge`."""
        return self._change("DELETE FROM updates WHERE update_id = :id", update_ids)

    def forget(self) -> int:
        """See `Inspection.forget`."""
        with _explained(self._path), _transaction(self._db):
            forgotten: int = self._db.execute("DELETE FROM done").rowcount
        return forgotten

    def _change(self, statement: str, update_ids: Iterable[int] | None) -> list[int]:
        """Do this to those of the updates that are failed."""
        asked = None if update_ids is None else set(update_ids)
        with _explained(self._path), _transaction(self._db):
            failed = self._db.execute("SELECT update_id FROM updates WHERE status = 'FAILED' ORDER BY position")
            chosen = [update_id for (update_id,) in failed if asked is None or update_id in asked]
            self._db.executemany(statement, [{"id": update_id, "now": time.time()} for update_id in chosen])
        return chosen


def _lock(path: Path) -> sqlite3.Connection:
    """What keeps other processes, and other stores of this one, from the inbox at `path` until it is closed.

    Readers are welcome there, so that the lock is on a file of its own. It ends with the process.
    """
    if not path.parent.is_dir():
        raise StoreError(f"the inbox {path} needs the folder {path.parent}, which does not exist")
    beside = path.with_name(f"{path.name}-lock")
    with _explained(beside), contextlib.ExitStack() as opened:
        _create(beside)
        lock = opened.enter_context(contextlib.closing(_connect(beside, patience=0)))
        try:
            lock.execute("PRAGMA journal_mode = MEMORY")  # else it has one more file beside it
            lock.execute("BEGIN EXCLUSIVE")
            lock.execute("PRAGMA user_version = 1")  # it is never written; but of a file to read, BEGIN locks nothing
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise StoreError(
                    f"the inbox {path} is open already: one process at a time can run a bot with it"
                ) from None
            raise
        opened.pop_all()
    return lock


def _create(path: Path) -> None:
    """Make the file if it is missing. One that is there must not be opened but by SQLite, whose locks would end."""
    with contextlib.suppress(FileExistsError):
        path.touch(mode=0o600, exist_ok=False)


def _connect(path: Path, patience: float = PATIENCE) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.as_uri()}?mode=rw", uri=True, timeout=patience, isolation_level=None, check_same_thread=False
    )


def _version(db: sqlite3.Connection, path: Path) -> int:
    """The version of the file, 0 if it is new. StoreError if it is not for us."""
    (application,) = _one(db, "PRAGMA application_id")
    (version,) = _one(db, "PRAGMA user_version")
    (tables,) = _one(db, "SELECT count(*) FROM sqlite_master")
    if (application, version, tables) == (0, 0, 0):
        return 0
    if application != APPLICATION_ID:
        raise StoreError(f"{path} is a database of another application: give the inbox a file of its own")
    if version > len(MIGRATIONS):
        raise StoreError(
            f"the inbox {path} is of version {version}, and this hookline knows up to {len(MIGRATIONS)}: "
            "install a newer one"
        )
    return int(version)


def _check(db: sqlite3.Connection) -> None:
    """DatabaseError if the file is damaged: better now than at some update. All of it is read for that."""
    (verdict,) = _one(db, "PRAGMA quick_check(1)")
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)


def _make_durable(db: sqlite3.Connection) -> None:
    """What is committed is on the disk, and readers do not wait for the writer nor it for them."""
    (mode,) = _one(db, "PRAGMA journal_mode = WAL")
    if mode != "wal":
        raise sqlite3.OperationalError("it is on a file system that SQLite's WAL mode does not work on")
    db.execute("PRAGMA synchronous = FULL")
    # On macOS an fsync alone leaves the data in the disk's cache; elsewhere this changes nothing.
    db.execute("PRAGMA fullfsync = ON")


def _migrate(db: sqlite3.Connection, version: int) -> None:
    """Bring the file up to date."""
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            db.execute(statement)
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    db.execute(f"BEGIN {kind}")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # after some errors SQLite has rolled back by itself
            db.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """StoreError for what SQLite and the system raise, and for rows that are not as they were written."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        raise StoreError(f"the inbox {path} cannot be used: {why(error)}") from None
    except (sqlite3.DatabaseError, ValueError, TypeError) as error:
        raise StoreError(
            f"{path} is damaged, or no inbox at all ({_plain(error)}): if it was meant, move it away, with "
            f"{path.name}-wal if that is there, and a new one is made; nothing was overwritten"
        ) from None


def _plain(error: Exception) -> str:
    """What is wrong, without the asterisks of SQLite's check, which look like something blotted out."""
    return " ".join(str(error).replace("*** in database main ***", "").split())


def _one(db: sqlite3.Connection, statement: str) -> Any:
    return db.execute(statement).fetchone()
