"""The tables of states."""

from __future__ import annotations

from enum import Enum, auto

import pytest
from attrs import frozen

import hookline  # noqa: F401 - it loads every machine, with its table
from hookline.states import StateTable, tables


class Light(Enum):
    """States that own nothing."""

    RED = auto()
    GREEN = auto()


@frozen
class Broken:
    """A state that owns something."""

    since: float


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> StateTable:
    """A table that is no machine's."""
    monkeypatch.setattr("hookline.states._tables", {})
    return StateTable("Light", {Light.RED: (Light.GREEN,), Light.GREEN: (Light.RED, Broken), Broken: (Broken,)})


def test_a_declared_edge_is_taken(table: StateTable) -> None:
    assert table.move(Light.RED, Light.GREEN) is Light.GREEN
    assert table.move(Light.GREEN, Broken(1.0)) == Broken(1.0)
    assert table.move(Broken(1.0), Broken(2.0)) == Broken(2.0)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (Light.RED, Light.RED, "Light: no edge from red to red"),
        (Light.RED, Broken(1.0), "Light: no edge from red to Broken"),
        (Broken(1.0), Light.RED, "Light: no edge from Broken to red"),
    ],
)
def test_an_edge_that_is_not_declared_is_a_bug(table: StateTable, old: object, new: object, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        table.move(old, new)


def test_edges_taken_are_kept_while_somebody_records_them(table: StateTable) -> None:
    table.move(Light.RED, Light.GREEN)
    assert table.seen is None
    table.seen = set()
    table.move(Light.GREEN, Broken(1.0))
    table.move(Broken(1.0), Broken(2.0))

    assert table.seen == {(Light.GREEN, Broken), (Broken, Broken)}


def test_edges_taken_are_named(table: StateTable) -> None:
    assert list(table.taken()) == []
    table.seen = set()
    table.move(Light.RED, Light.GREEN)
    table.move(Light.GREEN, Broken(1.0))

    assert set(table.taken()) == {("red", "green"), ("green", "Broken")}


def test_an_edge_that_is_refused_is_not_recorded(table: StateTable) -> None:
    table.seen = set()
    with pytest.raises(AssertionError):
        table.move(Light.RED, Light.RED)

    assert table.seen == set()


def test_declared_edges_are_named(table: StateTable) -> None:
    assert list(table.declared()) == [("red", "green"), ("green", "red"), ("green", "Broken"), ("Broken", "Broken")]


def test_tables_are_found_by_their_names(table: StateTable) -> None:
    assert {"Light": table} == tables()


@pytest.mark.parametrize("name", sorted(tables()))
def test_every_state_of_a_machine_can_be_reached_from_the_first(name: str) -> None:
    edges = tables()[name].edges
    reached = [next(iter(edges))]
    for state in reached:
        reached += [after for after in edges[state] if after not in reached]

    assert set(edges) == set(reached)


def test_the_machines_of_long_polling_and_lanes_have_tables() -> None:
    assert {"Polling", "Lanes"} <= set(tables())
