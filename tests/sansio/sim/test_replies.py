"""The method call in a webhook's response, and responses that can't be read (telegram-server.md, 4.7)."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from hookline.http import Headers
from hookline.sim import Call
from tests.sansio.sim.client import BOT_ID, FORM_TYPE, JSON_TYPE, MULTIPART_TYPE, Client, multipart


def replied(body: bytes | dict[str, Any], *headers: tuple[str, str], status: int = 200) -> tuple[Client, list[Call]]:
    """An endpoint that answers one update with this body, and the calls that the bot has made by it."""
    client = Client()
    client.set_webhook()
    client.message()
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    client.reply(client.waiting[0], status, headers=headers or (JSON_TYPE,), body=data)
    return client, [call for call in client.telegram.calls(BOT_ID) if call.via == "webhook reply"]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b'{"method": "sendMessage", "chat_id": 1, "text": "hi"}', JSON_TYPE),
        (b"method=sendMessage&chat_id=1&text=hi", FORM_TYPE),
        (multipart({"method": "sendMessage", "chat_id": "1", "text": "hi"}, {}), MULTIPART_TYPE),
        (b'{"method": "SENDMESSAGE", "chat_id": "1", "text": "hi"}', ("content-type", "text/APPLICATION/JSON; x")),
    ],
)
def test_a_response_may_carry_a_call(body: bytes, headers: tuple[str, str]) -> None:
    """As JSON, a form or multipart; the type is matched by a part of it, the method in any case (4.7)."""
    client, (call,) = replied(body, headers)
    assert call.update_id is not None  # whose delivery was answered
    assert call == Call("sendmessage", {"chat_id": "1", "text": "hi"}, (), 0.0, "webhook reply", call.update_id)
    assert client.pending == 0


def test_a_call_in_a_response_may_carry_files() -> None:
    """In multipart (4.7)."""
    body = multipart({"method": "sendDocument", "chat_id": "1"}, {"document": b"A"})
    client, (call,) = replied(body, MULTIPART_TYPE)
    assert call.files == ("document",)
    assert client.ask("getFile", file_id="file-42-1")["ok"], "it runs as if the bot had sent it"


def test_a_call_in_a_response_runs_and_its_result_goes_nowhere() -> None:
    """Neither to the bot nor to getWebhookInfo, even if it fails (4.7)."""
    client, (call,) = replied({"method": "sendMessage", "chat_id": 1, "text": ""})
    assert call.params == {"chat_id": "1", "text": ""}
    assert client.pending == 0
    assert "last_error_message" not in client.webhook
    sent = client.ask("sendMessage", chat_id=1, text="next")["result"]["message_id"]
    client, _ = replied({"method": "sendMessage", "chat_id": 1, "text": "one"})
    assert client.ask("sendMessage", chat_id=1, text="next")["result"]["message_id"] == sent + 1


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_a_call_may_come_with_any_2xx(status: int) -> None:
    """Only for those (4.7)."""
    assert len(replied({"method": "sendMessage"}, status=status)[1]) == 1


@pytest.mark.parametrize("status", [100, 302, 400, 410, 500])
def test_a_call_in_a_failure_is_not_made(status: int) -> None:
    """The update comes again (4.7)."""
    client, calls = replied({"method": "sendMessage"}, status=status)
    assert calls == []
    assert client.pending == 1


@pytest.mark.parametrize(
    "method",
    ["", "getMe", "getUpdates", "GETFILE", "get", "deleteWebhook", "setWebhook", "SetWebhook", "close", "logOut"],
)
def test_these_methods_are_ignored_silently(method: str) -> None:
    """The delivery succeeds all the same (4.7)."""
    client, calls = replied({"method": method, "url": ""})
    assert calls == []
    assert client.pending == 0
    assert client.webhook["url"]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b'{"method": "sendMessage"}', ("content-type", "text/plain")),
        (b'{"method": "sendMessage"}', ("x-other", "y")),
        (b'[{"method": "sendMessage"}]', JSON_TYPE),
        (b'{"METHOD": "sendMessage"}', JSON_TYPE),
        (b'{"other": "sendMessage"}', JSON_TYPE),
        (b"OK", ("content-type", "text/plain")),
        (b"", JSON_TYPE),
    ],
)
def test_a_body_that_names_no_method_in_a_parsed_type_is_no_call(body: bytes, headers: tuple[str, str]) -> None:
    """Any other type, or none, is not parsed; a list is not supported (4.7, issue #235)."""
    client, calls = replied(body, headers)
    assert calls == []
    assert client.pending == 0


def test_a_call_whose_json_breaks_off_is_made_with_what_was_read() -> None:
    """If its method came first (4.7)."""
    assert replied(b'{"method": "sendMessage", "chat_id": 1, "text": ')[1][0].params == {"chat_id": "1"}
    assert replied(b'{"chat_id": 1, "text": "method')[1] == []


def test_a_compressed_response_is_read() -> None:
    """gzip and deflate, as Accept-Encoding says (4.2, 4.7)."""
    body = gzip.compress(b'{"method": "sendMessage", "chat_id": 1}')
    _, calls = replied(body, JSON_TYPE, ("content-encoding", "gzip"))
    assert [call.params for call in calls] == [{"chat_id": "1"}]


def test_the_call_is_made_before_the_next_update_of_its_queue_is_sent() -> None:
    """It is queued before the acknowledgement, and not awaited (4.7)."""
    client = Client()
    client.set_webhook()
    client.message()
    client.message()
    client.reply(client.waiting[0], headers=(JSON_TYPE,), body=b'{"method": "sendMessage"}')
    (call,) = [call for call in client.telegram.calls(BOT_ID) if call.via == "webhook reply"]
    assert call.at <= client.deliveries[1].at


MANY = "Request Entity Too Large: too many parameters"


@pytest.mark.parametrize(
    ("body", "headers", "problem"),
    [
        (b"x" * 1_048_577, (JSON_TYPE,), MANY),
        (b"x" * 1_048_577, (FORM_TYPE,), MANY),
        (multipart({"a": "x" * 1_048_577}, {}), (MULTIPART_TYPE,), f"{MANY} in form data"),
        (
            multipart({}, {f"f{number}": b"" for number in range(51)}),
            (MULTIPART_TYPE,),
            "Request Entity Too Large: too many files attached",
        ),
        (b"x", (("content-encoding", "br"),), "Unsupported Media Type: unsupported content-encoding"),
        (b"x", (("content-encoding", "identity"),), "Unsupported Media Type: unsupported content-encoding"),
        (b"x", (("content-encoding", "gzip"),), "Bad Request"),
        (b"--b\r\n", (MULTIPART_TYPE,), "Bad Request: unexpected end of request content"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("status", [200, 500])
def test_a_body_that_cannot_be_read_fails_the_delivery(
    body: bytes, headers: Headers, problem: str, status: int
) -> None:
    """Even with status 200: the connection is closed, and the update comes again (4.7). test_reader has the heads."""
    client = Client()
    client.set_webhook()
    update_id = client.message()
    (delivery,) = client.waiting
    client.reply(delivery, status, headers=headers, body=body)
    assert client.webhook["last_error_message"] == problem
    assert delivery.post.slot not in client.slots
    client.wait(2)
    assert [delivery.id for delivery in client.deliveries] == [update_id, update_id]
    assert [call for call in client.telegram.calls(BOT_ID) if call.via == "webhook reply"] == []
