"""The declared states of a machine, and which may follow which.

Each machine declares its table at the top of its file and changes its state in one place, by `StateTable.move`. A state
is a member of an enum where it owns nothing, or a small frozen value that owns what is valid in it. The docs' diagrams
are drawn from these tables, and the fuzz run compares the edges it saw with the edges declared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, TypeAlias, TypeVar

Kind: TypeAlias = "Enum | type[Any]"
"""What a table is keyed by: the enum member itself, or the class of a state value."""

State = TypeVar("State")

_tables: dict[str, StateTable] = {}


class StateTable:
    """The edges of one machine: for each kind of state, the kinds that may follow it."""

    def __init__(self, name: str, edges: Mapping[Kind, tuple[Kind, ...]]) -> None:
        self.name = name
        self.edges = edges
        # By identity, as a member of an enum takes its time to hash, and every update moves several times.
        self._allowed = frozenset((id(source), id(target)) for source, targets in edges.items() for target in targets)
        self._enums = frozenset(type(source) for source in edges if isinstance(source, Enum))
        self.seen: set[tuple[Kind, Kind]] | None = None
        """The edges taken so far, while somebody records them; None otherwise."""
        _tables[name] = self

    def move(self, old: Any, new: State) -> State:
        """The state `new`, which may follow `old`; a bug in the machine is an AssertionError."""
        source: Kind = old if type(old) in self._enums else type(old)
        target: Kind = new if type(new) in self._enums else type(new)  # type: ignore[assignment]
        if (id(source), id(target)) not in self._allowed:
            raise AssertionError(f"{self.name}: no edge from {_name(source)} to {_name(target)}")
        if self.seen is not None:
            self.seen.add((source, target))
        return new

    def taken(self) -> Iterator[tuple[str, str]]:
        """The names of the two ends of each edge that was seen."""
        for source, target in self.seen or ():
            yield _name(source), _name(target)

    def declared(self) -> Iterator[tuple[str, str]]:
        """The names of each edge's two ends."""
        for source, targets in self.edges.items():
            for target in targets:
                yield _name(source), _name(target)


def tables() -> Mapping[str, StateTable]:
    """Every machine's table, by its name."""
    from hookline import bot, inbox, polling, registration, webhook, working  # noqa: F401 - none may be loaded yet

    return dict(_tables)


def _name(kind: Kind) -> str:
    return kind.name.lower() if isinstance(kind, Enum) else kind.__name__
