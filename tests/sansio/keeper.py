"""A store as a machine with an inbox sees it: the test says when it answers, and reads what it was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hookline.effects import Effect, Handle, Kept, Log, Mark, Report, Status, Store, Verdict
from hookline.outcomes import Outcome, Returned
from hookline.updates import LaneKey, Update


def update(update_id: int, lane: LaneKey = "lane") -> Update:
    """An update of a lane."""
    return Update(update_id, "message", None, {"update_id": update_id}, lane)


def kept(*update_ids: int, runs: int = 0) -> list[Kept]:
    """What a store still has, each in a lane of its own."""
    return [Kept(update(update_id, update_id), runs) for update_id in update_ids]


class Keeper:
    """A machine with an inbox, and what became of it."""

    def __init__(self, machine: Any) -> None:
        self.machine = machine
        self.now = 1000.0
        self.effects: list[Effect] = []
        self.begins = True
        """Whether the store notes at once that a handler begins."""

    def tell(self, fact: str, *args: Any, **kwargs: Any) -> list[Effect]:
        """Tell it something now; what it wants."""
        effects: list[Effect] = getattr(self.machine, fact)(*args, now=self.now, **kwargs)
        self.effects += effects
        for effect in [*effects]:
            if self.begins and isinstance(effect, Mark) and effect.status is Status.RUNNING:
                effects += self.tell("marked", effect.mark)
        return effects

    def wait(self, seconds: float) -> list[Effect]:
        """Let time go by, with a tick at each deadline."""
        end, effects = self.now + seconds, []
        while (deadline := self.machine.deadline) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            effects += self.tell("tick")
            assert self.machine.deadline is None or self.machine.deadline > self.now
        self.now = end
        return effects

    # What it wanted

    def of(self, kind: type[Any]) -> list[Any]:
        """All effects of one class so far."""
        return [effect for effect in self.effects if isinstance(effect, kind)]

    @property
    def handed(self) -> list[int]:
        """The updates handed out, in order."""
        return [effect.update.update_id for effect in self.of(Handle)]

    @property
    def marks(self) -> list[tuple[int, Status, int]]:
        """What was to be noted: the update, where it is, and its runs."""
        return [(mark.update_id, mark.status, mark.runs) for mark in self.of(Mark)]

    @property
    def texts(self) -> list[str]:
        """What was logged."""
        return [log.text for log in self.of(Log)]

    def reports(self, verdict: Verdict) -> list[int | None]:
        """The updates of the reports of one verdict."""
        return [report.update_id for report in self.of(Report) if report.verdict is verdict]

    # What the store and the handlers do

    def opened(self, left: Sequence[Kept] = (), *, durable: bool = True) -> Keeper:
        """The store was opened."""
        self.tell("opened", left, durable=durable)
        return self

    def stored(self, *fresh: int) -> list[Effect]:
        """The last `Store` is kept; fresh: what was not known before, all of it if nothing is said."""
        store = self.of(Store)[-1]
        return self.tell("stored", store.store, fresh or tuple(one.update_id for one in store.updates))

    def finish(self, update_id: int, outcome: Outcome | None = None) -> list[Effect]:
        """The run of an update's handler has ended."""
        job = [effect.job for effect in self.of(Handle) if effect.update.update_id == update_id][-1]
        return self.tell("finished", job, outcome or Returned())

    def marked(self) -> list[Effect]:
        """The last `Mark` is noted, but for those that handlers begin."""
        return self.tell("marked", self.last_mark.mark)

    @property
    def last_mark(self) -> Mark:
        """The last but for those that handlers begin; all of them count, if the store does not note them at once."""
        marks: list[Mark] = [mark for mark in self.of(Mark) if not self.begins or mark.status is not Status.RUNNING]
        return marks[-1]
