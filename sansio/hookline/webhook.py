"""A webhook's requests and their lives: verify, hand over, throw or return in time, reply, know what comes again.

`Webhook` takes HTTP requests as values and answers them as values (`Respond`, `Throw`); it knows neither framing nor
sockets. One update is handled by one run, however often Telegram sends it: a request for an update that waits or runs
joins that run, and is answered when it ends or when its own time is up.

The rule that keeps it right: 2xx is the only word by which Telegram forgets an update (telegram-server.md, 4.4). So it
is said only for an update that was handled, that was given up after `max_attempts`, or whose loss the program accepted
(on_timeout="return", or a reply that was sent before the handler's end).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from random import Random
from typing import Any, Final, TypeAlias

from attrs import define, evolve, field, frozen

from hookline import codec
from hookline.botapi import encode_reply, may_reply
from hookline.effects import Effect, Ended, Log, Report, Respond, Throw, Verdict
from hookline.errors import LocalProtocolError
from hookline.gate import NO_BODY, Gate, unavailable
from hookline.http import Request, Response, is_in_memory
from hookline.lanes import Lanes
from hookline.options import NOT_AFTER_THE_ANSWER, OnTimeout, OnTimeoutPolicy, WebhookOptions
from hookline.outcomes import Outcome, Raised, Returned
from hookline.progress import Progress
from hookline.states import StateTable
from hookline.timers import Timers, earliest
from hookline.updates import Lane, Update, named

MAX_JOINED: Final = 100
"""Requests that may wait for one run. Telegram has one outstanding for an update (telegram-server.md, 4.3)."""
MAX_UNSENT: Final = 100
"""Held calls that are kept for an update's next delivery, after the client that was to get them had gone."""


@frozen
class Serving:
    """Requests are taken."""


@frozen
class Stopping:
    """New work gets 503; what runs may end until `until`."""

    until: float


@frozen
class Over:
    """The run has ended; every request gets 503."""


State: TypeAlias = "Serving | Stopping | Over"

TABLE = StateTable("Webhook", {Serving: (Stopping,), Stopping: (Stopping, Over), Over: ()})


@frozen
class Waiting:
    """A request that was not answered yet: the job it waits for, and when its time is up."""

    job: int
    until: float


@define
class Delivery:
    """What is known of a run besides its lane: who waits for its end, and what Telegram was told.

    requests: those that wait, the oldest first. acknowledged: Telegram got 2xx, so it will not send the update again.
    only_answer: the request by whose answer alone it gets that, while it goes out: one with files, which may break off.
    replied: the one call that may travel in a response has. held: the answer that carries it, where answers are held.
    """

    requests: list[int] = field(factory=list)
    acknowledged: bool = False
    only_answer: int | None = None
    replied: bool = False
    held: Response | None = None


class Webhook:
    """The machine of a webhook. Commands: `reply`, `stop`; the clock: `tick`.

    Facts: `requested`, `finished`, `disconnected`; of an answer with files in it, `went_out` or `broken_off`.

    1. Every input is a fact or a command and takes `now`, a monotonic clock's seconds, last.
    2. State is settled before a method returns; the effects are finished, and carried out in order.
    3. Effects are plain values. `Handle` is answered by `finished`; each `requested` gets one `Respond` or `Throw`,
       unless its client is told as `disconnected` first.
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
        on_timeout: OnTimeoutPolicy | None = None,
    ) -> None:
        self.options = options or WebhookOptions()
        self.lanes = Lanes(self.options.concurrency)
        self.state: State = Serving()
        self._last_fetched: float | None = None
        self._last_handled: float | None = None
        self._gate = Gate(self.options, decode, lane)
        self._on_timeout = on_timeout
        self._random = Random(seed)
        self._deliveries: dict[int, Delivery] = {}  # by job
        self._waiting: OrderedDict[int, Waiting] = OrderedDict()  # by request; the first is due first
        self._handled: OrderedDict[int, None] = OrderedDict()
        self._attempts: OrderedDict[int, int] = OrderedDict()
        self._deserted = Timers()  # jobs whose clients have all gone, and when the last one's time is up
        self._unsent: OrderedDict[int, Response] = OrderedDict()  # answers with a call that found nobody
        # The requests that are some run's `only_answer`, each with the update if that run has failed meanwhile.
        self._going_out: dict[int, Update | None] = {}

    # Reading

    @property
    def deadline(self) -> float | None:
        """The earliest time at which `tick` has something to do."""
        return earliest(self._first_due, self._deserted.next, self._grace_end)

    @property
    def reason(self) -> str:
        """Why there is a deadline, in words."""
        deadline = self.deadline
        if deadline is None:
            return "nothing is awaited"
        return "the grace time of running handlers ends" if deadline == self._grace_end else "a request's time is up"

    @property
    def progress(self) -> Progress:
        """How the run gets on."""
        return Progress(None, self._last_fetched, self._last_handled, self.lanes.waiting, self.lanes.running)

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

    # Facts

    def requested(self, request: int, message: Request, now: float, *, screened: bool = False) -> list[Effect]:
        """A whole request has come; `request` is the caller's number for it, and not in use.

        screened: `screen` was asked about its head before, and has let it in.
        """
        if request in self._waiting:
            raise LocalProtocolError(f"request {request} was told before and is not answered yet")
        reports, update = self._gate.read(message, screened=screened)
        if isinstance(update, Response):
            return [*reports, Respond(request, update)]
        return [*reports, *self._deliver(request, update, now)]

    def finished(self, job: int, outcome: Outcome, now: float) -> list[Effect]:
        """The run of a handler has ended. What comes after the end of the whole run is ignored."""
        if isinstance(self.state, Over):
            return []
        ended = self.lanes.job(job)
        if ended.started is None:
            raise LocalProtocolError(f"job {job} was told as finished before it was asked for")
        update, delivery = ended.update, self._deliveries.pop(job)
        self._deserted.clear(job)
        effects: list[Effect] = []
        if isinstance(outcome, Returned):
            self._remember(update.update_id)
            if delivery.held is not None and not delivery.requests:
                effects += self._keep_unsent(update, delivery.held)
            effects += self._answer(delivery, delivery.held or Response(200, NO_BODY))
        else:
            effects += self._failed(update, delivery, outcome)
        if update.update_id in self._handled:
            effects += self._drop_next_run(update, now)
        effects += self.lanes.finished(job, now)
        self._last_handled = now
        return effects + self._ended_if_drained()

    def disconnected(self, request: int, now: float) -> list[Effect]:
        """The client of a request has gone before its answer. The run goes on, and can still be joined."""
        waiting = self._waiting.pop(request, None)
        if waiting is not None:
            delivery = self._deliveries[waiting.job]
            delivery.requests.remove(request)
            if not delivery.requests and (self._on_timeout is not None or self.options.on_timeout == "cancel"):
                self._deserted.set(waiting.job, waiting.until)
        return []

    def broken_off(self, request: int, now: float) -> list[Effect]:
        """The answer to a request will never be whole: it has not told Telegram that the update was delivered."""
        failed = self._no_longer_goes_out(request, told=False)
        return [] if failed is None else self._count_failure(failed)[0]

    def went_out(self, request: int, now: float) -> list[Effect]:
        """An answer that was read from files has gone out whole, as any other does at once."""
        failed = self._no_longer_goes_out(request, told=True)
        return [] if failed is None else self._lost(failed)

    # Commands

    def can_reply(self, job: int, method: str) -> bool:
        """Whether a call made by the run `job` may travel in a response now."""
        delivery = self._deliveries.get(job)
        return delivery is not None and not delivery.replied and bool(delivery.requests) and may_reply(method)

    def reply(
        self, job: int, method: str, params: Mapping[str, Any], now: float, *, in_memory: bool = False
    ) -> list[Effect] | None:
        """Send a call in the response to the update of `job`; None if it can't travel so, and must be made by `Calls`.

        It goes out at once, so that calls keep their order (where answers are held, with the handler's end). Telegram
        then takes the update as delivered, whatever becomes of the handler. in_memory: only if nothing in it is to be
        read from a file.
        """
        if not self.can_reply(job, method):
            return None
        response = encode_reply(method, params, self._random)
        if response is None or (in_memory and not is_in_memory(response.body)):
            return None
        delivery = self._deliveries[job]
        delivery.replied = True
        if self.options.hold_answer or self.options.freezes:
            delivery.held = response
            return []
        return self._acknowledge(delivery, response)

    def stop(self, now: float) -> list[Effect]:
        """End the run: new work gets 503, running handlers get their grace time. A second stop ends that at once.

        Updates that wait are left to Telegram; those that it was told to be delivered are still handled.
        """
        if isinstance(self.state, Over):
            return []
        if isinstance(self.state, Stopping):
            self._go(evolve(self.state, until=min(self.state.until, now)))
            return self.tick(now)
        self._go(Stopping(now + self.options.grace))
        effects: list[Effect] = [
            *self.lanes.last_work(self.options.grace, "which Telegram sends again, unless it was told 2xx")
        ]
        for job in self.lanes.jobs():
            delivery = self._deliveries[job.number]
            if job.started is None and not delivery.acknowledged:
                effects += self._drop(job.number, self._unavailable(), now)
        return effects + self._ended_if_drained()

    # The clock

    def tick(self, now: float) -> list[Effect]:
        """Do what is due. Early and repeated ticks do nothing."""
        effects: list[Effect] = []
        while (due := self._first_due) is not None and due <= now:
            effects += self._time_is_up(next(iter(self._waiting)), now)
        for job in self._deserted.due(now):
            update = self.lanes.job(job).update
            if self._decide(update, effects) == "cancel":
                effects.append(self._late(update, "it is cancelled"))
                effects += self._cut_short(job, now)
        if isinstance(self.state, Stopping):
            if self.state.until <= now:
                return effects + self._out_of_grace(now)
            effects += self._ended_if_drained()
        return effects

    # The life of a request

    def _deliver(self, request: int, update: Update, now: float) -> list[Effect]:
        self._last_fetched = now
        if update.update_id in self._handled:
            return [Respond(request, self._unsent.pop(update.update_id, Response(200, NO_BODY)))]
        job = self.lanes.job_of(update.update_id)
        if job is not None and not isinstance(self.state, Over):
            delivery = self._deliveries[job]
            if delivery.acknowledged:
                # Telegram was told 2xx and did not hear it: it is told again, the run goes on.
                self._going_out.pop(delivery.only_answer or 0, None)
                delivery.only_answer = None
                return [Respond(request, Response(200, NO_BODY))]
            if len(delivery.requests) >= MAX_JOINED:
                text = f"update {update.update_id} answered 503: {MAX_JOINED} requests wait for its run already"
                return [Report(Verdict.REQUEST_REJECTED, text, update.update_id), Respond(request, self._unavailable())]
            self._attach(request, job, now)
            return []
        if not isinstance(self.state, Serving):
            return [Respond(request, self._unavailable())]
        if self.lanes.waiting >= self.options.max_waiting and self._would_wait(update):
            text = f"update {update.update_id} answered 503: {self.lanes.waiting} updates wait already"
            return [Report(Verdict.REQUEST_REJECTED, text, update.update_id), Respond(request, self._unavailable())]
        job, started = self.lanes.add(update, now)
        self._deliveries[job] = Delivery()
        self._attach(request, job, now)
        return started

    def _would_wait(self, update: Update) -> bool:
        return self.lanes.free == 0 or self.lanes.is_busy(update.lane)

    def _attach(self, request: int, job: int, now: float) -> None:
        self._deliveries[job].requests.append(request)
        self._waiting[request] = Waiting(job, now + self.options.timeout)
        self._deserted.clear(job)

    @property
    def _first_due(self) -> float | None:
        """When the time of the oldest waiting request is up; all have the same time, so the oldest is due first."""
        return next(iter(self._waiting.values())).until if self._waiting else None

    @property
    def _grace_end(self) -> float | None:
        return self.state.until if isinstance(self.state, Stopping) else None

    def _time_is_up(self, request: int, now: float) -> list[Effect]:
        job = self._waiting[request].job
        update = self.lanes.job(job).update
        effects: list[Effect] = []
        decision = self._decide(update, effects)
        delivery = self._deliveries[job]
        if decision == "return" or (delivery.held is not None and not self.options.freezes):
            response, delivery.held = delivery.held or Response(200, NO_BODY), None
            return effects + self._acknowledge(delivery, response)
        del self._waiting[request]
        delivery.requests.remove(request)
        thrown = Throw(request, update.update_id, self.options.timeout)
        if decision == "cancel":
            return [*effects, self._late(update, "it is cancelled"), thrown, *self._cut_short(job, now)]
        return [*effects, self._late(update, "it goes on, and the next request for this update joins it"), thrown]

    def _late(self, update: Update, what: str) -> Report:
        text = f"the handler of update {update.update_id} did not end within {self.options.timeout:g} s; {what}"
        return Report(Verdict.HANDLER_TIMEOUT, text, update.update_id)

    def _cut_short(self, job: int, now: float) -> list[Effect]:
        """End a run whose time is up: one that has not begun is forgotten, one that runs is cancelled."""
        known = self.lanes.job(job)
        if known.started is None:
            return self._throw_all(self._deliveries[job], known.update) + self._drop(job, self._unavailable(), now)
        return self.lanes.cancel(job, now)

    def _decide(self, update: Update, effects: list[Effect]) -> OnTimeout:
        if self._on_timeout is None:
            return self.options.on_timeout
        try:
            decision = self._on_timeout(update)
            if decision in ("throw", "cancel") or (decision == "return" and not self.options.freezes):
                return decision
            wrong = f"on_timeout= returned {decision!r}, not 'throw', 'return' or 'cancel'"
            if decision == "return":
                wrong = f"on_timeout= returned 'return', but {NOT_AFTER_THE_ANSWER}"
        except Exception as error:  # the program's own function: anything may come out of it
            wrong = f"on_timeout= raised {type(error).__name__}: {error}"
        text = f"{wrong}; '{self.options.on_timeout}' is taken"
        effects.append(Report(Verdict.POLICY_FAILED, text, update.update_id))
        return self.options.on_timeout

    def _acknowledge(self, delivery: Delivery, response: Response) -> list[Effect]:
        """Answer all that wait for this run by 2xx before its end."""
        delivery.acknowledged = True
        if len(delivery.requests) == 1 and not is_in_memory(response.body):
            delivery.only_answer = delivery.requests[0]
            self._going_out[delivery.only_answer] = None
        return self._answer(delivery, response)

    def _no_longer_goes_out(self, request: int, *, told: bool) -> Update | None:
        """An answer has told Telegram of its update, or will never; the update, if its run has failed meanwhile."""
        if request not in self._going_out:
            return None
        for delivery in self._deliveries.values():
            if delivery.only_answer == request:
                delivery.acknowledged, delivery.only_answer = told, None
        return self._going_out.pop(request)

    def _answer(self, delivery: Delivery, response: Response) -> list[Effect]:
        """Answer all that wait for this run: the newest by `response`, the others by its status alone.

        The newest request is the one that Telegram surely still waits on.
        """
        effects: list[Effect] = []
        while delivery.requests:
            request = delivery.requests.pop()
            del self._waiting[request]
            effects.append(Respond(request, response))
            response = Response(response.status, NO_BODY)
        return effects

    def _throw_all(self, delivery: Delivery, update: Update) -> list[Effect]:
        effects: list[Effect] = []
        while delivery.requests:
            request = delivery.requests.pop()
            del self._waiting[request]
            effects.append(Throw(request, update.update_id, self.options.timeout))
        return effects

    # The end of a run

    def _failed(self, update: Update, delivery: Delivery, outcome: Outcome) -> list[Effect]:
        effects: list[Effect] = []
        if isinstance(outcome, Raised):
            text = f"the handler of {_name(update)} raised {outcome.summary}"
            effects.append(Report(Verdict.HANDLER_FAILED, text, update.update_id, outcome.traceback))
        if delivery.only_answer is not None:
            self._going_out[delivery.only_answer] = update  # what becomes of it is known when the answer is out
            return effects
        if delivery.acknowledged:
            return effects + self._lost(update)
        if isinstance(self.state, Stopping) and not isinstance(outcome, Raised):
            return effects + self._answer(delivery, self._unavailable())
        reports, response = self._count_failure(update)
        return effects + reports + self._answer(delivery, response)

    def _lost(self, update: Update) -> list[Effect]:
        self._attempts.pop(update.update_id, None)
        text = (
            f"{_name(update)} failed after Telegram was told that it was delivered, so it is not sent again, unless "
            "that answer was lost on its way"
        )
        return [Report(Verdict.LOST, text, update.update_id, update.raw)]

    def _count_failure(self, update: Update) -> tuple[list[Effect], Response]:
        """What is said of one more failed run, and what is answered for it."""
        attempts = self._attempts.pop(update.update_id, 0) + 1
        if attempts >= self.options.max_attempts:
            self._remember(update.update_id)
            text = f"{_name(update)} is given up after {attempts} failed runs, so that its chat can go on"
            return [Report(Verdict.GIVEN_UP, text, update.update_id, update.raw)], Response(200, NO_BODY)
        self._attempts[update.update_id] = attempts
        while len(self._attempts) > self.options.remember:
            self._attempts.popitem(last=False)
        return [], Response(500, NO_BODY)

    def _remember(self, update_id: int) -> None:
        self._attempts.pop(update_id, None)
        self._handled[update_id] = None
        while len(self._handled) > self.options.remember:
            self._unsent.pop(self._handled.popitem(last=False)[0], None)

    def _keep_unsent(self, update: Update, held: Response) -> list[Effect]:
        """Keep a call that was to travel in an answer, for the update's next delivery: Telegram was not told yet."""
        self._unsent[update.update_id] = held
        if len(self._unsent) <= MAX_UNSENT:
            return []
        update_id, _ = self._unsent.popitem(last=False)
        text = f"the call in the answer to update {update_id} was never made: Telegram did not send the update again"
        return [Report(Verdict.LOST, text, update_id)]

    def _drop_next_run(self, update: Update, now: float) -> list[Effect]:
        """Forget the run that a redelivery asked for while the one before, now known, was being cancelled."""
        job = self.lanes.job_of(update.update_id)
        if job is None or self.lanes.job(job).started is not None:
            return []
        return self._drop(job, Response(200, NO_BODY), now)

    def _drop(self, job: int, response: Response, now: float) -> list[Effect]:
        """Forget a job that has not begun, and answer what waits for it."""
        self._deserted.clear(job)
        return self._answer(self._deliveries.pop(job), response) + self.lanes.cancel(job, now)

    def _unavailable(self) -> Response:
        return unavailable(self.options.retry_after)

    # The end of it all

    def _go(self, state: State) -> None:
        self.state = TABLE.move(self.state, state)

    def _ended_if_drained(self) -> list[Effect]:
        if isinstance(self.state, Stopping) and not self.lanes.running and not self.lanes.waiting:
            self._go(Over())
            return [Ended()]
        return []

    def _out_of_grace(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        left: list[int] = []
        for job in self.lanes.jobs():
            self._deserted.clear(job.number)
            delivery = self._deliveries[job.number]
            if delivery.only_answer is not None:
                self._going_out[delivery.only_answer] = job.update
            elif delivery.acknowledged:
                text = f"update {job.update.update_id} was not handled before the stop, after Telegram was told it was"
                effects.append(Report(Verdict.LOST, text, job.update.update_id, job.update.raw))
            effects += self._answer(delivery, self._unavailable())
            if job.started is not None:
                left.append(job.update.update_id)
                effects += self.lanes.cancel(job.number, now)
        effects.append(Log(f"handlers that did not end within the grace time: {len(left)} ({named(left)})"))
        self._go(Over())
        return [*effects, Ended()]


def _name(update: Update) -> str:
    return f"update {update.update_id} ({update.kind or 'empty'})"
