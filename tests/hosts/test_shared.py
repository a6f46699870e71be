"""What the adapters share, where no host is needed to see it."""

from __future__ import annotations

import asyncio
import importlib
import io
from typing import Any

import pytest

from hookline import OptionError, WebhookOptions
from hookline_io.asyncio import Exchange
from hookline_io.hosts.asynchronous import AsyncWebhook
from hookline_io.hosts.synchronous import SyncWebhook
from hookline_io.hosts.wsgi import read_body
from tests.peers.processes import TOKEN


async def handler(update: Any, api: Any) -> None:
    """Do nothing."""


async def body(limit: int) -> bytes:
    """What is never read."""
    raise AssertionError


def test_a_webhook_does_not_go_on_in_another_event_loop() -> None:
    """As Django makes one for each request of an asynchronous view under WSGI."""
    webhook = AsyncWebhook(handler, TOKEN)
    assert asyncio.run(webhook.answer("GET", "/", [], body)).status == 405
    with pytest.raises(RuntimeError, match="began in another event loop"):
        asyncio.run(webhook.answer("GET", "/", [], body))


@pytest.mark.parametrize("name", ["aws_lambda", "azure_functions", "google_functions", "vercel"])
def test_where_the_host_freezes_return_is_refused_with_the_reason(name: str) -> None:
    if name in ("azure_functions", "google_functions"):
        pytest.importorskip("azure.functions" if name == "azure_functions" else "functions_framework")
    adapter = importlib.import_module(f"hookline_io.hosts.{name}")
    with pytest.raises(OptionError, match="not 'return': this host freezes or ends the process once it has answered"):
        adapter.webhook_callback(handler, TOKEN, WebhookOptions(on_timeout="return"))


def test_where_the_host_has_many_processes_none_makes_a_secret_token_of_its_own() -> None:
    with pytest.raises(OptionError, match="secret_token must be given with url"):
        Exchange(handler, TOKEN, WebhookOptions(freezes=True), url="https://bot.example.org/")


def test_a_webhook_that_begins_with_its_first_request_cannot_be_set_by_itself() -> None:
    with pytest.raises(OptionError, match="begins with its first request"):
        SyncWebhook(handler, TOKEN, url="https://bot.example.org/")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"CONTENT_LENGTH": "4"}, b"body"),
        ({"CONTENT_LENGTH": "9"}, b"body, an"),
        ({"wsgi.input_terminated": True}, b"body, an"),
        ({}, b""),
    ],
)
def test_of_a_wsgi_body_no_more_is_read_than_is_there_or_wanted(environ: dict[str, Any], expected: bytes) -> None:
    """Where nothing says how long it is, nothing: the server would wait for more."""
    assert read_body(environ | {"wsgi.input": io.BytesIO(b"body, and more")}, 7) == expected
