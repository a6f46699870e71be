"""The bot that every host serves in the tests: what it does, the text of a message says. Set up by the environment.

BOT_TOKEN and BOT_API_ROOT; HOOK_OPTIONS: the fields of WebhookOptions, as JSON; INBOX: the address of an inbox, for one
that has one.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Generator
from typing import Any

import anyio

from hookline import REPLIED, ApiOptions, InputFile, Update, WebhookOptions

TOKEN = os.environ["BOT_TOKEN"]
OPTIONS = WebhookOptions(**json.loads(os.environ.get("HOOK_OPTIONS", "{}")))
SETTINGS: dict[str, Any] = {"api": ApiOptions(root=os.environ["BOT_API_ROOT"])}
if "INBOX" in os.environ:
    SETTINGS["inbox"] = os.environ["INBOX"]
else:
    SETTINGS["reply_with"] = lambda method: method in ("sendPoll", "sendPhoto", "sendDocument")

_failed: set[int] = set()


def steps(update: Update) -> Generator[tuple[Any, ...], Any, None]:
    """What is to be done for an update, step by step: `sleep` so long, or call a method; the words of its text."""
    text = update.payload["text"]
    for word in text.split():
        what, _, argument = word.partition("=")
        if what == "sleep":
            yield ("sleep", float(argument))
        elif what == "fail":
            raise ValueError("the handler fails")
        elif what == "fail-once" and update.update_id not in _failed:
            _failed.add(update.update_id)
            raise ValueError("the handler fails once")
        elif what == "poll":
            result = yield ("sendPoll", {"question": text, "options": ["yes", "no"]})
            if argument == "told":
                yield ("sendMessage", {"text": f"replied: {result is REPLIED}"})
        elif what == "photo":
            yield ("sendPhoto", {"caption": text, "photo": InputFile(b"PNG", filename="a.png")})
        elif what == "picture":
            yield ("sendPhoto", {"caption": text, "photo": InputFile(b"\xff\xd8 picture", filename="a.jpg")})
        elif what == "file":
            yield ("sendDocument", {"caption": text, "document": InputFile(__file__)})
        elif what == "process":
            yield ("sendMessage", {"text": f"process {os.getpid()}"})
        elif what == "echo":
            yield ("sendMessage", {"text": text})


async def handler(update: Update, api: Any) -> None:
    """The bot, for asynchronous hosts."""
    todo = steps(update)
    result: Any = None
    try:
        while True:
            what, argument = todo.send(result)
            if what == "sleep":
                await anyio.sleep(argument)
            else:
                result = await api.call(what, chat_id=update.lane, **argument)
    except StopIteration:
        pass


def blocking_handler(update: Update, api: Any) -> None:
    """The bot, for synchronous hosts."""
    todo = steps(update)
    result: Any = None
    try:
        while True:
            what, argument = todo.send(result)
            if what == "sleep":
                time.sleep(argument)
            else:
                result = api.call(what, chat_id=update.lane, **argument)
    except StopIteration:
        pass
