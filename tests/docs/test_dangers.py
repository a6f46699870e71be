"""The dangers that docs/dangers.md tells of happen without the protection, and do not with it."""

from __future__ import annotations

from hookline.testing import World
from hookline.testing.world import BOT_ID
from tests.docs.dangers import LOST_UPDATE, RACE, REPEATED_WORK


def answers(world: World) -> list[str]:
    """The messages that the user got, in their order."""
    return [call.params["text"] for call in world.telegram.calls(BOT_ID) if call.method == "sendmessage"]


def test_without_the_join_a_slow_handler_does_its_work_again() -> None:
    world = REPEATED_WORK.happens("unsafe")
    assert max(world.attempts.values()) > 1
    assert len(answers(world)) > 1


def test_with_the_join_it_works_once() -> None:
    world = REPEATED_WORK.happens("safe")
    assert list(world.attempts.values()) == [1]
    assert len(answers(world)) == 1
    assert world.telegram.pending(BOT_ID) == 0


def test_without_lanes_the_second_message_overtakes_the_first() -> None:
    world = RACE.happens("unsafe")
    first, second = sorted(world.attempts)
    assert world.handled == [second, first]


def test_with_lanes_it_waits_for_it() -> None:
    world = RACE.happens("safe")
    assert world.handled == sorted(world.attempts)
    assert len(answers(world)) == 2


def test_an_update_that_was_acknowledged_early_is_lost_in_a_crash() -> None:
    world = LOST_UPDATE.happens("unsafe")
    assert world.handled == []
    assert world.telegram.pending(BOT_ID) == 0
    assert answers(world) == []


def test_one_that_was_not_comes_again_and_is_handled() -> None:
    world = LOST_UPDATE.happens("safe")
    assert len(world.handled) == 1
    assert world.telegram.pending(BOT_ID) == 0
    assert len(answers(world)) == 1
