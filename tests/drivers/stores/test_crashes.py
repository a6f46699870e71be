"""What a store told is there after its process was killed, and after its disk was full."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from hookline import StoreError
from hookline.effects import Status
from hookline_io.stores import inspection_at
from tests.drivers.stores.asking import at, ids, keep, opened

if sys.platform == "win32":
    pytest.skip("kills and limits are POSIX's", allow_module_level=True)


def command(path: Path, first: int, *limit: int) -> list[str]:
    return [sys.executable, "-m", "tests.drivers.stores.process_store", str(path), str(first), *map(str, limit)]


def told(lines: Iterable[str]) -> dict[str, set[int]]:
    """The ids by what was told of them."""
    found: dict[str, set[int]] = {"stored": set(), "done": set()}
    for line in lines:
        what, _, rest = line.partition(" ")
        if what in found:
            found[what].add(int(rest))
    return found


def check(path: Path, stored: set[int], done: set[int]) -> None:
    """What was told holds: what is stored is kept, and what is done is not, but known."""
    with opened(path, remember=1_000_000) as (store, kept):
        there = set(ids(kept))
        assert done.isdisjoint(there)
        assert ids(kept) == sorted(there)
        for update_id in stored:
            assert update_id in there or keep(store, update_id) == []
        marked = {update_id for update_id in stored if update_id % 5 in {0, 2, 4}}
        assert stored - marked <= there


def test_what_was_told_is_there_after_each_of_ten_kills(tmp_path: Path) -> None:
    path = tmp_path / "inbox.db"
    stored: set[int] = set()
    done: set[int] = set()
    for number in range(10):
        with subprocess.Popen(command(path, number * 1_000_000), stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(1 + number * 97)]
            process.kill()
            lines += process.stdout.readlines()
        assert not any(line.startswith("failed") for line in lines)
        facts = told(line for line in lines if line.endswith("\n"))
        stored |= facts["stored"]
        done |= facts["done"]
        check(path, stored, done)
    assert len(stored) > 1_000
    assert len(done) > 100


def test_a_disk_that_is_full_loses_nothing_that_was_told_and_is_used_again_when_it_has_room(tmp_path: Path) -> None:
    path = tmp_path / "inbox.db"
    process = subprocess.run(command(path, 0, 300_000), stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    lines = process.stdout.splitlines()
    failures = {line for line in lines if line.startswith("failed")}
    assert failures <= {"failed disk I/O error", "failed database or disk is full"}
    assert failures
    assert lines[-1].startswith("stored")
    facts = told(lines)
    assert len(facts["stored"]) > 100
    check(path, facts["stored"], facts["done"])


def test_another_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "inbox.db"
    with subprocess.Popen(command(path, 0), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            with pytest.raises(StoreError, match="is open already: one process at a time"):
                at(path).open()
            with inspection_at(f"sqlite:///{path}") as inspection:
                assert inspection.overview().counts[Status.WAITING] > 0
        finally:
            process.kill()
    with opened(path) as (_, kept):
        assert kept
