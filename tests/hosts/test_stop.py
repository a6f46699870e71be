"""How every host stops: gracefully, with what outlived its request. Each test has a process of its own."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
from attrs import evolve

from tests.hosts.client import update
from tests.hosts.conftest import TIMEOUT, serving
from tests.hosts.hosts import HOSTS, Host, each_host, prefork, skip_if_missing
from tests.peers.processes import Telegram

LONGER = TIMEOUT + 1.0
"""Seconds that a handler takes: at least one of them is left when its request was answered, and the host is stopped."""

WSGI = next(host for host in HOSTS if host.name == "WSGI, gunicorn")
DJANGO = next(host for host in HOSTS if host.name == "Django, uvicorn")

pytestmark = pytest.mark.skipif(
    (3, 12, 0) <= sys.version_info[:3] <= (3, 12, 2), reason="this Python starts no thread when it ends"
)


@each_host()
def test_a_handler_that_outlived_its_request_ends_before_the_host_does(
    host: Host, telegram: Telegram, tmp_path: Path
) -> None:
    content = update(f"sleep={LONGER} echo")
    with serving(host, telegram, tmp_path) as served:
        assert served.post(content).status == host.late, served.process.output
        served.process.stop(signal.SIGTERM)
        assert len(served.texts("sendMessage", content)) == 1, served.process.output


@each_host()
def test_a_request_that_waits_at_the_stop_is_answered(host: Host, telegram: Telegram, tmp_path: Path) -> None:
    content = update(f"echo=1 sleep={LONGER} echo=2")
    with serving(host, telegram, tmp_path, timeout=30.0) as served:
        answer = served.begin(content)
        served.until(lambda: len(served.texts("sendMessage", content)) == 1)
        served.process.stop(signal.SIGTERM)
        assert answer.result().status == 200, served.process.output
        assert len(served.texts("sendMessage", content)) == 2, served.process.output


@each_host("ASGI, uvicorn", WSGI.name)
def test_what_an_inbox_still_has_is_handled_after_the_next_start(
    host: Host, telegram: Telegram, tmp_path: Path
) -> None:
    content = update(f"sleep={LONGER} echo")
    with serving(host, telegram, tmp_path, confirm="stored", grace=0.1) as served:
        assert served.post(content).status == 200
        served.process.stop(signal.SIGTERM)
        assert served.texts("sendMessage", content) == []
    with serving(host, telegram, tmp_path, confirm="stored") as served:
        served.until(lambda: len(served.texts("sendMessage", content)) == 1)


@skip_if_missing(WSGI)
def test_each_worker_of_a_preloaded_program_has_a_webhook_of_its_own(telegram: Telegram, tmp_path: Path) -> None:
    """It begins after the fork. Of these workers each serves one request at a time, so that both are needed."""
    contents = [update(f"sleep={LONGER} process"), update(f"sleep={LONGER} process")]
    with serving(evolve(WSGI, command=prefork), telegram, tmp_path) as served:
        answers = [served.begin(content) for content in contents]
        assert [answer.result().status for answer in answers] == [500, 500]
        served.process.stop(signal.SIGTERM)
        [[first], [second]] = (served.texts("sendMessage", content) for content in contents)
        assert first != second


@skip_if_missing(DJANGO)
def test_django_without_a_lifespan_begins_with_a_request_and_cuts_handlers_off(
    telegram: Telegram, tmp_path: Path
) -> None:
    """Telegram was answered 500, and will send the update again."""
    handled, cut_off = update("echo"), update(f"sleep={LONGER} echo")
    with serving(evolve(DJANGO, app="django_project.bare_asgi"), telegram, tmp_path) as served:
        assert served.post(handled).status == 200
        assert served.post(cut_off).status == 500
        served.process.stop(signal.SIGTERM)
        assert len(served.texts("sendMessage", handled)) == 1
        assert served.texts("sendMessage", cut_off) == []
