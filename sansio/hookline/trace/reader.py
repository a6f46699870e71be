"""Reads a trace back: lines of JSON to values."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TypeVar

from attrs import evolve, frozen

from hookline.errors import HooklineError, OptionError
from hookline.objects import structure
from hookline.trace.recorder import INPUTS
from hookline.trace.values import unpack
from hookline.trace.writer import FORMAT, VERSION

T = TypeVar("T")


class TraceError(HooklineError, ValueError):
    """What was read is no trace, or one that this version of hookline can't read."""


@frozen
class Header:
    """How the machine was built: the arguments of `Bot`.

    about: what wrote the trace, for people. start: the time of the first input. token, source: with stand-ins for the
    secrets. functions: which of the program's own functions there were.
    """

    format: str
    version: int
    start: float
    about: dict[str, str]
    token: str
    source: Any
    api: Any
    set_webhook: Any
    http: Any
    seed: int
    decode: str
    functions: tuple[str, ...]


@frozen
class Asked:
    """What a function of the program's own decided: its answer, or the class and the text of what it raised."""

    function: str
    answer: Any = None
    raised: tuple[str, str] | None = None


@frozen
class Input:
    """What the machine was told, and what came of it.

    now: seconds since the first input; None for an input that takes no time. arguments: the others, by name; None where
    they could not be written down. effects: as JSON. number: what came of `new_connection`. raised: the class and the
    text of the exception that came. line: where it is in the trace.
    """

    method: str
    now: float | None = None
    arguments: dict[str, Any] | None = None
    asked: tuple[Asked, ...] = ()
    effects: tuple[Any, ...] = ()
    number: int | None = None
    raised: tuple[str, str] | None = None
    line: int = 0


@frozen
class Trace:
    """A recorded run. cut_off: its last line is incomplete, as of a process that was killed, and was left out."""

    header: Header
    inputs: tuple[Input, ...]
    cut_off: bool = False


def read_trace(lines: Iterable[str]) -> Trace:
    """The trace that these lines are, as an open file gives them. TraceError if they are none."""
    header: Header | None = None
    inputs: list[Input] = []
    broken = 0
    for number, line in enumerate(lines, 1):
        if broken:
            raise TraceError(f"line {broken} of the trace is no JSON, and it is not the last")
        try:
            content = json.loads(line)
        except (ValueError, RecursionError):
            if header is None:
                break
            broken = number
        else:
            if header is None:
                header = _read_header(content)
            else:
                inputs.append(_read_input(content, number))
    if header is None:
        raise TraceError("this is no trace: it does not begin with a line of JSON")
    return Trace(header, tuple(inputs), bool(broken))


def _read_header(content: Any) -> Header:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise TraceError(f"this is no trace: its first line does not name the format {FORMAT!r}")
    version = content.get("version")
    if type(version) is not int or version > VERSION:
        raise TraceError(f"the trace is of version {version}, and this hookline reads {VERSION}: use a newer hookline")
    header = _read(content, Header, 1)
    options = {name: _unpack(getattr(header, name), 1) for name in ("source", "api", "set_webhook", "http")}
    return evolve(header, **options)


def _read_input(content: Any, number: int) -> Input:
    given = _read(content, Input, number)
    if given.method not in INPUTS:
        raise TraceError(f"line {number} of the trace has an input that this hookline does not know: {given.method!r}")
    asked = tuple(evolve(asked, answer=_unpack(asked.answer, number)) for asked in given.asked)
    return evolve(given, arguments=_unpack(given.arguments, number), asked=asked, line=number)


def _read(content: Any, cls: type[T], number: int) -> T:
    try:
        return structure(content, cls)
    except ValueError as error:
        raise TraceError(f"line {number} of the trace is not as it should be: {error}") from None


def _unpack(packed: Any, number: int) -> Any:
    try:
        return unpack(packed)
    except (OptionError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise TraceError(f"line {number} of the trace has a value that this hookline does not know: {error}") from None
