"""What inboxes are kept on, in virtual time: a simulated store, and one process's use of it.

A `Disk` does what a store does, at once: it keeps updates, notes what becomes of them, and says what it has. A `Keeper`
carries out what one process asks for, strictly in order: each is written after a while, and answered after another. So
a process may die before something is written, and between that and the answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, Final, TypeAlias

from attrs import define, field, frozen

from hookline.effects import Kept, Mark, Open, Status, Store
from hookline.updates import Update


@frozen
class PutBack:
    """Somebody lets all that was given up be handled again, while a process has the inbox open."""


Asked: TypeAlias = "Open | Store | Mark | PutBack"

FULL: Final = "the disk is full"
LOCKED: Final = "another process has it open"
UNDONE: Final = (Status.WAITING, Status.RUNNING)


@define
class Row:
    """An update on a disk. runs, error: as the last `Mark` said."""

    update: Update
    status: Status = Status.WAITING
    runs: int = 0
    error: str | None = None

    @property
    def undone(self) -> bool:
        """Whether it is still to be handled."""
        return self.status in UNDONE


@frozen
class Answer:
    """The fact that answers what was asked, but for the time."""

    fact: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(factory=dict)

    @property
    def failed(self) -> bool:
        """Whether nothing was changed."""
        return self.fact.endswith("_failed")


@define(eq=False)
class Disk:
    """A store. durable: it outlasts the processes that use it, one after the other; else it is the memory of one.

    latency: seconds from what is asked to its writing, at most, and again from there to the answer. full_until: until
    then nothing can be kept or noted. locked_until: until then it can't be opened.
    """

    durable: bool = True
    latency: float = 0.0
    random: Random = field(factory=lambda: Random(0))
    full_until: float = 0.0
    locked_until: float = 0.0
    rows: dict[int, Row] = field(factory=dict)
    """What was ever kept, in the order of that, by the updates' ids; what was put back is the newest."""

    @property
    def undone(self) -> list[Row]:
        """What waits or runs, the oldest first."""
        return [row for row in self.rows.values() if row.undone]

    def delay(self) -> float:
        """How long the next step takes."""
        return self.random.random() * self.latency

    def carry_out(self, asked: Asked, now: float) -> Answer:
        """Do what is asked, or nothing of it; what is to be told."""
        if isinstance(asked, Open):
            if now < self.locked_until:
                return Answer("open_failed", (LOCKED,))
            kept = tuple(Kept(row.update, row.runs, row.status is Status.RUNNING) for row in self.undone)
            return Answer("opened", (kept,), {"durable": self.durable})
        if isinstance(asked, Store):
            if now < self.full_until:
                return Answer("store_failed", (asked.store, FULL))
            fresh = [update for update in asked.updates if update.update_id not in self.rows]
            self.rows |= {update.update_id: Row(update) for update in fresh}
            return Answer("stored", (asked.store, tuple(update.update_id for update in fresh)))
        if isinstance(asked, PutBack):
            again = [row for row in self.rows.values() if row.status is Status.FAILED]
            for row in again:
                del self.rows[row.update.update_id]
            self.rows |= {row.update.update_id: Row(row.update, error=row.error) for row in again}
            return Answer("found", (tuple(Kept(row.update) for row in again),))
        if now < self.full_until:
            return Answer("mark_failed", (asked.mark, FULL))
        row = self.rows[asked.update_id]
        row.status, row.runs, row.error = asked.status, asked.runs, asked.error or row.error
        return Answer("marked", (asked.mark,))


@define(eq=False)
class Keeper:
    """What one process asks of a disk. later: does something after so many seconds.

    wrote: is called when something was written, or could not be. tell: is called with that answer, a while later.
    """

    disk: Disk
    later: Callable[[float, Callable[[], object]], object]
    clock: Callable[[], float]
    wrote: Callable[[Asked, Answer], object]
    tell: Callable[[Answer], object]
    _queue: deque[Asked] = field(factory=deque)
    _busy: bool = False
    _refused: bool = False
    _over: bool = False

    def ask(self, asked: Asked) -> None:
        """Carry something out, after all that was asked before."""
        self._queue.append(asked)
        if not self._busy:
            self._busy = True
            self.later(self.disk.delay(), self._write)

    def close(self) -> None:
        """The process ends well: what it has asked for is written, if the disk is open, and not answered."""
        self._over = True
        while self._queue and not self._refused:
            self._carry_out(self._queue.popleft())

    def die(self) -> None:
        """The process is no more: what is not written yet is lost."""
        self._over = True
        self._queue.clear()

    def _write(self) -> None:
        if not self._over:
            answer = self._carry_out(self._queue.popleft())
            self.later(self.disk.delay(), lambda: self._answer(answer))

    def _carry_out(self, asked: Asked) -> Answer:
        answer = self.disk.carry_out(asked, self.clock())
        self._refused = answer.fact == "open_failed"
        self.wrote(asked, answer)
        return answer

    def _answer(self, answer: Answer) -> None:
        if self._over:
            return
        self._busy = bool(self._queue)
        if self._busy:
            self.later(self.disk.delay(), self._write)
        self.tell(answer)
