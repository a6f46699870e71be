"""Azure Functions: the functions alone, with the objects that its package makes for tests, of whichever version.

Its worker, with functions and an ASGI application in it, is one of the hosts; only Python 3.13 and later has it.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from hookline import WebhookOptions
from tests.hosts.client import update
from tests.peers.processes import TOKEN

func = pytest.importorskip("azure.functions")

OPTIONS = WebhookOptions(path="/not/compared", secret_token="s3cret")


async def handler(update: Any, api: Any) -> None:
    """Answer by a call that travels in the response, if anything is said."""
    if update.payload["text"]:
        await api.call("sendMessage", chat_id=update.lane, text=update.payload["text"])


def blocking_handler(update: Any, api: Any) -> None:
    """Answer by a call that travels in the response, if anything is said."""
    if update.payload["text"]:
        api.call("sendMessage", chat_id=update.lane, text=update.payload["text"])


def request(text: str, *, secret: str = "s3cret") -> Any:
    """A request, as the host hands it to a function."""
    headers = {"Content-Type": "application/json", "X-Telegram-Bot-Api-Secret-Token": secret}
    url = "https://bot.azurewebsites.net/api/telegram"
    return func.HttpRequest("POST", url, headers=headers, body=json.dumps(update(text)).encode())


def answers(asked: list[Any], *, asynchronous: bool) -> list[Any]:
    """What a function answers."""
    from hookline_io.hosts.azure_functions import webhook_callback

    if not asynchronous:
        function = webhook_callback(blocking_handler, TOKEN, OPTIONS, reply_with=lambda method: True)
        return [function(req) for req in asked]

    async def in_the_workers_loop() -> list[Any]:
        function: Any = webhook_callback(handler, TOKEN, OPTIONS, reply_with=lambda method: True)
        return [await function(req) for req in asked]

    return asyncio.run(in_the_workers_loop())


@pytest.mark.parametrize("asynchronous", [False, True], ids=["def", "async def"])
def test_a_function_answers_requests_of_its_route_whatever_its_path(asynchronous: bool) -> None:
    asked = [request(""), request("hi"), request("", secret="wrong")]
    nothing, call, rejected = answers(asked, asynchronous=asynchronous)
    assert (nothing.status_code, nothing.get_body()) == (200, b"")
    assert (call.status_code, call.headers["content-type"]) == (200, "application/json")
    assert json.loads(call.get_body())["method"] == "sendMessage"
    assert (rejected.status_code, rejected.get_body()) == (401, b"")
