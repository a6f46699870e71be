"""How long to wait after a failure: 1 s, doubled each time up to 60 s, a random part taken off.

The randomness comes from the machine's seed, so that a run can be replayed; it keeps many bots that lost the same
server from coming back in step.
"""

from __future__ import annotations

from random import Random

from attrs import define

FIRST = 1.0
CAP = 60.0
JITTER = 0.25
"""At most this share of a wait is taken off."""


@define
class Backoff:
    """The waits of one thing that is tried again and again."""

    failures: int = 0

    def next(self, random: Random) -> float:
        """The seconds to wait after one more failure."""
        wait = min(CAP, FIRST * 2.0 ** min(self.failures, 10))
        self.failures += 1
        return wait * (1.0 - JITTER * random.random())

    def reset(self) -> None:
        """The thing worked."""
        self.failures = 0
