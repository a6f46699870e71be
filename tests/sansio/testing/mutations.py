"""Machines that are broken on purpose: each breaks one promise, and an invariant must notice.

`python -m tests.sansio.testing.mutations` prints after how many scenarios each was caught.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from heapq import heappush
from typing import Any

from attrs import evolve, frozen

from hookline import backoff, inbox, polling, webhook
from hookline.effects import Close, Effect, Kept, Log, Mark, Report, Respond, Send, Status, Store, Verdict
from hookline.http import Response
from hookline.inbox import Inbox
from hookline.lanes import Lanes
from hookline.outcomes import Outcome, Refused
from hookline.polling import Polling
from hookline.pool import Pool
from hookline.server import Server
from hookline.storing_webhook import StoringWebhook
from hookline.testing import Scenario, generate, play
from hookline.testing.world import SECRET
from hookline.updates import Update
from hookline.webhook import Webhook


@frozen
class Mutation:
    """A promise that is broken: the invariant that must notice, what is replaced, where, and by what."""

    invariant: str
    name: str
    owner: Any
    attribute: str
    make: Callable[[Any], Any]
    """Gives the replacement, of the original."""

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The mutation is in force in this context."""
        original = self.owner.__dict__[self.attribute]
        setattr(self.owner, self.attribute, self.make(original))
        try:
            yield
        finally:
            setattr(self.owner, self.attribute, original)


def caught(mutation: Mutation, scenarios: int, first: int = 0) -> tuple[int, Scenario, tuple[str, str]] | None:
    """After how many scenarios the mutation's own invariant caught it, by which, and what was seen; None if it did not.

    Another may do so earlier: a machine that breaks one promise often breaks a second.
    """
    with mutation.applied():
        for number in range(scenarios):
            scenario = generate(first + number)
            violation = play(scenario).violation
            if violation is not None and violation[0] == mutation.invariant:
                return number + 1, scenario, violation
    return None


def _offset_past_all(original: Any) -> Any:
    def next_offset(self: Polling) -> int | None:
        offset: int | None = original(self)
        return max(self._window) + 1 if self._window else offset

    return next_offset


def _always_return(_: Any) -> Any:
    def decide(self: Webhook, update: Update, effects: list[Effect]) -> str:
        return "return"

    return decide


def _held_no_longer(original: Any) -> Any:
    def time_is_up(self: Webhook, request: int, now: float) -> list[Effect]:
        options, self.options = self.options, evolve(self.options, freezes=False)
        try:
            return original(self, request, now)  # type: ignore[no-any-return]
        finally:
            self.options = options

    return time_is_up


def _newest_first(original: Any) -> Any:
    def add(self: Lanes, update: Update, now: float) -> Any:
        made = original(self, update, now)
        lane = self._lanes[update.lane]
        if len(lane) > 2:
            lane.insert(1, lane.pop())
        return made

    return add


def _lanes_at_once(original: Any) -> Any:
    def add(self: Lanes, update: Update, now: float) -> Any:
        job, effects = original(self, update, now)
        if len(self._lanes[update.lane]) > 1:
            heappush(self._ready, job)
        return job, effects + self._start(now)

    return add


def _nothing_joins(_: Any) -> Any:
    def job_of(self: Lanes, update_id: int) -> int | None:
        return None

    return job_of


def _nothing_remembered(_: Any) -> Any:
    def remember(self: Webhook, update_id: int) -> None:
        self._attempts.pop(update_id, None)

    return remember


def _each_failure_the_last(original: Any) -> Any:
    def count_failure(self: Webhook, update: Update) -> Any:
        self._attempts[update.update_id] = self.options.max_attempts
        return original(self, update)

    return count_failure


def _no_failure_counts(original: Any) -> Any:
    def count_failure(self: Webhook, update: Update) -> Any:
        self._attempts[update.update_id] = -1
        return original(self, update)

    return count_failure


def _one_more_at_once(original: Any) -> Any:
    def start(self: Lanes, now: float) -> list[Effect]:
        self.concurrency += 1
        try:
            effects: list[Effect] = original(self, now)
        finally:
            self.concurrency -= 1
        return effects

    return start


def _a_second_late(original: Any) -> Any:
    def attach(self: Webhook, request: int, job: int, now: float) -> None:
        original(self, request, job, now + 1.0)

    return attach


def _lost_in_silence(original: Any) -> Any:
    def finished(self: Webhook, job: int, outcome: Outcome, now: float) -> list[Effect]:
        effects = original(self, job, outcome, now)
        return [effect for effect in effects if not isinstance(effect, Report) or effect.verdict is not Verdict.LOST]

    return finished


def _hoarded(original: Any) -> Any:
    def received(self: Server, connection: int, data: bytes, now: float) -> Any:
        hoard = self.__dict__.setdefault("hoard", [])
        hoard.append(bytes(data) + bytes(5_000 + len(hoard)))
        return original(self, connection, data, now)

    return received


def _stop_unheard(_: Any) -> Any:
    def stop(self: Polling, now: float) -> list[Effect]:
        return []

    return stop


def _failed_by_its_stop(original: Any) -> Any:
    def end(self: Polling, failure: str | None) -> list[Effect]:
        return original(self, failure or "it was stopped")  # type: ignore[no-any-return]

    return end


def _never_over(_: Any) -> Any:
    def ended_if_drained(self: Webhook) -> list[Effect]:
        return []

    return ended_if_drained


def _hasty(_: Any) -> Any:
    def next_wait(self: backoff.Backoff, random: Any) -> float:
        self.failures += 1
        return 0.2

    return next_wait


def _deaf_to_floods(original: Any) -> Any:
    def refused(self: Polling, refusal: Refused, now: float) -> list[Effect]:
        return original(self, evolve(refusal, retry_after=None), now)  # type: ignore[no-any-return]

    return refused


def _indiscreet(original: Any) -> Any:
    def unreachable(self: Polling, failure: Any, now: float) -> list[Effect]:
        return [Log(f"https://telegram/bot42:{SECRET}/getUpdates"), *original(self, failure, now)]

    return unreachable


def _forgetful_of_time(original: Any) -> Any:
    def tick(self: Polling, now: float) -> list[Effect]:
        return [] if isinstance(self.state, polling.Pausing) else original(self, now)

    return tick


def _written_after_closing(original: Any) -> Any:
    def tick(self: Pool, now: float) -> Any:
        effects = original(self, now)
        closed = [effect.connection for effect in effects if isinstance(effect, Close)]
        return effects + [Send(connection, b"GET / HTTP/1.1\r\n\r\n") for connection in closed]

    return tick


def _never_confirmed(_: Any) -> Any:
    def handled(self: Polling, update_id: int) -> None:
        return

    return handled


def _requests_dropped(_: Any) -> Any:
    def answer(self: Webhook, delivery: Any, response: Response) -> list[Effect]:
        for request in delivery.requests:
            del self._waiting[request]
        delivery.requests = []
        return []

    return answer


# With an inbox


def _answered_before_stored(original: Any) -> Any:
    def keep(self: StoringWebhook, request: int, update: Update, now: float) -> list[Effect]:
        effects: list[Effect] = original(self, request, update, now)
        if not effects or not isinstance(effects[0], Store):
            return effects
        self._answer(request)
        return [*effects, Respond(request, Response(200))]

    return keep


def _confirmed_unstored(original: Any) -> Any:
    def store_failed(self: Polling, store: int, reason: str, now: float) -> list[Effect]:
        state = self.state
        effects: list[Effect] = original(self, store, reason, now)
        if isinstance(state, polling.Storing):
            self._offset = state.offset
        return effects

    return store_failed


def _run_before_stored(original: Any) -> Any:
    def stored_at_once(self: Polling, updates: list[Update], inbox: Inbox, now: float) -> list[Effect]:
        (store,) = original(self, updates, inbox, now)
        return [store, *inbox.stored(store.store, [update.update_id for update in store.updates], now)]

    return stored_at_once


def _freed_before_marked(original: Any) -> Any:
    def finished(self: Inbox, job: int, outcome: Outcome, now: float) -> list[Effect]:
        effects: list[Effect] = original(self, job, outcome, now)
        done = [effect for effect in effects if isinstance(effect, Mark) and effect.status is Status.DONE]
        return effects + (self.marked(done[0].mark, now) if done else [])

    return finished


def _first_not_kept(original: Any) -> Any:
    def opened(self: Inbox, kept: list[Kept], now: float, **of: bool) -> list[Effect]:
        return original(self, kept[1:], now, **of)  # type: ignore[no-any-return]

    return opened


def _newest_kept_first(original: Any) -> Any:
    def opened(self: Inbox, kept: list[Kept], now: float, **of: bool) -> list[Effect]:
        return original(self, kept[::-1], now, **of)  # type: ignore[no-any-return]

    return opened


def _all_is_fresh(original: Any) -> Any:
    def stored(self: Inbox, store: int, fresh: list[int], now: float) -> list[Effect]:
        everything = [update.update_id for update in self._stores.get(store, ())]
        return original(self, store, everything, now)  # type: ignore[no-any-return]

    return stored


def _memory_stopped_like_a_disk(original: Any) -> Any:
    def stop(self: Inbox, now: float) -> list[Effect]:
        durable, self.durable = self.durable, True
        effects: list[Effect] = original(self, now)
        self.durable = durable
        return effects

    return stop


def _taken_for_noted(original: Any) -> Any:
    def mark_failed(self: Inbox, mark: int, reason: str, now: float) -> list[Effect]:
        state = self._states.get(self._marks.get(mark, 0))
        if isinstance(state, inbox.Marking) and state.status is Status.DONE:
            return self.marked(mark, now)
        return original(self, mark, reason, now)  # type: ignore[no-any-return]

    return mark_failed


def _lamenting(_: Any) -> Any:
    def is_over(state: Any) -> bool:
        return False

    return is_over


def _tried_at_once(original: Any) -> Any:
    def marked(self: Inbox, mark: int, now: float) -> list[Effect]:
        effects: list[Effect] = original(self, mark, now)
        for job, state in self._states.items():
            if isinstance(state, inbox.Pausing):
                self._timers.set(job, now + 0.1)
        return effects

    return marked


def _not_tried_again(original: Any) -> Any:
    def marked(self: Inbox, mark: int, now: float) -> list[Effect]:
        effects: list[Effect] = original(self, mark, now)
        for job in self._states:
            self._timers.clear(job)
        return effects

    return marked


def _never_given_up(original: Any) -> Any:
    def init(self: Inbox, *, concurrency: int, max_attempts: int, seed: int = 0) -> None:
        original(self, concurrency=concurrency, max_attempts=1_000, seed=seed)

    return init


def _given_up_at_once(original: Any) -> Any:
    def judge(self: Inbox, update: Update, run: inbox.Running, outcome: Outcome) -> Any:
        return original(self, update, evolve(run, runs=self._max_attempts), outcome)

    return judge


def _begun_without_a_note(original: Any) -> Any:
    def begun(self: Inbox, effects: list[Effect], now: float) -> list[Effect]:
        durable, self.durable = self.durable, False
        begun: list[Effect] = original(self, effects, now)
        self.durable = durable
        return begun

    return begun


def _begun_before_it_is_noted(original: Any) -> Any:
    def begun(self: Inbox, effects: list[Effect], now: float) -> list[Effect]:
        out: list[Effect] = []
        for effect in original(self, effects, now):
            out.append(effect)
            if isinstance(effect, Mark) and effect.status is Status.RUNNING:
                out += self.marked(effect.mark, now)
        return out

    return begun


def _put_aside_as_done(original: Any) -> Any:
    def judge(self: Inbox, update: Update, run: inbox.Running, outcome: Outcome) -> Any:
        effects, marking = original(self, update, run, outcome)
        return effects, evolve(marking, status=Status.DONE)

    return judge


def _put_aside_in_silence(original: Any) -> Any:
    def judge(self: Inbox, update: Update, run: inbox.Running, outcome: Outcome) -> Any:
        effects, marking = original(self, update, run, outcome)
        return [effect for effect in effects if effect.verdict is not Verdict.GIVEN_UP], marking

    return judge


def _always_room(original: Any) -> Any:
    def keep(self: StoringWebhook, request: int, update: Update, now: float) -> list[Effect]:
        options, self.options = self.options, evolve(self.options, max_waiting=1_000)
        try:
            return original(self, request, update, now)  # type: ignore[no-any-return]
        finally:
            self.options = options

    return keep


def _hungry(original: Any) -> Any:
    def wants_updates(self: Polling, offset: int | None) -> bool:
        return self.inbox is not None or original(self, offset)

    return wants_updates


def _begun_in_a_stop(original: Any) -> Any:
    def marked(self: Inbox, mark: int, now: float) -> list[Effect]:
        phase, state = self.phase, self._states.get(self._marks.get(mark, 0))
        if isinstance(state, inbox.Marking) and state.status is Status.RUNNING and phase is inbox.Phase.STOPPING:
            self.phase = inbox.Phase.OPEN
        effects: list[Effect] = original(self, mark, now)
        self.phase = phase
        return effects

    return marked


def _late_without_an_answer(_: Any) -> Any:
    def late(self: StoringWebhook, request: int) -> list[Effect]:
        self._answer(request)
        return []

    return late


MUTATIONS = [
    Mutation("confirmed", "the offset passes what is not handled", Polling, "_next_offset", _offset_past_all),
    Mutation("confirmed", "every timeout answers 200", Webhook, "_decide", _always_return),
    Mutation("confirmed", "a host that freezes answers before the end", Webhook, "_time_is_up", _held_no_longer),
    Mutation("order", "the newest of a lane goes first", Lanes, "add", _newest_first),
    Mutation("lane", "updates of a lane do not wait for each other", Lanes, "add", _lanes_at_once),
    Mutation("once", "a repeated update does not join its run", Lanes, "job_of", _nothing_joins),
    Mutation("once", "handled updates are not remembered", Webhook, "_remember", _nothing_remembered),
    Mutation("attempts", "a webhook gives up after one failed run", Webhook, "_count_failure", _each_failure_the_last),
    Mutation("attempts", "a webhook never gives up", Webhook, "_count_failure", _no_failure_counts),
    Mutation("concurrency", "one run more than allowed", Lanes, "_start", _one_more_at_once),
    Mutation("answered", "requests are answered a second late", Webhook, "_attach", _a_second_late),
    Mutation("answered", "requests are forgotten when their run ends", Webhook, "_answer", _requests_dropped),
    Mutation(
        "reply", "methods that Telegram ignores travel in answers", webhook, "may_reply", lambda _: lambda name: True
    ),
    Mutation("loss", "a lost update is not reported", Webhook, "finished", _lost_in_silence),
    Mutation("memory", "bytes that came are kept", Server, "received", _hoarded),
    Mutation("stop", "a stop is not heard", Polling, "stop", _stop_unheard),
    Mutation("stop", "a stop counts as a failure", Polling, "_end", _failed_by_its_stop),
    Mutation("stop", "a webhook's run does not end", Webhook, "_ended_if_drained", _never_over),
    Mutation("hot loop", "polls follow each other at once", polling, "PACE", lambda _: 0.01),
    Mutation("back-off", "failures do not make it wait", backoff.Backoff, "next", _hasty),
    Mutation("back-off", "retry_after is ignored", Polling, "_refused", _deaf_to_floods),
    Mutation("secret", "a log shows the token", Polling, "_unreachable", _indiscreet),
    Mutation("law", "a tick leaves its deadline behind", Polling, "tick", _forgetful_of_time),
    Mutation("law", "a closed connection is written to", Pool, "tick", _written_after_closing),
    Mutation("alive", "what was handled is never confirmed", Polling, "_handled", _never_confirmed),
    Mutation("confirmed", "a webhook answers before it has stored", StoringWebhook, "_keep", _answered_before_stored),
    Mutation("confirmed", "the offset passes what is not stored", Polling, "store_failed", _confirmed_unstored),
    Mutation("order", "a lane is free before the inbox knows", Inbox, "finished", _freed_before_marked),
    Mutation("order", "the oldest that the inbox had is forgotten", Inbox, "opened", _first_not_kept),
    Mutation("order", "what was kept runs the newest first", Inbox, "opened", _newest_kept_first),
    Mutation("once", "updates run before they are stored", Polling, "_store", _run_before_stored),
    Mutation("once", "what the inbox knew is handed out again", Inbox, "stored", _all_is_fresh),
    Mutation("order", "what could not be noted is taken for noted", Inbox, "mark_failed", _taken_for_noted),
    Mutation("attempts", "failed updates are never given up", Inbox, "__init__", _never_given_up),
    Mutation("attempts", "failed updates are given up at once", Inbox, "_judge", _given_up_at_once),
    Mutation("attempts", "the inbox is not told that a run begins", Inbox, "_begun", _begun_without_a_note),
    Mutation("attempts", "a run begins before the inbox knows", Inbox, "_begun", _begun_before_it_is_noted),
    Mutation("answered", "requests are forgotten if storing is slow", StoringWebhook, "_late", _late_without_an_answer),
    Mutation("loss", "a stop drops what waits in memory", Inbox, "stop", _memory_stopped_like_a_disk),
    Mutation("loss", "what was done is reported as lost", inbox, "_is_over", _lamenting),
    Mutation("loss", "failed updates are noted as done", Inbox, "_judge", _put_aside_as_done),
    Mutation("loss", "updates are put aside in silence", Inbox, "_judge", _put_aside_in_silence),
    Mutation("memory", "a webhook takes more than may wait", StoringWebhook, "_keep", _always_room),
    Mutation("memory", "a poller takes more than may wait", Polling, "_wants_updates", _hungry),
    Mutation("stop", "what waits in the inbox begins in a stop", Inbox, "marked", _begun_in_a_stop),
    Mutation("back-off", "what failed is tried again at once", Inbox, "marked", _tried_at_once),
    Mutation("alive", "what failed is not tried again", Inbox, "marked", _not_tried_again),
    Mutation("alive", "what somebody put back is not heard of", Inbox, "found", lambda _: lambda *args: []),
]

if __name__ == "__main__":
    for each in MUTATIONS:
        found = caught(each, 500)
        said = "not caught" if found is None else f"caught by {found[2][0]!r} after {found[0]}"
        print(f"{each.invariant:12} {each.name:55} {said}")  # noqa: T201 - a script
