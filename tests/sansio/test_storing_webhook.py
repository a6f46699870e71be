"""A webhook with an inbox: a request is answered when its update is stored, and only then by 200."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest

from hookline.effects import Effect, Ended, Handle, Log, Mark, Open, Report, Respond, Status, Store, Verdict
from hookline.errors import LocalProtocolError, OptionError
from hookline.http import Request, values_of
from hookline.options import WebhookOptions
from hookline.outcomes import Raised
from hookline.storing_webhook import MAX_JOINED, StoringWebhook
from tests.sansio.keeper import Keeper, kept

JSON = ("content-type", "application/json")


def post(update_id: int, chat: int | None = None, **fields: Any) -> Request:
    """A request with an update, in a chat of its own unless told."""
    message = {"chat": {"id": update_id if chat is None else chat, "type": "private"}, "text": "hi"}
    return Request("POST", "/", (JSON,), (json.dumps({"update_id": update_id, "message": message} | fields).encode(),))


class Hook(Keeper):
    """A webhook with an inbox."""

    def __init__(self, **options: Any) -> None:
        super().__init__(StoringWebhook(WebhookOptions(confirm="stored", **options)))
        self.requests = 0

    def ask(self, update_id: int, chat: int | None = None) -> list[Effect]:
        """A request comes; requests are numbered 1, 2, ..."""
        self.requests += 1
        return self.tell("requested", self.requests, post(update_id, chat))

    @property
    def answers(self) -> list[tuple[int, int]]:
        """Each request that was answered, and its status."""
        return [(effect.request, effect.response.status) for effect in self.of(Respond)]


def hook(**options: Any) -> Hook:
    """One that serves."""
    found = Hook(**options)
    found.tell("start")
    found.opened()
    return found


# A request and its answer


def test_a_request_is_answered_when_its_update_is_stored_and_not_before() -> None:
    webhook = hook()
    (store,) = webhook.ask(10)
    assert isinstance(store, Store)
    assert [update.update_id for update in store.updates] == [10]
    assert webhook.answers == []
    webhook.stored()
    assert webhook.answers == [(1, 200)]
    assert webhook.handed == [10]


def test_the_answer_goes_out_before_the_handler_begins() -> None:
    webhook = hook()
    webhook.ask(10)
    assert [type(effect) for effect in webhook.stored()] == [Respond, Mark, Handle]


def test_a_slow_handler_keeps_no_request_waiting_and_its_chat_in_order() -> None:
    webhook = hook()
    webhook.ask(10, chat=1)
    webhook.stored()
    webhook.now += 3_600.0
    webhook.ask(11, chat=1)
    webhook.stored()
    assert webhook.answers == [(1, 200), (2, 200)]
    assert webhook.handed == [10]
    webhook.finish(10)
    webhook.marked()
    assert webhook.handed == [10, 11]


def test_what_could_not_be_stored_is_answered_503_so_that_telegram_sends_it_again() -> None:
    webhook = hook(retry_after=7)
    webhook.ask(10)
    webhook.tell("store_failed", 1, "the disk is full")
    (respond,) = webhook.of(Respond)
    assert respond.response.status == 503
    assert values_of(respond.response.headers, "retry-after") == ["7"]
    assert webhook.reports(Verdict.NOT_STORED) == [10]
    webhook.ask(10)
    webhook.stored()
    assert webhook.answers[-1] == (2, 200)


def test_what_is_not_stored_in_time_is_answered_503_and_handled_when_it_is() -> None:
    webhook = hook(timeout=3.0)
    webhook.ask(10)
    assert webhook.machine.deadline == webhook.now + 3.0
    assert webhook.machine.reason == "a request's time is up"
    webhook.wait(3.0)
    assert webhook.answers == [(1, 503)]
    assert webhook.reports(Verdict.NOT_STORED) == [10]
    webhook.stored()
    assert webhook.handed == [10]
    assert webhook.answers == [(1, 503)]


def test_a_failed_run_is_the_inboxs_affair_and_not_telegrams() -> None:
    webhook = hook()
    webhook.ask(10)
    webhook.stored()
    webhook.finish(10, Raised("ValueError"))
    webhook.marked()
    assert webhook.machine.reason == "an update is tried again, or the inbox is told again"
    webhook.wait(1.0)
    assert webhook.handed == [10, 10]
    assert webhook.answers == [(1, 200)]


# What comes again


def test_an_update_in_hand_is_answered_200_at_once() -> None:
    webhook = hook()
    webhook.ask(10)
    webhook.stored()
    assert [type(effect) for effect in webhook.ask(10)] == [Respond]
    assert webhook.answers == [(1, 200), (2, 200)]


def test_what_the_store_has_as_done_is_answered_200_and_does_not_run() -> None:
    webhook = hook()
    webhook.ask(10)
    webhook.tell("stored", 1, ())
    assert webhook.answers == [(1, 200)]
    assert webhook.handed == []


def test_an_update_that_is_being_stored_is_stored_once_for_all_its_requests() -> None:
    webhook = hook()
    webhook.ask(10)
    assert webhook.ask(10) == []
    webhook.stored()
    assert webhook.answers == [(1, 200), (2, 200)]
    assert webhook.handed == [10]


def test_no_more_than_so_many_requests_wait_for_one_update() -> None:
    webhook = hook()
    for _ in range(MAX_JOINED + 1):
        webhook.ask(10)
    assert webhook.answers == [(MAX_JOINED + 1, 503)]
    assert webhook.machine.waiting_requests == MAX_JOINED


def test_when_a_client_has_gone_its_update_is_stored_and_handled_all_the_same() -> None:
    webhook = hook()
    webhook.ask(10)
    webhook.tell("disconnected", 1)
    assert webhook.machine.waiting_requests == 0
    webhook.stored()
    assert webhook.answers == []
    assert webhook.handed == [10]


# Limits and rejections


def test_when_more_wait_than_may_the_answer_is_503() -> None:
    webhook = hook(concurrency=1, max_waiting=1)
    for update_id in (10, 11, 12):
        webhook.ask(update_id)
        if update_id != 12:
            webhook.stored()
    webhook.stored()
    webhook.ask(13)
    assert webhook.answers[-1] == (4, 503)
    assert webhook.reports(Verdict.REQUEST_REJECTED) == [13]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (Request("GET", "/", (JSON,), ()), 405),
        (Request("POST", "/other", (JSON,), ()), 404),
        (Request("POST", "/", (), ()), 415),
        (Request("POST", "/", (JSON,), (b"{",)), 400),
        (Request("POST", "/", (JSON,), (b"[]",)), 400),
    ],
)
def test_what_is_no_update_of_telegrams_is_rejected_as_by_any_webhook(request_: Request, status: int) -> None:
    webhook = hook()
    webhook.tell("requested", 1, request_)
    assert webhook.answers == [(1, status)]
    assert webhook.of(Store) == []
    assert len(webhook.of(Report)) == 1


# The start and the stop


def test_requests_wait_for_the_inbox_that_is_being_opened() -> None:
    webhook = Hook()
    webhook.ask(10)
    assert webhook.answers == [(1, 503)], "it was not started"
    assert webhook.tell("start") == [Open()]
    (store,) = webhook.ask(10)
    assert isinstance(store, Store)
    assert not webhook.machine.serving
    webhook.opened()
    assert webhook.machine.serving
    webhook.stored()
    assert webhook.answers[1:] == [(2, 200)]
    assert webhook.handed == [10]


@pytest.mark.parametrize(("fact", "args"), [("open_failed", ("no",)), ("stop", ())])
def test_requests_that_wait_for_an_inbox_in_vain_get_503(fact: str, args: tuple[str, ...]) -> None:
    webhook = Hook()
    webhook.tell("start")
    webhook.ask(10)
    assert isinstance(webhook.tell(fact, *args)[-1], Ended)
    assert webhook.answers == [(1, 503)]
    assert webhook.machine.deadline is None


def test_a_request_waits_for_an_inbox_no_longer_than_it_may() -> None:
    webhook = Hook(timeout=3.0)
    webhook.tell("start")
    webhook.ask(10)
    webhook.wait(3.0)
    assert webhook.answers == [(1, 503)]


def test_what_the_inbox_had_is_handled_at_the_start() -> None:
    webhook = Hook()
    webhook.tell("start")
    webhook.opened(kept(7, 8))
    assert webhook.handed == [7, 8]
    assert webhook.machine.progress.running == 2


def test_an_inbox_that_cannot_be_opened_ends_the_run() -> None:
    webhook = Hook()
    webhook.tell("start")
    assert webhook.tell("open_failed", "it is not a database") == [
        Ended("the inbox could not be opened: it is not a database")
    ]
    webhook.ask(10)
    assert webhook.answers == [(1, 503)]


@pytest.mark.parametrize("started", [False, True])
def test_a_stop_before_the_inbox_is_open_ends_the_run(started: bool) -> None:
    webhook = Hook()
    if started:
        webhook.tell("start")
    assert webhook.tell("stop") == [Ended()]
    assert webhook.tell("stop") == []
    if started:
        assert webhook.tell("opened", kept(7), durable=True) == []
        assert webhook.tell("open_failed", "no") == []


def test_a_stop_waits_for_what_runs_and_for_what_is_being_stored() -> None:
    webhook = hook()
    webhook.ask(10)
    webhook.stored()
    webhook.ask(11)
    assert webhook.tell("stop") == [Log("stopping: 1 running, with 20 s to end (update 10)")]
    webhook.ask(12)
    webhook.stored()
    assert webhook.answers == [(1, 200), (3, 503), (2, 200)]
    webhook.finish(10)
    assert webhook.marked() == [Ended()]
    assert webhook.handed == [10]


def test_a_stop_says_that_what_waits_is_left_in_the_inbox() -> None:
    webhook = hook()
    for update_id in (10, 11):
        webhook.ask(update_id, chat=1)
        webhook.stored()
    assert webhook.tell("stop") == [
        Log("stopping: 1 running, with 20 s to end (update 10); 1 waiting, left in the inbox")
    ]


def test_when_the_grace_time_ends_what_waits_for_the_store_is_answered_503() -> None:
    webhook = hook(grace=5.0, timeout=30.0)
    webhook.ask(10)
    webhook.stored()
    webhook.ask(11)
    webhook.tell("stop")
    assert webhook.machine.reason == "the grace time of running handlers ends"
    webhook.wait(5.0)
    assert webhook.answers == [(1, 200), (2, 503)]
    assert webhook.marks[-1] == (10, Status.WAITING, 0)
    assert webhook.effects[-1] == Ended()
    assert webhook.tell("stored", 2, (11,)) == []
    assert webhook.machine.deadline is None


def test_a_second_stop_ends_the_grace_time() -> None:
    webhook = hook()
    webhook.ask(10)
    webhook.stored()
    webhook.tell("stop")
    assert webhook.tell("stop")[-1] == Ended()
    assert webhook.machine.over


# The law


def test_wrong_use_raises_and_changes_nothing() -> None:
    webhook = hook()
    webhook.ask(10)
    before = pickle.dumps(webhook.machine)
    with pytest.raises(LocalProtocolError, match="request 1 was told before"):
        webhook.tell("requested", 1, post(10))
    with pytest.raises(LocalProtocolError, match="started before"):
        webhook.tell("start")
    assert pickle.dumps(webhook.machine) == before


@pytest.mark.parametrize("again", [copy.deepcopy, lambda machine: pickle.loads(pickle.dumps(machine))])
def test_a_copy_goes_on_the_same(again: Any) -> None:
    def effects(between: Any) -> list[Effect]:
        webhook = hook()
        for update_id in range(10, 15):
            webhook.ask(update_id, chat=update_id % 2)
            webhook.machine = between(webhook.machine)
            webhook.stored()
        webhook.machine = between(webhook.machine)
        webhook.finish(10)
        webhook.marked()
        webhook.tell("stop")
        return webhook.effects

    assert effects(again) == effects(lambda machine: machine)


def test_a_host_that_freezes_cannot_handle_what_it_has_answered() -> None:
    with pytest.raises(OptionError, match="confirm must be 'handled' here"):
        WebhookOptions(confirm="stored", freezes=True)


@pytest.mark.parametrize("fact", [("stop",), ("open_failed", "no such folder")])
def test_what_is_stored_after_an_end_that_came_before_the_inbox_was_open_does_not_begin(fact: tuple[str, ...]) -> None:
    webhook = Hook()
    webhook.tell("start")
    webhook.ask(5)
    webhook.tell(*fact)
    assert webhook.answers == [(1, 503)]
    assert isinstance(webhook.effects[-1], Ended)
    assert webhook.stored(5) == []
    assert webhook.handed == []
