"""Long polling: getMe, deleteWebhook, then getUpdates, and what is confirmed when.

`Polling` decides which call of the Bot API comes next, when, and with which offset. It does not know HTTP nor who
handles an update: it asks for a call by `Fetch` and is told `fetched`, and hands updates out by `Handle` and is told
`finished`. One fetch is under way at a time.

With confirm="stored" what comes is first kept by the inbox (`Inbox`), and the offset follows what is kept.

The rule that keeps it right: with confirm="handled" the offset that is sent never lies past an update that was not
handled. Telegram shows at most 100 updates from the offset on, so one slow update lets at most 99 later ones be seen
until it ends; there is no way to look further without confirming it (telegram-server.md, 2.2).

While updates are held, Telegram answers each getUpdates at once with what is known already. So a poll with the offset
of the one before follows it by PACE at least: more than the 0.5 s in which a repeated offset has its limit cut to 1
(telegram-server.md, 2.3), and less than a second, in which new updates are to be seen. One with a new offset, which
confirms something, follows by MOVING_PACE.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from random import Random
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from attrs import evolve, frozen

from hookline import codec
from hookline.backoff import Backoff
from hookline.effects import Abandon, Effect, Ended, Fetch, Kept, Log, Open, Report, Verdict
from hookline.errors import LocalProtocolError
from hookline.lanes import Lanes
from hookline.objects import User, structure
from hookline.options import PollingOptions
from hookline.outcomes import Cancelled, FetchOutcome, Outcome, Raised, Refused, Result, Unreachable
from hookline.progress import Progress
from hookline.states import StateTable
from hookline.timers import earliest
from hookline.updates import Lane, Update, named, read_update

if TYPE_CHECKING:
    from hookline.inbox import Inbox

PACE: Final = 0.75
MOVING_PACE: Final = 0.1
READ_MARGIN: Final = 10.0
"""An answer to a long poll is awaited for its timeout and this long; a call at the start just as long."""
CONFLICT_WAIT: Final = 3.0
"""Telegram spaces its 409s by 3.0 s (telegram-server.md, 2.5)."""
CONFIRM_TIMEOUT: Final = 5.0
REPEATED_CONFIRM_TIMEOUT: Final = 1.0
HELD_BACK_AFTER: Final = 60.0
STALE_AFTER: Final = 30.0
"""Polling is unhealthy when getUpdates has not succeeded for its timeout, its read margin and this long."""
MOST_UPDATES: Final = 100
"""The Bot API's greatest `limit`."""


class Step(Enum):
    """The call that is made next: the two of the start in turn, then getUpdates for ever."""

    GET_ME = "getMe"
    DELETE_WEBHOOK = "deleteWebhook"
    GET_UPDATES = "getUpdates"


class Wait(Enum):
    """Why no fetch is under way: the reason that `deadline` has."""

    BACKOFF = "a failed call is tried again"
    CONFLICT = "another poller is waited out"
    FLOOD = "Telegram asked to wait"
    PACE = "updates are held; polls are spaced"
    STORE = "the inbox could not keep what came; it is fetched again"


@frozen
class Idle:
    """Not started."""


@frozen
class Opening:
    """The inbox is being opened."""


@frozen
class Storing:
    """What came is being stored. offset: the next to send, when it is."""

    store: int
    offset: int


@frozen
class Fetching:
    """One call is under way. until: when its answer is overdue."""

    fetch: int
    until: float


@frozen
class Pausing:
    """The next call waits for its time."""

    until: float
    reason: Wait


@frozen
class Full:
    """Nothing to fetch until a handler has ended. until: when an update that holds all back is reported, or None."""

    until: float | None


@frozen
class Draining:
    """A stop: handlers get their grace time, and what came is still stored.

    confirm: whether Telegram can still be told what was handled.
    """

    until: float
    confirm: bool
    failure: str | None
    storing: Storing | None = None


@frozen
class Confirming:
    """A stop: the last getUpdates, for its offset alone. repeated: a poll before it said the same offset."""

    fetch: int
    until: float
    repeated: bool
    failure: str | None


@frozen
class Over:
    """The run has ended."""


State: TypeAlias = "Idle | Opening | Fetching | Storing | Pausing | Full | Draining | Confirming | Over"

TABLE = StateTable(
    "Polling",
    {
        Idle: (Fetching, Over),
        Opening: (Fetching, Over),
        Fetching: (Fetching, Opening, Storing, Pausing, Full, Draining),
        Storing: (Fetching, Pausing, Full, Draining),
        Pausing: (Fetching, Pausing, Full, Draining),
        Full: (Fetching, Pausing, Full, Draining),
        Draining: (Draining, Confirming, Over),
        Confirming: (Over,),
        Over: (),
    },
)


class Polling:
    """The machine of long polling. Facts: `fetched`, `finished`; commands: `start`, `stop`; the clock: `tick`.

    1. Every input is a fact or a command and takes `now`, a monotonic clock's seconds, last.
    2. State is settled before a method returns; the effects are finished, and carried out in order.
    3. Effects are plain values. `Fetch` is answered by `fetched`, `Handle` by `finished`.
    4. `deadline` says when `tick` has something to do, and `reason` why; after `tick(now)` it lies later than `now`.
    5. Nothing that Telegram sends raises. 6. Wrong use raises LocalProtocolError and changes nothing.
    7. No clock, randomness or I/O inside: the seed is an argument. 8. Copied or pickled between calls, it goes on.
    """

    def __init__(self, options: PollingOptions | None = None, *, seed: int = 0, lane: Lane | None = None) -> None:
        self.options = options or PollingOptions()
        self.inbox: Inbox | None = None
        if self.options.confirm == "stored":
            from hookline.inbox import Inbox  # few need it, and it takes time to load

            options = self.options
            self.inbox = Inbox(concurrency=options.concurrency, max_attempts=options.max_attempts, seed=seed)
        self.lanes = Lanes(self.options.concurrency) if self.inbox is None else self.inbox.lanes
        self.state: State = Idle()
        self._me: User | None = None
        self._started_at = 0.0
        self._last_fetched: float | None = None
        self._last_handled: float | None = None
        self._lane = lane
        self._random = Random(seed)
        self._backoff = Backoff()
        self._step = Step.GET_ME
        self._next_fetch = 1
        self._offset: int | None = None  # the next to send: everything below it is handled (or received)
        self._window: dict[int, bool] = {}  # ids from the offset on, ascending, and whether each is handled
        self._sent: tuple[int | None, float] | None = None  # offset and time of the last getUpdates
        self._confirmed: int | None = None  # Telegram holds nothing below it: only a later offset confirms something
        self._set_aside: set[bytes] = set()  # what was no update in the last batch, so that it is reported once
        self._conflict: tuple[float, float] | None = None  # the first and the last 409 of a conflict
        self._held_back: int | None = None  # the update that was last reported as holding back all others

    # Reading

    @property
    def deadline(self) -> float | None:
        """The earliest time at which `tick` has something to do."""
        if self.inbox is None:
            return self._until
        return earliest(self.inbox.deadline, self._until)

    @property
    def progress(self) -> Progress:
        """How the run gets on."""
        return Progress(self._me, self._last_fetched, self._last_handled, self.lanes.waiting, self.lanes.running)

    @property
    def _until(self) -> float | None:
        """The end of what the state waits for."""
        state = self.state
        return state.until if isinstance(state, (Fetching, Pausing, Full, Draining, Confirming)) else None

    @property
    def reason(self) -> str:
        """Why there is a deadline, in words."""
        state = self.state
        if self.deadline is not None and self.deadline != self._until:
            return "an update is tried again, or the inbox is told again"
        if isinstance(state, Pausing):
            return state.reason.value
        return {
            Fetching: f"the answer to {self._step.value} is overdue",
            Full: "an update holds back all others",
            Draining: "the grace time of running handlers ends",
            Confirming: "the answer to the last getUpdates is overdue",
        }.get(type(state), "nothing is awaited")

    def healthy(self, now: float) -> bool:
        """Whether news would be heard of: Telegram answers, and the inbox, if there is one, can keep what comes.

        Nothing is heard while nothing is asked for: all lanes are busy, or a slow one holds newer updates back, or an
        inbox, which lets polls go on whatever runs, has no room.
        """
        if isinstance(self.state, Opening):  # then another polls, and this stands by
            return True
        if self.inbox is not None and self.inbox.failing:
            return False
        if isinstance(self.state, Full) or (self.inbox is None and self.lanes.free == 0):
            return True
        heard = self._started_at if self._last_fetched is None else self._last_fetched
        return now - heard <= self.options.timeout + READ_MARGIN + STALE_AFTER

    # Commands

    def start(self, now: float) -> list[Effect]:
        """Begin the run."""
        if not isinstance(self.state, Idle):
            raise LocalProtocolError("start: this run was started before")
        self._started_at = now
        return self._proceed(now)

    def stop(self, now: float) -> list[Effect]:
        """End the run: no new work, running handlers get their grace time, what was handled is confirmed.

        Updates that wait stay with Telegram (with confirm="received", which has them no more, they are still handled).
        A second stop ends the grace time at once.
        """
        if isinstance(self.state, Draining):
            self._go(evolve(self.state, until=min(self.state.until, now)))
            return self.tick(now)
        if isinstance(self.state, (Confirming, Over)):
            return []
        if isinstance(self.state, (Idle, Opening)):
            return self._end(None)
        return self._abandon() + self._wind_up(None, confirm=True, now=now)

    # Facts

    def fetched(self, fetch: int, outcome: FetchOutcome, now: float) -> list[Effect]:
        """The answer to `Fetch`. That to a fetch which was abandoned is ignored."""
        if not 0 < fetch < self._next_fetch:
            raise LocalProtocolError(f"fetched: fetch {fetch} was never asked for")
        state = self.state
        if not isinstance(state, (Fetching, Confirming)) or state.fetch != fetch:
            return []
        if isinstance(state, Confirming):
            return self._confirmed_last(state, outcome, now)
        if isinstance(outcome, Result):
            return self._succeeded(outcome.value, now)
        if isinstance(outcome, Refused):
            return self._refused(outcome, now)
        return self._unreachable(outcome, now)

    def finished(self, job: int, outcome: Outcome, now: float) -> list[Effect]:
        """The run of a handler has ended. What comes after the end of the whole run is ignored."""
        if isinstance(self.state, (Confirming, Over)):
            return []
        if self.inbox is not None:
            effects = self.inbox.finished(job, outcome, now)
            self._last_handled = now
            return effects + self._inbox_moved(now)
        ended = self.lanes.job(job)
        if ended.started is None:
            raise LocalProtocolError(f"job {job} was told as finished before it was asked for")
        update = ended.update
        effects = []
        handled = True
        stopping = isinstance(self.state, Draining)
        if isinstance(outcome, Raised):
            text = f"the handler of update {update.update_id} ({update.kind or 'empty'}) raised {outcome.summary}"
            effects.append(Report(Verdict.HANDLER_FAILED, text, update.update_id, outcome.traceback))
            handled = self.options.on_error == "pass"
        elif isinstance(outcome, Cancelled):
            # At a stop Telegram sends it again. A handler that cancels itself must not stand in the way of the rest.
            handled = not stopping
        if handled:
            self._handled(update.update_id)
        elif not stopping:
            # Before its lane is free, so that nothing new begins.
            text = f"on_error is 'stop', and the handler of update {update.update_id} raised"
            if self.options.confirm == "handled":
                text += "; it stays unconfirmed"
            effects += self._abandon() + self._wind_up(text, confirm=True, now=now)
        effects += self.lanes.finished(job, now)
        self._last_handled = now
        if isinstance(self.state, Draining):
            return effects + self._drained(now)
        if self._waits_for_room():
            effects += self._proceed(now)
        return effects

    # Facts about the inbox, with confirm="stored"

    def opened(self, kept: Sequence[Kept], now: float, *, durable: bool, shared: bool = False) -> list[Effect]:
        """The inbox is open. kept: what was in it, waiting or running. durable: what it keeps outlasts the process.

        shared: other processes have it too; no other of them polls.
        """
        inbox = self._inbox("opened")
        if not isinstance(self.state, Opening):
            return []
        return inbox.opened(kept, now, durable=durable, shared=shared) + self._proceed(now)

    def open_failed(self, reason: str, now: float) -> list[Effect]:
        """The inbox could not be opened: the run ends."""
        self._inbox("open_failed")
        return self._end(f"the inbox could not be opened: {reason}") if isinstance(self.state, Opening) else []

    def found(self, kept: Sequence[Kept], now: float) -> list[Effect]:
        """The inbox hands over updates, to be handled."""
        return self._inbox("found").found(kept, now)

    def stored(self, store: int, fresh: Sequence[int], now: float) -> list[Effect]:
        """The updates of `Store` are kept; `fresh` are the ids of those that are to be handled here and now."""
        effects = self._inbox("stored").stored(store, fresh, now)
        state = self.state
        if isinstance(state, Storing) and state.store == store:
            self._offset = state.offset
            self._backoff.reset()
            return effects + self._proceed(now)
        if isinstance(state, Draining) and state.storing is not None and state.storing.store == store:
            self._offset = state.storing.offset
            self._go(evolve(state, storing=None))
        return effects + self._inbox_moved(now)

    def store_failed(self, store: int, reason: str, now: float) -> list[Effect]:
        """None of the updates of `Store` is kept: they stay with Telegram, and are fetched again."""
        effects = self._inbox("store_failed").store_failed(store, reason, now)
        state = self.state
        if isinstance(state, Storing) and state.store == store:
            self._go(Pausing(now + self._backoff.next(self._random), Wait.STORE))
        elif isinstance(state, Draining) and state.storing is not None and state.storing.store == store:
            self._go(evolve(state, storing=None))
        return effects + self._inbox_moved(now)

    def marked(self, mark: int, now: float) -> list[Effect]:
        """A `Mark` is noted."""
        return self._inbox("marked").marked(mark, now) + self._inbox_moved(now)

    def mark_failed(self, mark: int, reason: str, now: float) -> list[Effect]:
        """A `Mark` could not be noted."""
        return self._inbox("mark_failed").mark_failed(mark, reason, now)

    def lost(self, reason: str, now: float) -> list[Effect]:
        """The inbox takes back what it has handed over, and with it the right to poll: the run ends."""
        effects = self._inbox("lost").lost(reason, now)
        if isinstance(self.state, Draining):
            self._go(evolve(self.state, confirm=False))
            return effects + self._drained(now)
        if isinstance(self.state, (Idle, Opening, Confirming, Over)):
            return effects
        text = f"another process may poll for this bot by now, so this one ends: {reason}"
        return effects + self._abandon() + self._wind_up(text, confirm=False, now=now)

    # The clock

    def tick(self, now: float) -> list[Effect]:
        """Do what is due. Early and repeated ticks do nothing."""
        effects: list[Effect] = []
        if self.inbox is not None and (effects := self.inbox.tick(now)):
            effects += self._inbox_moved(now)
        state, until = self.state, self._until
        if until is None or now < until:
            return effects
        return effects + self._time_is_up(state, now)

    def _time_is_up(self, state: State, now: float) -> list[Effect]:
        if isinstance(state, Fetching):
            waited = f"no answer within {self._timeout(self._step):g} s"
            return [Abandon(state.fetch), *self._unreachable(Unreachable(waited), now)]
        if isinstance(state, Pausing):
            return self._proceed(now)
        if isinstance(state, Full):
            return self._report_held_back(now)
        if isinstance(state, Draining):
            return self._out_of_grace(state, now)
        assert isinstance(state, Confirming)
        late = Unreachable(f"no answer within {CONFIRM_TIMEOUT:g} s")
        return [Abandon(state.fetch), *self._confirmed_last(state, late, now)]

    # What comes next

    def _go(self, state: State) -> None:
        self.state = TABLE.move(self.state, state)

    def _proceed(self, now: float) -> list[Effect]:
        """Make the next call, now or when its time comes."""
        if self._step is not Step.GET_UPDATES:
            return [self._fetch(self._step, self._timeout(self._step), now)]
        offset = self._next_offset()
        if not self._wants_updates(offset):
            self._go(Full(self._held_back_at(now)))
            return []
        if self._sent is not None:
            not_before = self._sent[1] + self._spacing(offset)
            if now < not_before:
                if not (isinstance(self.state, Pausing) and self.state.until == not_before):
                    self._go(Pausing(not_before, Wait.PACE))
                return []
        self._sent = (offset, now)
        return [self._fetch(Step.GET_UPDATES, self._timeout(Step.GET_UPDATES), now)]

    def _spacing(self, offset: int | None) -> float:
        """Seconds from one getUpdates to the next."""
        if self._set_aside or (self._sent is not None and offset == self._sent[0]):
            return PACE
        return MOVING_PACE if self._window else 0.0

    def _timeout(self, step: Step) -> float:
        return READ_MARGIN + (self.options.timeout if step is Step.GET_UPDATES else 0)

    def _fetch(self, step: Step, timeout: float, now: float) -> Fetch:
        params: dict[str, Any] = {}
        if step is Step.DELETE_WEBHOOK and self.options.drop_pending_updates:
            params["drop_pending_updates"] = True
        elif step is Step.GET_UPDATES:
            offset = self._next_offset()
            # What is no update has no id to step over it by: it must not fill all of a small answer for ever.
            limit = MOST_UPDATES if self._set_aside else self.options.limit
            params = {"limit": limit, "timeout": self.options.timeout}
            if offset is not None:
                params["offset"] = offset
            if self.options.allowed_updates is not None:
                params["allowed_updates"] = list(self.options.allowed_updates)
        fetch = self._new_fetch()
        self._go(Fetching(fetch, now + timeout))
        return Fetch(fetch, step.value, params, timeout)

    def _new_fetch(self) -> int:
        self._next_fetch += 1
        return self._next_fetch - 1

    def _next_offset(self) -> int | None:
        """Past all that is handled without a gap: the Bot API's `offset` of the next getUpdates."""
        while self._window:
            oldest = next(iter(self._window))
            if not self._window[oldest]:
                self._offset = oldest
                break
            del self._window[oldest]
            self._offset = oldest + 1
        return self._offset

    def _wants_updates(self, offset: int | None) -> bool:
        """Whether a poll could bring what can be used, or confirms something."""
        if self.options.confirm == "stored":
            return self.lanes.waiting < self.options.max_waiting
        if self.options.confirm == "received":
            return self.lanes.waiting < self.options.limit
        if self._confirms(offset):
            return True
        # Lanes that wait while slots are free wait for their own chats: others may have news.
        return not self._window or (self.lanes.free > 0 and len(self._window) < self.options.limit)

    def _confirms(self, offset: int | None) -> bool:
        return offset is not None and (self._confirmed is None or offset > self._confirmed)

    def _waits_for_room(self) -> bool:
        return isinstance(self.state, Full) or (isinstance(self.state, Pausing) and self.state.reason is Wait.PACE)

    # Answers

    def _succeeded(self, value: Any, now: float) -> list[Effect]:
        if self._step is Step.GET_ME:
            try:
                bot = structure(value, User)
            except ValueError as error:
                return self._unreachable(Unreachable(f"the result is {error}"), now)
            self._me = bot
            self._step = Step.DELETE_WEBHOOK
            effects: list[Effect] = [Log(f"polling as @{bot.username or bot.id}")]
            if self.inbox is not None:
                # What is in it is handled when Telegram is known to be there; and who stands by changes nothing there.
                self._backoff.reset()
                self._go(Opening())
                return [*effects, Open()]
        elif self._step is Step.DELETE_WEBHOOK:
            self._step = Step.GET_UPDATES
            effects = []
        elif isinstance(value, list):
            self._conflict_may_be_over(now)
            self._last_fetched = now
            self._confirmed = self._sent[0] if self._sent else None
            effects = self._take(value, now)
        else:
            return self._unreachable(Unreachable("the result is not a list of updates"), now)
        if isinstance(self.state, Storing):
            return effects
        self._backoff.reset()
        return effects + self._proceed(now)

    def _take(self, batch: list[Any], now: float) -> list[Effect]:
        """Hand out what is new in an answer; each element stands for itself."""
        effects: list[Effect] = []
        updates: list[Update] = []
        strangers: set[bytes] = set()
        for raw in batch:
            update = self._read(raw, effects)
            if isinstance(update, Update):
                updates.append(update)
                continue
            stranger = _as_text(raw)
            strangers.add(stranger)
            if stranger not in self._set_aside:
                text = f"an element of getUpdates is no update and is passed over: {update}"
                effects.append(Report(Verdict.NOT_AN_UPDATE, text, raw=raw))
        updates.sort(key=lambda update: update.update_id)
        self._set_aside = strangers
        if updates and self._sent and self._sent[0] is not None and updates[0].update_id < self._sent[0]:
            # Telegram began a new range of ids (telegram-server.md, 1.1): the old one no longer moves the offset.
            effects.append(Log(f"update ids went down from {self._sent[0]} to {updates[0].update_id}"))
            self._window.clear()
            self._confirmed = None
        if updates and not strangers:
            self._confirmed = updates[0].update_id
        if updates and self.inbox is not None:
            return effects + self._store(updates, self.inbox, now)
        for update in updates:
            if self._is_held(update.update_id):
                continue
            if self.options.confirm == "handled":
                self._window[update.update_id] = False
            else:
                self._offset = update.update_id + 1
            effects += self.lanes.add(update, now)[1]
        if self._window:
            self._window = dict(sorted(self._window.items()))
        if strangers and not updates and not self._window and self._offset is not None:
            # Only strangers from the offset on, and no id to confirm them by: step over the next id. Whatever is
            # there is what was set aside, since Telegram sends ids in ascending order and gives new ones higher up.
            self._offset += 1
        return effects

    def _store(self, updates: list[Update], inbox: Inbox, now: float) -> list[Effect]:
        """Have a batch stored; it is confirmed when that is done."""
        store = inbox.store([update for update in updates if not self._is_held(update.update_id)])
        self._go(Storing(store.store, updates[-1].update_id + 1))
        return [store]

    def _inbox(self, fact: str) -> Inbox:
        if self.inbox is None:
            raise LocalProtocolError(f"{fact}: there is no inbox without confirm='stored'")
        return self.inbox

    def _inbox_moved(self, now: float) -> list[Effect]:
        """Go on, if what became of an update makes room, or was the last that a stop waited for."""
        if isinstance(self.state, Draining):
            return self._drained(now)
        if self._waits_for_room():
            return self._proceed(now)
        return []

    def _read(self, raw: Any, effects: list[Effect]) -> Update | str:
        try:
            return read_update(raw, self._lane)
        except Exception as error:  # the program's own lane function: anything may come out of it
            update = read_update(raw)
            if isinstance(update, Update) and not self._is_held(update.update_id):
                text = f"lane= raised {type(error).__name__}: {error}; the update keeps its default lane"
                effects.append(Report(Verdict.POLICY_FAILED, text, update.update_id))
            return update

    def _is_held(self, update_id: int) -> bool:
        return update_id in self._window or self.lanes.job_of(update_id) is not None

    def _refused(self, refusal: Refused, now: float) -> list[Effect]:
        said = f"{self._step.value}: {refusal.code} {refusal.description}"
        if refusal.code in (401, 404) or (refusal.code == 400 and "logged out" in refusal.description.lower()):
            return self._wind_up(f"Telegram does not accept the token ({said}); check it", confirm=False, now=now)
        if refusal.code == 409 and "webhook is active" in refusal.description:
            cure = "a webhook is set for this bot, so it cannot poll; delete it (deleteWebhook), or serve the webhook"
            return self._wind_up(f"{cure} ({said})", confirm=False, now=now)
        if refusal.code == 409:
            return self._in_conflict(said, now)
        if refusal.code == 429:
            wait = max(refusal.retry_after or 0.0, 1.0)
            self._go(Pausing(now + wait, Wait.FLOOD))
            return [Report(Verdict.FLOOD, f"{said}; tried again in {wait:g} s")]
        return self._unreachable(Unreachable(f"{refusal.code} {refusal.description}", refusal.code), now)

    def _in_conflict(self, said: str, now: float) -> list[Effect]:
        self._conflict_may_be_over(now)
        first = self._conflict[0] if self._conflict else now
        self._conflict = (first, now)
        if now - first >= self.options.conflict_grace:
            text = f"another poller of this bot did not go away within {self.options.conflict_grace:g} s"
            return self._wind_up(f"{text}: run one poller per token ({said})", confirm=True, now=now)
        self._go(Pausing(now + CONFLICT_WAIT + self._random.random(), Wait.CONFLICT))
        left = self.options.conflict_grace - (now - first)
        waited = f"another poller is waited out for {left:.0f} s more"
        if "setWebhook" in said:
            waited = "the run ends if that webhook stays"
        return [Report(Verdict.CONFLICT, f"{said}; {waited}")]

    def _conflict_may_be_over(self, now: float) -> None:
        # Two pollers end each other's polls in turn, and each gets answers in between: one answer proves nothing.
        if self._conflict and now - self._conflict[1] > self.options.timeout + READ_MARGIN:
            self._conflict = None

    def _unreachable(self, failure: Unreachable, now: float) -> list[Effect]:
        if self._step is Step.GET_ME and failure.status in (401, 404):
            text = f"getMe: {failure.reason}; check the token and the address of the Bot API"
            return self._wind_up(text, confirm=False, now=now)
        wait = self._backoff.next(self._random)
        self._go(Pausing(now + wait, Wait.BACKOFF))
        return [Report(Verdict.UNREACHABLE, f"{self._step.value}: {failure.reason}; tried again in {wait:.1f} s")]

    # Handled updates

    def _handled(self, update_id: int) -> None:
        if update_id in self._window:
            self._window[update_id] = True

    def _held_back_at(self, now: float) -> float | None:
        """When an update that keeps free lanes from newer updates is reported."""
        if self.options.confirm != "handled" or self.lanes.free == 0 or self._held_back == self._offset:
            return None
        return now + HELD_BACK_AFTER

    def _report_held_back(self, now: float) -> list[Effect]:
        self._held_back = self._offset
        self._go(Full(None))
        text = (
            f"update {self._offset} is still being handled; Telegram shows no more than {self.options.limit} updates "
            "past an unconfirmed one, so newer ones wait for it (make its handler shorter, or confirm='received')"
        )
        return [Report(Verdict.HELD_BACK, text, self._offset)]

    # The end

    def _abandon(self) -> list[Effect]:
        return [Abandon(self.state.fetch)] if isinstance(self.state, Fetching) else []

    def _wind_up(self, failure: str | None, *, confirm: bool, now: float) -> list[Effect]:
        waiting = "left to Telegram" if self.options.confirm == "handled" else "still to be handled"
        if self.inbox is not None and self.inbox.durable:
            waiting = "left in the inbox"
        effects: list[Effect] = [*self.lanes.last_work(self.options.grace, waiting)]
        if self.inbox is not None:
            effects += self.inbox.stop(now)
        elif self.options.confirm == "handled":
            for job in self.lanes.jobs():
                if job.started is None:
                    effects += self.lanes.cancel(job.number, now)
        storing = self.state if isinstance(self.state, Storing) else None
        self._go(Draining(now + self.options.grace, confirm, failure, storing))
        return effects + self._drained(now)

    def _drained(self, now: float) -> list[Effect]:
        assert isinstance(self.state, Draining)
        if self.inbox is not None and self.inbox.idle:
            return self._out_of_grace(self.state, now)
        if self.inbox is not None or self.lanes.running or self.lanes.waiting:
            return []
        return self._confirm_last(self.state, now)

    def _out_of_grace(self, state: Draining, now: float) -> list[Effect]:
        if self.inbox is not None:
            return self.inbox.leave(now) + self._confirm_last(state, now)
        effects: list[Effect] = []
        left: list[int] = []
        for job in self.lanes.jobs():
            if self.options.confirm == "received":
                text = f"update {job.update.update_id} was not handled before the stop; it was confirmed, so it is lost"
                effects.append(Report(Verdict.LOST, text, job.update.update_id, job.update.raw))
            if job.started is not None:
                left.append(job.update.update_id)
                effects += self.lanes.cancel(job.number, now)
        if left and self.options.confirm == "handled":
            text = f"handlers that did not end within the grace time: {len(left)}; Telegram sends {named(left)} again"
            effects.append(Log(text))
        return effects + self._confirm_last(state, now)

    def _confirm_last(self, state: Draining, now: float) -> list[Effect]:
        offset = self._next_offset()
        effects: list[Effect] = []
        repeated = [update_id for update_id, handled in self._window.items() if handled]
        if repeated:
            text = f"updates that were handled and come again: {len(repeated)} ({named(repeated)})"
            effects.append(Log(f"{text}; update {self._offset}, which came before them, was not handled"))
        if not state.confirm or not self._confirms(offset):
            return effects + self._end(state.failure)
        fetch = self._new_fetch()
        # Telegram holds a poll that repeats an offset for up to 3 s (telegram-server.md, 2.3), but has it by then.
        said = self._sent is not None and offset == self._sent[0]
        timeout = REPEATED_CONFIRM_TIMEOUT if said else CONFIRM_TIMEOUT
        self._go(Confirming(fetch, now + timeout, said, state.failure))
        return [*effects, Fetch(fetch, "getUpdates", {"offset": offset, "limit": 1, "timeout": 0}, timeout)]

    def _confirmed_last(self, state: Confirming, outcome: FetchOutcome, now: float) -> list[Effect]:
        effects: list[Effect] = []
        if not isinstance(outcome, Result) and not state.repeated:
            said = f"{outcome.code} {outcome.description}" if isinstance(outcome, Refused) else outcome.reason
            text = f"what was handled last could not be confirmed, so Telegram may send it again: getUpdates: {said}"
            effects.append(Report(Verdict.UNREACHABLE, text))
        return effects + self._end(state.failure)

    def _end(self, failure: str | None) -> list[Effect]:
        self._go(Over())
        return [Ended(failure)]


def _as_text(raw: Any) -> bytes:
    """By which an element that is no update is known again; all that no JSON can say are taken for one."""
    try:
        return codec.encode(raw)
    except (TypeError, ValueError):
        return b""
