"""A bot and a simulated Telegram that are replaced by their copies after everything that happens to them."""

from __future__ import annotations

import copy
import pickle
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from hookline import PollingOptions, WebhookOptions
from hookline.testing import Behaviour, Host, Watch, World
from hookline.testing.world import BOT_ID


class Replacing(Watch):
    """Puts a copy of a machine in its place after each step."""

    def __init__(self, duplicate: Callable[[Any], Any]) -> None:
        self.duplicate = duplicate

    def passed(self, host: Host) -> None:
        """Its copy goes on."""
        host.machine = self.duplicate(host.machine)
        self.world.telegram = self.world.server.machine.telegram


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda machine: pickle.loads(pickle.dumps(machine))], ids=["copied", "pickled"]
)
@pytest.mark.parametrize(
    "source",
    [
        PollingOptions(concurrency=5),
        WebhookOptions(timeout=0.5),
        PollingOptions(concurrency=5, confirm="stored"),
        WebhookOptions(confirm="stored"),
    ],
    ids=["poll", "hook", "poll-stored", "hook-stored"],
)
def test_a_copied_machine_goes_on_the_same(
    duplicate: Callable[[Any], Any], source: PollingOptions | WebhookOptions
) -> None:
    """All that is sent is handled, at the same moments as without copies."""
    copied, plain = World(watch=Replacing(duplicate)), World()
    for world in (copied, plain):
        world.behave = lambda update, attempt: Behaviour((0.7,))
        world.bot(source)
        ids = []
        for number in range(30):
            ids.append(world.message(str(number), user=1 + number % 3))
            world.run(0.3)
        world.run(200, until=lambda world=world: world.telegram.pending(BOT_ID) == 0)  # type: ignore[misc]
        world.run(30)  # an inbox has some of them still
        assert Counter(ids) == Counter(world.handled)

    assert (copied.handled, copied.now, copied.steps) == (plain.handled, plain.now, plain.steps)
