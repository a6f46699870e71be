"""Makes the pictures of the documentation, and the traces that they are drawn from.

    python -m tests.docs.pictures

writes them to docs/, and a test keeps them current.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hookline import Returned, SetWebhookOptions, Token, WebhookOptions
from hookline.effects import Connect, Effect, Send
from hookline.trace import Recorder, draw, read_trace
from tests.docs.dangers import DANGERS

DOCS = Path(__file__).parents[2] / "docs"
TOKEN = Token("42:made-up-token-for-the-documents")


class Scene:
    """A webhook's bot, and what a page wants to happen to it. A call of the Bot API is answered after 0.2 s."""

    def __init__(self, options: WebhookOptions) -> None:
        self.lines: list[str] = []
        webhook = SetWebhookOptions(url="https://bot.example.org/")
        self.bot = Recorder(TOKEN, options, write=self.lines.append, set_webhook=webhook)
        self.now = 0.0
        self._telegram = 0  # the connection to Telegram
        self._calls = 0
        self._tell(self.bot.start)

    def wait(self, until: float) -> None:
        """Let time go by."""
        while self.bot.deadline is not None and self.bot.deadline <= until:
            self.now = self.bot.deadline
            self._tell(self.bot.tick)
        self.now = until

    def request(self, update: dict[str, Any]) -> None:
        """Telegram sends an update."""
        connection = self.bot.new_connection()
        self._tell(self.bot.accepted, connection)
        body = json.dumps(update).encode()
        head = (
            f"POST / HTTP/1.1\r\nhost: bot.example.org\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
        )
        self._tell(self.bot.received, connection, head.encode() + b"\r\n\r\n" + body)

    def call(self, job: int, method: str, **params: Any) -> None:
        """A handler calls the Bot API."""
        self._calls += 1
        self._tell(self.bot.call, self._calls, method, params, job=job)

    def end(self, job: int) -> None:
        """A handler returns."""
        self._tell(self.bot.finished, job, Returned())

    def stop(self) -> None:
        """The bot is stopped."""
        self._tell(self.bot.stop)

    def _tell(self, fact: Callable[..., list[Effect]], *args: Any, **kwargs: Any) -> None:
        for effect in fact(*args, now=self.now, **kwargs):
            if isinstance(effect, Connect):
                self._telegram = effect.connection
                self._tell(self.bot.connected, effect.connection)
            elif isinstance(effect, Send) and effect.connection == self._telegram:
                self.now += 0.2
                answer = b"HTTP/1.1 200 OK\r\ncontent-length: 25\r\n\r\n" + b'{"ok":true,"result":true}'
                self._tell(self.bot.received, effect.connection, answer)


def slow_webhook() -> list[str]:
    """The trace of a handler of 25 s behind a webhook whose requests are answered within 10 s.

    Telegram sends the message three times, and meanwhile, in parallel, the press of a button in the same chat. Its
    retries are those of telegram-server.md, 4.4: at once, then after 2 s.
    """
    user = {"id": 7, "is_bot": False, "first_name": "User"}
    chat = {"id": 7, "type": "private"}
    message = {"update_id": 104, "message": {"message_id": 1, "from": user, "chat": chat, "text": "sum up this book"}}
    button = {"update_id": 105, "callback_query": {"id": "1", "from": user, "data": "shorter"}}
    scene = Scene(WebhookOptions(timeout=10.0))
    steps: list[tuple[float, Callable[[], None]]] = [
        (1.0, lambda: scene.request(message)),
        (7.0, lambda: scene.request(button)),
        (11.0, lambda: scene.request(message)),
        (17.0, lambda: scene.request(button)),
        (23.0, lambda: scene.request(message)),
        (25.5, lambda: scene.call(1, "sendMessage", chat_id=7, text="It is about a whale.")),
        (26.0, lambda: scene.end(1)),
        (26.5, lambda: scene.call(2, "answerCallbackQuery", callback_query_id="1")),
        (26.8, lambda: scene.end(2)),
        (40.0, scene.stop),
    ]
    for at, step in steps:
        scene.wait(at)
        step()
    scene.bot.close()
    return scene.lines


def pictures() -> dict[str, str]:
    """The files by their names in docs/, with what is in them."""
    lines = slow_webhook()
    drawn = {"slow-webhook.trace": "".join(lines), "slow-webhook.svg": draw(read_trace(lines)).svg}
    for danger in DANGERS:
        drawn |= dict(danger.files())
    return drawn


if __name__ == "__main__":
    for name, text in pictures().items():
        (DOCS / name).write_text(text, "utf-8")
