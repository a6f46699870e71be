"""The command `hookline` as people run it: a process, its exit status, what it prints, and what it must never print.

The Telegram that it talks to is a small fake on loopback: it answers every method with what a test put there, and
writes down what came.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

from hookline.botapi import InputFile
from hookline.errors import OptionError
from hookline_io.cli import main
from hookline_io.cli.bots import public_part
from hookline_io.cli.calls import read_value
from tests.ports import free_port

BOT_ID = 42
SECRET_HALF = "AAG-cliTestsSecretHalf_0123456789"
TOKEN = f"{BOT_ID}:{SECRET_HALF}"
ME = {"id": BOT_ID, "is_bot": True, "first_name": "Fake", "username": "fake_bot"}
UPDATE = {"update_id": 7, "message": {"message_id": 1, "date": 0, "chat": {"id": 5, "type": "private"}, "text": "hi"}}
PATIENCE = 15.0
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"

needs_trio = pytest.mark.skipif(find_spec("trio") is None, reason="needs the extra trio")
DRIVERS = [
    "asyncio",
    pytest.param("trio", marks=needs_trio),
    "blocking",
]


def commands(group: click.Group, *path: str) -> Iterator[list[str]]:
    """The words of every command and group of commands."""
    yield [*path]
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        else:
            yield [*path, name]


BOT = """
import sys

async def handler(update, api):
    loaded = [name for name in ("rich", "trio", "hookline.sim") if name in sys.modules]
    await api.call("sendMessage", chat_id=update.lane, text=" ".join(loaded))

async def failing(update, api):
    raise RuntimeError("it went to https://api.telegram.org/bot" + __import__("os").environ["BOT_TOKEN"] + "/getMe")

def plain(update, api):
    api.call("sendMessage", chat_id=update.lane, text="")

async def short(update):
    pass

number = 1
"""


class Call(NamedTuple):
    """A call that came to the fake; the parameters of one that was not JSON are empty."""

    method: str
    params: dict[str, Any]
    body: bytes


class FakeTelegram(ThreadingHTTPServer):
    """Answers calls: with `answers[method]` (status, JSON), else with true."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), FakeRequest)
        self.root = f"http://127.0.0.1:{self.server_address[1]}"
        self.calls: list[Call] = []
        self.answers: dict[str, tuple[int, Any]] = {"getMe": (200, {"ok": True, "result": ME})}
        self.updates: list[dict[str, Any]] = []
        self.closing = threading.Event()

    def named(self, method: str) -> list[Call]:
        """The calls of one method so far."""
        return [call for call in self.calls if call.method == method]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no news."""


class FakeRequest(BaseHTTPRequestHandler):
    """One connection to the fake."""

    protocol_version = "HTTP/1.1"
    server: FakeTelegram

    def do_POST(self) -> None:
        """Answer a call."""
        body = self.read_body()
        _, bot, method = self.path.split("/")
        params = json.loads(body) if self.headers.get("content-type") == "application/json" else {}
        self.server.calls.append(Call(method, params, body))
        if bot != f"bot{TOKEN}":
            self.answer(401, {"ok": False, "error_code": 401, "description": "Unauthorized"})
        elif method == "getUpdates" and method not in self.server.answers:
            updates = [update for update in self.server.updates if update["update_id"] >= params.get("offset", 0)]
            if not updates:
                self.server.closing.wait(params.get("timeout", 0))
            self.answer(200, {"ok": True, "result": updates})
        else:
            self.answer(*self.server.answers.get(method, (200, {"ok": True, "result": True})))

    def do_GET(self) -> None:
        """Answer a health check."""
        self.answer(*self.server.answers[self.path])

    def read_body(self) -> bytes:
        """The request's body, of known length or in chunks."""
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def answer(self, status: int, value: Any) -> None:
        """Send JSON."""
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Keep quiet."""


@pytest.fixture
def telegram() -> Iterator[FakeTelegram]:
    """A fake Telegram while the test lasts."""
    server = FakeTelegram()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    thread.join()
    server.server_close()


class Shell:
    """A folder with a bot in it, and the command to run there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.secret_file = folder / "state" / "hookline" / f"{BOT_ID}.secret"
        self.environment = os.environ | {
            "BOT_TOKEN": TOKEN,
            "HOME": str(folder),
            "XDG_STATE_HOME": str(folder / "state"),
            "COLUMNS": "120",
        }
        self.processes: list[subprocess.Popen[str]] = []
        (folder / "mybot.py").write_text(BOT)

    def start(self, *arguments: str, python: str | None = None) -> subprocess.Popen[str]:
        """Start `hookline` with these arguments, or a line of Python with them."""
        command = Path(sysconfig.get_path("scripts"), "hookline")
        process = subprocess.Popen(
            [str(command), *arguments] if python is None else [sys.executable, "-c", python, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def run(self, *arguments: str, python: str | None = None) -> tuple[int, str, str]:
        """Run it to its end: exit status, standard output, standard error."""
        return self.end(self.start(*arguments, python=python))

    def end(self, process: subprocess.Popen[str]) -> tuple[int, str, str]:
        """Wait for its end. No secret may have been printed, nor any traceback of the command's own."""
        output, errors = process.communicate(timeout=PATIENCE)
        assert SECRET_HALF not in output + errors
        assert not self.secret_file.exists() or self.secret_file.read_text().strip() not in output + errors
        assert "hookline_io/cli" not in errors
        return process.returncode, output, errors


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A folder to run the command in."""
    shell = Shell(tmp_path)
    yield shell
    for process in shell.processes:
        if process.poll() is None:
            process.kill()
            process.communicate()


def until(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait for what a running process is to do."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def answers(port: int, method: str, path: str, body: bytes = b"", **headers: str) -> int | None:
    """The status with which a server of loopback answers; None while it does not listen."""
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(method, path, body, headers)
        return connection.getresponse().status
    except ConnectionRefusedError:
        return None
    finally:
        connection.close()


# Runs


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("driver", DRIVERS)
def test_a_signal_ends_a_polling_bot_with_status_0(
    shell: Shell, telegram: FakeTelegram, driver: str, number: signal.Signals
) -> None:
    """The handler has run by then, and what it handled is confirmed."""
    telegram.updates.append(UPDATE)
    name = "plain" if driver == "blocking" else "handler"
    process = shell.start("run", f"mybot:{name}", "--driver", driver, "--api-root", telegram.root)
    until(lambda: telegram.named("sendMessage"), process)
    process.send_signal(number)
    status, output, errors = shell.end(process)
    assert (status, output) == (0, ""), errors
    assert telegram.named("getUpdates")[-1].params["offset"] == UPDATE["update_id"] + 1  # type: ignore[operator]


def test_a_start_loads_only_what_a_run_needs(shell: Shell, telegram: FakeTelegram) -> None:
    """Neither what draws on the terminal, nor another driver, nor the simulated Telegram."""
    telegram.updates.append(UPDATE)
    process = shell.start("run", "mybot:handler", "--api-root", telegram.root)
    until(lambda: telegram.named("sendMessage"), process)
    process.terminate()
    shell.end(process)
    assert telegram.named("sendMessage")[0].params["text"] == ""


def test_the_options_of_polling_reach_telegram(shell: Shell, telegram: FakeTelegram) -> None:
    """What getUpdates and deleteWebhook are called with."""
    process = shell.start(
        *("run", "mybot:handler", "--api-root", telegram.root, "--poll-timeout", "7"),
        *("--allowed-updates", "message, poll", "--drop-pending"),
    )
    until(lambda: telegram.named("getUpdates"), process)
    process.terminate()
    assert shell.end(process)[0] == 0
    params = telegram.named("getUpdates")[0].params
    assert (params["timeout"], params["allowed_updates"]) == (7, ["message", "poll"])
    assert telegram.named("deleteWebhook")[0].params == {"drop_pending_updates": True}


def test_an_unknown_kind_of_update_is_told_and_asked_for(shell: Shell, telegram: FakeTelegram) -> None:
    """Telegram may have a new one; what is known, also beyond the default, is not mentioned."""
    arguments = ["webhook", "set", "--url", "https://bot.example.org/", "--api-root", telegram.root]
    status, _, errors = shell.run(*arguments, "--allowed-updates", "mesage,poll,chat_member,hologram")
    assert status == 0
    assert errors.splitlines() == [
        "hookline: --allowed-updates: 'mesage' is no kind of update that is known here; did you mean 'message'?",
        "hookline: --allowed-updates: 'hologram' is no kind of update that is known here",
    ]
    assert telegram.named("setWebhook")[0].params["allowed_updates"] == ["mesage", "poll", "chat_member", "hologram"]


def test_health_of_a_running_bot_is_status_0(shell: Shell, telegram: FakeTelegram) -> None:
    """`run --health` serves what `hookline health` asks for."""
    port = free_port()
    process = shell.start("run", "mybot:handler", "--api-root", telegram.root, "--health", f"127.0.0.1:{port}")
    until(lambda: telegram.named("getUpdates"), process)
    status, output, errors = shell.run("health", f"127.0.0.1:{port}")
    assert (status, errors) == (0, "")
    assert isinstance(json.loads(output), dict)
    process.terminate()
    assert shell.end(process)[0] == 0


def test_a_log_is_one_line_each_and_hides_the_token_of_a_handlers_traceback(
    shell: Shell, telegram: FakeTelegram
) -> None:
    """Time, level, text; that of a report begins with its kind. So is the last, which says why the run has ended."""
    telegram.updates.append(UPDATE)
    process = shell.start("run", "mybot:failing", "--api-root", telegram.root, "--on-error", "stop")
    status, _, errors = shell.end(process)  # which looks for the token
    lines = errors.splitlines()
    assert status == 1
    assert re.fullmatch(rf"{TIME} INFO +polling as @fake_bot", lines[0])
    assert re.search(
        r" ERROR +handler failed: the handler of update 7 .message. raised RuntimeError: it went to", errors
    )
    assert "api.telegram.org/bot***/getMe" in errors
    assert re.fullmatch(rf"{TIME} ERROR   on_error is 'stop'.*", lines[-1])


def test_quiet_keeps_to_warnings(shell: Shell, telegram: FakeTelegram) -> None:
    """A good run says nothing."""
    process = shell.start("run", "mybot:handler", "--api-root", telegram.root, "-q")
    until(lambda: telegram.named("getUpdates"), process)
    process.terminate()
    assert shell.end(process) == (0, "", "")


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_run_that_telegram_refuses_ends_with_a_sentence(shell: Shell, telegram: FakeTelegram, driver: str) -> None:
    """A revoked token, on every driver."""
    telegram.answers["getMe"] = (401, {"ok": False, "error_code": 401, "description": "Unauthorized"})
    name = "plain" if driver == "blocking" else "handler"
    status, _, errors = shell.run("run", f"mybot:{name}", "--driver", driver, "--api-root", telegram.root)
    assert status == 1
    assert re.fullmatch(rf"{TIME} ERROR   .*token.*", errors.splitlines()[-1])
    assert "Traceback" not in errors


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_served_bot_sets_its_webhook_answers_and_deletes_it(
    shell: Shell, telegram: FakeTelegram, driver: str
) -> None:
    """The handlers are those of polling; the path is the url's; the secret is the file's."""
    port = free_port()
    name = "plain" if driver == "blocking" else "handler"
    process = shell.start(
        *("serve", f"mybot:{name}", "--driver", driver, "--api-root", telegram.root),
        *("--listen", f"127.0.0.1:{port}", "--url", f"http://127.0.0.1:{port}/here", "--delete-webhook"),
        *("--max-connections", "3", "--ip-address", "127.0.0.1", "--allowed-updates", "message", "--drop-pending"),
    )
    until(lambda: telegram.named("setWebhook"), process)
    params = telegram.named("setWebhook")[0].params
    secret = shell.secret_file.read_text().strip()
    assert params == {
        "url": f"http://127.0.0.1:{port}/here",
        "secret_token": secret,
        "max_connections": 3,
        "ip_address": "127.0.0.1",
        "allowed_updates": ["message"],
        "drop_pending_updates": True,
    }
    body = json.dumps(UPDATE).encode()
    headers = {"Content-Type": "application/json", "X-Telegram-Bot-Api-Secret-Token": secret}
    assert answers(port, "POST", "/here", body, **headers) == 200
    assert answers(port, "POST", "/here", body, **headers | {"X-Telegram-Bot-Api-Secret-Token": "no"}) == 401
    assert len(telegram.named("sendMessage")) == 1
    process.terminate()
    status, _, errors = shell.end(process)
    assert status == 0, errors
    assert len(telegram.named("deleteWebhook")) == 1


def test_a_call_travels_in_the_response_where_that_is_allowed(shell: Shell, telegram: FakeTelegram) -> None:
    """--reply-with; without --url nothing is set."""
    port = free_port()
    process = shell.start(
        *("serve", "mybot:handler", "--api-root", telegram.root, "--listen", f"127.0.0.1:{port}"),
        *("--reply-with", "sendPhoto,sendmessage", "--secret-file", str(shell.folder / "own")),
    )
    until(lambda: answers(port, "GET", "/") is not None, process)
    headers = {"Content-Type": "application/json"}
    headers["X-Telegram-Bot-Api-Secret-Token"] = (shell.folder / "own").read_text().strip()
    assert answers(port, "POST", "/", json.dumps(UPDATE).encode(), **headers) == 200
    process.terminate()
    assert shell.end(process)[0] == 0
    assert not telegram.named("setWebhook")
    assert not telegram.named("sendMessage")


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "mybot.py:"], "'mybot.py:' does not name a handler: write MODULE:HANDLER"),
        (["run", "nobot:handler"], "there is no module 'nobot' in "),
        (["run", "mybot:nothing"], "the module 'mybot' has no 'nothing'"),
        (["run", "mybot:number"], "'mybot:number' is not a function, but of type int"),
        (["run", "mybot:plain"], "the handler plain is a plain function"),
        (["run", "mybot:short"], "the handler short cannot be called as handler(update, api): too many"),
        (["run", "mybot:handler", "--driver", "blocking"], "the handler handler is 'async def'"),
        (["run", "mybot:handler", "--concurrency", "0"], "concurrency must be a whole number from 1 to"),
        (["run", "mybot:handler", "--health", "here"], "--health must be HOST:PORT"),
        (["run", "mybot:handler", "--api-root", "telegram"], "the Bot API's address must look like"),
        (["run", "mybot:handler", "-v", "-q"], "--verbose and --quiet exclude each other"),
        (["serve", "mybot:handler", "--listen", "127.0.0.1:²"], "--listen must be HOST:PORT"),
        (["serve", "mybot:handler", "--listen", "h:1", "--timeout", "60"], "timeout must be a number above 0 to 59"),
        (["serve", "mybot:handler", "--listen", "h:1", "--drop-pending"], "--drop-pending is told to Telegram"),
        (
            ["serve", "mybot:handler", "--listen", "h:1", "--reply-with", "getMe"],
            "--reply-with: Telegram does not carry out getMe in",
        ),
        (["webhook", "set", "--url", "ftp://x"], "url must begin with https://"),
        (
            ["webhook", "set", "--url", "https://x", "--secret-file", "no/such"],
            "--secret-file: there is no folder 'no'",
        ),
        (["webhook", "set", "--url", "https://x", "--ip-address", "x"], "--ip-address must be an IP address"),
        (["call", "sendMessage", "text"], "'text' is no parameter: write KEY=VALUE"),
        (["call", "send Message"], "'send Message' is no name of a Bot API method"),
        (["call", "sendPhoto", "photo=@no.png"], "the file 'no.png' does not exist"),
        (["call", "sendPhoto", "photo=@./"], "the file './' is a directory"),
        (["health", "http://127.0.0.1:port/"], "'http://127.0.0.1:port/' is no address of a health check"),
        (["fly"], "No such command 'fly' (see 'hookline --help')"),
        (["--fly"], "No such option"),
        (["run"], "name a handler, as in mybot:handler; only with an --inbox on PostgreSQL it may be left out"),
        (["work", "--inbox", "memory"], "Missing argument 'MODULE:HANDLER' (see 'hookline work --help')"),
        (["work", "mybot:handler"], "Missing option '--inbox' (see 'hookline work --help')"),
        (["run", "mybot:handler", "--driver", "gevent"], "Invalid value for '--driver': 'gevent' is not one of"),
        (
            ["run", "mybot:handler", "--poll-timeout", "60"],
            "Invalid value for '--poll-timeout': '60' is not a whole number from 1 to",
        ),
        (
            ["run", "mybot:handler", "--poll-timeout", "x"],
            "Invalid value for '--poll-timeout': 'x' is not a whole number from 1 to",
        ),
        (["run", "mybot:handler", "--grace", "-1"], "grace must be a number from 0 to 86400, not -1.0"),
        (["run", "mybot:handler", "--token-file", "no"], "Invalid value for '--token-file': File 'no' does not exist"),
        (["serve", "mybot:handler"], "Missing option '--listen' (see 'hookline serve --help')"),
        (["serve", "mybot:handler", "--listen", "h:1", "--cert", "no"], "Invalid value for '--cert': File 'no' does"),
        (["serve", "mybot:handler", "--listen", "h:1", "--cert", "mybot.py"], "--cert and --key go together"),
        (["serve", "mybot:handler", "--listen", "h:1", "--self-signed"], "--self-signed is about --cert"),
        (["serve", "mybot:handler", "--listen", "h:1", "--path", "x"], "path must be a path that begins with /"),
        (["webhook", "fly"], "No such command 'fly' (see 'hookline webhook --help')"),
        (["webhook", "set"], "Missing option '--url' (see 'hookline webhook set --help')"),
        (["call", "sendMessage", "--fly"], "No such option"),
        (["sim", "--listen", "127.0.0.1"], "--listen must be HOST:PORT, as in 127.0.0.1:8080, not '127.0.0.1'"),
        (["demo", "--users", "0"], "Invalid value for '--users': '0' is not a whole number from 1 to 1000"),
        (["demo", "--slow", "99"], "Invalid value for '--slow': '99' is not a number from 0 to 60"),
        (["fuzz", "--seed", "x"], "Invalid value for '--seed': 'x' is not a whole number from 0 on"),
        (["fuzz", "--seconds", "0"], "Invalid value for '--seconds': '0' is not a number above 0"),
        (["fuzz", "--seconds", "nan"], "Invalid value for '--seconds': 'nan' is not a number above 0"),
        (["fuzz", "--runs", "1", "--seconds", "1"], "--runs and --seconds exclude each other"),
        (["fuzz", "mybot.py"], "mybot.py: it is no scenario, not even JSON: "),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_sentence_and_status_2(shell: Shell, arguments: list[str], sentence: str) -> None:
    """On standard error, without a traceback; and nothing was made or called."""
    status, output, errors = shell.run(*arguments)
    assert (status, output) == (2, "")
    assert errors.startswith(f"hookline: {sentence}")
    assert len(errors.splitlines()) == 1
    assert not shell.secret_file.exists()


@pytest.mark.parametrize(
    ("token", "sentence"),
    [(None, "no token: set BOT_TOKEN"), (f"{BOT_ID}:short", "the token has not the form"), (" ", "no token")],
    ids=["missing", "wrong", "blank"],
)
def test_a_token_that_is_none_is_a_mistake(shell: Shell, token: str | None, sentence: str) -> None:
    """Said in one sentence, which does not show it."""
    shell.environment.pop("BOT_TOKEN")
    if token is not None:
        shell.environment["BOT_TOKEN"] = token
    status, _, errors = shell.run("call", "getMe")
    assert status == 2
    assert errors.startswith(f"hookline: {sentence}")
    assert f"{BOT_ID}:short" not in errors


def test_a_file_that_is_missing_is_a_mistake(shell: Shell) -> None:
    """It is named."""
    status, _, errors = shell.run("call", "getMe", "--token-file", "nowhere")
    assert status == 2
    assert "'nowhere' does not exist" in errors


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import os\n\nos.environ['NO_SUCH_NAME']\n", r"KeyError: 'NO_SUCH_NAME' \(.*broken.py, line 3\)"),
        ("def handler(:\n", r"SyntaxError: .*broken.py, line 1\)"),
        ("import brok\n", r"ModuleNotFoundError: No module named 'brok' \(.*broken.py, line 1\)"),
        ("import sys\nsys.exit('no')\n", r"SystemExit: no \(.*broken.py, line 2\)"),
    ],
    ids=["raises", "syntax", "module", "exit"],
)
def test_a_module_that_cannot_be_imported_is_told_with_its_line(shell: Shell, source: str, said: str) -> None:
    """The line of the module, not of the library that it called."""
    (shell.folder / "broken.py").write_text(source)
    status, _, errors = shell.run("run", "broken:handler")
    assert status == 2
    assert re.fullmatch(rf"hookline: the module 'broken' cannot be imported: {said}\n", errors)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_port_in_use_is_a_sentence_and_status_1(shell: Shell, driver: str) -> None:
    """What was typed is good; it cannot be done."""
    name = "plain" if driver == "blocking" else "handler"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        arguments = ["serve", f"mybot:{name}", "--driver", driver, "--listen", f"127.0.0.1:{port}"]
        status, _, errors = shell.run(*arguments)
    assert status == 1
    assert re.fullmatch(rf"{TIME} ERROR   cannot listen on 127.0.0.1:{port}: .+\n", errors)


@pytest.mark.parametrize("group", [[], ["webhook"]])
def test_a_group_alone_shows_what_it_has(shell: Shell, group: list[str]) -> None:
    """The list of its commands, wherever click prints it."""
    _, output, errors = shell.run(*group)
    assert "Commands:" in output + errors
    assert "hookline: " not in errors


@pytest.mark.parametrize("command", [*commands(main)], ids=" ".join)
def test_help_says_what_each_option_is(shell: Shell, command: list[str]) -> None:
    """Status 0; no option without a word about it."""
    status, output, errors = shell.run(*command, "--help")
    assert (status, errors) == (0, "")
    options = output.split("Options:\n")[1].split("\n\n")[0]
    for option in re.findall(r"^  -.*\n(?:   .*\n)*", options, re.MULTILINE):
        words = re.sub(r"\[.*?\]", "", " ".join(option.split()))  # without the choices and the default
        assert re.search(r"--\S+ .*[a-z].*\.", words), f"{words} has no help"


@pytest.mark.parametrize(
    ("package", "arguments", "sentence"),
    [
        ("click", ["--help"], "the command needs the extra 'cli': pip install 'hookline[cli]'"),
        ("rich", ["demo"], "this needs the extra 'cli': pip install 'hookline[cli]'"),
        ("trio", ["run", "mybot:handler", "--driver", "trio"], "this needs the extra 'trio': pip install"),
    ],
    ids=["click", "rich", "trio"],
)
def test_a_package_that_is_not_installed_is_told_with_its_extra(
    shell: Shell, package: str, arguments: list[str], sentence: str
) -> None:
    """Exit status 1."""
    line = f"import sys; sys.modules[{package!r}] = None; from hookline_io.cli import main; main()"
    status, _, errors = shell.run(*arguments, python=line)
    assert status == 1
    assert re.match(rf"(hookline: |{TIME} ERROR   ){re.escape(sentence)}", errors)  # the driver is loaded after the log
    assert len(errors.splitlines()) == 1


# The secret token's file


def test_the_secret_is_made_once_for_its_owner_alone(shell: Shell, telegram: FakeTelegram) -> None:
    """And read again the next time."""
    arguments = ["webhook", "set", "--url", "https://bot.example.org/x", "--api-root", telegram.root]
    status, output, errors = shell.run(*arguments)
    assert (status, errors) == (0, "")
    assert str(shell.secret_file) in output
    assert shell.secret_file.stat().st_mode & 0o777 == 0o600
    assert shell.run(*arguments)[0] == 0
    first, second = telegram.named("setWebhook")
    assert first.params == {"url": "https://bot.example.org/x", "secret_token": shell.secret_file.read_text().strip()}
    assert second.params == first.params


def test_a_secret_file_that_holds_none_is_named(shell: Shell) -> None:
    """An empty file, say, since a secret of nothing would let everybody in."""
    (shell.folder / "empty").touch()
    status, _, errors = shell.run("webhook", "set", "--url", "https://x.example.org", "--secret-file", "empty")
    assert status == 2
    assert errors.startswith("hookline: the secret file 'empty': secret_token must be")


def test_only_certificates_of_a_pem_file_are_given_away(tmp_path: Path) -> None:
    """Never the key that stands beside them."""
    certificate = b"-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n"
    key = b"-----BEGIN PRIVATE KEY-----\nS0VZ\n-----END PRIVATE KEY-----\n"
    (tmp_path / "both.pem").write_bytes(key + certificate + key + certificate)
    assert public_part(tmp_path / "both.pem") == certificate + certificate
    (tmp_path / "key.pem").write_bytes(key)
    with pytest.raises(OptionError, match="holds no certificate"):
        public_part(tmp_path / "key.pem")


# Calls


def test_a_call_prints_its_result_as_json(shell: Shell, telegram: FakeTelegram) -> None:
    """The token came from a file; the parameters are what their values look like."""
    shell.environment.pop("BOT_TOKEN")
    (shell.folder / "token").write_text(TOKEN + "\n")
    telegram.answers["sendMessage"] = (200, {"ok": True, "result": {"text": "é"}})
    status, output, errors = shell.run(
        *("call", "sendMessage", "--token-file", "token", "--api-root", telegram.root),
        *("chat_id=@channel", "text=a=b", 'reply_markup={"remove_keyboard": true}', "disable_notification=true"),
    )
    assert (status, errors) == (0, "")
    assert json.loads(output) == {"text": "é"}
    assert telegram.named("sendMessage")[0].params == {
        "chat_id": "@channel",
        "text": "a=b",
        "reply_markup": {"remove_keyboard": True},
        "disable_notification": True,
    }


def test_a_call_sends_a_file(shell: Shell, telegram: FakeTelegram) -> None:
    """By its path, under its name."""
    (shell.folder / "cat.txt").write_text("miaow")
    status, _, errors = shell.run("call", "sendDocument", "document=@cat.txt", "--api-root", telegram.root)
    assert (status, errors) == (0, "")
    body = telegram.named("sendDocument")[0].body
    assert b"miaow" in body
    assert b'filename="cat.txt"' in body


def test_a_refused_call_is_a_sentence_and_status_1(shell: Shell, telegram: FakeTelegram) -> None:
    """With Telegram's own words."""
    refusal = {"ok": False, "error_code": 400, "description": "Bad Request: chat not found"}
    telegram.answers["sendMessage"] = (400, refusal)
    status, output, errors = shell.run("call", "sendMessage", "--api-root", telegram.root)
    assert (status, output) == (1, "")
    assert errors == "hookline: sendMessage: 400 Bad Request: chat not found\n"


def test_a_call_that_reaches_nobody_is_a_sentence_and_status_1(shell: Shell) -> None:
    """Nobody listens there."""
    status, output, errors = shell.run("call", "getMe", "--api-root", f"http://127.0.0.1:{free_port()}")
    assert (status, output) == (1, "")
    assert re.fullmatch(r"hookline: getMe: .+\n", errors)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-1.5", -1.5),
        ("true", True),
        ('["a"]', ["a"]),
        ('{"a": null}', {"a": None}),
        ("1.10", "1.10"),
        ("1e999", "1e999"),
        ("NaN", "NaN"),
        ("null", "null"),
        ('"quoted"', '"quoted"'),
        ("007", "007"),
        ("", ""),
        ("@", "@"),
        ("@channel", "@channel"),
        ("@friend look.at this", "@friend look.at this"),
        ("[" * 100_000, "[" * 100_000),
    ],
    ids=lambda value: repr(value)[:12],
)
def test_a_value_is_json_or_text(text: str, value: Any) -> None:
    """Text where JSON would change or lose it; a user's name is never taken for a file's."""
    read = read_value(text)
    assert (type(read), read) == (type(value), value)


def test_a_value_names_a_file_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that is called like a user, where that is made clear."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "channel").touch()
    assert read_value("@channel") == "@channel"
    assert isinstance(read_value("@./channel"), InputFile)


def test_webhook_info_is_a_table(shell: Shell, telegram: FakeTelegram) -> None:
    """What is not known is left out."""
    telegram.answers["getWebhookInfo"] = (
        200,
        {
            "ok": True,
            "result": {
                "url": "https://bot.example.org/[x]",
                "has_custom_certificate": False,
                "pending_update_count": 3,
                "last_error_date": 0,
                "last_error_message": "Connection refused",
            },
        },
    )
    status, output, errors = shell.run("webhook", "info", "--api-root", telegram.root)
    assert (status, errors) == (0, "")
    assert [re.split(r" {2,}", line.strip()) for line in output.splitlines()] == [
        ["url", "https://bot.example.org/[x]"],
        ["pending updates", "3"],
        ["last error", "Connection refused"],
        ["last error at", "1970-01-01 00:00:00 UTC"],
    ]


def test_webhook_info_cuts_no_value_short(shell: Shell, telegram: FakeTelegram) -> None:
    """However narrow the terminal is: somebody may copy it."""
    url = "https://bot.example.org/" + "x" * 200
    shell.environment["COLUMNS"] = "40"
    info = {"url": url, "has_custom_certificate": False, "pending_update_count": 0}
    telegram.answers["getWebhookInfo"] = (200, {"ok": True, "result": info})
    status, output, _ = shell.run("webhook", "info", "--api-root", telegram.root)
    assert status == 0
    assert url in output.splitlines()[0]


def test_webhook_delete_says_so(shell: Shell, telegram: FakeTelegram) -> None:
    """And forgets what waits, if asked."""
    status, output, _ = shell.run("webhook", "delete", "--drop-pending", "--api-root", telegram.root)
    assert (status, output) == (0, "the webhook is deleted\n")
    assert telegram.named("deleteWebhook")[0].params == {"drop_pending_updates": True}


# Health


def test_a_sick_bot_is_status_1_and_its_answer_is_shown(shell: Shell, telegram: FakeTelegram) -> None:
    """Any status but 200."""
    telegram.answers["/own"] = (503, {"ok": False})
    status, output, errors = shell.run("health", f"{telegram.root}/own")
    assert (status, json.loads(output)) == (1, {"ok": False})
    assert errors == f"hookline: {telegram.root}/own answered 503 Service Unavailable\n"


def test_no_answer_to_a_health_check_is_status_1(shell: Shell) -> None:
    """Nobody listens there."""
    status, _, errors = shell.run("health", f"127.0.0.1:{free_port()}")
    assert status == 1
    assert re.fullmatch(r"hookline: no answer from 127.0.0.1:\d+: Connection refused\n", errors)


# The demo


@pytest.mark.parametrize(
    ("driver", "source"),
    [("asyncio", ["--webhook"]), pytest.param("trio", [], marks=needs_trio), ("blocking", ["--webhook"])],
    ids=["asyncio", "trio", "blocking"],
)
def test_the_demo_counts_what_became_of_every_update(shell: Shell, driver: str, source: list[str]) -> None:
    """In plain lines where nobody looks, and what is reported again and again is one of them."""
    arguments = ["--driver", driver, *source, "--updates", "6", "--users", "2", "--slow", "0.6"]
    status, output, errors = shell.run("demo", *arguments)
    assert (status, errors) == (0, "")
    assert "\x1b" not in output
    assert not re.search(r" $", output, re.MULTILINE)
    counts = dict(re.findall(r"^(\D+?) +(\d+)$", output, re.MULTILINE))
    assert counts == {
        "sent": "6",
        "handled": "6",
        "answered": "6",
        "lost": "0",
        "handled twice": "0",
        "out of order in a chat": "0",
        "two at once in a chat": "0",
    }
    reports = [line for line in output.splitlines() if " x " in line]
    assert len(reports) == bool(source)
    assert all(re.match(r"\d+ x handler timeout: the handler of update \d+ did not end", line) for line in reports)


def test_the_demo_on_a_terminal_shows_how_far_it_is(shell: Shell) -> None:
    """A line for each user, in colour."""
    shell.environment |= {"TERM": "xterm-256color", "COLUMNS": "80"}
    line = "import pty, sys; sys.exit(pty.spawn([*sys.argv[1:]]) >> 8)"
    command = str(Path(sysconfig.get_path("scripts"), "hookline"))
    status, output, _ = shell.run(command, "demo", "--updates", "6", "--users", "2", "--slow", "0", python=line)
    assert status == 0
    assert "\x1b[" in output
    seen = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", output).splitlines()
    assert any(re.fullmatch(r" user +sent +answered *", line) for line in seen)
    assert max(len(line.rstrip()) for line in seen) <= 80


@pytest.mark.parametrize(
    ("users", "slow", "updates"), [(5, 0.0, 100), (5, 0.1, 100), (5, 2.0, 25), (3, 60.0, 3), (1_000, 0.1, 100)]
)
def test_a_demo_takes_about_ten_seconds_unless_told_otherwise(users: int, slow: float, updates: int) -> None:
    from hookline_io.cli.demo import suitable_number

    assert suitable_number(users, slow) == updates


@pytest.mark.parametrize("wrong", ["twice", "out_of_order", "at_once", "lost"])
def test_a_demo_that_went_wrong_says_so(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever it was that must not be."""
    pytest.importorskip("rich")
    from hookline_io.cli.demo import Settings, Summary
    from hookline_io.cli.demo_view import View

    counts = {"twice": 0, "out_of_order": 0, "at_once": 0, "lost": 0} | {wrong: 1}
    summary = Summary(sent=2, handled=2, answered=2, seconds=1.0, **counts)
    View(Settings()).sum_up(summary)
    assert not summary.good
    assert capsys.readouterr().out.endswith("This is not as it should be.\n")


# Simulated worlds


def test_something_is_played_however_short_the_time(shell: Shell) -> None:
    """That everything held would else be said of nothing."""
    status, output, errors = shell.run("fuzz", "--seconds", "1e-9", "--jobs", "1", "--save", str(shell.folder))
    assert (status, errors) == (0, "")
    assert not re.search(r"^scenarios +0$", output, re.MULTILINE)
    assert re.search(r"^scenarios +[0-9]+$", output, re.MULTILINE)


def test_a_short_fuzz_run_does_not_look_like_a_failure(shell: Shell) -> None:
    """Transitions that were not taken are listed only where all should have been."""
    arguments = ["fuzz", "--runs", "2", "--seed", "1", "--jobs", "1", "--save", str(shell.folder)]
    status, output, errors = shell.run(*arguments)
    assert (status, errors) == (0, "")
    assert "so that a short run does not take them all: that is no failure" in output
    assert "not taken" not in output
    assert not re.search(r" $", output, re.MULTILINE)
    status, output, errors = shell.run(*arguments, "--all-transitions")
    assert status == 1
    assert "\nnot taken: Polling from " in output
    assert re.fullmatch(r"hookline: \d+ transitions were not taken; more runs may take them\n", errors)
