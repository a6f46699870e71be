"""Simulated worlds in virtual time: to prove a bot, an embedding or hookline itself, without I/O and from a seed.

`World` holds bots, a simulated Telegram, users and a network. A `Scenario` is all that happens in one, as a value:
`generate` makes one from a seed, `play` runs it and says which invariant it breaks, if any, and `shrink` makes one that
does as small as it can be. `Invariants` says what must hold; it can watch any world.
"""

from __future__ import annotations

from hookline.testing.disk import Disk
from hookline.testing.game import Played, play, record
from hookline.testing.generator import generate
from hookline.testing.invariants import Invariants
from hookline.testing.network import Conditions
from hookline.testing.scenario import Behaviour, Happening, Scenario, Sent, read, text
from hookline.testing.shrinker import shrink
from hookline.testing.violation import INVARIANTS, Violation
from hookline.testing.world import Host, Run, Watch, World

__all__ = [
    "INVARIANTS",
    "Behaviour",
    "Conditions",
    "Disk",
    "Happening",
    "Host",
    "Invariants",
    "Played",
    "Run",
    "Scenario",
    "Sent",
    "Violation",
    "Watch",
    "World",
    "generate",
    "play",
    "read",
    "record",
    "shrink",
    "text",
]
