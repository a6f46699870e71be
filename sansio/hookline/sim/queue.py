"""The update queue of one bot: ids, limits, expiry and offsets (telegram-server.md, 1 and 2.2).

It stores each update as the JSON text that every delivery repeats byte for byte. Times are unix seconds. Events are in
id order; those acknowledged out of order by a webhook leave holes, which cost nothing to read past.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from random import Random
from typing import Final

from attrs import define, field, frozen

MAX_EVENTS: Final = 100_000
MAX_BYTES: Final = 134_217_728
MAX_EVENT_BYTES: Final = 524_288
MAX_ID: Final = 2_000_000_000
MAX_ANSWER_BYTES: Final = 4_194_304
MAX_AHEAD: Final = 11
"""How far past the newest id an offset is accepted."""
MAX_EXPIRED: Final = 1_000
FIRST_IDS: Final = (2_000_001, 1_000_000_000)


@frozen
class Event:
    """One stored update.

    text: what follows the update_id in its JSON, or all of it where it is `raw`: an element that is no update.
    lane: its webhook ordering queue (4.3).
    """

    id: int
    text: str = field(repr=lambda text: f"{len(text)} characters")
    size: int
    expires_at: int
    lane: int
    raw: bool = False

    def json(self) -> str:
        """The update as every delivery sends it (4.2)."""
        return self.text if self.raw else f'{{"update_id":{self.id},\n{self.text}}}'


@define
class UpdateQueue:
    """The stored updates of one bot.

    expired: the ids of those that were deleted last since their time was up, for whoever asks what became of an update.
    """

    events: OrderedDict[int, Event] = field(factory=OrderedDict)
    bytes: int = 0
    newest: int | None = None
    expired: deque[int] = field(factory=lambda: deque(maxlen=MAX_EXPIRED))

    @property
    def head(self) -> int | None:
        """The oldest stored id."""
        return next(iter(self.events), None)

    def push(self, text: str, expires_at: int, lane: int, random: Random, *, raw: bool = False) -> int | None:
        """Store an update under the next id; None if it is lost, as the server loses it silently (1.2)."""
        size = len(text.encode("utf-8"))
        if not text or size > MAX_EVENT_BYTES or len(self.events) >= MAX_EVENTS or self.bytes + size > MAX_BYTES:
            return None
        if self.newest is None or self.newest + 1 >= MAX_ID:
            self.restart(random.randint(*FIRST_IDS))
        assert self.newest is not None
        self.newest += 1
        self.events[self.newest] = Event(self.newest, text, size, expires_at, lane, raw)
        self.bytes += size
        return self.newest

    def restart(self, first: int) -> None:
        """Drop all that is stored and go on with the id `first`, as at the ceiling of ids (1.1)."""
        self.clear()
        self.newest = first - 1

    def clear(self) -> None:
        """Drop all that is stored; ids go on."""
        self.events.clear()
        self.bytes = 0

    def drop(self, event: Event) -> None:
        """Delete one event, if it is still stored: its id may stand for another by now."""
        if self.events.get(event.id) is event:
            del self.events[event.id]
            self.bytes -= event.size

    def expire(self, event: Event) -> None:
        """Delete one event, if it is still stored, since its time is up."""
        if self.events.get(event.id) is event:
            self.drop(event)
            self.expired.append(event.id)

    def confirm(self, offset: int) -> None:
        """Apply an offset (2.2): delete below a positive one, keep the newest -N of a negative one."""
        head = self.head
        if head is None or self.newest is None:
            return
        if offset < 0:
            for _ in range(len(self.events) + offset):
                self._drop_head()
        elif head - MAX_EVENTS <= offset <= self.newest + MAX_AHEAD and offset < MAX_ID:
            while head is not None and head < offset:
                self._drop_head()
                head = self.head

    def read(self, limit: int, unix: int) -> list[Event]:
        """The oldest events, within the budget of one answer; the expired ones on the way are removed (2.2)."""
        found: list[Event] = []
        expired: list[Event] = []
        budget = MAX_ANSWER_BYTES
        for event in self.events.values():
            if len(found) == limit:
                break
            if event.expires_at < unix:
                expired.append(event)
                continue
            budget -= event.size + 50
            if budget <= 0:
                break
            found.append(event)
        self._expire_all(expired)
        return found

    def after(self, update_id: int, limit: int, unix: int) -> tuple[list[Event], int]:
        """Up to `limit` unexpired events past an id, and the id to go on from: what a webhook loads."""
        found: list[Event] = []
        expired: list[Event] = []
        head = self.head
        if head is None or self.newest is None:
            return [], update_id
        # Ids are given one by one, so that walking them passes each only once, however many are stored.
        candidate = max(update_id, head - 1)
        while candidate < self.newest and len(found) < limit:
            candidate += 1
            event = self.events.get(candidate)
            if event is not None and event.expires_at < unix:
                expired.append(event)
            elif event is not None:
                found.append(event)
        self._expire_all(expired)
        return found, candidate

    def collect(self, unix: int) -> None:
        """Remove all that has expired (1.3)."""
        self._expire_all([event for event in self.events.values() if event.expires_at < unix])

    def _drop_head(self) -> None:
        _, event = self.events.popitem(last=False)
        self.bytes -= event.size

    def _expire_all(self, events: list[Event]) -> None:
        for event in events:
            self.expire(event)
