"""The inbox: updates that are stored before Telegram is told, and what becomes of them afterwards.

`Inbox` asks for `Store` and, when that is `stored`, hands the updates out by lanes. It notes by `Mark` what becomes of
each: handled, to be tried again after a wait, or given up. What a store still had when it was opened is handled as if
it had just come. `Inbox` does not know where updates come from; a source (`Polling`, `StoringWebhook`) owns it.

The rule that keeps it right: a lane is free for its next update only when the store knows what became of the last one.
And a handler begins only when the store knows that it does. So what a crash repeats is only what was running, or had
ended so shortly before that the store did not know yet; and what ends the process again and again is known by its runs.
What ran in two processes to their end is suspected of it: as long as there is such an update, handlers run one at a
time, so that nothing else is taken for the one that does it.

A store may be shared by many processes. Then nothing is this one's because it came here: `found` hands over what it is
to handle, and if the store has to give that to others, since it could not be reached for too long, `lost` takes all of
it back. What runs is cancelled then, and nothing is noted of it.

A store that is not durable is handled the same way, but what it holds is lost at the end of the process. So at a stop
what waits is still handled, within the grace time, and what is left then is reported as lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import Enum
from random import Random
from typing import Final, TypeAlias

from attrs import evolve, frozen

from hookline.backoff import Backoff
from hookline.effects import Effect, Handle, Kept, Log, Mark, Release, Report, Status, Store, Verdict
from hookline.errors import LocalProtocolError
from hookline.lanes import Lanes
from hookline.numbering import Numbers
from hookline.outcomes import Cancelled, Outcome, Raised, Returned
from hookline.states import StateTable
from hookline.timers import Timers
from hookline.updates import Update, named

SUSPECTED_AFTER: Final = 2
"""Runs, the last of which has ended with its process."""

WARNING: Final = 30
"""The level of a `Log` that somebody should look into."""


class Phase(Enum):
    """The life of an inbox. The value says what a phase means."""

    CLOSED = "its store was not opened yet"
    OPEN = "updates are stored and handled"
    STOPPING = "nothing new begins, but for what would be lost"
    LEFT = "nothing more is asked of its store"


PHASES = StateTable(
    "Inbox",
    {
        Phase.CLOSED: (Phase.OPEN, Phase.STOPPING, Phase.LEFT),
        Phase.OPEN: (Phase.STOPPING,),
        Phase.STOPPING: (Phase.LEFT,),
        Phase.LEFT: (),
    },
)


@frozen
class Waiting:
    """An update whose turn has not come.

    runs: how often its handler was begun, but for the runs that do not count. setbacks: how many of those there were.
    """

    runs: int
    setbacks: int = 0


@frozen
class Running:
    """Its handler runs, for the `runs`th time."""

    runs: int
    setbacks: int = 0


@frozen
class Marking:
    """The store is being told that its handler is about to begin, or how it has ended. tries: how often that failed."""

    runs: int
    status: Status
    error: str | None = None
    setbacks: int = 0
    tries: int = 0


@frozen
class Unmarked:
    """The store could not be told, and will be told again."""

    marking: Marking


@frozen
class Pausing:
    """Its handler failed, and runs again after a while. The updates of its lane wait with it."""

    runs: int
    setbacks: int = 0


@frozen
class Gone:
    """The machine knows it no more."""


State: TypeAlias = "Waiting | Running | Marking | Unmarked | Pausing | Gone"

TABLE = StateTable(
    "StoredUpdate",
    {
        Waiting: (Running, Marking, Gone),
        Running: (Marking, Gone),
        Marking: (Running, Unmarked, Pausing, Gone),
        Unmarked: (Marking, Gone),
        Pausing: (Waiting, Gone),
        Gone: (),
    },
)


class Inbox:
    """The machine of what is stored. Commands: `store`, `stop`, `leave`; the clock: `tick`.

    Facts: `opened`, `found`, `stored`, `store_failed`, `marked`, `mark_failed`, `finished`, `lost`. `lanes` says what
    waits and runs. It keeps the contract that its sources have: facts and commands take `now` last, state is settled
    before a method returns, effects are plain values, and wrong use raises LocalProtocolError and changes nothing.

    concurrency: this many lanes at once. max_attempts: failed runs after which an update is given up.
    """

    def __init__(self, *, concurrency: int, max_attempts: int, seed: int = 0) -> None:
        self.lanes = Lanes(concurrency)
        self._concurrency = concurrency
        self._suspects: set[int] = set()  # jobs by one of which the process may end
        self.phase = Phase.CLOSED
        self.durable = True
        self.shared = False
        self.failing = False
        """Whether the last that the store was asked for, and has answered, failed."""
        self._max_attempts = max_attempts
        self._random = Random(seed)
        self._states: dict[int, State] = {}  # by job
        self._lost: set[int] = set()  # the jobs that still run, but are not this process's any more
        self._timers = Timers()  # of the jobs that are Unmarked or Pausing
        self._stores: dict[int, tuple[Update, ...]] = {}  # that were not answered yet
        self._marks: dict[int, int] = {}  # the jobs of those that were not answered yet
        self._store_numbers = Numbers()
        self._mark_numbers = Numbers()

    # Reading

    @property
    def deadline(self) -> float | None:
        """The earliest time at which `tick` has something to do."""
        return self._timers.next

    @property
    def idle(self) -> bool:
        """Whether nothing waits or runs here, and the store owes no answer."""
        return not self._states and not self._lost and not self._stores

    # Commands

    def store(self, updates: Sequence[Update]) -> Store:
        """Have updates kept, none of which is in hand. `stored` hands them out."""
        store = Store(self._store_numbers.new(), tuple(updates))
        self._stores[store.store] = store.updates
        return store

    def stop(self, now: float) -> list[Effect]:
        """Begin nothing new: what waits stays in the store. In one that is not durable it is still handled."""
        self._turn(Phase.STOPPING)
        for job, state in self._states.items():
            if isinstance(state, Unmarked):  # there is not much time for it any more
                self._timers.set(job, now)
        if not self.durable:
            return []
        left = self._drop(Waiting, Pausing)
        return [Release(tuple(left))] if self.shared else []

    def leave(self, now: float) -> list[Effect]:
        """The grace time is over: cancel what runs, and leave everything to the next start."""
        effects: list[Effect] = []
        cut_short: list[int] = []
        for number, state in list(self._states.items()):
            update = self.lanes.job(number).update
            if isinstance(state, Running):
                cut_short.append(update.update_id)
                effects += self.lanes.cancel(number, now)
                if self.durable:
                    effects.append(self._mark(update, _not_begun(state)))
            elif isinstance(state, Marking) and state.status is Status.RUNNING:
                effects.append(self._mark(update, _not_begun(state)))
            elif isinstance(state, Unmarked) and state.marking.status is not Status.RUNNING:
                effects += [self._mark(update, state.marking), _told_last(update)]
            if not self.durable and not _is_over(state):
                effects.append(_lost(update))
            self._forget(number)
        if cut_short:
            again = "; they run again in another process" if self.shared else "; they run again at the next start"
            left = again if self.durable else ""
            text = f"handlers that did not end within the grace time: {len(cut_short)} ({named(cut_short)}){left}"
            effects.append(Log(text))
        self._stores.clear()
        self._marks.clear()
        self._turn(Phase.LEFT)
        return effects

    # Facts

    def opened(self, kept: Sequence[Kept], now: float, *, durable: bool, shared: bool = False) -> list[Effect]:
        """The store is open, and has kept these updates, the oldest first.

        durable: what it keeps outlasts a crash. shared: others work on it too; `found` says what this process is to do.
        """
        if self.phase is not Phase.CLOSED:
            raise LocalProtocolError("opened: this inbox was opened before")
        self._turn(Phase.OPEN)
        self.durable = durable
        self.shared = shared
        if not kept:
            return []
        return [Log(f"the inbox has {len(kept)} updates from before"), *self._take_over(kept, now)]

    def found(self, kept: Sequence[Kept], now: float) -> list[Effect]:
        """The store hands over updates: somebody has put them back, or it is shared, and these are for this process."""
        if self.phase is not Phase.OPEN:
            return []
        return self._take_over([one for one in kept if self.lanes.job_of(one.update.update_id) is None], now)

    def stored(self, store: int, fresh: Sequence[int], now: float) -> list[Effect]:
        """The updates of a `Store` are kept; `fresh` are the ids of those that are to be handled here and now."""
        effects: list[Effect] = []
        self.failing = False
        for update in self._answered(store):
            wanted = update.update_id in fresh and self.lanes.job_of(update.update_id) is None
            if wanted and not self._keeps_what_waits:
                effects += self._take(update, 0, now)
        return effects

    def store_failed(self, store: int, reason: str, now: float) -> list[Effect]:
        """None of the updates of a `Store` is kept."""
        updates = self._answered(store)
        self.failing = True
        if not updates:
            return []
        ids = [update.update_id for update in updates]
        text = f"{named(ids)} could not be stored: {reason}; Telegram was not told that it has arrived"
        return [Report(Verdict.NOT_STORED, text, ids[0])]

    def finished(self, job: int, outcome: Outcome, now: float) -> list[Effect]:
        """The run of a handler has ended: the store is told first, and then its lane is free."""
        if self.phase is Phase.LEFT:
            return []
        if job in self._lost:
            self._lost.remove(job)
            return self._begun(self.lanes.finished(job, now), now)
        update = self.lanes.job(job).update
        state = self._states[job]
        if not isinstance(state, Running):
            raise LocalProtocolError(f"finished: job {job} does not run")
        self._clear_of_suspicion(job)
        effects, marking = self._judge(update, state, outcome)
        self._go(job, marking)
        effects.append(self._tell(job, marking))
        return effects + self._begun(self.lanes.held(job, now), now)

    def marked(self, mark: int, now: float) -> list[Effect]:
        """A `Mark` is noted."""
        job = self._marked(mark)
        self.failing = False
        if job is None:
            return []
        marking = self._states[job]
        assert isinstance(marking, Marking)
        update = self.lanes.job(job).update
        if marking.status is Status.RUNNING and not self._keeps_what_waits:
            self._go(job, Running(marking.runs, marking.setbacks))
            return [Handle(job, update)]
        if marking.status is not Status.WAITING or self._keeps_what_waits:
            taken_back = [self._mark(update, _not_begun(marking))] if marking.status is Status.RUNNING else []
            self._forget(job)
            return [*taken_back, *self._begun(self.lanes.finished(job, now), now)]
        self._go(job, Pausing(marking.runs, marking.setbacks))
        self._timers.set(job, now + Backoff(max(0, marking.runs + marking.setbacks - 1)).next(self._random))
        return []

    def mark_failed(self, mark: int, reason: str, now: float) -> list[Effect]:
        """A `Mark` could not be noted: it is told again, and what it is about waits."""
        job = self._marked(mark)
        self.failing = True
        if job is None:
            return []
        marking = self._states[job]
        assert isinstance(marking, Marking)
        if marking.status is Status.RUNNING and self._keeps_what_waits:
            self._forget(job)
            return self._begun(self.lanes.finished(job, now), now)
        wait = Backoff(marking.tries).next(self._random)
        self._go(job, Unmarked(marking))
        self._timers.set(job, now + wait)
        update = self.lanes.job(job).update
        what = "that the handler begins for" if marking.status is Status.RUNNING else "what became of"
        text = f"the inbox could not be told {what} update {update.update_id}: {reason}; it is told again in "
        return [Report(Verdict.NOT_STORED, f"{text}{wait:.1f} s", update.update_id)]

    def lost(self, reason: str, now: float) -> list[Effect]:
        """What the store has handed over is not this process's any more: nothing of it may go on, or be noted."""
        if self.phase not in (Phase.OPEN, Phase.STOPPING) or not self._states:
            return []
        running = [job for job, state in self._states.items() if isinstance(state, Running)]
        ids = [self.lanes.job(job).update.update_id for job in running]
        self._lost.update(running)
        self._drop(Waiting, Pausing, Marking, Unmarked)
        effects: list[Effect] = []
        for job in running:
            effects += self.lanes.cancel(job, now)
            self._forget(job)
        text = f"the inbox has taken back what it had handed over: {reason}"
        if ids:
            text += f"; what runs of it is cancelled, and runs again here or in another process: {named(ids)}"
        return [Log(text, WARNING), *effects]

    # The clock

    def tick(self, now: float) -> list[Effect]:
        """Do what is due. Early and repeated ticks do nothing."""
        effects: list[Effect] = []
        for job in self._timers.due(now):
            state = self._states[job]
            if isinstance(state, Unmarked):
                marking = evolve(state.marking, tries=state.marking.tries + 1)
                self._go(job, marking)
                effects.append(self._tell(job, marking))
            else:
                assert isinstance(state, Pausing)
                effects += self._again(job, Waiting(state.runs, state.setbacks), now)
        return effects

    # The life of an update

    def _go(self, job: int, state: State) -> None:
        self._states[job] = TABLE.move(self._states[job], state)

    def _forget(self, job: int) -> None:
        TABLE.move(self._states.pop(job), Gone())
        self._timers.clear(job)
        self._clear_of_suspicion(job)

    def _clear_of_suspicion(self, job: int) -> None:
        """Its handler has ended, and the process has not; or it is none of ours any more."""
        self._suspects.discard(job)
        if not self._suspects:
            self.lanes.concurrency = self._concurrency

    def _drop(self, *kinds: type[State]) -> list[int]:
        """Forget what is in one of these states, in which no handler runs; the ids of the updates."""
        jobs = [job for job, state in self._states.items() if isinstance(state, kinds)]
        ids = [self.lanes.job(job).update.update_id for job in jobs]
        for job in jobs:
            self.lanes.forget(job)
            self._forget(job)
        return ids

    def _take_over(self, kept: Sequence[Kept], now: float) -> list[Effect]:
        """Let updates wait for their turn that have a past."""
        effects: list[Effect] = []
        suspects = [one.update.update_id for one in kept if one.interrupted and one.runs >= SUSPECTED_AFTER]
        if suspects:
            self.lanes.concurrency = 1
            text = f"{named(suspects)} ran when processes ended, so one handler runs at a time until these have ended"
            effects.append(Log(text, WARNING))
        for one in kept:
            effects += self._take(one.update, one.runs, now, suspect=one.update.update_id in suspects)
        return effects

    def _take(self, update: Update, runs: int, now: float, *, suspect: bool = False) -> list[Effect]:
        """Let an update wait for its turn."""
        job, effects = self.lanes.add(update, now)
        if suspect:
            self._suspects.add(job)
        self._states[job] = Waiting(runs)
        return self._begun(effects, now)

    def _begun(self, effects: list[Effect], now: float) -> list[Effect]:
        """Have it noted which handlers are to begin; one by which the process dies again and again is given up."""
        out: list[Effect] = []
        todo = deque(effects)
        while todo:
            effect = todo.popleft()
            if isinstance(effect, Handle):
                waiting = self._states[effect.job]
                assert isinstance(waiting, Waiting)
                if waiting.runs >= self._max_attempts:
                    error = f"its handler was begun {waiting.runs} times, and never ended"
                    marking = Marking(waiting.runs, Status.FAILED, error)
                    self._go(effect.job, marking)
                    out += [_given_up(effect.update, error), self._tell(effect.job, marking)]
                    todo += self.lanes.held(effect.job, now)
                    continue
                if self.durable:
                    marking = Marking(waiting.runs + 1, Status.RUNNING, None, waiting.setbacks)
                    self._go(effect.job, marking)
                    out.append(self._tell(effect.job, marking))
                    continue
                self._go(effect.job, Running(waiting.runs + 1, waiting.setbacks))
            out.append(effect)
        return out

    def _judge(self, update: Update, run: Running, outcome: Outcome) -> tuple[list[Effect], Marking]:
        """What the end of a run means for its update, and what is reported of it."""
        if isinstance(outcome, Returned):
            return [], Marking(run.runs, Status.DONE)
        if isinstance(outcome, Cancelled) and self._keeps_what_waits:
            return [], _not_begun(run)  # cut short by a stop: that is no failure
        effects: list[Effect] = []
        error = "it was cancelled"
        counts = True
        if isinstance(outcome, Raised):
            error, counts = outcome.summary, not outcome.transient
            text = f"the handler of update {update.update_id} ({update.kind or 'empty'}) raised {error}"
            how = f"run {run.runs} of {self._max_attempts}" if counts else "it does not count, and is tried again"
            effects.append(Report(Verdict.HANDLER_FAILED, f"{text} ({how})", update.update_id, outcome.traceback))
        if not counts:
            return effects, Marking(run.runs - 1, Status.WAITING, error, run.setbacks + 1)
        if run.runs < self._max_attempts:
            return effects, Marking(run.runs, Status.WAITING, error, run.setbacks)
        return [*effects, _given_up(update, error)], Marking(run.runs, Status.FAILED, error)

    def _again(self, job: int, waiting: Waiting, now: float) -> list[Effect]:
        """Let the update of a job wait for its turn once more, as the first of its lane."""
        self._go(job, waiting)
        del self._states[job]
        fresh, effects = self.lanes.again(job, now)
        self._states[fresh] = waiting
        return self._begun(effects, now)

    # The store

    @property
    def _keeps_what_waits(self) -> bool:
        return self.durable and self.phase is Phase.STOPPING

    def _tell(self, job: int, marking: Marking) -> Mark:
        """Have the end of a run noted; its lane waits for the answer."""
        mark = self._mark(self.lanes.job(job).update, marking)
        self._marks[mark.mark] = job
        return mark

    def _mark(self, update: Update, marking: Marking) -> Mark:
        return Mark(self._mark_numbers.new(), update.update_id, marking.status, marking.runs, marking.error)

    def _marked(self, mark: int) -> int | None:
        """The job that waits for the answer to a mark, if one does."""
        if not self._mark_numbers.gave(mark):
            raise LocalProtocolError(f"mark {mark} was never asked for")
        job = self._marks.pop(mark, None)
        return job if job in self._states else None

    def _answered(self, store: int) -> tuple[Update, ...]:
        if not self._store_numbers.gave(store):
            raise LocalProtocolError(f"store {store} was never asked for")
        return self._stores.pop(store, ())

    def _turn(self, phase: Phase) -> None:
        self.phase = PHASES.move(self.phase, phase)


def _is_over(state: State) -> bool:
    """Whether nothing more is to be done for an update but to tell the store."""
    marking = state.marking if isinstance(state, Unmarked) else state
    return isinstance(marking, Marking) and marking.status in (Status.DONE, Status.FAILED)


def _not_begun(state: Running | Marking) -> Marking:
    """What the store is told of a run that was cut short, or never began: it waits again, and the run counts not."""
    return Marking(state.runs - 1, Status.WAITING, None, state.setbacks)


def _told_last(update: Update) -> Report:
    text = (
        f"update {update.update_id} has ended, and the inbox could not be told so far: unless it can at the very end, "
        "it runs again at the next start"
    )
    return Report(Verdict.NOT_STORED, text, update.update_id)


def _given_up(update: Update, error: str) -> Report:
    text = f"update {update.update_id} ({update.kind or 'empty'}) is given up, so that its chat can go on: {error}"
    return Report(Verdict.GIVEN_UP, text, update.update_id, update.raw)


def _lost(update: Update) -> Report:
    text = f"update {update.update_id} was not handled before the stop, and its inbox ends with the process"
    return Report(Verdict.LOST, text, update.update_id, update.raw)
