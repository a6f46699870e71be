"""Where an inbox is kept: what a machine asks for by `Store` and `Mark` is carried out here.

`MemoryStore` ends with the process, `SqliteStore` is a file, `PostgresqlStore` is shared by many processes. They decide
nothing: what is tried again, when and in which order, is the machine's. Another engine is one module with the two
protocols of this file, and its address in `store_at` and `inspection_at`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from string import ascii_letters
from types import TracebackType
from typing import Protocol, TypeAlias

from attrs import frozen

from hookline.effects import Kept, Mark, Release, Status, Store
from hookline.errors import OptionError
from hookline.updates import LaneKey, Update

Outcome: TypeAlias = "frozenset[int] | str"
"""Of a `Store`: the ids that are to be handled here and now; else none. A str says why it failed: nothing is kept."""

Tell: TypeAlias = "Callable[[Outcome], object]"
Found: TypeAlias = "Callable[[list[Kept]], object]"
Lost: TypeAlias = "Callable[[str, Callable[[], object]], object]"


class UpdateStore(Protocol):
    """An inbox's store, as a driver uses it: `open` once, `carry_out` as often as need be, `close`."""

    @property
    def durable(self) -> bool:
        """Whether what it keeps outlasts the process."""

    @property
    def shared(self) -> bool:
        """Whether many processes can have it open. Then all that is to be handled here comes by `found`."""

    def open(
        self, found: Found | None = None, lost: Lost | None = None, leaving: threading.Event | None = None
    ) -> list[Kept]:
        """What waits or was running when the store was closed or its process died, the oldest first. It blocks.

        found: is called, from another thread, with what is to be handled from now on: what somebody puts back by
            `Inspection.retry`, and, if the store is shared, all that is this process's to handle.
        lost: of a shared store, is called from another thread when all that came by `found` may go to others, with the
            reason and what to call when nothing of it goes on; then more is found. Marks of before change nothing.
        leaving: once it is set, an `open` that waits for its turn ends by StoreError.
        StoreError if the store can't be had.
        """

    def carry_out(self, effect: Store | Mark | Release, tell: Tell) -> None:
        """Begin to carry an effect out, after those that were given before, and return at once.

        A `Release` comes only to a shared store.
        tell: is called once, with the outcome; maybe from another thread, maybe before this returns.
        """

    def close(self) -> None:
        """Wait until all that was begun is told; nothing is told afterwards. It blocks."""


@frozen
class Overview:
    """An inbox at one moment. oldest: when the oldest of what waits or runs was stored, in Unix seconds, if any.

    workers: the processes that work on it or poll for it, if it is shared; None if it is not.
    """

    bot_id: int
    counts: Mapping[Status, int]
    oldest: float | None
    workers: Sequence[WorkerLoad] | None = None


@frozen
class WorkerLoad:
    """A process that has a shared inbox open. lanes: leased to it. seen: how many seconds ago it was seen last."""

    name: str
    polls: bool
    lanes: int
    seen: float


@frozen
class LaneLoad:
    """What a lane has to do. oldest: when the oldest of it was stored, in Unix seconds."""

    lane: LaneKey
    waiting: int
    running: int
    oldest: float


@frozen
class FailedUpdate:
    """An update that was given up. runs: how often its handler was begun. failed: when it failed, in Unix seconds."""

    update: Update
    runs: int
    error: str | None
    failed: float


class Inspection(Protocol):
    """An inbox, looked at and put right by hand, while its bot runs or not. A context manager; all of it blocks."""

    def __enter__(self) -> Inspection: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def overview(self) -> Overview:
        """How many updates are where."""

    def slowest(self, most: int) -> list[LaneLoad]:
        """At most so many of the lanes that have something to do: first the one that is behind the longest."""

    def failed(self) -> list[FailedUpdate]:
        """What was given up, as stored: the oldest first."""

    def retry(self, update_ids: Iterable[int] | None = None) -> list[int]:
        """Let failed updates wait again, as if never run: these, or all. The ids of those that were failed."""

    def purge(self, update_ids: Iterable[int] | None = None) -> list[int]:
        """Remove failed updates: these, or all. The ids of those that were failed."""

    def forget(self) -> int:
        """Forget the ids of all updates that are done, and give their number: each may be handled again if it comes."""


def store_at(address: str, *, bot_id: int, remember: int, concurrency: int = 1, polls: bool = False) -> UpdateStore:
    """The store at an address, not yet opened. OptionError for an address of no such form.

    address: "memory", or "sqlite:///" and a path: "sqlite:///inbox.db" is relative, "sqlite:////var/lib/bot/inbox.db"
        is absolute; or "postgresql://user@host/database", as libpq reads it.
    remember: how many ids of updates that are done stay known.
    concurrency, polls: of a store that is shared: at most so many lanes are handled here at once, 0 if it only stores;
        and whether this process polls, which only one may do at a time.
    """
    if is_shared(address):
        from hookline_io.stores.postgresql import PostgresqlStore

        return PostgresqlStore(address, bot_id=bot_id, remember=remember, concurrency=concurrency, polls=polls)
    if address == "memory":
        from hookline_io.stores.memory import MemoryStore

        return MemoryStore(remember=remember)
    from hookline_io.stores.sqlite import SqliteStore

    return SqliteStore(path_in(address), bot_id=bot_id, remember=remember)


def inspection_at(address: str, bot_id: int | None = None) -> Inspection:
    """The inbox at an address, to look at. OptionError as from `store_at`, StoreError if it can't be opened.

    bot_id: whose, if a database has those of several bots.
    """
    if is_shared(address):
        from hookline_io.stores.postgresql import PostgresqlInspection

        return PostgresqlInspection(address, bot_id)
    if address == "memory":
        raise OptionError("an inbox in memory can be seen by its bot alone: only one in a file can be looked at")
    from hookline_io.stores.sqlite import SqliteInspection

    return SqliteInspection(path_in(address))


def is_shared(address: str) -> bool:
    """Whether many processes can have the store at an address open at a time."""
    return address.startswith(("postgresql://", "postgres://"))


def path_in(address: str) -> Path:
    """The file of an address that names one. OptionError for one that names none."""
    scheme, found, path = address.partition("sqlite:///")
    if scheme or not found or path in {"", ":memory:"} or "?" in path:
        begins = address[: len(address) - len(address.lstrip(ascii_letters))]
        # Of what is no file, no more is shown than how it begins: a password may be in it.
        given = repr(address) if begins == "sqlite" else f"one that begins with {begins!r}"
        raise OptionError(
            "an inbox's address is 'memory', 'sqlite:///relative.db', 'sqlite:////absolute.db' or "
            f"'postgresql://user@host/database', not {given}"
        )
    return Path(path)
