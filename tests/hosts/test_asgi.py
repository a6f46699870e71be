"""What ASGI servers tell an application that no client can be made to bring about at will."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hookline import Update, WebhookOptions
from hookline_io.hosts.asgi import webhook_callback
from tests.peers.processes import TOKEN


async def handler(update: Update, api: object) -> None:
    """Nothing comes to it here."""


def test_a_client_that_goes_while_it_sends_a_body_is_no_bad_request(caplog: pytest.LogCaptureFixture) -> None:
    """Neither is what came of the body taken for a whole one, nor is anything answered."""
    told: list[dict[str, Any]] = [
        {"type": "http.request", "body": b'{"update_id": 1', "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return told.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    async def main() -> None:
        app = webhook_callback(handler, TOKEN, WebhookOptions())
        scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-type", b"application/json")]}
        async with app.lifespan():
            await app(scope, receive, send)

    asyncio.run(main())
    assert (told, sent, caplog.messages) == ([], [], [])
