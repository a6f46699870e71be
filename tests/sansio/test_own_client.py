"""A bot whose requests go out as values, by an HTTP client that the program has."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest

from hookline import ApiOptions, Bot, InputFile, PollingOptions, Request, Response, Result, Token, Unreachable
from hookline.effects import Effect, Ended, Handle, Recall, Report, Resolve, Transmit
from hookline.errors import LocalProtocolError
from hookline.http import StreamId, body_bytes

SECRET = "t" * 30
API = ApiOptions(own_client=True, timeout=20.0)


def bot(source: PollingOptions | None = None) -> Bot:
    return Bot(Token(f"42:{SECRET}"), source, api=API)


def ok(result: Any) -> Response:
    return Response(200, (), (json.dumps({"ok": True, "result": result}).encode(),))


def sent(effects: list[Effect]) -> tuple[int, Request]:
    """The one request that goes out."""
    (transmit,) = (effect for effect in effects if isinstance(effect, Transmit))
    assert SECRET not in repr(transmit)
    return transmit.fetch, transmit.request


def test_a_call_goes_out_as_a_request_and_ends_by_its_response() -> None:
    machine = bot()
    machine.start(0.0)
    fetch, request = sent(machine.call(1, "sendMessage", {"chat_id": 1, "text": "hi"}, 1.0))
    assert (request.method, request.target) == ("POST", f"/bot42:{SECRET}/sendMessage")
    assert json.loads(body_bytes(request.body)) == {"chat_id": 1, "text": "hi"}
    assert machine.responded(fetch, ok(True), 2.0) == [Resolve(1, Result(True))]
    assert machine.responded(fetch, ok(True), 3.0) == machine.transmit_failed(fetch, "late", 3.0) == []


def test_a_request_that_fails_ends_its_call() -> None:
    machine = bot()
    fetch, _ = sent(machine.call(1, "getMe", {}, 0.0))
    assert machine.transmit_failed(fetch, "no route", 1.0) == [Resolve(1, Unreachable("no route"))]


def test_a_call_that_is_overdue_or_cancelled_is_recalled() -> None:
    machine = bot()
    first, _ = sent(machine.call(1, "getMe", {}, 0.0))
    second, _ = sent(machine.call(2, "getMe", {}, 0.0))
    assert machine.cancel(2, 1.0) == [Recall(second)]
    assert machine.deadline == 20.0
    recall, resolve = machine.tick(20.0)
    assert recall == Recall(first)
    assert isinstance(resolve, Resolve)
    assert isinstance(resolve.outcome, Unreachable)


def test_updates_are_polled_by_it() -> None:
    """And the machine, copied or pickled between any two inputs, goes on the same."""
    machine = bot(PollingOptions())
    effects = machine.start(0.0)
    for number, result in enumerate([{"id": 42, "is_bot": True, "first_name": "Bot"}, True, [{"update_id": 7}]]):
        machine = copy.deepcopy(machine) if number % 2 else pickle.loads(pickle.dumps(machine))
        fetch, _ = sent(effects)
        effects = machine.responded(fetch, ok(result), 1.0)
    (handle,) = (effect for effect in effects if isinstance(effect, Handle))
    assert handle.update.update_id == 7


def test_the_end_recalls_what_is_under_way() -> None:
    machine = bot()
    machine.start(0.0)
    fetch, _ = sent(machine.call(1, "getMe", {}, 0.0))
    recall, resolve, ended = machine.stop(1.0)
    assert recall == Recall(fetch)
    assert isinstance(resolve, Resolve)
    assert ended == Ended()
    assert machine.responded(fetch, ok(True), 2.0) == []


def test_a_request_that_is_to_be_read_from_files_says_so() -> None:
    """It is the program's business to read them."""
    _, request = sent(bot().call(1, "sendPhoto", {"photo": InputFile(StreamId(5), "a.png")}, 0.0))
    assert StreamId(5) in request.body


def test_a_download_needs_connections_of_our_own() -> None:
    (resolve,) = bot().download(1, "photos/a.jpg", 0.0)
    assert isinstance(resolve, Resolve)
    assert resolve.outcome == Unreachable("a download needs hookline's own connections")


def test_a_response_must_be_in_memory() -> None:
    machine = bot()
    fetch, _ = sent(machine.call(1, "getMe", {}, 0.0))
    with pytest.raises(LocalProtocolError, match="in memory"):
        machine.responded(fetch, Response(200, (), (StreamId(1),)), 1.0)
    assert machine.responded(fetch, ok(1), 2.0) == [Resolve(1, Result(1))]


def test_what_is_no_answer_of_the_bot_api_is_reported_as_ever() -> None:
    machine = bot(PollingOptions())
    fetch, _ = sent(machine.start(0.0))
    effects = machine.responded(fetch, Response(502, (), (b"<html>",)), 1.0)
    assert [type(effect) for effect in effects] == [Report]
