"""What the pages say to operators is true: kinds of reports, units and containers, the proxy, the certificate."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hookline import ApiOptions, Bot, PollingOptions, Token, WebhookOptions
from hookline.effects import Report, Send, Verdict
from hookline_io import blocking, common
from tests.docs.telegram import TOKEN, Telegram, until
from tests.docs.test_pages import blocks, rows
from tests.nginx import nginx
from tests.ports import free_port


def block(page: str, language: str, number: int = 0) -> str:
    """A block of a page."""
    found = [parameter.values[0] for parameter in blocks(language)]
    text: str = [one for one in found if one.page == page][number].text
    return text


@pytest.fixture
def telegram() -> Iterator[Telegram]:
    """A simulated Telegram."""
    simulated = Telegram()
    yield simulated
    simulated.close()


# The log


def test_the_page_knows_every_kind_of_report() -> None:
    assert {row[0] for row in said()} == {f"`{verdict.value}`" for verdict in Verdict}


@pytest.mark.parametrize("verdict", Verdict)
def test_the_page_says_the_level_of_a_kind(verdict: Verdict, caplog: pytest.LogCaptureFixture) -> None:
    common.show(Report(verdict, "something is wrong"))
    (level,) = [row[1] for row in said() if row[0] == f"`{verdict.value}`"]
    assert caplog.records[0].levelname == level.upper()


def said() -> list[list[str]]:
    """The table of kinds."""
    return rows("operations.md", "What the log says")


def test_a_health_check_says_what_the_page_shows() -> None:
    """The same names, with values of the same types."""
    bot = Bot(Token(TOKEN), PollingOptions())
    bot.start(0.0)
    connection = bot.new_connection()
    bot.accepted(connection, 0.0)
    effects = bot.received(connection, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 0.0)
    (answer,) = (effect for effect in effects if isinstance(effect, Send))
    assert json.loads(block("polling.md", "json")).keys() == json.loads(answer.data.partition(b"\r\n\r\n")[2]).keys()


# Units and containers


def test_the_service_is_given_the_time_that_a_stop_takes() -> None:
    """The grace time, and the last words to Telegram: getUpdates is given 5 s."""
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(block("operations.md", "ini").replace("\\\n", ""))
    grace = float(re.findall(r"--grace (\S+)", unit["Service"]["ExecStart"])[0])
    assert float(unit["Service"]["TimeoutStopSec"]) >= grace + 10


def test_the_container_asks_for_health_where_it_is_served() -> None:
    """And ends within the 10 s that Docker waits."""
    lines = block("operations.md", "dockerfile").replace("\\\n", "").splitlines()
    health, command = [json.loads(line.partition("CMD ")[2]) for line in lines if "CMD [" in line]
    assert health[-1] == command[command.index("--health") + 1]
    assert float(command[command.index("--grace") + 1]) <= 8


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_service_is_one_to_systemd(tmp_path: Path) -> None:
    """Nothing in it is unknown."""
    unit = tmp_path / "mybot.service"
    unit.write_text(block("operations.md", "ini").replace("/opt/mybot/.venv/bin/hookline", "/bin/true"))
    asked = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert "mybot.service" not in asked.stderr


# The proxy and the certificate


@pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx")
def test_updates_come_through_the_proxy(telegram: Telegram, tmp_path: Path) -> None:
    """Of 200 kB, too."""
    inside = free_port()
    stop = threading.Event()
    seen: list[int] = []

    def handler(update: Any, api: Any) -> None:
        text = update.payload["text"]
        seen.append(len(text))
        api.call("sendMessage", chat_id=update.payload["chat"]["id"], text=text)

    with nginx(inside, tmp_path) as outside:
        kwargs: dict[str, Any] = {
            "listen": ("127.0.0.1", inside),
            "url": f"http://127.0.0.1:{outside}/telegram",
            "api": ApiOptions(root=telegram.root),
            "reply_with": lambda method: True,
            "stop": stop,
        }
        args = (handler, TOKEN, WebhookOptions(path="/telegram"))
        bot = threading.Thread(target=blocking.serve_webhook, args=args, kwargs=kwargs, daemon=True)
        try:
            bot.start()
            telegram.message("x" * 200_000)
            telegram.message("short", user=2)
            until(lambda: sorted(map(len, telegram.texts())) == [5, 200_000] and telegram.pending() == 0)
            assert sorted(seen) == [5, 200_000]
            assert {call.via for call in telegram.answers()} == {"webhook reply"}
        finally:
            stop.set()
            bot.join(10)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_a_certificate_of_ones_own_is_made_as_the_page_says(tmp_path: Path) -> None:
    """And a server takes it."""
    (line,) = re.findall(r"^openssl .*$", block("webhooks.md", "sh", 3), re.MULTILINE)
    subprocess.run(line.split(), cwd=tmp_path, check=True, capture_output=True)
    common.server_tls(tmp_path / "cert.pem", tmp_path / "key.pem")
