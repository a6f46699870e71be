"""Calls: 429 is waited for, within one deadline for all tries; cancel and stop end what is under way."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline.botapi import InputFile
from hookline.calls import Calls
from hookline.effects import Abandon, Effect, Fetch, Report, Resolve, Verdict
from hookline.errors import LocalProtocolError
from hookline.http import StreamId
from hookline.options import ApiOptions
from hookline.outcomes import FetchOutcome, Refused, Result, Unreachable


def flood(retry_after: float | None) -> Refused:
    return Refused(429, "Too Many Requests: retry after it", retry_after)


def resolved(effects: list[Effect]) -> list[tuple[int, object]]:
    return [(effect.call, effect.outcome) for effect in effects if isinstance(effect, Resolve)]


def fetches(effects: list[Effect]) -> list[Fetch]:
    return [effect for effect in effects if isinstance(effect, Fetch)]


def test_a_call_asks_for_a_fetch_and_ends_with_its_outcome() -> None:
    calls = Calls()
    assert calls.call(7, "sendMessage", {"chat_id": 1}, 100.0) == [Fetch(1, "sendMessage", {"chat_id": 1}, 60.0)]
    assert calls.open == 1
    assert calls.fetched(1, Result({"message_id": 5}), 101.0) == [Resolve(7, Result({"message_id": 5}))]
    assert calls.open == 0
    assert calls.deadline is None
    assert calls.reason == "nothing is awaited"


@pytest.mark.parametrize(
    "outcome",
    [
        Refused(400, "Bad Request: chat not found"),
        Refused(403, "Forbidden", 3.0),
        Unreachable("closed"),
        Unreachable("502"),
    ],
)
def test_only_429_is_tried_again(outcome: FetchOutcome) -> None:
    calls = Calls()
    calls.call(1, "sendMessage", {}, 0.0)
    assert calls.fetched(1, outcome, 1.0) == [Resolve(1, outcome)]


@pytest.mark.parametrize("timeout", [0, -1.0])
def test_a_call_whose_time_is_up_already_ends_at_the_next_tick(timeout: float) -> None:
    """As what is left of a time of the program's own may be."""
    calls = Calls()
    calls.call(1, "getMe", {}, 5.0, timeout)
    assert resolved(calls.tick(5.0)) == [(1, Unreachable("no answer within the call's timeout"))]
    assert calls.deadline is None


@pytest.mark.parametrize("timeout", [float("nan"), "5", True])
def test_what_is_no_timeout_is_refused_and_changes_nothing(timeout: Any) -> None:
    calls = Calls()
    before = pickle.dumps(calls)
    with pytest.raises(LocalProtocolError, match="the timeout must be a number of seconds"):
        calls.call(1, "getMe", {}, 0.0, timeout)
    assert pickle.dumps(calls) == before


def test_429_is_waited_for_and_tried_again() -> None:
    calls = Calls()
    calls.call(1, "sendMessage", {"text": "hi"}, 0.0)
    effects = calls.fetched(1, flood(7), 1.0)
    assert [effect.verdict for effect in effects if isinstance(effect, Report)] == [Verdict.FLOOD]
    assert resolved(effects) == []
    assert calls.deadline == 8.0
    assert calls.tick(7.9) == []
    assert calls.tick(8.0) == [Fetch(2, "sendMessage", {"text": "hi"}, 52.0)]
    assert resolved(calls.fetched(2, Result(True), 9.0)) == [(1, Result(True))]


@pytest.mark.parametrize("retry_after", [None, 0.0, 0.2])
def test_429_is_never_tried_again_within_a_second(retry_after: float | None) -> None:
    calls = Calls()
    calls.call(1, "sendMessage", {}, 0.0)
    calls.fetched(1, flood(retry_after), 1.0)
    assert calls.deadline == 2.0


def test_429_is_waited_for_flood_waits_times() -> None:
    calls = Calls(ApiOptions(flood_waits=2))
    effects = calls.call(1, "sendMessage", {}, 0.0)
    for now in (1.0, 3.0):
        assert resolved(calls.fetched(fetches(effects)[0].fetch, flood(1), now)) == []
        effects = calls.tick(now + 1.0)
    assert resolved(calls.fetched(fetches(effects)[0].fetch, flood(1), 5.0)) == [(1, flood(1))]


def test_429_is_not_waited_for_past_the_deadline() -> None:
    calls = Calls(ApiOptions(timeout=10.0))
    calls.call(1, "sendMessage", {}, 0.0)
    assert resolved(calls.fetched(1, flood(9), 1.0)) == [(1, flood(9))]


def test_a_call_that_carries_a_stream_is_never_tried_again() -> None:
    calls = Calls()
    calls.call(1, "sendMediaGroup", {"media": [{"media": InputFile(StreamId(1), "a.png")}]}, 0.0)
    assert calls.fetched(1, flood(1), 1.0) == [Resolve(1, flood(1))]


def test_a_call_that_carries_a_path_or_bytes_is_tried_again() -> None:
    calls = Calls()
    calls.call(1, "sendMediaGroup", {"media": [InputFile(b"1", "a.png"), InputFile("b.png")]}, 0.0)
    assert resolved(calls.fetched(1, flood(1), 1.0)) == []


def test_the_deadline_is_for_all_tries() -> None:
    calls = Calls(ApiOptions(timeout=10.0))
    calls.call(1, "sendMessage", {}, 0.0)
    calls.fetched(1, flood(4), 1.0)
    assert calls.tick(5.0) == [Fetch(2, "sendMessage", {}, 5.0)]
    assert calls.deadline == 10.0
    effects = calls.tick(10.0)
    assert effects == [Abandon(2), Resolve(1, Unreachable("no answer within the call's timeout"))]
    assert calls.fetched(2, Result(True), 10.1) == []


def test_a_timeout_of_its_own_replaces_that_of_the_options() -> None:
    calls = Calls()
    assert calls.call(1, "getFile", {}, 5.0, timeout=2.0) == [Fetch(1, "getFile", {}, 2.0)]
    assert calls.deadline == 7.0


def test_a_cancelled_call_is_abandoned_and_not_resolved() -> None:
    calls = Calls()
    calls.call(1, "sendMessage", {}, 0.0)
    assert calls.cancel(1, 1.0) == [Abandon(1)]
    assert calls.fetched(1, Result(True), 2.0) == []
    assert calls.deadline is None


def test_a_call_cancelled_while_it_waits_for_429_is_not_tried_again() -> None:
    calls = Calls()
    calls.call(1, "sendMessage", {}, 0.0)
    calls.fetched(1, flood(5), 1.0)
    assert calls.cancel(1, 2.0) == []
    assert calls.tick(100.0) == []


def test_cancelling_what_ended_does_nothing() -> None:
    calls = Calls()
    calls.call(1, "sendMessage", {}, 0.0)
    calls.fetched(1, Result(True), 1.0)
    assert calls.cancel(1, 2.0) == []
    assert calls.cancel(99, 2.0) == []


def test_a_stop_ends_every_call() -> None:
    calls = Calls()
    calls.call(1, "sendMessage", {}, 0.0)
    calls.call(2, "sendPhoto", {}, 0.0)
    calls.fetched(2, flood(5), 1.0)
    effects = calls.stop(2.0)
    assert Abandon(1) in effects
    assert [call for call, _ in resolved(effects)] == [1, 2]
    assert all(isinstance(outcome, Unreachable) for _, outcome in resolved(effects))
    assert calls.open == 0
    assert calls.tick(100.0) == []
    assert calls.stop(3.0) == []


def test_a_number_in_use_is_refused_and_changes_nothing() -> None:
    calls = Calls()
    calls.call(1, "sendMessage", {}, 0.0)
    before = pickle.dumps(calls)
    with pytest.raises(LocalProtocolError, match="call 1 is under way"):
        calls.call(1, "sendPhoto", {}, 1.0)
    assert pickle.dumps(calls) == before


def test_the_number_of_a_call_that_ended_may_be_used_again() -> None:
    calls = Calls()
    calls.call(1, "sendMessage", {}, 0.0)
    calls.fetched(1, Result(True), 1.0)
    assert calls.call(1, "sendMessage", {}, 50.0) == [Fetch(2, "sendMessage", {}, 60.0)]
    assert calls.deadline == 110.0


@pytest.mark.parametrize("fetch", [0, -1, 2])
def test_a_fetch_that_was_never_asked_for_is_refused(fetch: int) -> None:
    calls = Calls()
    calls.call(1, "sendMessage", {}, 0.0)
    with pytest.raises(LocalProtocolError, match="never asked for"):
        calls.fetched(fetch, Result(True), 1.0)
    assert calls.open == 1


OUTCOMES = st.one_of(
    st.just(Result(True)),
    st.just(Unreachable("closed")),
    st.just(Refused(400, "Bad Request")),
    st.floats(0, 30).map(flood),
    st.none().map(flood),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("call"), st.integers(1, 5), st.floats(0.1, 60)),
        st.tuples(st.just("fetched"), st.integers(1, 40), OUTCOMES),
        st.tuples(st.just("cancel"), st.integers(1, 5), st.none()),
        st.tuples(st.just("pass"), st.integers(0, 20), st.none()),
    ),
    max_size=60,
)


@given(STEPS)
def test_each_call_ends_once_and_in_time_unless_it_is_cancelled(steps: list[tuple[str, int, object]]) -> None:
    calls, now = Calls(ApiOptions(flood_waits=2)), 0.0
    ends: dict[int, float] = {}
    open_fetches: set[int] = set()

    def take(effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Fetch):
                assert effect.timeout > 0
                open_fetches.add(effect.fetch)
            elif isinstance(effect, Abandon):
                open_fetches.remove(effect.fetch)
            elif isinstance(effect, Resolve):
                assert now <= ends.pop(effect.call)

    for what, number, argument in steps:
        if what == "call" and number not in ends:
            assert isinstance(argument, float)
            ends[number] = now + argument
            take(calls.call(number, "sendMessage", {}, now, argument))
        elif what == "fetched" and number in open_fetches:
            assert isinstance(argument, (Result, Refused, Unreachable))
            open_fetches.remove(number)
            take(calls.fetched(number, argument, now))
        elif what == "cancel":
            ends.pop(number, None)
            take(calls.cancel(number, now))
        elif what == "pass":
            until = now + number
            while calls.deadline is not None and calls.deadline <= until:
                now = calls.deadline
                take(calls.tick(now))
                assert calls.tick(now) == []
                assert calls.deadline is None or calls.deadline > now
            now = until
        calls = copy.deepcopy(calls)
        assert calls.open == len(ends)
        assert len(open_fetches) <= calls.open
    take(calls.stop(now))
    assert not ends
    assert not open_fetches
