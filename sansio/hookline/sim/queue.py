"""A bot's queue of updates: their ids, limits, expiry, and what an offset deletes (telegram-server.md, 1.1 to 1.3, 2.2).

It knows neither HTTP nor who reads. Ids are given at creation and are ascending; an event leaves when it is confirmed,
acknowledged, cleared, or found expired. `_ids` may hold ids that left; it is rebuilt before they outnumber the stored,
so each operation costs what it touches, however long the queue is.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from typing import Final

from attrs import Factory, define, frozen

MAX_EVENTS: Final = 100_000
MAX_BYTES: Final = 134_217_728
MAX_EVENT_BYTES: Final = 524_288
MAX_ID: Final = 2_000_000_000
FIRST_IDS: Final = (2_000_001, 1_000_000_000)
MAX_AHEAD: Final = 10
MAX_BEHIND: Final = 100_000


@frozen(eq=False)
class Event:
    """One stored update.

    text: the JSON text of the whole update, rendered once, sent byte for byte the same each time.
    size: what is counted, the bytes of the text without its id. expires_at: unix time. lane: the ordering queue.
    """

    update_id: int
    text: str
    size: int
    expires_at: int
    lane: int


@define
class UpdateQueue:
    """The events of one bot, oldest first."""

    _random: random.Random
    _events: dict[int, Event] = Factory(dict)
    _ids: list[int] = Factory(list)
    _first: int = 0
    _tail: int | None = None
    _bytes: int = 0

    def __len__(self) -> int:
        return len(self._events)

    @property
    def tail(self) -> int | None:
        """The id that the next event gets; None before there was any."""
        return self._tail

    @property
    def head(self) -> int | None:
        """The oldest stored id, or the tail if nothing is stored."""
        while self._first < len(self._ids):
            if self._ids[self._first] in self._events:
                return self._ids[self._first]
            self._first += 1
        return self._tail

    def push(self, field: str, expires_at: int, lane: int | None) -> Event | None:
        """Store an update whose JSON but for its id is `field`, as `"message":{...}`; None if a limit loses it.

        lane: its ordering queue; None gives it one of its own.
        """
        return self._store(f'{{"update_id":%d,\n{field.replace("%", "%%")}}}', len(field), expires_at, lane)

    def push_element(self, text: str, expires_at: int) -> Event | None:
        """Store an element of a batch as it is, whatever it is: for faults. It takes an id like any other."""
        return self._store(text.replace("%", "%%"), len(text), expires_at, None)

    def _store(self, template: str, size: int, expires_at: int, lane: int | None) -> Event | None:
        if not size or size > MAX_EVENT_BYTES or len(self) >= MAX_EVENTS or self._bytes + size > MAX_BYTES:
            return None
        if self._tail is None or self._tail >= MAX_ID:
            self.restart_ids(self._random.randint(*FIRST_IDS))
        update_id = self._tail
        assert update_id is not None
        text = template % update_id if "update_id" in template[:13] else template.replace("%%", "%")
        event = Event(update_id, text, size, expires_at, (1 << 60) + update_id if lane is None else lane)
        self._tail = update_id + 1
        self._events[update_id] = event
        self._ids.append(update_id)
        self._bytes += size
        return event

    def restart_ids(self, start: int) -> None:
        """Go on from the id `start`. What is stored is dropped, as when the ids reach their end (1.1)."""
        self.clear()
        self._tail = start

    def skip_ids(self, count: int) -> None:
        """Leave a hole of `count` ids before the next event."""
        if self._tail is not None:
            self._tail = min(self._tail + count, MAX_ID)

    def confirm(self, offset: int) -> int:
        """Delete what the getUpdates parameter `offset` confirms, and give the id to read from (2.2)."""
        if self._tail is None:
            return offset
        if offset < 0:
            self._keep_newest(-offset)
        head = self.head
        assert head is not None
        if offset <= 0 or offset > self._tail + MAX_AHEAD or offset < head - MAX_BEHIND or offset >= MAX_ID:
            return head
        while head < min(offset, self._tail):
            self._remove(head)
            self._first += 1
            head = self.head
            assert head is not None
        self._compact()
        return offset

    def read(self, start: int, limit: int, unix: int) -> list[Event]:
        """Up to `limit` events from the id `start` on; expired ones on the way are removed. Deletes nothing else."""
        found: list[Event] = []
        for index in range(bisect_left(self._ids, start, lo=self._first), len(self._ids)):
            if len(found) == limit:
                break
            event = self._events.get(self._ids[index])
            if event is None:
                continue
            if event.expires_at < unix:
                self._remove(event.update_id)
            else:
                found.append(event)
        self._compact()
        return found

    def acknowledge(self, event: Event) -> None:
        """Delete one event. If it has left already, nothing happens."""
        if self._events.get(event.update_id) is event:
            self._remove(event.update_id)
            self._compact()

    def clear(self) -> None:
        """Delete all; the tail is kept."""
        self._events = {}
        self._ids = []
        self._first = 0
        self._bytes = 0

    def collect(self, unix: int) -> None:
        """Delete what has expired."""
        for update_id in [event.update_id for event in self._events.values() if event.expires_at < unix]:
            self._remove(update_id)
        self._compact()

    def _keep_newest(self, count: int) -> None:
        if count >= len(self):
            return
        kept: list[int] = []
        for update_id in reversed(self._ids):
            if update_id in self._events:
                kept.append(update_id)
                if len(kept) == count:
                    break
        events = {update_id: self._events[update_id] for update_id in reversed(kept)}
        self.clear()
        self._events = events
        self._ids = list(events)
        self._bytes = sum(event.size for event in events.values())

    def _remove(self, update_id: int) -> None:
        self._bytes -= self._events.pop(update_id).size

    def _compact(self) -> None:
        if len(self._ids) > 2 * len(self._events) + 64:
            self._ids = list(self._events)
            self._first = 0
