"""Bots and the simulated Telegram in one process and in virtual time, joined by bytes in memory.

A bot here is the machine with a handler that takes some virtual seconds; it can crash at any moment, and start anew.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any

from attrs import define, field

from hookline import (
    ApiOptions,
    Bot,
    Cancelled,
    PollingOptions,
    Raised,
    Returned,
    SetWebhookOptions,
    Token,
    Update,
    WebhookOptions,
)
from hookline.effects import Cancel, Close, Connect, Effect, Ended, Handle, Log, Report, Resolve, Send
from hookline.sim import SimulatedServer, SimulatedTelegram
from hookline.sim.effects import SimEffect

BOT_ID = 42
TOKEN = Token(f"{BOT_ID}:{'t' * 30}")
TELEGRAM = ("telegram", 8081)


@define(eq=False)
class Host:
    """One machine in the world. address: where others reach it."""

    machine: Any
    address: tuple[str, int]
    peers: dict[int, tuple[Host, int]] = field(factory=dict)  # connection -> the other end
    reports: list[Report] = field(factory=list)
    logs: list[str] = field(factory=list)
    ended: list[str | None] = field(factory=list)
    dead: bool = False
    silent: bool = False  # accepts, and never answers


class World:
    """The clock, the network and the handlers."""

    def __init__(self, *, slow: Callable[[Update], float] | float = 0.0, seed: int = 1) -> None:
        self.now = 0.0
        self.telegram = SimulatedTelegram(seed=seed)
        self.server = Host(SimulatedServer(self.telegram), TELEGRAM)
        self.hosts: dict[tuple[str, int], Host] = {TELEGRAM: self.server}
        self.slow = slow
        self.started: Counter[int] = Counter()
        self.handled: list[int] = []
        self.overlaps: list[Update] = []  # updates whose run began while another of their lane, or of them, ran
        self.fails: Callable[[Update], bool] = lambda update: False
        self._todo: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._jobs: dict[tuple[int, int], Update] = {}
        self._cancelled: set[tuple[int, int]] = set()

    # Bots

    def bot(self, source: PollingOptions | WebhookOptions, name: str = "bot", **kwargs: Any) -> Host:
        """Start a bot; one by webhook sets it to its own address."""
        address = (name, 8080)
        if isinstance(source, WebhookOptions):
            kwargs.setdefault("set_webhook", SetWebhookOptions(url=f"http://{name}:8080{source.path}"))
        api = ApiOptions(root=f"http://{TELEGRAM[0]}:{TELEGRAM[1]}")
        host = Host(Bot(TOKEN, source, api=api, seed=7, **kwargs), address)
        self.hosts[address] = host
        self.tell(host, host.machine.start)
        return host

    def crash(self, host: Host) -> None:
        """The bot's process is gone: nothing of it is told to anybody, but that its connections have gone."""
        host.dead = True
        self.hosts.pop(host.address, None)
        for other, connection in list(host.peers.values()):
            if other.peers.pop(connection, None) is not None:
                self.tell(other, other.machine.disconnected, connection, "reset")
        host.peers.clear()
        for key in [key for key in self._jobs if key[0] == id(host)]:
            del self._jobs[key]

    def message(self, text: str = "hi", *, user: int = 1) -> int:
        """A user's message; the update's id."""
        return self.inject("message", self.telegram.user_message(BOT_ID, text, self.now, user=user))

    def inject(self, kind: str, payload: Any) -> int:
        """Any update; its id."""
        update_id, effects = self.telegram.inject(BOT_ID, kind, payload, self.now)
        assert update_id is not None
        self.command(effects)
        return update_id

    def command(self, effects: list[SimEffect]) -> None:
        """Go on from a command that was given to the simulation."""
        self._perform(self.server, self.server.machine.command(effects, self.now))

    @property
    def running(self) -> bool:
        """Whether a handler runs."""
        return bool(self._jobs)

    def calls(self, method: str) -> list[Any]:
        """The calls of a method that Telegram got."""
        return [call for call in self.telegram.calls(BOT_ID) if call.method == method.lower()]

    # Time

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Let time go by."""
        end = self.now + seconds
        for _ in range(1_000_000):
            if until():
                return
            times = [host.machine.deadline for host in self._alive()]
            times = [time for time in times if time is not None]
            if self._todo:
                times.append(self._todo[0][0])
            if not times or min(times) > end:
                self.now = end
                return
            self.now = max(self.now, min(times))
            while self._todo and self._todo[0][0] <= self.now:
                heappop(self._todo)[2]()
            for host in self._alive():
                deadline = host.machine.deadline
                if deadline is not None and deadline <= self.now:
                    self.tell(host, host.machine.tick)
        raise AssertionError("the world does not come to rest")

    def tell(self, host: Host, fact: Callable[..., list[Effect]], *args: Any) -> None:
        """Tell a machine something, and carry out what it wants."""
        if not host.dead:
            self._perform(host, fact(*args, self.now))

    def _alive(self) -> list[Host]:
        return [host for host in self.hosts.values() if not host.dead]

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        heappush(self._todo, (self.now + seconds, next(self._order), action))

    def _perform(self, host: Host, effects: list[Effect]) -> None:
        queue = deque(effects)
        while queue:
            effect = queue.popleft()
            if isinstance(effect, Connect):
                self._later(0.0, lambda effect=effect: self._connect(host, effect))  # type: ignore[misc]
            elif isinstance(effect, Send):
                peer = host.peers.get(effect.connection)
                if peer is not None:
                    self._later(0.0, lambda peer=peer, data=effect.data: self._arrive(*peer, data))  # type: ignore[misc, call-arg]
            elif isinstance(effect, Close):
                peer = host.peers.pop(effect.connection, None)
                if peer is not None:
                    self._later(0.0, lambda peer=peer: self._closed(*peer))  # type: ignore[misc]
            elif isinstance(effect, Handle):
                self._handle(host, effect)
            elif isinstance(effect, Cancel):
                self._cancelled.add((id(host), effect.job))
                self._later(0.0, lambda job=effect.job: self._finish(host, job))  # type: ignore[misc]
            elif isinstance(effect, Report):
                host.reports.append(effect)
            elif isinstance(effect, Log):
                host.logs.append(effect.text)
            elif isinstance(effect, Ended):
                host.ended.append(effect.failure)
            else:
                assert isinstance(effect, Resolve), effect

    def _connect(self, host: Host, effect: Connect) -> None:
        other = self.hosts.get((effect.host, effect.port))
        if other is None:
            self.tell(host, host.machine.connect_failed, effect.connection, "Connection refused")
            return
        connection = other.machine.new_connection()
        host.peers[effect.connection] = (other, connection)
        other.peers[connection] = (host, effect.connection)
        self.tell(other, other.machine.accepted, connection)
        self.tell(host, host.machine.connected, effect.connection)

    def _arrive(self, host: Host, connection: int, data: bytes) -> None:
        if connection in host.peers and not host.silent:
            self.tell(host, host.machine.received, connection, data)

    def _closed(self, host: Host, connection: int) -> None:
        if host.peers.pop(connection, None) is not None:
            self.tell(host, host.machine.disconnected, connection, "closed by the other side")

    def _handle(self, host: Host, effect: Handle) -> None:
        self.started[effect.update.update_id] += 1
        if any(owner == id(host) and update.lane == effect.update.lane for (owner, _), update in self._jobs.items()):
            self.overlaps.append(effect.update)
        self._jobs[id(host), effect.job] = effect.update
        seconds = self.slow(effect.update) if callable(self.slow) else self.slow
        self._later(seconds, lambda: self._finish(host, effect.job))

    def _finish(self, host: Host, job: int) -> None:
        update = self._jobs.pop((id(host), job), None)
        if update is None or host.dead:
            return
        if (id(host), job) in self._cancelled:
            self.tell(host, host.machine.finished, job, Cancelled())
        elif self.fails(update):
            self.tell(host, host.machine.finished, job, Raised("ValueError: no"))
        else:
            self.handled.append(update.update_id)
            self.tell(host, host.machine.finished, job, Returned())
