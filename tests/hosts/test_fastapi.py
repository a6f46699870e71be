"""What a FastAPI program has around the webhook: handlers of errors, a lifespan of its own, routers."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.hosts.client import update
from tests.hosts.conftest import TIMEOUT, serving
from tests.hosts.hosts import HOSTS
from tests.peers.processes import Telegram

[FASTAPI] = [host for host in HOSTS if host.app == "fastapi_app"]

pytestmark = [
    pytest.mark.xdist_group(FASTAPI.name),
    pytest.mark.skipif(FASTAPI.missing is not None, reason=str(FASTAPI.missing)),
]


def test_its_handler_of_errors_answers_when_time_is_up_and_its_lifespan_outlives_the_webhooks(
    telegram: Telegram, tmp_path: Path
) -> None:
    content = update(f"sleep={TIMEOUT + 1.0} echo")
    with serving(FASTAPI, telegram, tmp_path) as served:
        answer = served.post(content)
        assert (answer.status, json.loads(answer.body)) == (500, {"slow": content["update_id"]})
        assert "closed" not in served.process.output
        assert "Traceback" not in served.process.output
        served.process.stop(signal.SIGTERM)
        assert len(served.texts("sendMessage", content)) == 1
        assert "closed" in served.process.output


def test_it_is_an_endpoint_of_a_router_of_fastapis(telegram: Telegram, tmp_path: Path) -> None:
    content = update("echo")
    with serving(FASTAPI, telegram, tmp_path) as served:
        answer = served.send(json.dumps(content).encode(), path="/routed/telegram")
        assert (answer.status, answer.body) == (200, b"")
        assert served.texts("sendMessage", content) == ["echo"]
