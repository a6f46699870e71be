"""How a run gets on, as every source of updates says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from hookline.objects import User


@frozen
class Progress:
    """How a run gets on; times by the clock that tells `now`.

    bot: what getMe said. last_fetched: when getUpdates last succeeded (a webhook: when Telegram last sent an update).
    last_handled: when a handler last ended. waiting, running: updates in hand.
    """

    bot: User | None = None
    last_fetched: float | None = None
    last_handled: float | None = None
    waiting: int = 0
    running: int = 0
