"""Setting the webhook at the start, and deleting it at the stop if that is asked for.

`Registration` decides when setWebhook is called, what ends the run, and when it is tried again. It speaks of calls, by
`Fetch` and `fetched`, as `Polling` does. It begins when the program listens already, so that no request finds nobody.
Once a stop winds the run up, setWebhook is not called again: what another process has set by then must stay.
"""

from __future__ import annotations

from random import Random
from typing import Any, Final, TypeAlias

from attrs import frozen

from hookline.backoff import Backoff
from hookline.botapi import InputFile
from hookline.effects import Abandon, Effect, Ended, Fetch, Log, Report, Verdict
from hookline.errors import LocalProtocolError
from hookline.http import without_token
from hookline.options import SetWebhookOptions
from hookline.outcomes import FetchOutcome, Refused, Result, Unreachable
from hookline.states import StateTable

TIMEOUT: Final = 15.0


@frozen
class Idle:
    """Not started."""


@frozen
class Setting:
    """setWebhook is under way. until: when its answer is overdue."""

    fetch: int
    until: float


@frozen
class Pausing:
    """The next try waits for its time."""

    until: float


@frozen
class Set:
    """The webhook is set."""


@frozen
class Unset:
    """The run was wound up before the webhook could be set."""


@frozen
class Deleting:
    """A stop: deleteWebhook is under way."""

    fetch: int
    until: float


@frozen
class Over:
    """Nothing more is done."""


State: TypeAlias = "Idle | Setting | Pausing | Set | Unset | Deleting | Over"

TABLE = StateTable(
    "Registration",
    {
        Idle: (Setting, Over),
        Setting: (Set, Pausing, Unset, Deleting, Over),
        Pausing: (Setting, Unset),
        Set: (Deleting, Over),
        Unset: (Deleting, Over),
        Deleting: (Over,),
        Over: (),
    },
)


class Registration:
    """Commands: `start`, `wind_up`, `stop`; facts: `fetched`; the clock: `tick`. The contract is that of `Polling`."""

    def __init__(self, options: SetWebhookOptions, secret_token: str | None, *, seed: int = 0) -> None:
        self.options = options
        self.state: State = Idle()
        self._secret_token = secret_token
        self._random = Random(seed)
        self._backoff = Backoff()
        self._winding_up = False
        self._next_fetch = 1

    @property
    def over(self) -> bool:
        """Whether there is nothing more to call."""
        return isinstance(self.state, Over)

    @property
    def deadline(self) -> float | None:
        """The earliest time at which `tick` has something to do."""
        return self.state.until if isinstance(self.state, (Setting, Pausing, Deleting)) else None

    @property
    def reason(self) -> str:
        """Why there is a deadline, in words."""
        if isinstance(self.state, Pausing):
            return "setWebhook is tried again"
        return "nothing is awaited" if self.deadline is None else "the answer to a call is overdue"

    def start(self, now: float) -> list[Effect]:
        """Set the webhook."""
        if not isinstance(self.state, Idle) or self._winding_up:
            raise LocalProtocolError("start: this registration was started or stopped before")
        return self._set(now)

    def wind_up(self, now: float) -> list[Effect]:
        """The run is about to stop: what is under way is awaited, and nothing is tried again. `stop` comes later."""
        self._winding_up = True
        if isinstance(self.state, Pausing):
            self._go(Unset())
        return []

    def stop(self, now: float) -> list[Effect]:
        """Leave the webhook in place, or delete it if that was asked for; `Ended` comes when that is done."""
        if isinstance(self.state, (Deleting, Over)):
            return []
        self.wind_up(now)
        effects: list[Effect] = [Abandon(self.state.fetch)] if isinstance(self.state, Setting) else []
        if not self.options.delete_at_stop or isinstance(self.state, Idle):
            self._go(Over())
            return [*effects, Ended()]
        fetch = self._new_fetch()
        self._go(Deleting(fetch, now + TIMEOUT))
        return [*effects, Fetch(fetch, "deleteWebhook", {}, TIMEOUT)]

    def fetched(self, fetch: int, outcome: FetchOutcome, now: float) -> list[Effect]:
        """The answer to `Fetch`. That to a fetch which was abandoned is ignored."""
        if not 0 < fetch < self._next_fetch:
            raise LocalProtocolError(f"fetched: fetch {fetch} was never asked for")
        state = self.state
        if not isinstance(state, (Setting, Deleting)) or state.fetch != fetch:
            return []
        if isinstance(outcome, Result) and outcome.value is not True:
            outcome = Unreachable("the result is not true")  # whoever answered, it was not Telegram
        if isinstance(outcome, Result):
            if isinstance(state, Setting):
                self._go(Set())
                return [Log(f"the webhook is set to {without_token(self.options.url)}")]
            self._go(Over())
            return [Log("the webhook is deleted"), Ended()]
        said = f"{outcome.code} {outcome.description}" if isinstance(outcome, Refused) else outcome.reason
        flooded = isinstance(outcome, Refused) and outcome.code == 429
        verdict = Verdict.FLOOD if flooded else Verdict.UNREACHABLE
        if isinstance(state, Deleting):
            self._go(Over())
            return [Report(Verdict.UNREACHABLE, f"deleteWebhook: {said}; the webhook may still be set"), Ended()]
        if isinstance(outcome, Refused) and outcome.code in (400, 401, 403, 404):
            self._go(Over())
            return [Ended(f"setWebhook: {said}; check the token and the webhook's url")]
        if self._winding_up:
            self._go(Unset())
            return [Report(verdict, f"setWebhook: {said}; not tried again, since the run ends")]
        wait = self._backoff.next(self._random)
        if isinstance(outcome, Refused) and outcome.retry_after:
            wait = outcome.retry_after
        self._go(Pausing(now + wait))
        return [Report(verdict, f"setWebhook: {said}; tried again in {wait:.1f} s")]

    def tick(self, now: float) -> list[Effect]:
        """Do what is due. Early and repeated ticks do nothing."""
        state = self.state
        if self.deadline is None or now < self.deadline:
            return []
        if isinstance(state, Pausing):
            return self._set(now)
        assert isinstance(state, (Setting, Deleting))
        late = Unreachable(f"no answer within {TIMEOUT:g} s")
        return [Abandon(state.fetch), *self.fetched(state.fetch, late, now)]

    def _set(self, now: float) -> list[Effect]:
        options = self.options
        params: dict[str, Any] = {
            "url": options.url,
            "secret_token": self._secret_token,
            "ip_address": options.ip_address,
            "max_connections": options.max_connections,
            "allowed_updates": None if options.allowed_updates is None else list(options.allowed_updates),
            "drop_pending_updates": options.drop_pending_updates or None,
        }
        if options.certificate is not None:
            params["certificate"] = InputFile(options.certificate, "certificate.pem")
        params = {name: value for name, value in params.items() if value is not None}
        fetch = self._new_fetch()
        self._go(Setting(fetch, now + TIMEOUT))
        return [Fetch(fetch, "setWebhook", params, TIMEOUT)]

    def _go(self, state: State) -> None:
        self.state = TABLE.move(self.state, state)

    def _new_fetch(self) -> int:
        self._next_fetch += 1
        return self._next_fetch - 1
