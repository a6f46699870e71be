"""The whole bot: how its parts are joined, and what goes over each connection down to the bytes.

`Around` is what is around a bot: Telegram's server, clients, handlers and the clock. It checks every effect: nothing is
sent over a connection that is not open, each call ends once, nothing follows the end, and no token is shown. It goes on
with a copy of the bot after each input, which must do the same as the bot itself.
"""

from __future__ import annotations

import copy
import json
import pickle
import re
from pathlib import PurePath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookline.bot import TABLE, Bot, Leaving, Over, Stopping
from hookline.botapi import InputFile, Token
from hookline.effects import (
    Cancel,
    Close,
    Connect,
    Effect,
    Ended,
    Handle,
    Log,
    Mark,
    Open,
    Pull,
    Receive,
    Report,
    Resolve,
    Respond,
    Send,
    Store,
    Throw,
    Verdict,
)
from hookline.errors import LocalProtocolError
from hookline.http import Request, Response, body_bytes
from hookline.options import ApiOptions, HttpLimits, PollingOptions, SetWebhookOptions, WebhookOptions
from hookline.outcomes import REPLIED, CallOutcome, Outcome, Raised, Refused, Result, Returned, Unreachable
from hookline.polling import STALE_AFTER
from hookline.pool import CONNECT_TIMEOUT, IDLE_TIMEOUT

SECRET = "t" * 30
TOKEN = Token(f"42:{SECRET}")
ME = {"id": 42, "is_bot": True, "first_name": "Bot", "username": "some_bot"}
URL = "https://bot.example/hook"
DRIVER_EFFECTS = (Connect, Send, Pull, Close, Handle, Cancel, Resolve, Receive, Report, Log, Ended, Respond, Throw)
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"


def message(update_id: int, chat: int = 1) -> dict[str, Any]:
    return {"update_id": update_id, "message": {"message_id": 1, "chat": {"id": chat, "type": "private"}, "text": "hi"}}


def post(body: Any, *headers: bytes, path: bytes = b"/") -> bytes:
    """A webhook's request."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [
        b"POST %s HTTP/1.1" % path,
        b"Host: bot.example",
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(data),
        *headers,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + data


def response(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


def ok(value: Any) -> bytes:
    """An answer of the Bot API."""
    return response(200, json.dumps({"ok": True, "result": value}).encode())


def refusal(code: int, description: str) -> bytes:
    return response(code, json.dumps({"ok": False, "error_code": code, "description": description}).encode())


def any_method(method: str) -> bool:
    return True


class Around:
    """A bot and what is around it."""

    def __init__(self, source: PollingOptions | WebhookOptions | None = None, **kwargs: Any) -> None:
        self.bot = Bot(TOKEN, source, **kwargs)
        self.now = 1_000.0
        self.inputs = 0
        self.opening: list[int] = []
        self.open: list[int] = []
        """Connections to Telegram."""
        self.asked: dict[int, bytes] = {}
        """Connection to Telegram -> what was sent over it and is not answered."""
        self.clients: list[int] = []
        self.said: dict[int, bytes] = {}
        """Client -> what was sent to it."""
        self.hosted: set[int] = set()
        """Requests that came to another server and wait for their answer."""
        self.answers: dict[int, Response | Throw] = {}
        self.pulls: dict[int, Pull] = {}
        self.running: dict[int, int] = {}
        """Update id -> job."""
        self.open_calls: set[int] = set()
        self.outcomes: dict[int, CallOutcome] = {}
        self.pieces: dict[int, bytes] = {}
        self.reports: list[Report] = []
        self.logs: list[str] = []
        self.ended: list[str | None] = []

    # What goes in

    def tell(self, method: str, *args: Any, **kwargs: Any) -> list[Effect]:
        """Tell the bot something, and a copy of it the same; the copy goes on. Copied and pickled in turn."""
        self.inputs += 1
        twin = copy.deepcopy(self.bot) if self.inputs % 2 else pickle.loads(pickle.dumps(self.bot))
        effects: list[Effect] = getattr(self.bot, method)(*args, self.now, **kwargs)
        assert getattr(twin, method)(*args, self.now, **kwargs) == effects
        self.bot = twin
        for effect in effects:
            self.see(effect)
        assert (self.bot.deadline is None) == (self.bot.reason == "nothing is awaited")
        return effects

    def start(self) -> list[Effect]:
        """Begin the run, up to the connection to Telegram, if one is wanted. An inbox has nothing in it."""
        effects = self.tell("start")
        if Open() in effects:
            effects += self.tell("opened", (), durable=True)
        return effects + self.connect()

    def poll(self) -> None:
        """Go up to the first getUpdates."""
        self.start()
        if Open() in self.answer("getMe", ME):
            self.tell("opened", (), durable=True)
        self.answer("deleteWebhook", True)

    def connect(self) -> list[Effect]:
        """Whatever is to be opened to Telegram, is."""
        effects: list[Effect] = []
        for connection in list(self.opening):
            self.opening.remove(connection)
            self.open.append(connection)
            effects += self.tell("connected", connection)
        return effects

    def refuse_connections(self) -> list[Effect]:
        """Whatever is to be opened to Telegram, can't be."""
        effects: list[Effect] = []
        for connection in list(self.opening):
            self.opening.remove(connection)
            effects += self.tell("connect_failed", connection, "Connection refused")
        return effects

    def answer(self, method: str, value: Any) -> list[Effect]:
        """Telegram's result of the one call of this method."""
        return self.answer_bytes(method, ok(value))

    def answer_bytes(self, method: str, data: bytes) -> list[Effect]:
        (connection,) = [number for number, (name, _) in self.calls.items() if name == method]
        del self.asked[connection]
        return self.tell("received", connection, data)

    def call(self, call: int, method: str = "sendMessage", **kwargs: Any) -> list[Effect]:
        """The program makes a call."""
        params = kwargs.pop("params", {"chat_id": 1, "text": "hi"})
        self.open_calls.add(call)
        return self.tell("call", call, method, params, **kwargs)

    def download(self, call: int, file_path: str = "photos/a.jpg") -> list[Effect]:
        self.open_calls.add(call)
        return self.tell("download", call, file_path)

    def client(self) -> int:
        """A client has connected."""
        connection = self.bot.new_connection()
        self.clients.append(connection)
        self.said[connection] = b""
        self.tell("accepted", connection)
        return connection

    def send(self, client: int, data: bytes) -> list[Effect]:
        """A client sends something."""
        return self.tell("received", client, data)

    def ask(self, data: bytes) -> int:
        """A client connects and sends something."""
        client = self.client()
        self.send(client, data)
        return client

    def request(self, body: Any, method: str = "POST", target: str = "/") -> int:
        """A request has come to another server."""
        request = self.bot.new_request()
        self.hosted.add(request)
        data = json.dumps(body).encode()
        headers = (("content-type", "application/json"), ("content-length", str(len(data))))
        self.tell("requested", request, Request(method, target, headers, (data,)))
        return request

    def finish(self, update_id: int, outcome: Outcome | None = None) -> list[Effect]:
        """The handler of an update ends."""
        return self.tell("finished", self.running.pop(update_id), outcome or Returned())

    def wait(self, seconds: float) -> list[Effect]:
        """Let time go by, with a tick at each deadline."""
        effects: list[Effect] = []
        until = self.now + seconds
        while (deadline := self.bot.deadline) is not None and deadline <= until:
            if deadline > self.now:
                self.now = (self.now + deadline) / 2
                assert self.tell("tick") == [], "an early tick does nothing"
            self.now = max(self.now, deadline)
            effects += self.tell("tick")
            assert self.bot.deadline is None or self.bot.deadline > self.now
            assert self.tell("tick") == [], "a repeated tick does nothing"
        self.now = until
        return effects

    # What came out

    @property
    def calls(self) -> dict[int, tuple[str, Any]]:
        """Connection -> the call that waits for its answer there, and its parameters."""
        found = {}
        for connection, data in self.asked.items():
            begins = re.match(rb"(?:POST /bot42:t+/|GET /file/bot42:t+)(\S+) HTTP/1.1\r\n.*?\r\n\r\n", data, re.DOTALL)
            assert begins is not None
            body = data[begins.end() :]
            found[connection] = (begins[1].decode(), json.loads(body) if body.startswith(b"{") else None)
        return found

    @property
    def methods(self) -> list[str]:
        """The methods under way."""
        return [method for method, _ in self.calls.values()]

    def statuses(self, client: int) -> list[int]:
        """Of the responses that a client got."""
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", self.said[client])]

    def verdicts(self) -> list[Verdict]:
        return [report.verdict for report in self.reports]

    def see(self, effect: Effect) -> None:
        assert not self.ended or isinstance(effect, Respond), "no effect follows Ended, but to what is asked later"
        assert SECRET not in repr(effect)
        if isinstance(effect, (Respond, Throw)):
            self.hosted.remove(effect.request)
            self.answers[effect.request] = effect.response if isinstance(effect, Respond) else effect
        elif isinstance(effect, Connect):
            assert (effect.host, effect.port, effect.tls) == ("api.telegram.org", 443, True)
            assert effect.connection not in self.opening + self.open + self.clients
            self.opening.append(effect.connection)
        elif isinstance(effect, Send):
            if effect.connection in self.clients:
                self.said[effect.connection] += effect.data
            else:
                assert effect.connection in self.open
                self.asked[effect.connection] = self.asked.get(effect.connection, b"") + effect.data
        elif isinstance(effect, Pull):
            assert effect.connection in self.open + self.clients
            self.pulls[effect.connection] = effect
        elif isinstance(effect, Close):
            (known,) = [each for each in (self.opening, self.open, self.clients) if effect.connection in each]
            known.remove(effect.connection)
            self.asked.pop(effect.connection, None)
            self.pulls.pop(effect.connection, None)
        elif isinstance(effect, Handle):
            assert effect.update.update_id not in self.running
            self.running[effect.update.update_id] = effect.job
        elif isinstance(effect, Resolve):
            self.open_calls.remove(effect.call)
            self.outcomes[effect.call] = effect.outcome
        elif isinstance(effect, Receive):
            assert effect.call in self.open_calls
            self.pieces[effect.call] = self.pieces.get(effect.call, b"") + effect.data
        elif isinstance(effect, Report):
            self.reports.append(effect)
        elif isinstance(effect, Log):
            self.logs.append(effect.text)
        elif isinstance(effect, Ended):
            assert self.opening == self.open == self.clients == [], "all that was open is closed before"
            assert self.open_calls == set(), "every call has ended"
            assert self.hosted == set(), "every request is answered"
            assert self.bot.deadline is None
            self.ended.append(effect.failure)
        else:
            assert isinstance(effect, (Cancel, Mark, Open, Store))


def kinds(effects: list[Effect]) -> list[type]:
    return [type(effect) for effect in effects]


# Polling


def test_a_polling_exchange_in_bytes() -> None:
    """From the start to the end of a run, over one connection."""
    bot = Bot(TOKEN, PollingOptions())
    head = b"host: api.telegram.org\r\nuser-agent: hookline\r\n"
    json_head = head + b"content-type: application/json\r\n"
    assert bot.start(0.0) == [Connect(1, "api.telegram.org", 443, True)]
    assert bot.connected(1, 0.1) == [
        Send(1, b"POST /bot%b/getMe HTTP/1.1\r\n%bcontent-length: 0\r\n\r\n" % (TOKEN.value.encode(), head))
    ]
    log, send = bot.received(1, ok(ME), 0.2)
    assert log == Log("polling as @some_bot")
    assert isinstance(send, Send)
    assert b"/deleteWebhook HTTP/1.1\r\n" in send.data
    body = b'{"limit":100,"timeout":30}'
    poll = b"POST /bot%b/getUpdates HTTP/1.1\r\n%bcontent-length: 26\r\n\r\n%b" % (
        TOKEN.value.encode(),
        json_head,
        body,
    )
    assert bot.received(1, ok(True), 0.3) == [Send(1, poll)]
    (handle,) = bot.received(1, ok([message(7)]), 5.0)
    assert isinstance(handle, Handle)
    (send,) = bot.finished(handle.job, Returned(), 6.0)
    assert isinstance(send, Send)
    assert send.data.endswith(b'\r\n\r\n{"limit":100,"timeout":30,"offset":8}')
    assert bot.received(1, ok([]), 36.0)[0] == Send(1, send.data)
    assert bot.stop(37.0) == [Close(1), Ended(None)]


def test_the_start_of_a_poller_learns_the_bot_and_deletes_the_webhook_before_it_polls() -> None:
    around = Around(PollingOptions(drop_pending_updates=True))
    around.start()
    assert around.methods == ["getMe"]
    around.answer("getMe", ME)
    assert list(around.calls.values()) == [("deleteWebhook", {"drop_pending_updates": True})]
    around.answer("deleteWebhook", True)
    assert around.methods == ["getUpdates"]
    assert around.bot.progress.bot is not None


def test_a_stop_gives_the_poll_up_waits_for_handlers_and_confirms_what_was_handled() -> None:
    around = Around(PollingOptions(concurrency=2))
    around.poll()
    around.answer("getUpdates", [message(7, chat=1), message(8, chat=2)])
    around.connect()
    around.wait(1.0)
    around.tell("stop")
    assert around.methods == []
    around.finish(7)
    around.finish(8)
    around.connect()
    assert list(around.calls.values()) == [("getUpdates", {"offset": 9, "limit": 1, "timeout": 0})]
    effects = around.answer("getUpdates", [])
    assert kinds(effects) == [Close, Ended]
    assert around.ended == [None]


def test_a_second_stop_cuts_the_grace_time_short() -> None:
    around = Around(PollingOptions())
    around.poll()
    around.answer("getUpdates", [message(7)])
    around.tell("stop")
    assert around.ended == []
    effects = around.tell("stop")
    assert kinds(effects)[0] is Cancel
    assert around.ended == [None]
    assert around.tell("stop") == []


def test_a_token_that_is_refused_ends_the_run_with_the_reason() -> None:
    around = Around(PollingOptions())
    around.start()
    effects = around.answer_bytes("getMe", refusal(401, "Unauthorized"))
    assert kinds(effects) == [Close, Ended]
    assert around.ended[0] is not None
    assert "401 Unauthorized" in around.ended[0]


def test_what_goes_to_a_connection_goes_before_its_close() -> None:
    """The answer that ends the run makes room for a call: that was sent, so it is written before the end."""
    around = Around(PollingOptions())
    around.start()
    around.call(1)
    (connection,) = around.open
    effects = around.answer_bytes("getMe", refusal(401, "Unauthorized"))
    assert kinds(effects) == [Send, Close, Close, Resolve, Ended]
    assert [effects[0].connection, effects[1].connection] == [connection] * 2  # type: ignore[union-attr]


def test_a_poll_whose_answer_is_overdue_is_given_up_and_made_anew() -> None:
    around = Around(PollingOptions())
    around.poll()
    (connection,) = around.open
    around.wait(40.0)
    assert around.open == []
    assert around.verdicts() == [Verdict.UNREACHABLE]
    around.wait(1.0)
    around.connect()
    assert around.methods == ["getUpdates"]
    assert around.open != [connection]


def test_calls_that_fill_all_connections_do_not_hold_the_poll_up() -> None:
    around = Around(PollingOptions(), api=ApiOptions(connections=2))
    for call in range(10):
        around.call(call)
    around.connect()
    around.poll()
    assert around.methods == ["sendMessage", "sendMessage", "getUpdates"]


# Webhook


def test_a_webhook_request_in_bytes() -> None:
    bot = Bot(TOKEN, WebhookOptions())
    assert bot.start(0.0) == []
    assert bot.accepted(bot.new_connection(), 1.0) == []
    (handle,) = bot.received(1, post(message(7)), 1.0)
    assert isinstance(handle, Handle)
    assert bot.finished(handle.job, Returned(), 2.0) == [Send(1, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")]
    (handle,) = bot.received(1, post(message(8)), 3.0)
    assert isinstance(handle, Handle)
    assert bot.finished(handle.job, Raised("ValueError: no"), 4.0)[-1] == Send(
        1, b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"
    )
    assert bot.stop(5.0) == [Close(1), Ended(None)]


@pytest.mark.parametrize("at", range(1, len(post(message(7)))))
def test_a_webhook_request_may_be_split_anywhere(at: int) -> None:
    around = Around(WebhookOptions())
    around.start()
    data = post(message(7))
    client = around.client()
    assert around.send(client, data[:at]) == []
    around.send(client, data[at:])
    around.finish(7)
    assert around.statuses(client) == [200]
    assert around.clients == [client]


def test_a_webhook_request_may_come_byte_by_byte() -> None:
    around = Around(WebhookOptions())
    around.start()
    client = around.client()
    for byte in post(message(7)) + post(message(8)):
        around.send(client, bytes([byte]))
    around.finish(7)
    around.finish(8)
    assert around.statuses(client) == [200, 200]


def test_pipelined_requests_are_handled_and_answered_in_their_order() -> None:
    around = Around(WebhookOptions())
    around.start()
    client = around.ask(b"".join(post(message(update_id, chat=update_id)) for update_id in (5, 6, 7)))
    assert list(around.running) == [5]
    around.finish(5)
    assert list(around.running) == [6]
    around.finish(6, Raised("no"))
    around.finish(7)
    assert around.statuses(client) == [200, 500, 200]


def test_pipelined_requests_that_need_no_handler_are_answered_at_once_however_many() -> None:
    around = Around(WebhookOptions())
    around.start()
    client = around.ask(post(message(7)))
    around.finish(7)
    around.send(client, (post(message(7)) + HEALTH) * 30)
    assert around.statuses(client) == [200] * 61


@pytest.mark.parametrize("data", [post(message(7), path=b"/other"), post(b"{}")])
def test_who_sends_what_is_rejected_has_to_connect_anew_for_each(data: bytes) -> None:
    """So many in a row would hold up all others."""
    around = Around(WebhookOptions())
    around.start()
    client = around.client()
    effects = around.send(client, data * 1_000)
    assert kinds(effects) == [Report, Send, Close]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (post(message(7), path=b"/other"), 404),
        (HEALTH.replace(b"/healthz", b"/"), 405),
        (post(message(7)), 401),
        (post(message(7), b"X-Telegram-Bot-Api-Secret-Token: wrong"), 401),
        (post(message(7), b"X-Telegram-Bot-Api-Secret-Token: s3cret").replace(b"/json", b"/xml"), 415),
        (post(b"x" * 3_000, b"X-Telegram-Bot-Api-Secret-Token: s3cret"), 413),
        (post(b"no json", b"X-Telegram-Bot-Api-Secret-Token: s3cret"), 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
    ],
)
def test_what_is_rejected_is_answered_reported_once_and_never_handled(data: bytes, status: int) -> None:
    """Also by its head alone: a secret token that is set wrong must show in the log of whoever set it."""
    around = Around(WebhookOptions(secret_token="s3cret", max_body=2_000))
    around.start()
    client = around.ask(data)
    assert around.statuses(client) == [status]
    assert around.verdicts() == [Verdict.REQUEST_REJECTED]
    assert re.match(rf"a request was answered {status}: .+", around.reports[0].text)
    assert "s3cret" not in repr(around.reports)
    assert around.running == {}


@pytest.mark.parametrize("path", [b"/healthz", b"/metrics"])
def test_whoever_asks_a_poller_for_its_health_is_not_reported(path: bytes) -> None:
    """Nor whoever looks for it elsewhere: nothing is lost by that."""
    around = Around(PollingOptions())
    around.start()
    around.ask(HEALTH.replace(b"/healthz", path))
    assert around.verdicts() == []


def test_a_body_that_is_rejected_by_its_head_is_not_read() -> None:
    around = Around(WebhookOptions(path="/hook"))
    around.start()
    head, _, body = post(message(7)).partition(b"\r\n\r\n")
    client = around.client()
    effects = around.send(client, head + b"\r\n\r\n")
    assert kinds(effects) == [Report, Send, Close]
    assert around.statuses(client) == [404]
    assert around.tell("received", client, body) == []


@pytest.mark.parametrize("declared", [True, False])
def test_an_oversized_body_is_refused_declared_or_not(declared: bool) -> None:
    around = Around(WebhookOptions(max_body=2_000))
    around.start()
    client = around.client()
    if declared:
        around.send(client, post(b"x" * 2_001)[:150])
    else:
        head = post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        around.send(client, head + b"7d1\r\n" + b"x" * 1_000)
        assert around.statuses(client) == []
        around.send(client, b"x" * 1_001)
    assert around.statuses(client) == [413]
    assert around.clients == []


def test_a_client_that_asks_whether_to_send_its_body_is_told_only_if_it_is_wanted() -> None:
    around = Around(WebhookOptions(path="/hook"))
    around.start()
    for path, status in ((b"/hook", 100), (b"/other", 404)):
        head, _, _ = post(message(7), b"Expect: 100-continue", path=path).partition(b"\r\n\r\n")
        assert around.statuses(around.ask(head + b"\r\n\r\n")) == [status]


def test_a_throw_is_a_500_and_the_next_request_joins_the_run() -> None:
    around = Around(WebhookOptions(timeout=10.0))
    around.start()
    first = around.ask(post(message(7)))
    around.wait(10.0)
    assert around.statuses(first) == [500]
    assert around.verdicts() == [Verdict.HANDLER_TIMEOUT]
    second = around.ask(post(message(7)))
    around.finish(7)
    assert around.statuses(second) == [200]


def test_a_client_that_goes_before_its_answer_is_not_answered_and_the_run_goes_on() -> None:
    around = Around(WebhookOptions())
    around.start()
    client = around.ask(post(message(7)))
    around.clients.remove(client)
    assert around.tell("disconnected", client, "reset") == []
    assert around.finish(7) == []


def test_requests_are_handled_before_the_start_since_the_server_listens_already() -> None:
    around = Around(WebhookOptions(), set_webhook=SetWebhookOptions(url=URL))
    client = around.ask(post(message(7)))
    around.start()
    around.finish(7)
    assert around.statuses(client) == [200]


def test_a_stop_closes_idle_connections_answers_what_runs_and_ends() -> None:
    around = Around(WebhookOptions())
    around.start()
    idle, busy = around.client(), around.ask(post(message(7)))
    assert around.tell("stop") == [Close(idle), Log("stopping: 1 running, with 20 s to end (update 7)")]
    effects = around.finish(7)
    assert kinds(effects) == [Send, Close, Ended]
    assert b"connection: close" in around.said[busy].lower()


def test_who_comes_during_a_stop_is_told_when_to_come_again() -> None:
    around = Around(WebhookOptions())
    around.start()
    around.ask(post(message(7)))
    around.tell("stop")
    late = around.ask(post(message(8)))
    assert around.statuses(late) == [503]
    assert b"\r\nretry-after: " in around.said[late].lower()
    assert late not in around.clients


def test_a_stop_leaves_what_waits_to_telegram() -> None:
    around = Around(WebhookOptions())
    around.start()
    around.ask(post(message(7)))
    waiting = around.ask(post(message(8)))
    around.tell("stop")
    assert around.statuses(waiting) == [503]
    around.finish(7)
    assert around.ended == [None]


def test_handlers_that_do_not_end_in_the_grace_time_are_left_behind_and_their_requests_answered() -> None:
    around = Around(WebhookOptions(grace=5.0))
    around.start()
    client = around.ask(post(message(7)))
    around.tell("stop")
    around.wait(5.0)
    assert around.statuses(client) == [503]
    assert around.ended == [None]
    assert around.tell("finished", around.running[7], Returned()) == []


def test_a_request_of_a_socket_is_not_told_as_one_of_another_server() -> None:
    around = Around(WebhookOptions())
    around.start()
    client = around.ask(post(message(7)))
    with pytest.raises(LocalProtocolError, match="the number 1 is not one that new_request gave for it"):
        around.bot.requested(1, Request("POST", "/"), around.now)
    around.finish(7)
    assert around.statuses(client) == [200]


# The webhook's registration


def test_a_start_sets_the_webhook_if_that_is_asked_for() -> None:
    around = Around(WebhookOptions(secret_token="s3cret"), set_webhook=SetWebhookOptions(url=URL))
    around.start()
    assert list(around.calls.values()) == [("setWebhook", {"url": URL, "secret_token": "s3cret"})]
    around.answer("setWebhook", True)
    assert around.logs == [f"the webhook is set to {URL}"]
    around.tell("stop")
    assert around.ended == [None]


def test_calls_that_fill_all_connections_do_not_hold_the_registration_up() -> None:
    around = Around(WebhookOptions(), set_webhook=SetWebhookOptions(url=URL), api=ApiOptions(connections=1))
    around.call(1)
    around.call(2)
    around.connect()
    around.start()
    assert around.methods == ["sendMessage", "setWebhook"]


def test_a_webhook_is_deleted_at_the_stop_after_the_last_handler() -> None:
    around = Around(WebhookOptions(), set_webhook=SetWebhookOptions(url=URL, delete_at_stop=True))
    around.start()
    around.answer("setWebhook", True)
    client = around.ask(post(message(7)))
    around.tell("stop")
    assert around.methods == []
    around.finish(7)
    assert around.statuses(client) == [200]
    assert around.methods == ["deleteWebhook"]
    assert kinds(around.answer("deleteWebhook", True)) == [Log, Close, Ended]


def test_a_stop_while_the_webhook_is_being_set_gives_that_up() -> None:
    around = Around(WebhookOptions(), set_webhook=SetWebhookOptions(url=URL))
    around.start()
    effects = around.tell("stop")
    assert kinds(effects) == [Close, Ended]


def test_a_webhook_that_cannot_be_set_ends_the_run_when_the_handlers_have_ended() -> None:
    around = Around(WebhookOptions(), set_webhook=SetWebhookOptions(url=URL))
    around.start()
    client = around.ask(post(message(7)))
    around.answer_bytes("setWebhook", refusal(400, "Bad Request: bad webhook"))
    assert around.bot.state == Stopping(
        "setWebhook: 400 Bad Request: bad webhook; check the token and the webhook's url"
    )
    around.finish(7)
    assert around.statuses(client) == [200]
    assert around.ended == ["setWebhook: 400 Bad Request: bad webhook; check the token and the webhook's url"]


def test_a_webhook_that_cannot_be_set_during_a_stop_does_not_cut_it_short() -> None:
    around = Around(WebhookOptions(), set_webhook=SetWebhookOptions(url=URL))
    around.start()
    around.ask(post(message(7)))
    around.tell("stop")
    around.answer_bytes("setWebhook", refusal(401, "Unauthorized"))
    assert around.ended == []
    around.finish(7)
    assert around.ended == [None]


def test_a_webhook_that_could_not_be_set_for_now_is_not_set_during_a_stop() -> None:
    around = Around(WebhookOptions(grace=300.0), set_webhook=SetWebhookOptions(url=URL))
    around.start()
    around.answer_bytes("setWebhook", refusal(500, "Internal Server Error"))
    around.ask(post(message(7)))
    around.tell("stop")
    around.wait(200.0)
    assert around.methods == []
    around.finish(7)
    assert around.ended == [None]


def test_a_webhook_that_could_not_be_set_for_now_is_set_later_and_requests_are_served_meanwhile() -> None:
    around = Around(WebhookOptions(), set_webhook=SetWebhookOptions(url=URL))
    around.start()
    around.answer_bytes("setWebhook", refusal(500, "Internal Server Error"))
    client = around.ask(post(message(7)))
    around.finish(7)
    assert around.statuses(client) == [200]
    around.wait(1.0)
    around.answer("setWebhook", True)
    assert around.logs == [f"the webhook is set to {URL}"]


# Calls


def test_a_call_goes_out_and_ends_with_its_outcome() -> None:
    around = Around()
    around.start()
    around.call(1)
    around.connect()
    assert list(around.calls.values()) == [("sendMessage", {"chat_id": 1, "text": "hi"})]
    around.answer("sendMessage", {"message_id": 5})
    assert around.outcomes == {1: Result({"message_id": 5})}
    around.tell("stop")
    assert around.ended == [None]


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        (refusal(403, "Forbidden"), Refused(403, "Forbidden")),
        (response(502, b"<html>"), Unreachable("HTTP status 502 with no JSON, so not an answer of the Bot API", 502)),
        (b"\x00", Unreachable("the answer is not HTTP/1.1: illegal status line")),
    ],
)
def test_a_call_ends_with_whatever_the_server_says(data: bytes, outcome: CallOutcome) -> None:
    around = Around()
    around.call(1)
    around.connect()
    around.answer_bytes("sendMessage", data + b"\r\n\r\n" if data == b"\x00" else data)
    assert around.outcomes == {1: outcome}


def test_a_call_ends_when_no_connection_opens() -> None:
    around = Around()
    around.call(1)
    around.refuse_connections()
    assert around.outcomes == {1: Unreachable("no connection to api.telegram.org:443: Connection refused")}


def test_an_end_of_the_servers_closes_our_side_and_the_call_goes_once_more() -> None:
    around = Around()
    around.call(1)
    around.connect()
    (connection,) = around.open
    assert kinds(around.tell("received", connection, b"")) == [Close, Connect]
    around.connect()
    around.answer("sendMessage", True)
    assert around.outcomes == {1: Result(True)}


def test_a_file_is_read_while_it_is_sent() -> None:
    around = Around()
    around.call(1, "sendPhoto", params={"photo": InputFile("a.png")})
    around.connect()
    (connection,) = around.open
    assert around.pulls[connection].source == PurePath("a.png")
    around.tell("pulled", connection, b"piece")
    around.tell("pulled", connection, b"")
    assert b"piece" in around.asked[connection]
    around.answer("sendPhoto", True)
    assert around.outcomes == {1: Result(True)}


def test_a_file_that_cannot_be_read_ends_its_call() -> None:
    around = Around()
    around.call(1, "sendPhoto", params={"photo": InputFile("a.png")})
    around.connect()
    around.tell("pull_failed", around.open[0], "No such file")
    assert around.outcomes == {1: Unreachable("a file could not be read: No such file")}


def test_a_cancelled_call_is_closed_and_never_ends() -> None:
    around = Around()
    around.call(1)
    around.connect()
    around.open_calls.remove(1)
    assert around.tell("cancel", 1) == [Close(1)]
    assert around.outcomes == {}
    assert around.tell("cancel", 1) == around.tell("cancel", 99) == []


def test_a_call_that_takes_too_long_ends_and_its_connection_is_closed() -> None:
    around = Around()
    around.call(1, timeout=20.0)
    around.connect()
    effects = around.wait(20.0)
    assert kinds(effects) == [Close, Resolve]


def test_the_end_of_a_run_ends_calls_and_downloads_that_are_under_way_or_wait_and_nothing_more_is_sent() -> None:
    around = Around(api=ApiOptions(connections=2))
    around.start()
    around.download(1)
    for call in range(2, 7):
        around.call(call)
    around.connect()
    effects = around.tell("stop")
    assert kinds(effects) == [Close, Close, *[Resolve] * 6, Ended]
    assert set(around.outcomes.values()) == {Unreachable("the bot was stopped before the answer came")}


# Downloads


def test_a_download_is_received_piece_by_piece_and_ends_with_none() -> None:
    around = Around()
    around.download(1, "photos/a b.jpg")
    around.connect()
    (connection,) = around.open
    assert around.asked[connection].startswith(b"GET /file/bot42:%b/photos/a%%20b.jpg HTTP/1.1\r\n" % SECRET.encode())
    assert around.tell("received", connection, b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc") == [
        Receive(1, b"abc")
    ]
    assert around.tell("received", connection, b"def") == [Receive(1, b"def"), Resolve(1, Result(None))]
    around.asked.clear()
    around.call(2)
    assert around.calls == {connection: ("sendMessage", {"chat_id": 1, "text": "hi"})}


def test_a_download_has_no_limit() -> None:
    around = Around(api=ApiOptions(max_response=1_024))
    around.download(1)
    around.connect()
    around.tell("received", 1, response(200, b"x" * 5_000))
    assert around.pieces == {1: b"x" * 5_000}
    assert around.outcomes == {1: Result(None)}


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        (refusal(404, "Not Found"), Refused(404, "Not Found")),
        (response(404, b"no"), Unreachable("HTTP status 404 with no JSON, so not an answer of the Bot API", 404)),
        (response(200, b""), Result(None)),
    ],
)
def test_a_download_that_is_none_brings_no_bytes(data: bytes, outcome: CallOutcome) -> None:
    around = Around()
    around.download(1)
    around.connect()
    around.tell("received", 1, data)
    assert around.outcomes == {1: outcome}
    assert around.pieces == {}


def test_a_download_that_breaks_off_fails_after_its_pieces() -> None:
    around = Around()
    around.download(1)
    around.connect()
    around.tell("received", 1, response(200, b"x" * 100)[:-1])
    around.tell("received", 1, b"")
    assert around.pieces == {1: b"x" * 99}
    assert isinstance(around.outcomes[1], Unreachable)


def test_a_download_ends_when_no_connection_opens() -> None:
    around = Around()
    around.download(1)
    around.refuse_connections()
    assert around.outcomes == {1: Unreachable("no connection to api.telegram.org:443: Connection refused")}


def test_a_cancelled_download_is_closed_and_never_ends() -> None:
    around = Around()
    around.download(1)
    around.connect()
    around.tell("received", 1, response(200, b"x" * 100)[:-1])
    around.open_calls.remove(1)
    assert around.tell("cancel", 1) == [Close(1)]
    around.download(1)


@pytest.mark.parametrize("file_path", ["\ud800", 5])
def test_a_path_that_cannot_be_sent_is_refused_and_changes_nothing(file_path: Any) -> None:
    around = Around()
    before = pickle.dumps(around.bot)
    with pytest.raises(LocalProtocolError, match="file_path"):
        around.bot.download(1, file_path, 0.0)
    assert pickle.dumps(around.bot) == before


# Replies


def replying(**options: Any) -> Around:
    around = Around(WebhookOptions(**options), reply_with=any_method)
    around.start()
    return around


def test_a_call_travels_in_the_response_at_once() -> None:
    around = replying()
    client = around.ask(post(message(7)))
    effects = around.call(1, job=around.running[7])
    assert kinds(effects) == [Send, Resolve]
    assert around.outcomes == {1: REPLIED}
    assert around.said[client].endswith(b'\r\n\r\n{"method":"sendMessage","chat_id":1,"text":"hi"}')
    assert around.finish(7) == []


def test_what_cannot_travel_is_an_ordinary_call() -> None:
    """A second call of the update, one of another method, one of no job, one whose request was answered."""
    around = Around(WebhookOptions(), reply_with="sendMessage".__eq__)
    around.start()
    around.ask(post(message(7)))
    job = around.running[7]
    around.call(1, "sendPhoto", job=job)
    around.call(2, job=None)
    around.call(3, job=99)
    around.connect()
    assert around.methods == ["sendPhoto", "sendMessage", "sendMessage"]
    around.call(4, job=job)
    assert around.outcomes == {4: REPLIED}
    around.call(5, job=job)
    around.connect()
    assert len(around.methods) == 4


def test_a_method_whose_result_is_wanted_does_not_travel() -> None:
    around = replying()
    around.ask(post(message(7)))
    around.call(1, "getFile", job=around.running[7])
    around.connect()
    assert around.methods == ["getFile"]


def test_a_call_does_not_travel_to_a_client_that_has_gone() -> None:
    around = replying()
    client = around.ask(post(message(7)))
    around.clients.remove(client)
    around.tell("disconnected", client, "reset")
    around.call(1, job=around.running[7])
    around.connect()
    assert around.methods == ["sendMessage"]


@pytest.mark.parametrize("source", [PollingOptions(), None])
def test_without_a_webhook_nothing_travels(source: PollingOptions | None) -> None:
    around = Around(source, reply_with=any_method)
    around.call(1, job=1)
    around.connect()
    assert around.methods == ["sendMessage"]


def test_a_held_answer_carries_its_call_when_the_handler_has_ended() -> None:
    around = replying(hold_answer=True)
    client = around.ask(post(message(7)))
    assert around.call(1, job=around.running[7]) == [Resolve(1, REPLIED)]
    assert around.said[client] == b""
    around.finish(7)
    assert b'"method":"sendMessage"' in around.said[client]


def test_a_reply_with_a_file_is_read_while_it_is_sent() -> None:
    around = replying()
    client = around.ask(post(message(7)) + post(message(8)))
    around.call(1, "sendPhoto", params={"photo": InputFile("a.png")}, job=around.running[7])
    assert around.outcomes == {1: REPLIED}
    around.finish(7)
    around.tell("pulled", client, b"piece")
    assert list(around.running) == [], "the next request waits for the end of this answer"
    around.tell("pulled", client, b"")
    assert b"piece" in around.said[client]
    assert list(around.running) == [8]


def half_replied() -> tuple[Around, int]:
    """A bot that stops while a reply with a file goes out; the reply's client."""
    around = replying()
    client = around.ask(post(message(7)))
    around.call(1, "sendPhoto", params={"photo": InputFile(PurePath("a.png"))}, job=around.running[7])
    around.finish(7)
    around.call(2)
    around.tell("stop")
    assert isinstance(around.bot.state, Leaving)
    assert around.clients == [client]
    return around, client


def test_an_answer_that_is_read_from_a_file_goes_out_whole_before_the_end() -> None:
    around, client = half_replied()
    around.tell("pulled", client, b"piece")
    assert around.ended == []
    effects = around.tell("pulled", client, b"")
    assert around.said[client].endswith(b"\r\n0\r\n\r\n")
    assert kinds(effects)[:2] == [Send, Close]
    assert around.ended == [None]


def test_an_answer_that_goes_out_at_the_end_does_not_hide_why_the_run_ends() -> None:
    around = Around(WebhookOptions(), set_webhook=SetWebhookOptions(url=URL), reply_with=any_method)
    around.start()
    client = around.ask(post(message(7)))
    around.call(1, "sendPhoto", params={"photo": InputFile("a.png")}, job=around.running[7])
    around.answer_bytes("setWebhook", refusal(401, "Unauthorized"))
    around.finish(7)
    around.tell("pulled", client, b"")
    assert around.ended == ["setWebhook: 401 Unauthorized; check the token and the webhook's url"]


def test_an_answer_that_cannot_go_out_does_not_keep_the_run_from_its_end() -> None:
    for end in ("pull_failed", "disconnected", "wait", "stop"):
        around, client = half_replied()
        if end == "wait":
            around.wait(30.0)
        elif end == "stop":
            around.tell("stop")
        else:
            if end == "disconnected":
                around.clients.remove(client)
            around.tell(end, client, "gone")
        assert around.ended == [None], end


# Health


def test_a_poller_that_hears_from_telegram_is_healthy() -> None:
    around = Around(PollingOptions())
    around.poll()
    client = around.ask(HEALTH)
    assert around.statuses(client) == [200]
    said = json.loads(around.said[client].partition(b"\r\n\r\n")[2])
    assert said == {
        "healthy": True,
        "seconds_since_fetched": None,
        "seconds_since_handled": None,
        "waiting": 0,
        "running": 0,
    }
    around.answer("getUpdates", [message(7), message(8)])
    around.wait(2.0)
    around.finish(7)
    around.wait(1.54)
    around.send(client, HEALTH)
    said = json.loads(around.said[client].rpartition(b"\r\n\r\n")[2])
    assert said == {
        "healthy": True,
        "seconds_since_fetched": 3.5,
        "seconds_since_handled": 1.5,
        "waiting": 0,
        "running": 1,
    }


def test_head_gets_the_status_and_no_body() -> None:
    around = Around(PollingOptions())
    around.poll()
    client = around.ask(HEALTH.replace(b"GET", b"HEAD") * 2)
    assert around.statuses(client) == [200, 200]
    assert around.said[client].endswith(b"\r\n\r\n")


def test_a_poller_that_hears_nothing_from_telegram_is_not_healthy() -> None:
    around = Around(PollingOptions())
    around.start()
    around.wait(30.0 + 10.0 + STALE_AFTER)
    assert around.bot.healthy(around.now)
    around.wait(0.1)
    around.reports.clear()
    assert around.statuses(around.ask(HEALTH)) == [503]
    assert around.reports == [], "whoever asks is answered, and not rejected"


def test_a_poller_whose_lanes_are_all_busy_is_healthy() -> None:
    around = Around(PollingOptions())
    around.poll()
    around.answer("getUpdates", [message(7)])
    around.wait(1_000.0)
    assert around.methods == []
    assert around.statuses(around.ask(HEALTH)) == [200]


def test_a_poller_whose_lanes_are_all_busy_is_healthy_though_it_hears_nothing() -> None:
    """It could take no update; what it tries to say meanwhile is what it has handled."""
    around = Around(PollingOptions())
    around.poll()
    around.answer("getUpdates", [message(7), message(8)])
    around.finish(7)
    around.wait(0.1)
    assert around.methods == ["getUpdates"]
    around.wait(1_000.0)
    assert around.statuses(around.ask(HEALTH)) == [200]


def test_a_poller_that_waits_for_a_slow_handler_before_it_asks_again_is_healthy() -> None:
    """It has all that Telegram shows past the unconfirmed update: to end the process would only repeat that one."""
    around = Around(PollingOptions(concurrency=2, limit=2))
    around.poll()
    around.answer("getUpdates", [message(7, chat=1), message(8, chat=2)])
    around.finish(8)
    around.wait(1_000.0)
    assert Verdict.HELD_BACK in around.verdicts()
    assert around.statuses(around.ask(HEALTH)) == [200]


def stored(max_waiting: int) -> Around:
    """A poller with an inbox, which has two updates: one runs."""
    around = Around(PollingOptions(confirm="stored", max_waiting=max_waiting))
    around.poll()
    (store,) = (effect for effect in around.answer("getUpdates", [message(7), message(8)]) if isinstance(effect, Store))
    around.tell("stored", store.store, (7, 8))
    return around


def test_a_poller_with_an_inbox_is_not_healthy_if_it_hears_nothing_though_all_lanes_are_busy() -> None:
    around = stored(max_waiting=10)
    around.wait(1_000.0)
    assert around.statuses(around.ask(HEALTH)) == [503]


def test_a_poller_whose_inbox_has_no_room_is_healthy() -> None:
    around = stored(max_waiting=1)
    around.wait(1_000.0)
    assert around.statuses(around.ask(HEALTH)) == [200]


def test_a_webhook_with_an_inbox_is_healthy_once_that_is_open() -> None:
    around = Around(WebhookOptions(confirm="stored"))
    around.tell("start")
    assert not around.bot.healthy(around.now)
    around.tell("opened", (), durable=True)
    assert around.bot.healthy(around.now)


def test_a_webhook_is_healthy_while_it_serves() -> None:
    around = Around(WebhookOptions())
    assert around.statuses(around.ask(HEALTH)) == [503]
    around.start()
    client = around.ask(HEALTH)
    around.wait(70.0)
    around.send(client, HEALTH)
    assert around.statuses(client) == [200, 200]


@pytest.mark.parametrize("source", [PollingOptions(), WebhookOptions()])
def test_a_bot_that_stops_is_not_healthy(source: PollingOptions | WebhookOptions) -> None:
    around = Around(source)
    around.start()
    if isinstance(source, PollingOptions):
        around.answer("getMe", ME)
        around.answer("deleteWebhook", True)
        around.answer("getUpdates", [message(7)])
    else:
        around.ask(post(message(7)))
    client = around.ask(HEALTH[:10])
    around.tell("stop")
    if client in around.clients:
        around.send(client, HEALTH[10:])
        assert around.statuses(client) == [503]
    assert not around.bot.healthy(around.now)


def test_where_no_webhook_is_all_but_health_is_404() -> None:
    around = Around(PollingOptions())
    around.poll()
    assert around.statuses(around.ask(post(message(7)))) == [404]
    assert around.statuses(around.ask(HEALTH.replace(b"GET", b"POST"))) == [404]
    assert around.running == {}


# Behind a server that is not ours


def test_a_request_as_a_value_is_answered_by_a_value() -> None:
    around = Around(WebhookOptions())
    around.start()
    request = around.request(message(7))
    assert around.answers == {}
    around.finish(7)
    assert around.answers == {request: Response(200, (("content-length", "0"),))}


def test_a_request_as_a_value_is_thrown_when_its_time_is_up_and_joined_later() -> None:
    around = Around(WebhookOptions())
    around.start()
    first = around.request(message(7))
    around.wait(10.0)
    assert around.answers == {first: Throw(first, 7, 10.0)}
    second = around.request(message(7))
    around.finish(7)
    assert second in around.answers


@pytest.mark.parametrize(
    ("method", "target", "status"), [("GET", "/", 405), ("POST", "/other", 404), ("GET", "/healthz", 200)]
)
def test_what_the_head_of_a_request_earns_is_known_before_its_body(method: str, target: str, status: int) -> None:
    around = Around(WebhookOptions())
    around.start()
    answer = around.bot.screen(Request(method, target), around.now)
    assert answer is not None
    assert answer.status == status
    assert around.answers == {}
    request = around.request(message(7), method, target)
    assert around.answers == {request: answer}
    assert around.verdicts() == ([] if status == 200 else [Verdict.REQUEST_REJECTED])
    assert around.running == {}


def test_a_request_whose_client_is_gone_gets_no_answer() -> None:
    around = Around(WebhookOptions())
    around.start()
    request = around.request(message(7))
    around.hosted.remove(request)
    assert around.tell("gone", request) == []
    around.finish(7)
    assert around.answers == {}
    assert around.tell("gone", request) == around.tell("gone", 99) == []


def test_a_call_travels_in_the_answer_as_a_value() -> None:
    around = Around(WebhookOptions(), reply_with=any_method)
    around.start()
    request = around.request(message(7))
    around.call(1, job=around.running[7], params={"photo": InputFile(b"PNG", filename="a.png")}, method="sendPhoto")
    answer = around.answers[request]
    assert isinstance(answer, Response)
    assert b"PNG" in body_bytes(answer.body)
    assert around.outcomes == {1: REPLIED}


def test_a_call_with_a_file_to_be_read_does_not_travel_in_an_answer_as_a_value() -> None:
    """Nobody would know that it could not be read, or when it may be closed."""
    around = Around(WebhookOptions(), reply_with=any_method)
    around.start()
    request = around.request(message(7))
    around.call(1, job=around.running[7], params={"photo": InputFile("a.png")}, method="sendPhoto")
    around.connect()
    assert [pull.source for pull in around.pulls.values()] == [PurePath("a.png")]
    around.finish(7)
    assert around.answers[request] == Response(200, (("content-length", "0"),))


def test_a_stop_answers_requests_as_values_and_those_that_come_after_the_end() -> None:
    around = Around(WebhookOptions(grace=5.0))
    around.start()
    around.request(message(7))
    around.tell("stop")
    around.request(message(8))
    around.wait(5.0)
    assert around.ended == [None]
    around.request(message(7))
    unavailable = Response(503, (("retry-after", "5"), ("content-length", "0")))
    assert list(around.answers.values()) == [unavailable] * 3


def test_the_number_of_a_request_must_be_a_new_one() -> None:
    bot = Bot(TOKEN, WebhookOptions())
    with pytest.raises(LocalProtocolError, match="new_request"):
        bot.requested(1, Request("POST", "/"), 0.0)
    body = json.dumps(message(7)).encode()
    request = Request("POST", "/", (("content-type", "application/json"),), (body,))
    number = bot.new_request()
    bot.requested(number, request, 0.0)
    with pytest.raises(LocalProtocolError, match="new_request"):
        bot.requested(number, request, 1.0)


@pytest.mark.parametrize("source", [PollingOptions(), None])
def test_a_bot_without_a_webhook_answers_a_request_by_404(source: PollingOptions | None) -> None:
    around = Around(source)
    request = around.request(message(7))
    assert around.answers == {request: Response(404, (("content-length", "0"),))}
    assert around.reports == []


# Time


def test_the_reason_is_that_of_the_part_whose_time_comes_first() -> None:
    around = Around(PollingOptions(), http=HttpLimits(head_timeout=10.0))
    assert (around.bot.deadline, around.bot.reason) == (None, "nothing is awaited")
    around.tell("start")
    assert (around.bot.deadline, around.bot.reason) == (1_010.0, "the answer to getMe is overdue")
    around.connect()
    around.answer("getMe", ME)
    around.answer("deleteWebhook", True)
    assert (around.bot.deadline, around.bot.reason) == (1_040.0, "the answer to getUpdates is overdue")
    around.call(1, timeout=20.0)
    assert (around.bot.deadline, around.bot.reason) == (1_000.0 + CONNECT_TIMEOUT, "a connection is idle or too slow")
    around.connect()
    assert (around.bot.deadline, around.bot.reason) == (1_020.0, "a call ends or is tried again")
    around.answer("sendMessage", True)
    assert (around.bot.deadline, around.bot.reason) == (1_000.0 + IDLE_TIMEOUT, "a connection is idle or too slow")
    client = around.client()
    around.tell("received", client, b"POST")
    assert (around.bot.deadline, around.bot.reason) == (1_010.0, "a connection is idle or too slow")


def test_the_reason_of_a_webhook_and_its_registration() -> None:
    around = Around(WebhookOptions(timeout=12.0), set_webhook=SetWebhookOptions(url=URL))
    around.start()
    assert (around.bot.deadline, around.bot.reason) == (1_015.0, "the answer to a call is overdue")
    around.ask(post(message(7)))
    assert (around.bot.deadline, around.bot.reason) == (1_012.0, "a request's time is up")


def test_a_dead_network_is_tried_again_for_ever_and_never_hot() -> None:
    around = Around(PollingOptions())
    around.tell("start")
    tries = 0
    while around.now < 10_000.0:
        tries += len(around.opening)
        around.refuse_connections()
        deadline = around.bot.deadline
        assert deadline is not None
        around.wait(deadline - around.now)
    assert 150 < tries < 250


# Wrong use


@pytest.mark.parametrize("state", ["running", "over"])
def test_a_bot_is_started_once(state: str) -> None:
    around = Around()
    around.start()
    if state == "over":
        around.tell("stop")
    before = pickle.dumps(around.bot)
    with pytest.raises(LocalProtocolError, match="started before"):
        around.bot.start(1.0)
    assert pickle.dumps(around.bot) == before


def test_an_accepted_connection_has_a_number_that_was_given_for_it() -> None:
    around = Around(WebhookOptions())
    client = around.client()
    around.call(1)
    (ours,) = around.opening
    before = pickle.dumps(around.bot)
    for number in (0, -1, 99, ours, client):
        with pytest.raises(LocalProtocolError, match=f"{number}"):
            around.bot.accepted(number, 1.0)
    assert pickle.dumps(around.bot) == before


@pytest.mark.parametrize("first", ["call", "download"])
@pytest.mark.parametrize("second", ["call", "download"])
def test_the_number_of_a_call_in_use_is_refused(first: str, second: str) -> None:
    around = Around()
    around.call(1) if first == "call" else around.download(1)
    before = pickle.dumps(around.bot)
    make = around.call if second == "call" else around.download
    with pytest.raises(LocalProtocolError, match="call 1 is under way"):
        make(1)
    assert pickle.dumps(around.bot) == before


@pytest.mark.parametrize("job", [None, 1])
@pytest.mark.parametrize(
    ("method", "params"),
    [("no method", {}), ("sendMessage", {"text": object()}), ("sendPhoto", {"photo": InputFile("a"), "x": object()})],
)
def test_a_call_that_cannot_be_sent_is_refused_and_changes_nothing(method: str, params: Any, job: int | None) -> None:
    around = replying()
    around.ask(post(message(7)))
    before = pickle.dumps(around.bot)
    with pytest.raises(LocalProtocolError):
        around.bot.call(1, method, params, 1.0, job=job)
    assert pickle.dumps(around.bot) == before


@pytest.mark.parametrize("source", [PollingOptions(), WebhookOptions(), None])
def test_a_run_that_was_never_asked_for_cannot_finish(source: PollingOptions | WebhookOptions | None) -> None:
    around = Around(source)
    around.start()
    before = pickle.dumps(around.bot)
    with pytest.raises(LocalProtocolError):
        around.bot.finished(1, Returned(), 1.0)
    assert pickle.dumps(around.bot) == before


# The end


@pytest.mark.parametrize("source", [PollingOptions(), WebhookOptions(), None])
def test_a_stop_before_the_start_is_the_end(source: PollingOptions | WebhookOptions | None) -> None:
    around = Around(source, set_webhook=SetWebhookOptions(url=URL, delete_at_stop=True))
    assert around.tell("stop") == [Ended(None)]
    assert around.bot.state == Over()


@pytest.mark.parametrize("source", [PollingOptions(), WebhookOptions(), None])
def test_after_the_end_nothing_comes_but_the_refusal_of_what_is_new(
    source: PollingOptions | WebhookOptions | None,
) -> None:
    around = Around(source)
    around.start()
    around.call(1)
    client = around.client()
    connections = [*around.opening, *around.open, client, 99]
    while not around.ended:
        around.tell("stop")
    bot = around.bot
    for connection in connections:
        assert bot.connected(connection, 2_000.0) == []
        assert bot.received(connection, b"x", 2_000.0) == []
        assert bot.received(connection, b"", 2_000.0) == []
        assert bot.pulled(connection, b"x", 2_000.0) == []
        assert bot.pull_failed(connection, "no", 2_000.0) == []
        assert bot.connect_failed(connection, "no", 2_000.0) == []
        assert bot.disconnected(connection, "no", 2_000.0) == []
    assert (
        bot.tick(2_000.0) == bot.stop(2_000.0) == bot.cancel(1, 2_000.0) == bot.finished(1, Returned(), 2_000.0) == []
    )
    assert bot.deadline is None
    assert bot.reason == "nothing is awaited"
    stopped = Unreachable("the bot has stopped")
    assert bot.call(1, "sendMessage", {}, 2_000.0) == bot.download(1, "a", 2_000.0) == [Resolve(1, stopped)]
    assert bot.accepted(bot.new_connection(), 2_000.0) == [Close(bot.new_connection() - 1)]


def test_every_declared_edge_is_taken_and_no_other() -> None:
    TABLE.seen = set()
    try:
        Around().tell("stop")
        around = Around(PollingOptions())
        around.start()
        around.answer_bytes("getMe", refusal(401, "Unauthorized"))
        around = Around(WebhookOptions())
        around.start()
        around.tell("stop")
        around, client = half_replied()
        around.tell("pulled", client, b"")
        assert {(source, target) for source, targets in TABLE.edges.items() for target in targets} == TABLE.seen
    finally:
        TABLE.seen = None


# The token


def test_a_url_with_the_token_in_it_is_logged_without() -> None:
    """Many put the token into the webhook's path, so that nobody else finds it."""
    path = f"/{TOKEN.value}"
    around = Around(WebhookOptions(path=path), set_webhook=SetWebhookOptions(url=f"https://bot.example{path}"))
    around.start()
    around.answer("setWebhook", True)
    assert around.logs == ["the webhook is set to https://bot.example/42:***"]


# Whatever the network does

TELEGRAM_SAYS = st.sampled_from(
    [
        ok(ME),
        ok(True),
        ok([]),
        ok([message(7), message(8, chat=2)]),
        ok([{"update_id": "no"}, None, 5]),
        refusal(401, "Unauthorized"),
        refusal(409, "Conflict: terminated by other getUpdates request"),
        refusal(429, "Too Many Requests: retry after 1"),
        response(502, b"<html>"),
        response(404, b""),
        ok(True)[:40],
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"\r\n",
    ]
)
CLIENTS_SAY = st.sampled_from(
    [
        post(message(7)),
        post(message(8, chat=2)),
        post(b"{}"),
        post(message(9), b"Expect: 100-continue"),
        post(message(9), b"Connection: close"),
        post(message(10))[:60],
        post(message(11)) * 3,
        post(b"", b"Transfer-Encoding: chunked"),
        post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n\r\n",
        b"HEAD /healthz HTTP/1.0\r\n\r\n",
        HEALTH,
    ]
)
FIRST = st.integers(0, 2)
"""Which of the connections or runs that there are."""
NUMBERS = st.integers(0, 9)
"""Of connections or calls that are there and that are not."""
ANYTHING = st.one_of(TELEGRAM_SAYS, CLIENTS_SAY, st.binary(max_size=30), st.just(b""))
STEPS = st.one_of(
    # What a network does,
    st.tuples(st.just("telegram"), FIRST, TELEGRAM_SAYS),
    st.tuples(st.just("telegram"), FIRST, ANYTHING),
    st.tuples(st.just("client"), FIRST, CLIENTS_SAY),
    st.tuples(st.just("client"), FIRST, ANYTHING),
    st.tuples(st.just("connect")),
    st.tuples(st.just("accept")),
    st.tuples(st.just("request"), st.sampled_from([message(7), message(12), {}])),
    st.tuples(st.just("pulled"), NUMBERS, st.sampled_from([b"piece", b""])),
    # what it does not,
    st.tuples(st.just("received"), NUMBERS, ANYTHING),
    st.tuples(st.sampled_from(["connect_failed", "disconnected", "pull_failed"]), NUMBERS, st.just("no")),
    st.tuples(st.sampled_from(["connected", "gone"]), NUMBERS),
    # and what the program does.
    st.tuples(st.just("call"), st.sampled_from(["sendMessage", "sendPhoto"]), st.booleans()),
    st.tuples(st.just("download")),
    st.tuples(st.just("cancel"), NUMBERS),
    st.tuples(st.just("finish"), FIRST, st.sampled_from([Returned(), Raised("no")])),
    st.tuples(st.just("wait"), st.sampled_from([0.1, 3.0, 20.0, 80.0])),
)
SOURCES = st.sampled_from(
    [
        (PollingOptions(concurrency=2), None),
        (PollingOptions(grace=0, confirm="received"), None),
        (WebhookOptions(), None),
        (WebhookOptions(on_timeout="cancel", grace=0), SetWebhookOptions(url=URL, delete_at_stop=True)),
        (None, None),
    ]
)


class Storm:
    """A bot that is told anything in any order, as far as no rule forbids a program to say it."""

    def __init__(self, source: PollingOptions | WebhookOptions | None, set_webhook: SetWebhookOptions | None) -> None:
        api = ApiOptions(connections=2, timeout=30.0)
        self.bot = Bot(TOKEN, source, set_webhook=set_webhook, api=api, reply_with=any_method)
        self.now = 0.0
        self.opening: list[int] = []
        self.ours: list[int] = []
        self.clients: list[int] = []
        self.closed: set[int] = set()
        self.calls = 0
        self.open_calls: set[int] = set()
        self.running: list[int] = []
        self.hosted: set[int] = set()
        self.ended = False

    def tell(self, method: str, *args: Any, **kwargs: Any) -> None:
        twin = pickle.loads(pickle.dumps(self.bot))
        effects = getattr(self.bot, method)(*args, self.now, **kwargs)
        assert getattr(twin, method)(*args, self.now, **kwargs) == effects
        for effect in effects:
            assert isinstance(effect, DRIVER_EFFECTS)
            assert not self.ended or isinstance(effect, (Respond, Report))
            assert SECRET not in repr(effect)
            if isinstance(effect, (Respond, Throw)):
                self.hosted.remove(effect.request)
            elif isinstance(effect, Handle):
                self.running.append(effect.job)
            elif isinstance(effect, Resolve):
                self.open_calls.remove(effect.call)
            elif isinstance(effect, Connect):
                self.opening.append(effect.connection)
            elif isinstance(effect, (Send, Pull, Close)):
                assert effect.connection not in self.closed
                if isinstance(effect, Close):
                    self.close(effect.connection)
            elif isinstance(effect, Ended):
                self.ended = True

    def close(self, connection: int) -> None:
        self.closed.add(connection)
        for connections in (self.opening, self.ours, self.clients):
            if connection in connections:
                connections.remove(connection)

    def step(self, what: str, *args: Any) -> None:
        if what == "connect" and self.opening:
            self.ours.append(self.opening.pop(0))
            self.tell("connected", self.ours[-1])
        elif what == "accept" and not self.ended:
            self.clients.append(self.bot.new_connection())
            self.tell("accepted", self.clients[-1])
        elif what == "request":
            request = self.bot.new_request()
            self.hosted.add(request)
            headers = (("content-type", "application/json"),)
            self.tell("requested", request, Request("POST", "/", headers, (json.dumps(args[0]).encode(),)))
        elif what == "gone":
            self.hosted.discard(args[0])
            self.tell("gone", *args)
        elif what == "telegram" and args[0] < len(self.ours):
            self.tell("received", self.ours[args[0]], args[1])
        elif what == "client" and args[0] < len(self.clients):
            self.tell("received", self.clients[args[0]], args[1])
        elif what == "call" and not self.ended:
            params = {"photo": InputFile("a.png")} if args[0] == "sendPhoto" else {"chat_id": 1}
            job = self.running[0] if args[1] and self.running else None
            self.tell("call", self.new_call(), args[0], params, job=job)
        elif what == "download" and not self.ended:
            self.tell("download", self.new_call(), "a.jpg")
        elif what == "cancel":
            self.open_calls.discard(args[0])
            self.tell("cancel", *args)
        elif what == "finish" and args[0] < len(self.running):
            self.tell("finished", self.running.pop(args[0]), args[1])
        elif what == "wait":
            self.wait(*args)
        elif what in ("received", "connected", "connect_failed", "disconnected", "pulled", "pull_failed"):
            ends = {"connect_failed": self.opening, "disconnected": self.opening + self.ours + self.clients}
            if args[0] in ends.get(what, []):
                self.close(args[0])
            elif what == "connected" and args[0] in self.opening:
                self.opening.remove(args[0])
                self.ours.append(args[0])
            self.tell(what, *args)

    def new_call(self) -> int:
        self.calls += 1
        self.open_calls.add(self.calls)
        return self.calls

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while (deadline := self.bot.deadline) is not None and deadline <= until:
            self.now = max(self.now, deadline)
            self.tell("tick")
            assert self.bot.deadline is None or self.bot.deadline > self.now
        self.now = until


@pytest.mark.exhaustive
@settings(max_examples=200)
@given(SOURCES, st.lists(STEPS, min_size=20, max_size=60), st.lists(STEPS, max_size=10))
def test_nothing_that_the_network_does_raises_and_the_run_can_always_end(
    source: tuple[Any, Any], before: list[tuple[Any, ...]], after: list[tuple[Any, ...]]
) -> None:
    """Any bytes on both kinds of connections; facts in any order, of connections that are there and that are not."""
    storm = Storm(*source)
    storm.tell("start")
    for step in [("accept",), ("connect",), *before]:
        storm.step(*step)
    storm.tell("stop")
    for step in after:
        storm.step(*step)
    storm.wait(500.0)
    assert storm.ended
    assert storm.open_calls == storm.hosted == set()
    assert storm.bot.deadline is None
