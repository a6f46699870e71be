"""`Polling` in virtual time: the test says what Telegram and the handlers do, and reads what the machine asked for.

`Poller` tells the machine facts and keeps its effects; `Queue` is Telegram's queue of one bot, as far as getUpdates
shows it (telegram-server.md, 2.2). Every `tick` that goes through a `Poller` is checked against the law: the deadline
lies later than `now` afterwards, and a tick before it does nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hookline.effects import (
    Abandon,
    Cancel,
    Effect,
    Ended,
    Fetch,
    Handle,
    Log,
    Mark,
    Open,
    Release,
    Report,
    Status,
    Store,
    Verdict,
)
from hookline.options import PollingOptions
from hookline.outcomes import FetchOutcome, Outcome, Refused, Result, Returned, Unreachable
from hookline.polling import Polling
from hookline.updates import Lane

ME = {"id": 42, "is_bot": True, "first_name": "Bot", "username": "some_bot"}
OTHER_POLLER = Refused(409, "Conflict: terminated by other getUpdates request; make sure that only one bot instance")
WEBHOOK_IS_SET = Refused(409, "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook")


def message(update_id: int, chat: int | None = None) -> dict[str, Any]:
    """A raw update; in a chat of its own, unless told."""
    chat_id = update_id if chat is None else chat
    return {"update_id": update_id, "message": {"chat": {"id": chat_id, "type": "private"}, "text": "hi"}}


class Poller:
    """A `Polling` and what became of it. again: what replaces the machine before each call, such as a copy of it."""

    def __init__(
        self,
        options: PollingOptions | None = None,
        *,
        seed: int = 1,
        lane: Lane | None = None,
        again: Callable[[Polling], Polling] = lambda machine: machine,
    ) -> None:
        self.machine = Polling(options, seed=seed, lane=lane)
        self.now = 1000.0
        self.again = again
        self.trace: list[tuple[float, Effect]] = []
        self.pending: Fetch | None = None
        """The fetch that is neither answered nor abandoned."""
        self.running: dict[int, int] = {}
        """Update id -> job, of handlers that have not ended."""

    # What came out

    def of(self, kind: type[Any]) -> list[Any]:
        """All effects of one class so far."""
        return [effect for _, effect in self.trace if isinstance(effect, kind)]

    @property
    def handed(self) -> list[int]:
        """The ids of the updates handed out, in order."""
        return [effect.update.update_id for effect in self.of(Handle)]

    @property
    def polls(self) -> list[tuple[float, int | None]]:
        """Time and offset of each getUpdates."""
        found = []
        for time, effect in self.trace:
            if isinstance(effect, Fetch) and effect.method == "getUpdates":
                found.append((time, effect.params.get("offset")))
        return found

    @property
    def ended(self) -> list[str | None]:
        """The failure of each Ended."""
        return [effect.failure for effect in self.of(Ended)]

    def reports(self, verdict: Verdict) -> list[Report]:
        """The reports of one verdict."""
        return [report for report in self.of(Report) if report.verdict is verdict]

    # What goes in

    def tell(self, method: str, *args: Any, **kwargs: Any) -> list[Effect]:
        """Call a method of the machine, with `now` last."""
        self.machine = self.again(self.machine)
        effects: list[Effect] = getattr(self.machine, method)(*args, self.now, **kwargs)
        for effect in effects:
            assert not self.ended, "no effect follows Ended"
            self.trace.append((self.now, effect))
            if isinstance(effect, Fetch):
                assert self.pending is None, "one fetch at a time"
                self.pending = effect
            elif isinstance(effect, Abandon):
                assert self.pending is not None
                assert effect.fetch == self.pending.fetch, "what is abandoned was under way"
                self.pending = None
            elif isinstance(effect, Handle):
                assert effect.update.update_id not in self.running
                self.running[effect.update.update_id] = effect.job
            else:
                assert isinstance(effect, (Cancel, Ended, Log, Mark, Open, Release, Report, Store))
        for effect in [*effects]:
            if isinstance(effect, Mark) and effect.status is Status.RUNNING:  # that a handler begins is noted at once
                effects += self.tell("marked", effect.mark)
        return effects

    def start(self) -> Poller:
        """Go up to the first getUpdates, which is left pending; an inbox is empty."""
        self.tell("start")
        self.answer(ME)
        if self.machine.inbox is not None:
            self.tell("opened", (), durable=True)
        self.answer(True)
        return self

    def outcome(self, outcome: FetchOutcome) -> list[Effect]:
        """How the pending fetch ended."""
        assert self.pending is not None
        fetch, self.pending = self.pending, None
        return self.tell("fetched", fetch.fetch, outcome)

    def answer(self, value: Any) -> list[Effect]:
        """Telegram's result of the pending fetch."""
        return self.outcome(Result(value))

    def give(self, *ids: int, chat: int | None = None) -> list[Effect]:
        """Answer the pending poll with updates: all of one chat, or each of its own."""
        return self.answer([message(update_id, chat) for update_id in ids])

    def fail(self, reason: str = "Connection refused") -> list[Effect]:
        """The pending fetch got no answer."""
        return self.outcome(Unreachable(reason))

    def finish(self, update_id: int, outcome: Outcome | None = None) -> list[Effect]:
        """The handler of an update has ended."""
        return self.tell("finished", self.running.pop(update_id), outcome or Returned())

    def tick(self) -> list[Effect]:
        """The clock, as the law has it."""
        before = self.machine.deadline
        effects = self.tell("tick")
        after = self.machine.deadline
        assert after is None or after > self.now, "after tick(now) the deadline lies later than now"
        if before is None or self.now < before:
            assert effects == [], "an early tick does nothing"
            assert after == before
        assert self.tell("tick") == [], "a repeated tick does nothing"
        return effects

    def wait(self, seconds: float) -> None:
        """Let time go by, with a tick at each deadline."""
        end = self.now + seconds
        while (deadline := self.machine.deadline) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.tick()
        self.now = end

    def next_poll(self, within: float = 100.0) -> Fetch:
        """The next fetch, waited for."""
        end = self.now + within
        while self.pending is None:
            deadline = self.machine.deadline
            assert deadline is not None, "nothing more will be fetched"
            assert deadline <= end, "nothing is fetched in this time"
            self.now = max(self.now, deadline)
            self.tick()
        return self.pending

    @property
    def offset(self) -> int | None:
        """That of the pending getUpdates."""
        assert self.pending is not None
        assert self.pending.method == "getUpdates"
        offset: int | None = self.pending.params.get("offset")
        return offset


class Queue:
    """Telegram's queue of one bot. elements: id -> what getUpdates shows for it, in ascending order."""

    def __init__(self, first: int = 5_000_000) -> None:
        self.elements: dict[int, Any] = {}
        self.next = first

    def push(self, chat: int) -> int:
        """A new update; its id."""
        return self._push(message(self.next, chat))

    def push_raw(self, element: Any) -> int:
        """A new element that is no update."""
        return self._push(element)

    def _push(self, element: Any) -> int:
        self.elements[self.next] = element
        self.next += 1
        return self.next - 1

    def get(self, offset: int | None, limit: int) -> list[Any]:
        """What getUpdates answers; all below an accepted offset is deleted."""
        assert offset is None or offset >= 0, "a negative offset deletes updates unseen"
        if offset is not None and offset <= self.next + 10:
            for update_id in [update_id for update_id in self.elements if update_id < offset]:
                del self.elements[update_id]
        return list(self.elements.values())[:limit]
