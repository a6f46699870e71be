"""Processes that end with their test: `hookline sim` with its users, and bots of others' libraries."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

BOT_ID: Final = 42
TOKEN: Final = f"{BOT_ID}:{'t' * 35}"
PATIENCE: Final = 60.0
"""Seconds for anything: a library alone may take ten to be imported while other tests run beside."""

_LIBC: Final = ctypes.CDLL(None) if sys.platform == "linux" else None
_SET_PARENT_DEATH_SIGNAL: Final = 1


class Process:
    """A running program. log: where its output goes."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self.log = log

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it runs no more."""
        return self._process.poll() is not None

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what it is to bring about; its log is shown if it does not, or ends."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert self._process.poll() is None, f"it ended with status {self._process.returncode}:\n{self.output}"
            assert time.monotonic() < end, f"it did not happen in time:\n{self.output}"
            time.sleep(0.02)

    def stop(self, number: signal.Signals) -> int:
        """Send it a signal, and wait for its end; its exit status."""
        self._process.send_signal(number)
        return self._process.wait(PATIENCE)

    @property
    def output(self) -> str:
        """What it has printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")


@contextmanager
def running(command: list[str], log: Path, **environment: str) -> Iterator[Process]:
    """Run a program; it and what it has started are killed at the end, if they still run."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,
            start_new_session=True,
        )
    try:
        yield Process(process, log)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)


def die_with_parent() -> None:
    """Let the kernel end this process, where it can, when the tests are killed and can't do it themselves."""
    if _LIBC is not None:
        _LIBC.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


class Telegram:
    """A running `hookline sim`. root: the address that bots take for the Bot API's."""

    def __init__(self, root: str) -> None:
        self.root = root

    @classmethod
    @contextmanager
    def simulated(cls, log: Path) -> Iterator[Telegram]:
        """Run one, on a free port."""
        command = str(Path(sysconfig.get_path("scripts"), "hookline"))
        with running([command, "sim", "--listen", "127.0.0.1:0"], log) as process:
            process.until(lambda: process.output.endswith("\n"))
            [root] = [word for word in process.output.split() if word.startswith("http://")]
            yield cls(root)

    def control(self, name: str, **body: Any) -> None:
        """Give it a command."""
        self._ask(name, json.dumps({"bot": BOT_ID} | body).encode())

    def message(self, text: str, *, chat: int) -> None:
        """Let a user send a message: in private or, where the chat's id is negative, in a group."""
        self.control("message", text=text, user=abs(chat), chat=chat)

    def press(self, data: str, *, chat: int) -> None:
        """Let a user press a button."""
        self.control("button", data=data, user=abs(chat), chat=chat)

    def calls(self, method: str) -> list[dict[str, Any]]:
        """The bot's calls of a method, the oldest first."""
        calls: list[dict[str, Any]] = self._ask(f"calls?bot={BOT_ID}")
        return [call for call in calls if call["method"] == method.lower()]

    def answers(self) -> list[tuple[int, str]]:
        """The texts that the bot has sent, each after its chat."""
        return [(int(call["params"]["chat_id"]), call["params"]["text"]) for call in self.calls("sendMessage")]

    def pending(self) -> int:
        """How many updates are not confirmed."""
        waiting: int = self._ask(f"state?bot={BOT_ID}")["pending"]
        return waiting

    def webhook(self) -> str:
        """The webhook's url; empty if there is none."""
        url: str = self._ask(f"state?bot={BOT_ID}")["webhook"]["url"]
        return url

    def _ask(self, what: str, body: bytes | None = None) -> Any:
        with urllib.request.urlopen(f"{self.root}/_sim/{what}", body, PATIENCE) as response:
            return json.load(response)
