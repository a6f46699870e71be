"""Webhook: the design's "Webhook" and "Webhook reply", sentence by sentence, and a model of Telegram's sender."""

from __future__ import annotations

import copy
import json
import pickle
from collections import deque
from collections.abc import Mapping
from heapq import heappop, heappush
from typing import Any, Literal

import pytest
from attrs import evolve, frozen
from hypothesis import given
from hypothesis import strategies as st

from hookline.botapi import InputFile
from hookline.effects import Cancel, Effect, Ended, Handle, Log, Report, Respond, Throw, Verdict
from hookline.errors import LocalProtocolError, OptionError
from hookline.http import Request, Response, StreamId, body_bytes, values_of
from hookline.options import OnTimeout, WebhookOptions
from hookline.outcomes import Cancelled, Outcome, Raised, Returned
from hookline.updates import Update
from hookline.webhook import MAX_JOINED, MAX_UNSENT, TABLE, Over, Serving, Stopping, Webhook

JSON = ("content-type", "application/json")
RAISED = Raised("ValueError: no such user", "Traceback ...")
FAILURES: list[Outcome] = [RAISED, Cancelled()]


def message(update_id: int, chat: int = 1) -> dict[str, Any]:
    return {"update_id": update_id, "message": {"message_id": 1, "chat": {"id": chat, "type": "private"}, "text": "hi"}}


def post(body: Any, *headers: tuple[str, str], target: str = "/", method: str = "POST") -> Request:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Request(method, target, (JSON, *headers), (data,))


def hook(**options: Any) -> Webhook:
    return Webhook(WebhookOptions(**options))


def asked(machine: Webhook, request: int, update_id: int, now: float, chat: int = 1) -> list[Effect]:
    return machine.requested(request, post(message(update_id, chat)), now)


def running(**options: Any) -> Webhook:
    """A webhook whose request 1 runs update 10 as job 1 since 0 s."""
    machine = hook(**options)
    (handle,) = asked(machine, 1, 10, 0.0)
    assert isinstance(handle, Handle)
    assert handle.job == 1
    return machine


def answers(effects: list[Effect]) -> list[tuple[int, int]]:
    """Each request that is answered, and its status; a throw counts as the 500 that it becomes."""
    return [
        (effect.request, effect.response.status if isinstance(effect, Respond) else 500)
        for effect in effects
        if isinstance(effect, (Respond, Throw))
    ]


def verdicts(effects: list[Effect]) -> list[Verdict]:
    return [effect.verdict for effect in effects if isinstance(effect, Report)]


def handles(effects: list[Effect]) -> list[int]:
    """The updates that are to be handled."""
    return [effect.update.update_id for effect in effects if isinstance(effect, Handle)]


def only_response(effects: list[Effect]) -> Response:
    (respond,) = (effect for effect in effects if isinstance(effect, Respond))
    return respond.response


# What is rejected


def rejected(machine: Webhook, request: Request) -> Response:
    """The rejection of a request, of which nothing may have reached a handler."""
    effects = machine.requested(1, request, 0.0)
    assert handles(effects) == []
    assert machine.deadline is None
    assert machine.waiting_requests == 0
    assert not machine.lanes.jobs()
    assert machine.progress.last_fetched is None
    response = only_response(effects)
    assert response.body == ()
    assert values_of(response.headers, "content-length") == ["0"]
    assert len(verdicts(effects)) == 1
    return response


@pytest.mark.parametrize("target", ["/", "/hook/", "/hook/x", "/HOOK", "/?/hook", "http://host/hook", "*", ""])
def test_another_path_is_404(target: str) -> None:
    assert rejected(hook(path="/hook"), post(message(1), target=target)).status == 404


def test_a_query_does_not_matter() -> None:
    assert handles(hook(path="/hook").requested(1, post(message(1), target="/hook?a=/b"), 0.0)) == [1]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "post", "OPTIONS"])
def test_another_method_is_405_and_says_what_is_allowed(method: str) -> None:
    response = rejected(hook(), post(message(1), method=method))
    assert response.status == 405
    assert values_of(response.headers, "allow") == ["POST"]


def secret(value: str) -> tuple[str, str]:
    return ("x-telegram-bot-api-secret-token", value)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [secret("")],
        [secret("S3cret")],
        [secret("s3cret ")],
        [secret("s3cre")],
        [secret("s3crets")],
        [secret("s3cr\u00e9t")],
        [secret("\udce9")],
        [secret("s3cret"), secret("s3cret")],
        [secret("s3cret"), secret("other")],
    ],
)
def test_a_wrong_secret_token_is_401_without_a_body(headers: list[tuple[str, str]]) -> None:
    machine = hook(secret_token="s3cret")
    assert rejected(machine, post(message(1), *headers)).status == 401
    for effect in machine.requested(2, post(message(1), *headers), 0.0):
        assert "s3cr" not in repr(effect)


def test_a_secret_token_that_no_encoding_knows_is_401() -> None:
    assert rejected(hook(secret_token="s3cret"), post(message(1), secret("\ud800"))).status == 401


def test_the_right_secret_token_lets_the_update_in() -> None:
    assert handles(hook(secret_token="s3cret").requested(1, post(message(1), secret("s3cret")), 0.0)) == [1]


def test_where_no_secret_token_is_set_none_is_checked() -> None:
    assert handles(hook().requested(1, post(message(1), secret("anything")), 0.0)) == [1]


@pytest.mark.parametrize(
    "types",
    [[], ["text/plain"], ["application/x-www-form-urlencoded"], ["application/jsonp"], [""], ["application/json"] * 2],
)
def test_another_content_type_is_415(types: list[str]) -> None:
    headers = tuple(("content-type", value) for value in types)
    assert rejected(hook(), evolve(post(message(1)), headers=headers)).status == 415


@pytest.mark.parametrize("value", ["application/json; charset=utf-8", "Application/JSON", " application/json ;x"])
def test_json_may_be_named_with_parameters_and_in_any_case(value: str) -> None:
    assert handles(hook().requested(1, evolve(post(message(1)), headers=(("content-type", value),)), 0.0)) == [1]


def test_a_body_over_max_body_is_413() -> None:
    body = json.dumps(message(1)).encode()
    assert rejected(hook(max_body=len(body) - 1), post(body)).status == 413
    assert handles(hook(max_body=len(body)).requested(1, post(body), 0.0)) == [1]


def test_a_mebibyte_may_come_unless_said_otherwise() -> None:
    body = json.dumps(message(1)).encode()
    assert rejected(hook(), post(body.ljust(1_048_577))).status == 413
    assert handles(hook().requested(1, post(body.ljust(1_048_576)), 0.0)) == [1]


@pytest.mark.parametrize(
    ("length", "status"), [("1048577", 413), ("9" * 5_000, 413), ("-1", 400), ("", 400), ("1e3", 400)]
)
def test_a_declared_length_is_judged_before_the_body_comes(length: str, status: int) -> None:
    head = Request("POST", "/", (JSON, ("content-length", length)))
    response = hook().screen(head)
    assert response is not None
    assert response.status == status
    assert rejected(hook(), head).status == status


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"NaN", b"<html>", b"[" * 100_000, b'{"update_id":1}x'])
def test_a_body_that_is_no_json_is_400(body: bytes) -> None:
    assert rejected(hook(), post(body)).status == 400


@pytest.mark.parametrize(
    "value", [None, 1, "x", [], [message(1)], {}, {"update_id": "1"}, {"update_id": 1.0}, {"update_id": True}]
)
def test_a_body_that_is_no_update_is_400_and_reported_whole(value: Any) -> None:
    assert rejected(hook(), post(value)).status == 400
    (report, _) = hook().requested(1, post(value), 0.0)
    assert isinstance(report, Report)
    assert report.verdict is Verdict.NOT_AN_UPDATE
    assert report.raw == value


def test_an_update_of_an_unknown_kind_is_delivered_as_it_is() -> None:
    (handle,) = hook().requested(1, post({"update_id": 1, "news": {"x": 1}}), 0.0)
    assert isinstance(handle, Handle)
    assert (handle.update.kind, handle.update.payload) == ("news", {"x": 1})


def test_a_good_head_passes_the_screen() -> None:
    assert hook().screen(Request("POST", "/", (JSON, ("content-length", "20")))) is None


@given(
    st.sampled_from(["POST", "GET"]) | st.text(),
    st.sampled_from(["/", "/x"]) | st.text(),
    st.lists(st.tuples(st.sampled_from(["content-type", "content-length", secret("")[0]]), st.text())),
    st.binary(),
)
def test_nothing_that_a_client_sends_raises(
    method: str, target: str, headers: list[tuple[str, str]], body: bytes
) -> None:
    for first in ((), (JSON, secret("s3cret"))):
        machine = hook(secret_token="s3cret")
        effects = machine.requested(1, Request(method, target, (*first, *headers), (body,)), 0.0)
        assert len(answers(effects)) + len(handles(effects)) == 1


# The answer


def test_nothing_is_said_while_the_handler_runs() -> None:
    machine = running()
    assert machine.waiting_requests == 1
    assert machine.deadline == 10.0
    assert machine.reason == "a request's time is up"
    assert machine.tick(9.9) == []


def test_the_handler_returned_200() -> None:
    machine = running()
    assert machine.finished(1, Returned(), 1.0) == [Respond(1, Response(200, (("content-length", "0"),)))]
    assert machine.deadline is None
    assert machine.reason == "nothing is awaited"
    assert machine.tick(100.0) == []


def test_the_handler_raised_500_and_a_report_with_its_traceback() -> None:
    effects = running().finished(1, RAISED, 1.0)
    assert answers(effects) == [(1, 500)]
    (report,) = (effect for effect in effects if isinstance(effect, Report))
    assert report.verdict is Verdict.HANDLER_FAILED
    assert (report.update_id, report.raw) == (10, "Traceback ...")
    assert "ValueError: no such user" in report.text


@pytest.mark.parametrize("timeout", [0, -1, 59.5, 60, True])
def test_the_timeout_must_be_under_telegrams(timeout: float) -> None:
    with pytest.raises(OptionError, match="timeout"):
        WebhookOptions(timeout=timeout)


# Time is up: throw


def test_throw_is_the_default_and_leaves_the_handler_running() -> None:
    machine = running()
    effects = machine.tick(10.0)
    assert [effect for effect in effects if not isinstance(effect, Report)] == [Throw(1, 10, 10.0)]
    assert verdicts(effects) == [Verdict.HANDLER_TIMEOUT]
    assert machine.lanes.running == 1
    assert machine.deadline is None


def test_a_redelivery_joins_the_run_in_progress_and_is_answered_when_it_ends() -> None:
    machine = running()
    machine.tick(10.0)
    assert asked(machine, 2, 10, 10.5) == []
    assert machine.deadline == 20.5
    assert answers(machine.finished(1, Returned(), 12.0)) == [(2, 200)]


def test_a_redelivery_that_joined_a_run_that_fails_gets_500() -> None:
    machine = running()
    machine.tick(10.0)
    asked(machine, 2, 10, 10.5)
    assert answers(machine.finished(1, RAISED, 12.0)) == [(2, 500)]


def test_a_redelivery_has_a_time_of_its_own() -> None:
    machine = running()
    machine.tick(10.0)
    asked(machine, 2, 10, 10.5)
    assert answers(machine.tick(20.5)) == [(2, 500)]
    assert asked(machine, 3, 10, 21.0) == []
    assert answers(machine.finished(1, Returned(), 22.0)) == [(3, 200)]


def test_a_redelivery_joins_a_run_that_waits_for_its_lane() -> None:
    machine = running()
    assert asked(machine, 2, 11, 1.0) == []
    assert answers(machine.tick(11.0)) == [(1, 500), (2, 500)]
    assert asked(machine, 3, 11, 12.0) == []
    effects = machine.finished(1, Returned(), 13.0)
    assert handles(effects) == [11]
    assert answers(machine.finished(2, Returned(), 14.0)) == [(3, 200)]


def test_all_that_joined_are_answered() -> None:
    machine = running()
    asked(machine, 2, 10, 1.0)
    asked(machine, 3, 10, 2.0)
    assert sorted(answers(machine.finished(1, Returned(), 3.0))) == [(1, 200), (2, 200), (3, 200)]
    assert machine.waiting_requests == 0


def test_what_ended_while_nobody_waited_is_known_when_it_comes_again() -> None:
    machine = running()
    machine.tick(10.0)
    assert machine.finished(1, Returned(), 12.0) == []
    assert answers(asked(machine, 2, 10, 13.0)) == [(2, 200)]


# Time is up: return


def test_return_answers_200_and_leaves_the_handler_running() -> None:
    machine = running(on_timeout="return")
    assert machine.tick(10.0) == [Respond(1, Response(200, (("content-length", "0"),)))]
    assert machine.lanes.running == 1
    assert machine.finished(1, Returned(), 50.0) == []


def test_after_return_the_next_update_of_the_lane_waits_for_the_handler() -> None:
    machine = running(on_timeout="return")
    machine.tick(10.0)
    assert asked(machine, 2, 11, 11.0) == []
    assert handles(machine.finished(1, Returned(), 12.0)) == [11]


def test_after_return_an_update_that_waits_is_still_handled() -> None:
    machine = running(on_timeout="return")
    asked(machine, 2, 11, 1.0)
    assert answers(machine.tick(11.0)) == [(1, 200), (2, 200)]
    assert handles(machine.finished(1, Returned(), 12.0)) == [11]


def test_after_return_a_redelivery_gets_200_at_once() -> None:
    machine = running(on_timeout="return")
    machine.tick(10.0)
    assert answers(asked(machine, 2, 10, 11.0)) == [(2, 200)]
    assert machine.lanes.running == 1


@pytest.mark.parametrize("outcome", FAILURES)
@pytest.mark.parametrize("stopping", [False, True])
def test_after_return_a_handler_that_fails_is_reported_as_a_lost_update(outcome: Outcome, stopping: bool) -> None:
    machine = running(on_timeout="return")
    machine.tick(10.0)
    if stopping:
        machine.stop(11.0)
    effects = machine.finished(1, outcome, 12.0)
    (lost,) = (effect for effect in effects if isinstance(effect, Report) and effect.verdict is Verdict.LOST)
    assert (lost.update_id, lost.raw) == (10, message(10))
    assert lost.text.endswith("so it is not sent again, unless that answer was lost on its way")


# Time is up: cancel


def test_cancel_cancels_the_handler_then_throws() -> None:
    machine = running(on_timeout="cancel")
    effects = machine.tick(10.0)
    assert [effect for effect in effects if not isinstance(effect, Report)] == [Throw(1, 10, 10.0), Cancel(1)]
    assert machine.finished(1, Cancelled(), 10.1) == []


def test_after_cancel_a_redelivery_starts_afresh() -> None:
    machine = running(on_timeout="cancel")
    machine.tick(10.0)
    machine.finished(1, Cancelled(), 10.1)
    assert handles(asked(machine, 2, 10, 11.0)) == [10]
    assert answers(machine.finished(2, Returned(), 12.0)) == [(2, 200)]


def test_after_cancel_a_redelivery_waits_until_the_cancelled_run_is_over() -> None:
    machine = running(on_timeout="cancel")
    machine.tick(10.0)
    assert asked(machine, 2, 10, 10.1) == []
    assert handles(machine.finished(1, Cancelled(), 10.5)) == [10]


def test_after_cancel_a_redelivery_does_not_run_if_the_handler_returned_all_the_same() -> None:
    machine = running(on_timeout="cancel")
    machine.tick(10.0)
    asked(machine, 2, 10, 10.1)
    effects = machine.finished(1, Returned(), 10.5)
    assert answers(effects) == [(2, 200)]
    assert handles(effects) == []
    assert not machine.lanes.jobs()
    assert (machine.progress.waiting, machine.progress.running) == (0, 0)


def test_after_cancel_a_redelivery_does_not_run_if_the_update_is_given_up() -> None:
    machine = running(on_timeout="cancel", max_attempts=1)
    machine.tick(10.0)
    asked(machine, 2, 10, 10.1)
    effects = machine.finished(1, Cancelled(), 10.5)
    assert verdicts(effects) == [Verdict.GIVEN_UP]
    assert answers(effects) == [(2, 200)]
    assert handles(effects) == []


def test_cancel_forgets_an_update_that_waits() -> None:
    machine = running(on_timeout="cancel")
    asked(machine, 2, 11, 1.0)
    machine.finished(1, Returned(), 1.5)
    asked(machine, 3, 12, 2.0)
    machine.finished(2, Returned(), 3.0)
    asked(machine, 4, 13, 4.0)
    effects = machine.tick(12.0)
    assert [effect for effect in effects if isinstance(effect, (Throw, Cancel))] == [Throw(3, 12, 10.0), Cancel(3)]
    effects = machine.tick(14.0)
    assert answers(effects) == [(4, 500)]
    assert not any(isinstance(effect, Cancel) for effect in effects)
    assert machine.progress.waiting == 0
    assert handles(machine.finished(3, Cancelled(), 15.0)) == []
    assert handles(asked(machine, 5, 13, 16.0)) == [13]


def test_cancelled_runs_count_as_failed_ones() -> None:
    machine = hook(on_timeout="cancel", max_attempts=2)
    effects: list[Effect] = []
    for number, now in ((1, 0.0), (2, 20.0)):
        assert handles(asked(machine, number, 10, now)) == [10]
        machine.tick(now + 10.0)
        effects = machine.finished(number, Cancelled(), now + 11.0)
    assert verdicts(effects) == [Verdict.GIVEN_UP]
    assert answers(asked(machine, 3, 10, 40.0)) == [(3, 200)]


# Time is up: a function decides


def by_update_id(update: Update) -> OnTimeout:
    decisions: tuple[OnTimeout, ...] = ("throw", "return", "cancel")
    return decisions[update.update_id % 3]


def raises(update: Update) -> OnTimeout:
    raise KeyError(update.kind)


def says_nonsense(update: Update) -> OnTimeout:
    return "later"  # type: ignore[return-value]


@pytest.mark.parametrize(("update_id", "decision"), [(9, "throw"), (10, "return"), (11, "cancel")])
def test_a_function_decides_given_the_update(update_id: int, decision: OnTimeout) -> None:
    decided, fixed = Webhook(on_timeout=by_update_id), hook(on_timeout=decision)
    for machine in (decided, fixed):
        asked(machine, 1, update_id, 0.0)
    assert decided.tick(10.0) == fixed.tick(10.0)


@pytest.mark.parametrize(("policy", "said"), [(raises, "raised KeyError"), (says_nonsense, "returned 'later'")])
def test_a_function_that_fails_is_reported_and_the_option_holds(policy: Any, said: str) -> None:
    machine = Webhook(WebhookOptions(on_timeout="return"), on_timeout=policy)
    asked(machine, 1, 10, 0.0)
    effects = machine.tick(10.0)
    assert verdicts(effects) == [Verdict.POLICY_FAILED]
    assert isinstance(effects[0], Report)
    assert said in effects[0].text
    assert "'return' is taken" in effects[0].text
    assert answers(effects) == [(1, 200)]


# What was handled stays known; what fails is given up


def test_a_redelivery_after_the_end_gets_200_and_does_not_run() -> None:
    machine = running()
    machine.finished(1, Returned(), 1.0)
    for request in range(2, 5):
        effects = asked(machine, request, 10, 100.0 * request)
        assert answers(effects) == [(request, 200)]
        assert handles(effects) == []


def test_remember_handled_updates_stay_known_and_no_more() -> None:
    machine = hook(remember=3)
    for number in range(1, 6):
        asked(machine, number, number, 0.0)
        machine.finished(number, Returned(), 0.0)
    assert [answers(asked(machine, 10 + known, known, 1.0)) for known in (3, 4, 5)] == [
        [(13, 200)],
        [(14, 200)],
        [(15, 200)],
    ]
    assert handles(asked(machine, 20, 1, 1.0)) == [1]
    assert len(machine._handled) == 3


def test_ten_thousand_handled_updates_are_known_unless_said_otherwise() -> None:
    assert WebhookOptions().remember == 10_000


def test_failed_runs_are_remembered_up_to_the_same_number() -> None:
    machine = hook(remember=3)
    for number in range(1, 10):
        asked(machine, number, number, 0.0)
        machine.finished(number, RAISED, 0.0)
    assert len(machine._attempts) == 3


def test_an_update_whose_handler_failed_runs_again() -> None:
    machine = running()
    machine.finished(1, RAISED, 1.0)
    assert handles(asked(machine, 2, 10, 2.0)) == [10]
    assert answers(machine.finished(2, Returned(), 3.0)) == [(2, 200)]


def test_after_max_attempts_failed_runs_it_is_answered_200_and_reported_as_given_up() -> None:
    machine = hook()
    effects: list[Effect] = []
    for attempt in range(1, 6):
        assert handles(asked(machine, attempt, 10, float(attempt))) == [10]
        effects = machine.finished(attempt, RAISED, attempt + 0.5)
        last = attempt == 5
        assert answers(effects) == [(attempt, 200 if last else 500)]
        assert verdicts(effects) == [Verdict.HANDLER_FAILED, Verdict.GIVEN_UP][: 2 if last else 1]
    assert isinstance(effects[1], Report)
    assert (effects[1].update_id, effects[1].raw) == (10, message(10))
    assert answers(asked(machine, 6, 10, 10.0)) == [(6, 200)]
    assert machine.lanes.running == 0


def test_a_success_forgets_the_failed_runs_before() -> None:
    machine = hook(max_attempts=2, remember=1)
    asked(machine, 1, 10, 0.0)
    machine.finished(1, RAISED, 0.0)
    asked(machine, 2, 10, 1.0)
    machine.finished(2, Returned(), 1.0)
    asked(machine, 3, 11, 2.0)
    machine.finished(3, Returned(), 2.0)
    assert handles(asked(machine, 4, 10, 3.0)) == [10]
    assert answers(machine.finished(4, RAISED, 3.0)) == [(4, 500)]


# Lanes and limits


def test_updates_of_one_lane_run_one_after_the_other_in_order() -> None:
    machine = running()
    assert asked(machine, 2, 11, 1.0) == []
    assert asked(machine, 3, 12, 1.0) == []
    assert handles(machine.finished(1, Returned(), 2.0)) == [11]
    assert handles(machine.finished(2, RAISED, 3.0)) == [12]


def test_a_message_and_a_button_press_of_one_chat_do_not_race() -> None:
    machine = running()
    press = {"update_id": 11, "callback_query": {"id": "1", "from": {"id": 5}, "message": {"chat": {"id": 1}}}}
    assert machine.requested(2, post(press), 0.0) == []
    assert handles(machine.finished(1, Returned(), 2.0)) == [11]


def test_updates_of_different_lanes_run_at_once() -> None:
    assert handles(asked(running(), 2, 11, 1.0, chat=2)) == [11]


def test_at_most_concurrency_lanes_run_at_once() -> None:
    machine = running(concurrency=2)
    assert handles(asked(machine, 2, 11, 0.0, chat=2)) == [11]
    assert handles(asked(machine, 3, 12, 0.0, chat=3)) == []
    assert handles(machine.finished(2, Returned(), 1.0)) == [12]


def by_text(raw: Mapping[str, Any]) -> str:
    return str(raw["message"]["text"])


def unhashable(raw: Mapping[str, Any]) -> Any:
    return [raw["update_id"]]


def test_a_lane_function_replaces_the_default() -> None:
    machine = Webhook(lane=by_text)
    asked(machine, 1, 10, 0.0, chat=1)
    assert asked(machine, 2, 11, 0.0, chat=2) == []


@pytest.mark.parametrize(("lane", "update"), [(by_text, {"update_id": 1, "poll": {}}), (unhashable, message(1))])
def test_a_lane_function_that_fails_is_reported_and_the_default_lane_taken(lane: Any, update: dict[str, Any]) -> None:
    machine = Webhook(lane=lane)
    effects = machine.requested(1, post(update), 0.0)
    assert verdicts(effects) == [Verdict.POLICY_FAILED]
    assert handles(effects) == [1]


def test_past_max_waiting_503_with_retry_after() -> None:
    machine = running(max_waiting=2, retry_after=7)
    asked(machine, 2, 11, 0.0)
    asked(machine, 3, 12, 0.0)
    effects = asked(machine, 4, 13, 0.0)
    response = only_response(effects)
    assert response.status == 503
    assert values_of(response.headers, "retry-after") == ["7"]
    assert verdicts(effects) == [Verdict.REQUEST_REJECTED]
    assert machine.progress.waiting == 2


def test_past_max_waiting_what_need_not_wait_still_runs() -> None:
    machine = running(max_waiting=0)
    assert answers(asked(machine, 2, 11, 0.0)) == [(2, 503)]
    assert handles(asked(machine, 3, 12, 0.0, chat=2)) == [12]


def test_past_max_waiting_a_redelivery_still_joins_and_what_is_known_gets_200() -> None:
    machine = running(max_waiting=1)
    machine.finished(1, Returned(), 0.5)
    asked(machine, 2, 11, 1.0)
    asked(machine, 3, 12, 1.0)
    assert asked(machine, 4, 11, 1.0) == []
    assert asked(machine, 5, 12, 1.0) == []
    assert answers(asked(machine, 6, 10, 1.0)) == [(6, 200)]
    assert answers(asked(machine, 7, 13, 1.0)) == [(7, 503)]


def test_progress_shows_what_came_and_what_was_handled() -> None:
    machine = running()
    asked(machine, 2, 11, 3.0)
    progress = machine.progress
    assert (progress.last_fetched, progress.last_handled, progress.waiting, progress.running) == (3.0, None, 1, 1)
    machine.finished(1, Returned(), 4.0)
    progress = machine.progress
    assert (progress.last_fetched, progress.last_handled, progress.waiting, progress.running) == (3.0, 4.0, 0, 1)


# The client goes before the answer


def test_a_client_that_has_gone_gets_no_answer_and_the_run_goes_on() -> None:
    machine = running()
    assert machine.disconnected(1, 1.0) == []
    assert machine.deadline is None
    assert machine.tick(10.0) == []
    assert machine.finished(1, Returned(), 12.0) == []
    assert answers(asked(machine, 2, 10, 13.0)) == [(2, 200)]


def test_a_run_whose_client_has_gone_can_be_joined() -> None:
    machine = running()
    machine.disconnected(1, 1.0)
    assert asked(machine, 2, 10, 2.0) == []
    assert answers(machine.finished(1, Returned(), 3.0)) == [(2, 200)]


def test_a_client_that_goes_after_its_answer_changes_nothing() -> None:
    machine = running()
    machine.finished(1, Returned(), 1.0)
    assert machine.disconnected(1, 2.0) == []
    assert machine.disconnected(99, 2.0) == []


def test_a_request_number_that_was_answered_can_be_used_again_and_has_its_full_time() -> None:
    machine = running()
    machine.finished(1, Returned(), 1.0)
    asked(machine, 1, 11, 5.0)
    assert machine.deadline == 15.0
    assert machine.tick(10.0) == []
    machine.disconnected(1, 11.0)
    asked(machine, 1, 11, 12.0)
    assert machine.tick(15.0) == []
    assert answers(machine.tick(22.0)) == [(1, 500)]


def test_requests_that_were_answered_take_no_memory() -> None:
    machine = running()
    size = len(pickle.dumps(machine))
    for number in range(2, 1_000):
        asked(machine, number, 10, 1.0)
        machine.disconnected(number, 1.0)
    assert len(pickle.dumps(machine)) < size + 500


@pytest.mark.parametrize("cancels", [WebhookOptions(on_timeout="cancel"), lambda update: "cancel"])
def test_cancel_cancels_a_run_whose_client_has_gone(cancels: Any) -> None:
    """When the time of its last request is up, as if that had stayed."""
    machine = Webhook(cancels) if isinstance(cancels, WebhookOptions) else Webhook(on_timeout=cancels)
    asked(machine, 1, 10, 0.0)
    asked(machine, 2, 10, 3.0)
    machine.disconnected(2, 4.0)
    machine.disconnected(1, 5.0)
    assert machine.deadline == 10.0
    assert machine.reason == "a request's time is up"
    assert machine.tick(9.9) == []
    report, cancel = machine.tick(10.0)
    assert isinstance(report, Report)
    assert (report.verdict, report.update_id) == (Verdict.HANDLER_TIMEOUT, 10)
    assert cancel == Cancel(1)
    assert machine.deadline is None


def test_a_run_whose_client_has_gone_is_not_cancelled_again_after_the_end() -> None:
    machine = Webhook(WebhookOptions(on_timeout="cancel", timeout=50.0, grace=1.0))
    asked(machine, 1, 7, 0.0)
    machine.disconnected(1, 1.0)
    machine.stop(45.0)
    assert Cancel(1) in machine.tick(46.0)
    assert machine.deadline is None
    assert machine.tick(50.0) == []


def test_a_run_whose_client_has_gone_is_not_cancelled_if_the_function_says_throw() -> None:
    machine = Webhook(on_timeout=lambda update: "throw")
    asked(machine, 1, 10, 0.0)
    machine.disconnected(1, 5.0)
    assert machine.tick(10.0) == []
    assert machine.deadline is None


def test_cancel_forgets_an_update_that_waits_and_whose_client_has_gone() -> None:
    machine = running(on_timeout="cancel")
    asked(machine, 2, 11, 1.0)
    machine.disconnected(2, 2.0)
    machine.tick(10.0)
    assert verdicts(machine.tick(11.0)) == [Verdict.HANDLER_TIMEOUT]
    assert [job.number for job in machine.lanes.jobs()] == [1]


def test_a_redelivery_gives_a_run_whose_client_has_gone_its_full_time_again() -> None:
    machine = running(on_timeout="cancel")
    machine.disconnected(1, 1.0)
    asked(machine, 2, 10, 8.0)
    assert machine.tick(10.0) == []
    assert machine.deadline == 18.0


def test_a_run_that_ended_is_not_cancelled_later() -> None:
    machine = running(on_timeout="cancel")
    machine.disconnected(1, 1.0)
    machine.finished(1, Returned(), 2.0)
    assert machine.deadline is None
    assert machine.tick(10.0) == []


def test_a_hundred_requests_may_wait_for_one_run() -> None:
    """One more gets 503, and the run does not begin anew."""
    machine = running()
    for number in range(2, MAX_JOINED + 1):
        assert asked(machine, number, 10, 1.0) == []
    effects = asked(machine, 1_000, 10, 2.0)
    assert answers(effects) == [(1_000, 503)]
    assert verdicts(effects) == [Verdict.REQUEST_REJECTED]
    assert machine.waiting_requests == MAX_JOINED
    assert len(answers(machine.finished(1, Returned(), 3.0))) == MAX_JOINED


# Wrong use


def test_a_request_number_in_use_is_refused_and_changes_nothing() -> None:
    machine = running()
    before = pickle.dumps(machine)
    with pytest.raises(LocalProtocolError, match="request 1 was told before"):
        asked(machine, 1, 11, 1.0)
    assert pickle.dumps(machine) == before


@pytest.mark.parametrize("job", [0, 2, 3])
def test_a_run_that_does_not_run_cannot_finish(job: int) -> None:
    machine = running()
    asked(machine, 2, 11, 0.0)  # job 2, which waits
    before = pickle.dumps(machine)
    with pytest.raises(LocalProtocolError, match=f"job {job}"):
        machine.finished(job, Returned(), 1.0)
    assert pickle.dumps(machine) == before


def test_a_run_finishes_once() -> None:
    machine = running()
    machine.finished(1, Returned(), 1.0)
    with pytest.raises(LocalProtocolError, match="job 1"):
        machine.finished(1, Returned(), 2.0)


# Webhook reply


def replied(machine: Webhook, now: float = 1.0) -> list[Effect] | None:
    return machine.reply(1, "sendMessage", {"chat_id": 1, "text": "hi", "reply_markup": None}, now)


def test_a_call_travels_in_the_response_at_once_as_json() -> None:
    machine = running()
    effects = replied(machine)
    assert effects is not None
    response = only_response(effects)
    assert response.status == 200
    assert values_of(response.headers, "content-type") == ["application/json"]
    assert json.loads(body_bytes(response.body)) == {"method": "sendMessage", "chat_id": 1, "text": "hi"}
    assert machine.deadline is None
    assert machine.finished(1, Returned(), 2.0) == []


def test_a_call_with_files_travels_as_multipart() -> None:
    effects = running().reply(1, "sendPhoto", {"photo": InputFile(b"PNG", "a.png")}, 1.0)
    assert effects is not None
    (content_type,) = values_of(only_response(effects).headers, "content-type")
    assert content_type.startswith("multipart/form-data; boundary=")


def test_a_call_with_an_open_stream_does_not_travel() -> None:
    """Its result is there at once, so the program may close the stream before it was read."""
    machine = running()
    assert machine.reply(1, "sendDocument", {"document": InputFile(StreamId(1), "a")}, 1.0) is None
    assert machine.can_reply(1, "sendDocument")


def test_two_replies_have_different_boundaries() -> None:
    machine = running()
    asked(machine, 2, 11, 0.0, chat=2)
    photo = {"photo": InputFile(b"PNG", "a.png")}
    first, second = machine.reply(1, "sendPhoto", photo, 1.0), machine.reply(2, "sendPhoto", photo, 1.0)
    assert first is not None
    assert second is not None
    assert only_response(first) != only_response(second)


def test_at_most_one_call_travels_per_update() -> None:
    machine = running()
    asked(machine, 2, 10, 0.5)
    assert replied(machine) is not None
    assert not machine.can_reply(1, "sendMessage")
    assert replied(machine) is None


@pytest.mark.parametrize("on_timeout", ["throw", "return"])
def test_no_call_travels_once_the_answer_was_sent(on_timeout: OnTimeout) -> None:
    machine = running(on_timeout=on_timeout)
    assert machine.can_reply(1, "sendMessage")
    machine.tick(10.0)
    assert not machine.can_reply(1, "sendMessage")
    assert replied(machine, 10.1) is None


def test_no_call_travels_once_the_client_has_gone_or_the_run_has_ended() -> None:
    machine = running()
    machine.disconnected(1, 0.5)
    assert replied(machine) is None
    assert asked(machine, 2, 10, 2.0) == []
    assert machine.can_reply(1, "sendMessage")
    machine.finished(1, Returned(), 3.0)
    assert replied(machine, 4.0) is None


@pytest.mark.parametrize("method", ["getMe", "getupdates", "setWebhook", "deleteWebhook", "close", "logOut", ""])
def test_a_method_that_the_server_would_ignore_does_not_travel(method: str) -> None:
    machine = running()
    assert not machine.can_reply(1, method)
    assert machine.reply(1, method, {}, 1.0) is None
    assert machine.can_reply(1, "sendMessage")


def test_a_call_that_is_too_large_does_not_travel_and_a_smaller_one_still_may() -> None:
    machine = running()
    assert machine.reply(1, "sendMessage", {"text": "a" * 1_048_576}, 1.0) is None
    assert machine.reply(1, "sendMediaGroup", {"media": [InputFile(b"", "a")] * 51}, 1.0) is None
    assert replied(machine) is not None


def test_a_call_that_cannot_be_encoded_is_refused_and_changes_nothing() -> None:
    machine = running()
    before = pickle.dumps(machine)
    with pytest.raises(LocalProtocolError, match="sendMessage"):
        machine.reply(1, "sendMessage", {"text": float("nan")}, 1.0)
    assert pickle.dumps(machine) == before


def test_the_newest_request_carries_the_call_and_the_others_get_a_plain_200() -> None:
    machine = running()
    asked(machine, 2, 10, 0.5)
    effects = replied(machine)
    assert effects is not None
    assert [(effect.request, effect.response.body != ()) for effect in effects if isinstance(effect, Respond)] == [
        (2, True),
        (1, False),
    ]
    assert answers(effects) == [(2, 200), (1, 200)]


def test_after_a_reply_a_redelivery_gets_a_plain_200_at_once() -> None:
    machine = running()
    replied(machine)
    assert asked(machine, 2, 10, 2.0) == [Respond(2, Response(200, (("content-length", "0"),)))]


def test_after_a_reply_a_handler_that_raises_is_reported_as_a_lost_update() -> None:
    machine = running()
    replied(machine)
    assert verdicts(machine.finished(1, RAISED, 2.0)) == [Verdict.HANDLER_FAILED, Verdict.LOST]


def replied_with_a_file(machine: Webhook, now: float = 1.0) -> list[Effect]:
    """A call with a file in the response to update 10."""
    effects = machine.reply(1, "sendPhoto", {"chat_id": 1, "photo": InputFile("a.png")}, now)
    assert effects is not None
    return effects


def test_a_reply_that_broke_off_told_telegram_nothing() -> None:
    """Its file could not be read: Telegram sends the update again, and that joins the run."""
    machine = running()
    replied_with_a_file(machine)
    assert machine.broken_off(1, 1.5) == []
    assert asked(machine, 2, 10, 2.0) == []
    assert not machine.can_reply(1, "sendMessage"), "there is one at most"
    effects = machine.finished(1, RAISED, 3.0)
    assert verdicts(effects) == [Verdict.HANDLER_FAILED]
    assert answers(effects) == [(2, 500)]


def test_a_held_answer_that_broke_off_told_telegram_nothing() -> None:
    machine = running(hold_answer=True)
    replied_with_a_file(machine)
    assert answers(machine.tick(10.0)) == [(1, 200)]
    machine.broken_off(1, 11.0)
    assert verdicts(machine.finished(1, RAISED, 12.0)) == [Verdict.HANDLER_FAILED]


def test_whether_an_update_is_lost_is_said_when_its_answer_is_out() -> None:
    """A run that fails while its reply is read from a file: Telegram was not told yet."""
    machine = running()
    replied_with_a_file(machine)
    assert verdicts(machine.finished(1, RAISED, 2.0)) == [Verdict.HANDLER_FAILED]
    assert verdicts(machine.went_out(1, 3.0)) == [Verdict.LOST]
    assert machine.went_out(1, 4.0) == machine.broken_off(1, 4.0) == []


def test_a_run_that_failed_before_its_reply_broke_off_is_a_failed_run() -> None:
    machine = running(max_attempts=1)
    replied_with_a_file(machine)
    machine.finished(1, RAISED, 2.0)
    assert verdicts(machine.broken_off(1, 3.0)) == [Verdict.GIVEN_UP]


def test_a_reply_that_went_out_before_the_run_fails_has_told_telegram() -> None:
    machine = running()
    replied_with_a_file(machine)
    assert machine.went_out(1, 2.0) == []
    assert verdicts(machine.finished(1, RAISED, 3.0)) == [Verdict.HANDLER_FAILED, Verdict.LOST]


@pytest.mark.parametrize("whole", [True, False])
def test_what_a_stop_leaves_of_a_run_whose_reply_goes_out_is_said_when_it_is_out(whole: bool) -> None:
    machine = running(grace=5.0)
    replied_with_a_file(machine)
    machine.stop(2.0)
    assert verdicts(machine.tick(7.0)) == []
    assert isinstance(machine.state, Over)
    said = machine.went_out(1, 8.0) if whole else machine.broken_off(1, 8.0)
    assert verdicts(said) == ([Verdict.LOST] if whole else [])


def test_a_reply_that_broke_off_is_no_matter_if_an_older_request_was_told_too() -> None:
    machine = running()
    asked(machine, 2, 10, 1.0)
    replied_with_a_file(machine, 2.0)
    machine.broken_off(2, 4.0)
    assert Verdict.LOST in verdicts(machine.finished(1, RAISED, 5.0))


def test_a_reply_that_broke_off_is_no_matter_if_a_redelivery_was_told_since() -> None:
    machine = running()
    replied_with_a_file(machine)
    assert answers(asked(machine, 2, 10, 3.0)) == [(2, 200)]
    machine.broken_off(1, 4.0)
    assert Verdict.LOST in verdicts(machine.finished(1, RAISED, 5.0))


def test_an_answer_that_breaks_off_after_the_run_changes_nothing() -> None:
    machine = running(hold_answer=True)
    replied_with_a_file(machine)
    machine.finished(1, Returned(), 2.0)
    assert machine.broken_off(1, 3.0) == machine.broken_off(99, 3.0) == []
    assert answers(asked(machine, 2, 10, 4.0)) == [(2, 200)]


def test_a_held_answer_carries_its_call_when_the_handler_has_ended() -> None:
    machine = running(hold_answer=True)
    assert replied(machine) == []
    assert machine.waiting_requests == 1
    assert not machine.can_reply(1, "sendMessage")
    response = only_response(machine.finished(1, Returned(), 2.0))
    assert json.loads(body_bytes(response.body))["method"] == "sendMessage"


@pytest.mark.parametrize("on_timeout", ["throw", "return", "cancel"])
def test_a_held_answer_is_sent_when_time_is_up(on_timeout: OnTimeout) -> None:
    machine = running(hold_answer=True, on_timeout=on_timeout)
    replied(machine)
    (respond,) = machine.tick(10.0)
    assert isinstance(respond, Respond)
    assert json.loads(body_bytes(respond.response.body))["method"] == "sendMessage"
    assert answers(asked(machine, 2, 10, 11.0)) == [(2, 200)]
    assert machine.finished(1, Returned(), 12.0) == []


def test_a_held_answer_goes_to_one_request_alone() -> None:
    machine = running(hold_answer=True)
    replied(machine)
    asked(machine, 2, 10, 1.5)
    effects = machine.finished(1, Returned(), 2.0)
    assert [(effect.request, effect.response.body != ()) for effect in effects if isinstance(effect, Respond)] == [
        (2, True),
        (1, False),
    ]


def test_a_held_answer_whose_client_has_gone_is_given_to_the_next_delivery() -> None:
    """Telegram was not told, so it sends the update again; the call is made once."""
    machine = running(hold_answer=True)
    replied(machine)
    machine.disconnected(1, 1.5)
    assert machine.finished(1, Returned(), 2.0) == []
    response = only_response(asked(machine, 2, 10, 3.0))
    assert json.loads(body_bytes(response.body))["method"] == "sendMessage"
    assert only_response(asked(machine, 3, 10, 4.0)).body == ()


def test_held_answers_that_nobody_fetches_are_bounded_and_reported() -> None:
    machine = hook(hold_answer=True)
    effects: list[Effect] = []
    for number in range(1, MAX_UNSENT + 2):
        asked(machine, 1, number, 0.0)
        machine.reply(number, "sendMessage", {"chat_id": 1, "text": "hi"}, 1.0)
        machine.disconnected(1, 1.5)
        effects += machine.finished(number, Returned(), 2.0)
    [report] = effects
    assert isinstance(report, Report)
    assert (report.verdict, report.update_id) == (Verdict.LOST, 1)
    assert only_response(asked(machine, 2, 1, 3.0)).body == ()
    assert only_response(asked(machine, 2, 2, 3.0)).body != ()


def test_a_held_answer_is_forgotten_with_its_update() -> None:
    machine = hook(hold_answer=True, remember=1)
    asked(machine, 1, 10, 0.0)
    replied(machine)
    machine.disconnected(1, 1.5)
    machine.finished(1, Returned(), 2.0)
    asked(machine, 2, 11, 3.0)
    machine.finished(2, Returned(), 4.0)
    assert handles(asked(machine, 3, 10, 5.0)) == [10]
    assert only_response(machine.finished(3, Returned(), 6.0)).body == ()


def test_a_held_answer_is_not_sent_if_the_handler_raised_since_the_update_comes_again() -> None:
    machine = running(hold_answer=True)
    replied(machine)
    effects = machine.finished(1, RAISED, 2.0)
    assert answers(effects) == [(1, 500)]
    assert only_response(effects).body == ()
    assert handles(asked(machine, 2, 10, 3.0)) == [10]
    assert machine.can_reply(2, "sendMessage")


# A host that freezes once it has answered


def test_where_the_host_freezes_an_answer_with_a_call_is_held_until_the_handler_has_ended() -> None:
    machine = running(freezes=True)
    assert replied(machine) == []
    response = only_response(machine.finished(1, Returned(), 2.0))
    assert json.loads(body_bytes(response.body))["method"] == "sendMessage"


def test_where_the_host_freezes_a_held_answer_is_not_sent_when_time_is_up_but_with_the_handlers_end() -> None:
    """2xx would let Telegram forget an update whose handler may never end."""
    machine = running(freezes=True)
    replied(machine)
    assert answers(machine.tick(10.0)) == [(1, 500)]
    assert asked(machine, 2, 10, 11.0) == []
    response = only_response(machine.finished(1, Returned(), 12.0))
    assert json.loads(body_bytes(response.body))["method"] == "sendMessage"


def test_where_the_host_freezes_a_held_answer_of_a_run_that_ended_alone_is_given_to_the_next_delivery() -> None:
    machine = running(freezes=True)
    replied(machine)
    machine.tick(10.0)
    assert machine.finished(1, Returned(), 11.0) == []
    assert only_response(asked(machine, 2, 10, 12.0)).body != ()


def test_where_the_host_freezes_a_policy_that_returns_is_reported_with_the_reason_and_the_option_holds() -> None:
    machine = Webhook(WebhookOptions(freezes=True), on_timeout=lambda update: "return")
    asked(machine, 1, 10, 0.0)
    report, *rest = machine.tick(10.0)
    assert isinstance(report, Report)
    assert report.verdict is Verdict.POLICY_FAILED
    assert "returned 'return', but this host freezes" in report.text
    assert report.text.endswith("'throw' is taken")
    assert answers(rest) == [(1, 500)]


# The stop


def test_a_stop_with_nothing_in_hand_ends_at_once() -> None:
    machine = hook()
    assert machine.stop(0.0) == [Ended()]
    assert machine.stop(1.0) == []
    assert machine.tick(100.0) == []
    assert machine.deadline is None


def test_a_stop_says_what_it_waits_for_and_what_becomes_of_the_rest() -> None:
    machine = running(grace=5.0)
    for number in range(6):
        asked(machine, 2 + number, 11 + number, 0.0, chat=2 + number)
    asked(machine, 8, 17, 0.0)
    said = "7 running, with 5 s to end (updates 10, 11, 12, 13, 14 and 2 more)"
    waiting = "1 waiting, which Telegram sends again, unless it was told 2xx"
    assert machine.stop(1.0)[0] == Log(f"stopping: {said}; {waiting}")


def test_while_stopping_new_work_gets_503_with_retry_after() -> None:
    machine = running()
    machine.stop(1.0)
    response = only_response(asked(machine, 2, 11, 2.0, chat=2))
    assert response.status == 503
    assert values_of(response.headers, "retry-after") == ["5"]


def test_while_stopping_what_runs_ends_and_is_answered_then_the_run_ends() -> None:
    machine = running()
    machine.stop(1.0)
    effects = machine.finished(1, Returned(), 5.0)
    assert answers(effects) == [(1, 200)]
    assert effects[-1] == Ended()
    assert machine.deadline is None


def test_while_stopping_a_redelivery_still_joins_and_what_is_known_gets_200() -> None:
    machine = running()
    asked(machine, 2, 11, 0.0, chat=2)
    machine.finished(2, Returned(), 0.5)
    machine.stop(1.0)
    assert asked(machine, 3, 10, 2.0) == []
    assert answers(asked(machine, 4, 11, 2.0)) == [(4, 200)]
    assert sorted(answers(machine.finished(1, Returned(), 3.0))) == [(1, 200), (3, 200)]


def test_while_stopping_time_is_up_as_before_and_the_reason_says_so() -> None:
    machine = running()
    machine.stop(1.0)
    assert (machine.deadline, machine.reason) == (10.0, "a request's time is up")
    assert answers(machine.tick(10.0)) == [(1, 500)]
    assert (machine.deadline, machine.reason) == (21.0, "the grace time of running handlers ends")


def test_a_stop_leaves_what_waits_to_telegram() -> None:
    machine = running()
    asked(machine, 2, 11, 0.0)
    effects = machine.stop(1.0)
    assert answers(effects) == [(2, 503)]
    assert machine.progress.waiting == 0
    assert machine.finished(1, Returned(), 2.0)[-1] == Ended()


def test_a_stop_still_handles_what_waits_if_telegram_was_told_that_it_is_delivered() -> None:
    machine = running(on_timeout="return")
    asked(machine, 2, 11, 0.0)
    machine.tick(10.0)
    assert answers(machine.stop(11.0)) == []
    assert handles(machine.finished(1, Returned(), 12.0)) == [11]
    assert machine.finished(2, Returned(), 13.0) == [Ended()]


def test_a_handler_that_hangs_is_cancelled_when_the_grace_time_ends() -> None:
    machine = running(grace=5.0)
    machine.stop(1.0)
    assert machine.tick(5.9) == []
    effects = machine.tick(6.0)
    assert answers(effects) == [(1, 503)]
    assert Cancel(1) in effects
    assert Log("handlers that did not end within the grace time: 1 (update 10)") in effects
    assert effects[-1] == Ended()
    assert machine.finished(1, Cancelled(), 7.0) == []
    assert machine.deadline is None


def test_a_second_stop_ends_the_grace_time_at_once() -> None:
    machine = running()
    machine.stop(1.0)
    effects = machine.stop(2.0)
    assert answers(effects) == [(1, 503)]
    assert Cancel(1) in effects
    assert effects[-1] == Ended()
    assert machine.stop(3.0) == []


def test_without_grace_time_the_stop_ends_at_its_next_tick() -> None:
    machine = running(grace=0)
    machine.stop(1.0)
    assert machine.deadline == 1.0
    assert machine.tick(1.0)[-1] == Ended()


def test_an_update_that_telegram_forgot_and_the_stop_cut_short_is_reported_lost() -> None:
    machine = running(on_timeout="return", grace=1.0)
    asked(machine, 2, 11, 0.0)
    machine.tick(10.0)
    machine.stop(11.0)
    effects = machine.tick(12.0)
    assert [(effect.verdict, effect.update_id) for effect in effects if isinstance(effect, Report)] == [
        (Verdict.LOST, 10),
        (Verdict.LOST, 11),
    ]
    assert effects[-1] == Ended()
    assert answers(asked(machine, 3, 11, 13.0)) == [(3, 503)]


def test_a_run_cancelled_while_stopping_is_left_to_telegram() -> None:
    machine = running(max_attempts=1)
    machine.stop(1.0)
    effects = machine.finished(1, Cancelled(), 2.0)
    assert answers(effects) == [(1, 503)]
    assert verdicts(effects) == []


def test_a_run_that_raises_while_stopping_gets_500() -> None:
    machine = running()
    machine.stop(1.0)
    effects = machine.finished(1, RAISED, 2.0)
    assert answers(effects) == [(1, 500)]
    assert effects[-1] == Ended()


def test_after_the_end_a_request_is_still_answered_and_nothing_runs() -> None:
    machine = running()
    machine.stop(1.0)
    machine.finished(1, Returned(), 2.0)
    assert answers(asked(machine, 2, 11, 3.0)) == [(2, 503)]
    assert answers(asked(machine, 3, 10, 3.0)) == [(3, 200)]
    assert machine.reply(1, "sendMessage", {}, 3.0) is None
    assert machine.deadline is None


def test_every_declared_edge_is_taken_and_no_other() -> None:
    TABLE.seen = set()
    try:
        machine = running()
        machine.stop(1.0)
        machine.stop(2.0)
        assert {(Serving, Stopping), (Stopping, Stopping), (Stopping, Over)} == TABLE.seen
        declared = {(source, target) for source, targets in TABLE.edges.items() for target in targets}
        assert declared == TABLE.seen
    finally:
        TABLE.seen = None


# A model of Telegram's sender against it


@frozen
class Plan:
    """What a run does: it ends so after `duration`, or after `cancelled` when it is cancelled before.

    replies: when it makes a call that may travel in the response, if it does.
    """

    duration: float
    outcome: Outcome
    cancelled: tuple[float, Outcome]
    replies: float | None


Event = tuple[Literal["post", "gone", "reply", "ends"], int]


class Sender:
    """Telegram: one outstanding request per ordering queue, sent again on all but 2xx (telegram-server.md, 4.3 to 4.6).

    Two queues share each chat, as messages and callback queries do. It checks what must hold whatever happens.
    """

    def __init__(self, machine: Webhook, plans: list[Plan], patience: list[float], copies: list[bool]) -> None:
        self.machine = machine
        self.now = 0.0
        self.ended = False
        self.stopped = False
        self._plans, self._patience, self._copies = plans, patience, copies
        self._events: list[tuple[float, int, Event]] = []
        self._counter = 0
        self._queues: dict[int, deque[int]] = {}
        self._fails: dict[int, int] = {}
        self._outstanding: dict[int, tuple[int, float]] = {}  # the queue and the time of each request
        self._runs: dict[int, tuple[Update, Plan, float]] = {}
        self._handled: set[int] = set()
        self._given_up: set[int] = set()
        self._told: set[int] = set()  # updates whose loss the program accepted
        self._failed: dict[int, int] = {}

    def send(self, queue: int, update_id: int) -> None:
        updates = self._queues.setdefault(queue, deque())
        updates.append(update_id)
        if len(updates) == 1:
            self._later(0.0, ("post", queue))

    @property
    def idle(self) -> bool:
        """Whether every update was acknowledged, and no handler runs."""
        return not self._runs and not any(self._queues.values())

    def run(self, until: float) -> None:
        while not self.idle or self.machine.deadline is not None:
            times = [events[0][0] for events in (self._events,) if events]
            times += [self.machine.deadline] if self.machine.deadline is not None else []
            if not times or min(times) > until:
                break
            self.now = max(self.now, min(times))
            if self._events and self._events[0][0] <= self.now:
                self._happen(heappop(self._events)[2])
            else:
                self._perform(self.machine.tick(self.now))
                assert self.machine.tick(self.now) == []
                assert self.machine.deadline is None or self.machine.deadline > self.now
            self._check()
        self.now = max(self.now, until)

    def stop(self) -> None:
        self.stopped = True
        self._perform(self.machine.stop(self.now))
        self._check()

    def _later(self, wait: float, event: Event) -> None:
        self._counter += 1
        heappush(self._events, (self.now + wait, self._counter, event))

    def _next(self, choices: list[Any]) -> Any:
        self._counter += 1
        return choices[self._counter % len(choices)]

    def _happen(self, event: Event) -> None:
        if self._next(self._copies):
            self.machine = pickle.loads(pickle.dumps(copy.deepcopy(self.machine)))
        what, number = event
        if what == "post":
            self._counter += 1
            request = self._counter
            self._outstanding[request] = (number, self.now)
            self._later(self._next(self._patience), ("gone", request))
            update_id = self._queues[number][0]
            self._perform(self.machine.requested(request, post(message(update_id, chat=number // 2)), self.now))
        elif what == "gone" and number in self._outstanding:
            queue, _ = self._outstanding.pop(number)
            self._perform(self.machine.disconnected(number, self.now))
            self._later(self._wait(queue), ("post", queue))
        elif what == "reply" and number in self._runs:
            effects = self.machine.reply(number, "sendMessage", {"text": "hi"}, self.now)
            if effects is not None:
                if not self.machine.options.freezes:
                    self._told.add(self._runs[number][0].update_id)
                self._perform(effects)
        elif what == "ends" and number in self._runs and self._runs[number][2] <= self.now:
            update, plan, _ = self._runs.pop(number)
            outcome = plan.cancelled[1] if number in self._cancelled else plan.outcome
            if isinstance(outcome, Returned):
                self._handled.add(update.update_id)
            elif not self.stopped:
                self._failed[update.update_id] = self._failed.get(update.update_id, 0) + 1
            self._perform(self.machine.finished(number, outcome, self.now))

    _cancelled: frozenset[int] = frozenset()

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            assert not self.ended or isinstance(effect, (Respond, Report))
            if isinstance(effect, Handle):
                self._begin(effect)
            elif isinstance(effect, Cancel):
                update, plan, _ = self._runs[effect.job]
                ends = self.now + plan.cancelled[0]
                self._cancelled |= {effect.job}
                self._runs[effect.job] = (update, plan, ends)
                self._later(plan.cancelled[0], ("ends", effect.job))
            elif isinstance(effect, Respond):
                wait = values_of(effect.response.headers, "retry-after")
                self._answered(effect.request, effect.response.status, float(wait[0]) if wait else None)
            elif isinstance(effect, Throw):
                self._answered(effect.request, 500, None)
            elif isinstance(effect, Report) and effect.verdict is Verdict.GIVEN_UP:
                assert effect.update_id is not None
                self._given_up.add(effect.update_id)
            elif isinstance(effect, Ended):
                assert effect is effects[-1]
                assert not self._outstanding
                self.ended = True

    def _begin(self, handle: Handle) -> None:
        update = handle.update
        running = [other for other, _, _ in self._runs.values()]
        assert update.update_id not in {other.update_id for other in running}, "two runs of one update at once"
        assert update.lane not in {other.lane for other in running}, "two runs of one lane at once"
        assert update.update_id not in self._handled, "an update that was handled runs again"
        assert update.update_id not in self._given_up, "an update that was given up runs again"
        assert len(running) < self.machine.options.concurrency
        plan: Plan = self._next(self._plans)
        self._runs[handle.job] = (update, plan, self.now + plan.duration)
        self._later(plan.duration, ("ends", handle.job))
        if plan.replies is not None:
            self._later(plan.replies, ("reply", handle.job))

    def _answered(self, request: int, status: int, wait: float | None) -> None:
        queue, since = self._outstanding.pop(request)  # KeyError: it was answered before
        assert self.now <= since + self.machine.options.timeout, "answered too late"
        update_id = self._queues[queue][0]
        if 200 <= status < 300:
            accepted = self._told | (self._handled | self._given_up)
            if not self._may_return(update_id):
                assert update_id in accepted, "acknowledged before it was handled or given up"
            self._queues[queue].popleft()
            self._fails[queue] = 0
            if self._queues[queue]:
                self._later(0.0, ("post", queue))
        else:
            self._later(self._wait(queue) if wait is None else wait, ("post", queue))

    def _may_return(self, update_id: int) -> bool:
        if self.machine.options.freezes:
            return False
        if self.machine._on_timeout is not None:
            return update_id % 3 == 1
        return self.machine.options.on_timeout == "return"

    def _wait(self, queue: int) -> float:
        fails = self._fails.get(queue, 0)
        self._fails[queue] = fails + 1
        return 0.0 if fails == 0 else min(60.0, 2.0**fails)

    def _check(self) -> None:
        machine, options = self.machine, self.machine.options
        assert machine.waiting_requests == len(self._outstanding)
        assert machine.lanes.waiting <= options.max_waiting
        assert len(machine._deliveries) <= options.max_waiting + options.concurrency
        assert len(machine._handled) <= options.remember
        assert len(machine._attempts) <= options.remember
        if not self.ended:
            assert machine.progress.waiting == machine.lanes.waiting
            assert machine.progress.running == machine.lanes.running == len(self._runs)
        for update_id, failed in self._failed.items():
            assert failed <= options.max_attempts or self._may_return(update_id) or update_id in self._told


OUTCOMES = st.sampled_from([Returned(), Returned(), RAISED, Cancelled()])
PLANS = st.builds(
    Plan,
    st.sampled_from([0.0, 0.5, 3.0, 9.0, 10.0, 15.0, 45.0, 200.0]),
    OUTCOMES,
    st.tuples(st.sampled_from([0.0, 1.0, 15.0]), OUTCOMES),
    st.sampled_from([None, None, None, 0.25, 5.0, 12.0]),
)
POLICIES = st.sampled_from(["throw", "return", "cancel", by_update_id])
OPTIONS = st.fixed_dictionaries(
    {
        "concurrency": st.integers(1, 3),
        "max_waiting": st.integers(0, 4),
        "max_attempts": st.integers(1, 3),
        "hold_answer": st.booleans(),
        "freezes": st.booleans(),
        "grace": st.sampled_from([0.0, 5.0, 100.0]),
    }
)


def sender(
    policy: Any,
    options: dict[str, Any],
    plans: list[Plan],
    patience: list[float],
    copies: list[bool],
    queues: list[int],
) -> Sender:
    if callable(policy):
        machine = Webhook(WebhookOptions(**options), on_timeout=policy)
    else:
        freezes = options["freezes"] and policy != "return"  # which is refused there
        machine = Webhook(WebhookOptions(**options | {"on_timeout": policy, "freezes": freezes}))
    telegram = Sender(machine, plans, patience, copies)
    for number, queue in enumerate(queues):
        telegram.send(queue, 100 + number)
    return telegram


SCENARIO = (
    POLICIES,
    OPTIONS,
    st.lists(PLANS, min_size=1, max_size=6),
    st.lists(st.sampled_from([60.0, 60.0, 60.0, 0.1, 4.0]), min_size=1, max_size=4),
    st.lists(st.booleans(), min_size=1, max_size=4),
    st.lists(st.integers(0, 5), min_size=1, max_size=8),
)


@pytest.mark.exhaustive
@given(*SCENARIO)
def test_what_telegram_sends_is_handled_once_at_a_time_and_answered_in_time(
    policy: Any,
    options: dict[str, Any],
    plans: list[Plan],
    patience: list[float],
    copies: list[bool],
    queues: list[int],
) -> None:
    telegram = sender(policy, options, plans, patience, copies, queues)
    telegram.run(until=100_000.0)
    assert telegram.idle, "an update was never acknowledged"
    telegram.stop()
    assert telegram.ended


@pytest.mark.exhaustive
@given(*SCENARIO, st.sampled_from([0.0, 0.3, 5.0, 12.0, 40.0]), st.sampled_from([None, 0.0, 2.0]))
def test_a_stop_at_any_time_answers_all_and_ends_once_and_last(
    policy: Any,
    options: dict[str, Any],
    plans: list[Plan],
    patience: list[float],
    copies: list[bool],
    queues: list[int],
    at: float,
    again: float | None,
) -> None:
    telegram = sender(policy, options, plans, patience, copies, queues)
    telegram.run(until=at)
    telegram.stop()
    if again is not None:
        telegram.run(until=at + again)
        telegram.stop()
    telegram.run(until=at + options["grace"])
    assert telegram.ended
    telegram.run(until=telegram.now + 20.0)


@pytest.mark.exhaustive
@given(*SCENARIO)
def test_copied_or_pickled_anywhere_it_goes_on_the_same(
    policy: Any,
    options: dict[str, Any],
    plans: list[Plan],
    patience: list[float],
    copies: list[bool],
    queues: list[int],
) -> None:
    ends: list[Sender] = []
    for copied in (False, True):
        telegram = sender(policy, options, plans, patience, [copied], queues)
        telegram.run(until=500.0)
        ends.append(telegram)
    plain, copied_one = ends
    assert plain._counter == copied_one._counter
    assert plain._outstanding == copied_one._outstanding
    assert plain._runs == copied_one._runs
    assert plain.machine.deadline == copied_one.machine.deadline
    assert plain.machine.progress == copied_one.machine.progress


def test_cancel_throws_into_every_request_that_waits_for_an_update_which_never_ran() -> None:
    """One that came again while it waited for its chat: none of its requests is left without an answer."""
    machine = running(on_timeout="cancel")
    assert handles(asked(machine, 2, 11, 1.0)) == []
    assert asked(machine, 3, 11, 5.0) == []
    assert answers(machine.tick(10.0)) == [(1, 500)]

    assert answers(machine.tick(11.0)) == [(2, 500), (3, 500)]
    assert machine.waiting_requests == 0
