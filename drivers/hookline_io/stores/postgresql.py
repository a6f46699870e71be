"""A store in a PostgreSQL database, shared by the processes of many machines: they receive, they work, or both.

An update's lane is leased to one process at a time. `open` and `carry_out` store and mark; what is to be handled here
comes by `found`: the oldest free lanes, at most as many as run at once, each with the first of its updates. When all of
these are done, the lane is free again, in the transaction that notes the last of them; so the next process to have it
begins where this one has ended.

A process has a row in `hookline_workers`, and a lane is leased if it names such a row. The row is renewed by each
transaction; if it was not for LEASE seconds of the database's clock, any other process deletes it, and the lanes are
free. A process that cannot renew takes that to be so STOP_AFTER seconds after it last could, by its own clock: earlier
than any other can. It stops what it runs, and every mark it still makes is refused, since its row or its lease is gone.
Locks that end with a connection would free the lanes of a killed process at once; but they end too when the database
restarts or fails over under a process that goes on, and two would run a chat at the same time.

One process at a time may poll for a bot: the one whose row says so.

One thread writes, on the one connection; it takes all that is queued into one transaction. Another watches the time.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import queue
import selectors
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast

from hookline.codec import decode
from hookline.effects import Kept, Mark, Release, Status, Store
from hookline.errors import OptionError, StoreError
from hookline_io.stores import FailedUpdate, Found, LaneLoad, Lost, Outcome, Overview, Tell, WorkerLoad
from hookline_io.stores.rows import as_json, as_text, as_update, call

try:
    import psycopg
    from psycopg import conninfo
except ImportError as error:
    raise OptionError(
        f"an inbox on PostgreSQL needs the extra 'postgresql': pip install 'hookline[postgresql]' ({error})"
    ) from None

if TYPE_CHECKING:
    from psycopg.abc import PQGen

RV = TypeVar("RV")

logger = logging.getLogger("hookline")

LEASE: Final = 10.0
"""Seconds after which a process that was not seen has lost its lanes."""
STOP_AFTER: Final = 7.0
"""Seconds without being seen after which a process stops what it runs: what it cancels has the rest to end."""
LOOK_EVERY: Final = 2.0
"""Seconds from one look for free lanes to the next, if nobody notifies; each renews the lease."""
STANDBY_EVERY: Final = 1.0
"""Seconds from one try to be the poller to the next."""
MOST_AT_ONCE: Final = 500
"""Effects in one transaction: those that come meanwhile wait for it."""
MOST_OF_A_LANE: Final = 10
"""Updates handed over with one lease: after them, the lane that has waited longest comes first again."""
PATIENCE: Final = 5
"""Seconds for a connection to be made, and for any statement."""
SILENCE: Final = 6.0
"""Seconds after which a server that does not answer a statement counts as gone: it would have ended that by itself."""
RECONNECT_AFTER: Final = (0.1, 0.2, 0.5, 1.0)
"""Seconds from one try to connect to the next; the last of them again and again."""
LONGEST_LANE: Final = 1_000
"""Bytes of a lane's key in JSON: an index of the database takes little more. A longer one is known by its hash."""

MIGRATION_LOCK: Final = 0x686F6F6B
"""The advisory lock under which the tables are made: "hook"."""

# Entry n makes version n + 1 of the tables out of version n. What was released is never changed.
# A row of hookline_lanes is there while its lane has something to do. `lane` is JSON, so that 1 and "1" stay two lanes.
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE hookline_schema (version int NOT NULL);
    INSERT INTO hookline_schema VALUES (0);

    CREATE TABLE hookline_workers (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        bot_id bigint NOT NULL,
        name text NOT NULL,
        polls boolean NOT NULL,
        seen timestamptz NOT NULL DEFAULT clock_timestamp()
    );
    CREATE UNIQUE INDEX hookline_workers_poller ON hookline_workers (bot_id) WHERE polls;

    CREATE TABLE hookline_lanes (
        bot_id bigint NOT NULL,
        lane text COLLATE "C" NOT NULL,
        position bigint NOT NULL,
        worker bigint REFERENCES hookline_workers ON DELETE SET NULL,
        PRIMARY KEY (bot_id, lane)
    );
    CREATE INDEX hookline_lanes_free ON hookline_lanes (bot_id, position) WHERE worker IS NULL;
    CREATE INDEX hookline_lanes_worker ON hookline_lanes (worker);

    CREATE TABLE hookline_updates (
        position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        bot_id bigint NOT NULL,
        update_id bigint NOT NULL,
        lane text COLLATE "C" NOT NULL,
        status text NOT NULL DEFAULT 'WAITING',
        runs int NOT NULL DEFAULT 0,
        error text,
        stored timestamptz NOT NULL DEFAULT now(),
        changed timestamptz NOT NULL DEFAULT now(),
        raw text NOT NULL,
        UNIQUE (bot_id, update_id)
    );
    CREATE INDEX hookline_updates_lane ON hookline_updates (bot_id, lane, position)
        WHERE status IN ('WAITING', 'RUNNING');
    CREATE INDEX hookline_updates_failed ON hookline_updates (bot_id, position) WHERE status = 'FAILED';
    CREATE INDEX hookline_updates_done ON hookline_updates (bot_id, changed) WHERE status = 'DONE';
    """,
)

# Locks on lanes are taken in the order of their keys, so that no two transactions wait for each other.

# Rows of lanes that are there are locked: who frees a lane then waits for this, and sees what it has stored.
_ADD_LANES: Final = """
    touched AS (
        INSERT INTO hookline_lanes AS known (bot_id, lane, position)
        SELECT %(bot)s, lane, min(position) FROM fresh GROUP BY lane ORDER BY lane
        ON CONFLICT (bot_id, lane) DO UPDATE SET position = least(known.position, excluded.position)
        RETURNING worker
    ),
    told AS (SELECT pg_notify(%(channel)s, '') WHERE EXISTS (SELECT FROM touched WHERE worker IS NULL))
"""
STORE: Final = f"""
    WITH fresh AS (
        INSERT INTO hookline_updates (bot_id, update_id, lane, raw)
        SELECT %(bot)s, update_id, lane, raw
        FROM unnest(%(ids)s::bigint[], %(lanes)s::text[], %(raws)s::text[]) AS given (update_id, lane, raw)
        ORDER BY update_id
        ON CONFLICT (bot_id, update_id) DO NOTHING
        RETURNING lane, position
    ),
    {_ADD_LANES}
    SELECT count(*) FROM told
"""  # noqa: S608
JOIN: Final = """
    INSERT INTO hookline_workers (bot_id, name, polls) VALUES (%(bot)s, %(name)s, %(polls)s)
    ON CONFLICT (bot_id) WHERE polls DO NOTHING
    RETURNING id
"""
RENEW: Final = "UPDATE hookline_workers SET seen = clock_timestamp() WHERE id = %(worker)s"
MARK: Final = """
    UPDATE hookline_updates AS known
    SET status = told.status, runs = told.runs, error = coalesce(told.error, known.error), changed = now(),
        raw = CASE told.status WHEN 'DONE' THEN '' ELSE raw END
    FROM unnest(%(ids)s::bigint[], %(statuses)s::text[], %(runs)s::int[], %(errors)s::text[])
        AS told (update_id, status, runs, error)
    WHERE known.bot_id = %(bot)s AND known.update_id = told.update_id AND known.status IN ('WAITING', 'RUNNING')
        AND EXISTS (
            SELECT FROM hookline_lanes AS leased
            WHERE leased.bot_id = known.bot_id AND leased.lane = known.lane AND leased.worker = %(worker)s
        )
"""
LOCK_LANES: Final = """
    SELECT FROM hookline_lanes WHERE bot_id = %(bot)s AND lane = ANY(%(lanes)s) ORDER BY lane FOR UPDATE
"""
FREE_LANES: Final = """
    WITH rest AS (
        SELECT lane, min(position) AS position FROM hookline_updates
        WHERE bot_id = %(bot)s AND lane = ANY(%(lanes)s) AND status IN ('WAITING', 'RUNNING')
        GROUP BY lane
    ),
    over AS (
        DELETE FROM hookline_lanes
        WHERE bot_id = %(bot)s AND lane = ANY(%(lanes)s) AND worker = %(worker)s AND lane NOT IN (SELECT lane FROM rest)
    )
    UPDATE hookline_lanes AS leased SET worker = NULL, position = rest.position FROM rest
    WHERE leased.bot_id = %(bot)s AND leased.lane = rest.lane AND leased.worker = %(worker)s
    RETURNING leased.lane
"""
LEASE_LANES: Final = """
    WITH free AS (
        SELECT lane FROM hookline_lanes WHERE bot_id = %(bot)s AND worker IS NULL
        ORDER BY position LIMIT %(most)s FOR UPDATE SKIP LOCKED
    )
    UPDATE hookline_lanes AS known SET worker = %(worker)s FROM free
    WHERE known.bot_id = %(bot)s AND known.lane = free.lane
    RETURNING known.lane
"""
HAND_OVER: Final = """
    SELECT leased.lane, handed.runs, handed.raw, handed.status = 'RUNNING'
    FROM unnest(%(lanes)s::text[]) AS leased (lane) CROSS JOIN LATERAL (
        SELECT runs, raw, status, position FROM hookline_updates
        WHERE bot_id = %(bot)s AND lane = leased.lane AND status IN ('WAITING', 'RUNNING')
        ORDER BY position LIMIT %(most)s
    ) AS handed
    ORDER BY handed.position
"""
FREE_OTHERS: Final = """
    UPDATE hookline_lanes SET worker = NULL WHERE worker = %(worker)s AND NOT lane = ANY(%(lanes)s)
"""
FORGET_DONE: Final = """
    DELETE FROM hookline_updates WHERE bot_id = %(bot)s AND status = 'DONE' AND changed < (
        SELECT changed FROM hookline_updates WHERE bot_id = %(bot)s AND status = 'DONE'
        ORDER BY changed DESC OFFSET %(remember)s - 1 LIMIT 1
    )
"""
GONE: Final = """
    SELECT id, name FROM hookline_workers
    WHERE bot_id = %(bot)s AND seen < clock_timestamp() - make_interval(secs => %(lease)s)
    FOR UPDATE SKIP LOCKED
"""
LOCK_LEASED: Final = "SELECT FROM hookline_lanes WHERE worker = ANY(%(workers)s) ORDER BY bot_id, lane FOR UPDATE"
LEAVE: Final = "DELETE FROM hookline_workers WHERE id = ANY(%(workers)s)"
STOP_POLLING: Final = "UPDATE hookline_workers SET polls = false WHERE id = %(worker)s"
DURABLE: Final = """
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
"""
NOTIFY: Final = "SELECT pg_notify(%(channel)s, '')"

# One that takes no descriptor, of which there may be none left for a while.
_Selector: Final = getattr(selectors, "PollSelector", selectors.SelectSelector)

_GONE: Final = "the inbox's database is gone: %s; it is tried again"
_BACK: Final = "the inbox's database can be reached again"

NOT_OURS: Final = "its lease is over, and others may have it"

_Asked: TypeAlias = "tuple[Store | Mark | Release, Tell]"


class _Signal:
    """Something else that the writer is told."""


_RESUME: Final = _Signal()
_CLOSE: Final = _Signal()


class _Fenced(Exception):
    """The process has no row any more: others have what was leased to it."""


class PostgresqlStore:
    """The updates of one bot in the database at `address`, whose tables are made if they are missing.

    concurrency: at most so many lanes are leased at once; with 0 it only stores. polls: `open` waits until no other
    process polls for this bot. Where neither is so, there is nothing to lease, and `found` and `lost` are not called.

    While the database cannot be reached, each effect fails at once, and it is connected to again and again.
    """

    durable = True
    shared = True

    def __init__(self, address: str, *, bot_id: int, remember: int, concurrency: int, polls: bool) -> None:
        self._place = _Place(address)
        self._bot_id = bot_id
        self._channel = f"hookline_{bot_id}"
        self._remember = remember
        self._concurrency = concurrency
        self._polls = polls
        self._found: Found | None = None
        self._lost: Lost | None = None

        self._queue: queue.SimpleQueue[_Asked | _Signal] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="hookline inbox", daemon=True)
        self._watcher = threading.Thread(target=self._watch, name="hookline lease", daemon=True)
        self._closed = threading.Event()
        self._ring: socket.socket | None = None  # what is asked before it is open waits in the queue

        # The writer's own
        self._db: psycopg.Connection[Any] | None = None
        self._reason = ""  # why there is no connection
        self._tries = 0  # to connect, since there was one
        self._retry_at = 0.0
        self._look_at = 0.0
        self._uncertain = False  # whether something may have been leased by a transaction whose end is not known
        self._joining = False
        self._releasing = False  # nothing more is wanted
        self._done = 0  # marked since the oldest were forgotten

        # What the watcher has to do with too
        self._lock = threading.Lock()
        self._worker: int | None = None
        self._stop_at = 0.0
        self._held: dict[str, set[int]] = {}  # by lane, what was handed over and is not done

    def open(
        self, found: Found | None = None, lost: Lost | None = None, leaving: threading.Event | None = None
    ) -> list[Kept]:
        """See `UpdateStore.open`: nothing is this process's yet. One that polls waits here while another does."""
        self._found, self._lost = found, lost
        with self._place.explained():
            db = self._place.connect()
            try:
                _migrate(db, self._place.shown)
                if self._leases and not self._join(db):
                    logger.info("another process polls for bot %d; this one stands by", self._bot_id)
                    db = self._stand_by(db, leaving or threading.Event())
                self._use(db)
            except BaseException:
                db.close()
                raise
        self._bell, ring = socket.socketpair()
        self._bell.setblocking(False)
        ring.setblocking(False)
        self._ring = ring
        self._writer.start()
        if self._leases:
            self._watcher.start()
        return []

    def carry_out(self, effect: Store | Mark | Release, tell: Tell) -> None:
        """See `UpdateStore.carry_out`. `tell` is called from the thread that writes."""
        self._put((effect, tell))

    def close(self) -> None:
        """See `UpdateStore.close`. What was leased is free at once."""
        self._put(_CLOSE)
        self._writer.join()
        if self._leases:
            self._watcher.join()
        self._bell.close()
        if self._ring is not None:
            self._ring.close()

    @property
    def _leases(self) -> bool:
        return self._polls or self._concurrency > 0

    def _put(self, what: _Asked | _Signal) -> None:
        self._queue.put(what)
        if self._ring is not None:
            with contextlib.suppress(BlockingIOError):  # it rings already
                self._ring.send(b"\0")

    # To have a row

    def _join(self, db: psycopg.Connection[Any]) -> bool:
        """Have a row, if no other process polls where this one would."""
        began = time.monotonic()
        self._sweep(db)
        row = self._run(db, JOIN, name=f"{socket.gethostname()}:{os.getpid()}", polls=self._polls).fetchone()
        if row is None:
            return False
        with self._lock:
            self._stop_at = began + STOP_AFTER
            (self._worker,) = row
        return True

    def _stand_by(self, db: psycopg.Connection[Any], leaving: threading.Event) -> psycopg.Connection[Any]:
        """Wait until no other process polls; the connection, which may have been made anew."""
        away = False
        while not leaving.wait(STANDBY_EVERY):
            try:
                if db.closed:
                    db = self._place.connect()
                joined = self._join(db)
            except psycopg.OperationalError as error:
                if not away:
                    logger.warning(_GONE, self._place.words(error))
                away = True
                continue
            if away:
                logger.info(_BACK)
            away = False
            if joined:
                logger.info("no other process polls for bot %d; this one does", self._bot_id)
                return db
        db.close()
        raise StoreError("the process ends, and another one polls")

    def _sweep(self, db: psycopg.Connection[Any]) -> None:
        """Free the lanes of processes that were not seen for too long."""
        with db.transaction():
            gone = dict(self._run(db, GONE, lease=LEASE).fetchall())
            if gone:
                self._run(db, LOCK_LEASED, workers=list(gone))
                self._run(db, LEAVE, workers=list(gone))
                self._run(db, NOTIFY)
                names = ", ".join(gone.values())
                logger.warning("the database has not seen these for %g s, and their chats are free: %s", LEASE, names)

    def _run(self, db: psycopg.Connection[Any], statement: Any, **values: Any) -> psycopg.Cursor[Any]:
        return db.execute(statement, {"bot": self._bot_id, "channel": self._channel, **values})

    # What follows runs in the thread that writes.

    def _write(self) -> None:
        closing = False
        while not closing:
            self._wait()
            taken = self._take()
            signals = [one for one in taken if isinstance(one, _Signal)]
            asked = [one for one in taken if not isinstance(one, _Signal)]
            self._joining = self._joining or (_RESUME in signals and not self._polls)
            closing = _CLOSE in signals
            outcomes = self._outcomes([effect for effect, _ in asked])
            for (_, tell), outcome in zip(asked, outcomes, strict=True):
                call(tell, outcome)
        self._leave()

    def _wait(self) -> None:
        """Until there is something to do."""
        if not self._queue.empty():
            return
        until = self._look_at if self._db is not None else self._retry_at
        with _Selector() as selector:
            selector.register(self._bell, selectors.EVENT_READ)
            if self._db is not None:
                selector.register(self._db.pgconn.socket, selectors.EVENT_READ)
            ready = {key.fileobj for key, _ in selector.select(max(0.0, until - time.monotonic()))}
        if self._db is not None and self._db.pgconn.socket in ready:
            self._listen(self._db)
        with contextlib.suppress(BlockingIOError):
            self._bell.recv(65_536)

    def _listen(self, db: psycopg.Connection[Any]) -> None:
        """The database says something: a notification, or that the connection has ended."""
        try:
            db.pgconn.consume_input()
            while db.pgconn.notifies() is not None:
                self._look_at = 0.0
        except psycopg.Error as error:
            self._disconnect(error)

    def _take(self) -> list[_Asked | _Signal]:
        """All that is queued; maybe nothing."""
        taken: list[_Asked | _Signal] = []
        with contextlib.suppress(queue.Empty):
            while len(taken) < MOST_AT_ONCE:
                taken.append(self._queue.get_nowait())
        return taken

    def _outcomes(self, effects: list[Store | Mark | Release]) -> list[Outcome]:
        if not self._connect():
            return [self._reason] * len(effects)
        self._releasing = self._releasing or any(isinstance(effect, Release) for effect in effects)
        stored = self._store([effect for effect in effects if isinstance(effect, Store)])
        marked = self._work([effect for effect in effects if not isinstance(effect, Store)])
        return [next(stored if isinstance(effect, Store) else marked) for effect in effects]

    # The connection

    def _connect(self) -> bool:
        """Whether there is a connection."""
        if self._db is not None:
            return True
        if time.monotonic() < self._retry_at:
            return False
        try:
            self._use(self._place.connect())
        except psycopg.Error as error:
            self._disconnect(error)
            return False
        logger.info(_BACK)
        self._tries = 0
        return True

    def _use(self, db: psycopg.Connection[Any]) -> None:
        """Have this connection from now on."""

        def look(_: psycopg.Notify) -> None:
            self._look_at = 0.0

        self._db = db
        db.add_notify_handler(look)
        db.execute(f"LISTEN {self._channel}")
        self._look_at = 0.0

    def _disconnect(self, error: psycopg.Error) -> None:
        self._reason = self._place.words(error)
        if self._tries == 0:
            logger.warning(_GONE, self._reason)
        if self._db is not None:
            with contextlib.suppress(psycopg.Error):
                self._db.close()
        self._db = None
        self._uncertain = True
        self._retry_at = time.monotonic() + RECONNECT_AFTER[min(self._tries, len(RECONNECT_AFTER) - 1)]
        self._tries += 1

    def _failed(self, error: psycopg.Error) -> str:
        """Why a transaction has failed; if its connection has, there is none from now on."""
        if self._db is not None and (self._db.closed or self._db.broken):
            self._disconnect(error)
        return self._place.words(error)

    # Storing

    def _store(self, stores: list[Store]) -> Iterator[Outcome]:
        """Carry these out in one transaction. What cannot be stored itself must not fail the others with it."""
        updates = {update.update_id: update for store in reversed(stores) for update in reversed(store.updates)}
        if not updates:
            return iter([frozenset[int]()] * len(stores))
        if self._db is None:
            return iter([self._reason] * len(stores))
        try:
            rows = [(update_id, _key(update.lane), as_json(update.raw)) for update_id, update in updates.items()]
            ids, lanes, raws = zip(*rows, strict=True)
            self._run(self._db, STORE, ids=list(ids), lanes=list(lanes), raws=list(raws))
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:  # it is none of these
            return iter([self._failed(error)] * len(stores))
        except Exception as error:
            if len(stores) == 1:
                return iter([self._failed(error) if isinstance(error, psycopg.Error) else str(error)])
            return iter([outcome for store in stores for outcome in self._store([store])])
        return iter([frozenset[int]()] * len(stores))

    # Leasing and marking

    def _work(self, asked: list[Mark | Release]) -> Iterator[Outcome]:
        """Note what became of updates, free the lanes that have nothing in hand any more, and lease others."""
        if self._db is None:
            return iter([self._reason] * len(asked))
        due = time.monotonic() >= self._look_at
        if due:
            self._look_at = time.monotonic() + LOOK_EVERY
        try:
            if due and self._leases:
                self._sweep(self._db)
            if self._joining:
                self._joining = not self._join(self._db)
                self._uncertain = False
            with self._lock:
                worker = self._worker
            if worker is None:
                return iter([NOT_OURS] * len(asked))
            if asked or due:
                self._turn(self._db, worker, asked)
            self._forget_done(self._db)
        except _Fenced:
            self._lose("it was not seen by the database in time")
            return iter([NOT_OURS] * len(asked))
        except psycopg.Error as error:
            return iter([self._failed(error)] * len(asked))
        except Exception as error:  # a row that hookline has not written
            logger.exception("the inbox cannot hand over what it has")
            return iter([str(error)] * len(asked))
        return iter([frozenset[int]()] * len(asked))

    def _turn(self, db: psycopg.Connection[Any], worker: int, asked: list[Mark | Release]) -> None:
        """One transaction of a process that has a row. _Fenced if it has none any more."""
        began = time.monotonic()
        marks = _last_marks([effect for effect in asked if isinstance(effect, Mark)])
        with self._lock:
            held = {lane: set(ids) for lane, ids in self._held.items()}
        lanes = {update_id: lane for lane, ids in held.items() for update_id in ids}
        for update_id in self._over(asked, marks):
            if update_id in lanes:
                held[lanes[update_id]].discard(update_id)
        over = sorted(lane for lane, ids in held.items() if not ids)
        most = 0 if self._releasing else self._concurrency - (len(held) - len(over))
        kept: list[tuple[str, Kept]] = []
        leased: list[str] = []
        with db.transaction():
            if self._run(db, RENEW, worker=worker).rowcount == 0:
                raise _Fenced
            if self._uncertain:
                self._run(db, FREE_OTHERS, worker=worker, lanes=list(held))
            if marks:
                self._run(db, MARK, worker=worker, **_columns(marks))
            left = set(self._free(db, worker, over)) if over else set()
            if most > 0:
                leased = [lane for (lane,) in self._run(db, LEASE_LANES, worker=worker, most=most)]
                if leased:
                    handed = self._run(db, HAND_OVER, lanes=leased, most=MOST_OF_A_LANE)
                    kept = [(lane, Kept(as_update(raw, lane), runs, running)) for lane, runs, raw, running in handed]
            if left - set(leased):
                self._run(db, NOTIFY)
        self._uncertain = False
        self._done += sum(mark.status is Status.DONE for mark in marks.values())
        with self._lock:
            if self._worker != worker:  # it was taken from us meanwhile, and with it what this has leased
                return
            self._stop_at = began + STOP_AFTER
            for lane in over:
                del held[lane]
            for lane in leased:
                held[lane] = set()
            for lane, one in kept:
                held[lane].add(one.update.update_id)
            self._held = held
            if kept and self._found is not None:
                call(self._found, [one for _, one in kept])
        if any(not held[lane] for lane in leased):  # nothing was left of it: it was purged, or given up
            self._look_at = 0.0

    def _over(self, asked: list[Mark | Release], marks: dict[int, Mark]) -> Iterator[int]:
        """The updates that are not in hand any more when these effects are carried out."""
        for effect in asked:
            if isinstance(effect, Release):
                yield from effect.update_ids
        for update_id, mark in marks.items():
            if mark.status in {Status.DONE, Status.FAILED}:
                yield update_id

    def _free(self, db: psycopg.Connection[Any], worker: int, lanes: list[str]) -> list[str]:
        """End these leases; the lanes that still have something to do."""
        self._run(db, LOCK_LANES, lanes=lanes)
        # Only a statement that begins after that sees all that was stored in them.
        return [lane for (lane,) in self._run(db, FREE_LANES, worker=worker, lanes=lanes)]

    def _forget_done(self, db: psycopg.Connection[Any]) -> None:
        if self._done > self._remember // 10:
            self._run(db, FORGET_DONE, remember=self._remember)
            self._done = 0

    def _leave(self) -> None:
        """Free what is leased, and close. What is still in hand was cut short, and may go on for a moment: others have
        it when the lease ends by itself.
        """
        with self._lock:
            worker, self._worker = self._worker, None
        self._closed.set()
        if self._db is not None:
            with contextlib.suppress(psycopg.Error), self._db.transaction():  # if it fails, all of it ends by itself
                if worker is not None:
                    self._run(self._db, LOCK_LEASED, workers=[worker])
                    if self._releasing and self._held:
                        self._run(self._db, FREE_OTHERS, worker=worker, lanes=list(self._held))
                        self._run(self._db, STOP_POLLING, worker=worker)
                    else:
                        self._run(self._db, LEAVE, workers=[worker])
                    self._run(self._db, NOTIFY)
            self._db.close()

    # What runs in the thread that watches, too

    def _watch(self) -> None:
        """Take it that the lease is over, when it was not renewed in time: earlier than others may."""
        while not self._closed.wait(min(max(0.1, self._stop_at - time.monotonic()), STOP_AFTER)):
            if self._worker is not None and time.monotonic() >= self._stop_at:
                self._lose(f"the database could not be reached for {STOP_AFTER:g} s")

    def _lose(self, reason: str) -> None:
        with self._lock:
            if self._worker is None:
                return
            self._worker = None
            self._held = {}
            if self._lost is not None:
                call(self._lost, reason, lambda: self._put(_RESUME))


class PostgresqlInspection:
    """See `Inspection`. StoreError if there is no inbox in the database, or several and `bot_id` does not say which."""

    def __init__(self, address: str, bot_id: int | None = None) -> None:
        self._place = _Place(address)
        with self._place.explained(), contextlib.ExitStack() as opened:
            self._db = opened.enter_context(self._place.connect())
            if _version(self._db, self._place.shown) < len(MIGRATIONS):
                raise StoreError(f"there is no inbox in {self._place.shown} yet: start its bot once, and look then")
            self._bot_id = self._find(bot_id)
            opened.pop_all()

    def __enter__(self) -> PostgresqlInspection:
        return self

    def __exit__(self, *exception: object) -> None:
        self._db.close()

    def overview(self) -> Overview:
        """See `Inspection.overview`."""
        with self._place.explained():
            rows = self._run(
                """SELECT CASE WHEN status = 'RUNNING' AND worker IS NULL THEN 'WAITING' ELSE status END AS place,
                    count(*), extract(epoch FROM min(stored))::float8
                FROM hookline_updates LEFT JOIN hookline_lanes USING (bot_id, lane)
                WHERE bot_id = %(bot)s GROUP BY place"""
            ).fetchall()
            workers = self._run(
                """SELECT name, polls, (SELECT count(*) FROM hookline_lanes WHERE worker = hookline_workers.id),
                    extract(epoch FROM clock_timestamp() - seen)::float8
                FROM hookline_workers WHERE bot_id = %(bot)s ORDER BY id"""
            ).fetchall()
        counts = {status: count for status, count, _ in rows}
        oldest = min((oldest for status, _, oldest in rows if status in {"WAITING", "RUNNING"}), default=None)
        return Overview(
            self._bot_id,
            {status: counts.get(status.name, 0) for status in Status},
            oldest,
            [WorkerLoad(*worker) for worker in workers],
        )

    def slowest(self, most: int) -> list[LaneLoad]:
        """See `Inspection.slowest`."""
        with self._place.explained():
            rows = self._run(
                """SELECT lane, count(*), count(*) FILTER (WHERE status = 'RUNNING' AND worker IS NOT NULL),
                    extract(epoch FROM min(stored))::float8
                FROM hookline_updates AS one JOIN hookline_lanes USING (bot_id, lane)
                WHERE bot_id = %(bot)s AND status IN ('WAITING', 'RUNNING')
                GROUP BY lane ORDER BY min(stored), min(one.position) LIMIT %(most)s""",
                most=most,
            ).fetchall()
        return [LaneLoad(decode(lane.encode()), count - running, running, old) for lane, count, running, old in rows]

    def failed(self) -> list[FailedUpdate]:
        """See `Inspection.failed`."""
        with self._place.explained():
            rows = self._run(
                """SELECT raw, lane, runs, error, extract(epoch FROM changed)::float8 FROM hookline_updates
                WHERE bot_id = %(bot)s AND status = 'FAILED' ORDER BY position"""
            ).fetchall()
        return [FailedUpdate(as_update(raw, lane), runs, error, at) for raw, lane, runs, error, at in rows]

    def retry(self, update_ids: Iterable[int] | None = None) -> list[int]:
        """See `Inspection.retry`. A worker that runs takes them over at once."""
        statement = f"""
            WITH fresh AS (
                UPDATE hookline_updates SET status = 'WAITING', runs = 0, changed = now()
                WHERE bot_id = %(bot)s AND status = 'FAILED' AND (%(all)s OR update_id = ANY(%(ids)s))
                RETURNING update_id, lane, position
            ),
            {_ADD_LANES}
            SELECT update_id FROM fresh, (SELECT count(*) FROM told) AS once ORDER BY position
        """  # noqa: S608
        return self._change(statement, update_ids)

    def purge(self, update_ids: Iterable[int] | None = None) -> list[int]:
        """See `Inspection.purge`."""
        statement = """
            WITH gone AS (
                DELETE FROM hookline_updates
                WHERE bot_id = %(bot)s AND status = 'FAILED' AND (%(all)s OR update_id = ANY(%(ids)s))
                RETURNING update_id, position
            )
            SELECT update_id FROM gone ORDER BY position
        """
        return self._change(statement, update_ids)

    def forget(self) -> int:
        """See `Inspection.forget`."""
        with self._place.explained():
            return self._run("DELETE FROM hookline_updates WHERE bot_id = %(bot)s AND status = 'DONE'").rowcount

    def _change(self, statement: str, update_ids: Iterable[int] | None) -> list[int]:
        asked = sorted(set(update_ids or ()))
        with self._place.explained():
            rows = self._run(
                statement, all=update_ids is None, ids=asked, channel=f"hookline_{self._bot_id}"
            ).fetchall()
        return [update_id for (update_id,) in rows]

    def _find(self, bot_id: int | None) -> int:
        rows = self._db.execute(
            "SELECT bot_id FROM hookline_updates UNION SELECT bot_id FROM hookline_workers ORDER BY 1"
        )
        known: list[int] = [one for (one,) in rows]
        if bot_id is None and len(known) == 1:
            return known[0]
        if bot_id in known:
            return bot_id
        if not known or bot_id is not None:
            raise StoreError(
                f"there is nothing of {'a bot' if bot_id is None else f'bot {bot_id}'} in {self._place.shown}"
            )
        raise StoreError(
            f"{self._place.shown} has the inboxes of bots {', '.join(map(str, known))}: say of which (--bot)"
        )

    def _run(self, statement: Any, **values: Any) -> psycopg.Cursor[Any]:
        return self._db.execute(statement, {"bot": self._bot_id, **values})


class _Place:
    """A database by its address. OptionError if libpq cannot read it. What is said of it never has the password."""

    def __init__(self, address: str) -> None:
        try:
            self._given: dict[str, Any] = conninfo.conninfo_to_dict(address)
            authority, _, path = address.partition("//")[2].partition("?")[0].partition("/")
            if authority.count("@") > 1 or "@" in path:  # a part of the password would be taken for something else
                raise psycopg.ProgrammingError
        except psycopg.Error:
            raise OptionError(
                "the inbox's address cannot be read: write postgresql://user:password@host:port/database, with the "
                "characters @ : / ? # % of its parts as %40, %3A, %2F, %3F, %23, %25"
            ) from None
        host, port, name = (self._given.get(part) for part in ("host", "port", "dbname"))
        self.shown = f"postgresql://{host or ''}{f':{port}' if port else ''}/{name or ''}"

    def connect(self) -> psycopg.Connection[Any]:
        """A new connection, on which no statement takes long, and what is committed is on the disk."""
        limits = {"connect_timeout": PATIENCE, "keepalives_idle": PATIENCE, "tcp_user_timeout": PATIENCE * 1_000}
        settings = {"application_name": "hookline", "client_encoding": "UTF8", **limits, **self._given}
        db: psycopg.Connection[Any] = _Connection.connect(**settings, autocommit=True)
        try:
            db.execute(
                f"SET statement_timeout = '{PATIENCE}s'; SET idle_in_transaction_session_timeout = '{PATIENCE}s'"
            )
            db.execute(DURABLE)
        except BaseException:
            db.close()
            raise
        return db

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """StoreError for what the database says, and for rows that are not as they were written."""
        try:
            yield
        except psycopg.Error as error:
            raise StoreError(f"the inbox {self.shown} cannot be used: {self.words(error)}") from None
        except (ValueError, TypeError) as error:
            raise StoreError(f"the inbox {self.shown} has rows that hookline has not written: {error}") from None

    def words(self, error: psycopg.Error) -> str:
        """What the database says, in a line."""
        text = " ".join((error.diag.message_primary or str(error)).split()) or type(error).__name__
        password = self._given.get("password")
        return text.replace(str(password), "***") if password else text


class _Connection(psycopg.Connection[Any]):
    """One that is closed when the server falls silent: what freezes may still have its kernel, or a proxy, for it."""

    def wait(self, gen: PQGen[RV], *args: Any, **kwargs: Any) -> RV:
        """Wait for the end of a statement. OperationalError if that takes longer than SILENCE."""
        try:
            return super().wait(_limited(gen), *args, **kwargs)
        except TimeoutError as error:
            self.close()
            raise psycopg.OperationalError(str(error)) from None


def _limited(gen: PQGen[RV]) -> PQGen[RV]:
    """The same steps; TimeoutError instead of one that is too late. psycopg takes one every moment, come what may."""
    end = time.monotonic() + SILENCE
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if time.monotonic() > end:
                raise TimeoutError(f"no answer within {SILENCE:g} s")
            wanted = gen.send(ready)
    except StopIteration as ended:
        return cast("RV", ended.value)


def _version(db: psycopg.Connection[Any], shown: str) -> int:
    """The version of the tables, 0 if there are none. StoreError if it is not for us."""
    row = db.execute("SELECT to_regclass('hookline_schema') IS NOT NULL").fetchone()
    if row is None or not row[0]:
        return 0
    row = db.execute("SELECT version FROM hookline_schema").fetchone()
    version = row[0] if row else 0
    if version > len(MIGRATIONS):
        raise StoreError(
            f"the inbox {shown} is of version {version}, and this hookline knows up to {len(MIGRATIONS)}: "
            "install a newer one"
        )
    return int(version)


def _migrate(db: psycopg.Connection[Any], shown: str) -> None:
    """Bring the tables up to date; of several processes that start, one does it."""
    encoding = db.execute("SHOW server_encoding").fetchone()
    if encoding != ("UTF8",):
        raise StoreError(f"the database of the inbox {shown} must have the encoding UTF8, as people write anything")
    if _version(db, shown) == len(MIGRATIONS):
        return
    # Not within the transaction: it would not see that a table has come while it waited.
    db.execute("SELECT pg_advisory_lock(%s)", (MIGRATION_LOCK,))
    version = _version(db, shown)
    with db.transaction():
        for statements in MIGRATIONS[version:]:
            db.execute(statements)
        db.execute("UPDATE hookline_schema SET version = %s", (len(MIGRATIONS),))
    db.execute("SELECT pg_advisory_unlock(%s)", (MIGRATION_LOCK,))


def _last_marks(marks: Sequence[Mark]) -> dict[int, Mark]:
    """The last mark of each update; the error of one before it is its own, if it has none."""
    last: dict[int, Mark] = {}
    for mark in marks:
        before = last.get(mark.update_id)
        error = mark.error or (before.error if before is not None else None)
        last[mark.update_id] = Mark(mark.mark, mark.update_id, mark.status, mark.runs, error)
    return last


def _columns(marks: dict[int, Mark]) -> dict[str, list[Any]]:
    return {
        "ids": list(marks),
        "statuses": [mark.status.name for mark in marks.values()],
        "runs": [mark.runs for mark in marks.values()],
        "errors": [None if mark.error is None else _printable(mark.error) for mark in marks.values()],
    }


def _printable(text: str) -> str:
    """Text that PostgreSQL takes: it has no character of the number 0."""
    return as_text(text).replace("\0", "\\0")


def _key(lane: Any) -> str:
    key = as_json(lane)
    if len(key.encode()) <= LONGEST_LANE:
        return key
    return as_json(f"sha256:{hashlib.sha256(key.encode()).hexdigest()}")
