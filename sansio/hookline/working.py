"""A worker: it handles what an inbox has, and receives nothing itself.

`Working` opens an inbox and runs handlers by lanes. What there is to do was stored by others: it is there when the
inbox is opened, or `found` hands it over later. A webhook with an inbox is a worker that stores, too
(`StoringWebhook`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from attrs import evolve, frozen

from hookline.effects import Effect, Ended, Kept, Log, Open
from hookline.errors import LocalProtocolError
from hookline.inbox import Inbox
from hookline.options import WebhookOptions, WorkOptions
from hookline.outcomes import Outcome
from hookline.progress import Progress
from hookline.states import StateTable
from hookline.timers import earliest


@frozen
class Idle:
    """Not started."""


@frozen
class Opening:
    """The inbox is being opened."""


@frozen
class Serving:
    """What the inbox hands over is handled."""


@frozen
class Stopping:
    """Nothing new begins; what runs may end until `until`."""

    until: float


@frozen
class Over:
    """The run has ended."""


State: TypeAlias = "Idle | Opening | Serving | Stopping | Over"

TABLE = StateTable(
    "Working",
    {
        Idle: (Opening, Over),
        Opening: (Serving, Over),
        Serving: (Stopping,),
        Stopping: (Stopping, Over),
        Over: (),
    },
)


class Working:
    """The machine of a worker. Commands: `start`, `stop`; the clock: `tick`.

    Facts: `finished`, and of the inbox `opened`, `open_failed`, `found`, `marked`, `mark_failed`, `lost`.

    1. Every input is a fact or a command and takes `now`, a monotonic clock's seconds, last.
    2. State is settled before a method returns; the effects are finished, and carried out in order.
    3. Effects are plain values. `Open`, `Mark` and `Handle` are answered by facts.
    4. `deadline` says when `tick` has something to do, and `reason` why; after `tick(now)` it lies later than `now`.
    5. Nothing is received, so nothing raises. 6. Wrong use raises LocalProtocolError and changes nothing.
    7. No clock, randomness or I/O inside: the seed is an argument. 8. Copied or pickled between calls, it goes on.
    """

    def __init__(self, options: WorkOptions | WebhookOptions | None = None, *, seed: int = 0) -> None:
        self.options = options or WorkOptions()
        self.inbox = Inbox(concurrency=self.options.concurrency, max_attempts=self.options.max_attempts, seed=seed)
        self.lanes = self.inbox.lanes
        self.state: State = Idle()
        self._last_fetched: float | None = None
        self._last_handled: float | None = None

    # Reading

    @property
    def deadline(self) -> float | None:
        """The earliest time at which `tick` has something to do."""
        return earliest(self.inbox.deadline, self._grace_end)

    @property
    def reason(self) -> str:
        """Why there is a deadline, in words."""
        deadline = self.deadline
        if deadline is None:
            return "nothing is awaited"
        if deadline == self._grace_end:
            return "the grace time of running handlers ends"
        return "an update is tried again, or the inbox is told again"

    @property
    def progress(self) -> Progress:
        """How the run gets on."""
        return Progress(None, self._last_fetched, self._last_handled, self.lanes.waiting, self.lanes.running)

    @property
    def serving(self) -> bool:
        """Whether updates are taken and handled: the inbox is open, and no stop was asked for."""
        return isinstance(self.state, Serving)

    def healthy(self, now: float) -> bool:
        """Whether updates are taken and handled, and the inbox can keep them and note what becomes of them."""
        return self.serving and not self.inbox.failing

    @property
    def over(self) -> bool:
        """Whether the run has ended."""
        return isinstance(self.state, Over)

    # Commands

    def start(self, now: float) -> list[Effect]:
        """Begin the run."""
        if not isinstance(self.state, Idle):
            raise LocalProtocolError("start: this run was started before")
        self._go(Opening())
        return [Open()]

    def stop(self, now: float) -> list[Effect]:
        """End the run: nothing new begins, running handlers get their grace time. A second stop ends that at once."""
        if isinstance(self.state, Over):
            return []
        if isinstance(self.state, (Idle, Opening)):
            return self._end(None, now)
        if isinstance(self.state, Stopping):
            self._go(evolve(self.state, until=min(self.state.until, now)))
            return self.tick(now)
        waiting = "left in the inbox" if self.inbox.durable else "still to be handled"
        effects: list[Effect] = [*self.lanes.last_work(self.options.grace, waiting)]
        self._go(Stopping(now + self.options.grace))
        effects += self.inbox.stop(now)
        return effects + self._ended_if_drained(now)

    # Facts

    def opened(self, kept: Sequence[Kept], now: float, *, durable: bool, shared: bool = False) -> list[Effect]:
        """The inbox is open. kept: what was in it, waiting or running. shared: other processes have it too."""
        if not isinstance(self.state, Opening):
            return []
        self._go(Serving())
        opened = self.inbox.opened(kept, now, durable=durable, shared=shared)
        return [Log("the inbox is open"), *opened]

    def open_failed(self, reason: str, now: float) -> list[Effect]:
        """The inbox could not be opened: the run ends."""
        return self._end(f"the inbox could not be opened: {reason}", now) if isinstance(self.state, Opening) else []

    def found(self, kept: Sequence[Kept], now: float) -> list[Effect]:
        """The inbox hands over updates, to be handled."""
        return self.inbox.found(kept, now)

    def finished(self, job: int, outcome: Outcome, now: float) -> list[Effect]:
        """The run of a handler has ended. What comes after the end of the whole run is ignored."""
        effects = self.inbox.finished(job, outcome, now)
        self._last_handled = now
        return effects + self._ended_if_drained(now)

    def marked(self, mark: int, now: float) -> list[Effect]:
        """A `Mark` is noted."""
        return self.inbox.marked(mark, now) + self._ended_if_drained(now)

    def mark_failed(self, mark: int, reason: str, now: float) -> list[Effect]:
        """A `Mark` could not be noted."""
        return self.inbox.mark_failed(mark, reason, now)

    def lost(self, reason: str, now: float) -> list[Effect]:
        """The inbox takes back what it has handed over."""
        return self.inbox.lost(reason, now) + self._ended_if_drained(now)

    # The clock

    def tick(self, now: float) -> list[Effect]:
        """Do what is due. Early and repeated ticks do nothing."""
        effects = self.inbox.tick(now)
        if isinstance(self.state, Stopping) and self.state.until <= now:
            return effects + self._end(None, now)
        return effects

    @property
    def _grace_end(self) -> float | None:
        return self.state.until if isinstance(self.state, Stopping) else None

    # The end

    def _go(self, state: State) -> None:
        self.state = TABLE.move(self.state, state)

    def _ended_if_drained(self, now: float) -> list[Effect]:
        return self._end(None, now) if isinstance(self.state, Stopping) and self.inbox.idle else []

    def _end(self, failure: str | None, now: float) -> list[Effect]:
        self._go(Over())
        return [*self.inbox.leave(now), Ended(failure)]
