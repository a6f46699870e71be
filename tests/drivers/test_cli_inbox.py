"""`hookline inbox`, and `--inbox` of the commands that run a bot."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path

import pytest

from hookline.effects import Mark, Status, Store
from hookline.updates import Update, read_update
from hookline_io.stores import store_at
from tests.drivers.test_cli import BOT_ID, UPDATE, FakeTelegram, Shell, shell, telegram, until
from tests.postgresql import Server

__all__ = ["shell", "telegram"]  # fixtures

ADDRESS = "sqlite:///inbox.db"


def message(update_id: int, chat: int = 5) -> Update:
    """An update of a chat."""
    update = read_update({"update_id": update_id, "message": {"chat": {"id": chat, "type": "private"}, "text": "hi"}})
    assert isinstance(update, Update)
    return update


@pytest.fixture
def filled(tmp_path: Path) -> None:
    """An inbox in the shell's folder: 1 done, 2 and 3 failed, 4 and 5 of chat 7 waiting."""
    store = store_at(f"sqlite:///{tmp_path}/inbox.db", bot_id=BOT_ID, remember=10)
    store.open()
    written = threading.Event()
    updates = (message(1), message(2), message(3, 6), message(4, 7), message(5, 7))
    store.carry_out(Store(1, updates), lambda _: None)
    store.carry_out(Mark(1, 1, Status.DONE, 1), lambda _: None)
    store.carry_out(Mark(2, 2, Status.FAILED, 5, "ValueError: no such thing"), lambda _: None)
    store.carry_out(Mark(3, 3, Status.FAILED, 3, "it was cancelled"), lambda _: written.set())
    store.close()
    assert written.is_set()


@pytest.mark.usefixtures("filled")
def test_status_counts_and_shows_the_chats_that_are_behind(shell: Shell) -> None:
    status, output, errors = shell.run("inbox", "status", ADDRESS)
    assert (status, errors) == (0, "")
    lines = [line.split() for line in output.splitlines()]
    assert output.startswith(f"the inbox of bot {BOT_ID}\n")
    assert {words[1]: int(words[0]) for words in lines[1:5]} == {"waiting": 2, "running": 0, "failed": 2, "done": 1}
    assert lines[-1][:3] == ["7", "2", "0"]
    assert all(line == line.rstrip() for line in output.splitlines())


@pytest.mark.usefixtures("filled")
def test_failed_shows_what_was_given_up_and_why(shell: Shell) -> None:
    status, output, _ = shell.run("inbox", "failed", ADDRESS)
    assert status == 0
    assert [line.split()[:4] for line in output.splitlines()[1:]] == [
        ["2", "5", "message", "5"],
        ["3", "6", "message", "3"],
    ]
    assert "ValueError: no such thing" in output


@pytest.mark.usefixtures("filled")
def test_failed_gives_whole_updates_to_programs(shell: Shell) -> None:
    _, output, _ = shell.run("inbox", "failed", ADDRESS, "--json")
    first, second = map(json.loads, output.splitlines())
    assert first["update"] == message(2).raw
    assert (second["runs"], second["error"]) == (3, "it was cancelled")


@pytest.mark.usefixtures("filled")
def test_retry_lets_what_was_given_up_wait_again(shell: Shell) -> None:
    assert shell.run("inbox", "retry", ADDRESS, "2") == (0, "to be handled again: 1 (2)\n", "")
    _, output, _ = shell.run("inbox", "status", ADDRESS)
    assert "3  waiting" in output
    assert shell.run("inbox", "retry", ADDRESS, "--all") == (0, "to be handled again: 1 (3)\n", "")
    assert shell.run("inbox", "failed", ADDRESS)[1] == "nothing was given up\n"


@pytest.mark.usefixtures("filled")
def test_purge_removes_what_was_given_up(shell: Shell) -> None:
    assert shell.run("inbox", "purge", ADDRESS, "--all") == (0, "removed: 2 (2, 3)\n", "")
    _, output, _ = shell.run("inbox", "status", ADDRESS)
    assert "0  failed" in output


@pytest.mark.usefixtures("filled")
def test_what_had_not_been_given_up_is_named(shell: Shell) -> None:
    status, output, errors = shell.run("inbox", "retry", ADDRESS, "2", "4", "99")
    assert (status, output) == (1, "to be handled again: 1 (2)\n")
    assert errors == "hookline: not among those that were given up: 4, 99\n"


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (("status", "sqlite:///none.db"), 1, "there is no inbox"),
        (("status", "memory"), 2, "in memory"),
        (("status", "mysql://x"), 2, "an inbox's address is"),
        (("retry", ADDRESS), 2, "name updates by their ids, or give --all"),
        (("purge", ADDRESS, "7", "--all"), 2, "name updates by their ids, or give --all"),
        (("retry", ADDRESS, "x"), 2, "'x' is not a whole number"),
    ],
)
def test_mistakes_get_one_sentence(shell: Shell, arguments: tuple[str, ...], status: int, text: str) -> None:
    found, output, errors = shell.run("inbox", *arguments)
    assert (found, output) == (status, "")
    assert errors.startswith("hookline: ")
    assert text in errors
    assert errors.count("\n") == 1


def test_a_bot_with_an_inbox_stores_confirms_and_handles(shell: Shell, telegram: FakeTelegram) -> None:
    telegram.updates.append(UPDATE)
    process = shell.start("run", "mybot:handler", "--api-root", telegram.root, "--inbox", ADDRESS)
    until(lambda: telegram.named("sendMessage"), process)
    until(lambda: any(call.params.get("offset") == 8 for call in telegram.named("getUpdates")), process)
    process.send_signal(signal.SIGTERM)
    assert shell.end(process)[0] == 0
    _, output, _ = shell.run("inbox", "status", ADDRESS)
    assert "1  done" in output


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("run", "mybot:handler", "--inbox", "nosuch"), "an inbox's address is"),
        (("run", "mybot:handler", "--inbox", "memory", "--confirm", "received"), "--confirm received does not go with"),
        (("run", "mybot:handler", "--inbox", "memory", "--on-error", "stop"), "--on-error stop does not go with"),
        (
            ("serve", "mybot:handler", "--listen", "127.0.0.1:0", "--inbox", "memory", "--on-timeout", "return"),
            "--on-timeout does not go with --inbox",
        ),
        (
            ("serve", "mybot:handler", "--listen", "127.0.0.1:0", "--inbox", "memory", "--reply-with", "sendMessage"),
            "--reply-with does not go with --inbox",
        ),
    ],
)
def test_what_does_not_go_with_an_inbox_is_said(shell: Shell, arguments: tuple[str, ...], text: str) -> None:
    status, _, errors = shell.run(*arguments)
    assert status == 2
    assert text in errors


def test_one_command_receives_and_another_handles(shell: Shell, telegram: FakeTelegram, postgresql: Server) -> None:
    """The password of the database's address is in none of their logs, however much they log."""
    address = postgresql.new_address()
    telegram.updates.append(UPDATE)
    common = ("--inbox", address, "--api-root", telegram.root, "-v")
    receiver = shell.start("run", *common)
    until(lambda: any(call.params.get("offset") == 8 for call in telegram.named("getUpdates")), receiver)
    assert not telegram.named("sendMessage")
    worker = shell.start("work", "mybot:handler", "--concurrency", "3", *common)
    until(lambda: telegram.named("sendMessage"), worker)
    status, output, errors = shell.run("inbox", "status", address)
    assert (status, errors) == (0, "")
    assert " polls " in output
    assert output.count(" ago") >= 2
    for process in (worker, receiver):
        process.send_signal(signal.SIGTERM)
        status, output, errors = shell.end(process)
        assert status == 0, errors
        assert "a-password" not in output + errors
    _, output, _ = shell.run("inbox", "status", address)
    assert "1  done" in output
    assert "no process works on it, and none polls" in output


def test_a_password_is_not_shown_when_the_database_cannot_be_reached(
    shell: Shell, telegram: FakeTelegram, postgresql: Server
) -> None:
    address = postgresql.address().removesuffix("postgres") + "missing"
    for arguments in (
        ("run", "mybot:handler", "--api-root", telegram.root, "--inbox", address),
        ("inbox", "status", address),
    ):
        status, output, errors = shell.run(*arguments)
        assert status == 1
        assert 'database "missing" does not exist' in errors
        assert "a-password" not in output + errors


def test_several_bots_in_one_database_are_told_apart(shell: Shell, postgresql: Server) -> None:
    address = postgresql.new_address()
    for bot_id in (1, 2):
        store = store_at(address, bot_id=bot_id, remember=10, concurrency=0)
        store.open()
        store.carry_out(Store(1, (message(bot_id),)), lambda _: None)
        store.close()
    status, _, errors = shell.run("inbox", "status", address)
    assert status == 1
    assert "has the inboxes of bots 1, 2: say of which (--bot)" in errors
    status, output, _ = shell.run("inbox", "status", address, "--bot", "2")
    assert status == 0
    assert output.startswith("the inbox of bot 2\n")
