"""Many deadlines, one number: the earliest. Setting one again to a later time costs no new entry."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from attrs import define, field


def earliest(*times: float | None) -> float | None:
    """The earliest of these times; None is no time."""
    first: float | None = None
    for time in times:
        if time is not None and (first is None or time < first):
            first = time
    return first


@define
class Timers:
    """A deadline for each key, an integer; the heap may lag behind `_times`, and catches up when it is read."""

    _times: dict[int, float] = field(factory=dict)
    _queued: dict[int, float] = field(factory=dict)
    _heap: list[tuple[float, int]] = field(factory=list)

    def set(self, key: int, time: float) -> None:
        """`key` is due at `time`, whatever it was before."""
        self._times[key] = time
        if key not in self._queued or time < self._queued[key]:
            self._queued[key] = time
            heappush(self._heap, (time, key))
            if len(self._heap) > 2 * len(self._times) + 8:  # mostly times that are no key's any more
                self._queued = dict(self._times)
                self._heap = [(time, key) for key, time in self._queued.items()]
                heapify(self._heap)

    def clear(self, key: int) -> None:
        """`key` is due no more."""
        self._times.pop(key, None)

    @property
    def next(self) -> float | None:
        """The earliest time at which a key is due."""
        heap = self._heap
        if not self._times:
            if heap:  # it only lags behind
                heap.clear()
                self._queued.clear()
            return None
        while True:  # each key that has a time is in the heap
            queued, key = heap[0]
            if self._queued.get(key) != queued:
                heappop(heap)
                continue
            time = self._times.get(key)
            if time == queued:
                return time
            heappop(heap)
            del self._queued[key]
            if time is not None:
                self.set(key, time)

    def due(self, now: float) -> list[int]:
        """The keys that are due, the earliest first; they are cleared."""
        keys: list[int] = []
        while (time := self.next) is not None and time <= now:
            key = self._heap[0][1]
            keys.append(key)
            self.clear(key)
        return keys
