"""The control interface: every control does its thing, and nothing that is sent to it raises."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline.http import Request, body_bytes
from hookline.sim import control as controls
from tests.sansio.sim.client import BOT_ID, TOKEN, URL, Client


def send(client: Client, method: str, name: str, given: Any = None) -> tuple[int, Any]:
    """The status and the answer of a control."""
    body = () if given is None else (json.dumps(given).encode(),)
    request = client.send(Request(method, f"/_sim/{name}", (), body))
    response = client.responses[request][1]
    return response.status, json.loads(body_bytes(response.body))


def post(client: Client, name: str, **given: Any) -> Any:
    """The answer of a control that goes well."""
    status, answer = send(client, "POST", name, {"bot": BOT_ID} | given)
    assert status == 200, answer
    return answer


def test_a_message_comes_from_a_user_in_a_chat() -> None:
    """Private if no chat is named; its update's id is answered."""
    client = Client()
    first = post(client, "message", text="hi", user=7)["update_id"]
    second = post(client, "message", text="ho", user=7, chat=-5)["update_id"]
    one, two = client.fetch()
    assert (one["update_id"], two["update_id"]) == (first, second)
    assert (one["message"]["from"]["id"], one["message"]["chat"]["id"], one["message"]["text"]) == (7, 7, "hi")
    assert (two["message"]["from"]["id"], two["message"]["chat"]["id"]) == (7, -5)


def test_a_button_is_pressed_by_a_user() -> None:
    """In a message of the bot."""
    client = Client()
    update_id = post(client, "button", data="yes", user=7, chat=-5)["update_id"]
    (update,) = client.fetch()
    assert update["update_id"] == update_id
    press = update["callback_query"]
    assert (press["data"], press["from"]["id"], press["message"]["chat"]["id"]) == ("yes", 7, -5)
    assert press["message"]["from"]["id"] == BOT_ID


def test_any_update_can_be_made() -> None:
    """Of a kind that nobody knows, too."""
    client = Client()
    post(client, "update", kind='new "kind"', payload={"x": 1})
    assert client.fetch()[0]['new "kind"'] == {"x": 1}


def test_an_update_that_is_left_out_has_no_id() -> None:
    """The bot's allowed_updates decide (1.5)."""
    client = Client()
    assert post(client, "update", kind="chat_member", payload={}) == {"update_id": None}
    assert client.pending == 0


def test_an_element_that_is_no_update_can_be_made() -> None:
    """It is delivered as its text."""
    client = Client()
    post(client, "raw", text="[1, 2]")
    assert client.fetch() == [[1, 2]]


def test_an_update_can_be_dropped_and_ids_begun_anew() -> None:
    """A hole, and a jump (1.1)."""
    client = Client()
    ids = [post(client, "message")["update_id"] for _ in range(3)]
    post(client, "drop", update_id=ids[1])
    assert client.ids() == [ids[0], ids[2]]
    post(client, "ids", first=5)
    assert post(client, "message")["update_id"] == 5
    assert client.pending == 1


def test_a_fault_can_be_set() -> None:
    """With all its options."""
    client = Client()
    post(client, "fault", method="getMe", kind="error", code=418, description="x", retry_after=3, times=1, after=2)
    request = client.call("getMe")
    client.wait(2)
    assert client.answer(request)["parameters"] == {"retry_after": 3}


def test_idle_connections_can_be_closed() -> None:
    """Of clients and of the webhook."""
    client = Client()
    client.set_webhook()
    post(client, "idle")
    assert (client.slots, client.idle_closed) == (set(), 1)


def test_the_server_can_be_restarted() -> None:
    """What was being posted comes again (4.9)."""
    client = Client()
    client.set_webhook()
    update_id = client.message()
    post(client, "restart")
    assert [delivery.id for delivery in client.deliveries] == [update_id, update_id]


def test_a_token_can_be_revoked() -> None:
    """From now on (2.6)."""
    client = Client()
    post(client, "revoke")
    assert client.ask("getMe")["error_code"] == 401


def test_calls_and_state_can_be_read() -> None:
    """By GET, with the bot in the query."""
    client = Client()
    client.call("sendMessage", chat_id=1, text="hi")
    client.message()
    params = {"chat_id": "1", "text": "hi"}
    call = {"method": "sendmessage", "params": params, "files": [], "at": 0.0, "via": "api", "update_id": None}
    assert send(client, "GET", f"calls?bot={BOT_ID}") == (200, [call])
    client.set_webhook()
    status, state = send(client, "GET", f"state?bot={BOT_ID}")
    assert (status, state["pending"], state["webhook"]["url"]) == (200, 1, URL)


def test_a_command_takes_effect_at_once() -> None:
    """A pending poll, or a webhook, gets the update."""
    client = Client()
    poll = client.call("getUpdates", timeout=50)
    post(client, "message")
    client.wait(1)
    assert len(client.answer(poll)["result"]) == 1
    client.set_webhook()
    post(client, "message", user=2)
    assert len(client.deliveries) == 1


@pytest.mark.parametrize(
    ("method", "name", "given"),
    [
        ("POST", "message", None),
        ("POST", "message", {}),
        ("POST", "message", []),
        ("POST", "message", {"bot": "x"}),
        ("POST", "message", {"bot": 0}),
        ("POST", "message", {"bot": 1 << 60}),
        ("POST", "message", {"bot": BOT_ID, "user": "x"}),
        ("POST", "message", {"bot": BOT_ID, "chat": None}),
        ("POST", "update", {"bot": BOT_ID, "kind": "poll"}),
        ("POST", "raw", {"bot": BOT_ID}),
        ("POST", "drop", {"bot": BOT_ID}),
        ("POST", "ids", {"bot": BOT_ID, "first": 0}),
        ("POST", "ids", {"bot": BOT_ID, "first": 2_000_000_000}),
        ("POST", "fault", {"bot": BOT_ID}),
        ("POST", "fault", {"bot": BOT_ID, "kind": "unheard"}),
        ("POST", "fault", {"bot": BOT_ID, "kind": "close", "unheard": 1}),
        ("GET", "calls", None),
        ("GET", "calls?bot=x", None),
    ],
)
def test_what_is_wrong_is_answered_400(method: str, name: str, given: Any) -> None:
    """With what is wrong, and nothing has changed."""
    client = Client()
    status, answer = send(client, method, name, given)
    assert status == 400
    assert answer["error"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "missing: 'kind'"),
        ({"kind": "x"}, "kind must be one of error, html, empty, body, close, half, silent, not 'x'"),
        ({"kind": "close", "why": 1}, "a fault has no why"),
        ({"kind": "close", "times": "x"}, "'times' must be <class 'int'> (got 'x' that is a <class 'str'>)."),
    ],
)
def test_what_is_wrong_with_a_fault_is_one_sentence(given: dict[str, Any], said: str) -> None:
    assert send(Client(), "POST", "fault", {"bot": BOT_ID} | given) == (400, {"error": said})


@pytest.mark.parametrize(
    ("method", "name"), [("POST", "unheard"), ("GET", "message"), ("PUT", "message"), ("POST", "calls")]
)
def test_a_control_that_is_none_is_answered_404(method: str, name: str) -> None:
    """Also one by the wrong method."""
    assert send(Client(), method, name, {"bot": BOT_ID})[0] == 404


def test_every_control_of_the_list_is_known() -> None:
    """The list at the module's head."""
    listed = re.findall(r"(GET |POST) /_sim/(\w+)", controls.__doc__ or "")
    assert len(listed) == 12
    for method, name in listed:
        status, _ = send(Client(), method.strip(), f"{name}?bot={BOT_ID}")
        assert status != 404


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
GIVEN = st.dictionaries(
    st.sampled_from(
        ["bot", "text", "user", "chat", "data", "kind", "payload", "first", "update_id", "times", "code", "after"]
    ),
    st.sampled_from([BOT_ID, "message", "close", 1, -5, {}]) | JSON,
    max_size=6,
)
NAMES = st.sampled_from(
    ["message", "button", "update", "raw", "drop", "ids", "fault", "idle", "restart", "revoke", "calls", "state", "x"]
)


@given(name=NAMES, given=GIVEN, method=st.sampled_from(["GET", "POST"]))
def test_nothing_that_is_given_raises(name: str, given: dict[str, Any], method: str) -> None:
    """It is done, or answered 400 or 404; the bot can be asked on."""
    client = Client()
    status, _ = send(client, method, name, {"bot": BOT_ID} | given)
    assert status in (200, 400, 404)
    client.call("getUpdates")
    client.call("getMe", token=TOKEN)


@given(body=st.binary(max_size=40), target=st.text(max_size=20))
def test_nothing_that_is_sent_raises(body: bytes, target: str) -> None:
    """Whatever stands in its target and body."""
    client = Client()
    request = client.send(Request("POST", f"/_sim/{target}", (), (body,)))
    assert client.status(request) in (200, 400, 404)
