"""Timers: many deadlines, one number."""

from __future__ import annotations

import copy

from hypothesis import given
from hypothesis import strategies as st

from hookline.timers import Timers

KEYS = st.integers(0, 4)
TIMES = st.integers(0, 20).map(float)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), KEYS, TIMES),
        st.tuples(st.just("clear"), KEYS, st.just(0.0)),
        st.tuples(st.just("due"), st.just(0), TIMES),
    ),
    max_size=60,
)


def test_nothing_is_due_where_nothing_was_set() -> None:
    assert Timers().next is None
    assert Timers().due(1e9) == []


def test_a_key_is_due_at_its_time_and_then_no_more() -> None:
    timers = Timers()
    timers.set(1, 5.0)
    assert timers.due(4.9) == []
    assert timers.due(5.0) == [1]
    assert timers.due(5.0) == []
    assert timers.next is None


def test_a_key_may_be_set_earlier_or_later() -> None:
    timers = Timers()
    timers.set(1, 5.0)
    timers.set(1, 3.0)
    assert timers.next == 3.0
    timers.set(1, 9.0)
    assert timers.next == 9.0
    assert timers.due(8.0) == []


def test_setting_a_key_later_again_and_again_costs_no_memory() -> None:
    timers = Timers()
    for time in range(1_000):
        timers.set(1, float(time))
    assert len(timers._heap) == 1


def test_setting_a_key_to_and_fro_or_ever_new_keys_costs_no_memory() -> None:
    timers = Timers()
    timers.set(0, 1.0)
    for number in range(1, 1_000):
        timers.set(1, 1_000.0 + number)
        timers.set(1, 900.0 + number)
        timers.set(number, 1_000.0)
        timers.clear(number)
    assert len(timers._heap) < 20
    assert len(timers._queued) < 20
    assert timers.next == 1.0


@given(STEPS)
def test_timers_do_what_a_plain_mapping_would(steps: list[tuple[str, int, float]]) -> None:
    timers, model = Timers(), dict[int, float]()
    for what, key, time in steps:
        if what == "set":
            timers.set(key, time)
            model[key] = time
        elif what == "clear":
            timers.clear(key)
            model.pop(key, None)
        else:
            due = timers.due(time)
            assert len(due) == len(set(due))
            assert [model[key] for key in due] == sorted(model[key] for key in due)
            assert set(due) == {key for key, at in model.items() if at <= time}
            for key in due:
                del model[key]
        timers = copy.deepcopy(timers)
        assert timers.next == min(model.values(), default=None)
