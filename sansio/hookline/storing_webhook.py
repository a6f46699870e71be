"""A webhook that answers when the inbox has the update, however long its handler takes: confirm="stored".

`StoringWebhook` takes HTTP requests as values and answers them as values, as `Webhook` does. A request waits for one
thing only: that its update is stored. What the inbox knows already is answered at once.

The rule that keeps it right: 2xx is the only word by which Telegram forgets an update (telegram-server.md, 4.4). So it
is said only for an update that the inbox has. If it cannot be stored, or not in time, the answer is 503.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, TypeAlias

from attrs import define, evolve, field, frozen

from hookline import codec
from hookline.effects import Effect, Ended, Kept, Open, Report, Respond, Verdict
from hookline.errors import LocalProtocolError
from hookline.gate import NO_BODY, Gate, unavailable
from hookline.http import Request, Response
from hookline.inbox import Inbox
from hookline.options import WebhookOptions
from hookline.outcomes import Outcome
from hookline.polling import Progress
from hookline.states import StateTable
from hookline.updates import Lane, Update

MAX_JOINED: Final = 100
"""Requests that may wait until one update is stored. Telegram has one outstanding for it (telegram-server.md, 4.3)."""


@frozen
class Idle:
    """Not started; requests get 503."""


@frozen
class Opening:
    """The inbox is being opened; requests wait for it."""


@frozen
class Serving:
    """Requests are taken."""


@frozen
class Stopping:
    """New work gets 503; what runs may end, and what came is stored, until `until`."""

    until: float


@frozen
class Over:
    """The run has ended; every request gets 503."""


State: TypeAlias = "Idle | Opening | Serving | Stopping | Over"

TABLE = StateTable(
    "StoringWebhook",
    {
        Idle: (Opening, Over),
        Opening: (Serving, Over),
        Serving: (Stopping,),
        Stopping: (Stopping, Over),
        Over: (),
    },
)


@define
class Arrival:
    """An update that is being stored, and the requests that brought it."""

    update: Update
    requests: list[int] = field(factory=list)


class StoringWebhook:
    """The machine of a webhook with an inbox. Commands: `start`, `stop`; the clock: `tick`.

    Facts: `requested`, `disconnected`, `finished`, and of the inbox `opened`, `stored`, `marked` and their failures.

    1. Every input is a fact or a command and takes `now`, a monotonic clock's seconds, last.
    2. State is settled before a method returns; the effects are finished, and carried out in order.
    3. Effects are plain values. `Open`, `Store`, `Mark` and `Handle` are answered by facts; each `requested` gets one
       `Respond`, unless its client is told as `disconnected` first.
    4. `deadline` says when `tick` has something to do, and `reason` why; after `tick(now)` it lies later than `now`.
    5. Nothing that a client sends raises. 6. Wrong use raises LocalProtocolError and changes nothing.
    7. No clock, randomness or I/O inside: the seed is an argument. 8. Copied or pickled between calls, it goes on.
    """

    def __init__(
        self,
        options: WebhookOptions | None = None,
        *,
        seed: int = 0,
        decode: codec.Decode = codec.decode,
        lane: Lane | None = None,
    ) -> None:
        self.options = options or WebhookOptions(confirm="stored")
        self.inbox = Inbox(concurrency=self.options.concurrency, max_attempts=self.options.max_attempts, seed=seed)
        self.lanes = self.inbox.lanes
        self.state: State = Idle()
        self.progress = Progress()
        self._gate = Gate(self.options, decode, lane)
        self._arrivals: dict[int, Arrival] = {}  # by store
        self._storing: dict[int, int] = {}  # the store of each update that is being stored
        self._waiting: OrderedDict[int, tuple[int, float]] = OrderedDict()  # by request: its store, and when it is due

    # Reading

    @property
    def deadline(self) -> float | None:
        """The earliest time at which `tick` has something to do."""
        times = (self._first_due, self.inbox.deadline, self._grace_end)
        return min((time for time in times if time is not None), default=None)

    @property
    def reason(self) -> str:
        """Why there is a deadline, in words."""
        deadline = self.deadline
        if deadline is None:
            return "nothing is awaited"
        if deadline == self._grace_end:
            return "the grace time of running handlers ends"
        if deadline == self._first_due:
            return "a request's time is up"
        return "an update is tried again, or the inbox is told again"

    @property
    def serving(self) -> bool:
        """Whether updates are taken: the inbox is open, and no stop was asked for."""
        return isinstance(self.state, Serving)

    @property
    def over(self) -> bool:
        """Whether the run has ended."""
        return isinstance(self.state, Over)

    @property
    def waiting_requests(self) -> int:
        """How many requests were not answered yet."""
        return len(self._waiting)

    def screen(self, request: Request) -> Response | None:
        """The rejection that a request's head alone earns, or None. Its body need not have been read."""
        return self._gate.screen(request)

    # Commands

    def start(self, now: float) -> list[Effect]:
        """Begin the run."""
        if not isinstance(self.state, Idle):
            raise LocalProtocolError("start: this run was started before")
        self._go(Opening())
        return [Open()]

    def stop(self, now: float) -> list[Effect]:
        """End the run: new work gets 503, running handlers get their grace time. A second stop ends that at once.

        What waits stays in the inbox; if that is not durable, it is still handled.
        """
        if isinstance(self.state, Over):
            return []
        if isinstance(self.state, (Idle, Opening)):
            return self._refuse_all() + self._end(None)
        if isinstance(self.state, Stopping):
            self._go(evolve(self.state, until=min(self.state.until, now)))
            return self.tick(now)
        waiting = "left in the inbox" if self.inbox.durable else "still to be handled"
        effects: list[Effect] = [*self.lanes.last_work(self.options.grace, waiting)]
        self._go(Stopping(now + self.options.grace))
        effects += self.inbox.stop(now)
        self._count(now)
        return effects + self._ended_if_drained(now)

    # Facts about requests

    def requested(self, request: int, message: Request, now: float) -> list[Effect]:
        """A whole request has come; `request` is the caller's number for it, and not in use."""
        if request in self._waiting:
            raise LocalProtocolError(f"request {request} was told before and is not answered yet")
        reports, update = self._gate.read(message)
        if isinstance(update, Response):
            return [*reports, Respond(request, update)]
        return [*reports, *self._keep(request, update, now)]

    def disconnected(self, request: int, now: float) -> list[Effect]:
        """The client of a request has gone before its answer. Its update is stored and handled all the same."""
        self._answer(request)
        return []

    # Facts about the inbox

    def opened(self, kept: Sequence[Kept], now: float, *, durable: bool, shared: bool = False) -> list[Effect]:
        """The inbox is open. kept: what was in it, waiting or running. durable: what it keeps outlasts the process.

        shared: other processes have it too.
        """
        if not isinstance(self.state, Opening):
            return []
        self._go(Serving())
        effects = self.inbox.opened(kept, now, durable=durable, shared=shared)
        self._count(now)
        return effects

    def open_failed(self, reason: str, now: float) -> list[Effect]:
        """The inbox could not be opened: the run ends."""
        if not isinstance(self.state, Opening):
            return []
        return self._refuse_all() + self._end(f"the inbox could not be opened: {reason}")

    def found(self, kept: Sequence[Kept], now: float) -> list[Effect]:
        """The inbox hands over updates, to be handled."""
        effects = self.inbox.found(kept, now)
        self._count(now)
        return effects

    def stored(self, store: int, fresh: Sequence[int], now: float) -> list[Effect]:
        """The updates of `Store` are kept; `fresh` are the ids of those that are to be handled here and now."""
        effects = self._answer_all(store, Response(200, NO_BODY))
        effects += self.inbox.stored(store, fresh, now)
        self._count(now)
        return effects + self._ended_if_drained(now)

    def store_failed(self, store: int, reason: str, now: float) -> list[Effect]:
        """None of the updates of `Store` is kept: Telegram sends them again."""
        effects = self.inbox.store_failed(store, reason, now)
        effects += self._answer_all(store, self._unavailable())
        return effects + self._ended_if_drained(now)

    def marked(self, mark: int, now: float) -> list[Effect]:
        """A `Mark` is noted."""
        effects = self.inbox.marked(mark, now)
        self._count(now)
        return effects + self._ended_if_drained(now)

    def mark_failed(self, mark: int, reason: str, now: float) -> list[Effect]:
        """A `Mark` could not be noted."""
        return self.inbox.mark_failed(mark, reason, now)

    def lost(self, reason: str, now: float) -> list[Effect]:
        """The inbox takes back what it has handed over."""
        effects = self.inbox.lost(reason, now)
        self._count(now)
        return effects + self._ended_if_drained(now)

    # Facts about handlers

    def finished(self, job: int, outcome: Outcome, now: float) -> list[Effect]:
        """The run of a handler has ended. What comes after the end of the whole run is ignored."""
        effects = self.inbox.finished(job, outcome, now)
        self._count(now, handled=True)
        return effects + self._ended_if_drained(now)

    # The clock

    def tick(self, now: float) -> list[Effect]:
        """Do what is due. Early and repeated ticks do nothing."""
        effects: list[Effect] = []
        while (due := self._first_due) is not None and due <= now:
            effects += self._late(next(iter(self._waiting)))
        effects += self.inbox.tick(now)
        self._count(now)
        if isinstance(self.state, Stopping) and self.state.until <= now:
            return effects + self._leave(now)
        return effects

    # The life of a request

    def _keep(self, request: int, update: Update, now: float) -> list[Effect]:
        self._count(now, fetched=True)
        if not isinstance(self.state, (Opening, Serving)):
            return [Respond(request, self._unavailable())]
        if self.lanes.job_of(update.update_id) is not None:
            return [Respond(request, Response(200, NO_BODY))]
        store = self._storing.get(update.update_id)
        if store is not None and len(self._arrivals[store].requests) < MAX_JOINED:
            self._attach(request, store, now)
            return []
        if store is not None or self.lanes.waiting + len(self._arrivals) > self.options.max_waiting:
            text = f"update {update.update_id} answered 503: {self.lanes.waiting} updates wait already"
            return [Report(Verdict.REQUEST_REJECTED, text, update.update_id), Respond(request, self._unavailable())]
        effect = self.inbox.store((update,))
        self._arrivals[effect.store] = Arrival(update)
        self._storing[update.update_id] = effect.store
        self._attach(request, effect.store, now)
        return [effect]

    def _attach(self, request: int, store: int, now: float) -> None:
        self._arrivals[store].requests.append(request)
        self._waiting[request] = (store, now + self.options.timeout)

    def _answer(self, request: int) -> Arrival | None:
        """A request waits no more; what it brought, if it did."""
        store, _ = self._waiting.pop(request, (None, 0.0))
        if store is None:
            return None
        arrival = self._arrivals[store]
        arrival.requests.remove(request)
        return arrival

    def _answer_all(self, store: int, response: Response) -> list[Effect]:
        """Answer what waits until an update is stored."""
        arrival = self._arrivals.pop(store, None)
        if arrival is None:
            return []
        del self._storing[arrival.update.update_id]
        for request in arrival.requests:
            del self._waiting[request]
        return [Respond(request, response) for request in arrival.requests]

    def _late(self, request: int) -> list[Effect]:
        arrival = self._answer(request)
        assert arrival is not None
        update_id = arrival.update.update_id
        text = f"update {update_id} was not stored within {self.options.timeout:g} s, and is answered 503"
        return [Report(Verdict.NOT_STORED, text, update_id), Respond(request, self._unavailable())]

    def _unavailable(self) -> Response:
        return unavailable(self.options.retry_after)

    @property
    def _first_due(self) -> float | None:
        """When the time of the oldest waiting request is up; all have the same time, so the oldest is due first."""
        return next(iter(self._waiting.values()))[1] if self._waiting else None

    @property
    def _grace_end(self) -> float | None:
        return self.state.until if isinstance(self.state, Stopping) else None

    def _count(self, now: float, *, fetched: bool = False, handled: bool = False) -> None:
        self.progress = self.progress.counted(self.lanes, now, fetched=fetched, handled=handled)

    # The end

    def _go(self, state: State) -> None:
        self.state = TABLE.move(self.state, state)

    def _ended_if_drained(self, now: float) -> list[Effect]:
        return self._leave(now) if isinstance(self.state, Stopping) and self.inbox.idle else []

    def _leave(self, now: float) -> list[Effect]:
        return self._refuse_all() + self.inbox.leave(now) + self._end(None)

    def _refuse_all(self) -> list[Effect]:
        """What was not stored yet, Telegram sends again."""
        effects: list[Effect] = [Respond(request, self._unavailable()) for request in self._waiting]
        self._waiting.clear()
        self._arrivals.clear()
        self._storing.clear()
        return effects

    def _end(self, failure: str | None) -> list[Effect]:
        self._go(Over())
        return [Ended(failure)]
