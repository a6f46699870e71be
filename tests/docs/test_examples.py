"""The programs of docs/examples run, against the simulated Telegram on loopback."""

from __future__ import annotations

import http.client
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import pytest

from hookline import ApiOptions, Update, WebhookOptions
from hookline.effects import Effect
from hookline_io.blocking import Api
from tests.docs.telegram import TOKEN, Telegram, until

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
SECRET = "secret"


@pytest.fixture
def telegram() -> Iterator[Telegram]:
    """A simulated Telegram."""
    simulated = Telegram()
    yield simulated
    simulated.close()


@pytest.mark.parametrize("example", ["echo.py", "own_sockets.py"])
def test_a_polling_example_answers_every_message_in_its_chats_order(example: str, telegram: Telegram) -> None:
    """Started as a program; its exit status is 0."""
    environment = {"BOT_TOKEN": TOKEN, "BOT_API_ROOT": telegram.root, "STOP_AFTER": "10"}
    with subprocess.Popen([sys.executable, str(EXAMPLES / example)], env=os.environ | environment) as process:
        try:
            for number in range(10):
                telegram.message(str(number), user=1 + number % 2)
            until(lambda: len(telegram.texts()) == 10 and telegram.pending() == 0)
        finally:
            if example == "echo.py":  # the other one stops by itself
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            finally:
                process.kill()
    texts = telegram.texts()
    assert [text for text in texts if int(text) % 2 == 0] == ["0", "2", "4", "6", "8"]
    assert [text for text in texts if int(text) % 2 == 1] == ["1", "3", "5", "7", "9"]
    assert process.returncode == 0


# own_http.py


class QuietHandler(WSGIRequestHandler):
    """Logs nothing."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Nothing is logged."""


class ThreadingServer(WSGIServer):
    """A thread for each request."""

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread."""
        threading.Thread(target=self._answer, args=(request, client_address), daemon=True).start()

    def _answer(self, request: Any, client_address: Any) -> None:
        self.finish_request(request, client_address)
        self.shutdown_request(request)


@contextmanager
def served(handler: Callable[[Update], object], **options: Any) -> Iterator[tuple[Any, int]]:
    """The application of own_http.py on a WSGI server, and the server's port."""
    spec = importlib.util.spec_from_file_location("own_http", EXAMPLES / "own_http.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    application = module.Application(handler, WebhookOptions(path="/hook", secret_token=SECRET, **options))
    server = ThreadingServer(("127.0.0.1", 0), QuietHandler)
    server.set_app(application)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield application, server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def post(port: int, body: bytes, **headers: str) -> http.client.HTTPResponse:
    """A request as Telegram sends it, with other headers if they are given."""
    given = {"Content-Type": "application/json", "X-Telegram-Bot-Api-Secret-Token": SECRET} | headers
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", "/hook", body, {name.replace("_", "-"): value for name, value in given.items()})
        response = connection.getresponse()
        response.read()
        return response
    finally:
        connection.close()


def update(update_id: int) -> bytes:
    """An update of a chat of its own."""
    return b'{"update_id":%d,"message":{"chat":{"id":%d},"text":"hi"}}' % (update_id, update_id)


def test_the_wsgi_example_handles_slow_updates_once(telegram: Telegram) -> None:
    """Telegram's own sender against it, with handlers that outlive their requests.

    Few of them: while nothing succeeds, Telegram opens one connection per 2 s (telegram-server.md, 4.1).
    """
    handled: list[int] = []

    def handler(update: Update) -> None:
        time.sleep(0.4)
        handled.append(update.update_id)

    with served(handler, timeout=0.25) as (_, port), Api(TOKEN, ApiOptions(root=telegram.root)) as api:
        api.call("setWebhook", url=f"http://127.0.0.1:{port}/hook", secret_token=SECRET)
        ids = [telegram.message("hi", user=user) for user in (1, 2)]
        until(lambda: telegram.pending() == 0)
    assert sorted(handled) == sorted(ids)


def test_the_wsgi_example_answers_500_when_the_handler_raises() -> None:
    def handler(update: Update) -> None:
        raise ValueError("no such thing")

    with served(handler) as (_, port):
        assert post(port, update(1)).status == 500


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X_Telegram_Bot_Api_Secret_Token": "wrong"}, 401),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Length": "\xb2"}, 400),
        ({"Content_Length": "9" * 5_000}, 413),
    ],
)
def test_the_wsgi_example_rejects_by_the_head(headers: dict[str, str], status: int) -> None:
    handled: list[Update] = []
    with served(handled.append) as (_, port):
        assert post(port, b"", **headers).status == status
    assert handled == []


def test_requests_that_wait_in_the_wsgi_example_do_not_wake_each_other() -> None:
    """While two handlers run, the machine is not asked for the time again and again."""
    end = threading.Event()
    ticks: list[float] = []

    with served(lambda update: end.wait(10)) as (application, port):
        tick = application.webhook.tick

        def counted(now: float) -> list[Effect]:
            ticks.append(now)
            effects: list[Effect] = tick(now)
            return effects

        application.webhook.tick = counted
        requests = [threading.Thread(target=post, args=(port, update(number))) for number in (1, 2)]
        for request in requests:
            request.start()
        until(lambda: application.webhook.waiting_requests == 2)
        time.sleep(0.2)
        end.set()
        for request in requests:
            request.join(10)
    assert len(ticks) < 20


def test_a_stop_of_the_wsgi_example_lets_the_handler_end_and_answers_it() -> None:
    """Meanwhile new requests get 503, with a time to come again."""
    end = threading.Event()
    first: list[int] = []

    with served(lambda update: end.wait(10)) as (application, port):
        request = threading.Thread(target=lambda: first.append(post(port, update(1)).status))
        request.start()
        until(lambda: application.webhook.lanes.running == 1)
        stop = threading.Thread(target=application.stop)
        stop.start()
        until(lambda: type(application.webhook.state).__name__ == "Stopping")
        late = post(port, update(2))
        assert (late.status, late.getheader("Retry-After")) == (503, "5")
        end.set()
        request.join(10)
        stop.join(10)
        assert not stop.is_alive()
    assert first == [200]
