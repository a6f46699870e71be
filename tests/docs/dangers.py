"""The three dangers of a slow handler behind a webhook, as they happen: without a protection, and with it.

What is missing is one rule of the machine, or the option is one that others have for their only way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any, Literal

from attrs import frozen

from hookline import WebhookOptions
from hookline.testing import Behaviour, World
from hookline.trace import draw, read_trace
from tests.sansio.testing.mutations import MUTATIONS, Mutation

How = Literal["unsafe", "safe"]

THROW = WebhookOptions(timeout=10.0)
RETURN = WebhookOptions(timeout=10.0, on_timeout="return")


@frozen
class Danger:
    """One danger.

    name: of its pictures. messages: what a user sends, when, and how long the handler works on it before it answers.
    killed: when the process dies; it is started again 2 s later. missing: the rule of the machine that is taken out.
    """

    name: str
    messages: tuple[tuple[float, str, float], ...]
    safe: WebhookOptions
    unsafe: WebhookOptions
    killed: float | None = None
    missing: Mutation | None = None

    def happens(self, how: How) -> World:
        """The world in which it happened, or did not."""
        world = World(seed=1, record=True)
        options = self.safe if how == "safe" else self.unsafe
        seconds = {text: work for _, text, work in self.messages}
        world.behave = lambda update, attempt: Behaviour((seconds[update.payload["text"]], "sendMessage"))
        bot = world.bot(options)
        for at, text, _ in self.messages:
            world.at(at, partial(world.message, text, user=7))
        if self.killed is not None:
            world.at(self.killed, partial(world.kill, bot))
            world.at(self.killed + 2.0, partial(world.bot, options))
        with self.without_protection() if how == "unsafe" else nullcontext():
            world.run(90.0)
        return world

    def without_protection(self) -> Any:
        """The context in which the rule is missing."""
        return self.missing.applied() if self.missing is not None else nullcontext()

    def files(self) -> Iterator[tuple[str, str]]:
        """The pictures of its processes: each file's name, and what is in it."""
        for how in ("unsafe", "safe"):
            traces = self.happens(how).traces()
            with self.without_protection() if how == "unsafe" else nullcontext():
                for number, lines in enumerate(traces.values(), start=1):
                    suffix = f"-{number}" if len(traces) > 1 else ""
                    yield f"{self.name}-{how}{suffix}.svg", draw(read_trace(lines)).svg


def _rule(name: str) -> Mutation:
    (mutation,) = (mutation for mutation in MUTATIONS if mutation.name == name)
    return mutation


REPEATED_WORK = Danger(
    "danger-repeated-work",
    ((1.0, "sum up this book", 25.0),),
    safe=THROW,
    unsafe=THROW,
    missing=_rule("a repeated update does not join its run"),
)
RACE = Danger(
    "danger-race",
    ((1.0, "sum up this book", 25.0), (13.0, "thanks", 1.0)),
    safe=RETURN,
    unsafe=RETURN,
    missing=_rule("updates of a lane do not wait for each other"),
)
LOST_UPDATE = Danger("danger-lost-update", ((1.0, "sum up this book", 25.0),), safe=THROW, unsafe=RETURN, killed=18.0)

DANGERS = (REPEATED_WORK, RACE, LOST_UPDATE)
