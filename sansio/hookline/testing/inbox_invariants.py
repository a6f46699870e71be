"""What must hold with an inbox: `Invariants` asks this too, where confirm="stored".

The checks look at what a machine asks its disk for, at what is written, and at the runs of handlers. The disk is the
judge: what it has as undone may run, in its order, and nothing else.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence, Set
from itertools import takewhile
from typing import Any, Final

from attrs import define, field

from hookline.effects import Cancel, Effect, Ended, Handle, Mark, Report, Status, Store, Verdict
from hookline.options import PollingOptions, WebhookOptions
from hookline.outcomes import Outcome, Returned
from hookline.testing.disk import UNDONE, Answer, Asked, PutBack
from hookline.testing.violation import Violation
from hookline.testing.world import Host
from hookline.updates import Update

EPSILON: Final = 1e-6
SHORTEST: Final = 0.75
"""Seconds from the first failure of a run to the next run, at least; doubled with each failure, up to LONGEST times."""
LONGEST: Final = 60.0


@define(eq=False)
class Notes:
    """What is known of one process of the bot and its inbox. Updates are named by their ids."""

    kept: set[int] = field(factory=set)  # what the inbox has, as the process was told
    storing: dict[int, Store] = field(factory=dict)  # not answered yet
    marking: dict[int, Mark] = field(factory=dict)  # not answered yet
    updates: dict[int, int] = field(factory=dict)  # the update of each job
    unnoted: set[int] = field(factory=set)  # whose last run the disk does not know
    failures: Counter[int] = field(factory=Counter)
    not_before: dict[int, float] = field(factory=dict)  # when what has failed may run again
    returned: set[int] = field(factory=set)
    given_up: set[int] = field(factory=set)
    cut_short: set[int] = field(factory=set)  # cancelled as a stop's grace time was over
    put_back: set[int] = field(factory=set)  # by somebody, whether there was room or not
    lost: set[int] = field(factory=set)  # as it has reported
    settled: set[int] = field(factory=set)  # what the inbox was asked to note as done or failed
    stopping: bool = False


class InboxInvariants:
    """Watches the inboxes of one world. durable: whether they outlast their processes.

    Each method does what that of `Watch` does; times are the world's.
    """

    def __init__(self, source: PollingOptions | WebhookOptions, *, durable: bool) -> None:
        self.source = source
        self.durable = durable
        self.written: set[int] = set()
        """Updates that were ever on a disk."""
        self._notes: dict[str, Notes] = defaultdict(Notes)
        self._begun: Counter[int] = Counter()  # runs of each update
        self._runs: dict[str, Counter[int]] = defaultdict(Counter)  # that count, of each update; by `_counts_for`

    def told(
        self, host: Host, fact: str, args: Sequence[Any], effects: list[Effect], at_telegram: Set[int]
    ) -> set[int]:
        """Check what a machine wants; all that it has reported as lost so far, and was right to.

        at_telegram: what comes again, if it is not confirmed.
        """
        notes = self._notes[host.name]
        if fact == "stop":
            notes.stopping = True
        elif fact == "opened":
            notes.kept |= {kept.update.update_id for kept in args[0]}
        elif fact == "stored":
            notes.kept |= {update.update_id for update in notes.storing.pop(args[0]).updates}
        elif fact == "store_failed":
            del notes.storing[args[0]]
        elif fact == "marked":
            del notes.marking[args[0]]
        elif fact == "mark_failed":
            mark = notes.marking.pop(args[0])
            if mark.status not in UNDONE and not notes.stopping:  # in a stop there may be no time to ask again
                notes.settled.discard(mark.update_id)
        for effect in effects:
            self._wanted(host, notes, effect)
            if isinstance(effect, Ended):
                self._leaves_nothing_behind(host, notes, at_telegram)
        return notes.lost

    def _wanted(self, host: Host, notes: Notes, effect: Effect) -> None:
        if isinstance(effect, Store):
            self._has_room(host, notes)
            notes.storing[effect.store] = effect
        elif isinstance(effect, Mark):
            notes.marking[effect.mark] = effect
            self._is_true(notes, effect)
        elif isinstance(effect, Handle):
            notes.updates[effect.job] = effect.update.update_id
        elif isinstance(effect, Cancel):
            notes.cut_short.add(notes.updates[effect.job])
        elif isinstance(effect, Report) and effect.update_id is not None:
            self._reported(host, notes, effect.verdict, effect.update_id)

    def _has_room(self, host: Host, notes: Notes) -> None:
        # While it is being opened, nobody knows what it has.
        undone = {row.update.update_id for row in host.disk.undone} & notes.kept
        undone |= {update.update_id for store in notes.storing.values() for update in store.updates}
        # A poller asks for more while there is room for one; a webhook takes one more if no more than that wait.
        most = self.source.max_waiting + self.source.concurrency - isinstance(self.source, PollingOptions)
        if len(undone - notes.put_back) > most:
            raise Violation("memory", f"{host.name} takes more updates, though it has {len(undone)}")

    @staticmethod
    def _is_true(notes: Notes, mark: Mark) -> None:
        update_id = mark.update_id
        if mark.status is Status.DONE:
            if update_id not in notes.returned:
                raise Violation("loss", f"update {update_id} is noted as done, and its handler did not return")
            notes.settled.add(update_id)
        elif mark.status is Status.FAILED:
            if update_id not in notes.given_up:
                raise Violation("loss", f"update {update_id} is put aside, and no report says so")
            notes.settled.add(update_id)

    def _reported(self, host: Host, notes: Notes, verdict: Verdict, update_id: int) -> None:
        if verdict is Verdict.GIVEN_UP:
            # What the disk has noted counts: a process may have died before it could begin.
            noted = host.disk.rows[update_id].runs if self.durable else 0
            runs = max(self._begun[update_id], noted)
            if runs < self.source.max_attempts:
                raise Violation("attempts", f"update {update_id} is given up after {runs} runs")
            notes.given_up.add(update_id)
        elif verdict is Verdict.LOST:
            if self.durable or update_id not in notes.kept - notes.returned - notes.given_up:
                raise Violation("loss", f"update {update_id} is reported as lost, and it is not")
            notes.lost.add(update_id)

    def _leaves_nothing_behind(self, host: Host, notes: Notes, at_telegram: Set[int]) -> None:
        """What a process has to have done before its own end."""
        for update_id in (notes.returned | notes.given_up) - notes.settled:
            raise Violation("once", f"update {update_id} is done, and {host.name} has ended without noting it")
        if not self.durable:
            for update_id in notes.kept - notes.returned - notes.given_up - notes.lost - at_telegram:
                raise Violation("loss", f"update {update_id} ends with {host.name}, and no report says so")

    def begins(self, host: Host, update: Update, now: float) -> None:
        """Check that this update may run now."""
        update_id, notes, rows = update.update_id, self._notes[host.name], host.disk.rows
        if update_id not in rows:
            raise Violation("once", f"update {update_id} runs in {host.name}, and the inbox does not have it")
        if not rows[update_id].undone:
            raise Violation("once", f"update {update_id} runs in {host.name}, and the inbox says: {rows[update_id]}")
        for earlier in takewhile(lambda row: row.update.update_id != update_id, rows.values()):
            if earlier.update.lane == update.lane and earlier.undone and earlier.update.update_id not in notes.given_up:
                text = f"update {update_id} began while the inbox had {earlier.update.update_id} of lane {update.lane}"
                raise Violation("order", f"{text} as {earlier.status.name}")
        if now < notes.not_before.get(update_id, 0.0) - EPSILON:
            raise Violation("back-off", f"update {update_id} had failed, and runs again at {now:.3f} s")
        if self.durable and notes.stopping:
            raise Violation("stop", f"update {update_id} begins in {host.name}, which was stopped")
        self._count(host, notes, update_id)

    def _count(self, host: Host, notes: Notes, update_id: int) -> None:
        runs = self._runs[self._counts_for(host)]
        if runs[update_id] >= self.source.max_attempts:
            raise Violation("attempts", f"update {update_id} had {runs[update_id]} runs that count, and begins again")
        if self.durable and host.disk.rows[update_id].status is not Status.RUNNING:
            raise Violation("attempts", f"update {update_id} begins, and the inbox does not know")
        runs[update_id] += 1
        self._begun[update_id] += 1
        notes.unnoted.add(update_id)

    def _counts_for(self, host: Host) -> str:
        """Whose runs count with those of this process: those of all, or none."""
        return "" if self.durable else host.name

    def ends(self, host: Host, update: Update, outcome: Outcome, now: float) -> None:
        """Note what has become of an update. What returns after its process has given it up to the next, is no end."""
        notes, update_id = self._notes[host.name], update.update_id
        if not isinstance(outcome, Returned):
            notes.not_before[update_id] = now + SHORTEST * min(LONGEST, 2.0 ** notes.failures[update_id])
            notes.failures[update_id] += 1
        elif update_id not in notes.cut_short:
            notes.returned.add(update_id)

    def wrote(self, host: Host, asked: Asked, answer: Answer) -> None:
        """Note what is on the disk."""
        notes = self._notes[host.name]
        if isinstance(asked, PutBack):
            for kept in answer.args[0]:
                self._begins_anew(notes, kept.update.update_id)
        elif isinstance(asked, Store) and not answer.failed:
            self.written |= {update.update_id for update in asked.updates}
        elif isinstance(asked, Mark) and not answer.failed:
            notes.unnoted.discard(asked.update_id)
            if asked.status is Status.WAITING and asked.update_id in notes.cut_short:  # a stop is no failure
                self._runs[self._counts_for(host)][asked.update_id] -= 1

    def _begins_anew(self, notes: Notes, update_id: int) -> None:
        notes.put_back.add(update_id)
        for known in (notes.given_up, notes.settled):
            known.discard(update_id)
        notes.not_before.pop(update_id, None)
        del notes.failures[update_id]
        del self._begun[update_id], self._runs[""][update_id]

    def dies(self, host: Host) -> None:
        """Runs that the disk has not heard of do not count."""
        for update_id in self._notes[host.name].unnoted:
            self._runs[self._counts_for(host)][update_id] -= 1
