"""What each machine costs by itself: `python -m pytest tests/benchmarks/machines.py` (pytest-benchmark).

Each benchmark carries one update, request or call through one machine, from what comes in to what ends it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from hookline import (
    Calls,
    Lanes,
    Polling,
    Request,
    Response,
    Result,
    Returned,
    StoringWebhook,
    Update,
    Webhook,
    WebhookOptions,
    codec,
    read_update,
)
from hookline.effects import Fetch, Handle, Mark, Store
from hookline.http1 import ClientConnection
from hookline.pool import Pool
from hookline.server import Requested, Server
from tests.benchmarks.scaling import ok, request
from tests.benchmarks.telegram import SECRET, update

Benchmark = Any
CHAT = update(1, 100).encode()
RETURNED = Returned()
OK = Response(200, (("content-length", "0"),))


@pytest.fixture
def numbers() -> Iterator[int]:
    """Ids of updates."""
    return count(1)


def an_update(number: int) -> Update:
    """One of the updates that all benchmarks have."""
    found = read_update({"update_id": number, "message": {"chat": {"id": number % 100}, "text": "x"}})
    assert isinstance(found, Update)
    return found


def post(number: int) -> Request:
    """One of the requests, as a value."""
    headers = (("host", "x"), ("x-telegram-bot-api-secret-token", SECRET), ("content-type", "application/json"))
    body = update(number, 100).encode()
    return Request("POST", "/", (*headers, ("content-length", str(len(body)))), (body,))


def test_json(benchmark: Benchmark) -> None:
    benchmark(codec.decode, CHAT)


def test_update(benchmark: Benchmark) -> None:
    benchmark(read_update, codec.decode(CHAT))


def test_lanes(benchmark: Benchmark, numbers: Iterator[int]) -> None:
    lanes = Lanes(10)
    benchmark(lambda: lanes.finished(lanes.add(an_update(next(numbers)), 0.0)[0], 0.0))


def test_polling_a_hundred_updates(benchmark: Benchmark, numbers: Iterator[int]) -> None:
    polling = Polling()
    [get_me] = polling.start(0.0)
    assert isinstance(get_me, Fetch)
    *_, delete = polling.fetched(get_me.fetch, Result({"id": 42, "is_bot": True, "first_name": "x"}), 0.0)
    assert isinstance(delete, Fetch)
    [poll] = polling.fetched(delete.fetch, Result(True), 0.0)

    def a_hundred() -> None:
        nonlocal poll
        assert isinstance(poll, Fetch)
        raws = [{"update_id": next(numbers), "message": {"chat": {"id": number}}} for number in range(100)]
        [effect] = polling.fetched(poll.fetch, Result(raws), 0.0)
        while isinstance(effect, Handle):
            [effect] = polling.finished(effect.job, RETURNED, 0.0)
        poll = effect

    benchmark(a_hundred)


def test_webhook(benchmark: Benchmark, numbers: Iterator[int]) -> None:
    webhook = Webhook(WebhookOptions(secret_token=SECRET))

    def one() -> None:
        number = next(numbers)
        [handle] = webhook.requested(number, post(number), 0.0)
        assert isinstance(handle, Handle)
        webhook.finished(handle.job, RETURNED, 0.0)

    benchmark(one)


def test_inbox(benchmark: Benchmark, numbers: Iterator[int]) -> None:
    webhook = StoringWebhook(WebhookOptions(secret_token=SECRET, confirm="stored"))
    webhook.start(0.0)
    webhook.opened((), 0.0, durable=True)

    def one() -> None:
        number = next(numbers)
        [store] = webhook.requested(number, post(number), 0.0)
        assert isinstance(store, Store)
        _, begins = webhook.stored(store.store, (number,), 0.0)
        assert isinstance(begins, Mark)
        [handle] = webhook.marked(begins.mark, 0.0)
        assert isinstance(handle, Handle)
        [done] = webhook.finished(handle.job, RETURNED, 0.0)
        assert isinstance(done, Mark)
        webhook.marked(done.mark, 0.0)

    benchmark(one)


def test_calls(benchmark: Benchmark, numbers: Iterator[int]) -> None:
    calls = Calls()

    def one() -> None:
        [fetch] = calls.call(next(numbers), "sendMessage", {"chat_id": 1, "text": "x"}, 0.0)
        assert isinstance(fetch, Fetch)
        calls.fetched(fetch.fetch, Result(True), 0.0)

    benchmark(one)


def test_pool(benchmark: Benchmark, numbers: Iterator[int]) -> None:
    pool = Pool("localhost", 80, False, connections=1, max_response=1_000_000)
    message, answer = post(1), ok("true")
    pool.fetch(next(numbers), message, 0.0)
    pool.connected(1, 0.0)
    pool.received(1, answer, 0.0)

    def one() -> None:
        pool.fetch(next(numbers), message, 0.0)
        assert pool.received(1, answer, 0.0)

    benchmark(one)


@pytest.mark.parametrize("reader", ["ordinary", "h11"])
def test_server(benchmark: Benchmark, reader: str) -> None:
    server = Server(max_body=1_000_000)
    server.accepted(1, 0.0)
    data = request(1)
    if reader == "h11":
        data = data.replace(b"Host: x", b"Host:  x")

    def one() -> None:
        [requested] = server.received(1, data, 0.0)
        assert isinstance(requested, Requested)
        server.respond(requested.request, OK, 0.0)

    benchmark(one)


@pytest.mark.parametrize("reader", ["ordinary", "h11"])
def test_client(benchmark: Benchmark, reader: str) -> None:
    client = ClientConnection(1, max_response=1_000_000)
    message, answer = post(1), ok("true")
    if reader == "h11":
        answer = answer.replace(b"content-type: ", b"content-type:  ")

    def one() -> None:
        client.request(message)
        client.received(answer)
        assert client.reusable

    benchmark(one)
