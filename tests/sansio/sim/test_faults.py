"""Faults on demand, and each fault of the checklist in telegram-server.md, 7: how it is brought about, what is seen."""

from __future__ import annotations

from typing import Any

import pytest

from hookline.http import body_bytes
from hookline.sim import Fault
from hookline.sim.effects import HangUp
from tests.sansio.sim.client import BOT_ID, Client


def served(**params: Any) -> Client:
    """A bot with a webhook whose endpoint has just acknowledged an update."""
    client = Client()
    client.set_webhook(**params)
    client.message(user=999)
    client.reply_all()
    return client


# In place of being carried out


@pytest.mark.parametrize(
    ("options", "status", "content_type", "body"),
    [
        (
            {"kind": "error"},
            500,
            "application/json",
            b'{"ok":false,"error_code":500,"description":"Internal Server Error"}',
        ),
        ({"kind": "html", "code": 502}, 502, "text/html", b"<html><body><h1>502 from a proxy</h1></body></html>"),
        ({"kind": "empty", "code": 413}, 413, None, b""),
        ({"kind": "body", "body": "[[["}, 200, "application/json", b"[[["),
    ],
    ids=["error", "html", "empty", "body"],
)
def test_a_call_is_answered_something_else_and_not_carried_out(
    options: Any, status: int, content_type: str | None, body: bytes
) -> None:
    """An error, a proxy's page, no body, any body."""
    client = Client()
    client.fault(**options)
    request = client.call("setMyCommands", commands=[{"command": "a", "description": "b"}])
    response = client.responses[request][1]
    headers = dict(response.headers)
    assert (response.status, headers.get("content-type"), body_bytes(response.body)) == (status, content_type, body)
    assert headers["content-length"] == str(len(body))
    assert client.ask("getMyCommands")["result"] == []


# Carried out, and its answer lost


@pytest.mark.parametrize(
    ("kind", "part"), [("close", b""), ("half", b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"ok":true,"resu')]
)
def test_a_call_is_carried_out_and_its_connection_closed(kind: str, part: bytes) -> None:
    """After nothing, or after a part of an answer."""
    client = Client()
    client.fault(kind)
    request = client.call("setMyCommands", commands=["x"])
    assert request not in client.responses
    assert client.hang_ups[request] == (0.0, HangUp(request, part))
    assert client.ask("getMyCommands")["result"] == ["x"]


def test_a_call_is_carried_out_and_never_answered() -> None:
    """The connection stays open."""
    client = Client()
    client.fault("silent")
    request = client.call("setMyCommands", commands=["x"])
    client.wait(10_000)
    assert request not in client.responses
    assert request not in client.hang_ups
    assert client.ask("getMyCommands")["result"] == ["x"]


def test_a_lost_answer_to_getupdates_has_confirmed_and_lost_nothing() -> None:
    """What it returned is there for the next call (2.2)."""
    client = Client()
    ids = [client.message() for _ in range(3)]
    client.fault("close", method="getUpdates")
    client.call("getUpdates", offset=ids[1])
    assert client.pending == 2
    assert client.ids(offset=ids[1] + 1) == ids[2:]


# Which calls


def test_a_fault_befalls_so_many_calls_of_its_method() -> None:
    """Others pass; then it is over."""
    client = Client()
    client.fault("error", method="SetMyName", times=2)
    assert client.ask("getMe")["ok"]
    assert [client.ask("setMyName")["ok"] for _ in range(3)] == [False, False, True]


def test_a_fault_without_a_method_befalls_any_call() -> None:
    """Of the API: deliveries have a name of their own."""
    client = Client()
    client.fault("error", times=2)
    assert [client.ask(method)["ok"] for method in ("getMe", "unheardOf")] == [False, False]
    client.fault("error")
    client.wait(1)
    request = client.call("setWebhook", url="http://endpoint/")
    assert client.status(request) == 500


def test_faults_befall_in_the_order_in_which_they_were_set() -> None:
    """One after the other, for a method each."""
    client = Client()
    client.fault("error", code=501)
    client.fault("error", code=502, method="getMe")
    client.fault("error", code=503)
    assert [client.ask("getMe").get("error_code") for _ in range(4)] == [501, 502, 503, None]


def test_a_faulty_call_is_among_the_calls_that_were_made() -> None:
    """Whatever became of it."""
    client = Client()
    client.fault("close")
    client.call("sendMessage", chat_id=1, text="hi")
    assert [call.method for call in client.telegram.calls(BOT_ID)] == ["sendmessage"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"kind": "unheard"}, ValueError),
        ({"kind": "error", "times": 0}, ValueError),
        ({"kind": "error", "times": 1.5}, TypeError),
        ({"kind": "error", "code": 199}, ValueError),
        ({"kind": "error", "code": 600}, ValueError),
        ({"kind": "error", "code": "500"}, TypeError),
        ({"kind": "error", "retry_after": -1}, ValueError),
        ({"kind": "error", "migrate_to_chat_id": "x"}, TypeError),
        ({"kind": "error", "description": None}, TypeError),
        ({"kind": "body", "body": b"x"}, TypeError),
        ({"kind": "error", "method": 5}, TypeError),
        ({"kind": "close", "after": -1}, ValueError),
        ({"kind": "close", "after": 3_601}, ValueError),
        ({"kind": "close", "after": float("nan")}, ValueError),
        ({"kind": "close", "after": "x"}, ValueError),
        ({"kind": "close", "after": 1, "method": "delivery"}, ValueError),
    ],
)
def test_a_fault_that_cannot_be_is_refused(options: Any, error: type[Exception]) -> None:
    """When it is made."""
    with pytest.raises(error):
        Fault(**options)


# The checklist (7)


@pytest.mark.parametrize(
    ("code", "description", "retry_after"),
    [
        (409, "Conflict: terminated by other setWebhook", None),
        (429, "Too Many Requests: retry after 7", 7),
        (500, "Internal Server Error: restart", None),
        (401, "Unauthorized", None),
        (400, "Logged out", None),
        (421, "Misdirected Request: unallowed token specified", None),
    ],
)
def test_any_error_of_the_server_comes_on_demand(code: int, description: str, retry_after: int | None) -> None:
    """As the server words it; a wait is in the parameters and in the header (2.5 to 2.7, 5.4)."""
    client = Client()
    client.fault("error", code=code, description=description, retry_after=retry_after)
    request = client.call("getUpdates")
    parameters = {} if retry_after is None else {"parameters": {"retry_after": retry_after}}
    assert client.answer(request) == {"ok": False, "error_code": code, "description": description} | parameters
    header = dict(client.responses[request][1].headers).get("retry-after")
    assert header == (None if retry_after is None else str(retry_after))


def test_an_error_may_come_late() -> None:
    """As flood control holds a request for 3 s (2.7)."""
    client = Client()
    client.fault("error", code=429, description="Too Many Requests: retry after 60", retry_after=60, after=3)
    request = client.call("sendMessage", chat_id=1, text="hi")
    client.wait(5)
    assert client.answered_at(request) == 3.0
    assert client.status(request) == 429


def test_a_poll_is_closed_in_the_middle_of_its_wait() -> None:
    """It stays pending in the server; the next one succeeds, and the abandoned one's 409 is heard by nobody (2.4)."""
    client = Client()
    client.fault("close", method="getUpdates", after=10)
    poll = client.call("getUpdates", timeout=50)
    client.wait(10)
    assert client.hang_ups[poll][0] == 10.0
    following = client.call("getUpdates", timeout=50)
    update_id = client.message()
    client.wait(1)
    assert [update["update_id"] for update in client.answer(following)["result"]] == [update_id]
    assert poll not in client.responses


def test_a_poll_that_is_to_be_closed_loses_its_answer_too() -> None:
    """An update that comes before is not lost by that (2.4)."""
    client = Client()
    client.fault("close", method="getUpdates", after=10)
    poll = client.call("getUpdates", timeout=50)
    update_id = client.message()
    client.wait(20)
    assert poll not in client.responses
    assert client.ids() == [update_id]


def test_a_held_409_whose_answer_is_lost_is_not_given() -> None:
    """It is paced all the same (2.5)."""
    client = Client()
    client.set_webhook()
    client.ask("getUpdates")
    client.fault("silent", method="getUpdates")
    held = client.call("getUpdates")
    client.wait(10)
    assert held not in client.responses


def test_a_client_that_goes_before_its_connection_is_closed_hears_nothing() -> None:
    """There is nothing left to close."""
    client = Client()
    client.fault("close", after=10)
    request = client.call("getMe")
    client.perform(client.telegram.disconnected(request, client.now))
    client.wait(20)
    assert request not in client.hang_ups


def test_an_answer_that_is_lost_makes_a_duplicate_after_60_s() -> None:
    """Telegram never hears it, and sends the update again when its time is up (4.5, 4.6)."""
    client = served()
    update_id = client.message()
    client.fault("silent", method="delivery")
    client.reply(client.waiting[0])
    client.wait(59.9)
    assert client.pending == 1
    client.wait(0.2)
    assert [delivery.id for delivery in client.deliveries[1:]] == [update_id, update_id]
    client.reply_all()
    assert client.pending == 0


def test_an_answer_whose_connection_broke_makes_a_duplicate_at_once() -> None:
    """The first retry is immediate (4.6)."""
    client = served()
    update_id = client.message()
    (delivery,) = client.waiting
    client.fault("close", method="delivery")
    client.reply(delivery)
    assert delivery.post.slot not in client.slots
    assert [(again.id, again.at) for again in client.waiting] == [(update_id, client.now)]


@pytest.mark.parametrize("kind", ["close", "half"])
def test_a_lost_answer_carries_no_call(kind: str) -> None:
    """Nothing of it was heard (4.7)."""
    client = served()
    client.message()
    client.fault(kind, method="delivery")
    client.reply(client.waiting[0], headers=(("content-type", "application/json"),), body=b'{"method": "sendMessage"}')
    assert [call for call in client.telegram.calls(BOT_ID) if call.via == "webhook reply"] == []


def test_a_proxy_before_the_endpoint_answers_for_it() -> None:
    """The endpoint's 200 becomes a 502, and the update comes again (4.6, 4.8)."""
    client = served()
    update_id = client.message()
    client.fault("html", method="delivery", code=502)
    client.reply(client.waiting[0])
    assert client.webhook["last_error_message"] == "Wrong response from the webhook: 502 Bad Gateway"
    assert [delivery.id for delivery in client.waiting] == [update_id]


def test_a_proxys_wait_is_honoured() -> None:
    """Retry-After on any non-2xx (4.6)."""
    client = served()
    client.message()
    client.fault("error", method="delivery", code=503, retry_after=30)
    client.reply(client.waiting[0])
    client.wait(29)
    assert client.waiting == []
    client.wait(2)
    assert len(client.waiting) == 1


def test_a_lost_answer_whose_connection_the_endpoint_closes_is_a_failed_attempt() -> None:
    """It is not waited for any longer (4.1)."""
    client = served()
    update_id = client.message()
    (delivery,) = client.waiting
    client.fault("silent", method="delivery")
    client.reply(delivery)
    client.wait(5)
    client.lose(delivery)
    assert [(again.id, again.at) for again in client.waiting] == [(update_id, 5.0)]


def test_the_range_of_ids_jumps_down() -> None:
    """By `restart_ids`: what is stored is dropped (1.1)."""
    client = Client()
    client.telegram.restart_ids(BOT_ID, 1_000_000)
    client.message()
    client.telegram.restart_ids(BOT_ID, 1_000)
    assert client.message() == 1_000
    assert client.ids(offset=1_000_001) == [1_000], "a stale offset loses nothing (2.2)"


def test_ids_have_holes() -> None:
    """By `drop`, as an update leaves one that has expired (1.1)."""
    client = Client()
    ids = [client.message() for _ in range(4)]
    client.telegram.drop(BOT_ID, ids[1])
    client.telegram.drop(BOT_ID, 5)
    assert client.ids() == [ids[0], *ids[2:]]


def test_a_callback_and_a_message_of_one_chat_are_posted_in_parallel() -> None:
    """They have different queues (4.3)."""
    client = served()
    client.message(user=7)
    client.inject("callback_query", client.telegram.button_press(BOT_ID, "x", client.now, user=7))
    assert len(client.waiting) == 2


def test_idle_connections_are_closed_by_telegram() -> None:
    """By `close_idle`: those of clients, and those to the endpoint that carry nothing (4.1, 5.4)."""
    client = served()
    client.message()
    (busy,) = client.slots
    client.reply_all()
    client.message(user=1)
    client.message(user=2)
    client.reply(client.waiting[1])
    idle = client.slots - {busy}
    assert len(idle) == 1
    client.perform(client.telegram.close_idle(BOT_ID, client.now))
    assert client.slots == {busy}
    assert client.idle_closed == 1


def test_a_first_burst_goes_over_one_connection() -> None:
    """Without a success before (4.1)."""
    client = Client()
    client.set_webhook()
    for user in range(20):
        client.message(user=user + 1)
    assert len(client.waiting) == 1
