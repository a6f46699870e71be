"""What must hold in every world, at every step; whatever breaks it is a `Violation`.

The checks look at what passes between the bot, its handlers and Telegram, and not into the machine: they hold for any
machine that keeps its promises. Each has a name, and a test that breaks the machine on purpose and sees it caught.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from itertools import takewhile
from typing import Any, Final

from attrs import define, evolve, field

from hookline import codec
from hookline.effects import Close, Connect, Effect, Ended, Handle, Log, Pull, Report, Resolve, Send, Verdict
from hookline.options import PollingOptions, WebhookOptions
from hookline.outcomes import REPLIED, Outcome, Raised, Returned
from hookline.sim import Call, Fault
from hookline.testing.disk import Answer, Asked
from hookline.testing.inbox_invariants import InboxInvariants
from hookline.testing.violation import Violation
from hookline.testing.world import BOT_ID, SECRET, Host, Run, Watch
from hookline.updates import LaneKey, Update, read_update

EPSILON: Final = 1e-6
STOP_MARGIN: Final = 21.0
"""A stop may last for its grace time, the last getUpdates (5 s), and deleteWebhook (15 s)."""
HOT_WINDOW: Final = 10.0
MOST_IDLE_CALLS: Final = 30
"""Calls that bring nothing new and confirm nothing, in one window: a poll every 0.75 s, and some that failed."""
IGNORED_IN_REPLIES: Final = ("setwebhook", "deletewebhook", "close", "logout")
"""Besides all that begin with "get" (telegram-server.md, 4.7)."""


@define
class Made:
    """An update that Telegram made."""

    update: Update
    queue: int


@define(eq=False)
class Process:
    """What is known of one process of the bot."""

    open: set[int] = field(factory=set)
    own: set[int] = field(factory=set)  # connections that it wanted for itself, and not for a handler
    jobs: dict[int, int] = field(factory=dict)  # the update of each
    settled: set[int] = field(factory=set)  # updates whose handling ended well here
    held: set[int] = field(factory=set)  # updates with a call that travels when their time is up
    failed: Counter[int] = field(factory=Counter)  # by update, how many of its runs have
    asked: dict[int, float] = field(factory=dict)  # requests not answered, by connection
    stop_by: float | None = None
    ended: bool = False
    failures: int = 0
    quiet_until: float = 0.0
    may_say_more: bool = False  # of a stop: its last getUpdates, or its deleteWebhook, is tried all the same


class Invariants(Watch):
    """Watches one world of bots that all have the same options."""

    def __init__(self, source: PollingOptions | WebhookOptions, *, alone: bool = True, durable: bool = True) -> None:
        self.source = source
        self.alone = alone
        """Whether one process at a time runs. Of two, one handles what the other loses, and their calls look alike."""
        self.handled: set[int] = set()
        """Updates whose handling has ended so that Telegram may forget them."""
        self.accepted: set[int] = set()
        """Updates whose loss the program accepted, by its options or by a reply."""
        self.outdated: set[int] = set()
        """Updates that Telegram dropped by itself."""
        self._inbox = InboxInvariants(source, durable=durable) if source.confirm == "stored" else None
        self._made: dict[int, Made] = {}  # in the order in which Telegram made them
        self._lanes: dict[LaneKey, list[int]] = defaultdict(list)
        self._stored: set[int] = set()
        self._newest: int | None = None
        self._posted: dict[int, float] = {}  # when each update was first posted
        self._replies: set[int] = set()
        self._processes: dict[str, Process] = defaultdict(Process)
        self._last_call: Call | None = None
        self._news: tuple[int | None, int] = (None, 0)  # the last offset, and how many updates there were
        self._idle_calls: deque[float] = deque()
        self._faults: list[Fault] = []
        self._flooded_until = 0.0
        self._unauthorized = False  # the token was refused, which ends a run: a stop may come when it is ending so

    # What Telegram knows

    def dropped(self) -> None:
        """Telegram is about to forget all that it has, as a new range of ids begins."""
        self._look_at_telegram()
        self.outdated |= self._stored

    def _look_at_telegram(self) -> None:
        queue = self.world.telegram.bot(BOT_ID).queue
        if queue.newest != self._newest:
            for update_id, event in queue.events.items():
                if update_id not in self._made:
                    update = read_update(codec.decode(event.json().encode()))
                    if isinstance(update, Update):
                        self._made[update_id] = Made(update, event.lane)
                        self._lanes[update.lane].append(update_id)
                        self._stored.add(update_id)
            self._newest = queue.newest
        if len(queue.events) < len(self._stored) or not self._stored.issuperset(queue.events):
            for update_id in self._stored - set(queue.events):
                self._forgotten(update_id)
            self._stored &= set(queue.events)

    def _forgotten(self, update_id: int) -> None:
        if update_id in self.world.telegram.bot(BOT_ID).queue.expired:
            self.outdated.add(update_id)
        if update_id in self.handled or update_id in self.accepted or update_id in self.outdated:
            return
        if self._inbox is not None and update_id in self._inbox.written:
            if not self._inbox.durable:
                self.accepted.add(update_id)
        elif self._may_be_lost(update_id):
            self.accepted.add(update_id)
        else:
            raise Violation("confirmed", f"Telegram was told to forget update {update_id} at {self.world.now:.3f} s")

    def accepts_loss(self, update_id: int | None) -> bool:
        """Whether a report of a loss may be true, as far as a bot can know: an answer may be lost on its way."""
        if update_id is None:
            return False
        return update_id in self.accepted or update_id in self.outdated or self._may_be_lost(update_id)

    def _may_be_lost(self, update_id: int) -> bool:
        """Whether the options let an update be forgotten before it was handled."""
        if self._inbox is not None:
            return False
        if isinstance(self.source, PollingOptions):
            return self.source.confirm == "received"
        since = self._posted.get(update_id)
        late = since is not None and self.world.now >= since + self.source.timeout - EPSILON
        held = any(update_id in process.held for process in self._processes.values())
        return late and (self.source.on_timeout == "return" or held)

    def _look_at_posts(self) -> None:
        sender = self.world.telegram.bot(BOT_ID).sender
        if sender is not None:
            for post in sender.posts:
                self._posted.setdefault(sender.update_of(post), self.world.now)

    def _look_at_calls(self) -> None:
        new: list[Call] = []
        for call in reversed(self.world.telegram.bot(BOT_ID).calls):
            if call is self._last_call:
                break
            new.append(call)
        for call in reversed(new):
            self._last_call = call
            if call.via != "api":
                self._replied(call)
                continue
            if call.method in ("getupdates", "getme", "deletewebhook", "setwebhook"):
                self._own_call(call)
            self._gone_wrong(call)

    def _replied(self, call: Call) -> None:
        assert call.update_id is not None
        if call.update_id in self._replies:
            raise Violation("reply", f"a second call travelled in an answer to update {call.update_id}")
        self._replies.add(call.update_id)

    def _own_call(self, call: Call) -> None:
        """A call that the machine makes by itself."""
        if self.alone and call.at < self._flooded_until - EPSILON and call.method == "getupdates":
            text = f"getUpdates at {call.at:.3f} s, though a 429 had asked to wait until {self._flooded_until:.3f} s"
            raise Violation("back-off", text)
        news = (int(call.params["offset"]) if "offset" in call.params else None, len(self._made))
        if news != self._news and call.method == "getupdates":
            self._news = news
            return
        self._idle_calls.append(call.at)
        while self._idle_calls[0] < call.at - HOT_WINDOW:
            self._idle_calls.popleft()
        if len(self._idle_calls) > MOST_IDLE_CALLS * (1 if self.alone else 2):
            raise Violation("hot loop", f"{len(self._idle_calls)} calls within {HOT_WINDOW:g} s brought nothing")

    def healed(self) -> None:
        """No call goes wrong any more."""
        self._faults.clear()

    def will_go_wrong(self, fault: Fault) -> None:
        """The next calls of the bot get this."""
        self._faults.append(fault)
        self._unauthorized = self._unauthorized or fault.code == 401

    def _gone_wrong(self, call: Call) -> None:
        fault = next((fault for fault in self._faults if fault.befalls(call.method)), None)
        if fault is not None:
            self._faults.remove(fault)
            if fault.times > 1:
                self._faults.insert(0, evolve(fault, times=fault.times - 1))
            if call.method == "getupdates" and fault.retry_after is not None:
                self._flooded_until = call.at + fault.retry_after

    # What a bot's process does

    def told(self, host: Host, fact: str, args: Sequence[Any], effects: list[Effect]) -> None:
        """Check what the machine wants after each fact."""
        process, now = self._processes[host.name], self.world.now
        if fact in ("accepted", "connected"):
            process.open.add(args[0])
            process.failures = 0 if fact == "connected" else process.failures
        elif fact in ("disconnected", "connect_failed"):
            self._closed(process, args[0])
            if fact == "disconnected":
                self._flooded_until = 0.0  # the answer that asked to wait may have been lost with it
            if fact == "connect_failed" and args[0] in process.own:
                self._refused(process)
        elif fact == "start":
            self._flooded_until = 0.0  # a poll of the process before may have come after its end: who heard the 429?
        elif fact == "stop":
            self._flooded_until = 0.0
            process.may_say_more = True
            grace = 0.0 if process.stop_by is not None else self.source.grace
            process.stop_by = min(now + grace + STOP_MARGIN, process.stop_by or now + grace + STOP_MARGIN)
        elif fact == "call":
            process.own.clear()  # what is being opened may carry the call
            replied = any(isinstance(effect, Resolve) and effect.outcome is REPLIED for effect in effects)
            if replied and (args[1].lower().startswith("get") or args[1].lower() in IGNORED_IN_REPLIES):
                raise Violation("reply", f"{args[1]} was to travel in an answer")
        elif fact == "finished" and self._inbox is None:
            update_id = process.jobs[args[0]]
            process.failed[update_id] += not isinstance(args[1], Returned)
            if self.alone:
                self._loss_is_reported(host, update_id, args[1], effects)
        if process.ended and any(not isinstance(effect, (Close, Resolve)) for effect in effects):
            raise Violation("stop", f"after its end, {fact} made {host.name} want {effects!r}")
        if self._inbox is not None:
            self.accepted |= self._inbox.told(host, fact, args, effects, self._stored)
        for index, effect in enumerate(effects):
            self._wanted(host, process, fact, effect, last=index == len(effects) - 1)
        deadline = host.machine.deadline
        if fact == "tick" and deadline is not None and deadline <= now:
            raise Violation("law", f"after a tick at {now!r} the deadline is {deadline!r}: {host.machine.reason}")

    def _wanted(self, host: Host, process: Process, fact: str, effect: Effect, *, last: bool) -> None:
        if isinstance(effect, (Send, Pull)):
            if effect.connection not in process.open:
                raise Violation("law", f"{effect!r} names a connection that is not open")
            if isinstance(effect, Send) and not effect.data.startswith(b"HTTP/1.1 100 "):
                process.asked.pop(effect.connection, None)
        elif isinstance(effect, Close):
            self._closed(process, effect.connection)
        elif isinstance(effect, Connect):
            if fact != "call" and all(run.call is None for run in host.runs.values()):
                process.own.add(effect.connection)
                if process.failures and self.world.now < process.quiet_until - EPSILON:
                    if not process.may_say_more:
                        text = f"a connection at {self.world.now:.3f} s, after {process.failures} that failed"
                        raise Violation("back-off", text)
                    process.may_say_more = False
        elif isinstance(effect, Handle):
            if effect.job in process.jobs:
                raise Violation("law", f"job {effect.job} is asked for twice")
            process.jobs[effect.job] = update_id = effect.update.update_id
            if self._gives_up and process.failed[update_id] >= self.source.max_attempts:
                text = f"update {update_id} begins after {process.failed[update_id]} runs that failed"
                raise Violation("attempts", text)
        elif isinstance(effect, Resolve):
            if effect.outcome is REPLIED:
                self._is_to_travel(process, host.calls[effect.call].update.update_id)
        elif isinstance(effect, (Report, Log)):
            if SECRET in repr(effect):
                raise Violation("secret", f"{type(effect).__name__} of {host.name} shows it")
            if isinstance(effect, Report) and effect.update_id is not None:
                self._reported(process, effect.verdict, effect.update_id)
        elif isinstance(effect, Ended):
            if not last or process.ended:
                raise Violation("stop", f"the end of {host.name} is not its last word")
            if process.stop_by is not None and effect.failure is not None and not self._unauthorized:
                raise Violation("stop", f"{host.name} was stopped, and ended by {effect.failure}")
            process.ended = True

    def _is_to_travel(self, process: Process, update_id: int) -> None:
        """A call is to travel in an answer: 2xx may come before the handler has ended, unless the host freezes."""
        assert isinstance(self.source, WebhookOptions)
        if not self.source.freezes:
            (process.held if self.source.hold_answer else self.accepted).add(update_id)

    @property
    def _gives_up(self) -> bool:
        """Whether it is a webhook that gives updates up; an inbox has its own rules for it, and a poller does not."""
        return isinstance(self.source, WebhookOptions) and self._inbox is None

    def _reported(self, process: Process, verdict: Verdict, update_id: int) -> None:
        if verdict is Verdict.GIVEN_UP:
            if self._gives_up and process.failed[update_id] < self.source.max_attempts:
                text = f"update {update_id} is given up after {process.failed[update_id]} runs that failed"
                raise Violation("attempts", text)
            self.handled.add(update_id)
        elif verdict is Verdict.LOST:  # if Telegram sends it again all the same, that begins anew
            del process.failed[update_id]

    def _loss_is_reported(self, host: Host, update_id: int, outcome: Outcome, effects: list[Effect]) -> None:
        reports = [*host.reports, *(effect for effect in effects if isinstance(effect, Report))]
        reported = any(report.verdict is Verdict.LOST and report.update_id == update_id for report in reports)
        lost = update_id in self.accepted and update_id not in self.handled | self.outdated | self._stored
        if lost and not reported:
            raise Violation("loss", f"the handler of update {update_id} ended by {outcome!r}, and no report says so")

    def _closed(self, process: Process, connection: int) -> None:
        process.open.discard(connection)
        process.asked.pop(connection, None)

    def _refused(self, process: Process) -> None:
        process.failures += 1
        process.quiet_until = self.world.now + 0.75 * min(60.0, 2.0 ** (process.failures - 1))

    def asked(self, host: Host, connection: int) -> None:
        """The time of a request begins."""
        if host is not self.world.server and isinstance(self.source, WebhookOptions):
            self._processes[host.name].asked.setdefault(connection, self.world.now)

    def begins(self, run: Run) -> None:
        """Check that this update may run now."""
        host, update = run.host, run.update
        process = self._processes[host.name]
        self._look_at_telegram()
        for other in host.runs.values():
            if other.update.update_id == update.update_id:
                raise Violation("once", f"update {update.update_id} runs twice at once in {host.name}")
            if other.update.lane == update.lane:
                raise Violation("lane", f"updates {other.update.update_id} and {update.update_id} run at once")
        if len(host.runs) >= self.source.concurrency:
            raise Violation("concurrency", f"{len(host.runs) + 1} runs at once in {host.name}")
        if update.update_id in process.settled:
            raise Violation("once", f"update {update.update_id} was handled, and runs again in {host.name}")
        self._in_turn(host, update)
        if self._inbox is not None:
            self._inbox.begins(host, update, self.world.now)

    def _in_turn(self, host: Host, update: Update) -> None:
        made = self._made[update.update_id]
        done = self.handled | self.accepted
        if self._inbox is not None:
            done |= set(host.disk.rows)  # which has an order of its own
        for earlier in takewhile(lambda other: other != update.update_id, self._lanes[update.lane]):
            one_queue = isinstance(self.source, PollingOptions) or self._made[earlier].queue == made.queue
            if one_queue and earlier in self._stored and earlier not in done:
                raise Violation(
                    "order", f"update {update.update_id} began before {earlier} of lane {update.lane} was done"
                )

    def ends(self, run: Run, outcome: Outcome) -> None:
        """Note what has become of an update."""
        update_id = run.update.update_id
        process = self._processes[run.host.name]
        stopping = process.stop_by is not None
        done = isinstance(outcome, Returned)
        if self._inbox is not None:
            self._inbox.ends(run.host, run.update, outcome, self.world.now)
        elif isinstance(self.source, PollingOptions) and not done:
            passes = self.source.on_error == "pass" if isinstance(outcome, Raised) else not stopping
            done = passes
        if done:
            self.handled.add(update_id)
            process.settled.add(update_id)

    def wrote(self, host: Host, asked: Asked, answer: Answer) -> None:
        """Note what is on a disk."""
        assert self._inbox is not None
        self._inbox.wrote(host, asked, answer)

    def dies(self, host: Host) -> None:
        """Forget what it held, and what Telegram asked of it."""
        self._flooded_until = 0.0
        self._processes[host.name].held.clear()
        if self._inbox is not None:
            self._inbox.dies(host)

    def passed(self, host: Host) -> None:
        """Check what must hold after every step."""
        if host is self.world.server:
            self._look_at_posts()
            self._look_at_calls()
            self._look_at_telegram()
            return
        process, now = self._processes[host.name], self.world.now
        if process.stop_by is not None and not process.ended and now > process.stop_by + EPSILON:
            raise Violation("stop", f"{host.name} should have ended by {process.stop_by:.3f} s; it is {now:.3f} s")
        if process.asked and isinstance(self.source, WebhookOptions):
            connection, since = next(iter(process.asked.items()))
            if now > since + self.source.timeout + EPSILON:
                text = f"the request of connection {connection} has waited since {since:.3f} s; it is {now:.3f} s"
                raise Violation("answered", text)
