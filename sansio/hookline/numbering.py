"""Numbers that name connections, and requests: each is given out once, whoever asks."""

from __future__ import annotations

from attrs import define


@define
class Numbers:
    """Hands out numbers from one row to all that share it."""

    last: int = 0

    def new(self) -> int:
        """A number not used before."""
        self.last += 1
        return self.last

    def gave(self, number: int) -> bool:
        """Whether the number was handed out."""
        return 0 < number <= self.last
