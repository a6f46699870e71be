"""The update queue of one bot: ids, limits, expiry and offsets (telegram-server.md, 1 and 2.2).

It stores each update as the JSON text that every delivery repeats byte for byte. Times are unix seconds. Events are in
id order; those acknowledged out of order by a webhook leave holes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from random import Random
from typing import Final

from attrs import define, field, frozen

MAX_EVENTS: Final = 100_000
MAX_BYTES: Final = 134_217_728
MAX_EVENT_BYTES: Final = 524_288
MAX_ID: Final = 2_000_000_000
MAX_ANSWER_BYTES: Final = 4_194_304
FIRST_IDS: Final = (2_000_001, 1_000_000_000)


@frozen
class Event:
    """One stored update. text: what follows the update_id in its JSON. lane: its webhook ordering queue (4.3)."""

    id: int
    text: str
    expires_at: float
    lane: int

    def json(self) -> str:
        """The update as every delivery sends it; a fault's raw text stands for itself."""
        return f'{{"update_id":{self.id},\n{self.text}}}' if self.text.startswith('"') else self.text


@define
class UpdateQueue:
    """The stored updates of one bot."""

    events: dict[int, Event] = field(factory=dict)
    bytes: int = 0
    newest: int | None = None
    _order: deque[int] = field(factory=deque)

    def push(self, text: str, expires_at: float, lane: int, random: Random) -> int | None:
        """Store an update under the next id; None if it is lost, as the server loses it silently (1.2)."""
        size = len(text.encode("utf-8"))
        if not text or size > MAX_EVENT_BYTES or len(self.events) >= MAX_EVENTS or self.bytes + size > MAX_BYTES:
            return None
        if self.newest is None:
            self.newest = random.randint(*FIRST_IDS) - 1
        elif self.newest + 1 >= MAX_ID:
            self.restart(random.randint(*FIRST_IDS))
        assert self.newest is not None
        self.newest += 1
        self.events[self.newest] = Event(self.newest, text, expires_at, lane)
        self._order.append(self.newest)
        self.bytes += size
        return self.newest

    def restart(self, first: int) -> None:
        """Drop all that is stored and go on with the id `first`, as at the ceiling of ids (1.1)."""
        self.clear()
        self.newest = first - 1

    def clear(self) -> None:
        """Drop all that is stored; ids go on."""
        self.events.clear()
        self._order.clear()
        self.bytes = 0

    def drop(self, update_id: int) -> None:
        """Delete one event, if it is still stored."""
        event = self.events.pop(update_id, None)
        if event is not None:
            self.bytes -= len(event.text.encode("utf-8"))

    def confirm(self, offset: int) -> None:
        """Apply an offset (2.2): delete below a positive one, keep the newest -N of a negative one."""
        if offset < 0:
            for update_id in list(islice(self._stored(), max(0, len(self.events) + offset))):
                self.drop(update_id)
            return
        head = next(self._stored(), None)
        if offset == 0 or self.newest is None or offset > self.newest + 11 or offset >= MAX_ID:
            return
        if head is not None and offset < head - MAX_EVENTS:
            return
        while self._order and self._order[0] < offset:
            self.drop(self._order.popleft())

    def read(self, limit: int, unix: float) -> list[Event]:
        """The oldest events, expired ones removed, within the budget of one answer (2.2)."""
        events: list[Event] = []
        expired: list[int] = []
        budget = MAX_ANSWER_BYTES
        for update_id in self._stored():
            event = self.events[update_id]
            if event.expires_at < int(unix):
                expired.append(update_id)
                continue
            budget -= len(event.text) + 50
            if len(events) == limit or (budget < 0 and events):
                break
            events.append(event)
        for update_id in expired:
            self.drop(update_id)
        return events

    def after(self, update_id: int, limit: int, unix: float) -> list[Event]:
        """The oldest unexpired events past an id; what a webhook loads."""
        found: list[Event] = []
        for candidate in self._stored():
            if candidate > update_id and self.events[candidate].expires_at >= int(unix):
                found.append(self.events[candidate])
                if len(found) == limit:
                    break
        return found

    def _stored(self) -> Iterator[int]:
        """The stored ids, the oldest first."""
        while self._order and self._order[0] not in self.events:
            self._order.popleft()
        return (update_id for update_id in self._order if update_id in self.events)
