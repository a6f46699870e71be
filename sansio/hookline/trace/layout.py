"""Where everything stands in a picture of a run: which events get a row, which lanes a column, what lasts how far."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from attrs import frozen

from hookline.trace.story import (
    Event,
    Over,
    PollAnswered,
    Polled,
    Queued,
    Reported,
    RequestAnswered,
    RequestCame,
    RunBegan,
    RunEnded,
    Stopped,
    Story,
)
from hookline.updates import LaneKey

MAX_LANES: Final = 8

ROW: Final = 26
PER_SECOND: Final = 12
LONGEST_GAP: Final = 44
"""Pixels that time may add between two rows; more is compressed."""
TOP: Final = 104

TIME_X: Final = 60
TELEGRAM_X: Final = 116
BOT_X: Final = 400
REQUEST_WIDTH: Final = 8
FIRST_LANE: Final = 84
LANE_WIDTH: Final = 230
REPORT_ROOM: Final = 110
"""Beside the last lane, since reports are long."""


@frozen
class View:
    """What is drawn of a run.

    begin, end: seconds since its start. lane: the only one that is drawn, as text; None draws all. rows: at most so
        many.
    """

    begin: float = 0.0
    end: float = float("inf")
    lane: str | None = None
    rows: int = 300


@frozen
class Row:
    """An event, and how far down it stands."""

    event: Event
    y: float


@frozen
class Bar:
    """Something that lasts, from one event to another, which may be missing. y1, y2: how far it is seen."""

    begin: Event
    end: Event | None
    y1: float
    y2: float


class Layout:
    """The places of a story's events, in pixels. left_out: what has none, in sentences."""

    def __init__(self, story: Story, view: View) -> None:
        self.left_out: list[str] = []
        self._view = view
        self._events = self._of_the_lane(story.events)
        self.lanes = self._choose_lanes()
        self.rows = self._lay_out()
        self._y = {id(row.event): row.y for row in self.rows}
        self.bottom = self.rows[-1].y + ROW if self.rows else float(TOP)
        self.requests = list(self._place_requests())
        self.notes_x = BOT_X + 16 + REQUEST_WIDTH * max((slot + 1 for slot, _ in self.requests), default=0)
        self.lane_x = {lane: self.notes_x + FIRST_LANE + place * LANE_WIDTH for place, lane in enumerate(self.lanes)}
        self.width = self.notes_x + FIRST_LANE + LANE_WIDTH * max(1, len(self.lanes)) + REPORT_ROOM

    @property
    def empty(self) -> bool:
        """Whether nothing of what was asked for has a place: the bot's own end is nothing of a lane."""
        wanted = self._view.lane
        if wanted is None or self.lanes:
            return not self.rows
        return all(str(row.event.lane) != wanted for row in self.rows)

    def room_in(self, lane: LaneKey) -> float:
        """How wide a text beside a lane may be."""
        return LANE_WIDTH - 36 + (REPORT_ROOM if lane == self.lanes[-1] else 0)

    def runs(self) -> Iterator[Bar]:
        """The runs of handlers."""
        ends = {event.job: event for event in self._events if isinstance(event, RunEnded)}
        for event in self._events:
            if isinstance(event, RunBegan) and event.update.lane in self.lane_x:
                yield from self._bar(event, ends.get(event.job))

    def waits(self) -> Iterator[Bar]:
        """The updates that wait for their turn."""
        ends: dict[int, Event] = {}
        for event in self._events:
            if isinstance(event, (RunBegan, RunEnded)):
                ends.setdefault(event.job, event)
        for event in self._events:
            if isinstance(event, Queued) and event.update.lane in self.lane_x:
                yield from self._bar(event, ends.get(event.job))

    def _of_the_lane(self, events: Iterable[Event]) -> list[Event]:
        """The events of the lane that is wanted, and those of the bot as a whole."""
        wanted = self._view.lane
        events = list(events)
        if wanted is None:
            return events
        lanes = {event.update.update_id: event.update.lane for event in events if isinstance(event, (Queued, RunBegan))}
        chosen: list[Event] = []
        for event in events:
            if isinstance(event, PollAnswered):
                found = {str(lanes.get(number)) for number in event.updates}
            elif isinstance(event, (Stopped, Over)) or (isinstance(event, Reported) and event.lane is None):
                found = {wanted}
            else:
                found = {str(event.lane)}
            if wanted in found:
                chosen.append(event)
        return chosen

    def _choose_lanes(self) -> list[LaneKey]:
        """The lanes that get a column, in the order in which they are seen to be busy."""
        ends = {event.job: event.at for event in self._events if isinstance(event, RunEnded)}
        busy = [
            event.update.lane
            for event in self._events
            if isinstance(event, (Queued, RunBegan))
            and event.at <= self._view.end
            and ends.get(event.job, self._view.begin) >= self._view.begin
        ]
        lanes = list(dict.fromkeys(busy))
        if len(lanes) > MAX_LANES:
            self.left_out.append(f"{len(lanes) - MAX_LANES} more lanes are left out; a chat can be drawn by itself.")
            without = set(lanes[MAX_LANES:])
            self._events = [event for event in self._events if event.lane not in without]
        return lanes[:MAX_LANES]

    def _is_in_time(self, event: Event) -> bool:
        return self._view.begin <= event.at <= self._view.end

    def _lay_out(self) -> list[Row]:
        """Give events rows, but not polls that confirm nothing new, nor answers to polls that bring nothing."""
        rows: list[Row] = []
        offset: int | None = -1
        more = 0
        for event in self._events:
            if not self._is_in_time(event):
                continue
            if isinstance(event, PollAnswered) and not event.updates and event.problem is None:
                continue
            if isinstance(event, Polled):
                if event.offset == offset:
                    continue
                offset = event.offset
            if len(rows) < self._view.rows:
                rows.append(Row(event, rows[-1].y + _distance(rows[-1].event, event) if rows else TOP))
            else:
                more += 1
        if more:
            self.left_out.append(f"{more} more events are left out, from {rows[-1].event.at:.2f} s on.")
        return rows

    def _place_requests(self) -> Iterator[tuple[int, Bar]]:
        """The requests that wait for their answers, each in a slot beside those that are open at the same time."""
        ends = {event.request: event for event in self._events if isinstance(event, RequestAnswered)}
        free: list[float] = []  # by slot: from where on it is free
        for event in self._events:
            if isinstance(event, RequestCame):
                for bar in self._bar(event, ends.get(event.request)):
                    slot = next((slot for slot, y in enumerate(free) if y <= bar.y1), len(free))
                    free[slot : slot + 1] = [bar.y2]
                    yield slot, bar

    def _bar(self, begin: Event, end: Event | None) -> Iterator[Bar]:
        """What lasts from one event to another, as far as it is seen, if it is."""
        if not self.rows:
            return
        first, last = self.rows[0].event.at, self.rows[-1].event.at
        y1 = self._y.get(id(begin), TOP if begin.at <= first else self.bottom)
        y2 = self._y.get(id(end), self.bottom if end is None or end.at >= last else TOP)
        if y1 < self.bottom and (y2 > TOP or id(end) in self._y):
            yield Bar(begin, end, y1, max(y1, y2))


def _distance(before: Event, after: Event) -> float:
    """How far an event stands below the one before. What passes straight on from Telegram to a lane is in one row."""
    inward = isinstance(before, (RequestCame, PollAnswered)) and isinstance(after, (RunBegan, Queued))
    outward = isinstance(before, RunEnded) and isinstance(after, RequestAnswered)
    if before.at == after.at and (inward or outward):
        return 0.0
    return ROW + min((after.at - before.at) * PER_SECOND, LONGEST_GAP)
