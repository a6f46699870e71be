"""The update queue of one bot: its ids, its limits, expiry and offsets (telegram-server.md, 1.1 to 1.3 and 2.2)."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline.sim.queue import (
    MAX_ANSWER_BYTES,
    MAX_BYTES,
    MAX_EVENT_BYTES,
    MAX_EVENTS,
    MAX_ID,
    Event,
    UpdateQueue,
)

RANDOM = Random(1)
LATER = 1_000
"""When the events of these tests expire."""


def queue(*ids: int) -> UpdateQueue:
    """A queue that holds these ids, which ascend."""
    made = UpdateQueue()
    made.restart(ids[0])
    for number in range(ids[0], ids[-1] + 1):
        push(made)
        if number not in ids:
            made.drop(made.events[number])
    return made


def push(to: UpdateQueue, text: str = '"message":{}', expires_at: int = LATER) -> int | None:
    return to.push(text, expires_at, 1, RANDOM)


def read(of: UpdateQueue, limit: int = 100, unix: int = 0) -> list[int]:
    return [event.id for event in of.read(limit, unix)]


# Ids (1.1)


@given(seed=st.integers())
def test_the_first_id_of_a_queue_is_random_within_a_range(seed: int) -> None:
    """Uniform in 2 000 001 .. 1 000 000 000 (1.1)."""
    first = UpdateQueue().push("x", LATER, 1, Random(seed))
    assert first is not None
    assert 2_000_001 <= first <= 1_000_000_000


def test_each_update_takes_the_next_id() -> None:
    """By one, from the first on (1.1)."""
    made = UpdateQueue()
    first = push(made)
    assert first is not None
    assert [push(made) for _ in range(3)] == [first + 1, first + 2, first + 3]


def test_at_the_ceiling_all_is_dropped_and_ids_begin_anew() -> None:
    """The highest id is 1 999 999 999; for the next update the queue begins as a new one (1.1)."""
    made = UpdateQueue()
    made.restart(MAX_ID - 2)
    assert [push(made), push(made)] == [1_999_999_998, 1_999_999_999]
    first = push(made)
    assert first is not None
    assert 2_000_001 <= first <= 1_000_000_000
    assert read(made) == [first]
    assert made.bytes == len('"message":{}')


def test_ids_go_on_after_all_was_confirmed_cleared_or_expired() -> None:
    """The tail is kept (1.1)."""
    made = queue(11, 12)
    made.confirm(13)
    assert push(made) == 13
    made.clear()
    assert push(made) == 14
    made.collect(LATER + 1)
    assert push(made) == 15


# Limits (1.2)


def test_the_update_past_100_000_is_lost() -> None:
    """The newest is lost, the older ones stay; the lost one takes no id (1.2)."""
    made = UpdateQueue()
    first = push(made)
    assert first is not None
    for _ in range(MAX_EVENTS - 1):
        push(made)
    assert len(made.events) == 100_000
    assert push(made) is None
    assert made.head == first
    made.confirm(first + 1)
    assert push(made) == first + 100_000


def test_the_update_past_128_mib_is_lost() -> None:
    """Stored bytes and the new ones together (1.2)."""
    made = UpdateQueue()
    text = "x" * MAX_EVENT_BYTES
    while made.bytes < MAX_BYTES:
        assert push(made, text) is not None
    assert made.bytes == 134_217_728
    assert push(made, "x") is None


@pytest.mark.parametrize(
    ("text", "stored"),
    [("x" * 524_288, True), ("x" * 524_289, False), ("ä" * 262_144, True), ("ä" * 262_145, False), ("", False)],
    ids=["512 KiB", "more", "512 KiB of UTF-8", "more of UTF-8", "nothing"],
)
def test_an_update_of_more_than_512_kib_or_of_nothing_is_lost(text: str, stored: bool) -> None:
    """Bytes count, not characters (1.2)."""
    assert (push(UpdateQueue(), text) is not None) is stored


# Texts


def test_an_update_is_delivered_as_the_text_that_was_stored() -> None:
    """`{"update_id":<id>,` and LF before it, the same in every delivery (1.2, 4.2)."""
    event = Event(7, '"message":{"text":"ä"}', 22, LATER, 1)
    assert event.json() == '{"update_id":7,\n"message":{"text":"ä"}}'


def test_an_element_that_is_no_update_is_delivered_as_it_is() -> None:
    """For tests of bots, which have to live with it."""
    assert Event(7, "[null]", 6, LATER, 1, raw=True).json() == "[null]"


# Expiry (1.3)


def test_an_update_expires_after_its_second_and_counts_until_it_is_removed() -> None:
    """`expires_at < now`; a read that walks over it removes it (1.3)."""
    made = queue(1, 2)
    push(made, expires_at=LATER + 1)
    assert read(made, unix=LATER) == [1, 2, 3]
    assert read(made, limit=1, unix=LATER + 1) == [3]
    assert list(made.events) == [3]


def test_the_ids_of_what_has_expired_are_told_and_no_others() -> None:
    """Whoever asks what became of an update can tell its expiry from its delivery."""
    made = queue(1)
    push(made, expires_at=1)
    push(made, expires_at=2)
    read(made, unix=3)
    made.confirm(5)
    assert list(made.expired) == [2, 3]


def test_a_read_leaves_what_is_expired_behind_its_limit() -> None:
    """Only what it walks over is removed (1.3)."""
    made = queue(1, 2, 3)
    push(made, expires_at=1)
    push(made)
    assert read(made, limit=3, unix=500) == [1, 2, 3]
    assert len(made.events) == 5


def test_the_collector_removes_all_that_has_expired() -> None:
    """Wherever it stands (1.3)."""
    made = queue(1)
    push(made, expires_at=1)
    push(made)
    made.collect(500)
    assert list(made.events) == [1, 3]
    assert made.bytes == 2 * len('"message":{}')


# Offsets (2.2)


@pytest.mark.parametrize(
    ("offset", "left"),
    [
        (0, [1_001, 1_002, 1_004, 1_005]),
        (1_000, [1_001, 1_002, 1_004, 1_005]),
        (1_001, [1_001, 1_002, 1_004, 1_005]),
        (1_002, [1_002, 1_004, 1_005]),
        (1_003, [1_004, 1_005]),
        (1_005, [1_005]),
        (1_006, []),
        (1_007, []),
        (1_016, []),
        (1_017, [1_001, 1_002, 1_004, 1_005]),
        (1_999_999_999, [1_001, 1_002, 1_004, 1_005]),
        (2_000_000_000, [1_001, 1_002, 1_004, 1_005]),
        (2_147_483_647, [1_001, 1_002, 1_004, 1_005]),
        (-1, [1_005]),
        (-3, [1_002, 1_004, 1_005]),
        (-4, [1_001, 1_002, 1_004, 1_005]),
        (-5, [1_001, 1_002, 1_004, 1_005]),
        (-2_147_483_648, [1_001, 1_002, 1_004, 1_005]),
    ],
)
def test_an_offset_deletes_what_it_confirms(offset: int, left: list[int]) -> None:
    """Below a positive one; all but the newest -N; nothing for one that is out of the window (2.2)."""
    made = queue(1_001, 1_002, 1_004, 1_005)
    made.confirm(offset)
    assert read(made) == left


def test_an_offset_just_ahead_deletes_later_updates_unseen() -> None:
    """It is accepted up to newest + 11, and holds for what comes below it until then (2.2)."""
    made = queue(1_001)
    made.confirm(1_004)
    assert [push(made), push(made), push(made)] == [1_002, 1_003, 1_004]
    made.confirm(1_004)
    assert read(made) == [1_004]


def test_a_stale_higher_offset_of_another_range_loses_nothing() -> None:
    """More than newest + 11 is read from the head (2.2)."""
    made = queue(1_001, 1_002)
    made.confirm(900_000_000)
    assert read(made) == [1_001, 1_002]


def test_an_offset_for_a_queue_that_was_never_used_does_nothing() -> None:
    """There is nothing to confirm (2.2)."""
    made = UpdateQueue()
    made.confirm(5)
    made.confirm(-5)
    assert read(made) == []
    assert made.newest is None


# Reading (2.2)


def test_a_read_takes_the_oldest_up_to_its_limit_and_deletes_nothing() -> None:
    """In ascending order (2.2)."""
    made = queue(1, 2, 3)
    assert read(made, limit=2) == [1, 2]
    assert read(made) == [1, 2, 3]


@pytest.mark.parametrize(("size", "fitting"), [(MAX_EVENT_BYTES - 50, 7), (MAX_EVENT_BYTES - 51, 8)])
def test_an_answer_has_a_budget_of_4_mib(size: int, fitting: int) -> None:
    """Each update costs its size and 50 more, and all of it must stay below 4 194 304 (2.2)."""
    made = UpdateQueue()
    for _ in range(9):
        push(made, "x" * size)
    assert len(read(made)) == fitting
    assert fitting * (size + 50) < MAX_ANSWER_BYTES


def test_the_largest_update_always_fits() -> None:
    """At least one update is in every answer (2.2)."""
    made = UpdateQueue()
    push(made, "x" * MAX_EVENT_BYTES)
    assert len(read(made)) == 1


# What a webhook loads (4.3)


def test_loading_goes_on_from_an_id_over_holes_and_expired_updates() -> None:
    """In id order, at most so many; what has expired is removed on the way (1.3, 4.3)."""
    made = queue(1, 2, 4)
    push(made, expires_at=1)
    push(made)
    events, last = made.after(1, 2, 500)
    assert ([event.id for event in events], last) == ([2, 4], 4)
    events, last = made.after(last, 2, 500)
    assert ([event.id for event in events], last) == ([6], 6)
    assert made.after(last, 2, 500) == ([], 6)
    assert 5 not in made.events


def test_loading_from_far_below_begins_at_the_head() -> None:
    """A new webhook reads all that is stored (4.9)."""
    made = queue(900_000_001, 900_000_002)
    assert [event.id for event in made.after(0, 10, 0)[0]] == [900_000_001, 900_000_002]
    assert UpdateQueue().after(0, 10, 0) == ([], 0)


def test_an_event_that_is_gone_is_not_deleted_in_the_place_of_another() -> None:
    """An acknowledgement may come when its id stands for a new update."""
    made = queue(5)
    old = made.events[5]
    made.restart(5)
    push(made)
    made.drop(old)
    assert read(made) == [5]


# Properties


class Watched:
    """A queue beside the plainest account of what it holds."""

    def __init__(self) -> None:
        self.queue = UpdateQueue()
        self.random = Random(1)
        self.unix = 0
        self.ids: list[int] = []  # all that were given since the last restart

    def push(self, number: int) -> None:
        update_id = self.queue.push("x" * (number % 50), self.unix + number % 5, number % 3, self.random)
        if number % 50:
            assert update_id is not None
            self.ids.append(update_id)
        else:
            assert update_id is None

    def confirm(self, number: int) -> None:
        before = list(self.queue.events)
        offset = (self.queue.newest or 0) + number % 40 - 25
        self.queue.confirm(offset)
        after = list(self.queue.events)
        assert [update_id for update_id in before if update_id >= offset] == [i for i in after if i >= offset]
        assert after == before[len(before) - len(after) :], "the oldest go"

    def keep(self, number: int) -> None:
        before = list(self.queue.events)
        self.queue.confirm(-1 - number % 10)
        assert list(self.queue.events) == before[-1 - number % 10 :]

    def read(self, number: int) -> None:
        found = self.queue.read(1 + number % 10, self.unix)
        assert [event.id for event in found] == list(self.queue.events)[: 1 + number % 10]
        assert all(event.expires_at >= self.unix for event in found)

    def after(self, number: int) -> None:
        start = (self.queue.newest or 0) - number % 20
        found, last = self.queue.after(start, 1 + number % 10, self.unix)
        assert [event.id for event in found] == [i for i in self.queue.events if start < i <= last]

    def drop(self, number: int) -> None:
        if self.queue.events:
            self.queue.drop(list(self.queue.events.values())[number % len(self.queue.events)])

    def collect(self, number: int) -> None:
        self.unix += number % 3
        self.queue.collect(self.unix)
        assert all(event.expires_at >= self.unix for event in self.queue.events.values())

    def clear(self, number: int) -> None:
        self.queue.clear()

    def restart(self, number: int) -> None:
        self.queue.restart(1 + number)
        self.ids.clear()


STEPS = ["push", "push", "push", "confirm", "keep", "read", "after", "drop", "collect", "clear", "restart"]


@given(steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 1_000)), max_size=60))
def test_the_account_is_right_whatever_happens(steps: list[tuple[str, int]]) -> None:
    """Bytes are those of the events; ids ascend one by one; no offset deletes what is at or past it."""
    watched = Watched()
    for name, number in steps:
        getattr(watched, name)(number)
        held = watched.queue.events
        assert watched.queue.bytes == sum(event.size for event in held.values())
        assert list(held) == sorted(held)
        assert watched.ids == list(range(watched.ids[0], watched.ids[0] + len(watched.ids))) if watched.ids else True
        assert all(key == event.id for key, event in held.items())
