"""A network in virtual time: connections that carry bytes late, in pieces, or no more.

`Network` decides when what one end sends reaches the other, and knows what has become of each connection; the world
that pumps it tells the machines. Randomness comes from a seed. The rule that keeps it honest: bytes of one direction
never overtake each other.
"""

from __future__ import annotations

from random import Random
from typing import TypeAlias

from attrs import define, field, frozen

Address: TypeAlias = "tuple[str, int]"


@frozen
class Conditions:
    """What the network is like.

    latency: seconds that a piece takes, at most. pieces: into how many what is written at once is cut, at most.
    """

    latency: float = 0.0
    pieces: int = 1


@define(eq=False)
class End:
    """One end of a connection: whose it is, under which number, and when all that is on its way to it has arrived."""

    host: str
    connection: int
    arrives: float = 0.0
    open: bool = True


@define(eq=False)
class Wire:
    """One connection. silent: it carries nothing more, and neither end is told."""

    ends: tuple[End, End]
    silent: bool = False

    def other(self, end: End) -> End:
        """The end across."""
        return self.ends[1] if end is self.ends[0] else self.ends[0]


@define
class Network:
    """Every open connection, and the conditions of the hour."""

    random: Random
    conditions: Conditions = field(factory=Conditions)
    refusing: dict[Address, float] = field(factory=dict)
    """Addresses that refuse connections, and until when."""
    deaf: set[str] = field(factory=set)
    """Hosts that can be connected to, and hear nothing."""
    _wires: dict[tuple[str, int], tuple[Wire, End]] = field(factory=dict)

    def wires(self) -> list[Wire]:
        """All connections that are open at one end at least, the oldest first."""
        return list({id(wire): wire for wire, _ in self._wires.values()}.values())

    def find(self, host: str, connection: int) -> tuple[Wire, End] | None:
        """A host's connection and its own end of it, if it is open there."""
        return self._wires.get((host, connection))

    def refuses(self, address: Address, now: float) -> bool:
        """Whether nobody can connect to an address just now."""
        return self.refusing.get(address, now) > now

    def join(self, one: tuple[str, int], two: tuple[str, int]) -> Wire:
        """A new connection between two hosts, each with its number for it."""
        wire = Wire((End(*one), End(*two)))
        for end in wire.ends:
            self._wires[end.host, end.connection] = (wire, end)
        return wire

    def drop(self, end: End) -> None:
        """An end is open no more."""
        end.open = False
        self._wires.pop((end.host, end.connection), None)

    def delay(self) -> float:
        """How long something takes to the other side."""
        return self.random.random() * self.conditions.latency if self.conditions.latency else 0.0

    def arrival(self, end: End, now: float) -> float:
        """When what is sent to `end` now will be there: after all that was sent before."""
        end.arrives = max(end.arrives, now + self.delay())
        return end.arrives

    def pieces(self, data: bytes) -> list[bytes]:
        """What was written at once, as it arrives."""
        count = min(self.random.randint(1, self.conditions.pieces), len(data)) if self.conditions.pieces > 1 else 1
        if count <= 1:
            return [data]
        cuts = sorted(self.random.sample(range(1, len(data)), count - 1))
        return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
