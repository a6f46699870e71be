"""A webhook's requests and their lives: verify, hand over, throw or return in time, reply, know what comes again.

`Webhook` takes HTTP requests as values and answers them as values (`Respond`, `Throw`); it knows neither framing nor
sockets. One update is handled by one run, however often Telegram sends it: a request for an update that waits or runs
joins that run, and is answered when it ends or when its own time is up.

The rule that keeps it right: 2xx is the only word by which Telegram forgets an update (telegram-server.md, 4.4). So it
is said only for an update that was handled, that was given up after `max_attempts`, or whose loss the program accepted
(on_timeout="return", or a reply that was sent before the handler's end).
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final, TypeAlias

from attrs import define, evolve, field, frozen

from hookline import codec
from hookline.botapi import encode_reply, may_reply
from hookline.effects import Effect, Ended, Log, Report, Respond, Throw, Verdict
from hookline.errors import LocalProtocolError
from hookline.http import Headers, Request, Response, body_bytes, values_of
from hookline.lanes import Lanes
from hookline.options import OnTimeout, WebhookOptions
from hookline.outcomes import Outcome, Raised, Returned
from hookline.polling import Progress
from hookline.states import StateTable
from hookline.updates import Lane, Update, read_update

OnTimeoutPolicy: TypeAlias = "Callable[[Update], OnTimeout]"
"""Decides among throw, return and cancel, given the update. It must be a pure function."""

NO_BODY: Final[Headers] = (("content-length", "0"),)


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
    replied: the one call that may travel in a response has. held: the answer that carries it, where answers are held.
    """

    requests: list[int] = field(factory=list)
    acknowledged: bool = False
    replied: bool = False
    held: Response | None = None


class Webhook:
    """The machine of a webhook. Facts: `requested`, `finished`, `disconnected`; commands: `reply`, `stop`; `tick`.

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
        self.progress = Progress()
        self._decode = decode
        self._lane = lane
        self._on_timeout = on_timeout
        self._random = Random(seed)
        self._deliveries: dict[int, Delivery] = {}  # by job
        self._waiting: OrderedDict[int, Waiting] = OrderedDict()  # by request; the first is due first
        self._handled: OrderedDict[int, None] = OrderedDict()
        self._attempts: OrderedDict[int, int] = OrderedDict()

    # Reading

    @property
    def deadline(self) -> float | None:
        """The earliest time at which `tick` has something to do."""
        due = self._first_due
        if isinstance(self.state, Stopping):
            return self.state.until if due is None else min(due, self.state.until)
        return due

    @property
    def reason(self) -> str:
        """Why there is a deadline, in words."""
        due = self._first_due
        if isinstance(self.state, Stopping) and (due is None or self.state.until <= due):
            return "the grace time of running handlers ends"
        return "nothing is awaited" if due is None else "a request's time is up"

    @property
    def waiting_requests(self) -> int:
        """How many requests were not answered yet."""
        return len(self._waiting)

    def screen(self, request: Request) -> Response | None:
        """The rejection that a request's head alone earns, or None. Its body need not have been read."""
        if request.target.partition("?")[0] != self.options.path:
            return Response(404, NO_BODY)
        if request.method != "POST":
            return Response(405, (("allow", "POST"), *NO_BODY))
        if self.options.secret_token is not None:
            secrets = values_of(request.headers, "x-telegram-bot-api-secret-token")
            given = secrets[0].encode("utf-8", "surrogatepass") if len(secrets) == 1 else b""
            if not hmac.compare_digest(given, self.options.secret_token.encode()):
                return Response(401, NO_BODY)
        types = values_of(request.headers, "content-type")
        if len(types) != 1 or types[0].partition(";")[0].strip().lower() != "application/json":
            return Response(415, NO_BODY)
        for length in values_of(request.headers, "content-length"):
            if not (length.isascii() and length.isdigit()):
                return Response(400, NO_BODY)
            if len(length) > 18 or int(length) > self.options.max_body:
                return Response(413, NO_BODY)
        return None

    # Facts

    def requested(self, request: int, message: Request, now: float) -> list[Effect]:
        """A whole request has come; `request` is the caller's number for it, and not in use."""
        if request in self._waiting:
            raise LocalProtocolError(f"request {request} was told before and is not answered yet")
        rejection = self.screen(message)
        if rejection is not None:
            return self._reject(request, rejection, f"{message.method} request answered {rejection.status}")
        body = body_bytes(message.body)
        if len(body) > self.options.max_body:
            return self._reject(request, Response(413, NO_BODY), "request answered 413: its body is too large")
        try:
            raw = self._decode(body)
        except ValueError as error:
            return self._reject(request, Response(400, NO_BODY), f"request answered 400: its body is no JSON: {error}")
        effects: list[Effect] = []
        update = self._read(raw, effects)
        if not isinstance(update, Update):
            report = Report(Verdict.NOT_AN_UPDATE, f"request answered 400: its body is no update: {update}", raw=raw)
            return [*effects, report, Respond(request, Response(400, NO_BODY))]
        return effects + self._deliver(request, update, now)

    def finished(self, job: int, outcome: Outcome, now: float) -> list[Effect]:
        """The run of a handler has ended. What comes after the end of the whole run is ignored."""
        if isinstance(self.state, Over):
            return []
        ended = self.lanes.job(job)
        if ended.started is None:
            raise LocalProtocolError(f"job {job} was told as finished before it was asked for")
        update, delivery = ended.update, self._deliveries.pop(job)
        effects: list[Effect] = []
        if isinstance(outcome, Returned):
            self._remember(update.update_id)
            effects += self._answer(delivery, delivery.held or Response(200, NO_BODY))
        else:
            effects += self._failed(update, delivery, outcome)
        if update.update_id in self._handled:
            effects += self._drop_next_run(update, now)
        effects += self.lanes.finished(job, now)
        self._count(now, handled=True)
        return effects + self._ended_if_drained()

    def disconnected(self, request: int, now: float) -> list[Effect]:
        """The client of a request has gone before its answer. The run goes on, and can still be joined."""
        waiting = self._waiting.pop(request, None)
        if waiting is not None:
            self._deliveries[waiting.job].requests.remove(request)
        return []

    # Commands

    def can_reply(self, job: int, method: str) -> bool:
        """Whether a call made by the run `job` may travel in a response now."""
        delivery = self._deliveries.get(job)
        return delivery is not None and not delivery.replied and bool(delivery.requests) and may_reply(method)

    def reply(self, job: int, method: str, params: Mapping[str, Any], now: float) -> list[Effect] | None:
        """Send a call in the response to the update of `job`; None if it can't travel so, and must be made by `Calls`.

        It goes out at once, so that calls keep their order (with `hold_answer`, when the handler has ended). Telegram
        then takes the update as delivered, whatever becomes of the handler.
        """
        if not self.can_reply(job, method):
            return None
        response = encode_reply(method, params, self._random)
        if response is None:
            return None
        delivery = self._deliveries[job]
        delivery.replied = True
        if self.options.hold_answer:
            delivery.held = response
            return []
        delivery.acknowledged = True
        # The newest request is the one that Telegram surely still waits on.
        newest = delivery.requests.pop()
        del self._waiting[newest]
        return [Respond(newest, response), *self._answer(delivery, Response(200, NO_BODY))]

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
        effects: list[Effect] = []
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
        if isinstance(self.state, Stopping):
            if self.state.until <= now:
                return effects + self._out_of_grace(now)
            effects += self._ended_if_drained()
        return effects

    # The life of a request

    def _deliver(self, request: int, update: Update, now: float) -> list[Effect]:
        self._count(now, fetched=True)
        if update.update_id in self._handled:
            return [Respond(request, Response(200, NO_BODY))]
        job = self.lanes.job_of(update.update_id)
        if job is not None and not isinstance(self.state, Over):
            delivery = self._deliveries[job]
            if delivery.acknowledged:
                # Telegram was told 2xx and did not hear it: it is told again, the run goes on.
                return [Respond(request, Response(200, NO_BODY))]
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
        self._count(now)
        return started

    def _would_wait(self, update: Update) -> bool:
        return self.lanes.free == 0 or self.lanes.is_busy(update.lane)

    def _attach(self, request: int, job: int, now: float) -> None:
        self._deliveries[job].requests.append(request)
        self._waiting[request] = Waiting(job, now + self.options.timeout)

    @property
    def _first_due(self) -> float | None:
        """When the time of the oldest waiting request is up; all have the same time, so the oldest is due first."""
        return next(iter(self._waiting.values())).until if self._waiting else None

    def _time_is_up(self, request: int, now: float) -> list[Effect]:
        job = self._waiting[request].job
        update = self.lanes.job(job).update
        effects: list[Effect] = []
        decision = self._decide(update, effects)
        delivery = self._deliveries[job]
        if delivery.held is not None or decision == "return":
            delivery.acknowledged = True
            response, delivery.held = delivery.held or Response(200, NO_BODY), None
            return effects + self._answer(delivery, response)
        text = f"the handler of update {update.update_id} did not end within {self.options.timeout:g} s"
        del self._waiting[request]
        delivery.requests.remove(request)
        if decision == "cancel":
            effects.append(Report(Verdict.HANDLER_TIMEOUT, f"{text}; it is cancelled", update.update_id))
            effects.append(Throw(request, update.update_id, self.options.timeout))
            if self.lanes.job(job).started is None:
                return effects + self._throw_all(delivery, update) + self._drop(job, self._unavailable(), now)
            return effects + self.lanes.cancel(job, now)
        text += "; it goes on, and the next request for this update joins it"
        effects.append(Report(Verdict.HANDLER_TIMEOUT, text, update.update_id))
        effects.append(Throw(request, update.update_id, self.options.timeout))
        return effects

    def _decide(self, update: Update, effects: list[Effect]) -> OnTimeout:
        if self._on_timeout is None:
            return self.options.on_timeout
        try:
            decision = self._on_timeout(update)
            if decision in ("throw", "return", "cancel"):
                return decision
            wrong = f"on_timeout= returned {decision!r}, not 'throw', 'return' or 'cancel'"
        except Exception as error:  # the program's own function: anything may come out of it
            wrong = f"on_timeout= raised {type(error).__name__}: {error}"
        text = f"{wrong}; '{self.options.on_timeout}' is taken"
        effects.append(Report(Verdict.POLICY_FAILED, text, update.update_id))
        return self.options.on_timeout

    def _answer(self, delivery: Delivery, response: Response) -> list[Effect]:
        """Answer all that wait for this run: the newest by `response`, the others by its status alone."""
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
        name = f"update {update.update_id} ({update.kind or 'empty'})"
        effects: list[Effect] = []
        if isinstance(outcome, Raised):
            text = f"the handler of {name} raised {outcome.summary}"
            effects.append(Report(Verdict.HANDLER_FAILED, text, update.update_id, outcome.traceback))
        if delivery.acknowledged:
            self._attempts.pop(update.update_id, None)
            text = f"{name} failed after Telegram was told that it was delivered; it will not be sent again"
            return [*effects, Report(Verdict.LOST, text, update.update_id, update.raw)]
        if isinstance(self.state, Stopping) and not isinstance(outcome, Raised):
            return effects + self._answer(delivery, self._unavailable())
        attempts = self._attempts.pop(update.update_id, 0) + 1
        if attempts >= self.options.max_attempts:
            self._remember(update.update_id)
            text = f"{name} is given up after {attempts} failed runs, so that its chat can go on"
            effects.append(Report(Verdict.GIVEN_UP, text, update.update_id, update.raw))
            return effects + self._answer(delivery, Response(200, NO_BODY))
        self._attempts[update.update_id] = attempts
        while len(self._attempts) > self.options.remember:
            self._attempts.popitem(last=False)
        return effects + self._answer(delivery, Response(500, NO_BODY))

    def _remember(self, update_id: int) -> None:
        self._attempts.pop(update_id, None)
        self._handled[update_id] = None
        while len(self._handled) > self.options.remember:
            self._handled.popitem(last=False)

    def _drop_next_run(self, update: Update, now: float) -> list[Effect]:
        """Forget the run that a redelivery asked for while the one before, now known, was being cancelled."""
        job = self.lanes.job_of(update.update_id)
        if job is None or self.lanes.job(job).started is not None:
            return []
        return self._drop(job, Response(200, NO_BODY), now)

    def _drop(self, job: int, response: Response, now: float) -> list[Effect]:
        """Forget a job that has not begun, and answer what waits for it."""
        effects = self._answer(self._deliveries.pop(job), response) + self.lanes.cancel(job, now)
        self._count(now)
        return effects

    def _unavailable(self) -> Response:
        return Response(503, (("retry-after", str(self.options.retry_after)), *NO_BODY))

    def _reject(self, request: int, response: Response, text: str) -> list[Effect]:
        return [Report(Verdict.REQUEST_REJECTED, text), Respond(request, response)]

    def _read(self, raw: Any, effects: list[Effect]) -> Update | str:
        try:
            update = read_update(raw, self._lane)
            if isinstance(update, Update):
                hash(update.lane)
            return update
        except Exception as error:  # the program's own lane function: anything may come out of it
            update = read_update(raw)
            if isinstance(update, Update):
                text = f"lane= raised {type(error).__name__}: {error}; the update keeps its default lane"
                effects.append(Report(Verdict.POLICY_FAILED, text, update.update_id))
            return update

    def _count(self, now: float, *, fetched: bool = False, handled: bool = False) -> None:
        self.progress = evolve(
            self.progress,
            last_fetched=now if fetched else self.progress.last_fetched,
            last_handled=now if handled else self.progress.last_handled,
            waiting=self.lanes.waiting,
            running=self.lanes.running,
        )

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
        for job in self.lanes.jobs():
            delivery = self._deliveries[job.number]
            if delivery.acknowledged:
                text = f"update {job.update.update_id} was not handled before the stop, after Telegram was told it was"
                effects.append(Report(Verdict.LOST, text, job.update.update_id, job.update.raw))
            effects += self._answer(delivery, self._unavailable())
            if job.started is not None:
                effects += self.lanes.cancel(job.number, now)
        if self.lanes.running:
            effects.append(Log(f"{self.lanes.running} handlers did not end within the grace time and are left behind"))
        self._go(Over())
        return [*effects, Ended()]
