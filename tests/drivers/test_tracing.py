"""The option `trace` of every driver, and of the command line: runs over loopback that are recorded and replayed."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias
from xml.etree import ElementTree

import pytest

from hookline import InputFile, OptionError, PollingOptions, Token, Update, WebhookOptions
from hookline.trace import Trace, read_trace, replay
from hookline_io import blocking, tracing
from hookline_io.simulation import serve_simulation
from tests.drivers.bench import BOT_ID, DRIVERS, TOKEN, Bot, Toolbox, running, until
from tests.ports import free_port

HALF = TOKEN.partition(":")[2]
SECRET = "a_webhooks-secret"
CONTENT = bytes(range(256)) * 600

Hookline: TypeAlias = "Callable[..., tuple[int, str, str]]"

COMMAND = "import sys; from hookline_io.cli import main; main(prog_name='hookline')"
BOT = """
async def handler(update, api):
    await api.call("sendMessage", chat_id=update.lane, text=update.payload["text"])
"""


def read(path: Path) -> Trace:
    """The trace in a file."""
    with path.open(encoding="utf-8", newline="\n") as lines:
        return read_trace(lines)


def methods(trace: Trace) -> set[str]:
    """The inputs that came in a run."""
    return {given.method for given in trace.inputs}


async def nothing(update: Update, tools: Toolbox) -> None:
    """A handler that does nothing."""


# The drivers


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_polling_run_is_replayed_the_same(driver: str, tmp_path: Path) -> None:
    """Files from a path, from bytes and from a stream go up, and one comes down; a handler fails; then a stop."""
    source, path = tmp_path / "a.bin", tmp_path / "run.trace"
    source.write_bytes(CONTENT)

    async def handler(update: Update, tools: Toolbox) -> None:
        if update.payload["text"] == "bad":
            raise ValueError(f"it went to /bot{TOKEN}/getMe")
        files = [InputFile(file, "a.bin") for file in (source, CONTENT, io.BytesIO(CONTENT))]
        sent = [await tools.call("sendDocument", chat_id=update.lane, document=file) for file in files]
        found = await tools.call("getFile", file_id=sent[0]["document"]["file_id"])
        await tools.download(found["file_path"], io.BytesIO())

    async def main() -> None:
        options = PollingOptions(concurrency=5)
        async with running(driver, handler, options, trace=path, lane=lambda raw: 1) as (simulation, _):
            simulation.message(BOT_ID, "files")
            simulation.message(BOT_ID, "bad", user=2)
            await until(lambda: simulation.telegram.pending(BOT_ID) == 0)

    asyncio.run(main())
    trace = read(path)

    assert str(replay(trace)) == "None"
    assert {"start", "connected", "received", "call", "pulled", "download", "finished", "stop"} <= methods(trace)
    assert HALF not in path.read_text("utf-8")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {"hookline", "python", "begun"} == set(trace.header.about)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_webhooks_run_is_replayed_the_same(driver: str, tmp_path: Path) -> None:
    """A redelivery that joins, replies in the response, a file in one, strangers; then a stop."""
    source, path = tmp_path / "photo.png", tmp_path / "run.trace"
    source.write_bytes(b"picture" * 20_000)

    async def handler(update: Update, tools: Toolbox) -> None:
        if update.payload["text"] == "slow":
            await tools.sleep(0.5)
        await tools.call("sendPhoto", chat_id=update.lane, photo=InputFile(source), caption="look")
        await tools.call("sendMessage", chat_id=update.lane, text="hi")

    async def main() -> None:
        options = WebhookOptions(path="/hook", timeout=0.3, secret_token=SECRET)
        async with running(driver, handler, options, trace=path, reply_with=lambda method: True) as (simulation, bot):
            simulation.message(BOT_ID, "quick")
            await until(lambda: simulation.telegram.pending(BOT_ID) == 0)
            simulation.message(BOT_ID, "slow")
            await until(lambda: simulation.telegram.pending(BOT_ID) == 0)
            reader, writer = await asyncio.open_connection("127.0.0.1", bot.port)
            writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
            assert b"healthy" in await reader.read()
            writer.close()

    asyncio.run(main())
    trace = read(path)

    assert str(replay(trace)) == "None"
    assert {"new_connection", "accepted", "received", "call", "pulled", "finished", "tick", "stop"} <= methods(trace)
    text = path.read_text("utf-8")
    assert HALF not in text
    assert SECRET not in text


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_disk_that_is_full_does_not_disturb_the_bot(
    driver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged once, and the bot goes on; what was written before can be read."""

    class FullDisk(io.TextIOWrapper):
        """A file with room for three lines."""

        lines = 0

        def write(self, text: str) -> int:
            self.lines += 1
            if self.lines > 3:
                raise OSError(28, "No space left on device")
            return super().write(text)

    def fdopen(number: int, *args: Any, **kwargs: Any) -> FullDisk:
        return FullDisk(io.FileIO(number, "w"), encoding="utf-8", line_buffering=True)

    monkeypatch.setattr("hookline_io.tracing.os.fdopen", fdopen)
    path = tmp_path / "run.trace"

    async def main() -> None:
        async with running(driver, nothing, PollingOptions(), trace=path) as (simulation, _):
            for number in range(3):
                simulation.message(BOT_ID, str(number))
            await until(lambda: simulation.telegram.pending(BOT_ID) == 0)

    asyncio.run(main())

    complaints = [record for record in caplog.records if "the trace ends here" in record.getMessage()]
    assert [complaint.levelname for complaint in complaints] == ["WARNING"]
    assert "No space left on device" in complaints[0].getMessage()
    assert len(read(path).inputs) == 2


def test_a_file_that_exists_is_left_alone(tmp_path: Path) -> None:
    """It may be another run's trace."""
    path = tmp_path / "run.trace"
    path.write_text("another's")
    with pytest.raises(OptionError, match="exists: each run needs a new one"):
        blocking.run_polling(lambda update, api: None, TOKEN, trace=str(path), signals=False)

    assert path.read_text() == "another's"


def test_a_file_that_cannot_be_made_is_a_mistake(tmp_path: Path) -> None:
    """Known at once, and not when the first line is written."""
    with pytest.raises(OptionError, match="can't be made: No such file or directory"):
        blocking.run_polling(lambda update, api: None, TOKEN, trace=tmp_path / "nowhere" / "run.trace", signals=False)


def test_a_mistake_in_another_option_leaves_no_file(tmp_path: Path) -> None:
    """So the next start finds the way free."""
    path = tmp_path / "run.trace"
    with pytest.raises(OptionError, match="choose another secret token"):
        blocking.serve_webhook(
            lambda update, api: None,
            TOKEN,
            WebhookOptions(secret_token="short"),
            listen=("127.0.0.1", 0),
            trace=path,
            signals=False,
        )

    assert not path.exists()


def test_who_records_nothing_loads_nothing_of_it() -> None:
    """The machine is the plain one."""
    with tracing.recording(None) as new_bot:
        assert type(new_bot(Token(f"42:{'t' * 35}"))).__name__ == "Bot"


# The command line


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """A trace of a short run by webhook."""
    path = tmp_path / "run.trace"

    async def main() -> None:
        async with serve_simulation() as simulation:
            bot = Bot("asyncio", simulation.root, nothing, WebhookOptions(path="/hook"), trace=path)
            await until(lambda: bool(simulation.telegram.calls(BOT_ID)))
            for user in (1, 2):
                simulation.message(BOT_ID, "hi", user=user)
            await until(lambda: simulation.telegram.pending(BOT_ID) == 0)
            await bot.stop()

    asyncio.run(main())
    return path


@pytest.fixture
def hookline(capsys: pytest.CaptureFixture[str]) -> Hookline:
    """What a command of hookline's gives: its exit status, its output, its errors."""
    pytest.importorskip("click")
    from hookline_io.cli import main

    def run(*words: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words], prog_name="hookline")
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def test_replay_says_that_all_is_the_same(hookline: Hookline, trace: Path) -> None:
    status, out, err = hookline("replay", trace)

    assert (status, err) == (0, "")
    assert out == f"{len(read(trace).inputs)} inputs replayed, same effects\n"


def test_replay_shows_the_first_difference(hookline: Hookline, trace: Path) -> None:
    """With status 1."""
    trace.write_text(trace.read_text("utf-8").replace("HTTP/1.1 200", "HTTP/1.1 299"), "utf-8")
    status, out, err = hookline("replay", trace)

    assert status == 1
    assert "\n  expected: " in out
    assert "HTTP/1.1 299" in out
    assert "\n  actual:   " in out
    assert err.startswith("hookline: another effect than was recorded (by hookline ")


@pytest.mark.parametrize("name", ["run.svg", "run.html"])
def test_replay_draws(hookline: Hookline, trace: Path, tmp_path: Path, name: str) -> None:
    """As a picture, or as a page."""
    status, out, _ = hookline("replay", trace, "--draw", tmp_path / name)
    picture = (tmp_path / name).read_text("utf-8")

    assert status == 0
    assert out.startswith(f"drawn to {tmp_path / name}.\n")
    assert "update …" in picture
    if name.endswith(".svg"):
        assert ElementTree.fromstring(picture).tag.endswith("svg")
    else:
        assert picture.startswith("<!doctype html>")


def test_replay_draws_a_part(hookline: Hookline, trace: Path, tmp_path: Path) -> None:
    """One chat, some seconds, some rows; it says what is left out."""
    picture = tmp_path / "run.svg"
    status, _, _ = hookline("replay", trace, "--draw", picture, "--chat", "2", "--from", "0", "--to", "60")
    assert status == 0
    assert ">lane 2<" in picture.read_text("utf-8")
    assert ">lane 1<" not in picture.read_text("utf-8")
    _, out, _ = hookline("replay", trace, "--draw", picture, "--rows", "2")
    assert "more events are left out" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--from", "1e6"], "there is nothing to draw from 1000000.00 s on: the run took"),
        (["--chat", "99"], "there is nothing to draw in chat 99: the run took"),
        (["--chat", "2", "--to", "-1"], "there is nothing to draw in chat 2 up to -1.00 s: the run took"),
    ],
)
def test_replay_draws_no_empty_picture(
    hookline: Hookline, trace: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    status, out, err = hookline("replay", trace, "--draw", tmp_path / "run.svg", *words)

    assert (status, out) == (1, "")
    assert err.startswith(f"hookline: {said} ")
    assert not (tmp_path / "run.svg").exists()


def test_replay_takes_the_trace_of_a_process_that_was_killed(hookline: Hookline, trace: Path) -> None:
    """Its last line may be cut off, in the middle of a character too."""
    whole = read(trace)
    with trace.open("ab") as file:
        file.write('{"now":9.0,"method":"received","arguments":{"data":"é'.encode()[:-1])
    status, out, err = hookline("replay", trace)

    assert status == 0
    assert out == f"{len(whole.inputs)} inputs replayed, same effects\n"
    assert err == "hookline: the last line is incomplete, and left out\n"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--rows", "5"], 2, "are about --draw, which is missing"),
        (["--draw", "run.png"], 2, "must name a file that ends in .svg or .html"),
        (["--draw", "run.svg", "--from", "5", "--to", "4.5"], 2, "--from 5 is later than --to 4.5"),
    ],
)
def test_mistakes_in_the_options_of_replay_are_said(
    hookline: Hookline, trace: Path, words: list[str], status: int, said: str
) -> None:
    got, _, err = hookline("replay", trace, *words)

    assert got == status
    assert said in err


def test_replay_of_what_is_no_trace_is_said(hookline: Hookline) -> None:
    status, _, err = hookline("replay", __file__)

    assert (status, err) == (1, "hookline: this is no trace: it does not begin with a line of JSON\n")


def test_replay_says_that_the_decoder_was_another(hookline: Hookline, trace: Path) -> None:
    trace.write_text(
        trace.read_text("utf-8").replace('"decode":"default"', '"decode":"the program\'s own"', 1), "utf-8"
    )
    status, _, err = hookline("replay", trace)

    assert status == 0
    assert "a JSON decoder of the program's own" in err


@pytest.mark.parametrize("command", ["run", "serve"])
def test_a_bot_started_by_the_command_is_traced(command: str, tmp_path: Path) -> None:
    """With --trace; the secret token that the command made is in no trace."""
    pytest.importorskip("click")
    (tmp_path / "mybot.py").write_text(BOT)
    path, secret = tmp_path / "run.trace", tmp_path / "secret"

    async def main() -> int:
        async with serve_simulation() as simulation:
            words = [command, "mybot:handler", "--api-root", simulation.root, "--trace", str(path)]
            if command == "serve":
                port = free_port()
                words += ["--listen", f"127.0.0.1:{port}", "--url", f"http://127.0.0.1:{port}/"]
                words += ["--secret-file", str(secret)]
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", COMMAND, *words, cwd=tmp_path, env=os.environ | {"BOT_TOKEN": TOKEN}
            )
            simulation.message(BOT_ID, "hi")
            answered = {"sendmessage"}
            await until(lambda: answered <= {call.method for call in simulation.telegram.calls(BOT_ID)})
            await until(lambda: simulation.telegram.pending(BOT_ID) == 0)
            process.send_signal(signal.SIGTERM)
            return await process.wait()

    assert asyncio.run(main()) == 0
    assert str(replay(read(path))) == "None"
    text = path.read_text("utf-8")
    assert HALF not in text
    if command == "serve":
        assert secret.read_text().strip() not in text
