"""Bots, a simulated Telegram, its users and a network between them, in one process and in virtual time.

A bot here is the machine, all of it down to the bytes, with handlers that do what a `Behaviour` says; its process can
die at any moment, and begin anew. `World` is the pump: it carries the effects of each machine out, tells facts, and
jumps from one time at which something is due to the next. It knows no invariant: a `Watch` sees all that happens.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import count
from pathlib import PurePath
from random import Random
from typing import Any, Final

from attrs import define, evolve, field

from hookline.bot import Bot
from hookline.botapi import InputFile, Token
from hookline.effects import (
    Cancel,
    Close,
    Connect,
    Effect,
    Ended,
    Handle,
    Log,
    Mark,
    Open,
    Pull,
    Report,
    Resolve,
    Send,
    Store,
)
from hookline.options import ApiOptions, HttpLimits, PollingOptions, SetWebhookOptions, WebhookOptions, WorkOptions
from hookline.outcomes import Cancelled, Outcome, Raised, Returned
from hookline.sim import SimulatedServer, SimulatedTelegram
from hookline.sim.effects import SimEffect
from hookline.testing.disk import Answer, Asked, Disk, Keeper
from hookline.testing.network import Address, Conditions, End, Network, Wire
from hookline.testing.scenario import Behaviour
from hookline.trace import Recorder
from hookline.updates import Update

BOT_ID: Final = 42
SECRET: Final = "the-secret-half-of-a-token-0123456789"  # noqa: S105 - nobody's
TOKEN: Final = Token(f"{BOT_ID}:{SECRET}")
TELEGRAM: Final[Address] = ("telegram", 8081)
BOT: Final[Address] = ("bot", 8080)
FILE_SIZE: Final = 150_000
"""Bytes of each file that a handler sends from its disk."""
VOICE_SIZE: Final = 4_000
"""Bytes of each that it has in memory."""


@define(eq=False)
class Host:
    """A process with one machine. name: its own, also among the processes that one bot has one after the other."""

    name: str
    machine: Any
    address: Address
    alive: bool = True
    began: float = 0.0
    reports: list[Report] = field(factory=list)
    logs: list[str] = field(factory=list)
    ended: list[str | None] = field(factory=list)
    """What `Ended` said; a machine says it once."""
    runs: dict[int, Run] = field(factory=dict)
    calls: dict[int, Run] = field(factory=dict)
    """Who waits for each call."""
    given_up: set[int] = field(factory=set)
    """Calls that nobody waits for any more."""
    connecting: set[int] = field(factory=set)
    queue: deque[Effect] = field(factory=deque)
    """What its machine wants, and is not carried out yet."""
    read: dict[int, int] = field(factory=dict)
    """How much of its file each connection has got."""
    keeper: Keeper | None = None
    """Of its inbox, with confirm="stored"."""

    @property
    def disk(self) -> Disk:
        """What its inbox is kept on."""
        assert self.keeper is not None, f"{self.name} has no inbox"
        return self.keeper.disk


@define(eq=False)
class Run:
    """One run of a handler."""

    host: Host
    job: int
    update: Update
    behaviour: Behaviour
    next: int = 0
    call: int | None = None
    over: bool = False


class Watch:
    """Sees what happens in a world. Each method does nothing here."""

    world: World

    def told(self, host: Host, fact: str, args: Sequence[Any], effects: list[Effect]) -> None:
        """A machine was told a fact or given a command, and wants these effects."""

    def begins(self, run: Run) -> None:
        """A run of a handler begins."""

    def ends(self, run: Run, outcome: Outcome) -> None:
        """A run has ended; its machine is told after this."""

    def asked(self, host: Host, connection: int) -> None:
        """The last byte of a request has come to a host."""

    def wrote(self, host: Host, asked: Asked, answer: Answer) -> None:
        """What a host's inbox asked for was written, or could not be; its machine is told after this, if it lives."""

    def dies(self, host: Host) -> None:
        """A process is over, by its own end or not."""

    def passed(self, host: Host) -> None:
        """Something has happened to a host, and all that it wants at once is carried out."""


class World:
    """The clock, the network, Telegram, and the bots that live."""

    def __init__(
        self,
        *,
        seed: int = 0,
        conditions: Conditions | None = None,
        watch: Watch | None = None,
        record: bool = False,
    ) -> None:
        self.now = 0.0
        self.telegram = SimulatedTelegram(seed=seed)
        self.server = Host("telegram", SimulatedServer(self.telegram), TELEGRAM)
        self.network = Network(Random(seed), conditions or Conditions())
        self.watch = watch or Watch()
        self.watch.world = self
        self.behave: Callable[[Update, int], Behaviour] = lambda update, attempt: Behaviour()
        """What the handler's run for an update does, given how many runs it had before."""
        self.attempts: Counter[int] = Counter()
        """How many runs each update has had."""
        self.records = record
        """Whether bots are recorded."""
        self.handled: list[int] = []
        """The update of each run that returned, in their order."""
        self.steps = 0
        """How often a machine was told something."""
        self._seed = seed
        self._traces: dict[str, list[str]] = {}
        self._recorders: list[Recorder] = []
        self._hosts: dict[str, Host] = {"telegram": self.server}
        self._listening: dict[Address, Host] = {TELEGRAM: self.server}
        self._names = count(1)
        self._numbers = count(1)
        self._todo: list[tuple[float, int, Callable[[], object]]] = []
        self._order = count()

    # Bots

    def bot(
        self,
        source: PollingOptions | WebhookOptions | WorkOptions | None,
        *,
        address: Address = BOT,
        api: ApiOptions | None = None,
        http: HttpLimits | None = None,
        disk: Disk | None = None,
        start: bool = True,
        **kwargs: Any,
    ) -> Host:
        """Start a bot's process. One by webhook listens at `address`, and sets its webhook there.

        disk: for its inbox, if it has one; None is the memory of the process. start: also start its machine.
        kwargs: of `Bot`, as lane, on_timeout and reply_with.
        """
        name = f"bot {next(self._names)}"
        if isinstance(source, WebhookOptions):
            kwargs.setdefault("set_webhook", SetWebhookOptions(url=f"http://{address[0]}:{address[1]}{source.path}"))
        api = evolve(api or ApiOptions(), root=f"http://{TELEGRAM[0]}:{TELEGRAM[1]}")
        kwargs |= {"api": api, "http": http, "seed": self._seed + len(name)}
        machine: Bot
        if self.records:
            lines = self._traces[name] = []
            machine = Recorder(TOKEN, source, write=lines.append, **kwargs)
            self._recorders.append(machine)
        else:
            machine = Bot(TOKEN, source, **kwargs)
        host = self._hosts[name] = Host(name, machine, address, began=self.now)
        if isinstance(source, WorkOptions) or (source is not None and source.confirm == "stored"):
            host.keeper = Keeper(
                disk or Disk(durable=False),
                later=self._later,
                clock=lambda: self.now,
                wrote=lambda asked, answer: self.watch.wrote(host, asked, answer),
                tell=lambda answer: self.tell(host, answer.fact, *answer.args, **answer.kwargs),
            )
        if isinstance(source, WebhookOptions) and start:
            self._listening[address] = host
        if start:
            self.tell(host, "start")
        return host

    def call(self, host: Host, method: str, **params: Any) -> int:
        """Let a bot call a method, whose result nobody waits for; the call's number."""
        number = next(self._numbers)
        host.given_up.add(number)
        self.tell(host, "call", number, method, params)
        return number

    def stop(self, host: Host) -> None:
        """Stop a bot gracefully, as a signal does; its process ends by itself."""
        if host.alive:
            self.tell(host, "stop")

    def kill(self, host: Host, *, silently: bool = False) -> None:
        """A bot's process dies: its connections break, or nobody hears of it if its whole machine has gone."""
        if not host.alive:
            return
        self.watch.dies(host)
        host.alive = False
        host.runs.clear()
        if host.keeper is not None:
            host.keeper.die()
        del self._hosts[host.name]
        if self._listening.get(host.address) is host:
            del self._listening[host.address]
        for wire in self.network.wires():
            for end in wire.ends:
                if end.host == host.name and end.open:
                    self._leave(wire, end, silently=silently)

    def traces(self) -> dict[str, list[str]]:
        """The trace of each bot's process by its name, line by line. What comes later is not recorded."""
        for recorder in self._recorders:
            complaints = recorder.close()
            assert not complaints, complaints
        return self._traces

    # Users, and what is known of the bot at Telegram

    def message(self, text: str = "hi", *, user: int = 1, chat: int | None = None) -> int | None:
        """A user's message; its update's id, or None if there is none."""
        return self.inject("message", self.telegram.user_message(BOT_ID, text, self.now, user=user, chat=chat))

    def button(self, data: str = "yes", *, user: int = 1, chat: int | None = None) -> int | None:
        """A user's press of a button."""
        return self.inject("callback_query", self.telegram.button_press(BOT_ID, data, self.now, user=user, chat=chat))

    def inject(self, kind: str, payload: Any) -> int | None:
        """Any update; its id."""
        update_id, effects = self.telegram.inject(BOT_ID, kind, payload, self.now)
        self.command(effects)
        return update_id

    def command(self, effects: list[SimEffect]) -> None:
        """Go on from a command that was given to `telegram`, by the effects that it returned."""
        self._perform(self.server, self.server.machine.command(effects, self.now))

    # Time

    def at(self, time: float, action: Callable[[], object]) -> None:
        """Do something at a time."""
        heappush(self._todo, (max(time, self.now), next(self._order), action))

    def run(self, seconds: float, *, until: Callable[[], bool] = lambda: False, steps: int = 1_000_000) -> None:
        """Let time go by, until it is over or something holds. AssertionError if `steps` do not suffice."""
        end = self.now + seconds
        last = self.steps + steps
        while not until():
            due = self._todo[0][0] if self._todo else None
            host_due: Host | None = None
            for host in self._hosts.values():
                deadline = host.machine.deadline
                if deadline is not None and (due is None or deadline < due):
                    due, host_due = deadline, host
            if due is None or due > end:
                self.now = end
                return
            self.now = max(self.now, due)
            if host_due is not None:
                self.tell(host_due, "tick")
            else:
                heappop(self._todo)[2]()
            assert self.steps < last, "the world does not come to rest"

    def tell(self, host: Host, fact: str, *args: Any, **kwargs: Any) -> None:
        """Tell a machine something, and carry out what it wants."""
        self.steps += 1
        effects = getattr(host.machine, fact)(*args, self.now, **kwargs)
        if host is not self.server:
            self.watch.told(host, fact, args, effects)
        self._perform(host, effects)

    def _later(self, seconds: float, action: Callable[[], object]) -> None:
        self.at(self.now + seconds, action)

    # Effects

    def _perform(self, host: Host, effects: list[Effect]) -> None:
        performing = bool(host.queue)
        host.queue.extend(effects)
        if performing:  # told in the middle of carrying something out: it comes after that
            return
        while host.queue:
            self._carry_out(host, host.queue[0])
            host.queue.popleft()
        self.watch.passed(host)

    def _carry_out(self, host: Host, effect: Effect) -> None:
        if isinstance(effect, Send):
            self._send(host, effect.connection, effect.data)
        elif isinstance(effect, Connect):
            host.connecting.add(effect.connection)
            self._later(self.network.delay(), lambda: self._connect(host, effect))
        elif isinstance(effect, Close):
            host.connecting.discard(effect.connection)
            found = self.network.find(host.name, effect.connection)
            if found is not None:
                self._leave(*found, silently=False)
        elif isinstance(effect, Handle):
            self._begin(host, effect)
        elif isinstance(effect, Cancel):
            self._cancel(host.runs.get(effect.job))
        elif isinstance(effect, Resolve):
            if effect.call not in host.given_up:  # else it was on its way already
                self._answered(host.calls.pop(effect.call))
        elif isinstance(effect, Pull):
            self._later(self.network.delay(), lambda: self._pull(host, effect))
        elif isinstance(effect, (Open, Store, Mark)):
            assert host.keeper is not None
            host.keeper.ask(effect)
        elif isinstance(effect, Report):
            host.reports.append(effect)
        elif isinstance(effect, Log):
            host.logs.append(effect.text)
        else:
            assert isinstance(effect, Ended), f"a world can't carry out {effect!r}"
            host.ended.append(effect.failure)
            if host.keeper is not None:
                host.keeper.close()
            self._later(0.0, lambda: self.kill(host))

    # Connections

    def _connect(self, host: Host, effect: Connect) -> None:
        if not host.alive or effect.connection not in host.connecting:
            return
        host.connecting.remove(effect.connection)
        address = (effect.host, effect.port)
        other = self._listening.get(address)
        if other is None or self.network.refuses(address, self.now):
            self.tell(host, "connect_failed", effect.connection, "Connection refused")
            return
        connection = other.machine.new_connection()
        self.network.join((host.name, effect.connection), (other.name, connection))
        if other.name not in self.network.deaf:
            self.tell(other, "accepted", connection)
        self.tell(host, "connected", effect.connection)

    def _send(self, host: Host, connection: int, data: bytes) -> None:
        found = self.network.find(host.name, connection)
        assert found is not None, f"{host.name} writes to connection {connection}, which is not open"
        wire, end = found
        other = wire.other(end)
        pieces = self.network.pieces(data)
        for index, piece in enumerate(pieces):
            last = index == len(pieces) - 1
            time = self.network.arrival(other, self.now)
            self.at(time, lambda piece=piece, last=last: self._arrive(wire, other, piece, last=last))  # type: ignore[misc]

    def _arrive(self, wire: Wire, end: End, data: bytes, *, last: bool) -> None:
        if wire.silent or end.host in self.network.deaf:
            return
        if not end.open:  # whoever still writes to it is told
            self.break_off(wire, wire.other(end), "Connection reset by peer")
            return
        host = self._hosts[end.host]
        if last and end is wire.ends[1]:
            self.watch.asked(host, end.connection)
        self.tell(host, "received", end.connection, data)

    def _leave(self, wire: Wire, end: End, *, silently: bool) -> None:
        """One end is closed by its own side: what it sent before still arrives, then the end of it."""
        self.network.drop(end)
        wire.silent = wire.silent or silently
        other = wire.other(end)
        self.at(self.network.arrival(other, self.now), lambda: self.end_of_stream(wire, other))

    def end_of_stream(self, wire: Wire, end: End) -> None:
        """The other side sends no more. An answer to it may still have to go out."""
        if not wire.silent and end.open and end.host not in self.network.deaf:
            self.tell(self._hosts[end.host], "received", end.connection, b"")

    def break_off(self, wire: Wire, end: End, reason: str) -> None:
        """A connection breaks at one end, which is told."""
        if end.open and not wire.silent:
            self.network.drop(end)
            self.tell(self._hosts[end.host], "disconnected", end.connection, reason)

    def _pull(self, host: Host, effect: Pull) -> None:
        if not host.alive or self.network.find(host.name, effect.connection) is None:
            return
        assert isinstance(effect.source, PurePath)
        if effect.source.name == "missing":
            self.tell(host, "pull_failed", effect.connection, "No such file or directory")
            return
        read = host.read.get(effect.connection, 0)
        size = min(effect.size, FILE_SIZE - read)
        host.read[effect.connection] = 0 if size == 0 else read + size
        self.tell(host, "pulled", effect.connection, bytes(size))

    # Handlers

    def _begin(self, host: Host, effect: Handle) -> None:
        update = effect.update
        run = Run(host, effect.job, update, self.behave(update, self.attempts[update.update_id]))
        self.watch.begins(run)
        self.attempts[update.update_id] += 1
        host.runs[effect.job] = run
        self._later(0.0, lambda: self._go_on(run))

    def _go_on(self, run: Run) -> None:
        if run.over or not run.host.alive:
            return
        if run.next == len(run.behaviour.steps):
            if run.behaviour.end != "hang":
                self._end(run, Returned() if run.behaviour.end == "return" else Raised("ValueError: as it was told"))
            return
        step = run.behaviour.steps[run.next]
        run.next += 1
        if isinstance(step, str):
            run.call = next(self._numbers)
            run.host.calls[run.call] = run
            self.tell(run.host, "call", run.call, step, self._params(step, run.update), job=run.job)
        else:
            self._later(step, lambda: self._go_on(run))

    def _answered(self, run: Run) -> None:
        run.call = None
        self._later(0.0, lambda: self._go_on(run))

    @staticmethod
    def _params(method: str, update: Update) -> dict[str, Any]:
        params: dict[str, Any] = {"chat_id": update.lane, "text": f"about {update.update_id}"}
        if method == "sendDocument":
            params["document"] = InputFile(PurePath("document"))
        elif method == "sendPhoto":
            params["photo"] = InputFile(PurePath("missing"))
        elif method == "sendVoice":
            params["voice"] = InputFile(bytes(VOICE_SIZE))
        return params

    def _cancel(self, run: Run | None) -> None:
        if run is None or run.behaviour.cancelled is None:
            return
        self._later(run.behaviour.cancelled, lambda: self._end(run, Cancelled()))
        run.next, run.behaviour = 0, Behaviour(end="hang", cancelled=None)
        call, run.call = run.call, None
        if call is not None:
            del run.host.calls[call]
            run.host.given_up.add(call)
            self.tell(run.host, "cancel", call)

    def _end(self, run: Run, outcome: Outcome) -> None:
        if run.over or not run.host.alive:
            return
        run.over = True
        del run.host.runs[run.job]
        if isinstance(outcome, Returned):
            self.handled.append(run.update.update_id)
        self.watch.ends(run, outcome)
        self.tell(run.host, "finished", run.job, outcome)
