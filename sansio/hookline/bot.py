"""The whole bot as one machine: a source of updates, calls, and HTTP/1.1, down to the bytes of each connection.

`Bot` composes the machines that each know one thing: `Polling` or `Webhook` (with `Registration`), `Calls`, `Pool`
towards Telegram and `Server` towards clients. It adds no rule of its own but how they are joined: fetches become
requests of the pool, requests of clients go to the webhook or to the health check, and the run is over when its source
is, all that was said has been sent, and every call has ended. It knows nothing of the operating system.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final, Literal, TypeAlias

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
    Log,
    Pull,
    Receive,
    Report,
    Resolve,
    Respond,
    Send,
    Throw,
)
from hookline.errors import LocalProtocolError
from hookline.http import Request, Response, body_bytes
from hookline.options import ApiOptions, HttpLimits, PollingOptions, SetWebhookOptions, WebhookOptions
from hookline.outcomes import REPLIED, FetchOutcome, Outcome, Result, Unreachable
from hookline.polling import Polling, Progress
from hookline.pool import Answered, Arrived, Numbers, Pool, PoolEffect
from hookline.registration import Registration
from hookline.server import Asked, Gone, Requested, Server, ServerEffect
from hookline.states import StateTable
from hookline.updates import Lane
from hookline.webhook import NO_BODY, OnTimeoutPolicy, Webhook

ReplyWith: TypeAlias = "Callable[[str], bool]"
"""Says for which methods a call may travel in a webhook's response. It must be a pure function."""

HEALTH_PATH: Final = "/healthz"
STALE_AFTER: Final = 30.0
"""Polling is unhealthy when getUpdates has not succeeded for its timeout, its read margin and this long."""

Owner: TypeAlias = "Literal['polling', 'registration', 'calls', 'download']"


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
class Over:
    """The run has ended."""


State: TypeAlias = "Fresh | Running | Stopping | Over"

TABLE = StateTable("Bot", {Fresh: (Running, Over), Running: (Stopping, Over), Stopping: (Over,), Over: ()})


class Bot:
    """The machine that a driver runs.

    1. Every input is a fact in the past tense or a command in the imperative, and takes `now`, a monotonic clock's
       seconds, last.
    2. State is settled before a method returns. The effects are finished, to be carried out in order; telling the
       machine something while carrying them out is allowed.
    3. Effects are plain values. `Connect` is answered by `connected` or `connect_failed`, `Pull` by `pulled` or
       `pull_failed`, `Handle` by `finished`; a write that fails is told as `disconnected`.
    4. `deadline` is the earliest time at which `tick` has something to do, or None; `reason` says why. After
       `tick(now)` it lies later than `now`. An early or a repeated tick does nothing.
    5. Nothing that the network sends raises: what is wrong with it is a `Report`.
    6. Wrong use by the program raises LocalProtocolError and changes nothing.
    7. No clock, randomness, I/O or logging inside: the seed and the decoder are arguments.
    8. Copied or pickled between any two calls, it goes on the same.

    source: PollingOptions, WebhookOptions, or None for calls alone. set_webhook: call setWebhook at the start.
    seed: for jitter and boundaries. lane, on_timeout, reply_with: the program's own pure functions.
    """

    def __init__(
        self,
        token: Token,
        source: PollingOptions | WebhookOptions | None = None,
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
        self._webhook: Webhook | None = None
        self._registration: Registration | None = None
        max_body = 1_024
        if isinstance(source, PollingOptions):
            self._polling = Polling(source, seed=seed, lane=lane)
        elif isinstance(source, WebhookOptions):
            self._webhook = Webhook(source, seed=seed, decode=decode, lane=lane, on_timeout=on_timeout)
            max_body = source.max_body
            if set_webhook is not None:
                self._registration = Registration(set_webhook, source.secret_token, seed=seed)
        self._numbers = Numbers()
        self._pool = Pool(
            self.endpoint.host,
            self.endpoint.port,
            self.endpoint.tls,
            connections=api.connections,
            max_response=api.max_response,
            numbers=self._numbers,
        )
        self._server = Server(http, max_body=max_body)
        self._fetches: dict[int, tuple[Owner, int]] = {}  # whose each request of the pool is
        self._requests: dict[tuple[Owner, int], int] = {}  # and back
        self._next_request = 1
        self._started_at: float | None = None

    # Reading

    @property
    def deadline(self) -> float | None:
        """The earliest time at which `tick` has something to do."""
        if isinstance(self.state, Over):
            return None
        times = [machine.deadline for machine in self._timed()]
        return min((time for time in times if time is not None), default=None)

    @property
    def reason(self) -> str:
        """Why there is a deadline, in words."""
        deadline = self.deadline
        for machine in self._timed():
            if deadline is not None and machine.deadline == deadline:
                return getattr(machine, "reason", "a connection is idle or too slow")
        return "nothing is awaited"

    @property
    def progress(self) -> Progress:
        """How the run gets on."""
        source = self._polling or self._webhook
        return source.progress if source is not None else Progress()

    def healthy(self, now: float) -> bool:
        """Whether updates are being carried: a poller that hears nothing from Telegram is not healthy."""
        if not isinstance(self.state, Running):
            return False
        if self._polling is None:
            return True
        heard = self.progress.last_fetched
        since = now - (heard if heard is not None else self._started_at or now)
        busy = self.progress.running >= self._polling.options.concurrency
        return busy or since <= self._polling.options.timeout + 10.0 + STALE_AFTER

    def new_connection(self) -> int:
        """A number for a connection that the program is about to tell as `accepted`."""
        return self._numbers.new()

    # Commands

    def start(self, now: float) -> list[Effect]:
        """Begin the run. A webhook's server listens already when this is called."""
        if not isinstance(self.state, Fresh):
            raise LocalProtocolError("start: this bot was started before")
        self.state = TABLE.move(self.state, Running())
        self._started_at = now
        if self._polling is not None:
            return self._route("polling", self._polling.start(now), now)
        if self._registration is not None:
            return self._route("registration", self._registration.start(now), now)
        return []

    def stop(self, now: float) -> list[Effect]:
        """End the run gracefully; `Ended` comes last. A second stop cuts the grace time short."""
        if isinstance(self.state, Over):
            return []
        if isinstance(self.state, Fresh):
            return self._over(None, now)
        if isinstance(self.state, Running):
            self.state = TABLE.move(self.state, Stopping(None))
        if self._polling is not None:
            return self._route("polling", self._polling.stop(now), now)
        if self._webhook is not None:
            effects = self._clients([*self._server.stop(now)], now)
            return effects + self._route("webhook", self._webhook.stop(now), now)
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
        Errors: LocalProtocolError for a method or a parameter that can't be sent.
        """
        if isinstance(self.state, Over):
            return [Resolve(call, Unreachable("the bot has stopped"))]
        encode_call(self.endpoint, method, params, self._random)  # so that what can't be sent changes nothing
        if job is not None and self._webhook is not None and self._reply_with is not None and self._reply_with(method):
            effects = self._webhook.reply(job, method, params, now)
            if effects is not None:
                return [*self._route("webhook", effects, now), Resolve(call, REPLIED)]
        return self._route("calls", self._calls.call(call, method, params, now, timeout), now)

    def download(self, call: int, file_path: str, now: float) -> list[Effect]:
        """Download a file, from getFile's `file_path`: by `Receive`s, then one `Resolve`, whose value is its size."""
        if isinstance(self.state, Over):
            return [Resolve(call, Unreachable("the bot has stopped"))]
        request = Request("GET", self.endpoint.file_target(file_path), (("host", self.endpoint.host_header),))
        return self._submit("download", call, request, now, streamed=True)

    def cancel(self, call: int, now: float) -> list[Effect]:
        """Nobody waits for this call or download any more; it gets no `Resolve`."""
        if ("download", call) in self._requests:
            return self._route("download", [Abandon(call)], now)
        return self._route("calls", self._calls.cancel(call, now), now)

    # Facts

    def connected(self, connection: int, now: float) -> list[Effect]:
        """The connection of a `Connect` is open."""
        return self._answers(self._pool.connected(connection, now), now)

    def connect_failed(self, connection: int, reason: str, now: float) -> list[Effect]:
        """The connection of a `Connect` could not be opened."""
        return self._answers(self._pool.connect_failed(connection, reason, now), now)

    def accepted(self, connection: int, now: float) -> list[Effect]:
        """A client has connected; the number is from `new_connection`."""
        if isinstance(self.state, Over):
            return [Close(connection)]
        return self._clients(self._server.accepted(connection, now), now)

    def received(self, connection: int, data: bytes, now: float) -> list[Effect]:
        """Bytes have come over a connection; empty bytes say that the other side sends no more."""
        if self._server.owns(connection):
            return self._clients(self._server.received(connection, data, now), now)
        if not data:
            return self.disconnected(connection, "closed by the server", now)
        return self._answers(self._pool.received(connection, data, now), now)

    def disconnected(self, connection: int, reason: str, now: float) -> list[Effect]:
        """A connection has gone, or a write failed. For one that was closed by `Close` it does nothing."""
        if self._server.owns(connection):
            return self._clients(self._server.disconnected(connection, now), now)
        return self._answers(self._pool.disconnected(connection, reason, now), now)

    def pulled(self, connection: int, data: bytes, now: float) -> list[Effect]:
        """The answer to `Pull`; empty at the source's end."""
        if self._server.owns(connection):
            return self._clients(self._server.pulled(connection, data, now), now)
        return self._answers(self._pool.pulled(connection, data, now), now)

    def pull_failed(self, connection: int, reason: str, now: float) -> list[Effect]:
        """The source of a `Pull` can't be read."""
        if self._server.owns(connection):
            return self._clients(self._server.pull_failed(connection, reason, now), now)
        return self._answers(self._pool.pull_failed(connection, reason, now), now)

    def finished(self, job: int, outcome: Outcome, now: float) -> list[Effect]:
        """The run of a handler has ended. After the end of the bot's run it is ignored."""
        if isinstance(self.state, Over):
            return []
        if self._polling is not None:
            return self._route("polling", self._polling.finished(job, outcome, now), now)
        if self._webhook is not None:
            return self._route("webhook", self._webhook.finished(job, outcome, now), now)
        raise LocalProtocolError("finished: this bot has no source of updates")

    # The clock

    def tick(self, now: float) -> list[Effect]:
        """Do what is due. Early and repeated ticks do nothing."""
        effects: list[Effect] = []
        if self._polling is not None:
            effects += self._route("polling", self._polling.tick(now), now)
        if self._webhook is not None:
            effects += self._route("webhook", self._webhook.tick(now), now)
        if self._registration is not None:
            effects += self._route("registration", self._registration.tick(now), now)
        effects += self._route("calls", self._calls.tick(now), now)
        effects += self._answers(self._pool.tick(now), now)
        return effects + self._clients(self._server.tick(now), now)

    # How the parts are joined

    def _timed(self) -> list[Any]:
        parts = (self._polling, self._webhook, self._registration, self._calls, self._pool, self._server)
        return [part for part in parts if part is not None]

    def _route(self, owner: Owner | Literal["webhook"], effects: list[Effect], now: float) -> list[Effect]:
        """Carry out what is meant for another part; the rest is the driver's."""
        out: list[Effect] = []
        for effect in effects:
            if isinstance(effect, Fetch):
                assert owner != "webhook"
                out += self._fetch(owner, effect, now)
            elif isinstance(effect, Abandon):
                assert owner != "webhook"
                request = self._requests.pop((owner, effect.fetch), None)
                if request is not None:
                    del self._fetches[request]
                    out += self._answers(self._pool.abandon(request, now), now)
            elif isinstance(effect, Respond):
                out += self._clients(self._server.respond(effect.request, effect.response, now), now)
            elif isinstance(effect, Throw):
                out += self._clients(self._server.respond(effect.request, Response(500, NO_BODY), now), now)
            elif isinstance(effect, Ended):
                out += self._part_ended(owner, effect.failure, now)
            else:
                out.append(effect)
        return out

    def _fetch(self, owner: Owner, fetch: Fetch, now: float) -> list[Effect]:
        request = encode_call(self.endpoint, fetch.method, fetch.params, self._random)
        return self._submit(owner, fetch.fetch, request, now)

    def _submit(
        self, owner: Owner, fetch: int, request: Request, now: float, *, streamed: bool = False
    ) -> list[Effect]:
        number = self._next_request
        self._next_request += 1
        self._fetches[number] = (owner, fetch)
        self._requests[owner, fetch] = number
        # The poll has a connection to itself: calls that fill all the others must not hold updates up.
        urgent = owner in ("polling", "registration")
        return self._answers(self._pool.fetch(number, request, now, streamed=streamed, urgent=urgent), now)

    def _answers(self, effects: list[PoolEffect], now: float) -> list[Effect]:
        out: list[Effect] = []
        for effect in effects:
            if isinstance(effect, Arrived):
                known = self._fetches.get(effect.fetch)
                if known is not None:
                    out.append(Receive(known[1], effect.data))
            elif isinstance(effect, Answered):
                known = self._fetches.pop(effect.fetch, None)
                if known is not None:
                    del self._requests[known]
                    out += self._answered(*known, effect.response, now)
            else:
                out.append(effect)
        return out

    def _answered(self, owner: Owner, fetch: int, response: Response | Unreachable, now: float) -> list[Effect]:
        outcome: FetchOutcome
        if isinstance(response, Unreachable):
            outcome = response
        elif owner == "download" and response.status == 200:
            outcome = Result(None)
        else:
            outcome = decode_answer(response.status, body_bytes(response.body), self._decode)
        if owner == "download":
            return [Resolve(fetch, outcome)]
        if owner == "polling" and self._polling is not None:
            return self._route(owner, self._polling.fetched(fetch, outcome, now), now)
        if owner == "registration" and self._registration is not None:
            return self._route(owner, self._registration.fetched(fetch, outcome, now), now)
        return self._route("calls", self._calls.fetched(fetch, outcome, now), now)

    def _clients(self, effects: list[ServerEffect], now: float) -> list[Effect]:
        out: list[Effect] = []
        for effect in effects:
            if isinstance(effect, Asked):
                rejection = self._screen(effect.message, now)
                if rejection is not None:
                    out += self._clients(self._server.respond(effect.request, rejection, now), now)
            elif isinstance(effect, Requested):
                if self._webhook is not None and self._screen(effect.message, now) is None:
                    requested = self._webhook.requested(effect.request, effect.message, now)
                    out += self._route("webhook", requested, now)
            elif isinstance(effect, Gone):
                if self._webhook is not None:
                    out += self._route("webhook", self._webhook.disconnected(effect.request, now), now)
            else:
                out.append(effect)
        return out

    def _screen(self, request: Request, now: float) -> Response | None:
        """The answer that a request's head alone earns: a rejection, or the state of health."""
        if request.target == HEALTH_PATH and request.method in ("GET", "HEAD"):
            return self._health(request.method, now)
        if self._webhook is None:
            return Response(404, NO_BODY)
        return self._webhook.screen(request)

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

    def _part_ended(self, owner: str, failure: str | None, now: float) -> list[Effect]:
        if owner == "webhook" and self._registration is not None:
            return self._route("registration", self._registration.stop(now), now)
        if owner == "registration" and failure is not None and isinstance(self.state, Running):
            # The webhook could not be set: nothing will come.
            self.state = TABLE.move(self.state, Stopping(failure))
            assert self._webhook is not None
            effects = self._clients(self._server.stop(now), now)
            return effects + self._route("webhook", self._webhook.stop(now), now)
        return self._over(failure, now)

    def _over(self, failure: str | None, now: float) -> list[Effect]:
        if isinstance(self.state, Stopping):
            failure = failure or self.state.failure
        effects = self._route("calls", self._calls.stop(now), now)
        for owner, fetch in list(self._requests):
            if owner == "download":
                effects += [*self._route(owner, [Abandon(fetch)], now)]
                effects.append(Resolve(fetch, Unreachable("the bot was stopped before the answer came")))
        effects += self._answers(self._pool.close(now), now)
        effects += self._clients(self._server.close(now), now)
        self.state = TABLE.move(self.state, Over())
        return [*effects, Ended(failure)]


DriverEffect: TypeAlias = "Connect | Send | Pull | Close | Handle | Cancel | Resolve | Receive | Report | Log | Ended"
"""What a driver of `Bot` carries out."""
