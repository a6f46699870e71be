"""A served host and a simulated Telegram for its calls, shared by the tests that want the same options of both."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.client import Served
from tests.hosts.hosts import Host
from tests.nginx import nginx
from tests.peers.processes import TOKEN, Telegram, running
from tests.ports import free_port

SECRET = "s3cret"
TIMEOUT = 0.6


@contextmanager
def serving(host: Host, telegram: Telegram, folder: Path, **options: Any) -> Iterator[Served]:
    """Serve a host's application, behind nginx where the host is."""
    port = free_port()
    with hosting(host, telegram, port, folder / "host.log", **options) as served:
        if host.nginx:
            with nginx(port, folder) as front:
                yield Served(front, served.process, telegram, SECRET)
        else:
            yield served


@contextmanager
def hosting(host: Host, telegram: Telegram, port: int, log: Path, **options: Any) -> Iterator[Served]:
    """Serve a host's application in a process of its own."""
    fields = {"secret_token": SECRET, "timeout": TIMEOUT, "grace": 5.0} | options
    environment = {"BOT_TOKEN": TOKEN, "BOT_API_ROOT": telegram.root, "HOOK_OPTIONS": json.dumps(fields)}
    if options.get("confirm") == "stored":
        environment["INBOX"] = f"sqlite:///{log.with_name('inbox.db')}"
    command = [sys.executable, *host.command(host.app, port)]
    with running(command, log, **environment) as process:
        served = Served(port, process, telegram, SECRET)
        process.until(served.answers)
        yield served


@pytest.fixture(scope="module")
def telegram(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Telegram]:
    """A simulated Telegram."""
    with Telegram.simulated(tmp_path_factory.mktemp("telegram") / "sim.log") as simulated:
        yield simulated


@pytest.fixture(scope="module")
def served(
    request: pytest.FixtureRequest, telegram: Telegram, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """The host that the parameter names, with the options that it names."""
    host, options = request.param
    with serving(host, telegram, tmp_path_factory.mktemp("host"), **options) as served_host:
        yield served_host
