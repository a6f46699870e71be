"""Plays a scenario: users write, trouble comes, all of it ends, and what should hold is looked at all the way."""

from __future__ import annotations

import contextlib
import pickle
import traceback
from collections.abc import Callable
from random import Random
from typing import Any, Final

from attrs import evolve, frozen

from hookline.effects import Verdict
from hookline.options import SetWebhookOptions, WebhookOptions, WorkOptions
from hookline.sim import Fault
from hookline.testing.disk import LOCKED, Disk, PutBack
from hookline.testing.invariants import Invariants
from hookline.testing.network import Conditions
from hookline.testing.scenario import Behaviour, Happening, Scenario, Sent
from hookline.testing.violation import Violation
from hookline.testing.world import BOT, BOT_ID, TELEGRAM, Host, World
from hookline.updates import Update

QUIET: Final = 1_800.0
"""Seconds in which something more must be handled, once the trouble is over: Telegram waits up to 120 for a try."""
PATIENCE: Final = 200.0
"""Seconds after which a handler that hangs is known for one."""
AT_ONCE: Final = 2.0
"""Seconds for a stop with nothing in hand: the last getUpdates may be waited for."""
MAX_STEPS: Final = 200_000
IDLE_SIZE: Final = 60_000
"""Bytes that a pickled machine may take when nothing is in hand, besides the ids that it remembers."""
BYTES_PER_ID: Final = 16


@frozen
class Played:
    """What came of a scenario. violation: the name of the broken invariant, and what was seen."""

    violation: tuple[str, str] | None
    seconds: float
    updates: int
    runs: int
    steps: int


def always(method: str) -> bool:
    """For `reply_with`: every call may travel in a response."""
    return True


def play(scenario: Scenario) -> Played:
    """Run a scenario to its end, or to what must not be."""
    game = _Game(scenario)
    violation: tuple[str, str] | None = None
    try:
        game.play()
    except Violation as broken:
        violation = (broken.name, str(broken))
    except Exception as error:  # whatever a machine raises breaks the law
        place = "".join(traceback.format_exception(type(error), error, error.__traceback__)[-3:])
        violation = ("law", f"{type(error).__name__}: {error}\n{place}")
    world = game.world
    return Played(violation, world.now, game.made, sum(world.attempts.values()), world.steps)


def record(scenario: Scenario) -> dict[str, list[str]]:
    """Play a scenario once more, and write the run of each bot's process down: its trace's lines, by its name."""
    game = _Game(scenario, record=True)
    with contextlib.suppress(Exception):  # whatever breaks, is broken in the traces too
        game.play()
    return game.world.traces()


class _Game:
    """One scenario being played."""

    def __init__(self, scenario: Scenario, *, record: bool = False) -> None:
        self.scenario = scenario
        alone = not any(happening.what == "overlap" for happening in scenario.happenings)
        self.invariants = Invariants(scenario.source, alone=alone, durable=scenario.durable)
        self.world = World(seed=scenario.seed, conditions=scenario.conditions, watch=self.invariants, record=record)
        self.world.behave = self._behaviour
        self.made = 0
        self._random = Random(scenario.seed)
        self._disk = Disk(durable=scenario.durable, latency=scenario.disk_latency, random=Random(scenario.seed))
        self._bot: Host | None = None
        self._starting = 0  # bots that are about to start

    def play(self) -> None:
        world, scenario = self.world, self.scenario
        self._start()
        for index, sent in enumerate(scenario.sent):
            world.at(sent.at, lambda sent=sent, index=index: self._send(sent, index))  # type: ignore[misc]
        for happening in scenario.happenings:
            world.at(happening.at, lambda happening=happening: self._happen(happening))  # type: ignore[misc]
        times = [sent.at for sent in scenario.sent] + [happening.at for happening in scenario.happenings]
        world.run(max(times, default=0.0) + 1.0, steps=MAX_STEPS)
        self._heal()
        self._come_to_rest()
        self._end()

    # The trouble

    def _start(self) -> None:
        kwargs: dict[str, Any] = {}
        source = self.scenario.source
        if isinstance(source, WebhookOptions):
            url = f"http://{BOT[0]}:{BOT[1]}{source.path}"
            kwargs["set_webhook"] = SetWebhookOptions(url=url, delete_at_stop=self.scenario.delete_at_stop)
            kwargs["reply_with"] = always if self.scenario.reply_with else None
        if not self._disk.durable:
            self._disk = evolve(self._disk, rows={})
        self._bot = self.world.bot(source, disk=self._disk, **kwargs)

    def _start_later(self, seconds: float) -> None:
        self._starting += 1

        def start() -> None:
            self._starting -= 1
            self._start()

        self.world.at(self.world.now + seconds, start)

    def _start_after(self, host: Host, seconds: float) -> None:
        """Start a bot when another's process is over."""
        self._when_dead(host, lambda: self._start_later(seconds))

    def _when_dead(self, host: Host, action: Callable[[], object]) -> None:
        """Do what leads to a bot's start when another's process is over."""
        self._starting += 1

        def look() -> None:
            self._starting -= 1
            if host.alive:
                self._when_dead(host, action)
            else:
                action()

        self.world.at(self.world.now + 0.5, look)

    @property
    def _work(self) -> WorkOptions:
        """Those of the bot, for a worker."""
        source = self.scenario.source
        attempts, concurrency, grace = source.max_attempts, source.concurrency, source.grace
        return WorkOptions(max_attempts=attempts, concurrency=concurrency, grace=grace)

    def _let_work(self, happening: Happening) -> None:
        """Let a worker handle what the bot has left, and start the bot again when it is over."""
        worker = self.world.bot(self._work, disk=self._disk)
        for stop in range(happening.count):
            self.world.at(self.world.now + happening.seconds + stop * 0.1, lambda: self.world.stop(worker))
        self._start_after(worker, 0.0)

    def _send(self, sent: Sent, index: int) -> None:
        self.made += 1
        if sent.kind == "button":
            self.world.button(str(index), user=sent.user)
        elif sent.kind == "stranger":
            self.world.command(self.world.telegram.inject_raw(BOT_ID, f'{{"stranger":{index}}}', self.world.now)[1])
        else:
            self.world.message(str(index), user=sent.user, chat=-sent.user if sent.kind == "group" else None)

    def _behaviour(self, update: Update, attempt: int) -> Behaviour:
        behaviours = self.scenario.sent[int(update.payload["text" if update.kind == "message" else "data"])].behaviours
        return behaviours[min(attempt, len(behaviours) - 1)]

    def _happen(self, happening: Happening) -> None:
        world, bot, what = self.world, self._bot, happening.what
        if what in ("kill", "vanish", "stop", "overlap"):
            if bot is not None and bot.alive and not self._starting:
                self._befall(bot, happening)
        elif what == "fault":
            assert happening.fault is not None
            self._go_wrong(happening.fault)
        elif what in ("refuse telegram", "refuse bot"):
            world.network.refusing[TELEGRAM if what == "refuse telegram" else BOT] = world.now + happening.seconds
        elif what == "weather":
            world.network.conditions = happening.conditions or Conditions()
        elif what == "disk full":
            self._disk.full_until = world.now + happening.seconds
        elif what == "disk locked":
            self._disk.locked_until = world.now + happening.seconds
        elif what == "put back":
            if self._disk.durable and bot is not None and bot.alive and bot.keeper is not None:
                bot.keeper.ask(PutBack())
        elif what == "unauthorized":
            method = "setWebhook" if isinstance(self.scenario.source, WebhookOptions) else "getUpdates"
            self._go_wrong(Fault("error", method, 1, 401, "Unauthorized"))
        elif what == "calls alone":
            other = world.bot(None)
            world.call(other, "getMe")
            world.stop(other)
        elif what == "stillborn":
            world.stop(world.bot(self.scenario.source, start=False))
            world.stop(world.bot(self._work, disk=self._disk, start=False))
        elif what == "worker":
            if bot is not None and bot.alive and not self._starting:
                world.stop(bot)
                self._when_dead(bot, lambda: self._let_work(happening))
        elif what == "ids":
            self.invariants.dropped()
            world.telegram.restart_ids(BOT_ID, happening.count)
        else:
            wires = world.network.wires()
            for wire in self._random.sample(wires, min(happening.count, len(wires))):
                if what == "silence":
                    wire.silent = True
                elif what == "cut":
                    for end in wire.ends:
                        world.break_off(wire, end, "Connection reset by peer")
                elif wire.ends[1].host != "telegram":
                    world.end_of_stream(wire, wire.ends[1])

    def _befall(self, bot: Host, happening: Happening) -> None:
        world = self.world
        if happening.what in ("kill", "vanish"):
            world.kill(bot, silently=happening.what == "vanish")
            self._start_later(happening.seconds)
        elif happening.what == "stop":
            world.stop(bot)
            if happening.count > 1:
                world.at(world.now + 0.5, lambda: world.stop(bot))
            self._start_after(bot, happening.seconds)
        else:
            self._start()
            world.at(world.now + happening.seconds, lambda: world.stop(bot))

    def _go_wrong(self, fault: Fault) -> None:
        self.world.telegram.set_fault(BOT_ID, fault)
        self.invariants.will_go_wrong(fault)

    # The end of it

    def _heal(self) -> None:
        self.world.network.conditions = Conditions()
        self.world.network.refusing.clear()
        self.world.telegram.bot(BOT_ID).faults.clear()
        self._disk.full_until = self._disk.locked_until = 0.0
        self.invariants.healed()

    def _come_to_rest(self) -> None:
        """Everything is handled in the end; a bot whose handlers hang is stopped and started again for it."""
        world, end, handled = self.world, self.world.now + QUIET, -1
        while world.now < end:
            world.run(PATIENCE, until=self._at_rest, steps=MAX_STEPS)
            if self._at_rest():
                return
            hanging = self._bot is not None and any(run.behaviour.end == "hang" for run in self._bot.runs.values())
            if hanging and self._bot is not None:
                world.stop(self._bot)
                self._start_after(self._bot, 0.0)
            if hanging or len(self.invariants.handled) > handled:
                end, handled = world.now + QUIET, len(self.invariants.handled)
        left = [event.id for event in world.telegram.bot(BOT_ID).queue.events.values() if not event.raw]
        kept = [row.update.update_id for row in self._disk.undone]
        text = f"{len(left)} updates are still at Telegram {world.now:.0f} s on: {left[:5]}; {len(kept)} in the inbox"
        raise Violation("alive", f"{text}: {kept[:5]}")

    def _at_rest(self) -> bool:
        bot = self._bot
        if bot is None or self._starting:
            return False
        if not bot.alive:
            self._ended_by_itself(bot)
            return False
        telegram = self.world.telegram.bot(BOT_ID)
        held = [*telegram.queue.events.values()]
        if telegram.sender is not None:  # what was under way when the ids began anew is sent again, though not stored
            held += [waiting.event for lane in telegram.sender.lanes.values() for waiting in lane.events]
        # What is no update may stay where no id is known by which it could be confirmed.
        return not bot.runs and not self._disk.undone and all(event.raw for event in held)

    def _ended_by_itself(self, bot: Host) -> None:
        """Start another, if that was to be expected."""
        failure = (bot.ended[0] if bot.ended else None) or ""
        for happening in self.scenario.happenings:
            expected = {"unauthorized": "401", "disk locked": LOCKED}.get(happening.what)
            if expected is not None and expected in failure:
                self._start_later(happening.seconds)
                return
        raise Violation("alive", f"{bot.name} ended by itself: {failure}")

    def _end(self) -> None:
        """A bot with nothing in hand is small, and its stop ends at once."""
        world, bot, source = self.world, self._bot, self.scenario.source
        assert bot is not None
        world.run(200.0, steps=MAX_STEPS)
        size = 0 if world.records else len(pickle.dumps(bot.machine))
        remembered = self.made * BYTES_PER_ID if isinstance(source, WebhookOptions) else 0
        if size > IDLE_SIZE + remembered:
            raise Violation("memory", f"a machine with nothing in hand takes {size} bytes")
        world.stop(bot)
        world.run(AT_ONCE, until=lambda: not bot.alive, steps=MAX_STEPS)
        if bot.alive:
            raise Violation("stop", f"{bot.name} has nothing to do, and has not ended {AT_ONCE:g} s after its stop")
        for report in bot.reports:
            if report.verdict is Verdict.LOST and not self.invariants.accepts_loss(report.update_id):
                raise Violation("loss", f"{report.text}, which nobody accepted")
