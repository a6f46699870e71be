"""The waits between tries."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from hookline.backoff import Backoff


def waits(backoff: Backoff, times: int, seed: int = 1) -> list[float]:
    """The next waits."""
    random = Random(seed)
    return [backoff.next(random) for _ in range(times)]


@given(st.integers(0))
def test_waits_double_from_1_to_60_seconds_less_a_quarter_at_most(seed: int) -> None:
    for wait, most in zip(waits(Backoff(), 9, seed), [1, 2, 4, 8, 16, 32, 60, 60, 60], strict=True):
        assert 0.75 * most < wait <= most


def test_jitter_is_spread_over_its_range() -> None:
    random = Random(1)
    first = sorted(Backoff().next(random) for _ in range(1000))

    assert first[0] < 0.76
    assert first[-1] > 0.99


def test_no_number_of_failures_is_too_great() -> None:
    assert all(45 <= wait <= 60 for wait in waits(Backoff(), 5000)[6:])


def test_a_success_begins_anew() -> None:
    backoff = Backoff()
    waits(backoff, 5)
    backoff.reset()

    assert waits(Backoff(), 3) == waits(backoff, 3)


def test_the_same_seed_gives_the_same_waits() -> None:
    assert waits(Backoff(), 5, seed=7) == waits(Backoff(), 5, seed=7)
    assert waits(Backoff(), 5, seed=7) != waits(Backoff(), 5, seed=8)
