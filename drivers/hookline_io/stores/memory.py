"""A store that ends with the process: it knows which updates it was given, and keeps none."""

from __future__ import annotations

import threading
from collections import OrderedDict

from hookline.effects import Kept, Mark, Release, Status, Store
from hookline_io.stores import Found, Lost, Outcome, Tell


class MemoryStore:
    """Answers at once. It knows the ids of what waits or runs, and the last `remember` of what is done or failed.

    Nobody can try a failed update again here, so that its id is worth no more than that of one that is done.
    """

    durable = False
    shared = False

    def __init__(self, *, remember: int) -> None:
        self._remember = remember
        self._unfinished: set[int] = set()
        self._finished: OrderedDict[int, None] = OrderedDict()  # a dict is slow to give its oldest key

    def open(
        self, found: Found | None = None, lost: Lost | None = None, leaving: threading.Event | None = None
    ) -> list[Kept]:
        """Nothing: it begins empty, and nothing is put back."""
        return []

    def carry_out(self, effect: Store | Mark | Release, tell: Tell) -> None:
        """Tell the outcome, before this returns."""
        assert not isinstance(effect, Release)
        tell(self._store(effect) if isinstance(effect, Store) else self._mark(effect))

    def close(self) -> None:
        """Nothing is left to tell."""

    def _store(self, effect: Store) -> Outcome:
        ids = [update.update_id for update in effect.updates]
        new = frozenset(one for one in ids if one not in self._unfinished and one not in self._finished)
        self._unfinished |= new
        return new

    def _mark(self, effect: Mark) -> Outcome:
        if effect.status in {Status.DONE, Status.FAILED} and effect.update_id in self._unfinished:
            self._unfinished.remove(effect.update_id)
            self._finished[effect.update_id] = None
            if len(self._finished) > self._remember:
                self._finished.popitem(last=False)
        return frozenset()
