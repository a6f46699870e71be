"""The program's calls of the Bot API in flight: 429, deadline, cancel.

`Calls` asks for each try by `Fetch`, is told `fetched`, and ends each call by one `Resolve`. It does not know what the
calls mean, nor HTTP; which connection carries one, and a fresh one for a connection that was dead, is the business of
`Pool`. The rule that keeps it right: a call is tried again only after 429, by which Telegram says that it did nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan
from typing import Any, TypeAlias

from attrs import define, frozen

from hookline.botapi import sends_once
from hookline.effects import Abandon, Effect, Fetch, Report, Resolve, Verdict
from hookline.errors import LocalProtocolError
from hookline.options import ApiOptions
from hookline.outcomes import FetchOutcome, Refused, Unreachable
from hookline.states import StateTable
from hookline.timers import Timers


@frozen
class InFlight:
    """A try is under way."""

    fetch: int


@frozen
class Flooded:
    """Telegram answered 429; the next try comes at `until`."""

    until: float


@frozen
class Resolved:
    """The call has ended."""


State: TypeAlias = "InFlight | Flooded | Resolved"

TABLE = StateTable("Calls", {InFlight: (Flooded, Resolved), Flooded: (InFlight, Resolved), Resolved: ()})


@define
class Call:
    """One call of the program. deadline: when it ends whatever happens. waits: how often 429 may be waited for yet."""

    method: str
    params: Mapping[str, Any]
    deadline: float
    waits: int
    state: State


class Calls:
    """Commands: `call`, `cancel`, `stop`; facts: `fetched`; the clock: `tick`. The contract is that of `Polling`."""

    def __init__(self, options: ApiOptions | None = None) -> None:
        self.options = options or ApiOptions()
        self._calls: dict[int, Call] = {}
        self._fetches: dict[int, int] = {}
        self._timers = Timers()
        self._next_fetch = 1

    @property
    def deadline(self) -> float | None:
        """The earliest time at which `tick` has something to do."""
        return self._timers.next

    @property
    def reason(self) -> str:
        """Why there is a deadline, in words."""
        return "a call ends or is tried again" if self._calls else "nothing is awaited"

    @property
    def open(self) -> int:
        """How many calls have not ended."""
        return len(self._calls)

    def knows(self, call: int) -> bool:
        """Whether the call is under way, so that its number is in use."""
        return call in self._calls

    def call(
        self, call: int, method: str, params: Mapping[str, Any], now: float, timeout: float | None = None
    ) -> list[Effect]:
        """Make a call; `call` is the caller's number for it, and not in use. `timeout` is for all its tries.

        Errors: LocalProtocolError for a number that is in use, a parameter that can't be sent, or what is no timeout.
        """
        if call in self._calls:
            raise LocalProtocolError(f"call {call} is under way already")
        if timeout is not None and (type(timeout) not in (int, float) or isnan(timeout)):
            raise LocalProtocolError(f"call: the timeout must be a number of seconds, not {timeout!r}")
        deadline = now + (self.options.timeout if timeout is None else timeout)
        waits = 0 if sends_once(method, params) else self.options.flood_waits
        fetch = self._new_fetch(call)
        self._calls[call] = Call(method, params, deadline, waits, InFlight(fetch))
        self._timers.set(call, deadline)
        return [Fetch(fetch, method, params, deadline - now)]

    def fetched(self, fetch: int, outcome: FetchOutcome, now: float) -> list[Effect]:
        """The answer to `Fetch`. That to a fetch which was abandoned is ignored."""
        if not 0 < fetch < self._next_fetch:
            raise LocalProtocolError(f"fetched: fetch {fetch} was never asked for")
        number = self._fetches.pop(fetch, None)
        if number is None:
            return []
        call = self._calls[number]
        if isinstance(outcome, Refused) and outcome.code == 429 and call.waits > 0:
            until = now + max(outcome.retry_after or 0.0, 1.0)
            if until < call.deadline:
                call.waits -= 1
                call.state = TABLE.move(call.state, Flooded(until))
                self._timers.set(number, until)
                return [Report(Verdict.FLOOD, f"{call.method}: {outcome.description}; tried again then")]
        return self._resolve(number, call, outcome)

    def cancel(self, call: int, now: float) -> list[Effect]:
        """The program no longer waits for a call. Telegram may have carried it out. A call that ended is ignored."""
        known = self._calls.get(call)
        if known is None:
            return []
        effects = self._abandon(known)
        self._end(call, known)
        return effects

    def stop(self, now: float) -> list[Effect]:
        """End every call that is under way."""
        effects: list[Effect] = []
        for number, call in list(self._calls.items()):
            effects += self._abandon(call)
            effects += self._resolve(number, call, Unreachable("the bot was stopped before the answer came"))
        return effects

    def tick(self, now: float) -> list[Effect]:
        """Do what is due. Early and repeated ticks do nothing."""
        effects: list[Effect] = []
        for number in self._timers.due(now):
            call = self._calls[number]
            if isinstance(call.state, Flooded) and now < call.deadline:
                fetch = self._new_fetch(number)
                call.state = TABLE.move(call.state, InFlight(fetch))
                self._timers.set(number, call.deadline)
                effects.append(Fetch(fetch, call.method, call.params, call.deadline - now))
            else:
                effects += self._abandon(call)
                effects += self._resolve(number, call, Unreachable("no answer within the call's timeout"))
        return effects

    def _new_fetch(self, call: int) -> int:
        fetch = self._next_fetch
        self._next_fetch += 1
        self._fetches[fetch] = call
        return fetch

    def _abandon(self, call: Call) -> list[Effect]:
        if not isinstance(call.state, InFlight):
            return []
        self._fetches.pop(call.state.fetch, None)
        return [Abandon(call.state.fetch)]

    def _resolve(self, number: int, call: Call, outcome: FetchOutcome) -> list[Effect]:
        self._end(number, call)
        return [Resolve(number, outcome)]

    def _end(self, number: int, call: Call) -> None:
        call.state = TABLE.move(call.state, Resolved())
        del self._calls[number]
        self._timers.clear(number)
