"""Each invariant notices a machine that breaks its promise."""

from __future__ import annotations

import pytest

from hookline import PollingOptions, Update
from hookline.effects import Effect, Ended, Handle, Log
from hookline.sim import Call
from hookline.testing import INVARIANTS, Behaviour, Invariants, Run, Violation, World
from hookline.testing.world import BOT_ID
from tests.sansio.testing.mutations import MUTATIONS, Mutation, caught

SCENARIOS = 400
"""In how many random scenarios a broken machine must be caught; most are in a few."""


@pytest.mark.exhaustive
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_broken_promise_is_caught(mutation: Mutation) -> None:
    """By the invariant that is named after the promise."""
    assert caught(mutation, SCENARIOS) is not None


def test_every_invariant_has_a_machine_that_breaks_it() -> None:
    """None is there that could not fail."""
    assert {mutation.invariant for mutation in MUTATIONS} == set(INVARIANTS)


# What no machine does that is broken in one place, told by hand

UPDATE = Update(5, "message", {}, {"update_id": 5, "message": {}}, 1)


@pytest.mark.parametrize(
    ("name", "told", "said"),
    [
        ("stop", [[Ended(None)], [Log("one word more")]], "after its end"),
        ("stop", [[Ended(None), Log("one word more")]], "not its last word"),
        ("law", [[Handle(1, UPDATE)], [Handle(1, UPDATE)]], "asked for twice"),
    ],
)
def test_effects_that_contradict_each_other_are_noticed(name: str, told: list[list[Effect]], said: str) -> None:
    invariants = Invariants(PollingOptions())
    world = World(watch=invariants)
    host = world.bot(PollingOptions(), start=False)
    for effects in told[:-1]:
        invariants.told(host, "tick", (), effects)
    with pytest.raises(Violation, match=said) as caught:
        invariants.told(host, "tick", (), told[-1])
    assert caught.value.name == name


def test_a_second_run_of_an_update_beside_the_first_is_noticed() -> None:
    invariants = Invariants(PollingOptions(concurrency=2))
    world = World(watch=invariants)
    host = world.bot(PollingOptions(concurrency=2), start=False)
    host.runs[1] = Run(host, 1, UPDATE, Behaviour())
    with pytest.raises(Violation, match="runs twice at once"):
        invariants.begins(Run(host, 2, UPDATE, Behaviour()))


def test_a_second_call_in_the_answers_to_an_update_is_noticed() -> None:
    invariants = Invariants(PollingOptions())
    world = World(watch=invariants)
    reply = Call("sendmessage", {}, (), 0.0, "webhook reply", update_id=5)
    world.telegram.bot(BOT_ID).calls += [reply, reply]
    with pytest.raises(Violation, match="a second call travelled"):
        invariants.passed(world.server)
