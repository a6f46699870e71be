"""What holds of every store: which updates it knows, for how long, and that it tells each outcome once."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from hookline import OptionError
from hookline.effects import Mark, Status, Store
from hookline_io.stores import UpdateStore, inspection_at, store_at
from tests.drivers.stores.asking import BOT, an_update, keep, mark

REMEMBER = 3


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[UpdateStore]:
    address = "memory" if request.param == "memory" else f"sqlite:///{tmp_path}/inbox.db"
    store = store_at(address, bot_id=BOT, remember=REMEMBER)
    assert store.open() == []
    yield store
    store.close()


def test_what_was_not_known_before_is_named(store: UpdateStore) -> None:
    assert keep(store, 1, 2) == [1, 2]
    assert keep(store, 2, 3) == [3]


def test_an_update_that_is_twice_in_one_store_is_new_once(store: UpdateStore) -> None:
    assert keep(store, 1, 1) == [1]
    assert keep(store, 1) == []


@pytest.mark.parametrize("status", Status)
def test_an_update_stays_known_wherever_it_is(store: UpdateStore, status: Status) -> None:
    keep(store, 1)
    assert mark(store, 1, status) == frozenset()
    assert keep(store, 1) == []


def test_the_newest_of_what_is_done_stay_known_and_no_more(store: UpdateStore) -> None:
    done = [5, 1, 4, 2, 3]
    keep(store, *sorted(done))
    for update_id in done:
        mark(store, update_id, Status.DONE)
    assert [keep(store, update_id) == [] for update_id in done] == [False, False, True, True, True]


def test_an_update_is_forgotten_in_its_place_among_effects_that_are_asked_at_once(store: UpdateStore) -> None:
    keep(store, 1, 2, 3, 4)
    for update_id in (1, 2, 3, 4):
        store.carry_out(Mark(1, update_id, Status.DONE, 1), id)
    assert keep(store, 1) == [1]


def test_what_waits_or_runs_stays_known_whatever_becomes_of_others(store: UpdateStore) -> None:
    keep(store, 1, 2)
    mark(store, 2, Status.RUNNING)
    for update_id in range(10, 20):
        keep(store, update_id)
        mark(store, update_id, Status.DONE)
    assert keep(store, 1, 2) == []


def test_to_mark_what_is_not_known_changes_nothing(store: UpdateStore) -> None:
    for status in Status:
        assert mark(store, 1, status) == frozenset()
    assert keep(store, 1) == [1]


def test_each_outcome_is_told_once_and_all_before_the_end_of_close(store: UpdateStore, tmp_path: Path) -> None:
    store = store_at(f"sqlite:///{tmp_path}/other.db" if store.durable else "memory", bot_id=BOT, remember=REMEMBER)
    store.open()
    told: list[int] = []
    for number in range(0, 1_000, 2):
        store.carry_out(Store(number, (an_update(number),)), lambda _, number=number: told.append(number))  # type: ignore[misc]
        store.carry_out(Mark(number, number, Status.DONE, 1), lambda _, number=number: told.append(number + 1))  # type: ignore[misc]
    store.close()
    assert Counter(told) == Counter(range(1_000))
    assert told == sorted(told)


def test_only_a_file_is_durable(tmp_path: Path) -> None:
    assert not store_at("memory", bot_id=BOT, remember=1).durable
    assert store_at(f"sqlite:///{tmp_path}/inbox.db", bot_id=BOT, remember=1).durable


def test_a_path_is_relative_with_three_slashes_and_absolute_with_four(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for address, path in (("sqlite:///a #%20é.db", "a #%20é.db"), (f"sqlite:///{tmp_path}/b.db", "b.db")):
        store = store_at(address, bot_id=BOT, remember=1)
        store.open()
        store.close()
        assert (tmp_path / path).is_file()
        with inspection_at(address) as inspection:
            assert inspection.overview().bot_id == BOT


@pytest.mark.parametrize(
    "address",
    [
        "Memory",
        "inbox.db",
        "/inbox.db",
        "sqlite:",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///inbox.db?timeout=3",
        "sqlite://host/inbox.db",
        "mysql://host/db",
        "postgresql:/host/db",
        " sqlite:///inbox.db",
        "",
    ],
)
def test_another_address_is_refused_with_those_that_are_accepted(address: str) -> None:
    for refuse in (lambda: store_at(address, bot_id=BOT, remember=1), lambda: inspection_at(address)):
        accepted = r"'memory', 'sqlite:///relative\.db', 'sqlite:////absolute\.db' or 'postgresql://user@host/database'"
        with pytest.raises(OptionError, match=accepted):
            refuse()


def test_an_inbox_in_memory_cannot_be_looked_at() -> None:
    with pytest.raises(OptionError, match="seen by its bot alone"):
        inspection_at("memory")


def test_a_store_in_memory_needs_no_sqlite() -> None:
    code = "import sys; sys.modules['sqlite3'] = None; from hookline_io.stores import store_at; "
    code += "store_at('memory', bot_id=1, remember=1).open()"
    subprocess.run([sys.executable, "-c", code], check=True)
