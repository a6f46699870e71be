"""Requests and responses of the API: routing, methods of HTTP, errors, files (telegram-server.md, 5)."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from hookline.http import Request, Response, body_bytes
from hookline.sim import Fault
from tests.sansio.sim.client import BOT_ID, JSON_TYPE, MULTIPART_TYPE, TOKEN, Client

NOT_FOUND = {"ok": False, "error_code": 404, "description": "Not Found"}
ABSOLUTE = NOT_FOUND | {"description": "Not Found: absolute URI is specified in the Request-Line"}
NO_METHOD = NOT_FOUND | {"description": "Not Found: method not found"}


def get(target: str, method: str = "GET") -> Response:
    """What a request of this target is answered."""
    client = Client()
    return client.responses[client.send(Request(method, target))][1]


def decoded(response: Response) -> Any:
    return json.loads(body_bytes(response.body))


# Routing (5.1)


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        (f"http://api.telegram.org/bot{TOKEN}/getMe", ABSOLUTE),
        ("*", ABSOLUTE),
        (f"bot{TOKEN}/getMe", ABSOLUTE),
        ("/", NOT_FOUND),
        ("/favicon.ico", NOT_FOUND),
        (f"/BOT{TOKEN}/getMe", NOT_FOUND),
        (f"/bot{TOKEN}", NOT_FOUND),
        (f"/bot{TOKEN}?method=getMe", NOT_FOUND),
        (f"/bot{TOKEN}/test", NOT_FOUND),
        (f"/bot{TOKEN}/testing", NOT_FOUND),
        (f"/bot{TOKEN}/getMe/", NO_METHOD),
        (f"/bot{TOKEN}/get+Me", NO_METHOD),
        (f"/bot{TOKEN}/unheardOf", NO_METHOD),
        (f"/bot{TOKEN}/", NO_METHOD),
        (f"/bot{TOKEN}/test/", NO_METHOD),
        ("/botx/getMe", {"error_code": 401}),
        ("/bot42:short/unheardOf", {"error_code": 401, "description": "Unauthorized"}),
    ],
)
def test_a_target_that_names_no_method_of_a_bot_is_not_found(target: str, answer: Any) -> None:
    """Errors of the token come before that of the method (5.1)."""
    response = get(target)
    assert decoded(response).items() >= answer.items()
    assert response.status == answer["error_code"]


@pytest.mark.parametrize(
    "target",
    [
        f"/bot{TOKEN}/getMe",
        f"/bot{TOKEN}/GETME",
        f"/bot{TOKEN}/test/getme",
        f"/bot{TOKEN}/?method=getMe",
        f"/bot{TOKEN}/test/?method=GetMe",
        f"/bot{TOKEN}/get%4De",
        f"/%62ot{TOKEN.replace(':', '%3A')}%2FgetMe",
    ],
)
def test_a_path_is_decoded_and_a_method_is_in_any_case(target: str) -> None:
    """An empty one is in the parameter `method` (5.1)."""
    assert decoded(get(target))["result"]["id"] == BOT_ID


def test_a_parameter_does_not_replace_the_method_of_the_path() -> None:
    """It counts only where the path names none (5.1)."""
    assert "id" in decoded(get(f"/bot{TOKEN}/getMe?method=getWebhookInfo"))["result"]


# HTTP (5.2, 5.3)


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "get", "CONNECT"])
def test_other_methods_than_get_and_post_are_not_implemented(method: str) -> None:
    """501, whatever the target (5.2)."""
    for target in (f"/bot{TOKEN}/getMe", "/nothing"):
        response = get(target, method)
        assert (response.status, response.body) == (501, ())


def test_a_get_may_have_a_body() -> None:
    """It is read with either method (5.2)."""
    client = Client()
    request = Request("GET", f"/bot{TOKEN}/sendMessage", (JSON_TYPE,), (b'{"chat_id": 1, "text": "hi"}',))
    assert client.answer(client.send(request))["result"]["text"] == "hi"


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ((JSON_TYPE,), b"x" * 1_048_577, 413),
        ((JSON_TYPE, ("content-encoding", "br")), b"{}", 415),
        ((JSON_TYPE, ("content-encoding", "gzip")), b"{}", 400),
        ((MULTIPART_TYPE,), b"\r\n--b--\r\n", 400),
        ((MULTIPART_TYPE, ("transfer-encoding", "chunked")), b"", 400),
        ((MULTIPART_TYPE,), b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1', 400),
        ((MULTIPART_TYPE,), b"--b\r\nX: " + b"y" * 262_144 + b"\r\n\r\n\r\n--b--\r\n", 431),
    ],
)
def test_what_cannot_be_read_gets_no_json(headers: Any, body: bytes, status: int) -> None:
    """A status line and a length of 0, and the connection is closed (5.3)."""
    client = Client()
    request = client.send(Request("POST", f"/bot{TOKEN}/getMe", headers, (body,)))
    assert client.responses[request][1] == Response(status, (("content-length", "0"), ("connection", "close")))
    assert client.telegram.calls(BOT_ID) == []


def test_a_compressed_request_is_read() -> None:
    """gzip or deflate (5.2)."""
    client = Client()
    headers = (JSON_TYPE, ("content-encoding", "gzip"))
    body = gzip.compress(b'{"chat_id": 1, "text": "hi"}')
    request = client.send(Request("POST", f"/bot{TOKEN}/sendMessage", headers, (body,)))
    assert client.answer(request)["result"]["text"] == "hi"


def test_json_that_breaks_off_runs_the_method_with_what_was_read() -> None:
    """No error is reported (5.2)."""
    client = Client()
    client.message()
    client.message()
    body = b'{"limit": 1, "offset": '
    request = client.send(Request("POST", f"/bot{TOKEN}/getUpdates", (JSON_TYPE,), (body,)))
    assert len(client.answer(request)["result"]) == 1


# Responses (5.4)


def test_a_result_is_200_with_these_headers_in_this_order() -> None:
    """Never compressed or chunked (5.4)."""
    response = get(f"/bot{TOKEN}/deleteWebhook")
    body = b'{"ok":true,"result":true,"description":"Webhook is already deleted"}'
    assert response == Response(
        200,
        (("connection", "keep-alive"), ("content-type", "application/json"), ("content-length", str(len(body)))),
        (body,),
    )


def test_an_error_has_its_code_as_status_and_parameters_where_it_has_any() -> None:
    """Retry-After stands before Content-Length (5.4, 2.7)."""
    client = Client()
    client.set_webhook()
    response = client.responses[client.call("setWebhook", url="x")][1]
    body = (
        b'{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 1","parameters":{"retry_after":1}}'
    )
    assert response == Response(
        429,
        (
            ("connection", "keep-alive"),
            ("content-type", "application/json"),
            ("retry-after", "1"),
            ("content-length", str(len(body))),
        ),
        (body,),
    )


def test_a_wait_of_nothing_has_no_header() -> None:
    """Only a positive one has (5.4)."""
    client = Client()
    client.telegram.set_fault(BOT_ID, Fault("error", code=429, description="x", retry_after=0))
    assert "retry-after" not in dict(client.responses[client.call("getMe")][1].headers)


def test_a_group_that_was_upgraded_says_its_new_id() -> None:
    """As the parameters of a 400, by a fault (2.8)."""
    client = Client()
    description = "Bad Request: group chat was upgraded to a supergroup chat"
    client.fault(
        "error", method="sendMessage", code=400, description=description, migrate_to_chat_id=-1_001_234_567_890
    )
    assert client.ask("sendMessage", chat_id=-5, text="hi") == {
        "ok": False,
        "error_code": 400,
        "description": description,
        "parameters": {"migrate_to_chat_id": -1_001_234_567_890},
    }


def test_only_webhook_methods_have_a_description() -> None:
    """Of a success (5.4)."""
    assert decoded(get(f"/bot{TOKEN}/getMe")).keys() == {"ok", "result"}


# Files (5.5)


def upload(client: Client, content: bytes) -> str:
    """Send a document; its file_id."""
    answer = client.upload("sendDocument", {"chat_id": "1"}, {"document": content})
    file_id: str = answer["result"]["document"]["file_id"]
    return file_id


def test_a_file_is_served_as_the_front_proxy_does() -> None:
    """By the file_path of getFile; the server itself has no such path (5.5)."""
    client = Client()
    file_id = upload(client, b"\x00content\xff")
    result = client.ask("getFile", file_id=file_id)["result"]
    assert result["file_size"] == 9
    response = client.responses[client.send(Request("GET", f"/file/bot{TOKEN}/{result['file_path']}"))][1]
    assert (response.status, body_bytes(response.body)) == (200, b"\x00content\xff")


@pytest.mark.parametrize("path", ["", "nothing", "documents/nothing"])
@pytest.mark.parametrize("token", [TOKEN, "42:short", f"43:{'t' * 30}", "x"])
def test_a_file_that_is_none_is_not_found(path: str, token: str) -> None:
    """Nor is one of another bot (5.5)."""
    client = Client()
    upload(client, b"x")
    assert client.answer(client.send(Request("GET", f"/file/bot{token}/{path}"))) == NOT_FOUND


def test_getfile_refuses_what_it_does_not_know_or_what_is_too_big() -> None:
    """In these words (5.5)."""
    client = Client()
    answer = client.ask("getFile", file_id="x")
    assert answer["description"] == "Bad Request: wrong file_id or the file is temporarily unavailable"
    answer = client.ask("getFile", file_id=upload(client, bytes(20_971_521)))
    assert answer["description"] == "Bad Request: file is too big"
    assert client.ask("getFile", file_id=upload(client, bytes(20_971_520)))["ok"]
