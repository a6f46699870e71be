"""Makes scenarios from seeds: any options, users who write in bursts, handlers of all sorts, and trouble."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Final, TypeVar, get_args

from attrs import evolve

from hookline.options import PollingOptions, WebhookOptions
from hookline.sim.faults import Fault
from hookline.testing.network import Conditions
from hookline.testing.scenario import Behaviour, DiskTrouble, Ending, Happening, Kind, Scenario, Sent, Step, Trouble

Timed = TypeVar("Timed", Sent, Happening)

KINDS: Final[tuple[Kind, ...]] = ("message", "message", "button", "group")
ENDINGS: Final[tuple[Ending, ...]] = ("return", "return", "raise", "raise", "raise", "hang")
TROUBLES: Final[tuple[Trouble, ...]] = (*get_args(Trouble), "kill", "stop", "cut", "fault", "fault", "fault", "fault")
DISK_TROUBLES: Final[tuple[DiskTrouble, ...]] = ("disk full", "disk full", "disk locked")
METHODS: Final = (
    "sendMessage",
    "sendDocument",
    "sendPhoto",
    "sendVoice",
    "getMe",
    "noSuchMethod",
    "answerCallbackQuery",
)
"""What handlers call. A document is read from a file, a photo's file is missing, a voice is in memory."""


def generate(seed: int) -> Scenario:
    """The scenario of a seed."""
    random = Random(seed)
    source = _polling(random) if random.random() < 0.45 else _webhook(random)
    length = random.choice((5.0, 30.0, 120.0))
    users = random.randint(1, 6)
    sent = [_sent(random, source, length, users) for _ in range(random.choice((3, 10, 25, 60)))]
    happenings = [_happening(random, source, length) for _ in range(random.choice((0, 0, 1, 2, 4, 8)))]
    if isinstance(source, WebhookOptions) and random.random() < 0.1:
        happenings += _stopped_at_once(random)
    scenario = Scenario(
        seed,
        source,
        _in_order(sent),
        _in_order(happenings),
        _conditions(random),
        reply_with=random.random() < 0.3,
        # Of two that overlap, the first would delete the webhook of the second.
        delete_at_stop=random.random() < 0.3 and all(happening.what != "overlap" for happening in happenings),
    )
    # By draws of their own, so that all others keep their scenarios.
    random = Random(f"restart {seed}")
    if isinstance(source, WebhookOptions) and random.random() < 0.05:
        scenario = _restarted_unset(random, scenario)
    random = Random(f"inbox {seed}")
    return _with_inbox(random, scenario) if random.random() < 0.3 else scenario


def _in_order(timed: Iterable[Timed]) -> tuple[Timed, ...]:
    return tuple(sorted(timed, key=lambda one: one.at))


def _with_inbox(random: Random, scenario: Scenario) -> Scenario:
    """The same with an inbox, on a disk that has its own trouble."""
    attempts = random.choice((1, 3, 5))
    source: PollingOptions | WebhookOptions
    if isinstance(scenario.source, PollingOptions):
        waiting = random.choice((1, 5, 1_000))
        source = evolve(scenario.source, confirm="stored", max_attempts=attempts, max_waiting=waiting)
    else:
        source = evolve(scenario.source, confirm="stored", max_attempts=attempts, freezes=False)
    durable = random.random() < 0.6
    happenings = [
        evolve(happening, what="stop") if durable and happening.what == "overlap" else happening  # it would be refused
        for happening in scenario.happenings
    ]
    for _ in range(random.choice((0, 0, 1, 2, 4))):
        # Where something is going on.
        at, seconds = random.choice(scenario.sent).at + random.random() * 5.0, random.choice((0.5, 3.0, 20.0))
        happenings.append(Happening(at, random.choice(DISK_TROUBLES), seconds))
        if random.random() < 0.3:  # by then, something may have been given up
            happenings.append(Happening(at + random.random() * 30.0, "put back"))
        if random.random() < 0.5:  # a bot that stops or dies meanwhile has to cope with it
            at += random.random() * seconds
            happenings.append(Happening(at, random.choice(("stop", "kill")), 0.0, random.randint(1, 3)))
    if durable and random.random() < 0.2:
        at = random.choice(scenario.sent).at + random.random() * 5.0
        happenings.append(Happening(at, "worker", random.choice((0.0, 5.0, 60.0)), random.randint(1, 2)))
    return evolve(
        scenario,
        source=source,
        happenings=_in_order(happenings),
        reply_with=False,
        durable=durable,
        disk_latency=random.choice((0.0, 0.01, 0.3, 1.0)),
    )


def _stopped_at_once(random: Random) -> list[Happening]:
    """A webhook that can't be set at first, and a stop meanwhile."""
    refused = Fault("error", "setWebhook", 3, 500, "Internal Server Error")
    return [Happening(0.0, "fault", fault=refused), Happening(random.random(), "stop", random.choice((0.0, 1.0)))]


def _restarted_unset(random: Random, scenario: Scenario) -> Scenario:
    """A bot dies while something is going on, and the next is stopped before it could set the webhook again."""
    at = random.choice(scenario.sent).at + random.random()
    unset = Fault(random.choice(("silent", "silent", "close")), "setWebhook", 2)
    more = (
        Happening(at, "fault", fault=unset),
        Happening(at, "kill"),
        Happening(at + random.random() * 3.0, "stop", random.choice((0.0, 5.0))),
    )
    return evolve(scenario, happenings=_in_order((*scenario.happenings, *more)))


def _polling(random: Random) -> PollingOptions:
    return PollingOptions(
        timeout=random.choice((1, 5, 30)),
        limit=random.choice((1, 3, 100, 100)),
        concurrency=random.choice((1, 2, 5, 50)),
        confirm="handled" if random.random() < 0.8 else "received",
        grace=random.choice((0.0, 3.0, 20.0)),
    )


def _webhook(random: Random) -> WebhookOptions:
    options = WebhookOptions(
        timeout=random.choice((0.5, 3.0, 10.0, 59.0)),
        on_timeout=random.choice(("throw", "throw", "return", "cancel")),
        concurrency=random.choice((1, 2, 5, 100)),
        max_waiting=random.choice((0, 1, 5, 1_000)),
        max_attempts=random.choice((1, 3, 5)),
        hold_answer=(chance := random.random()) < 0.2,
        grace=random.choice((0.0, 3.0, 20.0)),
    )
    # By the same draw, some with the other and some without: one more would give each seed another scenario.
    return evolve(options, freezes=0.1 < chance < 0.3 and options.on_timeout != "return")


def _conditions(random: Random) -> Conditions:
    return Conditions(random.choice((0.0, 0.01, 0.3)), random.choice((1, 1, 3, 20)))


def _sent(random: Random, source: PollingOptions | WebhookOptions, length: float, users: int) -> Sent:
    behaviours = [_behaviour(random, source, last=False) for _ in range(random.choice((0, 0, 0, 1, 2)))]
    polled = isinstance(source, PollingOptions)  # by webhook, what is no update comes again for a day
    return Sent(
        random.choice((0.0, length / 2, random.random() * length)),
        random.randint(1, users),
        "stranger" if polled and random.random() < 0.1 else random.choice(KINDS),
        (*behaviours, _behaviour(random, source, last=True)),
    )


def _behaviour(random: Random, source: PollingOptions | WebhookOptions, *, last: bool) -> Behaviour:
    """The last one ends well and, where it would be cancelled otherwise, in time."""
    slow: tuple[float, ...] = (0.1, 1.0, 5.0, 15.0, 45.0)
    if last and isinstance(source, WebhookOptions) and source.on_timeout == "cancel":
        slow = (source.timeout / 10,)
    steps: list[Step] = [
        random.choice(METHODS) if random.random() < 0.4 else random.choice(slow)
        for _ in range(random.choice((0, 0, 1, 1, 2, 3)))
    ]
    end = "return" if last else random.choice(ENDINGS)
    return Behaviour(tuple(steps), end, random.choice((0.0, 0.0, 0.0, 2.0, None)))


def _happening(random: Random, source: PollingOptions | WebhookOptions, length: float) -> Happening:
    at = random.random() * random.choice((0.5, length, length))
    what = random.choice(TROUBLES)
    if what == "fault":
        return Happening(at, what, fault=_fault(random))
    if what == "weather":
        return Happening(at, what, conditions=_conditions(random))
    if what == "ids":
        return Happening(at, what, count=random.randint(1, 1_000_000))
    return Happening(at, what, random.choice((0.0, 1.0, 20.0)), random.randint(1, 3))


def _fault(random: Random) -> Fault:
    kind = random.choice(("error", "flood", "flood", "flood", "html", "empty", "close", "half", "silent", "body"))
    method = random.choice(("", "getUpdates", "getUpdates", "sendMessage", "sendMessage", "getMe", "setWebhook"))
    times = random.choice((1, 1, 2, 6))
    if kind == "flood":
        wait = random.choice((1, 7, 7, 40))
        return Fault("error", method, times, 429, f"Too Many Requests: retry after {wait}", wait)
    if kind == "body":
        return Fault(kind, method, times, body=random.choice(("", "[]", "{", '{"ok":true}', '{"ok":true,"result":7}')))
    fatal = method not in ("getUpdates", "sendMessage")  # a setWebhook that is refused by 400 ends the run
    return Fault(kind, method, times, random.choice((500, 502) if fatal else (500, 502, 400)), "Internal Server Error")
