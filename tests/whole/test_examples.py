"""The examples of docs/examples run, against the simulated Telegram on loopback."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import pytest

from hookline import ApiOptions, Update, WebhookOptions
from hookline_io import Api
from hookline_io.simulation import serve_simulation

BOT_ID = 42
TOKEN = f"{BOT_ID}:{'t' * 30}"
EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


async def until(condition: Any, patience: float = 10.0) -> None:
    """Wait for something that is to happen."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.01)


def start(program: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start an example as a program."""
    return subprocess.Popen([sys.executable, str(program)], env=os.environ | environment)


@pytest.mark.parametrize("example", ["echo.py", "own_sockets.py"])
def test_a_polling_example_answers_every_message(example: str) -> None:
    """Run as a program, it answers each user in order; its exit status is 0."""

    async def main() -> None:
        async with serve_simulation() as simulation:
            environment = {"BOT_TOKEN": TOKEN, "BOT_API_ROOT": simulation.root, "STOP_AFTER": "10"}
            process = start(EXAMPLES / example, environment)
            try:
                for number in range(10):
                    simulation.message(BOT_ID, f"text {number}", user=1 + number % 2)
                await until(lambda: simulation.telegram.pending(BOT_ID) == 0)
            finally:
                if example == "echo.py":  # the other one stops by itself
                    process.terminate()
                status = await asyncio.to_thread(process.wait, 10)
            texts = [c.params["text"] for c in simulation.telegram.calls(BOT_ID) if c.method == "sendmessage"]
            assert texts == [f"text {number}" for number in range(10)]
            assert status == 0

    asyncio.run(main())


class QuietHandler(WSGIRequestHandler):
    """Logs nothing."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Nothing is logged."""


class ThreadingServer(WSGIServer):
    """A thread for each request."""

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread."""
        threading.Thread(target=self._answer, args=(request, client_address), daemon=True).start()

    def _answer(self, request: Any, client_address: Any) -> None:
        self.finish_request(request, client_address)
        self.shutdown_request(request)


def load(name: str) -> ModuleType:
    """An example as a module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_wsgi_example_handles_slow_updates_once() -> None:
    """Telegram's own sender against it, with handlers that outlive their requests.

    Few of them: while nothing succeeds, Telegram opens one connection per 2 s (telegram-server.md, 4.1).
    """
    handled: list[int] = []

    def handler(update: Update) -> None:
        time.sleep(0.4)
        handled.append(update.update_id)

    options = WebhookOptions(path="/hook", secret_token="secret", timeout=0.25)
    application = load("own_http").Application(handler, options)
    server = ThreadingServer(("127.0.0.1", 0), QuietHandler)
    server.set_app(application)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    async def main() -> None:
        async with serve_simulation() as simulation:
            async with Api(TOKEN, ApiOptions(root=simulation.root)) as api:
                url = f"http://127.0.0.1:{server.server_port}/hook"
                await api.call("setWebhook", url=url, secret_token="secret")
                ids = [simulation.message(BOT_ID, "hi", user=user) for user in range(1, 3)]
                await until(lambda: simulation.telegram.pending(BOT_ID) == 0)
            assert sorted(handled) == sorted(ids)  # type: ignore[type-var]

    try:
        asyncio.run(main())
    finally:
        server.shutdown()
        server.server_close()
