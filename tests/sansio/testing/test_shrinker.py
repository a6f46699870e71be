"""A failing scenario is made small."""

from __future__ import annotations

from hookline.testing import Scenario, generate, play, shrink, text
from tests.sansio.testing.mutations import MUTATIONS


def test_what_does_not_matter_is_taken_away() -> None:
    """Only what the failure needs is left: here, one button press and one kill."""

    def fails(scenario: Scenario) -> bool:
        return any(sent.kind == "button" for sent in scenario.sent) and any(
            happening.what == "kill" for happening in scenario.happenings
        )

    failing = next(scenario for scenario in map(generate, range(1_000)) if fails(scenario))
    small = shrink(failing, fails)
    assert [sent.kind for sent in small.sent] == ["button"]
    assert [happening.what for happening in small.happenings] == ["kill"]
    assert len(text(small)) < 300


def test_a_real_failure_shrinks_to_a_few_lines() -> None:
    """The broken offset rule needs one message."""
    mutation = MUTATIONS[0]
    with mutation.applied():
        failing = next(scenario for scenario in map(generate, range(100)) if play(scenario).violation is not None)
        small = shrink(failing, lambda scenario: play(scenario).violation is not None)
        assert play(small).violation is not None
    assert len(small.sent) == 1
    assert small.happenings == ()
    assert play(small).violation is None


def test_shrinking_asks_no_more_often_than_it_may() -> None:
    asked: list[Scenario] = []

    def fails(scenario: Scenario) -> bool:
        asked.append(scenario)
        return False

    scenario = generate(1)
    assert shrink(scenario, fails, tries=5) is scenario
    assert len(asked) == 5
