"""What happened in a recorded run, as events that a person thinks in: requests, answers, polls, runs, calls.

The trace is played again on a bot of which it is seen what passes between its parts. After the first input of which
something else comes than was recorded, nothing more is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from attrs import evolve, field, frozen

from hookline import codec
from hookline.bot import BetweenParts, Bot, Owner, Part
from hookline.botapi import decode_answer
from hookline.effects import Abandon, Cancel, Effect, Ended, Fetch, Handle, Report, Resolve, Respond, Throw
from hookline.http import Request, Response, body_bytes
from hookline.lanes import Lanes
from hookline.outcomes import REPLIED, CallOutcome, Outcome, Refused, Result, Unreachable
from hookline.pool import Answered, PoolEffect
from hookline.server import Asked, Gone, Requested, ServerEffect
from hookline.trace.reader import Trace
from hookline.trace.replay import Difference, Replay, Step
from hookline.updates import LaneKey, Update, read_update

Fate: TypeAlias = "Literal['begins', 'waits', 'joins', 'answered']"


@frozen
class _Happened:
    """When something happened, in seconds since the start, and in which lane; None for what is of the whole bot."""

    at: float
    lane: LaneKey | None


@frozen
class RequestCame(_Happened):
    """A webhook's request. update: None if it is none. number: how often this update has come by now.

    fate: what became of it at first; "answered" if its answer came at once.
    """

    request: int
    update: Update | None
    number: int
    fate: Fate


@frozen
class RequestAnswered(_Happened):
    """The answer to a webhook's request. status: None if its client had gone before."""

    request: int
    update: Update | None
    status: int | None
    after: float


@frozen
class Rejected(_Happened):
    """A request that was answered by its head alone: a stranger's, or a health check."""

    said: str
    status: int


@frozen
class Polled(_Happened):
    """getUpdates was called, with this offset."""

    offset: int | None


@frozen
class PollAnswered(_Happened):
    """What getUpdates brought: ids of updates, or a problem in words. again: how many the answer before had, too."""

    updates: tuple[int, ...]
    again: int
    problem: str | None = None


@frozen
class Called(_Happened):
    """A method of the Bot API was called, in a lane by the run of a handler.

    said: how it ended, in words, or None if it did not. after: in how many seconds. replied: whether it travelled in a
        response.
    """

    method: str
    said: str | None = None
    good: bool = True
    after: float = 0.0
    replied: bool = False


@frozen
class Queued(_Happened):
    """An update waits for its turn."""

    job: int
    update: Update


@frozen
class RunBegan(_Happened):
    """A run of the handler began."""

    job: int
    update: Update


@frozen
class RunEnded(_Happened):
    """A run of the handler ended. outcome: None for an update that had only waited, and was forgotten."""

    job: int
    update: Update
    outcome: Outcome | None
    after: float


@frozen
class RunCancelled(_Happened):
    """A run is to be cancelled."""

    job: int
    update: Update


@frozen
class Reported(_Happened):
    """The bot reported something."""

    report: Report


@frozen
class Stopped(_Happened):
    """A stop was asked for."""


@frozen
class Over(_Happened):
    """The run has ended."""

    failure: str | None


Event: TypeAlias = (
    "RequestCame | RequestAnswered | Rejected | Polled | PollAnswered | Called "
    "| Queued | RunBegan | RunEnded | RunCancelled | Reported | Stopped | Over"
)

ORDER = (RunEnded, Stopped, Called, RequestCame, Rejected, PollAnswered, RequestAnswered, RunBegan, Queued, Reported)
"""In which order people read what happened in one moment; the rest comes last."""


@frozen
class Story:
    """A run, told. end: the time of its last input. difference: why the story breaks off, if it does."""

    events: tuple[Event, ...]
    end: float
    difference: Difference | None


def tell(trace: Trace) -> Story:
    """The story of a recorded run."""
    return _Teller(trace).tell()


@frozen
class _Passed:
    """What passed between parts, and what came of it.

    owner: whose request of the pool an answer is to. update: the one that a request is. job: that in which this update
    was already. rejection: the answer that a request's head alone earns.
    """

    part: Part
    effect: BetweenParts
    owner: tuple[Owner, int] | None = None
    update: Update | None = None
    job: int | None = None
    rejection: Response | None = None
    came: list[PoolEffect | ServerEffect] = field(factory=list)


class _WatchedBot(Bot):
    """A bot of which it is seen what passes between its parts."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.passed: list[_Passed] = []

    @property
    def lanes(self) -> Lanes | None:
        """The lanes of its source."""
        source = self._polling or self._webhook
        return None if source is None else source.lanes

    def _pass_on(
        self, part: Part, effect: BetweenParts, now: float
    ) -> tuple[Part, Sequence[PoolEffect | ServerEffect]]:
        passed = self._look_at(part, effect, now)
        self.passed.append(passed)
        target, effects = super()._pass_on(part, effect, now)
        passed.came.extend(effects)
        return target, effects

    def _look_at(self, part: Part, effect: BetweenParts, now: float) -> _Passed:
        if isinstance(effect, Answered):
            return _Passed(part, effect, owner=self._fetches.get(effect.fetch))
        if isinstance(effect, Asked):
            return _Passed(part, effect, rejection=self.screen(effect.message, now))
        if isinstance(effect, Requested):
            update = _update_in(effect.message)
            job = None if update is None or self.lanes is None else self.lanes.job_of(update.update_id)
            return _Passed(part, effect, update=update, job=job, rejection=self.screen(effect.message, now))
        return _Passed(part, effect)


class _Teller:
    """Goes through a replay, and keeps what an event's end must know of its beginning."""

    def __init__(self, trace: Trace) -> None:
        self._replay = Replay(trace, _WatchedBot)
        self._events: list[Event] = []
        self._moment: list[Event] = []  # the events of the input that is being told
        self._numbers: Counter[int] = Counter()  # by update id: how often it came
        self._requests: dict[int, RequestCame] = {}
        self._runs: dict[int, Queued | RunBegan] = {}
        self._lanes: dict[int, LaneKey] = {}  # by update id
        self._polls: set[int] = set()
        self._shown: set[int] = set()  # the ids in the last answer to a poll
        self._calls: dict[tuple[str, int], Called] = {}  # by whose they are, and their number

    def tell(self) -> Story:
        """The whole story."""
        now, difference = 0.0, None
        for step in self._replay:
            now = now if step.input.now is None else step.input.now
            difference = step.difference
            if difference is None and step.input.raised is None:
                self._tell_step(step, now)
        return Story(tuple(self._events), now, difference)

    def _tell_step(self, step: Step, now: float) -> None:
        bot = self._replay.bot
        assert isinstance(bot, _WatchedBot)
        if bot.lanes is not None:
            self._lanes |= {job.update.update_id: job.update.lane for job in bot.lanes.jobs()}
        self._tell_input(step.input.method, step.input.arguments or {}, now)
        for passed in bot.passed:
            self._tell_passed(passed, now)
        bot.passed.clear()
        for effect in step.effects:
            self._tell_effect(effect, now)
        if bot.lanes is not None:
            self._tell_queue(bot.lanes, now)
        places = {kind: place for place, kind in enumerate(ORDER)}
        self._events += sorted(self._moment, key=lambda event: places.get(type(event), len(places)))
        self._moment.clear()

    def _tell_input(self, method: str, arguments: Mapping[str, Any], now: float) -> None:
        if method == "stop":
            self._moment.append(Stopped(now, None))
        elif method == "finished" and arguments["job"] in self._runs:
            run = self._runs.pop(arguments["job"])
            self._moment.append(RunEnded(now, run.lane, run.job, run.update, arguments["outcome"], now - run.at))
        elif method == "call":
            caller = self._runs.get(arguments.get("job") or 0)
            lane = None if caller is None else caller.lane
            self._call("call", arguments["call"], arguments["method"], lane, now)
        elif method == "download":
            self._call("call", arguments["call"], "a download", None, now)
        elif method == "cancel":
            self._end_call("call", arguments["call"], "cancelled", good=False, now=now)

    # What passes between the parts

    def _tell_passed(self, passed: _Passed, now: float) -> None:
        effect = passed.effect
        if isinstance(effect, (Asked, Requested)) and passed.rejection is not None:
            said = f"{effect.message.method} {effect.message.target}"
            self._moment.append(Rejected(now, None, said, passed.rejection.status))
        elif isinstance(effect, Requested):
            self._tell_request(effect.request, passed, now)
        elif isinstance(effect, (Respond, Throw)):
            self._answer(effect.request, effect.response.status if isinstance(effect, Respond) else 500, now)
        elif isinstance(effect, Gone):
            self._answer(effect.request, None, now)
        elif isinstance(effect, Fetch) and passed.part != "calls":
            if effect.method == "getUpdates":
                self._polls.add(effect.fetch)
                self._moment.append(Polled(now, None, effect.params.get("offset")))
            else:
                self._call(passed.part, effect.fetch, effect.method, None, now)
        elif isinstance(effect, Abandon) and passed.part == "polling" and effect.fetch in self._polls:
            self._polls.discard(effect.fetch)
        elif isinstance(effect, Abandon):
            self._end_call(passed.part, effect.fetch, "given up", good=False, now=now)
        elif isinstance(effect, Answered) and passed.owner is not None:
            self._end_fetch(passed.owner, _outcome_in(effect.response), now)

    def _tell_request(self, request: int, passed: _Passed, now: float) -> None:
        update = passed.update
        fate: Fate = "waits"
        if any(isinstance(effect, (Respond, Throw)) and effect.request == request for effect in passed.came):
            fate = "answered"
        elif passed.job is not None:
            fate = "joins"
        elif any(isinstance(effect, Handle) for effect in passed.came):
            fate = "begins"
        number, lane = 0, None
        if update is not None:
            self._numbers[update.update_id] += 1
            number = self._numbers[update.update_id]
            lane = self._lanes.get(update.update_id, update.lane)
        self._requests[request] = came = RequestCame(now, lane, request, update, number, fate)
        self._moment.append(came)

    def _answer(self, request: int, status: int | None, now: float) -> None:
        came = self._requests.pop(request)
        self._moment.append(RequestAnswered(now, came.lane, request, came.update, status, now - came.at))

    def _end_fetch(self, owner: tuple[str, int], outcome: CallOutcome, now: float) -> None:
        part, fetch = owner
        if part != "polling" or fetch not in self._polls:
            if part != "calls":
                self._end_call(part, fetch, _words(outcome), good=isinstance(outcome, Result), now=now)
            return
        self._polls.discard(fetch)
        updates: list[Update] = []
        if isinstance(outcome, Result) and isinstance(outcome.value, list):
            updates = [update for update in map(read_update, outcome.value) if isinstance(update, Update)]
        problem = None if isinstance(outcome, Result) else _words(outcome)
        new = tuple(update.update_id for update in updates if update.update_id not in self._shown)
        self._moment.append(PollAnswered(now, None, new, len(updates) - len(new), problem))
        self._shown = {update.update_id for update in updates}

    # Calls

    def _call(self, part: str, number: int, method: str, lane: LaneKey | None, now: float) -> None:
        self._calls[part, number] = called = Called(now, lane, method)
        self._moment.append(called)

    def _end_call(self, part: str, number: int, said: str, *, good: bool, now: float, replied: bool = False) -> None:
        called = self._calls.pop((part, number), None)
        if called is None:
            return
        ended = evolve(called, said=said, good=good, after=now - called.at, replied=replied)
        events = self._moment if any(event is called for event in self._moment) else self._events
        place = next(place for place in reversed(range(len(events))) if events[place] is called)
        events[place] = ended

    # The driver's effects, and what waits

    def _tell_effect(self, effect: Effect, now: float) -> None:
        if isinstance(effect, Handle):
            self._runs[effect.job] = began = RunBegan(now, effect.update.lane, effect.job, effect.update)
            self._moment.append(began)
        elif isinstance(effect, Cancel) and effect.job in self._runs:
            run = self._runs[effect.job]
            self._moment.append(RunCancelled(now, run.lane, run.job, run.update))
        elif isinstance(effect, Resolve):
            replied = effect.outcome is REPLIED
            good = replied or isinstance(effect.outcome, Result)
            self._end_call("call", effect.call, _words(effect.outcome), good=good, now=now, replied=replied)
        elif isinstance(effect, (Respond, Throw)):  # to a server that is not ours
            self._answer(effect.request, effect.response.status if isinstance(effect, Respond) else 500, now)
        elif isinstance(effect, Report):
            self._moment.append(Reported(now, self._lanes.get(effect.update_id or -1), effect))
        elif isinstance(effect, Ended):
            self._moment.append(Over(now, None, effect.failure))

    def _tell_queue(self, lanes: Lanes, now: float) -> None:
        jobs = {job.number: job for job in lanes.jobs()}
        for number in [number for number, run in self._runs.items() if isinstance(run, Queued) and number not in jobs]:
            run = self._runs.pop(number)
            self._moment.append(RunEnded(now, run.lane, number, run.update, None, now - run.at))
        for job in jobs.values():
            if job.number not in self._runs and job.started is None:
                self._runs[job.number] = queued = Queued(now, job.update.lane, job.number, job.update)
                self._moment.append(queued)


def _update_in(request: Request) -> Update | None:
    """The update that a request brings."""
    try:
        update = read_update(codec.decode(body_bytes(request.body)))
    except ValueError:
        return None
    return update if isinstance(update, Update) else None


def _outcome_in(response: Response | Unreachable) -> CallOutcome:
    """What an answer of Telegram's says."""
    return response if isinstance(response, Unreachable) else decode_answer(response.status, body_bytes(response.body))


def _words(outcome: CallOutcome) -> str:
    """How a call ended."""
    if isinstance(outcome, Refused):
        return f"{outcome.code} {outcome.description}"
    return outcome.reason if isinstance(outcome, Unreachable) else "ok"
