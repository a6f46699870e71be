"""A client that speaks to a served host as Telegram does, and looks at what the bot did."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from tests.peers.processes import PATIENCE, TOKEN, Process, Telegram

PATH = "/telegram"

_update_ids = itertools.count(1_000)
_chats = itertools.count(1)


def update(text: str, *, chat: int | None = None) -> dict[str, Any]:
    """A new update: a message in a chat that no other test has, if none is given."""
    chat = next(_chats) if chat is None else chat
    message = {"message_id": 1, "date": 1, "chat": {"id": chat, "type": "private"}, "text": text}
    return {"update_id": next(_update_ids), "message": message}


class Answer:
    """What a request was answered. To Telegram a connection that is closed without an answer is as good as a 500."""

    def __init__(self, response: http.client.HTTPResponse | None) -> None:
        self.closed = response is None
        self.status = 500 if response is None else response.status
        self.headers = {} if response is None else {name.lower(): value for name, value in response.getheaders()}
        self.body = b"" if response is None else response.read()


class Served:
    """A host that is being served."""

    def __init__(self, port: int, process: Process, telegram: Telegram, secret: str) -> None:
        self.port = port
        self.process = process
        self.telegram = telegram
        self._secret = secret
        self._threads = ThreadPoolExecutor(8)

    def answers(self) -> bool:
        """Whether it is up."""
        try:
            self.send(b"", method="GET")
        except OSError:
            return False
        return True

    def headers(self, **changed: str | None) -> dict[str, str]:
        """What Telegram sends; changed: by names with underscores, None leaves one out."""
        headers: dict[str, str | None] = {
            "content_type": "application/json",
            "x_telegram_bot_api_secret_token": self._secret,
        }
        return {name.replace("_", "-"): value for name, value in (headers | changed).items() if value is not None}

    def send(self, body: bytes, *, method: str = "POST", path: str = PATH, **headers: str | None) -> Answer:
        """Send a request, and wait for its answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # who rejects a body need not read it
                connection.request(method, path, body, self.headers(**headers))
            return Answer(connection.getresponse())
        except http.client.RemoteDisconnected:
            return Answer(None)
        finally:
            connection.close()

    def post(self, content: dict[str, Any]) -> Answer:
        """Send an update, and wait for its answer."""
        return self.send(json.dumps(content).encode())

    def begin(self, content: dict[str, Any]) -> Future[Answer]:
        """Send an update; its answer comes later."""
        return self._threads.submit(self.post, content)

    def drop(self, content: dict[str, Any]) -> None:
        """Send an update, and go away when the bot has it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.request("POST", PATH, json.dumps(content).encode(), self.headers())
        self.until(lambda: self.texts("sendMessage", content) != [])
        connection.close()

    def call(self, method: str, **params: Any) -> None:
        """Call a method of the Bot API, as the bot's owner does."""
        headers = {"content-type": "application/json"}
        url = f"{self.telegram.root}/bot{TOKEN}/{method}"
        urllib.request.urlopen(urllib.request.Request(url, json.dumps(params).encode(), headers)).close()

    def texts(self, method: str, content: dict[str, Any]) -> list[str]:
        """The texts, captions or questions of the calls of a method in the chat of an update."""
        chat = str(content["message"]["chat"]["id"])
        calls = [call["params"] for call in self.telegram.calls(method) if call["params"]["chat_id"] == chat]
        return [params.get("text") or params.get("caption") or params["question"] for params in calls]

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what the host is to bring about."""
        self.process.until(condition)
