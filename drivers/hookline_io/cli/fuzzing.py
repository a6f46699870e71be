"""Plays random scenarios on all processors: for `hookline fuzz`.

What a scenario is, how it is judged and made smaller is `hookline.testing`'s; here are processes, a clock and files.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path
from typing import TypeAlias

from attrs import define, field, frozen

from hookline.errors import OptionError
from hookline.states import tables
from hookline.testing import Played, Scenario, generate, play, read, record, shrink, text

CHUNK = 8
"""Scenarios that a process plays at a time."""

Edge: TypeAlias = "tuple[str, str, str]"
"""A transition that was taken: the table's name, and the names of the two states."""


@frozen
class Failed:
    """A scenario that broke an invariant: which, what was seen, and how the scenario was found."""

    scenario: Scenario
    violation: tuple[str, str]


@define
class Tally:
    """What all plays so far have come to. Times in seconds."""

    runs: int = 0
    updates: int = 0
    steps: int = 0
    simulated: float = 0.0
    edges: set[Edge] = field(factory=set)
    failed: list[Failed] = field(factory=list)

    def add(self, other: Tally) -> None:
        """Count another's plays with these."""
        self.runs += other.runs
        self.updates += other.updates
        self.steps += other.steps
        self.simulated += other.simulated
        self.edges |= other.edges
        self.failed += other.failed


def declared_edges() -> set[Edge]:
    """Every transition that the tables of the machines declare."""
    return {(name, *edge) for name, table in tables().items() for edge in table.declared()}


def play_seeds(first: int, count: int) -> Tally:
    """Play the scenarios of `count` seeds, in this process."""
    tally = Tally()
    for table in tables().values():
        table.seen = set()
    for seed in range(first, first + count):
        scenario = generate(seed)
        played = play(scenario)
        _count(tally, scenario, played)
    for table in tables().values():
        tally.edges |= {(table.name, *edge) for edge in table.taken()}
        table.seen = None
    return tally


def fuzz(first: int, *, runs: int | None, seconds: float | None, jobs: int, show: Callable[[Tally], object]) -> Tally:
    """Play the scenarios of seeds from `first` on, until there were so many, or so long, or one has failed.

    show: called with what there is so far, now and then.
    """
    tally = Tally()
    end = None if seconds is None else time.monotonic() + seconds
    asked = 0
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting: set[Future[Tally]] = set()
        try:
            while True:
                while (
                    len(waiting) < 2 * jobs
                    and (runs is None or asked < runs)
                    and not (asked and _over(end))
                    and not tally.failed
                ):
                    count = CHUNK if runs is None else min(CHUNK, runs - asked)
                    waiting.add(pool.submit(play_seeds, first + asked, count))
                    asked += count
                if not waiting:
                    return tally
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    tally.add(future.result())
                show(tally)
        finally:
            pool.shutdown(cancel_futures=True)


def made_smaller(failed: Failed) -> Failed:
    """The same failure in the smallest scenario that was found for it."""

    def fails(scenario: Scenario) -> bool:
        violation = play(scenario).violation
        return violation is not None and violation[0] == failed.violation[0]

    scenario = shrink(failed.scenario, fails)
    return Failed(scenario, play(scenario).violation or failed.violation)


def save(failed: Failed, folder: Path) -> list[Path]:
    """Write a scenario to a file in `folder`, and the trace of each bot in it to others beside it; the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{failed.violation[0].replace(' ', '-')}-{failed.scenario.seed}.json"
    path.write_text(text(failed.scenario), encoding="utf-8")
    paths = [path]
    for name, lines in record(failed.scenario).items():
        paths.append(path.with_suffix(f".{name.replace(' ', '-')}.trace"))
        paths[-1].write_text("".join(lines), encoding="utf-8")
    return paths


def load(path: Path) -> Scenario:
    """The scenario of a file. OptionError if it holds none."""
    try:
        return read(path.read_text(encoding="utf-8", errors="replace"))
    except ValueError as error:
        raise OptionError(f"{os.fspath(path)}: {error}") from None


def _count(tally: Tally, scenario: Scenario, played: Played) -> None:
    tally.runs += 1
    tally.updates += played.updates
    tally.steps += played.steps
    tally.simulated += played.seconds
    if played.violation is not None:
        tally.failed.append(Failed(scenario, played.violation))


def _over(end: float | None) -> bool:
    return end is not None and time.monotonic() >= end
