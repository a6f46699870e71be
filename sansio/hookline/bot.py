"""The whole bot as one machine: a source of updates, calls, and HTTP/1.1, down to the bytes of each connection.

`Bot` composes the machines that each know one thing: `Polling` or `Webhook` (with `Registration`), `Calls`, `Pool`
towards Telegram and `Server` towards clients. It adds no rule of its own but how they are joined: fetches become
requests of the pool, requests of clients go to the webhook or to the health check, and the run is over when its source
is, all that was said has been sent, and every call has ended. It knows nothing of the operating system.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from attrs import frozen

from hookline import codec
from hookline.botapi import Endpoint, Token, decode_answer, encode_call
from hookline.calls import Calls
from hookline.effects import (
    Abandon,
    Cancel,
    Close,
    Connect,
    Effect,
    Ended,
    Fetch,
    Handle,
    Kept,
    Log,
    Mark,
    Open,
    Pull,
    Recall,
    Receive,
    Release,
    Report,
    Resolve,
    Respond,
    Send,
    Store,
    Throw,
    Transmit,
)
from hookline.errors import LocalProtocolError, OptionError
from hookline.gate import NO_BODY, rejected
from hookline.http import Request, Response, body_bytes
from hookline.numbering import Numbers
from hookline.options import (
    ApiOptions,
    HttpLimits,
    OnTimeoutPolicy,
    PollingOptions,
    SetWebhookOptions,
    WebhookOptions,
    WorkOptions,
)
from hookline.outcomes import REPLIED, FetchOutcome, Outcome, Result, Unreachable
from hookline.own_client import OwnClient
from hookline.pool import Answered, Arrived, Pool, PoolEffect
from hookline.progress import Progress
from hookline.server import Asked, BrokenOff, Gone, Requested, Server, ServerEffect, WentOut
from hookline.states import StateTable
from hookline.timers import earliest
from hookline.updates import Lane

if TYPE_CHECKING:
    from hookline.polling import Polling
    from hookline.registration import Registration
    from hookline.storing_webhook import StoringWebhook
    from hookline.webhook import Webhook
    from hookline.working import Working

ReplyWith: TypeAlias = "Callable[[str], bool]"
"""Says for which methods a call may travel in a webhook's response. It must be a pure function."""

HEALTH_PATH: Final = "/healthz"

Owner: TypeAlias = "Literal['polling', 'registration', 'calls', 'download']"
"""Who can have a request of the pool's under way."""

Part: TypeAlias = "Owner | Literal['webhook', 'worker', 'pool', 'server']"
"""Whose effects are carried out."""

BetweenParts: TypeAlias = (
    "Fetch | Abandon | Respond | Throw | Answered | Arrived | Asked | Requested | Gone | BrokenOff | WentOut"
)
BETWEEN_PARTS: Final = frozenset(
    (Fetch, Abandon, Respond, Throw, Answered, Arrived, Asked, Requested, Gone, BrokenOff, WentOut)
)
"""What one part wants of another, or tells it; all else is the driver's, but for Ended."""
FOR_BOT: Final = BETWEEN_PARTS | {Ended}
"""What the whole has something to do about."""


@frozen
class Fresh:
    """Not started."""


@frozen
class Running:
    """Updates are carried."""


@frozen
class Stopping:
    """The source winds up. failure: why, where it was not asked for."""

    failure: str | None


@frozen
class Leaving:
    """The source is over; answers that are read from files still go out."""

    failure: str | None


@frozen
class Over:
    """The run has ended."""


State: TypeAlias = "Fresh | Running | Stopping | Leaving | Over"

TABLE = StateTable(
    "Bot",
    {Fresh: (Running, Stopping), Running: (Stopping, Over), Stopping: (Leaving, Over), Leaving: (Over,), Over: ()},
)


class Bot:
    """The machine that a driver runs.

    1. Every input is a fact in the past tense or a command in the imperative, and takes `now`, a monotonic clock's
       seconds, last.
    2. State is settled before a method returns. The effects are finished, to be carried out in order; telling the
       machine something while carrying them out is allowed.
    3. Effects are plain values. `Connect` is answered by `connected` or `connect_failed`, `Pull` by `pulled` or
       `pull_failed`, `Handle` by `finished`, `Open`, `Store` and `Mark` by `opened`, `stored` and `marked` or by their
       failures; a write that fails is told as `disconnected`.
    4. `deadline` is the earliest time at which `tick` has something to do, or None; `reason` says why. After
       `tick(now)` it lies later than `now`. An early or a repeated tick does nothing.
    5. Nothing that the network sends raises: what is wrong with it is a `Report`.
    6. Wrong use by the program raises LocalProtocolError and changes nothing.
    7. No clock, randomness, I/O or logging inside: the seed and the decoder are arguments.
    8. Copied or pickled between any two calls, it goes on the same.

    source: PollingOptions, WebhookOptions, WorkOptions, or None for calls alone. set_webhook: call setWebhook at the
        start. seed: for jitter and boundaries. lane, on_timeout, reply_with: the program's own pure functions.
    """

    def __init__(
        self,
        token: Token,
        source: PollingOptions | WebhookOptions | WorkOptions | None = None,
        *,
        api: ApiOptions | None = None,
        set_webhook: SetWebhookOptions | None = None,
        http: HttpLimits | None = None,
        seed: int = 0,
        decode: codec.Decode = codec.decode,
        lane: Lane | None = None,
        on_timeout: OnTimeoutPolicy | None = None,
        reply_with: ReplyWith | None = None,
    ) -> None:
        api = api or ApiOptions()
        self.endpoint = Endpoint(token, api.root)
        self.state: State = Fresh()
        self._decode = decode
        self._reply_with = reply_with
        self._random = Random(seed)
        self._calls = Calls(api)
        self._polling: Polling | None = None
        self._webhook: Webhook | StoringWebhook | None = None
        self._replying: Webhook | None = None  # the webhook, if it has no inbox
        self._worker: Working | None = None  # or the webhook, if it has one
        self._registration: Registration | None = None
        max_body = 1_024
        # What carries no update here is not loaded: that would be a fifth of the time that importing takes.
        if isinstance(source, PollingOptions):
            from hookline.polling import Polling

            self._polling = Polling(source, seed=seed, lane=lane)
        elif isinstance(source, WebhookOptions):
            if source.confirm == "stored":
                _check_unused_with_an_inbox(on_timeout=on_timeout, reply_with=reply_with)
                from hookline.storing_webhook import StoringWebhook

                self._webhook = self._worker = StoringWebhook(source, seed=seed, decode=decode, lane=lane)
            else:
                from hookline.webhook import Webhook

                self._webhook = self._replying = Webhook(
                    source, seed=seed, decode=decode, lane=lane, on_timeout=on_timeout
                )
            max_body = source.max_body
            if set_webhook is not None:
                from hookline.registration import Registration

                self._registration = Registration(set_webhook, source.secret_token, seed=seed)
        elif isinstance(source, WorkOptions):
            from hookline.working import Working

            self._worker = Working(source, seed=seed)
        self._numbers = Numbers()  # of connections
        self._request_numbers = Numbers()
        self._hosted: set[int] = set()  # requests that came by `requested`, and wait for their answer
        self._pool = Pool(
            self.endpoint.host,
            self.endpoint.port,
            self.endpoint.tls,
            connections=api.connections,
            max_response=api.max_response,
            numbers=self._numbers,
        )
        self._own_client = OwnClient()
        self._client = self._own_client if api.own_client else self._pool
        self._server = Server(http, max_body=max_body, numbers=self._request_numbers)
        self._fetches: dict[int, tuple[Owner, int]] = {}  # whose each request of the pool is
        self._requests: dict[tuple[Owner, int], int] = {}  # and back
        self._fetch_numbers = Numbers()
        self._encoded: tuple[Mapping[str, Any], Request] | None = None  # the call that is being made
        carries = self._polling or self._webhook or self._worker
        parts = (carries, self._registration, self._calls, self._pool, self._server)
        self._timed: tuple[Any, ...] = tuple(part for part in parts if part is not None)

    # Reading

    @property
    def deadline(self) -> float | None:
        """The earliest time at which `tick` has something to do."""
        if isinstance(self.state, Over):
            return None
        return earliest(*[machine.deadline for machine in self._timed])

    @property
    def reason(self) -> str:
        """Why there is a deadline, in words."""
        deadline = self.deadline
        for machine in self._timed:
            if deadline is not None and machine.deadline == deadline:
                return getattr(machine, "reason", "a connection is idle or too slow")
        return "nothing is awaited"

    @property
    def progress(self) -> Progress:
        """How the run gets on."""
        source = self._polling or self._webhook or self._worker
        return source.progress if source is not None else Progress()

    def healthy(self, now: float) -> bool:
        """Whether updates are being carried.

        A poller that hears nothing from Telegram is not healthy, nor is a bot whose inbox can keep or note nothing.
        """
        if not isinstance(self.state, Running):
            return False
        source = self._polling or self._worker
        return source is None or source.healthy(now)

    def new_connection(self) -> int:
        """A number for a connection that the program is about to tell as `accepted`."""
        return self._numbers.new()

    def new_request(self) -> int:
        """A number for a request that the program is about to tell as `requested`."""
        return self._request_numbers.new()

    def screen(self, request: Request, now: float) -> Response | None:
        """The answer that a request's head alone earns: a rejection, or the state of health. Else None."""
        if _asks_for_health(request):
            return self._health(request.method, now)
        if self._webhook is None:
            return Response(404, NO_BODY)
        return self._webhook.screen(request)

    # Commands

    def start(self, now: float) -> list[Effect]:
        """Begin the run. A webhook's server listens already when this is called."""
        if not isinstance(self.state, Fresh):
            raise LocalProtocolError("start: this bot was started before")
        self.state = TABLE.move(self.state, Running())
        if self._polling is not None:
            return self._carry_out("polling", self._polling.start(now), now)
        if self._worker is not None:
            return self._carry_out(self._worker_part, self._worker.start(now), now)
        return self._register(now)

    def stop(self, now: float) -> list[Effect]:
        """End the run gracefully; `Ended` comes last. A second stop cuts the grace time short."""
        if isinstance(self.state, Over):
            return []
        if isinstance(self.state, Leaving):
            return self._over(None, now)
        if isinstance(self.state, (Fresh, Running)):
            self.state = TABLE.move(self.state, Stopping(None))
        if self._polling is not None:
            return self._carry_out("polling", self._polling.stop(now), now)
        if self._webhook is not None:
            return self._stop_webhook(self._webhook, now)
        if self._worker is not None:
            return self._carry_out("worker", self._worker.stop(now), now)
        return self._over(None, now)

    def call(
        self,
        call: int,
        method: str,
        params: Mapping[str, Any],
        now: float,
        *,
        timeout: float | None = None,
        job: int | None = None,
    ) -> list[Effect]:
        """Call a method of the Bot API; ended by `Resolve`. `call` is the program's number for it, and not in use.

        timeout: seconds for all its tries. job: the run that makes it, whose update's response may carry it.
        Errors: LocalProtocolError for a method or a parameter that can't be sent, or a number that is in use.
        """
        if isinstance(self.state, Over):
            return [Resolve(call, Unreachable("the bot has stopped"))]
        self._check_free(call)
        request = encode_call(self.endpoint, method, params, self._random)  # so that what can't be sent changes nothing
        replies = job is not None and self._reply_with is not None and self._reply_with(method)
        if job is not None and replies and self._replying is not None:
            effects = self._replying.reply(job, method, params, now, in_memory=bool(self._hosted))
            if effects is not None:
                return [*self._carry_out("webhook", effects, now), Resolve(call, REPLIED)]
        effects = self._calls.call(call, method, params, now, timeout)
        self._encoded = (params, request)
        effects = self._carry_out("calls", effects, now)
        self._encoded = None
        return effects

    def download(self, call: int, file_path: str, now: float) -> list[Effect]:
        """Download a file, from getFile's `file_path`: by `Receive`s, then one `Resolve`, whose value is None.

        Errors: LocalProtocolError for a path that can't be sent, or a number that is in use.
        """
        if isinstance(self.state, Over):
            return [Resolve(call, Unreachable("the bot has stopped"))]
        self._check_free(call)
        try:
            target = self.endpoint.file_target(file_path)
        except (TypeError, UnicodeError):
            raise LocalProtocolError(f"download: {file_path!r} is no file_path of getFile's") from None
        request = Request("GET", target, (("host", self.endpoint.host_header),))
        return self._carry_out("pool", self._submit("download", call, request, now, streamed=True), now)

    def cancel(self, call: int, now: float) -> list[Effect]:
        """Nobody waits for this call or download any more; it gets no `Resolve`."""
        if ("download", call) in self._requests:
            return self._carry_out("download", [Abandon(call)], now)
        return self._carry_out("calls", self._calls.cancel(call, now), now)

    # Facts

    def connected(self, connection: int, now: float) -> list[Effect]:
        """The connection of a `Connect` is open."""
        return self._carry_out("pool", self._pool.connected(connection, now), now)

    def connect_failed(self, connection: int, reason: str, now: float) -> list[Effect]:
        """The connection of a `Connect` could not be opened."""
        return self._carry_out("pool", self._pool.connect_failed(connection, reason, now), now)

    def accepted(self, connection: int, now: float) -> list[Effect]:
        """A client has connected; the number is from `new_connection`."""
        if isinstance(self.state, Over):
            return [Close(connection)]
        if not self._numbers.gave(connection) or self._pool.owns(connection):
            raise LocalProtocolError(f"accepted: the number {connection} is not one that new_connection gave for it")
        return self._carry_out("server", self._server.accepted(connection, now), now)

    def requested(self, request: int, message: Request, now: float) -> list[Effect]:
        """A whole request has come to a server that is not ours; the number is from `new_request`.

        It is answered by one `Respond` or `Throw`, unless `gone` is told first; what is to be read from a file never
        travels in that answer. Of a request that `screen` rejects, the body need not have been read.
        """
        if not self._request_numbers.gave(request) or request in self._hosted or self._server.awaits(request):
            raise LocalProtocolError(f"requested: the number {request} is not one that new_request gave for it")
        answer = self.screen(message, now)
        if answer is not None:
            return [*self._rejected(message, answer), Respond(request, answer)]
        self._hosted.add(request)
        return self._carry_out("server", [Requested(request, message, asked=True)], now)

    def gone(self, request: int, now: float) -> list[Effect]:
        """The client of such a request has gone before its answer. For one that was answered it does nothing."""
        if request not in self._hosted:
            return []
        self._hosted.remove(request)
        return self._carry_out("server", [Gone(request)], now)

    def received(self, connection: int, data: bytes, now: float) -> list[Effect]:
        """Bytes have come over a connection; empty bytes say that the other side sends no more."""
        if self._server.owns(connection):
            return self._carry_out("server", self._server.received(connection, data, now), now)
        return self._carry_out("pool", self._pool.received(connection, data, now), now)

    def disconnected(self, connection: int, reason: str, now: float) -> list[Effect]:
        """A connection has gone, or a write failed. For one that was closed by `Close` it does nothing."""
        if self._server.owns(connection):
            return self._carry_out("server", self._server.disconnected(connection, now), now)
        return self._carry_out("pool", self._pool.disconnected(connection, reason, now), now)

    def pulled(self, connection: int, data: bytes, now: float) -> list[Effect]:
        """The answer to `Pull`; empty at the source's end."""
        if self._server.owns(connection):
            return self._carry_out("server", self._server.pulled(connection, data, now), now)
        return self._carry_out("pool", self._pool.pulled(connection, data, now), now)

    def pull_failed(self, connection: int, reason: str, now: float) -> list[Effect]:
        """The source of a `Pull` can't be read."""
        if self._server.owns(connection):
            return self._carry_out("server", self._server.pull_failed(connection, reason, now), now)
        return self._carry_out("pool", self._pool.pull_failed(connection, reason, now), now)

    def responded(self, fetch: int, response: Response, now: float) -> list[Effect]:
        """The response to a `Transmit` has come; its body is in memory."""
        return self._carry_out("pool", self._own_client.responded(fetch, response, now), now)

    def transmit_failed(self, fetch: int, reason: str, now: float) -> list[Effect]:
        """There is no response to a `Transmit`: it could not be sent, or none came."""
        return self._carry_out("pool", self._own_client.failed(fetch, reason, now), now)

    def finished(self, job: int, outcome: Outcome, now: float) -> list[Effect]:
        """The run of a handler has ended. After the end of the bot's run it is ignored."""
        if isinstance(self.state, Over):
            return []
        if self._polling is not None:
            return self._carry_out("polling", self._polling.finished(job, outcome, now), now)
        if self._webhook is not None:
            return self._carry_out("webhook", self._webhook.finished(job, outcome, now), now)
        if self._worker is not None:
            return self._carry_out("worker", self._worker.finished(job, outcome, now), now)
        raise LocalProtocolError("finished: this bot has no source of updates")

    # Facts about the inbox, with confirm="stored"

    def opened(self, kept: Sequence[Kept], now: float, *, durable: bool, shared: bool = False) -> list[Effect]:
        """The inbox of `Open` is open. kept: what was in it, waiting or running, the oldest first.

        durable: whether what it keeps outlasts the process. shared: whether other processes have it too.
        """
        part, source = self._keeping("opened")
        effects = self._carry_out(part, source.opened(kept, now, durable=durable, shared=shared), now)
        return effects + (self._register(now) if isinstance(self.state, Running) else [])

    def open_failed(self, reason: str, now: float) -> list[Effect]:
        """The inbox of `Open` could not be opened."""
        part, source = self._keeping("open_failed")
        return self._carry_out(part, source.open_failed(reason, now), now)

    def found(self, kept: Sequence[Kept], now: float) -> list[Effect]:
        """The inbox hands over updates: somebody has put them back, or it is shared and these are this process's."""
        part, source = self._keeping("found")
        return self._carry_out(part, source.found(kept, now), now)

    def stored(self, store: int, fresh: Sequence[int], now: float) -> list[Effect]:
        """The updates of a `Store` are kept; `fresh` are the ids of those that are to be handled here and now."""
        part, source = self._storing("stored")
        return self._carry_out(part, source.stored(store, fresh, now), now)

    def store_failed(self, store: int, reason: str, now: float) -> list[Effect]:
        """None of the updates of a `Store` is kept."""
        part, source = self._storing("store_failed")
        return self._carry_out(part, source.store_failed(store, reason, now), now)

    def marked(self, mark: int, now: float) -> list[Effect]:
        """A `Mark` is noted."""
        part, source = self._keeping("marked")
        return self._carry_out(part, source.marked(mark, now), now)

    def mark_failed(self, mark: int, reason: str, now: float) -> list[Effect]:
        """A `Mark` could not be noted."""
        part, source = self._keeping("mark_failed")
        return self._carry_out(part, source.mark_failed(mark, reason, now), now)

    def lost(self, reason: str, now: float) -> list[Effect]:
        """An inbox that is shared takes back what it has handed over: others may have it from now on."""
        part, source = self._keeping("lost")
        return self._carry_out(part, source.lost(reason, now), now)

    # The clock

    def tick(self, now: float) -> list[Effect]:
        """Do what is due. Early and repeated ticks do nothing."""
        effects: list[Effect] = []
        if self._polling is not None:
            effects += self._carry_out("polling", self._polling.tick(now), now)
        if self._webhook is not None:
            effects += self._carry_out("webhook", self._webhook.tick(now), now)
        if self._worker is not None and self._webhook is None:
            effects += self._carry_out("worker", self._worker.tick(now), now)
        if self._registration is not None:
            effects += self._carry_out("registration", self._registration.tick(now), now)
        effects += self._carry_out("calls", self._calls.tick(now), now)
        effects += self._carry_out("pool", self._pool.tick(now), now)
        return effects + self._carry_out("server", self._server.tick(now), now)

    # How the parts are joined

    @property
    def _worker_part(self) -> Part:
        return "worker" if self._webhook is None else "webhook"

    def _keeping(self, fact: str) -> tuple[Part, Polling | Working]:
        """The source that has an inbox."""
        return (self._worker_part, self._worker) if self._worker is not None else self._storing(fact)

    def _storing(self, fact: str) -> tuple[Part, Polling | StoringWebhook]:
        """The source that has an inbox, and stores in it."""
        if self._polling is not None and self._polling.inbox is not None:
            return "polling", self._polling
        if self._webhook is not None and self._worker is not None:
            return "webhook", cast("StoringWebhook", self._webhook)
        raise LocalProtocolError(f"{fact}: there is no inbox without confirm='stored'")

    def _register(self, now: float) -> list[Effect]:
        """Call setWebhook, if that is wanted."""
        if self._registration is None:
            return []
        return self._carry_out("registration", self._registration.start(now), now)

    def _carry_out(self, part: Part, effects: Sequence[PoolEffect | ServerEffect], now: float) -> list[Effect]:
        """Carry out what is meant for another part, until only the driver's effects are left.

        A loop and no recursion, since one piece of bytes may bring any number of requests. What the pool and the server
        want of the driver goes out before the other parts hear of the rest: whatever those make of it, comes after.
        """
        out: list[Any] = []
        todo: list[tuple[Part, Any]] = []  # the last comes first
        while True:
            if FOR_BOT.isdisjoint(map(type, effects)):  # as with nearly all: it is for the driver alone
                out += effects
            elif part in ("pool", "server"):
                out += [effect for effect in effects if type(effect) not in BETWEEN_PARTS]
                todo += [(part, effect) for effect in reversed(effects) if type(effect) in BETWEEN_PARTS]
            else:
                todo += [(part, effect) for effect in reversed(effects)]
            while todo:
                part, effect = todo.pop()
                if type(effect) not in FOR_BOT:
                    out.append(effect)
                elif isinstance(effect, Ended):
                    out += self._part_ended(part, effect.failure, now)
                    if isinstance(self.state, Over):
                        return out  # what is left was told to nobody who waits
                elif isinstance(effect, (Respond, Throw)) and effect.request in self._hosted:
                    self._hosted.remove(effect.request)
                    out.append(effect)
                else:
                    part, effects = self._pass_on(part, effect, now)
                    break
            else:
                if isinstance(self.state, Leaving) and not self._server.sending:
                    out += self._over(None, now)
                return out

    def _pass_on(
        self, part: Part, effect: BetweenParts, now: float
    ) -> tuple[Part, Sequence[PoolEffect | ServerEffect]]:
        """Tell a part what another wants of it, or has to say to it. All that passes between parts passes here."""
        if isinstance(effect, (Respond, Throw)):
            response = effect.response if isinstance(effect, Respond) else Response(500, NO_BODY)
            return "server", self._respond(effect.request, response, now)
        if isinstance(effect, (Fetch, Abandon)):
            return "pool", self._fetch(cast("Owner", part), effect, now)
        if isinstance(effect, (Answered, Arrived)):
            return self._answered(effect, now)
        if isinstance(effect, (Asked, Requested)):
            return self._request_came(effect, now)
        return self._answer_ended(effect, now)

    def _fetch(self, owner: Owner, effect: Fetch | Abandon, now: float) -> list[PoolEffect]:
        if isinstance(effect, Fetch):
            if self._encoded is not None and self._encoded[0] is effect.params:
                request = self._encoded[1]
            else:
                request = encode_call(self.endpoint, effect.method, effect.params, self._random)
            return self._submit(owner, effect.fetch, request, now)
        number = self._requests.pop((owner, effect.fetch))
        del self._fetches[number]
        return self._client.abandon(number, now)

    def _submit(
        self, owner: Owner, fetch: int, request: Request, now: float, *, streamed: bool = False
    ) -> list[PoolEffect]:
        number = self._fetch_numbers.new()
        self._fetches[number] = (owner, fetch)
        self._requests[owner, fetch] = number
        # The poll has a connection to itself: calls that fill all the others must not hold updates up.
        urgent = owner in ("polling", "registration")
        return self._client.fetch(number, request, now, streamed=streamed, urgent=urgent)

    def _answered(self, effect: Answered | Arrived, now: float) -> tuple[Part, list[Effect]]:
        """Tell an answer, or a piece of one, to whom it is for."""
        if isinstance(effect, Arrived):
            return "pool", [Receive(self._fetches[effect.fetch][1], effect.data)]
        owner, fetch = self._fetches.pop(effect.fetch)
        del self._requests[owner, fetch]
        response = effect.response
        outcome: FetchOutcome
        if isinstance(response, Unreachable):
            outcome = response
        elif owner == "download" and response.status == 200:
            outcome = Result(None)
        else:
            outcome = decode_answer(response.status, body_bytes(response.body), self._decode)
        if owner == "download":
            return owner, [Resolve(fetch, outcome)]
        if owner == "polling" and self._polling is not None:
            return owner, self._polling.fetched(fetch, outcome, now)
        if owner == "registration" and self._registration is not None:
            return owner, self._registration.fetched(fetch, outcome, now)
        return "calls", self._calls.fetched(fetch, outcome, now)

    def _request_came(self, effect: Asked | Requested, now: float) -> tuple[Part, Sequence[ServerEffect]]:
        """Tell the webhook of a client's request; of one that its head alone decides, it does not hear."""
        if effect.request not in self._hosted and not self._server.awaits(effect.request):
            return "server", []  # its client was cut off within the same bytes
        if isinstance(effect, Asked) or not effect.asked:
            answer = self.screen(effect.message, now)
            if answer is not None:
                said = self._rejected(effect.message, answer)
                return "server", [*said, *self._respond(effect.request, answer, now)]
        if isinstance(effect, Asked):
            return "server", self._server.proceed(effect.request, now)
        assert self._webhook is not None  # without one, each is rejected
        return "webhook", self._webhook.requested(effect.request, effect.message, now, screened=True)

    def _rejected(self, message: Request, answer: Response) -> list[Report]:
        """What is said of a request that its head alone decides: nothing of one for health, or to a poller."""
        return [] if self._webhook is None or _asks_for_health(message) else [rejected(answer)]

    def _respond(self, request: int, response: Response, now: float) -> list[ServerEffect]:
        # Telegram sends nothing that is rejected. Who does has to connect anew for each: so many in a row, sent without
        # waiting for the answers, would hold up all others.
        return self._server.respond(request, response, now, close=400 <= response.status < 500)

    def _answer_ended(self, effect: Gone | BrokenOff | WentOut, now: float) -> tuple[Part, Sequence[ServerEffect]]:
        """Tell the webhook what became of an answer, or of the client that waited for it."""
        if self._webhook is None:
            return "server", []
        if isinstance(effect, Gone):
            return "webhook", self._webhook.disconnected(effect.request, now)
        assert self._replying is not None  # no other answers by a file
        told = self._replying.broken_off if isinstance(effect, BrokenOff) else self._replying.went_out
        return "webhook", told(effect.request, now)

    def _check_free(self, call: int) -> None:
        if self._calls.knows(call) or ("download", call) in self._requests:
            raise LocalProtocolError(f"call {call} is under way already")

    def _health(self, method: str, now: float) -> Response:
        progress = self.progress
        healthy = self.healthy(now)
        said = {
            "healthy": healthy,
            "seconds_since_fetched": None if progress.last_fetched is None else round(now - progress.last_fetched, 1),
            "seconds_since_handled": None if progress.last_handled is None else round(now - progress.last_handled, 1),
            "waiting": progress.waiting,
            "running": progress.running,
        }
        data = codec.encode(said)
        headers = (("content-type", "application/json"), ("content-length", str(len(data))))
        return Response(200 if healthy else 503, headers, (data,) if method == "GET" else ())

    # The end

    def _stop_webhook(self, webhook: Webhook | StoringWebhook, now: float) -> list[Effect]:
        effects: list[Effect] = []
        if self._registration is not None:
            effects += self._carry_out("registration", self._registration.wind_up(now), now)
        effects += self._carry_out("server", self._server.stop(now), now)
        return effects + self._carry_out("webhook", webhook.stop(now), now)

    def _part_ended(self, part: Part, failure: str | None, now: float) -> list[Effect]:
        if part == "registration" and self._webhook is not None and not self._webhook.over:
            if not isinstance(self.state, Running):
                return []  # a stop was asked for: the end comes when the handlers' does
            # The webhook could not be set: nothing will come.
            self.state = TABLE.move(self.state, Stopping(failure))
            return self._stop_webhook(self._webhook, now)
        registration = self._registration
        if part in ("webhook", "worker") and isinstance(self.state, Running):  # its inbox could not be opened
            self.state = TABLE.move(self.state, Stopping(failure))
        if part == "webhook" and registration is not None and not registration.over:
            return self._carry_out("registration", registration.stop(now), now)
        if isinstance(self.state, Stopping) and self._server.sending:
            self.state = TABLE.move(self.state, Leaving(failure or self.state.failure))
            return []
        return self._over(failure, now)

    def _over(self, failure: str | None, now: float) -> list[Effect]:
        if isinstance(self.state, (Stopping, Leaving)):
            failure = failure or self.state.failure
        self.state = TABLE.move(self.state, Over())
        # The pool first, so that no call which waited is sent in the place of one that is given up.
        effects = self._carry_out("pool", self._client.close(now), now)
        effects += self._carry_out("calls", self._calls.stop(now), now)
        for owner, fetch in list(self._requests):  # downloads: a part that has ended has nothing under way
            effects += self._carry_out(owner, [Abandon(fetch)], now)
            effects.append(Resolve(fetch, Unreachable("the bot was stopped before the answer came")))
        effects += self._carry_out("server", self._server.close(now), now)
        return [*effects, Ended(failure)]


def _check_unused_with_an_inbox(**given: object) -> None:
    for name, value in given.items():
        if value is not None:
            raise OptionError(
                f"{name} cannot be given with confirm='stored': a request is answered when its update is stored"
            )


def _asks_for_health(request: Request) -> bool:
    return request.target == HEALTH_PATH and request.method in ("GET", "HEAD")


DriverEffect: TypeAlias = (
    "Connect | Send | Pull | Close | Handle | Cancel | Open | Store | Mark | Release | Resolve | Receive | Report "
    "| Log | Ended | Respond | Throw | Transmit | Recall"
)
"""What a driver of `Bot` carries out.

Open, Store, Mark and Release come only with an inbox; Respond and Throw only if it tells requests as values; Transmit
and Recall only with `ApiOptions.own_client`.
"""
