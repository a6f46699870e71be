"""Worlds, where a test or a scenario might not lead them."""

from __future__ import annotations

from hookline import PollingOptions
from hookline.testing import Behaviour, Conditions, World
from hookline.testing.world import FILE_SIZE


def test_a_bot_that_dies_while_it_sends_a_file_reads_no_more_of_it() -> None:
    """What it had asked for does not come; the next bot sends the file whole."""
    world = World(conditions=Conditions(latency=0.2))
    world.behave = lambda update, attempt: Behaviour(("sendDocument",))
    first = world.bot(PollingOptions())
    update_id = world.message()
    world.run(60, until=lambda: bool(first.read))
    (read,) = first.read.values()
    assert 0 < read < FILE_SIZE

    world.kill(first)
    second = world.bot(PollingOptions())
    world.run(60)

    assert list(first.read.values()) == [read]
    assert list(second.read.values()) == [0]
    assert world.handled == [update_id]
