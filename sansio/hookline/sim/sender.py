"""The webhook sender of one bot: ordering queues, connections, deadline, retries (telegram-server.md, 4).

It decides which update is posted when and over which connection, and what a response means for the update. It does not
know what the method call in a response does. The rule that keeps it right: a queue has at most one update outstanding.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Final
from urllib.parse import urlsplit

from attrs import define, field, frozen

from hookline.http import Request, Response, values_of
from hookline.sim.effects import CloseSlot, Post, SimEffect
from hookline.sim.queue import Event, UpdateQueue

RESPONSE_DEADLINE: Final = 60.0
IDLE_TIMEOUT: Final = 60.0
HEALTHY_FOR: Final = 10.0
BURST: Final = 10.0
NEW_PER_SECOND: Final = 20.0
UNHEALTHY_INTERVAL: Final = 2.0
MAX_RETRY_AFTER: Final = 3_600
GONE_FOR: Final = 82_800.0


@frozen
class Settings:
    """What setWebhook stored."""

    url: str
    secret_token: str = field(default="", repr=False)
    max_connections: int = 40
    ip_address: str = ""
    has_certificate: bool = False


@define
class Lane:
    """One ordering queue: its loaded events, when its head is due, and how its head failed so far."""

    events: deque[Event] = field(factory=deque)
    due: float = 0.0
    delay: int = 1
    fails: int = 0
    post: int | None = None


@define
class Slot:
    """One connection to the endpoint. post: what it carries. until: its deadline, or when it has idled too long."""

    post: int | None
    until: float


@define
class Sender:
    """The webhook of one bot, from setWebhook to deleteWebhook."""

    settings: Settings
    queue: UpdateQueue
    next_number: int
    """The number of the next post or slot; numbers are the machine's, not this webhook's."""
    lanes: dict[int, Lane] = field(factory=dict)
    slots: dict[int, Slot] = field(factory=dict)
    posts: dict[int, tuple[int, int]] = field(factory=dict)  # lane and slot of each post under way
    loaded: int = 0
    last_error: tuple[int, str] | None = None
    last_success: float | None = None
    gone_since: float | None = None
    removed: bool = False
    _tokens: float = BURST
    _tokens_at: float = 0.0
    _last_opened: float | None = None

    def deadline(self, now: float) -> float | None:
        """The earliest time at which `step` has something to do."""
        times = [slot.until for slot in self.slots.values()]
        times += [lane.due for lane in self.lanes.values() if lane.post is None and lane.due > now]
        if any(lane.post is None and lane.due <= now for lane in self.lanes.values()):
            opening = self._may_open_at(now)
            if opening is not None:
                times.append(opening)
        return min(times, default=None)

    def step(self, now: float, unix: float, random: Random) -> list[SimEffect]:
        """Time out, load, and post what is due."""
        effects: list[SimEffect] = []
        for number, slot in list(self.slots.items()):
            if slot.until <= now:
                if slot.post is None:
                    del self.slots[number]
                else:
                    self.failed(slot.post, "Read timeout expired", now, unix, random)
                effects.append(CloseSlot(number))
        self._load(now, unix)
        due = sorted((lane.due, key) for key, lane in self.lanes.items() if lane.post is None and lane.due <= now)
        for _, key in due:
            slot_number = self._free_slot(now)
            if slot_number is None:
                break
            effects.append(self._post(key, slot_number, now))
        return effects

    def posted(self, post: int, response: Response, now: float, unix: float, random: Random) -> list[SimEffect]:
        """A response has come whole. Returns the closing of its connection, where it can't be kept."""
        if post not in self.posts:
            return []
        key, number = self.posts[post]
        lane = self.lanes[key]
        effects: list[SimEffect] = []
        if 200 <= response.status <= 299:
            self.last_success, self.gone_since = now, None
            self._settle(post, now)
            self._drop_head(key, lane, now)
        else:
            if response.status != 410:
                self.gone_since = None
            elif self.gone_since is None:
                self.gone_since = now
            elif now - self.gone_since > GONE_FOR:
                self.removed = True
            self.last_error = (int(unix), f"Wrong response from the webhook: {response.status} {_reason(response)}")
            self._settle(post, now)
            self._retry(key, lane, _retry_after(response), now, unix, random)
        if any(value.lower() == "close" for value in values_of(response.headers, "connection")):
            del self.slots[number]
            effects.append(CloseSlot(number))
        return effects

    def failed(self, post: int, reason: str | None, now: float, unix: float, random: Random) -> None:
        """A post got no response; its connection is gone. reason: the error to show, if any is (4.8)."""
        if post not in self.posts:
            return
        key, number = self.posts[post]
        if reason is not None:
            self.last_error = (int(unix), reason)
        self._settle(post, now)
        self.slots.pop(number, None)
        self._retry(key, self.lanes[key], 0, now, unix, random)

    def _load(self, now: float, unix: float) -> None:
        room = 2 * self.settings.max_connections - len(self.lanes)
        if room <= 0 or self.queue.newest is None or self.loaded >= self.queue.newest:
            return
        for event in self.queue.after(self.loaded, min(1_000, room), unix):
            self.loaded = event.id
            lane = self.lanes.get(event.lane)
            if lane is None:
                lane = self.lanes[event.lane] = Lane(due=now)
            lane.events.append(event)

    def _free_slot(self, now: float) -> int | None:
        for number, slot in self.slots.items():
            if slot.post is None:
                return number
        opening = self._may_open_at(now)
        if opening is None or opening > now:
            return None
        self._tokens = min(BURST, self._tokens + (now - self._tokens_at) * NEW_PER_SECOND) - 1.0
        self._tokens_at = now
        self._last_opened = now
        self.next_number += 1
        self.slots[self.next_number] = Slot(None, now + IDLE_TIMEOUT)
        return self.next_number

    def _may_open_at(self, now: float) -> float | None:
        """When one more connection may be opened (4.1); None while no number of seconds would allow it."""
        if len(self.slots) >= min(self.settings.max_connections, len(self.lanes)):
            return None
        if self.last_success is not None and now - self.last_success <= HEALTHY_FOR:
            tokens = min(BURST, self._tokens + (now - self._tokens_at) * NEW_PER_SECOND)
            return now if tokens >= 1.0 else now + (1.0 - tokens) / NEW_PER_SECOND + 1e-6
        if self.slots:
            return None
        return now if self._last_opened is None else max(now, self._last_opened + UNHEALTHY_INTERVAL)

    def _post(self, key: int, slot: int, now: float) -> Post:
        lane = self.lanes[key]
        self.next_number += 1
        post = self.next_number
        lane.post = post
        self.slots[slot] = Slot(post, now + RESPONSE_DEADLINE)
        self.posts[post] = (key, slot)
        return Post(post, slot, self.settings.url, self._request(lane.events[0]))

    def _request(self, event: Event) -> Request:
        parts = urlsplit(self.settings.url)
        host = parts.hostname or ""
        usual = 443 if parts.scheme == "https" else 80
        body = event.json().encode("utf-8")
        headers = [("host", host if parts.port in (None, usual) else f"{host}:{parts.port}")]
        if self.settings.secret_token:
            headers.append(("x-telegram-bot-api-secret-token", self.settings.secret_token))
        headers += [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("connection", "keep-alive"),
            ("accept-encoding", "gzip, deflate"),
        ]
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return Request("POST", target, tuple(headers), (body,))

    def _settle(self, post: int, now: float) -> None:
        key, number = self.posts.pop(post)
        self.lanes[key].post = None
        slot = self.slots.get(number)
        if slot is not None:
            slot.post, slot.until = None, now + IDLE_TIMEOUT

    def _drop_head(self, key: int, lane: Lane, now: float) -> None:
        self.queue.drop(lane.events.popleft().id)
        if not lane.events:
            del self.lanes[key]
            return
        lane.delay, lane.fails, lane.due = 1, 0, now

    def _retry(self, key: int, lane: Lane, retry_after: int, now: float, unix: float, random: Random) -> None:
        """When a failed update is sent again (4.6), or that it has expired by then."""
        if retry_after > 0:
            wait = min(retry_after, MAX_RETRY_AFTER)
        elif lane.fails == 0:
            wait = 0
        else:
            lane.delay = min(random.randint(60, 120), 2 * lane.delay)
            wait = lane.delay
        lane.fails += 1
        if int(unix) + wait > lane.events[0].expires_at:
            self._drop_head(key, lane, now)
        else:
            lane.due = now + wait


def _retry_after(response: Response) -> int:
    values = values_of(response.headers, "retry-after")
    return int(values[0]) if values and values[0].isascii() and values[0].isdigit() else 0


def _reason(response: Response) -> str:
    names = {400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 500: "Internal Server Error"}
    return names.get(response.status, {503: "Service Unavailable", 413: "Content Too Large"}.get(response.status, ""))
