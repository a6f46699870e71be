"""Long polling under random runs: what holds whatever Telegram, the network, the handlers and the clock do."""

from __future__ import annotations

import copy
import itertools
import pickle
from collections import Counter
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hookline import PollingOptions
from hookline.effects import Fetch, Verdict
from hookline.outcomes import Cancelled, FetchOutcome, Raised, Refused, Result, Returned, Unreachable
from hookline.polling import Confirming, Draining, Fetching, Over
from tests.sansio.poller import ME, OTHER_POLLER, WEBHOOK_IS_SET, Poller, Queue, message

FAILURES: st.SearchStrategy[Refused | Unreachable] = st.sampled_from(
    [
        Unreachable("Connection refused"),
        Unreachable("an HTML page", 502),
        Refused(500, "Internal Server Error: restart"),
        Refused(429, "Too Many Requests: retry after 2", retry_after=2),
        OTHER_POLLER,
    ]
)
OUTCOMES = st.sampled_from([Returned(), Returned(), Raised("ValueError: no"), Cancelled()])


class Runs(RuleBasedStateMachine):
    """A bot, Telegram's queue, a network that loses answers, and handlers that end when they like."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = Queue()
        self.pushed: dict[int, int] = {}  # update id -> chat
        self.strangers = 0
        self.handled: list[int] = []
        self.options = PollingOptions()
        self.poller = Poller()
        self.seen = 0  # how much of the poller's trace was checked

    @initialize(
        concurrency=st.sampled_from([1, 2, 5]),
        limit=st.sampled_from([2, 3, 100]),
        confirm=st.sampled_from(["handled", "received"]),
    )
    def begin(self, concurrency: int, limit: int, confirm: Any) -> None:
        self.options = PollingOptions(concurrency=concurrency, limit=limit, confirm=confirm, conflict_grace=86_400)
        self.poller = Poller(self.options).start()

    # Telegram

    @rule(chat=st.integers(1, 3))
    def push(self, chat: int) -> None:
        self.pushed[self.queue.push(chat)] = chat

    @precondition(lambda self: self.pushed)
    @rule()
    def push_a_stranger(self) -> None:
        """Not as the very first: with no id known yet, a whole batch of strangers can't be passed over."""
        self.strangers += 1
        self.queue.push_raw({"stranger": self.strangers})

    @rule(ids=st.integers(1, 5))
    def skip_ids(self, ids: int) -> None:
        assume(len(self.queue.elements) > 0)  # else the next offset would lie far past the newest id
        self.queue.next += ids

    # The network

    @precondition(lambda self: self.poller.pending is not None)
    @rule()
    def answer(self) -> None:
        self.poller.answer(self.read_queue())

    @precondition(lambda self: self.poller.pending is not None)
    @rule(failure=FAILURES, arrived=st.booleans())
    def fail(self, failure: Refused | Unreachable, arrived: bool) -> None:
        """arrived: Telegram got the call, and the answer was lost."""
        if arrived:
            self.read_queue()
        self.poller.outcome(failure)

    @precondition(lambda self: self.poller.pending is not None)
    @rule(arrived=st.booleans(), late=st.booleans())
    def say_nothing(self, arrived: bool, late: bool) -> None:
        pending = self.poller.pending
        assert pending is not None
        answer = self.read_queue() if arrived else []
        self.poller.wait(pending.timeout)
        if late:
            assert self.poller.tell("fetched", pending.fetch, Result(answer)) == []

    def read_queue(self) -> list[Any]:
        assert self.poller.pending is not None
        return self.queue.get(self.poller.offset, self.poller.pending.params["limit"])

    # Handlers and the clock

    @precondition(lambda self: self.poller.running)
    @rule(data=st.data(), outcome=OUTCOMES)
    def finish(self, data: st.DataObject, outcome: Any) -> None:
        update_id = data.draw(st.sampled_from(sorted(self.poller.running)))
        before = self.poller.machine.state
        self.poller.finish(update_id, outcome)
        left = isinstance(before, (Confirming, Over)) or (
            isinstance(before, Draining) and isinstance(outcome, Cancelled)
        )
        if not left:
            self.handled.append(update_id)

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.3, 0.75, 3.0]))
    def pass_time(self, seconds: float) -> None:
        pending = self.poller.pending
        deadline = self.poller.machine.deadline
        if pending is not None and deadline is not None:  # an overdue answer has a rule of its own
            seconds = min(seconds, max(0.0, (deadline - self.poller.now) / 2))
        self.poller.wait(seconds)

    @rule()
    def tick(self) -> None:
        """Early, mostly: `Poller.tick` checks that it does nothing then."""
        self.poller.tick()

    @rule()
    def copy(self) -> None:
        self.poller.machine = pickle.loads(pickle.dumps(copy.deepcopy(self.poller.machine)))

    @precondition(lambda self: self.poller.handed and len(self.pushed) > 5)
    @rule()
    def stop(self) -> None:
        self.poller.tell("stop")

    # What holds

    @invariant()
    def nothing_unhandled_is_confirmed(self) -> None:
        """No offset lies past an update that was not handled (or received), and none is lost."""
        done = set(self.handled if self.options.confirm == "handled" else self.poller.handed)
        if self.options.confirm == "received":
            done |= {job.update.update_id for job in self.poller.machine.lanes.jobs()}
        assert set(self.pushed) <= done | set(self.queue.elements)
        for _, effect in self.poller.trace[self.seen :]:
            if isinstance(effect, Fetch) and effect.method == "getUpdates":
                below = {update_id for update_id in self.pushed if update_id < effect.params.get("offset", 0)}
                assert below <= done
        self.seen = len(self.poller.trace)

    @invariant()
    def each_update_is_handed_out_once_and_as_sent(self) -> None:
        assert all(times == 1 for times in Counter(self.poller.handed).values())
        assert set(self.poller.handed) <= set(self.pushed)

    @invariant()
    def a_chat_has_one_update_at_a_time_in_order(self) -> None:
        chats = [self.pushed[update_id] for update_id in self.poller.running]
        assert len(set(chats)) == len(chats) <= self.options.concurrency
        for chat in set(self.pushed.values()):
            of_chat = [update_id for update_id in self.poller.handed if self.pushed[update_id] == chat]
            assert sorted(of_chat) == of_chat

    @invariant()
    def polls_of_one_offset_are_spaced(self) -> None:
        polls = self.poller.polls
        if isinstance(self.poller.machine.state, Fetching):  # the last poll of a stop does not wait
            for (earlier, one), (later, other) in itertools.pairwise(polls):
                assert one != other or later - earlier > 0.5

    @invariant()
    def what_is_held_is_bounded(self) -> None:
        limit = 100 if self.strangers else self.options.limit  # more is asked for where one fills an answer
        assert len(self.poller.machine.lanes.jobs()) <= 2 * limit + self.options.concurrency

    def teardown(self) -> None:
        """When all is well again, every update gets handled, and none stays at Telegram; after a stop, what is left."""
        if not self.poller.trace:
            return
        stopping = isinstance(self.poller.machine.state, (Draining, Confirming, Over))
        for _ in range(20 * (len(self.pushed) + self.strangers) + 60):
            for update_id in list(self.poller.running) if not self.poller.ended else ():
                self.finish_well(update_id)
            if self.poller.pending is not None:
                self.poller.answer(self.read_queue())
            self.nothing_unhandled_is_confirmed()
            if self.poller.ended or (not stopping and not self.queue.elements and not self.poller.running):
                break
            if not stopping and self.poller.pending is None and not self.poller.running:
                self.poller.next_poll()
        if stopping:
            assert self.poller.ended == [None]
        else:
            assert sorted(self.pushed) == sorted(self.poller.handed) == sorted(self.handled)
            assert self.queue.elements == {}
        assert len(self.poller.reports(Verdict.NOT_AN_UPDATE)) <= self.strangers

    def finish_well(self, update_id: int) -> None:
        """A handler ends."""
        confirming = isinstance(self.poller.machine.state, Confirming)
        self.poller.finish(update_id)
        if not confirming:
            self.handled.append(update_id)


TestRuns = pytest.mark.exhaustive(Runs.TestCase)
TestRuns.settings = settings(max_examples=100, stateful_step_count=60)


# Whatever Telegram says

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["update_id", "message", "x"]), inner),
    max_leaves=5,
)
ELEMENTS = st.builds(message, st.integers(0, 30) | st.integers(0, 2**70), st.integers(1, 3)) | JSON
ANSWERS: st.SearchStrategy[FetchOutcome] = (
    st.builds(Result, st.lists(ELEMENTS, max_size=6))
    | st.builds(Result, st.just(ME) | st.just(True) | JSON)
    | FAILURES
    | st.builds(
        Refused, st.sampled_from([400, 403, 409, 429, 500]), st.text(max_size=5), st.floats(-1, 1e6) | st.none()
    )
    | st.sampled_from([Refused(401, "Unauthorized"), Refused(400, "Logged out"), WEBHOOK_IS_SET])
)
STEPS = st.one_of(
    st.tuples(st.just("answer"), ANSWERS),
    st.tuples(st.just("answer"), st.builds(Result, st.lists(ELEMENTS, max_size=6))),
    st.tuples(st.just("finish"), OUTCOMES),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.05, 1.0, 70.0])),
    st.tuples(st.just("stop"), st.none()),
)
OPTIONS = st.builds(
    PollingOptions,
    concurrency=st.sampled_from([1, 3]),
    limit=st.sampled_from([1, 4, 100]),
    confirm=st.sampled_from(["handled", "received"]),
    on_error=st.sampled_from(["pass", "stop"]),
    grace=st.sampled_from([0, 20]),
    conflict_grace=st.sampled_from([0, 60]),
)


@given(options=OPTIONS, steps=st.lists(STEPS, max_size=40))
def test_whatever_telegram_says_the_law_holds(options: PollingOptions, steps: list[tuple[str, Any]]) -> None:
    """Nothing raises, no state is reached that the table does not know, and `Poller` finds the law kept; it can end."""
    poller = Poller(options)
    poller.tell("start")
    for step, value in steps:
        if step == "answer" and poller.pending is not None:
            poller.outcome(value)
        elif step == "finish" and poller.running:
            poller.finish(min(poller.running), value)
        elif step == "wait":
            poller.wait(value)
        elif step == "stop":
            poller.tell("stop")
        assert poller.machine.progress.running <= options.concurrency
        if poller.pending is not None and poller.pending.method == "getUpdates":
            assert (poller.offset or 0) >= 0, "a negative offset deletes updates unseen"
    poller.tell("stop")
    poller.wait(100)

    assert len(poller.ended) == 1
