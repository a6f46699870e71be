"""The webhook sender of one bot: ordering queues, connections, deadline, retries (telegram-server.md, 4).

It decides which update is posted when and over which connection, and what a response means for the update. It does not
know what the method call in a response does. The rule that keeps it right: a queue has at most one update outstanding.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from heapq import heappop, heappush
from math import inf
from random import Random
from typing import Final

from attrs import define, field, frozen

from hookline.http import Request, Response, values_of
from hookline.sim.address import Address
from hookline.sim.effects import CloseSlot, OpenSlot, Post, SimEffect
from hookline.sim.queue import Event, UpdateQueue

RESPONSE_DEADLINE: Final = 60.0
IDLE_TIMEOUT: Final = 60.0
HEALTHY_FOR: Final = 10.0
BURST: Final = 10
OPENING_INTERVAL: Final = 0.05
UNHEALTHY_INTERVAL: Final = 2.0
MAX_RETRY_AFTER: Final = 3_600
GONE_FOR: Final = 82_800.0
MAX_LOAD: Final = 1_000
MAX_HEAD: Final = 4_096


@frozen
class Settings:
    """What setWebhook stored. url: as it was given."""

    url: str
    address: Address
    secret_token: str = field(default="", repr=False)
    max_connections: int = 40
    ip_address: str = ""
    has_certificate: bool = False

    @property
    def host(self) -> str:
        """Where connections go: `ip_address`, but not with TLS, which is for a host's name."""
        return self.address.host if self.address.tls else self.ip_address or self.address.host


@frozen
class Loaded:
    """An event that was read from the queue, and when: it is due from then on."""

    event: Event
    at: float


@define
class Lane:
    """One ordering queue: its loaded events, and how its head failed so far."""

    events: deque[Loaded] = field(factory=deque)
    delay: int = 1
    fails: int = 0
    post: int | None = None


@define
class Slot:
    """One connection to the endpoint. post: what it carries. until: its deadline, or when it has idled too long."""

    post: int | None
    until: float


@define
class Flight:
    """A post under way. overdue: what is said of it when its time is up (4.5)."""

    lane: int
    slot: int
    overdue: str = "Write timeout expired"


@define
class OpeningLimit:
    """How often a connection may be opened: `burst` at once, then one per `interval`."""

    burst: int
    interval: float
    next_at: float = -inf
    _spare: float = field(init=False)
    _counted_at: float = field(init=False, default=0.0)

    def __attrs_post_init__(self) -> None:
        self._spare = self.burst - 1.0

    def opened(self, now: float) -> None:
        """A connection was opened."""
        self._spare = min(self.burst - 1.0, self._spare + (now - self._counted_at) / self.interval)
        self._counted_at = now
        if self._spare >= 1:
            self._spare -= 1
        else:
            self.next_at = self._counted_at = now + (1 - self._spare) * self.interval
            self._spare = 0.0


@define
class Sender:
    """The webhook of one bot, from setWebhook to deleteWebhook.

    Each lane is in one of three places: under way (it has a post), in `_waiting` until its head is due and a connection
    is free, or nowhere, if its head can't be sent (4.2).
    """

    settings: Settings
    queue: UpdateQueue
    next_number: int
    """The number of the next post or slot; numbers are the machine's, not this webhook's."""
    verified: bool
    """Whether a connection was opened, which is all that setWebhook verifies (3.3)."""
    lanes: dict[int, Lane] = field(factory=dict)
    slots: OrderedDict[int, Slot] = field(factory=OrderedDict)
    """Connections, the one whose time is up first at the front: idle or not, each has the same time."""
    posts: dict[int, Flight] = field(factory=dict)
    loaded: int = 0
    last_error: tuple[int, str] | None = None
    last_success: float = -inf
    gone_since: float | None = None
    removed: bool = False
    """Whether it was answered 410 for too long, and is to be deleted (4.6)."""
    _head_size: int = field(init=False)  # of a request's head, without the digits of its length
    _opening_at: float | None = None  # when one more connection may be opened, if one is wanted
    _idle: deque[int] = field(factory=deque)  # the connections that carry nothing, the one that idled longest first
    _waiting: list[tuple[float, int]] = field(factory=list)  # a heap: when the head of a lane is due, and the lane
    _healthy_limit: OpeningLimit = field(factory=lambda: OpeningLimit(BURST, OPENING_INTERVAL))
    _unhealthy_limit: OpeningLimit = field(factory=lambda: OpeningLimit(1, UNHEALTHY_INTERVAL))

    def __attrs_post_init__(self) -> None:
        self._head_size = len(head_bytes(self._request(b""))) - len("0")

    @property
    def deadline(self) -> float | None:
        """The earliest time at which `step` has something to do, as of its last run."""
        times = [next(iter(self.slots.values())).until] if self.slots else []
        if self._idle and self._waiting:
            times.append(self._waiting[0][0])
        if self._opening_at is not None:
            times.append(self._opening_at)
        return min(times, default=None)

    def step(self, now: float, unix: int, random: Random) -> list[SimEffect]:
        """Time out, load, open connections, and post what is due."""
        effects: list[SimEffect] = []
        while self.slots:
            number, slot = next(iter(self.slots.items()))
            if slot.until > now:
                break
            overdue = None if slot.post is None else self.posts[slot.post].overdue
            self.lost(number, overdue, now, unix, random)
            effects.append(CloseSlot(number))
        self._load(now, unix)
        effects += self._open(now)
        while self._idle and self._waiting and self._waiting[0][0] <= now:
            _, key = heappop(self._waiting)
            body = self.lanes[key].events[0].event.json().encode("utf-8")
            if self._head_size + len(str(len(body))) <= MAX_HEAD:
                effects.append(self._post(key, body, now))
        return effects

    def sent(self, post: int) -> None:
        """The connection has taken the whole request."""
        if post in self.posts:
            self.posts[post].overdue = "Read timeout expired"

    def update_of(self, post: int) -> int:
        """The update that a post under way carries."""
        return self.lanes[self.posts[post].lane].events[0].event.id

    def posted(
        self, post: int, response: Response, reason: str, now: float, unix: int, random: Random
    ) -> list[SimEffect]:
        """A response has come whole. Returns the closing of its connection, where it can't be kept."""
        flight = self.posts.pop(post)
        self.lanes[flight.lane].post = None
        if 200 <= response.status <= 299:
            self.last_success, self.gone_since = now, None
            self._drop_head(flight.lane)
        else:
            if response.status != 410:
                self.gone_since = None
            elif self.gone_since is None:
                self.gone_since = now
            elif now - self.gone_since > GONE_FOR:
                self.removed = True
            self.last_error = (unix, f"Wrong response from the webhook: {response.status} {reason}")
            self._retry(flight.lane, _retry_after(response), now, unix, random)
        if [value.lower() for value in values_of(response.headers, "connection")][-1:] == ["close"]:
            del self.slots[flight.slot]
            return [CloseSlot(flight.slot)]
        self._keep(flight.slot, None, now + IDLE_TIMEOUT)
        self._idle.append(flight.slot)
        return []

    def lost(self, number: int, reason: str | None, now: float, unix: int, random: Random) -> None:
        """A connection is gone, and what it carried has failed. reason: the error to show, if any is (4.8)."""
        slot = self.slots.pop(number, None)
        if slot is None:
            return
        if reason is not None:
            self.last_error = (unix, reason)
        if slot.post is None:
            self._idle.remove(number)
        else:
            flight = self.posts.pop(slot.post)
            self.lanes[flight.lane].post = None
            self._retry(flight.lane, 0, now, unix, random)

    def close_idle(self) -> list[SimEffect]:
        """Close the connections that carry nothing."""
        effects: list[SimEffect] = [CloseSlot(number) for number in self._idle]
        while self._idle:
            del self.slots[self._idle.popleft()]
        return effects

    def forget(self) -> None:
        """The queue was emptied and its ids began anew: only what is under way goes on."""
        self.loaded = 0
        self._waiting.clear()
        self.lanes = {key: lane for key, lane in self.lanes.items() if lane.post is not None}
        for lane in self.lanes.values():
            lane.events = deque([lane.events[0]])

    def _load(self, now: float, unix: int) -> None:
        """Read events of at most so many ordering queues (4.3)."""
        if self.queue.newest is not None and self.loaded > self.queue.newest:
            self.loaded = 0  # the ids have reached their ceiling, and begun anew
        room = min(MAX_LOAD, 2 * self.settings.max_connections - len(self.lanes))
        if room <= 0 or self.loaded == self.queue.newest:
            return
        events, self.loaded = self.queue.after(self.loaded, room, unix)
        for event in events:
            lane = self.lanes.get(event.lane)
            if lane is None:
                lane = self.lanes[event.lane] = Lane()
                heappush(self._waiting, (now, event.lane))
            lane.events.append(Loaded(event, now))

    def _open(self, now: float) -> list[SimEffect]:
        """Open the connections that are wanted, as far as they may be opened (4.1)."""
        wanted = min(self.settings.max_connections, len(self.lanes))
        if not self.verified:
            wanted, limit = 1, self._unhealthy_limit
        elif now - self.last_success <= HEALTHY_FOR:
            wanted, limit = max(1, wanted), self._healthy_limit
        else:
            wanted, limit = min(1, wanted), self._unhealthy_limit
        effects: list[SimEffect] = []
        while len(self.slots) < wanted and limit.next_at <= now:
            limit.opened(now)
            self.verified = True
            number = self._new_number()
            self._keep(number, None, now + IDLE_TIMEOUT)
            self._idle.append(number)
            address = self.settings.address
            effects.append(OpenSlot(number, self.settings.host, address.port, address.tls))
        self._opening_at = limit.next_at if len(self.slots) < wanted else None
        return effects

    def _post(self, key: int, body: bytes, now: float) -> Post:
        post, slot = self._new_number(), self._idle.popleft()
        self.lanes[key].post = post
        self._keep(slot, post, now + RESPONSE_DEADLINE)
        self.posts[post] = Flight(key, slot)
        return Post(post, slot, self._request(body))

    def _keep(self, number: int, post: int | None, until: float) -> None:
        self.slots[number] = Slot(post, until)
        self.slots.move_to_end(number)

    def _request(self, body: bytes) -> Request:
        """The request of 4.2, with its headers in their order."""
        address = self.settings.address
        headers = [("host", address.host_header)]
        if address.authorization is not None:
            headers.append(("authorization", address.authorization))
        if self.settings.secret_token:
            headers.append(("x-telegram-bot-api-secret-token", self.settings.secret_token))
        headers += [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("connection", "keep-alive"),
            ("accept-encoding", "gzip, deflate"),
        ]
        return Request("POST", address.target, tuple(headers), (body,))

    def _new_number(self) -> int:
        self.next_number += 1
        return self.next_number

    def _drop_head(self, key: int) -> None:
        lane = self.lanes[key]
        self.queue.drop(lane.events.popleft().event)
        if lane.events:
            lane.delay, lane.fails = 1, 0
            heappush(self._waiting, (lane.events[0].at, key))
        else:
            del self.lanes[key]

    def _retry(self, key: int, retry_after: int, now: float, unix: int, random: Random) -> None:
        """When a failed update is sent again (4.6), or that it has expired by then."""
        lane = self.lanes[key]
        if retry_after > 0:
            wait = min(retry_after, MAX_RETRY_AFTER)
        elif lane.fails == 0:
            wait = 0
        else:
            lane.delay = min(random.randint(60, 120), 2 * lane.delay)
            wait = lane.delay
        lane.fails += 1
        if unix + wait > lane.events[0].event.expires_at:
            self.queue.expire(lane.events[0].event)
            self._drop_head(key)
        else:
            heappush(self._waiting, (now + wait, key))


def _retry_after(response: Response) -> int:
    """Seconds; 0 for what is no decimal integer of 32 bits."""
    value = next(iter(values_of(response.headers, "retry-after")), "")
    seconds = int(value) if value.isascii() and value.isdigit() and len(value) <= 10 else 0
    return seconds if seconds < 1 << 31 else 0


def head_bytes(request: Request) -> bytes:
    """A webhook request's head as it is written, its header names in the spelling of 4.2."""
    lines = [f"{request.method} {request.target} HTTP/1.1", *(f"{n.title()}: {v}" for n, v in request.headers)]
    return "\r\n".join((*lines, "", "")).encode("utf-8")
