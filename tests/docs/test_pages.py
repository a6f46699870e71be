"""What README.md and the pages of docs/ show is true: each Python block is a program that runs, each command parses.

A block runs by itself, as a reader would paste it, with the simulated Telegram for Telegram. Names that its functions
use must exist even where the run did not come by.
"""

from __future__ import annotations

import dis
import json
import logging
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from attrs import frozen

from tests.docs import libraries
from tests.docs.telegram import BOT_ID, TOKEN, Telegram, redirect, until
from tests.ports import free_port

pytest.importorskip("click")
pytest.importorskip("trio")

ROOT = Path(__file__).parents[2]
HOSTS = ROOT / "docs" / "hosts.md"  # it is tested where the hosts are: tests/hosts/test_page.py
PAGES = [ROOT / "README.md", *sorted(set((ROOT / "docs").glob("*.md")) - {HOSTS})]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
RUN_COMMAND = "import sys; from hookline_io.cli import main; main(prog_name='hookline')"


@frozen
class Block:
    """A fenced block of a page: the language that it names, its text, and the line it begins at."""

    page: str
    line: int
    language: str
    text: str


def blocks(language: str) -> list[Any]:
    """All blocks in a language, as parameters of a test."""
    found = []
    for page in PAGES:
        source = page.read_text("utf-8")
        for match in FENCE.finditer(source):
            line = source.count("\n", 0, match.start()) + 2
            if match[1] == language:
                block = Block(page.name, line, language, match[2])
                found.append(pytest.param(block, id=f"{page.name}:{line}"))
    return found


def command_lines(block: Block) -> Iterator[list[str]]:
    """The words of each command in a block: of a shell, of a service's unit, or of a Dockerfile."""
    for line in block.text.replace("\\\n", " ").splitlines():
        if block.language == "sh":
            words = shlex.split(line, comments=True)
            while "&&" in words:
                words = words[words.index("&&") + 1 :]
            while words and "=" in words[0]:  # a variable, set for the command
                del words[0]
            yield words
        elif line.startswith("ExecStart="):
            yield shlex.split(line.partition("=")[2])
        elif "CMD [" in line:
            yield json.loads(line.partition("CMD ")[2])


def commands(page: str | None = None) -> list[Any]:
    """The arguments of every `hookline ...` in the blocks of a page, or of all; as parameters of a test."""
    shown = [parameter.values[0] for parameter in (*blocks("sh"), *blocks("ini"), *blocks("dockerfile"))]
    lines = [words for block in shown if page in (None, block.page) for words in command_lines(block) if words]
    return [pytest.param(words[1:], id=" ".join(words)) for words in lines if Path(words[0]).name == "hookline"]


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the table under a heading of a page, without its head."""
    section = (ROOT / "docs" / page).read_text("utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    assert len(lines) > 2, f"{page} has no table under {heading!r}"
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def unknown_names(code: CodeType, namespace: dict[str, Any]) -> set[str]:
    """Global names that code uses, at any depth, and that do not exist."""
    builtins = vars(__import__("builtins"))
    used = {str(step.argval) for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"}
    missing = {name for name in used if name not in namespace and name not in builtins}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            missing |= unknown_names(constant, namespace)
    return missing


def programs(*, of_hookline: bool) -> list[Any]:
    """The Python blocks that use hookline, or that others' libraries run by themselves; as parameters of a test."""
    found = []
    for parameter in blocks("python"):
        text = parameter.values[0].text
        package = libraries.package_of(text)
        if of_hookline == (package is None or "hookline" in text):
            marks = [pytest.mark.skip(f"{package} is missing")] if libraries.is_missing(package) else []
            found.append(pytest.param(*parameter.values, id=parameter.id, marks=marks))
    return found


@pytest.fixture
def telegram() -> Iterator[Telegram]:
    """A simulated Telegram."""
    simulated = Telegram()
    yield simulated
    simulated.close()


@pytest.mark.parametrize("block", programs(of_hookline=True))
def test_a_program_runs(
    block: Block,
    telegram: Telegram,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Run as `python program.py` would; every message that a user sent while it ran was answered."""
    redirect(telegram, monkeypatch)
    package = libraries.package_of(block.text)
    if package is not None:
        libraries.redirect(package, telegram.root, monkeypatch)
    monkeypatch.setenv("BOT_TOKEN", TOKEN)
    monkeypatch.setenv("BOT_API_ROOT", telegram.root)
    monkeypatch.chdir(tmp_path)
    code = compile("\n" * (block.line - 1) + block.text, block.page, "exec", dont_inherit=True)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    with caplog.at_level(logging.ERROR, "hookline"):
        exec(code, namespace)
    assert unknown_names(code, namespace) == set()
    assert telegram.problems == []
    assert [record.getMessage() for record in caplog.records] == []
    assert telegram.sent <= len(telegram.answers())


@pytest.mark.parametrize("block", programs(of_hookline=False))
def test_a_program_of_another_library_runs(block: Block, telegram: Telegram, tmp_path: Path) -> None:
    """It answers a message; it is killed then."""
    program = tmp_path / "program.py"
    program.write_text(block.text)
    environment = os.environ | {"BOT_TOKEN": TOKEN, "BOT_API_ROOT": telegram.root}
    command = [sys.executable, "-m", libraries.__name__, str(program)]
    telegram.message("hello")
    with subprocess.Popen(command, cwd=ROOT, env=environment) as process:
        try:
            # An import alone may take ten seconds.
            until(lambda: telegram.texts() == ["hello"] or process.poll() is not None, patience=60)
        finally:
            process.kill()
    assert telegram.texts() == ["hello"]


@pytest.mark.parametrize("words", commands())
def test_a_command_is_understood(words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its name, options and arguments are the command line's; it is not run."""
    import click

    from hookline_io.cli import main

    monkeypatch.chdir(tmp_path)
    for name in ("cert.pem", "fullchain.pem", "key.pem", "token.txt", "photo.jpg", "run.trace"):
        (tmp_path / name).touch()
    words = [re.sub(r".*/token$", "token.txt", word) for word in words]
    command: click.Command = main
    while isinstance(command, click.Group):
        name, *words = words
        found = command.get_command(click.Context(command), name)
        assert found is not None, name
        command = found
    command.make_context(command.name, list(words))


BOT_COMMANDS = [words for one in commands("README.md") if (words := one.values[0])[1:2] == ["mybot:handler"]]


def test_the_readme_shows_a_bot_by_polling_with_an_inbox_and_by_webhook() -> None:
    assert [(words[0], "--inbox" in words) for words in BOT_COMMANDS] == [
        ("run", False),
        ("run", True),
        ("serve", False),
    ]


@pytest.mark.parametrize("words", BOT_COMMANDS, ids=" ".join)
def test_the_readmes_bot_runs_by_the_readmes_command(words: list[str], telegram: Telegram, tmp_path: Path) -> None:
    """Saved as mybot.py and started as the page says, with addresses of loopback."""
    (block,) = blocks("python")[0].values
    assert block.page == "README.md"
    (tmp_path / "mybot.py").write_text(block.text)
    words = [*words, "--api-root", telegram.root]
    if words[0] == "serve":
        port = free_port()
        words += ["--listen", f"127.0.0.1:{port}", "--url", f"http://127.0.0.1:{port}/telegram"]
        words += ["--secret-file", str(tmp_path / "secret")]
    environment = os.environ | {"BOT_TOKEN": TOKEN}
    with subprocess.Popen([sys.executable, "-c", RUN_COMMAND, *words], cwd=tmp_path, env=environment) as process:
        try:
            telegram.message("hello")
            until(lambda: telegram.texts() == ["hello"] and telegram.pending() == 0)
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 0


def test_the_readmes_test_command_is_what_ci_runs() -> None:
    """`tox`, without arguments, on a line of its own."""
    tests = [block.values[0].text for block in blocks("sh") if "/tox" in block.values[0].text]
    assert len(tests) == 1
    assert tests[0].rstrip().endswith(".venv/bin/tox")
    assert "tox" in (ROOT / ".ci" / "run").read_text().splitlines()


def control(telegram: Telegram, request: str, body: str) -> Any:
    """Use the control interface of the simulation."""
    method, path = request.strip("`").split()
    data = body.strip("`").encode() if method == "POST" else None
    asked = urllib.request.Request(telegram.root + path, data, method=method)
    with urllib.request.urlopen(asked, timeout=10) as response:
        return json.load(response)


@pytest.mark.parametrize(("request_line", "body"), [row[:2] for row in rows("simulator.md", "Controls")])
def test_a_control_of_the_simulation_does_something(request_line: str, body: str, telegram: Telegram) -> None:
    """Sent as the table has it, it is accepted; what makes an update makes one."""
    assert f"{BOT_ID}" in request_line + body
    answer = control(telegram, request_line, body)
    if request_line.startswith("`POST") and "update_id" in answer:
        assert telegram.pending() == 1


def test_every_control_of_the_simulation_is_in_the_table() -> None:
    """The simulation's own list, in its docstring, and the page's have the same controls."""
    from hookline.sim import control as controls

    listed = set(re.findall(r"/_sim/\w+", controls.__doc__ or ""))
    assert listed == {match for row in rows("simulator.md", "Controls") for match in re.findall(r"/_sim/\w+", row[0])}


@pytest.mark.parametrize("fault", [row[0] for row in rows("simulator.md", "Faults")])
def test_a_fault_of_the_simulation_spoils_a_call(fault: str, telegram: Telegram) -> None:
    """Set as the table has it, the next call of the bot does not get what it would have got without."""
    from hookline import ApiError, ApiOptions, NetworkError
    from hookline_io.blocking import Api

    options = json.loads(fault.strip("`"))
    control(telegram, "POST /_sim/fault", json.dumps({"bot": BOT_ID, "method": "getMe", "times": 2} | options))
    with Api(TOKEN, ApiOptions(root=telegram.root, flood_waits=0)) as api, pytest.raises((ApiError, NetworkError)):
        api.call("getMe", within=0.5)


@pytest.mark.parametrize("fault", [row[0] for row in rows("simulator.md", "Faults on the way to a webhook")])
def test_a_fault_of_deliveries_spoils_one(fault: str) -> None:
    """Set as the table has it, it befalls what the webhook is sent, and no call of a method."""
    from hookline.sim import Fault

    set_fault = Fault(**json.loads(fault.strip("`")))
    assert set_fault.befalls("delivery")
    assert not set_fault.befalls("getme")


# The machines' contract


def test_every_effect_is_in_the_table_of_whoever_embeds() -> None:
    """Each row's machines give it, and have the facts that answer it."""
    import hookline
    from hookline import effects, outcomes

    listed = [(set(named(row[0])), named(row[1]), named(row[3])) for row in rows("embedding.md", "Effects")]
    assert set().union(*(names for names, _, _ in listed)) == set(re.findall(r"\w+", str(effects.Effect)))
    for _, machines, facts in listed:
        for fact in facts:
            assert hasattr(outcomes, fact) or all(hasattr(getattr(hookline, machine), fact) for machine in machines)


def named(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`(\w+)`", cell)
