"""A Bot API server as a pure machine: requests and responses as values, in virtual time.

`SimulatedTelegram` is faithful to telegram-server.md; each rule names its section. It does not know HTTP framing nor
sockets (`server` adds those). Facts: `requested`, `disconnected`, `posted`, `post_failed`, `slot_lost`; commands:
`inject`, `inject_raw`, `restart_ids`, `set_fault`, `revoke`; the clock: `tick` and `deadline`. `Respond` and `HangUp`
answer a request, `Post` is answered by `posted` or `post_failed`.

The control interface, JSON over HTTP, is part of it, so that any program can be tested against it:

    POST /_sim/message  {"bot": id, "text": ..., "user": id, "chat": id}   a user's message; answers its update_id
    POST /_sim/button   {"bot": id, "data": ..., "user": id, "chat": id}   a press of a button
    POST /_sim/update   {"bot": id, "kind": ..., "payload": {...}}         any update
    POST /_sim/raw      {"bot": id, "text": ...}                           an element that is no update
    POST /_sim/fault    {"bot": id, "method": ..., "kind": ..., ...}       a fault (see `Fault`)
    POST /_sim/revoke   {"bot": id}                                        the token is refused from now on
    POST /_sim/ids      {"bot": id, "first": id}                           a new range of update ids
    GET  /_sim/calls?bot=ID                                                the calls the bot made, the last 10 000
    GET  /_sim/state?bot=ID                                                what waits, and the webhook
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from random import Random
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from attrs import asdict, define, evolve, field, frozen

from hookline import codec
from hookline.effects import Respond
from hookline.errors import LocalProtocolError
from hookline.http import Request, Response, body_bytes
from hookline.sim.effects import CloseSlot, HangUp, SimEffect
from hookline.sim.kinds import DEFAULT, KINDS, lifetime, ordering_queue
from hookline.sim.methods import Chats, Refusal
from hookline.sim.params import Params, read_params
from hookline.sim.queue import UpdateQueue
from hookline.sim.sender import Sender, Settings

PACE: Final = 3.0
LIMIT_CUT: Final = 0.5
CONFLICT_WINDOW: Final = 3.0
QUIET: Final = 0.001
MAX_DELAY: Final = 0.002
MAX_CALLS: Final = 10_000
MAX_BOTS: Final = 10_000

WEBHOOK_ACTIVE: Final = (
    "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
)
OTHER_POLL: Final = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
BY_WEBHOOK: Final = "Conflict: terminated by setWebhook request"

_IGNORED_IN_REPLIES: Final = ("deletewebhook", "setwebhook", "close", "logout")
_RESERVED: Final = ("127.", "10.", "192.168.", "0.", "169.254.")


@frozen
class Fault:
    """What is to go wrong, for the next `times` calls of `method` ("" is every method).

    kind: "error" (code, description, retry_after), "html" (a proxy's page with status code), "empty" (status code, no
        body), "close" (no answer), "half" (a part of an answer, then closed), "silent" (no answer for ever), "body" (a
        200 with `body`).
    """

    kind: str
    method: str = ""
    times: int = 1
    code: int = 500
    description: str = "Internal Server Error"
    retry_after: int | None = None
    body: str = ""


@frozen
class Call:
    """One call that a bot made. via: "api" or "webhook reply"."""

    method: str
    params: Mapping[str, str]
    files: tuple[str, ...]
    at: float
    via: str


@define
class Poll:
    """The pending long poll. wake: when it is answered, after updates have come."""

    request: int
    limit: int
    until: float
    wake: float | None = None
    first: float | None = None


@define
class BotState:
    """All that the server keeps of one bot (telegram-server.md, 7)."""

    chats: Chats
    queue: UpdateQueue = field(factory=UpdateQueue)
    allowed: frozenset[str] = DEFAULT
    sender: Sender | None = None
    poll: Poll | None = None
    previous: tuple[int, float] | None = None  # the raw offset and the time of the last getUpdates
    next_conflict: float = 0.0
    next_set_webhook: float = 0.0
    revoked: bool = False
    logged_out: bool = False
    calls: deque[Call] = field(factory=lambda: deque(maxlen=MAX_CALLS))
    faults: list[Fault] = field(factory=list)
    fresh: int = 0


class SimulatedTelegram:
    """The machine. `epoch` is the unix time at now=0; `local` is the server's --local mode (3.3)."""

    def __init__(self, *, seed: int = 0, epoch: int = 1_750_000_000, local: bool = True) -> None:
        self.epoch = epoch
        self.local = local
        self._random = Random(seed)
        self._bots: dict[int, BotState] = {}
        self._held: list[tuple[float, int, Response]] = []  # answers that are given later (409 pacing)
        self._number = 0
        self._now = 0.0

    # Reading

    @property
    def deadline(self) -> float | None:
        """The earliest time at which `tick` has something to do."""
        times = [time for time, _, _ in self._held]
        for bot in self._bots.values():
            if bot.poll is not None:
                times.append(bot.poll.until if bot.poll.wake is None else bot.poll.wake)
            if bot.sender is not None:
                time = bot.sender.deadline(self._now)
                if time is not None:
                    times.append(time)
        return min(times, default=None)

    def calls(self, bot_id: int) -> list[Call]:
        """The calls that a bot made, the oldest first; the last MAX_CALLS."""
        return list(self.bot(bot_id).calls)

    def pending(self, bot_id: int) -> int:
        """How many updates are stored for a bot."""
        return len(self.bot(bot_id).queue.events)

    def bot(self, bot_id: int) -> BotState:
        """The state of a bot, made when it is first asked for."""
        bot = self._bots.get(bot_id)
        if bot is None:
            if len(self._bots) >= MAX_BOTS:
                raise LocalProtocolError(f"the simulation holds {MAX_BOTS} bots already")
            bot = self._bots[bot_id] = BotState(Chats(bot_id))
        return bot

    # Commands

    def inject(self, bot_id: int, kind: str, payload: Any, now: float) -> tuple[int | None, list[SimEffect]]:
        """Make an update of a bot; its id, or None where the bot's allowed_updates leave it out or it is lost."""
        bot = self.bot(bot_id)
        if kind in KINDS and kind not in bot.allowed:
            return None, []
        bot.fresh -= 1
        lane = ordering_queue(kind, payload, bot.fresh - (1 << 60))
        text = f'"{kind}":{codec.encode(payload).decode()}'
        return self._push(bot, text, lifetime(kind), lane, now)

    def inject_raw(self, bot_id: int, text: str, now: float) -> tuple[int | None, list[SimEffect]]:
        """Make an element of a bot's queue that is no update: it is delivered as `text`, which is JSON."""
        bot = self.bot(bot_id)
        bot.fresh -= 1
        return self._push(bot, text, 86_400, bot.fresh - (1 << 60), now)

    def user_message(self, bot_id: int, text: str, now: float, *, user: int = 1, chat: int | None = None) -> Any:
        """The payload of a user's message."""
        where = user if chat is None else chat
        place = (
            {"id": where, "type": "private", "first_name": f"User {user}"}
            if where > 0
            else {"id": where, "type": "supergroup", "title": f"Chat {where}"}
        )
        return {
            "message_id": self.bot(bot_id).chats.new_message_id(),
            "from": self._user(user),
            "chat": place,
            "date": self._unix(now),
            "text": text,
        }

    def button_press(self, bot_id: int, data: str, now: float, *, user: int = 1, chat: int | None = None) -> Any:
        """The payload of a callback_query."""
        message = self.user_message(bot_id, "press a button", now, user=user, chat=chat)
        message["from"] = self.bot(bot_id).chats.me()
        query = str(self._random.getrandbits(62))
        return {"id": query, "from": self._user(user), "message": message, "chat_instance": str(user), "data": data}

    def restart_ids(self, bot_id: int, first: int) -> None:
        """Drop what is stored and go on with the id `first`, which may be lower (1.1)."""
        self.bot(bot_id).queue.restart(first)

    def revoke(self, bot_id: int) -> None:
        """The token of a bot is refused from now on (2.6)."""
        self.bot(bot_id).revoked = True

    def set_fault(self, bot_id: int, fault: Fault) -> None:
        """Let the next calls of a bot go wrong."""
        self.bot(bot_id).faults.append(fault)

    # Facts

    def requested(self, request: int, message: Request, now: float) -> list[SimEffect]:
        """A client's request has come; it is answered by `Respond` or `HangUp`, now or later."""
        self._now = now
        path, _, query = message.target.partition("?")
        body = body_bytes(message.body)
        if path.startswith("/_sim/"):
            return [*self._control(request, path, query, message.method, body, now), *self._step(now)]
        if message.method not in ("GET", "POST"):
            return [Respond(request, Response(501, (("content-length", "0"), ("connection", "close"))))]
        path = unquote(path)
        if path.startswith("/file/bot"):
            return [Respond(request, self._file(path))]
        head, slash, method = path.removeprefix("/bot").partition("/")
        if not path.startswith("/bot") or not slash:
            return [Respond(request, _refuse(Refusal(404, "Not Found")))]
        bot_id = _bot_id(head)
        if bot_id is None:
            return [Respond(request, _refuse(Refusal(401, "Unauthorized: invalid token specified")))]
        bot = self.bot(bot_id)
        params = read_params(query, message.headers, body)
        if params.problem is not None:
            return [Respond(request, Response(413, (("content-length", "0"), ("connection", "close"))))]
        method = (method or params.values.get("method", "")).lower()
        return [*self._method(request, bot, method, params, now), *self._step(now)]

    def disconnected(self, request: int, now: float) -> list[SimEffect]:
        """A client has gone before its answer. A pending poll stays all the same (2.4)."""
        return []

    def posted(self, post: int, response: Response, now: float) -> list[SimEffect]:
        """The endpoint has answered a webhook's request."""
        self._now = now
        for bot in self._bots.values():
            sender = bot.sender
            if sender is None or post not in sender.posts:
                continue
            effects: list[SimEffect] = []
            if 200 <= response.status <= 299:
                params = read_params("", response.headers, body_bytes(response.body))
                if params.problem is not None:
                    slot = sender.posts[post][1]
                    sender.failed(post, params.problem, now, self._unix(now), self._random)
                    return [CloseSlot(slot), *self._step(now)]
                effects += self._reply(bot, params, now)
            effects += sender.posted(post, response, now, self._unix(now), self._random)
            if sender.removed:
                effects += self._remove_webhook(bot)
            return [*effects, *self._step(now)]
        return []

    def post_failed(self, post: int, reason: str | None, now: float) -> list[SimEffect]:
        """A webhook's request got no answer, and its connection is gone. reason: the text of 4.8, or None."""
        self._now = now
        for bot in self._bots.values():
            if bot.sender is not None:
                bot.sender.failed(post, reason, now, self._unix(now), self._random)
        return self._step(now)

    def slot_lost(self, slot: int, now: float) -> list[SimEffect]:
        """The endpoint has closed an idle connection."""
        self._now = now
        for bot in self._bots.values():
            if bot.sender is not None and slot in bot.sender.slots and bot.sender.slots[slot].post is None:
                del bot.sender.slots[slot]
        return self._step(now)

    # The clock

    def tick(self, now: float) -> list[SimEffect]:
        """Do what is due. Early and repeated ticks do nothing."""
        self._now = now
        effects: list[SimEffect] = []
        for held in [held for held in self._held if held[0] <= now]:
            self._held.remove(held)
            effects.append(Respond(held[1], held[2]))
        for bot in self._bots.values():
            poll = bot.poll
            if poll is not None and (now >= poll.until or (poll.wake is not None and now >= poll.wake)):
                bot.poll = None
                effects.append(Respond(poll.request, self._updates(bot, poll.limit, now)))
        return [*effects, *self._step(now)]

    # Methods

    def _method(self, request: int, bot: BotState, method: str, params: Params, now: float) -> list[SimEffect]:
        bot.calls.append(Call(method, dict(params.values), tuple(params.files), now, "api"))
        fault = self._fault(bot, method)
        if fault is not None:
            return _faulty(request, fault)
        if bot.revoked:
            return [Respond(request, _refuse(Refusal(401, "Unauthorized")))]
        if bot.logged_out:
            return [Respond(request, _refuse(Refusal(400, "Logged out")))]
        if method == "getupdates":
            return self._get_updates(request, bot, params, now)
        if method in ("setwebhook", "deletewebhook"):
            return self._set_webhook(request, bot, params if method == "setwebhook" else _without_url(params), now)
        if method == "getwebhookinfo":
            return [Respond(request, _ok(self._webhook_info(bot)))]
        if method == "logout":
            bot.logged_out = True
            bot.queue.clear()
            return [*self._remove_webhook(bot), Respond(request, _ok(True))]
        result = bot.chats.run(method, params, self._unix(now))
        return [Respond(request, _refuse(result) if isinstance(result, Refusal) else _ok(result))]

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
        if timeout == 0 or bot.queue.read(1, self._unix(now)):
            return [Respond(request, self._updates(bot, limit, now))]
        effects: list[SimEffect] = []
        if bot.poll is not None:
            effects += self._conflict(bot, bot.poll.request, OTHER_POLL, now)
        bot.poll = Poll(request, limit, now + timeout)
        return effects

    def _updates(self, bot: BotState, limit: int, now: float) -> Response:
        events = bot.queue.read(limit, self._unix(now))
        text = ",\n".join(event.json() for event in events)
        return _json(200, f'{{"ok":true,"result":[{text}]}}'.encode())

    def _conflict(self, bot: BotState, request: int, description: str, now: float) -> list[SimEffect]:
        """A 409, paced (2.5)."""
        response = _refuse(Refusal(409, description))
        if now >= bot.next_conflict:
            bot.next_conflict = now + CONFLICT_WINDOW
            return [Respond(request, response)]
        self._held.append((now + CONFLICT_WINDOW, request, response))
        return []

    def _set_webhook(self, request: int, bot: BotState, params: Params, now: float) -> list[SimEffect]:
        """The steps of 3.2, in their order; a refusal after the fifth leaves the bot without a webhook."""
        url = params.values.get("url", "").strip()
        if url and now < bot.next_set_webhook:
            return [Respond(request, _refuse(Refusal(429, "Too Many Requests: retry after 1", 1)))]
        if url:
            bot.next_set_webhook = now + 1.0
        wanted = self._settings(url, params)
        drop = params.flag("drop_pending_updates")
        current = bot.sender.settings if bot.sender is not None else None
        if not drop and current == (wanted if url else None) and not (current and current.has_certificate):
            self._allow(bot, params)
            return [Respond(request, _ok(True, f"Webhook is already {'set' if url else 'deleted'}"))]
        effects: list[SimEffect] = []
        if url and bot.poll is not None:
            effects += self._conflict(bot, bot.poll.request, BY_WEBHOOK, now)
            bot.poll = None
        had = bot.sender is not None
        effects += self._remove_webhook(bot)
        if drop:
            bot.queue.clear()
        self._allow(bot, params)
        if not url:
            said = "Webhook was deleted" if had or drop else "Webhook is already deleted"
            return [*effects, Respond(request, _ok(True, said))]
        problem = self._webhook_problem(url, wanted)
        if problem is not None:
            return [*effects, Respond(request, _refuse(Refusal(400, f"Bad Request: {problem}")))]
        bot.sender = Sender(wanted, bot.queue, self._number)
        self._number += 1_000_000_000  # each webhook has numbers of its own
        return [*effects, Respond(request, _ok(True, "Webhook was set"))]

    def _settings(self, url: str, params: Params) -> Settings:
        most = 100_000 if self.local else 100
        return Settings(
            url if "://" in url or not url else f"https://{url}",
            params.values.get("secret_token", ""),
            params.integer("max_connections", 100 if self.local else 40, 1, most),
            params.values.get("ip_address", ""),
            "certificate" in params.files,
        )

    def _webhook_problem(self, url: str, settings: Settings) -> str | None:
        secret = settings.secret_token
        if len(secret.encode()) > 256:
            return "secret token is too long"
        if not all(character.isascii() and (character.isalnum() or character in "_-") for character in secret):
            return "secret token contains unallowed characters"
        try:
            parts = urlsplit(settings.url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            return "invalid webhook URL specified"
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return "invalid webhook URL specified"
        if self.local:
            return None
        if parts.scheme == "http":
            return "bad webhook: An HTTPS URL must be provided for webhook"
        if port not in (80, 88, 443, 8443):
            return "bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443"
        if parts.hostname.startswith(_RESERVED):
            return f"bad webhook: IP address {parts.hostname} is reserved"
        return None

    def _remove_webhook(self, bot: BotState) -> list[SimEffect]:
        if bot.sender is None:
            return []
        effects: list[SimEffect] = [CloseSlot(slot) for slot in bot.sender.slots]
        bot.sender = None
        return effects

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
            info["ip_address"] = sender.settings.ip_address or "<unknown>"
        if bot.allowed != DEFAULT:
            info["allowed_updates"] = [kind for kind in KINDS if kind in bot.allowed]
        return info

    def _allow(self, bot: BotState, params: Params) -> None:
        """allowed_updates, with all that the server ignores (1.5)."""
        names = params.json("allowed_updates")
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            bot.allowed = frozenset(name.lower() for name in names) & frozenset(KINDS) or DEFAULT

    def _reply(self, bot: BotState, params: Params, now: float) -> list[SimEffect]:
        """The method call in a webhook's response; its result goes nowhere (4.7)."""
        method = params.values.pop("method", "").lower()
        if method and not method.startswith("get") and method not in _IGNORED_IN_REPLIES:
            bot.calls.append(Call(method, dict(params.values), tuple(params.files), now, "webhook reply"))
            bot.chats.run(method, params, self._unix(now))
        return []

    # Updates

    def _push(
        self, bot: BotState, text: str, seconds: int, lane: int, now: float
    ) -> tuple[int | None, list[SimEffect]]:
        self._now = now
        update_id = bot.queue.push(text, self._unix(now) + seconds, lane, self._random)
        if update_id is not None and bot.poll is not None:
            bot.poll.first = now if bot.poll.first is None else bot.poll.first
            bot.poll.wake = min(now + QUIET, bot.poll.first + MAX_DELAY)
        return update_id, self._step(now)

    def _step(self, now: float) -> list[SimEffect]:
        """Let each webhook go on."""
        effects: list[SimEffect] = []
        for bot in self._bots.values():
            if bot.sender is not None:
                effects += bot.sender.step(now, self._unix(now), self._random)
        return effects

    def _unix(self, now: float) -> int:
        return int(self.epoch + now)

    @staticmethod
    def _user(user: int) -> dict[str, Any]:
        return {"id": user, "is_bot": False, "first_name": f"User {user}", "language_code": "en"}

    def _fault(self, bot: BotState, method: str) -> Fault | None:
        for index, fault in enumerate(bot.faults):
            if fault.method.lower() in ("", method):
                if fault.times <= 1:
                    del bot.faults[index]
                else:
                    bot.faults[index] = evolve(fault, times=fault.times - 1)
                return fault
        return None

    def _file(self, path: str) -> Response:
        token, _, file_path = path.removeprefix("/file/bot").partition("/")
        bot_id = _bot_id(token)
        stored = self.bot(bot_id).chats.files.get(file_path.removeprefix("documents/")) if bot_id is not None else None
        if stored is None:
            return _refuse(Refusal(404, "Not Found"))
        headers = (("content-type", "application/octet-stream"), ("content-length", str(len(stored[1]))))
        return Response(200, headers, (stored[1],))

    # The control interface

    def _control(
        self, request: int, path: str, query: str, http_method: str, body: bytes, now: float
    ) -> list[SimEffect]:
        name = path.removeprefix("/_sim/")
        try:
            given: dict[str, Any] = (
                codec.decode(body) if body else {key: values[0] for key, values in parse_qs(query).items()}
            )
            bot_id = int(given["bot"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return [Respond(request, _json(400, b'{"error":"give JSON with \\"bot\\": the bot\'s id"}'))]
        effects: list[SimEffect] = []
        answer: Any = {}
        try:
            if http_method == "GET" and name == "calls":
                answer = [asdict(call) for call in self.calls(bot_id)]
            elif http_method == "GET" and name == "state":
                answer = {"pending": self.pending(bot_id), "webhook": self._webhook_info(self.bot(bot_id))}
            elif name in ("message", "button"):
                make = self.user_message if name == "message" else self.button_press
                text = str(given.get("text" if name == "message" else "data", ""))
                payload = make(bot_id, text, now, user=int(given.get("user", 1)), chat=given.get("chat"))
                kind = "message" if name == "message" else "callback_query"
                answer["update_id"], effects = self.inject(bot_id, kind, payload, now)
            elif name == "update":
                answer["update_id"], effects = self.inject(bot_id, str(given["kind"]), given["payload"], now)
            elif name == "raw":
                answer["update_id"], effects = self.inject_raw(bot_id, str(given["text"]), now)
            elif name == "fault":
                self.set_fault(bot_id, Fault(**{key: value for key, value in given.items() if key != "bot"}))
            elif name == "revoke":
                self.revoke(bot_id)
            elif name == "ids":
                self.restart_ids(bot_id, int(given["first"]))
            else:
                return [Respond(request, _json(404, b'{"error":"no such control"}'))]
        except (ValueError, KeyError, TypeError) as error:
            return [Respond(request, _json(400, codec.encode({"error": str(error)})))]
        return [Respond(request, _json(200, codec.encode(answer))), *effects]


def _bot_id(token: str) -> int | None:
    """The bot of a token, by the rules of 2.6; None where the server says that the token is invalid."""
    number, colon, _ = token.partition(":")
    if not colon or not number.isascii() or not number.isdigit() or number[0] == "0" or len(token) > 80:
        return None
    return int(number) if int(number) < 1 << 54 else None


def _without_url(params: Params) -> Params:
    return Params({name: value for name, value in params.values.items() if name != "url"})


def _json(status: int, data: bytes, retry_after: int | None = None) -> Response:
    headers = [("connection", "keep-alive"), ("content-type", "application/json")]
    if retry_after:
        headers.append(("retry-after", str(retry_after)))
    return Response(status, (*headers, ("content-length", str(len(data)))), (data,))


def _ok(result: Any, description: str | None = None) -> Response:
    answer: dict[str, Any] = {"ok": True, "result": result}
    if description is not None:
        answer["description"] = description
    return _json(200, codec.encode(answer))


def _refuse(refusal: Refusal) -> Response:
    answer: dict[str, Any] = {"ok": False, "error_code": refusal.code, "description": refusal.description}
    parameters = {
        name: value
        for name, value in (
            ("retry_after", refusal.retry_after),
            ("migrate_to_chat_id", refusal.migrate_to_chat_id),
        )
        if value is not None
    }
    if parameters:
        answer["parameters"] = parameters
    return _json(refusal.code, codec.encode(answer), refusal.retry_after)


def _faulty(request: int, fault: Fault) -> list[SimEffect]:
    if fault.kind == "error":
        return [Respond(request, _refuse(Refusal(fault.code, fault.description, fault.retry_after)))]
    if fault.kind == "html":
        page = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
        headers = (("content-type", "text/html"), ("content-length", str(len(page))))
        return [Respond(request, Response(fault.code, headers, (page,)))]
    if fault.kind == "empty":
        return [Respond(request, Response(fault.code, (("content-length", "0"), ("connection", "close"))))]
    if fault.kind == "half":
        return [HangUp(request, b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"ok":true,"resu')]
    if fault.kind == "body":
        return [Respond(request, _json(200, fault.body.encode()))]
    return [HangUp(request)] if fault.kind == "close" else []
