"""A Bot API server as a pure machine: requests and responses as values, in virtual time.

`SimulatedTelegram` is faithful to telegram-server.md; each rule names its section. It does not know HTTP framing nor
sockets (`server` adds those), nor what an endpoint's bytes mean (`reader`). Facts: `requested`, `disconnected`, `sent`,
`posted`, `slot_lost`; commands: `inject`, `inject_raw`, `drop`, `restart_ids`, `set_fault`, `close_idle`, `restart`,
`revoke`; the clock: `tick` and `deadline`. `Respond` and `HangUp` answer a request, `Post` is answered by `posted` or
`slot_lost`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from http import HTTPStatus
from math import ceil
from random import Random
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

from attrs import define, evolve, field, frozen

from hookline import codec
from hookline.effects import Respond
from hookline.errors import LocalProtocolError
from hookline.http import Request, Response, body_bytes
from hookline.sim import answers, users
from hookline.sim.address import problem_of, read_url
from hookline.sim.answers import Refusal
from hookline.sim.control import PREFIX, control
from hookline.sim.effects import CloseIdle, CloseSlot, HangUp, SimEffect
from hookline.sim.faults import DELIVERY, Fault
from hookline.sim.kinds import DEFAULT, INTERNAL, KINDS, expires_at, ordering_queue
from hookline.sim.methods import Chats
from hookline.sim.params import Params, read_params
from hookline.sim.queue import MAX_ID, Event, UpdateQueue
from hookline.sim.sender import Sender, Settings
from hookline.timers import Timers

PACE: Final = 3.0
LIMIT_CUT: Final = 0.5
CONFLICT_WINDOW: Final = 3.0
QUIET: Final = 0.001
MAX_DELAY: Final = 0.002
FIRST_COLLECTION: Final = 600.0
COLLECTION_INTERVAL: Final = 60.0
CLOSE_INTERVAL: Final = 600.0
LONG_AUTHORISED: Final = 1_800.0
SET_WEBHOOK_INTERVAL: Final = 1.0
MAX_SECRET: Final = 256
MAX_CERTIFICATE: Final = 3_145_728
MAX_TOKEN: Final = 80
MIN_SECRET_PART: Final = 24
TEST_ENVIRONMENT: Final = 1 << 54
"""What is added to a bot's id for its queue in the test environment (1.1)."""

NUMBERS: Final = 1_000_000_000
"""So many numbers each webhook has for its posts and slots; its own number is how often this goes into them."""

MAX_CALLS: Final = 10_000
MAX_CALL_BYTES: Final = 67_108_864
MAX_BOTS: Final = 10_000
MAX_FAULTS: Final = 1_000

WEBHOOK_ACTIVE: Final = (
    "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
)
OTHER_POLL: Final = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
BY_WEBHOOK: Final = "Conflict: terminated by setWebhook request"
UNAUTHORIZED: Final = Refusal(401, "Unauthorized")
INVALID_TOKEN: Final = Refusal(401, "Unauthorized: invalid token specified")
UNALLOWED_TOKEN: Final = Refusal(421, "Misdirected Request: unallowed token specified")
NOT_FOUND: Final = Refusal(404, "Not Found")
ABSOLUTE_URI: Final = Refusal(404, "Not Found: absolute URI is specified in the Request-Line")

_IGNORED_IN_REPLIES: Final = ("deletewebhook", "setwebhook", "close", "logout")
_SECRET_CHARACTERS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}
_FRESH: Final = -(1 << 60)
"""Ordering queues of updates that have none of their own lie below this, out of the way of all ids."""


@frozen
class Call:
    """One call that a bot made. via: "api" or "webhook reply". update_id: the update that such a reply answered."""

    method: str
    params: Mapping[str, str]
    files: tuple[str, ...]
    at: float
    via: str
    update_id: int | None = None

    @property
    def size(self) -> int:
        """Characters that it holds."""
        return len(self.method) + sum(len(name) + len(value) for name, value in self.params.items())


@define
class Poll:
    """The pending long poll. request: None if nobody hears its answer. wake: when it is answered, after updates."""

    request: int | None
    offset: int
    limit: int
    until: float
    wake: float | None = None
    first: float | None = None

    @property
    def due(self) -> float:
        """When it is answered."""
        return self.until if self.wake is None else min(self.until, self.wake)


# A bot's instance in the server (2.6)


@frozen
class Asleep:
    """No instance runs: the next request starts one."""


@frozen
class Running:
    """It runs since then."""

    since: float


@frozen
class LoggedOut:
    """It is kept to refuse everything, until then."""

    until: float


@frozen
class Revoked:
    """Its token is refused for ever."""


Instance: TypeAlias = "Asleep | Running | LoggedOut | Revoked"


@define
class BotState:
    """All that the server keeps of one bot (telegram-server.md, 7). id: that of its queue (1.1)."""

    id: int
    chats: Chats
    queue: UpdateQueue = field(factory=UpdateQueue)
    instance: Instance = field(factory=Asleep)
    allowed: frozenset[str] = DEFAULT
    stored: Settings | None = None
    """The webhook that the next instance begins with (4.9)."""
    sender: Sender | None = None
    poll: Poll | None = None
    previous: tuple[int, float] | None = None  # the raw offset and the time of the last getUpdates
    next_conflict: float = 0.0
    next_set_webhook: float = 0.0
    calls: deque[Call] = field(factory=deque)
    call_bytes: int = 0
    faults: list[Fault] = field(factory=list)
    fresh: int = _FRESH

    def called(self, call: Call) -> None:
        """Remember a call; the oldest are forgotten."""
        self.calls.append(call)
        self.call_bytes += call.size
        while len(self.calls) > MAX_CALLS or self.call_bytes > MAX_CALL_BYTES:
            self.call_bytes -= self.calls.popleft().size


class SimulatedTelegram:
    """The machine. `epoch` is the unix time at now=0; `local` is the server's --local mode (3.3)."""

    def __init__(self, *, seed: int = 0, epoch: int = 1_750_000_000, local: bool = True) -> None:
        self.epoch = epoch
        self.local = local
        self._random = Random(seed)
        self._bots: dict[int, BotState] = {}
        self._due = Timers()  # when each bot has something to do
        self._held: dict[int, Respond | HangUp] = {}  # what becomes of requests later: a paced 409 (2.5), or a fault
        self._held_until = Timers()
        self._webhooks: dict[int, BotState] = {}  # the bot of each webhook, by the number of the webhook
        self._last_webhook = 0
        self._started: float | None = None
        self._next_collection = 0.0

    # Reading

    @property
    def deadline(self) -> float | None:
        """The earliest time at which `tick` has something to do."""
        times = (self._due.next, self._held_until.next)
        return min((time for time in times if time is not None), default=None)

    def calls(self, bot_id: int) -> list[Call]:
        """The calls that a bot made, the oldest first; the last MAX_CALLS, or MAX_CALL_BYTES."""
        return list(self.bot(bot_id).calls)

    def pending(self, bot_id: int) -> int:
        """How many updates are stored for a bot."""
        return len(self.bot(bot_id).queue.events)

    def webhook_info(self, bot_id: int) -> dict[str, Any]:
        """What getWebhookInfo would answer."""
        return self._webhook_info(self.bot(bot_id))

    def bot(self, bot_id: int) -> BotState:
        """The state of a bot, made when it is first asked for."""
        bot = self._bots.get(bot_id)
        if bot is None:
            if not 0 < bot_id < 2 * TEST_ENVIRONMENT or bot_id == TEST_ENVIRONMENT:
                raise LocalProtocolError(f"{bot_id} can't be a bot's id")
            if len(self._bots) >= MAX_BOTS:
                raise LocalProtocolError(f"the simulation holds {MAX_BOTS} bots already")
            bot = self._bots[bot_id] = BotState(bot_id, Chats(bot_id % TEST_ENVIRONMENT))
        return bot

    # Commands

    def inject(self, bot_id: int, kind: str, payload: Any, now: float) -> tuple[int | None, list[SimEffect]]:
        """Make an update of a bot; its id.

        None where there is no such update: the bot's allowed_updates leave it out (1.5), it is too old (1.3), or the
        queue is full (1.2).
        """
        bot = self.bot(bot_id)
        expires = expires_at(kind, payload, self._unix(now))
        if expires is None or (kind in KINDS and kind not in bot.allowed):
            return None, []
        bot.fresh -= 1
        text = _json({kind: payload})[1:-1]
        return self._push(bot, text, expires, ordering_queue(kind, payload, bot.fresh), now)

    def inject_raw(self, bot_id: int, text: str, now: float) -> tuple[int | None, list[SimEffect]]:
        """Make an element of a bot's queue that is no update: it is delivered as `text`, which is JSON."""
        _json(text)  # what could not be sent raises here
        bot = self.bot(bot_id)
        bot.fresh -= 1
        return self._push(bot, text, self._unix(now) + 86_400, bot.fresh, now, raw=True)

    def user_message(self, bot_id: int, text: str, now: float, *, user: int = 1, chat: int | None = None) -> Any:
        """The payload of a user's message."""
        return users.message(self.bot(bot_id).chats, text, self._unix(now), user=user, chat=chat)

    def button_press(self, bot_id: int, data: str, now: float, *, user: int = 1, chat: int | None = None) -> Any:
        """The payload of a callback_query."""
        query_id = str(self._random.getrandbits(62))
        return users.press(self.bot(bot_id).chats, data, self._unix(now), query_id, user=user, chat=chat)

    def drop(self, bot_id: int, update_id: int) -> None:
        """A stored update is gone, as if it had expired; this leaves a hole in the ids (1.1)."""
        queue = self.bot(bot_id).queue
        if update_id in queue.events:
            queue.drop(queue.events[update_id])

    def restart_ids(self, bot_id: int, first: int) -> None:
        """Drop what is stored and go on with the id `first`, which may be lower (1.1)."""
        if not 1 <= first < MAX_ID:
            raise LocalProtocolError(f"{first} can't be an update's id")
        bot = self.bot(bot_id)
        bot.queue.restart(first)
        if bot.sender is not None:
            bot.sender.forget()

    def close_idle(self, bot_id: int, now: float) -> list[SimEffect]:
        """Every connection that idles is closed: those of all clients, and those to the endpoint of a bot."""
        self._at(now)
        bot = self.bot(bot_id)
        closed = [] if bot.sender is None else bot.sender.close_idle()
        return [CloseIdle(), *closed, *self._settle(bot, now)]

    def restart(self, bot_id: int, now: float) -> list[SimEffect]:
        """The server restarts, as a bot sees it: posts under way are given up and come again (4.9)."""
        self._at(now)
        bot = self.bot(bot_id)
        if isinstance(bot.instance, LoggedOut | Revoked):
            return []
        effects = self._end(bot, now)
        if bot.stored is not None:
            self._begin(bot, now, with_webhook=True)
        return [*effects, *self._settle(bot, now)]

    def revoke(self, bot_id: int, now: float) -> list[SimEffect]:
        """The token of a bot is refused from now on; its webhook is gone, its updates stay (2.6)."""
        self._at(now)
        bot = self.bot(bot_id)
        effects = self._end(bot, now)
        bot.instance, bot.stored = Revoked(), None
        return [*effects, *self._settle(bot, now)]

    def set_fault(self, bot_id: int, fault: Fault) -> None:
        """Let the next calls of a bot go wrong."""
        bot = self.bot(bot_id)
        if len(bot.faults) >= MAX_FAULTS:
            raise LocalProtocolError(f"{MAX_FAULTS} faults wait already")
        bot.faults.append(fault)

    # Facts

    def requested(self, request: int, message: Request, now: float) -> list[SimEffect]:
        """A client's request has come; it is answered by `Respond` or `HangUp`, now or later."""
        self._at(now)
        if message.target.startswith(PREFIX):
            response, effects = control(self, message, now)
            return [Respond(request, response), *effects]
        if message.method not in ("GET", "POST"):
            return [Respond(request, answers.empty(501))]
        target, _, query = message.target.partition("?")
        params = read_params(query, message.headers, body_bytes(message.body))
        if params.problem is not None:
            return [Respond(request, answers.empty(params.status))]
        if not target.startswith("/"):
            return [Respond(request, answers.refuse(ABSOLUTE_URI))]
        path = unquote(target)
        if path.startswith("/file/bot"):
            return [Respond(request, self._file(path))]
        route = _route(path)
        if isinstance(route, Refusal):
            return [Respond(request, answers.refuse(route))]
        bot_id, method = route
        if bot_id not in self._bots and len(self._bots) >= MAX_BOTS:
            return [Respond(request, answers.refuse(answers.flood(60)))]
        method = (method or params.values.get("method", "")).lower()
        bot = self.bot(bot_id)
        return [*self._call(request, bot, method, params, now), *self._settle(bot, now)]

    def disconnected(self, request: int, now: float) -> list[SimEffect]:
        """A client has gone before its answer. A pending poll stays all the same (2.4)."""
        self._forget(request)
        return []

    def sent(self, post: int, now: float) -> list[SimEffect]:
        """A webhook's connection has taken the whole request."""
        bot = self._webhooks.get(post // NUMBERS)
        if bot is not None and bot.sender is not None:
            bot.sender.sent(post)
        return []

    def posted(self, post: int, response: Response, reason: str, now: float) -> list[SimEffect]:
        """The endpoint has answered a webhook's request. reason: the reason phrase, which a bot may be shown (4.8)."""
        self._at(now)
        bot = self._webhooks.get(post // NUMBERS)
        if bot is None or bot.sender is None or post not in bot.sender.posts:
            return []
        fault = self._fault(bot, DELIVERY)
        if fault is not None and fault.answer is not None:
            response, reason = fault.answer, _PHRASES.get(fault.answer.status, "")
        elif fault is not None:
            return [] if fault.kind == "silent" else self._broken(bot, post, None, now)
        params = read_params("", response.headers, body_bytes(response.body))
        if params.problem is not None:
            return self._broken(bot, post, params.problem, now)
        if 200 <= response.status <= 299:
            self._reply(bot, bot.sender.update_of(post), params, now)
        effects = bot.sender.posted(post, response, reason, now, self._unix(now), self._random)
        if bot.sender.removed:
            effects += self._remove_webhook(bot)
        return [*effects, *self._settle(bot, now)]

    def slot_lost(self, slot: int, reason: str | None, now: float) -> list[SimEffect]:
        """A webhook's connection is gone, or could not be opened. reason: the text of 4.8, or None."""
        self._at(now)
        bot = self._webhooks.get(slot // NUMBERS)
        if bot is None or bot.sender is None:
            return []
        bot.sender.lost(slot, reason, now, self._unix(now), self._random)
        return self._settle(bot, now)

    # The clock

    def tick(self, now: float) -> list[SimEffect]:
        """Do what is due. Early and repeated ticks do nothing."""
        self._at(now)
        effects: list[SimEffect] = [self._held.pop(request) for request in self._held_until.due(now)]
        if now >= self._next_collection:
            self._next_collection += (1 + (now - self._next_collection) // COLLECTION_INTERVAL) * COLLECTION_INTERVAL
            for bot in self._bots.values():
                bot.queue.collect(self._unix(now))
        for bot_id in self._due.due(now):
            bot = self._bots[bot_id]
            if bot.poll is not None and bot.poll.due <= now:
                effects += self._answer_poll(bot, now)
            effects += self._settle(bot, now)
        return effects

    # Methods

    def _call(self, request: int, bot: BotState, method: str, params: Params, now: float) -> list[SimEffect]:
        bot.called(Call(method, dict(params.values), tuple(params.files), now, "api"))
        fault = self._fault(bot, method)
        if fault is None:
            return self._method(request, bot, method, params, now)
        if fault.answer is not None:
            return self._hold(Respond(request, fault.answer), now + fault.after, now)
        effects = [
            effect
            for effect in self._method(request, bot, method, params, now)
            if not isinstance(effect, Respond) or effect.request != request
        ]
        if bot.poll is not None and bot.poll.request == request:
            bot.poll.request = None
        self._forget(request)
        hang_up = fault.hang_up(request)
        return effects if hang_up is None else [*effects, *self._hold(hang_up, now + fault.after, now)]

    def _hold(self, effect: Respond | HangUp, until: float, now: float) -> list[SimEffect]:
        """What becomes of a request, now or later."""
        if until <= now:
            return [effect]
        self._held[effect.request] = effect
        self._held_until.set(effect.request, until)
        return []

    def _forget(self, request: int) -> None:
        """Nothing is held for a request any more."""
        if self._held.pop(request, None) is not None:
            self._held_until.clear(request)

    def _method(self, request: int, bot: BotState, method: str, params: Params, now: float) -> list[SimEffect]:
        refusal = self._wake(bot, method, now)
        if refusal is not None:
            return [Respond(request, answers.refuse(refusal))]
        if method == "getupdates":
            return self._get_updates(request, bot, params, now)
        if method in ("setwebhook", "deletewebhook"):
            return self._set_webhook(request, bot, params if method == "setwebhook" else _without_url(params), now)
        if method == "getwebhookinfo":
            return [Respond(request, answers.success(self._webhook_info(bot)))]
        if method in ("logout", "close"):
            return self._log_out(request, bot, now) if method == "logout" else self._close(request, bot, now)
        result = bot.chats.run(method, params, self._unix(now))
        return [Respond(request, answers.refuse(result) if isinstance(result, Refusal) else answers.success(result))]

    # A bot's instance (2.6)

    def _wake(self, bot: BotState, method: str, now: float) -> Refusal | None:
        """Start the bot's instance if it has none; why it refuses the method, if it does."""
        if isinstance(bot.instance, LoggedOut) and now >= bot.instance.until:
            bot.instance = Asleep()
        if isinstance(bot.instance, Revoked):
            return UNAUTHORIZED
        if isinstance(bot.instance, LoggedOut):
            return Refusal(400, "Logged out")
        if isinstance(bot.instance, Asleep):
            if method == "close":
                return Refusal(400, "Bad Request: the bot has already been closed")
            self._begin(bot, now, with_webhook=method not in ("setwebhook", "deletewebhook"))
        return None

    def _begin(self, bot: BotState, now: float, *, with_webhook: bool) -> None:
        """Start a bot's instance; a stored webhook counts as verified (4.9)."""
        bot.instance = Running(now)
        bot.previous, bot.next_conflict, bot.next_set_webhook = None, 0.0, 0.0
        if bot.stored is not None and with_webhook:
            self._open_webhook(bot, bot.stored, verified=True)

    def _end(self, bot: BotState, now: float) -> list[SimEffect]:
        """End the bot's instance: a pending poll gets what is there, posts under way are given up."""
        effects = [*self._answer_poll(bot, now), *self._close_webhook(bot)]
        bot.instance = Asleep()
        return effects

    def _log_out(self, request: int, bot: BotState, now: float) -> list[SimEffect]:
        assert isinstance(bot.instance, Running)
        kept = 1.0 if now - bot.instance.since > LONG_AUTHORISED else LONG_AUTHORISED
        effects = self._end(bot, now)
        bot.instance, bot.stored = LoggedOut(now + kept), None
        bot.queue.clear()
        return [*effects, Respond(request, answers.success(True))]

    def _close(self, request: int, bot: BotState, now: float) -> list[SimEffect]:
        assert isinstance(bot.instance, Running)
        assert self._started is not None
        left = bot.instance.since + CLOSE_INTERVAL - now
        if left > 0 and bot.instance.since - self._started > CLOSE_INTERVAL:
            return [Respond(request, answers.refuse(answers.flood(ceil(left))))]
        return [*self._end(bot, now), Respond(request, answers.success(True))]

    # getUpdates (2)

    def _get_updates(self, request: int, bot: BotState, params: Params, now: float) -> list[SimEffect]:
        if bot.sender is not None:
            return self._conflict(bot, request, WEBHOOK_ACTIVE, now)
        offset = params.raw_integer("offset", 0)
        limit = params.integer("limit", 100, 1, 100)
        timeout = float(params.integer("timeout", 0, 0, 50))
        self._allow(bot, params)
        if bot.previous is not None and bot.previous[0] == offset:
            since = now - bot.previous[1]
            if timeout < PACE and since < PACE:
                timeout = PACE
            if since < LIMIT_CUT:
                limit = 1
        bot.previous = (offset, now)
        bot.queue.confirm(offset)
        events = bot.queue.read(limit, self._unix(now))
        if events or timeout == 0:
            return [Respond(request, _updates(events))]
        effects = self._end_poll(bot, OTHER_POLL, now)
        bot.poll = Poll(request, max(offset, 0), limit, now + timeout)
        return effects

    def _answer_poll(self, bot: BotState, now: float) -> list[SimEffect]:
        """Answer the pending poll, if there is one, by what is there; its offset holds for that too."""
        if bot.poll is None:
            return []
        poll, bot.poll = bot.poll, None
        bot.queue.confirm(poll.offset)
        events = bot.queue.read(poll.limit, self._unix(now))
        return [] if poll.request is None else [Respond(poll.request, _updates(events))]

    def _end_poll(self, bot: BotState, description: str, now: float) -> list[SimEffect]:
        """Refuse the pending poll, if there is one."""
        if bot.poll is None:
            return []
        poll, bot.poll = bot.poll, None
        return self._conflict(bot, poll.request, description, now)

    def _conflict(self, bot: BotState, request: int | None, description: str, now: float) -> list[SimEffect]:
        """A 409, paced (2.5)."""
        until = now
        if now >= bot.next_conflict:
            bot.next_conflict = now + CONFLICT_WINDOW
        else:
            until += CONFLICT_WINDOW
        if request is None:
            return []
        return self._hold(Respond(request, answers.refuse(Refusal(409, description))), until, now)

    # Webhooks (3)

    def _set_webhook(self, request: int, bot: BotState, params: Params, now: float) -> list[SimEffect]:
        """The steps of 3.2, in their order; a refusal after the fifth leaves the bot without a webhook."""
        url = params.values.get("url", "")
        if url and now < bot.next_set_webhook:
            return [Respond(request, answers.refuse(answers.flood(1)))]
        if url:
            bot.next_set_webhook = now + SET_WEBHOOK_INTERVAL
        drop = params.flag("drop_pending_updates")
        wanted = self._settings(url, params)
        if not drop and self._is_set(bot, url, wanted):
            self._allow(bot, params)
            return [Respond(request, answers.success(True, f"Webhook is already {'set' if url else 'deleted'}"))]
        effects = self._end_poll(bot, BY_WEBHOOK, now) if url else []
        done = "Webhook is already deleted" if bot.sender is None else "Webhook was deleted"
        effects += self._remove_webhook(bot)
        if drop:
            bot.queue.clear()
        if url:
            problem = self._new_webhook(bot, wanted, params)
            if problem is not None:
                return [*effects, Respond(request, answers.refuse(Refusal(400, f"Bad Request: {problem}")))]
            done = "Webhook was set"
        return [*effects, Respond(request, answers.success(True, done))]

    def _new_webhook(self, bot: BotState, wanted: Settings | None, params: Params) -> str | None:
        """Set a webhook, or say why it can't be set, in the words of 3.3."""
        if wanted is None:
            return "invalid webhook URL specified"
        if len(wanted.secret_token.encode("utf-8")) > MAX_SECRET:
            return "secret token is too long"
        if not _SECRET_CHARACTERS.issuperset(wanted.secret_token):
            return "secret token contains unallowed characters"
        certificate = params.file("certificate")
        if certificate is not None and len(certificate.content) > MAX_CERTIFICATE:
            return f"certificate size is too big ({len(certificate.content)} bytes)"
        self._allow(bot, params)
        problem = problem_of(wanted.address, wanted.ip_address, local=self.local)
        if problem is not None:
            return f"bad webhook: {problem}"
        bot.stored = wanted
        self._open_webhook(bot, wanted, verified=False)
        return None

    def _settings(self, url: str, params: Params) -> Settings | None:
        """What a setWebhook asks for; None where its url can't be read."""
        address = read_url(url)
        if address is None:
            return None
        return Settings(
            url,
            address,
            params.values.get("secret_token", ""),
            params.integer("max_connections", 100 if self.local else 40, 1, 100_000 if self.local else 100),
            params.values.get("ip_address", ""),
            params.file("certificate") is not None,
        )

    @staticmethod
    def _is_set(bot: BotState, url: str, wanted: Settings | None) -> bool:
        """Whether a setWebhook changes nothing (3.2, step 3)."""
        if bot.sender is None:
            return not url
        return wanted == bot.sender.settings and not bot.sender.settings.has_certificate

    def _open_webhook(self, bot: BotState, settings: Settings, *, verified: bool) -> None:
        self._last_webhook += 1
        self._webhooks[self._last_webhook] = bot
        bot.sender = Sender(settings, bot.queue, self._last_webhook * NUMBERS, verified)

    def _close_webhook(self, bot: BotState) -> list[SimEffect]:
        """Give up what is under way; what is stored of the webhook stays."""
        if bot.sender is None:
            return []
        effects: list[SimEffect] = [CloseSlot(slot) for slot in bot.sender.slots]
        del self._webhooks[bot.sender.next_number // NUMBERS]
        bot.sender = None
        return effects

    def _remove_webhook(self, bot: BotState) -> list[SimEffect]:
        """Close the webhook and erase what is stored of it, if there is one."""
        if bot.sender is not None:
            bot.stored = None
        return self._close_webhook(bot)

    def _webhook_info(self, bot: BotState) -> dict[str, Any]:
        sender = bot.sender
        info: dict[str, Any] = {
            "url": sender.settings.url if sender else "",
            "has_custom_certificate": bool(sender and sender.settings.has_certificate),
            "pending_update_count": len(bot.queue.events),
        }
        if sender is not None:
            if sender.last_error is not None:
                info["last_error_date"], info["last_error_message"] = sender.last_error
            info["max_connections"] = sender.settings.max_connections
            info["ip_address"] = sender.settings.ip_address or sender.settings.address.ip or "<unknown>"
        if bot.allowed != DEFAULT:
            info["allowed_updates"] = [kind for kind in KINDS if kind in bot.allowed - INTERNAL]
        return info

    def _allow(self, bot: BotState, params: Params) -> None:
        """allowed_updates, with all that the server ignores (1.5)."""
        names = params.json("allowed_updates")
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            bot.allowed = frozenset(name.lower() for name in names) & frozenset(KINDS) or DEFAULT

    def _reply(self, bot: BotState, update_id: int, params: Params, now: float) -> None:
        """The method call in a webhook's response; its result goes nowhere (4.7)."""
        method = params.values.pop("method", "").lower()
        if method and not method.startswith("get") and method not in _IGNORED_IN_REPLIES:
            bot.called(Call(method, dict(params.values), tuple(params.files), now, "webhook reply", update_id))
            bot.chats.run(method, params, self._unix(now))

    def _broken(self, bot: BotState, post: int, reason: str | None, now: float) -> list[SimEffect]:
        """A post's answer can't be read: its connection is closed, and it has failed."""
        assert bot.sender is not None
        slot = bot.sender.posts[post].slot
        bot.sender.lost(slot, reason, now, self._unix(now), self._random)
        return [CloseSlot(slot), *self._settle(bot, now)]

    # What is shared

    def _push(
        self, bot: BotState, text: str, expires: int, lane: int, now: float, *, raw: bool = False
    ) -> tuple[int | None, list[SimEffect]]:
        self._at(now)
        update_id = bot.queue.push(text, expires, lane, self._random, raw=raw)
        if update_id is not None and bot.poll is not None:
            bot.poll.first = now if bot.poll.first is None else bot.poll.first
            bot.poll.wake = min(now + QUIET, bot.poll.first + MAX_DELAY)
        return update_id, self._settle(bot, now)

    def _settle(self, bot: BotState, now: float) -> list[SimEffect]:
        """Let a bot's webhook go on, and note when the bot has something to do next."""
        effects: list[SimEffect] = []
        times: list[float] = []
        if bot.sender is not None:
            effects = bot.sender.step(now, self._unix(now), self._random)
            if bot.sender.deadline is not None:
                times.append(bot.sender.deadline)
        if bot.poll is not None:
            times.append(bot.poll.due)
        if bot.queue.events:
            times.append(self._next_collection)
        if times:
            self._due.set(bot.id, min(times))
        else:
            self._due.clear(bot.id)
        return effects

    def _at(self, now: float) -> None:
        """The first time that is told is the server's start."""
        if self._started is None:
            self._started = now
            self._next_collection = now + FIRST_COLLECTION

    def _unix(self, now: float) -> int:
        return int(self.epoch + now)

    def _fault(self, bot: BotState, method: str) -> Fault | None:
        for index, fault in enumerate(bot.faults):
            if fault.befalls(method):
                if fault.times <= 1:
                    del bot.faults[index]
                else:
                    bot.faults[index] = evolve(fault, times=fault.times - 1)
                return fault
        return None

    def _file(self, path: str) -> Response:
        """A file's bytes, as the cloud's front proxy serves them (5.5)."""
        token, _, file_path = path.removeprefix("/file/bot").partition("/")
        bot_id = _bot_id(token)
        bot = None if isinstance(bot_id, Refusal) else self._bots.get(bot_id)
        stored = None if bot is None else bot.chats.files.get(file_path.removeprefix("documents/"))
        if stored is None:
            return answers.refuse(NOT_FOUND)
        headers = (("content-type", "application/octet-stream"), ("content-length", str(len(stored.content))))
        return Response(200, headers, (stored.content,))


def _route(path: str) -> tuple[int, str] | Refusal:
    """The bot's queue and the method that a path names (5.1), or how it is refused."""
    token, slash, method = path.removeprefix("/bot").partition("/")
    test = method.startswith("test")
    if not path.startswith("/bot") or not slash or (test and not method.startswith("test/")):
        return NOT_FOUND
    bot_id = _bot_id(token)
    if isinstance(bot_id, Refusal):
        return bot_id
    return (bot_id + TEST_ENVIRONMENT, method.removeprefix("test/")) if test else (bot_id, method)


def _bot_id(token: str) -> int | Refusal:
    """The bot of a token, or how the token is refused (2.6)."""
    number, colon, secret = token.partition(":")
    if not colon or number.startswith("0") or len(token.encode("utf-8")) > MAX_TOKEN:
        return INVALID_TOKEN
    digits = number.removeprefix("-")
    if not digits.isascii() or not digits.isdigit():
        return UNALLOWED_TOKEN
    if not 1 <= int(number) < TEST_ENVIRONMENT:
        return INVALID_TOKEN
    if len(secret) < MIN_SECRET_PART or not _SECRET_CHARACTERS.issuperset(secret):
        return UNAUTHORIZED
    return int(number)


def _json(value: Any) -> str:
    try:
        return codec.encode(value).decode()
    except (TypeError, ValueError) as error:
        raise LocalProtocolError(f"an update must be something that JSON can say: {error}") from None


def _updates(events: list[Event]) -> Response:
    text = ",".join(event.json() for event in events)
    return answers.json(200, f'{{"ok":true,"result":[{text}]}}'.encode())


def _without_url(params: Params) -> Params:
    return Params({name: value for name, value in params.values.items() if name != "url"})
