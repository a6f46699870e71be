"""Bots of others' libraries, unchanged, against `hookline sim`: they are the judges of the simulated Telegram.

Each is a program of `bots/`, written as its library's documentation shows. It is told a token, the root of the Bot API
and, for a webhook, its port. `PEERS_NODE_MODULES` names the folder in which grammY is installed.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals

import pytest
from attrs import frozen

from tests.peers.processes import TOKEN, Process, Telegram, running
from tests.ports import free_port

BOTS = Path(__file__).parent / "bots"
NODE_MODULES = os.environ.get("PEERS_NODE_MODULES", "")
CHATS = (1, 2, 3, 4, -5)
TEXTS = (
    "hello",
    "two\nlines",
    "a & b = c + d; 100% <sure> \"yes\" 'no'",
    "Привет, 世界",
    "🪝 \\n \\u0041 %41 {[",
    "x" * 4_000,
)


@frozen
class Bot:
    """A program.

    library: the package that it needs; grammY is one of node. in_order: whether the library promises to answer the
    messages of a chat in their order. stop: the signal that ends it, and its exit status then.
    """

    program: str
    library: str
    in_order: bool
    stop: tuple[Signals, int] = (SIGTERM, 0)

    @property
    def webhook(self) -> bool:
        """Whether it gets its updates by webhook."""
        return "webhook" in self.program

    @property
    def missing(self) -> str | None:
        """What it needs and does not find here."""
        if self.library != "grammy":
            return None if find_spec(self.library) else f"{self.library} is missing; `tox -e peers` installs it"
        if not shutil.which("node") or not shutil.which("npm"):
            return "grammY needs Node, and node or npm cannot be found"
        return None if NODE_MODULES else "grammY is missing; `tox -e peers` installs it"

    @contextmanager
    def running(self, telegram: Telegram, log: Path) -> Iterator[Process]:
        """Run it, and stop it at the end."""
        interpreter = "node" if self.library == "grammy" else sys.executable
        port = free_port()
        environment = {"BOT_TOKEN": TOKEN, "BOT_API_ROOT": telegram.root, "PORT": str(port)}
        command = [interpreter, str(BOTS / self.program)]
        with running(command, log, **environment, NODE_PATH=NODE_MODULES) as process:
            yield process
            number, status = self.stop
            assert process.stop(number) == status, process.output


# uvicorn, which pyTelegramBotAPI's webhooks run on, ends itself by the signal that it was given.
ALL = (
    Bot("aiogram_polling.py", "aiogram", in_order=False),
    Bot("aiogram_webhook.py", "aiogram", in_order=False),
    Bot("aiogram_webhook_reply.py", "aiogram", in_order=True),
    Bot("ptb_polling.py", "telegram", in_order=True),
    Bot("ptb_webhook.py", "telegram", in_order=True),
    Bot("telebot_polling.py", "telebot", in_order=False, stop=(SIGINT, 0)),
    Bot("telebot_webhook.py", "telebot", in_order=False, stop=(SIGTERM, -SIGTERM)),
    Bot("telebot_async_polling.py", "telebot", in_order=False, stop=(SIGINT, 0)),
    Bot("telebot_async_webhook.py", "telebot", in_order=False, stop=(SIGTERM, -SIGTERM)),
    Bot("grammy_polling.js", "grammy", in_order=True),
    Bot("grammy_webhook.js", "grammy", in_order=True),
    Bot("grammy_webhook_reply.js", "grammy", in_order=True),
)
POLLING = tuple(bot for bot in ALL if not bot.webhook)
REPLYING = tuple(bot for bot in ALL if "reply" in bot.program)


def each(*bots: Bot) -> pytest.MarkDecorator:
    """Run the test with each of these bots, as far as they can run here."""

    def param(bot: Bot) -> object:
        marks = [] if bot.missing is None else [pytest.mark.skip(bot.missing)]
        return pytest.param(bot, id=bot.program, marks=marks)

    return pytest.mark.parametrize("bot", [param(bot) for bot in bots])


def talk(start: int, count: int) -> list[tuple[int, str]]:
    """What users say in turn, nothing of it twice: texts after their chats."""
    return [(CHATS[n % len(CHATS)], f"{n}: {TEXTS[n % len(TEXTS)]}") for n in range(start, start + count)]


@each(*ALL)
def test_every_message_is_answered_once(bot: Bot, telegram: Telegram, tmp_path: Path) -> None:
    """Twelve that waited for the bot, and twenty that come while it runs."""
    waiting, later = talk(0, 12), talk(12, 20)
    for chat, text in waiting:
        telegram.message(text, chat=chat)
    with bot.running(telegram, tmp_path / "bot.log") as process:
        process.until(lambda: len(telegram.answers()) > 0)
        for chat, text in later:
            telegram.message(text, chat=chat)
        process.until(lambda: len(telegram.answers()) >= len(waiting + later) and telegram.pending() == 0)
        assert bool(telegram.webhook()) == bot.webhook

    answers = telegram.answers()
    assert Counter(answers) == Counter(waiting + later)
    if bot.in_order:
        for chat in CHATS:
            assert [a for a in answers if a[0] == chat] == [said for said in waiting + later if said[0] == chat]
    assert "Traceback" not in process.output


@each(*ALL)
def test_a_pressed_button_is_answered_and_its_message_edited(bot: Bot, telegram: Telegram, tmp_path: Path) -> None:
    """The button is under a message that the bot has sent, for a command."""
    telegram.message("/choose", chat=7)
    with bot.running(telegram, tmp_path / "bot.log") as process:
        process.until(lambda: telegram.answers() == [(7, "Which one?")] and telegram.pending() == 0)
        telegram.press("tea", chat=7)
        process.until(lambda: len(telegram.calls("editMessageText")) == 1 and telegram.pending() == 0)

    [answer] = telegram.calls("answerCallbackQuery")
    assert answer["params"]["text"] == "Noted"
    [edit] = telegram.calls("editMessageText")
    assert edit["params"]["text"] == "You chose tea"
    assert "Traceback" not in process.output


@each(*POLLING)
def test_an_uploaded_document_can_be_downloaded_again(bot: Bot, telegram: Telegram, tmp_path: Path) -> None:
    telegram.message("/file Привет", chat=7)
    with bot.running(telegram, tmp_path / "bot.log") as process:
        process.until(lambda: telegram.answers() == [(7, "note.txt: Привет")] and telegram.pending() == 0)

    [upload] = telegram.calls("sendDocument")
    assert upload["params"]["caption"] == "your note"
    assert len(upload["files"]) == 1
    assert "Traceback" not in process.output


@each(*POLLING)
def test_no_message_is_lost_where_getupdates_fails(bot: Bot, telegram: Telegram, tmp_path: Path) -> None:
    """It gets a proxy's error page, then no answer at all."""
    said = talk(0, 5)
    for chat, text in said:
        telegram.message(text, chat=chat)
    telegram.control("fault", method="getUpdates", kind="html", code=502)
    telegram.control("fault", method="getUpdates", kind="close")
    with bot.running(telegram, tmp_path / "bot.log") as process:
        process.until(lambda: len(telegram.answers()) >= len(said) and telegram.pending() == 0)

    assert Counter(telegram.answers()) == Counter(said)


@each(*REPLYING)
def test_answers_travel_in_the_responses_to_updates(bot: Bot, telegram: Telegram, tmp_path: Path) -> None:
    said = talk(0, 10)
    for chat, text in said:
        telegram.message(text, chat=chat)
    with bot.running(telegram, tmp_path / "bot.log") as process:
        process.until(lambda: telegram.pending() == 0)

    assert Counter(telegram.answers()) == Counter(said)
    assert {call["via"] for call in telegram.calls("sendMessage")} == {"webhook reply"}


@each(*(bot for bot in REPLYING if bot.library == "aiogram"))
def test_a_file_travels_in_a_response(bot: Bot, telegram: Telegram, tmp_path: Path) -> None:
    telegram.message("/note", chat=7)
    with bot.running(telegram, tmp_path / "bot.log") as process:
        process.until(lambda: telegram.pending() == 0)

    [call] = telegram.calls("sendDocument")
    assert (call["via"], len(call["files"]), call["params"]["caption"]) == ("webhook reply", 1, "your note")
