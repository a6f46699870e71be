"""A scenario: all that happens to a bot in a simulated world, as one plain value.

The same scenario always runs the same, so it can be made from a seed, written down, made smaller and run again. `text`
and `read` turn it into JSON and back. Times are seconds from the world's beginning.
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

from attrs import evolve, field, frozen
from cattrs import Converter, transform_error
from cattrs.errors import BaseValidationError, ForbiddenExtraKeysError
from cattrs.strategies import configure_tagged_union
from cattrs.v import format_exception

from hookline import codec
from hookline.errors import OptionError
from hookline.options import PollingOptions, WebhookOptions
from hookline.sim.faults import Fault
from hookline.testing.network import Conditions

FORMAT: Final = 1

Step: TypeAlias = float | str
"""What a handler does next: wait for so many seconds, or call a method of the Bot API and await its result."""


Ending: TypeAlias = Literal["return", "raise", "hang"]
Kind: TypeAlias = Literal["message", "button", "group", "stranger"]
Trouble: TypeAlias = Literal[
    "kill",
    "vanish",
    "stop",
    "overlap",
    "fault",
    "refuse telegram",
    "refuse bot",
    "cut",
    "silence",
    "half-close",
    "weather",
    "ids",
    "calls alone",
    "stillborn",
    "unauthorized",
]
DiskTrouble: TypeAlias = Literal["disk full", "disk locked", "put back", "worker"]
AnyTrouble: TypeAlias = Literal[Trouble, DiskTrouble]


@frozen
class Behaviour:
    """What one run of a handler does.

    end: how it ends; one that hangs never does. cancelled: the seconds in which it cleans up after a cancellation, or
    None where it swallows that and goes on.
    """

    steps: tuple[Step, ...] = ()
    end: Ending = "return"
    cancelled: float | None = 0.0


@frozen
class Sent:
    """Something that a user does, and what the handler's first, second, ... run for it does; the last one repeats.

    kind: "message" and "button" are in the user's private chat, "group" is a message in a group, "stranger" is an
    element that is no update.
    """

    at: float
    user: int
    kind: Kind = "message"
    behaviours: tuple[Behaviour, ...] = field(default=(Behaviour(),))

    @behaviours.validator
    def _check(self, _: Any, behaviours: tuple[Behaviour, ...]) -> None:
        if not behaviours:
            raise OptionError("behaviours must not be empty: the handler does something, if it is only to return")


@frozen
class Happening:
    """Something that befalls the bot, its disk, the network or Telegram.

    kill: the bot's process dies, and another starts `seconds` later. vanish: its machine does, so that nobody hears of
    it. stop: the bot is stopped gracefully, twice if `count` is 2, and started again. overlap: another bot starts, and
    the first is stopped `seconds` later. fault: the next calls of the bot go wrong. refuse: nobody can connect to
    Telegram, or to the bot, for `seconds`. cut, silence, half-close: `count` connections break, die silently, or are
    closed by the client in one direction. weather: the network is like that from now on. ids: update ids go on from
    `count`. calls alone: beside the bot, a program without a source of updates makes a call, and stops. stillborn: a
    bot is stopped before it was started. unauthorized: Telegram refuses the token once, which ends the bot's run, and
    another is started `seconds` later. disk full: nothing can be kept or noted in an inbox for `seconds`. disk locked:
    it can't be opened for `seconds`, which ends the run of a bot that starts. put back: what was given up is to be
    handled after all. worker: the bot is stopped; a worker handles what the disk has for `seconds`, and is stopped,
    twice if `count` is 2; the bot is started again.
    """

    at: float
    what: AnyTrouble
    seconds: float = 0.0
    count: int = 1
    fault: Fault | None = None
    conditions: Conditions | None = None


@frozen
class Scenario:
    """A whole run.

    seed: for the network's timing, Telegram's choices, and the machine's jitter. reply_with: calls travel in answers.
    delete_at_stop: a stop deletes the webhook. durable, disk_latency: of the disk of an inbox, with confirm="stored".
    """

    seed: int
    source: PollingOptions | WebhookOptions
    sent: tuple[Sent, ...] = ()
    happenings: tuple[Happening, ...] = ()
    conditions: Conditions = field(factory=Conditions)
    reply_with: bool = False
    delete_at_stop: bool = False
    durable: bool = True
    disk_latency: float = 0.0

    def without_trouble(self) -> Scenario:
        """The same with a perfect network and nothing that happens."""
        return evolve(self, happenings=(), conditions=Conditions(), disk_latency=0.0)


def text(scenario: Scenario) -> str:
    """A scenario as JSON, readable, ended by a line break."""
    return codec.encode({"scenario": FORMAT, **_converter.unstructure(scenario)}).decode() + "\n"


def read(data: str) -> Scenario:
    """The scenario that a text is. ValueError, with what is wrong, for anything else."""
    try:
        fields = codec.decode(data.encode("utf-8"))
    except ValueError as error:
        raise ValueError(f"it is no scenario, not even JSON: {error}") from None
    try:
        if not isinstance(fields, dict) or fields.pop("scenario", None) != FORMAT:
            raise ValueError(f"it is no scenario of format {FORMAT}")
        return _converter.structure(fields, Scenario)
    except (BaseValidationError, ForbiddenExtraKeysError) as error:
        raise ValueError(f"it is no scenario: {'; '.join(transform_error(error, format_exception=_why))}") from None


def _why(error: BaseException, kind: type | None) -> str:
    return str(error) if isinstance(error, OptionError) else format_exception(error, kind)


_converter = Converter(forbid_extra_keys=True, omit_if_default=True)
configure_tagged_union(PollingOptions | WebhookOptions, _converter, tag_name="by")


@_converter.register_structure_hook
def _read_step(value: Any, _: Any) -> Step:
    return value if isinstance(value, str) else float(value)
