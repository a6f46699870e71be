"""What nginx in front of a host changes, besides what the other tests see behind it."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.hosts.client import PATH, Served, update
from tests.hosts.conftest import SECRET, hosting
from tests.hosts.hosts import HOSTS, skip_if_missing
from tests.nginx import nginx
from tests.peers.processes import Telegram
from tests.ports import free_port

HOST = next(host for host in HOSTS if host.nginx)

pytestmark = skip_if_missing(HOST)


def test_what_nginx_finds_too_large_never_reaches_the_host(telegram: Telegram, tmp_path: Path) -> None:
    port = free_port()
    with (
        hosting(HOST, telegram, port, tmp_path / "host.log", max_body=10_000_000) as host,
        nginx(port, tmp_path) as front,
    ):
        body = json.dumps(update("echo") | {"x": "x" * 1_100_000}).encode()
        answer = Served(front, host.process, telegram, SECRET).send(body)
        assert answer.status == 413
        assert b"nginx" in answer.body
        assert host.send(body).status == 200


def test_while_the_host_restarts_telegram_is_answered_502_and_delivers_afterwards(
    telegram: Telegram, tmp_path: Path
) -> None:
    chat = -201
    port = free_port()
    with nginx(port, tmp_path) as front:
        with hosting(HOST, telegram, port, tmp_path / "first.log") as host:
            served = Served(front, host.process, telegram, SECRET)
            served.call("setWebhook", url=f"http://127.0.0.1:{front}{PATH}", secret_token=SECRET)
            telegram.message("echo=1", chat=chat)
            served.until(lambda: telegram.pending() == 0)
            host.process.stop(signal.SIGTERM)
        assert served.post(update("echo")).status == 502
        telegram.message("echo=2", chat=chat)
        telegram.message("echo=3", chat=chat)
        with hosting(HOST, telegram, port, tmp_path / "second.log") as host:
            host.until(lambda: telegram.pending() == 0)
        answers = [text for answered, text in telegram.answers() if answered == chat]
        assert answers == ["echo=1", "echo=2", "echo=3"]
        served.call("deleteWebhook")
