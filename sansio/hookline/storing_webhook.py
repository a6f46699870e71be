"""A webhook that answers when the inbox has the update, however long its handler takes: confirm="stored".

`StoringWebhook` takes HTTP requests as values and answers them as values, as `Webhook` does. A request waits for one
thing only: that its update is stored. What the inbox knows already is answered at once. All else, from the opening of
the inbox to its end, is as with a worker (`Working`).

The rule that keeps it right: 2xx is the only word by which Telegram forgets an update (telegram-server.md, 4.4). So it
is said only for an update that the inbox has. If it cannot be stored, or not in time, the answer is 503.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from attrs import define, field

from hookline import codec
from hookline.effects import Effect, Report, Respond, Verdict
from hookline.errors import LocalProtocolError
from hookline.gate import NO_BODY, Gate, unavailable
from hookline.http import Request, Response
from hookline.options import WebhookOptions
from hookline.timers import earliest
from hookline.updates import Lane, Update
from hookline.working import Opening, Serving, Working

MAX_JOINED: Final = 100
"""Requests that may wait until one update is stored. Telegram has one outstanding for it (telegram-server.md, 4.3)."""


@define
class Arrival:
    """An update that is being stored, and the requests that brought it."""

    update: Update
    requests: list[int] = field(factory=list)


class StoringWebhook(Working):
    """The machine of a webhook with an inbox: a `Working` that takes requests, and asks for what they bring to be kept.

    Facts beside those of `Working`: `requested`, `disconnected`, and of the inbox `stored` and `store_failed`.

    Each `requested` gets one `Respond`, unless its client is told as `disconnected` first. While the inbox is being
    opened, requests wait for it; before that, and after a stop, they get 503. Nothing that a client sends raises.
    """

    options: WebhookOptions

    def __init__(
        self,
        options: WebhookOptions | None = None,
        *,
        seed: int = 0,
        decode: codec.Decode = codec.decode,
        lane: Lane | None = None,
    ) -> None:
        super().__init__(options or WebhookOptions(confirm="stored"), seed=seed)
        self._gate = Gate(self.options, decode, lane)
        self._arrivals: dict[int, Arrival] = {}  # by store
        self._storing: dict[int, int] = {}  # the store of each update that is being stored
        self._waiting: OrderedDict[int, tuple[int, float]] = OrderedDict()  # by request: its store, and when it is due

    # Reading

    @property
    def deadline(self) -> float | None:
        """The earliest time at which `tick` has something to do."""
        return earliest(self._first_due, super().deadline)

    @property
    def reason(self) -> str:
        """Why there is a deadline, in words."""
        first_due = self._first_due
        return "a request's time is up" if first_due is not None and first_due == self.deadline else super().reason

    @property
    def waiting_requests(self) -> int:
        """How many requests were not answered yet."""
        return len(self._waiting)

    def screen(self, request: Request) -> Response | None:
        """The rejection that a request's head alone earns, or None. Its body need not have been read."""
        return self._gate.screen(request)

    # Facts about requests

    def requested(self, request: int, message: Request, now: float, *, screened: bool = False) -> list[Effect]:
        """A whole request has come; `request` is the caller's number for it, and not in use.

        screened: `screen` was asked about its head before, and has let it in.
        """
        if request in self._waiting:
            raise LocalProtocolError(f"request {request} was told before and is not answered yet")
        reports, update = self._gate.read(message, screened=screened)
        if isinstance(update, Response):
            return [*reports, Respond(request, update)]
        return [*reports, *self._keep(request, update, now)]

    def disconnected(self, request: int, now: float) -> list[Effect]:
        """The client of a request has gone before its answer. Its update is stored and handled all the same."""
        self._answer(request)
        return []

    # Facts about the inbox

    def stored(self, store: int, fresh: Sequence[int], now: float) -> list[Effect]:
        """The updates of `Store` are kept; `fresh` are the ids of those that are to be handled here and now."""
        effects = self._answer_all(store, Response(200, NO_BODY))
        effects += self.inbox.stored(store, fresh, now)
        return effects + self._ended_if_drained(now)

    def store_failed(self, store: int, reason: str, now: float) -> list[Effect]:
        """None of the updates of `Store` is kept: Telegram sends them again."""
        effects = self.inbox.store_failed(store, reason, now)
        effects += self._answer_all(store, self._unavailable())
        return effects + self._ended_if_drained(now)

    # The clock

    def tick(self, now: float) -> list[Effect]:
        """Do what is due. Early and repeated ticks do nothing."""
        effects: list[Effect] = []
        while (due := self._first_due) is not None and due <= now:
            effects += self._late(next(iter(self._waiting)))
        return effects + super().tick(now)

    # The life of a request

    def _keep(self, request: int, update: Update, now: float) -> list[Effect]:
        self._last_fetched = now
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

    # The end

    def _end(self, failure: str | None, now: float) -> list[Effect]:
        """What was not stored yet, Telegram sends again."""
        effects: list[Effect] = [Respond(request, self._unavailable()) for request in self._waiting]
        self._waiting.clear()
        self._arrivals.clear()
        self._storing.clear()
        return effects + super()._end(failure, now)
