"""A store in a process of its own, for tests that kill it, or that let it have no more than so many bytes.

    python -m tests.drivers.stores.process_store PATH FIRST [LIMIT]

It stores updates with ids from FIRST on, five at a time, and marks each second one as done. What was told is a line:
"stored ID", "done ID", "failed REASON". With a LIMIT, files cannot grow beyond so many bytes; when the first effect has
failed, the limit is lifted, and it ends when something was stored once more. Else it goes on until it is killed.
"""

from __future__ import annotations

import itertools
import os
import queue
import resource
import signal
import sys
from pathlib import Path

from hookline.effects import Mark, Status, Store
from hookline_io.stores import Outcome
from tests.drivers.stores.asking import an_update, at

UNDER_WAY = 20


def main(path: Path, first: int, limit: int | None) -> None:
    """Store until the end."""
    store = at(path, remember=1_000_000)
    store.open()
    if limit is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    room: queue.SimpleQueue[None] = queue.SimpleQueue()
    for _ in range(UNDER_WAY):
        room.put(None)
    failed = False

    def note(what: str, outcome: Outcome) -> None:
        nonlocal failed
        if isinstance(outcome, str):
            failed, what = True, f"failed {outcome}"
        os.write(1, f"{what}\n".encode())
        room.put(None)

    for start in itertools.count(first, 5):
        updates = tuple(an_update(update_id, "x" * 200) for update_id in range(start, start + 5))
        room.get()
        named = "\n".join(f"stored {update.update_id}" for update in updates)
        store.carry_out(Store(start, updates), lambda outcome, named=named: note(named, outcome))  # type: ignore[misc]
        for update in updates[::2]:
            room.get()
            store.carry_out(
                Mark(update.update_id, update.update_id, Status.DONE, 1),
                lambda outcome, update_id=update.update_id: note(f"done {update_id}", outcome),  # type: ignore[misc]
            )
        if failed:
            for _ in range(UNDER_WAY):
                room.get()
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            last = start + 5
            store.carry_out(Store(last, (an_update(last),)), lambda outcome, last=last: note(f"stored {last}", outcome))  # type: ignore[misc]
            break
    store.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if sys.argv[3:] else None)
