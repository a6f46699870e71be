"""Plays a trace again: a machine that is built alike is told the same, and the same must come of it."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from attrs import frozen

from hookline.bot import Bot
from hookline.botapi import Token
from hookline.effects import Effect
from hookline.errors import OptionError
from hookline.trace.reader import Asked, Header, Input, Trace, TraceError
from hookline.trace.values import pack_effect


@frozen
class Difference:
    """The first input of which something else came than was recorded. expected, actual: what came, as JSON values."""

    input: Input
    expected: tuple[Any, ...]
    actual: tuple[Any, ...]

    def __str__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in (self.input.arguments or {}).items())
        when = "" if self.input.now is None else f", at {self.input.now:.6f} s"
        first = _first_difference(self.expected, self.actual)
        return "\n".join(
            [
                f"line {self.input.line}{when}: {self.input.method}({arguments})",
                *(f"  the same: {_text(value)}" for value in self.expected[:first]),
                *(f"  expected: {_text(value)}" for value in self.expected[first:] or ["nothing more"]),
                *(f"  actual:   {_text(value)}" for value in self.actual[first:] or ["nothing more"]),
            ]
        )


@frozen
class Step:
    """An input that was played again. effects: what came of it now, as far as there were effects."""

    input: Input
    effects: tuple[Effect, ...] = ()
    difference: Difference | None = None


def replay(trace: Trace) -> Difference | None:
    """The first difference between what was recorded and what comes of it now; None if there is none."""
    return next((step.difference for step in Replay(trace) if step.difference is not None), None)


class Replay:
    """Steps through a trace. Its machine can be looked at between two steps; after a difference there is no step.

    new_bot: makes the machine.
    """

    def __init__(self, trace: Trace, new_bot: Callable[..., Bot] = Bot) -> None:
        self._trace = trace
        self._answers: deque[Asked] = deque()
        self._unanswered: list[str] = []
        self.bot = self._build(trace.header, new_bot)

    def __iter__(self) -> Iterator[Step]:
        for given in self._trace.inputs:
            step = self._play(given)
            yield step
            if step.difference is not None:
                return

    def _build(self, header: Header, new_bot: Callable[..., Bot]) -> Bot:
        functions = {name: self._answering(name) for name in header.functions}
        try:
            return new_bot(
                Token(header.token),
                header.source,
                api=header.api,
                set_webhook=header.set_webhook,
                http=header.http,
                seed=header.seed,
                **functions,
            )
        except (OptionError, TypeError, AttributeError) as error:
            raise TraceError(f"line 1 of the trace builds no machine: {error}") from None

    def _answering(self, name: str) -> Callable[..., Any]:
        """What answers as the program's own function did."""

        def answer(_: Any) -> Any:
            if not self._answers or self._answers[0].function != name:
                self._unanswered.append(name)
                return None
            asked = self._answers.popleft()
            if asked.raised is not None:
                raise type(asked.raised[0], (Exception,), {})(asked.raised[1])
            return asked.answer

        return answer

    def _play(self, given: Input) -> Step:
        if given.arguments is None:  # refused, and so of no consequence (law 6)
            return Step(given)
        arguments = dict(given.arguments)
        if given.now is not None:
            arguments["now"] = self._trace.header.start + given.now
        self._answers, self._unanswered = deque(given.asked), []
        effects: tuple[Effect, ...] = ()
        actual: tuple[Any, ...]
        try:
            came = getattr(self.bot, given.method)(**arguments)
        except Exception as error:
            name = type(error).__name__
            actual = ({"raised": name if given.raised is not None else [name, str(error)]},)
        else:
            effects = () if isinstance(came, int) else tuple(came)
            actual = ({"number": came},) if isinstance(came, int) else tuple(pack_effect(effect) for effect in came)
        asked = [asked.function for asked in self._answers]
        expected = (*_expected(given), *({"asked": name} for name in asked))
        actual = (*actual, *({"asked": name} for name in self._unanswered))
        differs = _first_difference(expected, actual) < max(len(expected), len(actual))
        return Step(given, effects, Difference(given, expected, actual) if differs else None)


def _expected(given: Input) -> tuple[Any, ...]:
    if given.raised is not None:  # the text may name what no two versions of Python say alike
        return ({"raised": given.raised[0]},)
    return ({"number": given.number},) if given.number is not None else given.effects


def _first_difference(expected: tuple[Any, ...], actual: tuple[Any, ...]) -> int:
    """How many values are the same, from the first on."""
    pairs = zip(expected, actual, strict=False)
    return next(
        (number for number, (one, other) in enumerate(pairs) if _text(one) != _text(other)),
        min(len(expected), len(actual)),
    )


def _text(value: Any) -> str:
    """As text, by which values are compared too: to Python, 1 and true are equal."""
    return json.dumps(value, ensure_ascii=False)
