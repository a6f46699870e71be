"""Registration: what setWebhook is called with, what ends the run, what is tried again, and the stop."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest

from hookline.botapi import InputFile
from hookline.effects import Abandon, Effect, Ended, Fetch, Log, Report, Verdict
from hookline.errors import LocalProtocolError
from hookline.options import SetWebhookOptions
from hookline.outcomes import FetchOutcome, Refused, Result, Unreachable
from hookline.registration import TABLE, Registration

URL = "https://bot.example/hook"


def registration(*, delete_at_stop: bool = False) -> Registration:
    return Registration(SetWebhookOptions(url=URL, delete_at_stop=delete_at_stop), "s3cret")


def begun(*, delete_at_stop: bool = False) -> Registration:
    machine = registration(delete_at_stop=delete_at_stop)
    machine.start(0.0)
    return machine


def was_set(*, delete_at_stop: bool = False) -> Registration:
    machine = begun(delete_at_stop=delete_at_stop)
    machine.fetched(1, Result(True), 1.0)
    return machine


def ends(effects: list[Effect]) -> list[Ended]:
    return [effect for effect in effects if isinstance(effect, Ended)]


# What it is called with


def test_nothing_is_awaited_before_the_start() -> None:
    assert registration().deadline is None
    assert registration().reason == "nothing is awaited"
    assert registration().tick(100.0) == []


def test_the_start_sets_the_webhook_with_the_secret_token() -> None:
    assert registration().start(5.0) == [Fetch(1, "setWebhook", {"url": URL, "secret_token": "s3cret"}, 15.0)]


def test_the_secret_token_does_not_show() -> None:
    assert "s3cret" not in repr(registration().start(0.0))


def test_what_was_not_asked_for_is_left_out() -> None:
    (fetch,) = Registration(SetWebhookOptions(url=URL), None).start(0.0)
    assert isinstance(fetch, Fetch)
    assert fetch.params == {"url": URL}


def test_every_option_is_passed_on_by_its_bot_api_name() -> None:
    options = SetWebhookOptions(
        url=URL,
        certificate=b"PEM",
        ip_address="203.0.113.7",
        max_connections=3,
        allowed_updates=("message",),
        drop_pending_updates=True,
    )
    (fetch,) = Registration(options, "s").start(0.0)
    assert isinstance(fetch, Fetch)
    assert fetch.params == {
        "url": URL,
        "secret_token": "s",
        "certificate": InputFile(b"PEM", "certificate.pem"),
        "ip_address": "203.0.113.7",
        "max_connections": 3,
        "allowed_updates": ["message"],
        "drop_pending_updates": True,
    }


def test_an_empty_allowed_updates_is_sent_since_it_means_the_default() -> None:
    (fetch,) = Registration(SetWebhookOptions(url=URL, allowed_updates=()), None).start(0.0)
    assert isinstance(fetch, Fetch)
    assert fetch.params["allowed_updates"] == []


# Success and failure


def test_once_set_nothing_is_awaited() -> None:
    machine = begun()
    assert machine.deadline == 15.0
    (log,) = machine.fetched(1, Result(True), 1.0)
    assert isinstance(log, Log)
    assert URL in log.text
    assert machine.deadline is None


@pytest.mark.parametrize("code", [400, 401, 403, 404])
def test_a_refusal_that_will_not_change_ends_the_run_with_the_reason(code: int) -> None:
    machine = begun()
    (end,) = machine.fetched(1, Refused(code, "Bad Request: bad webhook"), 1.0)
    assert isinstance(end, Ended)
    assert end.failure is not None
    assert f"{code} Bad Request: bad webhook" in end.failure
    assert machine.deadline is None
    assert machine.stop(2.0) == []


@pytest.mark.parametrize(
    "outcome",
    [Unreachable("no connection"), Refused(409, "Conflict"), Refused(429, "Too Many"), Result(7), Result(1)],
)
def test_what_may_pass_is_reported_and_tried_again(outcome: FetchOutcome) -> None:
    machine = begun()
    (report,) = machine.fetched(1, outcome, 10.0)
    assert isinstance(report, Report)
    flooded = isinstance(outcome, Refused) and outcome.code == 429
    assert report.verdict is (Verdict.FLOOD if flooded else Verdict.UNREACHABLE)
    assert machine.deadline is not None
    assert 10.75 <= machine.deadline <= 11.0
    assert machine.reason == "setWebhook is tried again"
    assert machine.tick(10.7) == []
    assert machine.tick(machine.deadline) == [Fetch(2, "setWebhook", {"url": URL, "secret_token": "s3cret"}, 15.0)]


def test_tries_come_ever_later_up_to_a_minute() -> None:
    machine, now, waits = begun(), 0.0, []
    for fetch in range(1, 12):
        machine.fetched(fetch, Unreachable("no connection"), now)
        assert machine.deadline is not None
        waits.append(machine.deadline - now)
        now = machine.deadline
        machine.tick(now)
    assert waits[0] <= 1.0
    assert 45.0 <= waits[-1] <= 60.0


def test_retry_after_is_waited_for() -> None:
    machine = begun()
    machine.fetched(1, Refused(429, "Too Many Requests: retry after 33", 33.0), 1.0)
    assert machine.deadline == 34.0


def test_an_overdue_answer_is_abandoned_and_the_call_tried_again() -> None:
    machine = begun()
    assert machine.tick(14.9) == []
    effects = machine.tick(15.0)
    assert effects[0] == Abandon(1)
    assert isinstance(effects[1], Report)
    assert machine.deadline is not None
    assert machine.deadline > 15.0
    assert machine.fetched(1, Result(True), 15.1) == []


# The stop


@pytest.mark.parametrize("delete_at_stop", [False, True])
def test_a_stop_before_the_start_ends_at_once(delete_at_stop: bool) -> None:
    assert registration(delete_at_stop=delete_at_stop).stop(0.0) == [Ended()]


def test_a_stop_leaves_the_webhook_in_place() -> None:
    machine = was_set()
    assert machine.stop(2.0) == [Ended()]
    assert machine.stop(3.0) == []


def test_a_stop_deletes_the_webhook_if_that_was_asked_for() -> None:
    machine = was_set(delete_at_stop=True)
    assert machine.stop(2.0) == [Fetch(2, "deleteWebhook", {}, 15.0)]
    assert machine.stop(2.5) == []
    assert machine.fetched(2, Result(True), 3.0)[-1] == Ended()
    assert machine.stop(4.0) == []


@pytest.mark.parametrize("outcome", [Unreachable("no connection"), Refused(401, "Unauthorized")])
def test_a_deletion_that_fails_is_reported_and_ends_the_run_all_the_same(outcome: FetchOutcome) -> None:
    machine = was_set(delete_at_stop=True)
    machine.stop(2.0)
    report, end = machine.fetched(2, outcome, 3.0)
    assert isinstance(report, Report)
    assert "may still be set" in report.text
    assert end == Ended()


def test_a_deletion_without_an_answer_ends_in_time() -> None:
    machine = was_set(delete_at_stop=True)
    machine.stop(2.0)
    assert machine.deadline == 17.0
    effects = machine.tick(17.0)
    assert effects[0] == Abandon(2)
    assert effects[-1] == Ended()
    assert machine.deadline is None


def test_a_stop_while_setting_abandons_that() -> None:
    assert begun().stop(1.0) == [Abandon(1), Ended()]
    assert begun(delete_at_stop=True).stop(1.0) == [Abandon(1), Fetch(2, "deleteWebhook", {}, 15.0)]


@pytest.mark.parametrize("delete_at_stop", [False, True])
def test_a_stop_cuts_a_pause_short(delete_at_stop: bool) -> None:
    machine = begun(delete_at_stop=delete_at_stop)
    machine.fetched(1, Unreachable("no connection"), 1.0)
    effects = machine.stop(1.1)
    assert bool(ends(effects)) is not delete_at_stop
    assert [effect.method for effect in effects if isinstance(effect, Fetch)] == ["deleteWebhook"] * delete_at_stop


@pytest.mark.parametrize("delete_at_stop", [False, True])
def test_once_the_run_is_wound_up_the_webhook_is_not_set_again(delete_at_stop: bool) -> None:
    """By then the next process may have set its own, with another secret token."""
    machine = begun(delete_at_stop=delete_at_stop)
    machine.fetched(1, Unreachable("no connection"), 1.0)
    assert machine.wind_up(1.1) == []
    assert machine.deadline is None
    assert machine.tick(3_600.0) == []
    assert bool(ends(machine.stop(3_601.0))) is not delete_at_stop


def test_what_is_under_way_when_the_run_is_wound_up_is_awaited_and_not_tried_again() -> None:
    machine = begun()
    machine.wind_up(1.0)
    assert machine.deadline == 15.0
    twin = copy.deepcopy(machine)
    (report,) = twin.fetched(1, Unreachable("no connection"), 2.0)
    assert isinstance(report, Report)
    assert "not tried again" in report.text
    assert twin.deadline is None
    assert isinstance(machine.fetched(1, Result(True), 2.0)[0], Log)
    assert machine.stop(3.0) == [Ended()]


def test_to_wind_up_what_is_set_or_over_changes_nothing() -> None:
    machine = was_set()
    machine.wind_up(2.0)
    assert machine.deadline is None
    assert machine.stop(3.0) == [Ended()]
    assert machine.wind_up(4.0) == []
    assert machine.over


# Wrong use, and the contract


@pytest.mark.parametrize("before", ["start", "wind_up", "stop"])
def test_a_second_start_is_refused_and_changes_nothing(before: str) -> None:
    machine = registration()
    getattr(machine, before)(0.0)
    as_it_was = pickle.dumps(machine)
    with pytest.raises(LocalProtocolError, match="started or stopped before"):
        machine.start(1.0)
    assert pickle.dumps(machine) == as_it_was


@pytest.mark.parametrize("fetch", [0, 2])
def test_a_fetch_that_was_never_asked_for_is_refused(fetch: int) -> None:
    with pytest.raises(LocalProtocolError, match="never asked for"):
        begun().fetched(fetch, Result(True), 1.0)


def test_copied_or_pickled_between_any_two_calls_it_goes_on_the_same() -> None:
    original = registration(delete_at_stop=True)
    copied = copy.deepcopy(original)
    steps: list[Callable[[Registration], list[Effect]]] = [
        lambda machine: machine.start(0.0),
        lambda machine: machine.fetched(1, Unreachable("no connection"), 1.0),
        lambda machine: machine.tick(2.0),
        lambda machine: machine.fetched(2, Result(True), 3.0),
        lambda machine: machine.stop(4.0),
        lambda machine: machine.fetched(3, Result(True), 5.0),
    ]
    for step in steps:
        copied = pickle.loads(pickle.dumps(copy.deepcopy(copied)))
        assert step(copied) == step(original)
        assert copied.deadline == original.deadline


def test_every_declared_edge_is_taken_and_no_other() -> None:
    TABLE.seen = set()
    try:
        for delete_at_stop in (False, True):
            registration().stop(0.0)
            begun(delete_at_stop=delete_at_stop).stop(1.0)
            failing = begun(delete_at_stop=delete_at_stop)
            failing.wind_up(0.5)
            failing.fetched(1, Unreachable("no connection"), 1.0)
            machine = begun(delete_at_stop=delete_at_stop)
            machine.fetched(1, Unreachable("no connection"), 1.0)
            copy.deepcopy(machine).stop(1.5)
            wound_up = copy.deepcopy(machine)
            wound_up.wind_up(1.5)
            wound_up.stop(1.6)
            machine.tick(2.0)
            copy.deepcopy(machine).fetched(2, Refused(401, "Unauthorized"), 3.0)
            machine.fetched(2, Result(True), 3.0)
            machine.stop(4.0)
            machine.tick(19.0)
        assert {(source, target) for source, targets in TABLE.edges.items() for target in targets} == TABLE.seen
    finally:
        TABLE.seen = None
