"""What the tests of stores share: updates, and asking a store something and waiting for its answer."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hookline import LaneKey, Update, read_update
from hookline.effects import Kept, Mark, Status, Store
from hookline_io.stores import Outcome, UpdateStore, store_at

BOT = 1_234


def an_update(update_id: int, text: str = "hi", lane: LaneKey | None = None, **more: Any) -> Update:
    """A message in the chat 7, or in the lane that is given."""
    raw = {"update_id": update_id, "message": {"chat": {"id": 7}, "text": text, **more}}
    update = read_update(raw) if lane is None else read_update(raw, lambda _: lane)
    assert isinstance(update, Update)
    return update


def ask(store: UpdateStore, effect: Store | Mark) -> Outcome:
    """The outcome of this effect."""
    told: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
    store.carry_out(effect, told.put)
    return told.get(timeout=20)


def keep(store: UpdateStore, *update_ids: int) -> list[int] | str:
    """Store updates with these ids. Those that are new, or why it failed."""
    outcome = ask(store, Store(1, tuple(map(an_update, update_ids))))
    return outcome if isinstance(outcome, str) else sorted(outcome)


def mark(store: UpdateStore, update_id: int, status: Status, runs: int = 1, error: str | None = None) -> Outcome:
    """Mark an update."""
    return ask(store, Mark(1, update_id, status, runs, error))


def ids(kept: list[Kept]) -> list[int]:
    """Of which updates these are."""
    return [one.update.update_id for one in kept]


def at(path: Path, bot_id: int = BOT, remember: int = 100) -> UpdateStore:
    """The store in the file at `path`."""
    return store_at(f"sqlite:///{path}", bot_id=bot_id, remember=remember)


@contextmanager
def opened(path: Path, remember: int = 100) -> Iterator[tuple[UpdateStore, list[Kept]]]:
    """That store, open, and what it had."""
    store = at(path, remember=remember)
    kept = store.open()
    try:
        yield store, kept
    finally:
        store.close()
