"""Scenarios as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline.testing import Scenario, generate, read, text


@given(st.integers(0, 2**64))
def test_a_scenario_is_read_as_it_was_written(seed: int) -> None:
    scenario = generate(seed)
    assert read(text(scenario)) == scenario
    assert text(scenario).endswith("}\n")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("", "Expecting value"),
        ("[]", "format 1"),
        ("{}", "format 1"),
        ('{"scenario":2}', "format 1"),
        ('{"scenario":1}', "seed"),
        (
            '{"scenario":1,"seed":1,"source":{"by":"PollingOptions","limit":0}}',
            "limit must be a whole number from 1 to 100",
        ),
        ('{"scenario":1,"seed":1,"source":{"by":"Carrier"}}', "source"),
        ('{"scenario":1,"seed":1,"source":{"by":"PollingOptions"},"more":1}', "more"),
        ('{"scenario":1,"seed":1,"source":{"by":"PollingOptions"},"sent":[{"at":"soon","user":1}]}', "sent"),
        (
            '{"scenario":1,"seed":1,"source":{"by":"PollingOptions"},"sent":[{"at":1.0,"user":1,"behaviours":[]}]}',
            "behaviours must not be empty",
        ),
        ('{"scenario":1,"seed":1,"source":{"by":"PollingOptions"},"happenings":[{"at":1.0,"what":"rain"}]}', "what"),
    ],
)
def test_what_is_no_scenario_is_refused_and_the_reason_said(data: str, said: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        read(data)
    assert said in str(caught.value)


def test_a_scenario_without_trouble_keeps_what_users_do() -> None:
    scenario = generate(3)
    quiet = scenario.without_trouble()
    assert quiet.sent == scenario.sent
    assert quiet == Scenario(
        scenario.seed,
        scenario.source,
        scenario.sent,
        (),
        reply_with=scenario.reply_with,
        delete_at_stop=scenario.delete_at_stop,
    )
