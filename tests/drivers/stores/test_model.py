"""Each store, asked anything, opened and closed at any time, against a model of a few lines."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from hookline.effects import Kept, Mark, Status, Store
from hookline_io.stores import Outcome, inspection_at, store_at
from tests.drivers.stores.asking import BOT, an_update, keep

REMEMBER = 3
IDS = st.integers(0, 8)


class MemoryMachine(RuleBasedStateMachine):
    """The model: `rows` are the updates that are not done, in order; `done` are ids."""

    address = "memory"

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[int, tuple[Status, int, str | None]] = {}
        self.done: list[int] = []
        self.expected: list[Outcome] = []
        self.told: list[tuple[int, Outcome]] = []

    @initialize()
    def begin(self) -> None:
        self.store = store_at(self.address, bot_id=BOT, remember=REMEMBER)
        assert self.store.open() == self.unfinished()

    @rule(update_ids=st.lists(IDS, max_size=4))
    def store_updates(self, update_ids: list[int]) -> None:
        new = [one for one in dict.fromkeys(update_ids) if one not in self.rows and one not in self.done]
        self.rows |= dict.fromkeys(new, (Status.WAITING, 0, None))
        self.ask(Store(1, tuple(map(an_update, update_ids))), frozenset(new))

    @rule(update_id=IDS, status=st.sampled_from(Status), runs=st.integers(0, 9), error=st.none() | st.text())
    def mark(self, update_id: int, status: Status, runs: int, error: str | None) -> None:
        if update_id in self.rows:
            if status is Status.DONE or (status is Status.FAILED and not self.store.durable):
                del self.rows[update_id]
                self.done = [*self.done, update_id][-REMEMBER:]
            else:
                before = self.rows[update_id][2]
                self.rows[update_id] = (status, runs, before if error is None else error)
        self.ask(Mark(1, update_id, status, runs, error), frozenset())

    def ask(self, effect: Store | Mark, expected: Outcome) -> None:
        number = len(self.expected)
        self.expected.append(expected)
        self.store.carry_out(effect, lambda outcome: self.told.append((number, outcome)))

    def unfinished(self) -> list[Kept]:
        return [
            Kept(an_update(update_id), runs, status is Status.RUNNING)
            for update_id, (status, runs, _) in self.rows.items()
            if status is not Status.FAILED
        ]

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            assert self.told == list(enumerate(self.expected))


class SqliteMachine(MemoryMachine):
    """A file outlasts its store, and can be looked at and put right while it is open."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.address = f"sqlite:///{Path(self.folder.name, 'inbox.db')}"

    @rule()
    def close_and_open(self) -> None:
        self.store.close()
        self.begin()
        for update_id, (status, runs, error) in self.rows.items():
            if status is Status.RUNNING:
                self.rows[update_id] = (Status.WAITING, runs, error)

    @rule()
    def look(self) -> None:
        self.settle()
        with inspection_at(self.address) as inspection:
            counts = Counter(status for status, _, _ in self.rows.values())
            counts[Status.DONE] = len(self.done)
            assert inspection.overview().counts == {status: counts[status] for status in Status}
            assert [(one.update.update_id, one.runs, one.error) for one in inspection.failed()] == [
                (update_id, runs, error)
                for update_id, (status, runs, error) in self.rows.items()
                if status is Status.FAILED
            ]

    @rule(update_ids=st.none() | st.lists(IDS), purge=st.booleans())
    def put_right(self, update_ids: list[int] | None, purge: bool) -> None:
        self.settle()
        chosen = [
            update_id
            for update_id, (status, _, _) in self.rows.items()
            if status is Status.FAILED and (update_ids is None or update_id in update_ids)
        ]
        for update_id in chosen:
            if purge:
                del self.rows[update_id]
            else:
                self.rows[update_id] = (Status.WAITING, 0, self.rows[update_id][2])
        with inspection_at(self.address) as inspection:
            assert (inspection.purge if purge else inspection.retry)(update_ids) == chosen

    def settle(self) -> None:
        """Wait until all that was asked is on the disk."""
        keep(self.store)

    def teardown(self) -> None:
        with self.folder:
            super().teardown()


TestMemory: Any = MemoryMachine.TestCase
TestMemory.settings = settings(max_examples=50, stateful_step_count=25)
TestSqlite: Any = SqliteMachine.TestCase
TestSqlite.settings = settings(max_examples=30, stateful_step_count=25)
