"""Makes a failing scenario small: takes away, bit by bit, all that it fails without."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from attrs import evolve, fields

from hookline.testing.network import Conditions
from hookline.testing.scenario import Behaviour, Scenario, Sent, text

T = TypeVar("T")


def shrink(scenario: Scenario, fails: Callable[[Scenario], bool], *, tries: int = 1_000) -> Scenario:
    """The smallest scenario that was found to fail, like the one given; `fails` is asked at most `tries` times.

    One is smaller than another if its text is shorter.
    """
    smallest = scenario

    def current() -> Scenario:
        return smallest

    for candidate in _ever_smaller(current):
        if len(text(candidate)) >= len(text(smallest)):
            continue
        if tries == 0:
            break
        tries -= 1
        if fails(candidate):
            smallest = candidate
    return smallest


def _ever_smaller(current: Callable[[], Scenario]) -> Iterator[Scenario]:
    """Candidates made from whatever is the current scenario, until none of them became it."""
    while True:
        before = current()
        for stage in (_fewer_happenings, _fewer_sent, _plainer_world, _plainer_options, _plainer_behaviours, _rounder):
            yield from stage(current)
        if current() is before:
            return


def _without_parts(current: Callable[[], tuple[T, ...]]) -> Iterator[tuple[T, ...]]:
    """A tuple without one of its halves, quarters, ... single elements."""
    size = len(current())
    while size >= 1:
        start = 0
        while start < len(current()):
            items = current()
            yield items[:start] + items[start + size :]
            if current() is items:  # it was needed
                start += size
        size //= 2


def _fewer_happenings(current: Callable[[], Scenario]) -> Iterator[Scenario]:
    for happenings in _without_parts(lambda: current().happenings):
        yield evolve(current(), happenings=happenings)


def _fewer_sent(current: Callable[[], Scenario]) -> Iterator[Scenario]:
    for sent in _without_parts(lambda: current().sent):
        yield evolve(current(), sent=sent)


def _plainer_world(current: Callable[[], Scenario]) -> Iterator[Scenario]:
    for change in ({"conditions": Conditions()}, {"disk_latency": 0.0}, {"reply_with": False}, {"seed": 0}):
        if any(getattr(current(), name) != value for name, value in change.items()):
            yield evolve(current(), **change)


def _plainer_options(current: Callable[[], Scenario]) -> Iterator[Scenario]:
    for attribute in fields(type(current().source)):
        source: Any = current().source
        if getattr(source, attribute.name) != attribute.default:
            yield evolve(current(), source=evolve(source, **{attribute.name: attribute.default}))


def _plainer_behaviours(current: Callable[[], Scenario]) -> Iterator[Scenario]:
    for index in range(len(current().sent)):
        sent = current().sent[index]
        for plainer in (evolve(sent, kind="message"), evolve(sent, user=1), *_plainer(sent)):
            if plainer != current().sent[index]:
                yield evolve(current(), sent=(*current().sent[:index], plainer, *current().sent[index + 1 :]))


def _plainer(sent: Sent) -> Iterator[Sent]:
    """The same with fewer runs that fail, and runs that do less. The last run still ends well."""
    *failing, last = sent.behaviours
    yield evolve(sent, behaviours=(last,))
    yield evolve(sent, behaviours=(*failing, Behaviour()))
    for number, behaviour in enumerate(sent.behaviours):
        for step in range(len(behaviour.steps)):
            fewer = evolve(behaviour, steps=behaviour.steps[:step] + behaviour.steps[step + 1 :])
            yield evolve(sent, behaviours=(*sent.behaviours[:number], fewer, *sent.behaviours[number + 1 :]))


def _rounder(current: Callable[[], Scenario]) -> Iterator[Scenario]:
    """Times that are read more easily."""
    for digits in (0, 1):
        now = current()
        yield evolve(
            now,
            sent=tuple(evolve(one, at=round(one.at, digits)) for one in now.sent),
            happenings=tuple(evolve(one, at=round(one.at, digits)) for one in now.happenings),
        )
