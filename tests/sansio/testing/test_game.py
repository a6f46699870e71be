"""Random scenarios hold, and what once failed is played again."""

from __future__ import annotations

from pathlib import Path

import pytest

from hookline import PollingOptions, WebhookOptions
from hookline.sim import Fault
from hookline.testing import Behaviour, Happening, Scenario, Sent, generate, play, read

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.json"))
"""Scenarios that once broke an invariant, made small; their names say what was wrong."""


@pytest.mark.exhaustive
@pytest.mark.parametrize("first", range(0, 120, 20))
def test_random_scenarios_hold(first: int) -> None:
    """A few here; `hookline fuzz` plays as many as one likes."""
    for seed in range(first, first + 20):
        played = play(generate(seed))
        assert played.violation is None, f"seed {seed}: {played.violation[1]}"


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_what_once_failed_holds(path: Path) -> None:
    """Each of the corpus."""
    assert play(read(path.read_text("utf-8"))).violation is None


def test_a_scenario_plays_the_same_each_time() -> None:
    """To the last step."""
    scenario = generate(7)
    assert play(scenario) == play(scenario)


def test_a_scenario_that_was_written_down_plays_the_same() -> None:
    from hookline.testing import text

    scenario = generate(11)
    assert play(read(text(scenario))) == play(scenario)


@pytest.mark.parametrize("source", [PollingOptions(), WebhookOptions()], ids=["polling", "webhook"])
def test_what_a_handler_does_is_counted(source: PollingOptions | WebhookOptions) -> None:
    """Two runs for one that raises by webhook, one by polling; simulated time goes by."""
    sent = Sent(1.0, 1, behaviours=(Behaviour((2.0,), "raise"), Behaviour()))
    played = play(Scenario(1, source, (sent,)))
    assert played.violation is None
    assert played.updates == 1
    assert played.runs == (1 if isinstance(source, PollingOptions) else 2)
    assert played.seconds > 3.0


def test_a_bot_that_ends_by_itself_is_noticed() -> None:
    fault = Happening(1.0, "fault", fault=Fault("error", "getUpdates", 1, 401, "Unauthorized"))
    played = play(Scenario(1, PollingOptions(timeout=1), (), (fault,)))
    assert played.violation is not None
    assert played.violation[0] == "alive"


def test_a_stop_that_has_nothing_to_wait_for_and_waits_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from hookline.polling import Polling

    monkeypatch.setattr(Polling, "stop", lambda *args: [])
    violation = play(Scenario(1, PollingOptions())).violation
    assert violation is not None
    assert violation[0] == "stop"
    assert "has nothing to do" in violation[1]


def test_a_loss_that_is_reported_and_that_nobody_accepted_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from hookline.effects import Effect, Report, Verdict
    from hookline.polling import Polling

    stop = Polling.stop

    def lamenting(self: Polling, now: float) -> list[Effect]:
        return [Report(Verdict.LOST, "update 5 is lost", 5), *stop(self, now)]

    monkeypatch.setattr(Polling, "stop", lamenting)
    violation = play(Scenario(1, PollingOptions())).violation
    assert violation is not None
    assert violation[0] == "loss"


def test_what_a_machine_raises_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the law, with the place where it was raised."""
    from hookline.polling import Polling

    monkeypatch.setattr(Polling, "fetched", lambda *args: 1 / 0)
    violation = play(Scenario(1, PollingOptions())).violation
    assert violation is not None
    assert violation[0] == "law"
    assert "ZeroDivisionError" in violation[1]
