"""A machine that wants what a test says, for tests of a driver alone: no Telegram, no protocol."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from hookline import Update
from hookline.effects import Connect, Effect
from hookline_io import common

UPDATE = Update(update_id=1, kind="message", payload={}, raw={"update_id": 1, "message": {}}, lane=1)


class Script:
    """It answers each fact and command with the effects that are written down for it, and keeps what it was told.

    An exception among the effects is raised: it stands for a machine with a fault.
    """

    def __init__(self, wanted: dict[str, list[Any]]) -> None:
        self.deadline: float | None = None
        self.told: list[tuple[Any, ...]] = []
        self._wanted = wanted
        self._numbers = count(1)

    def new_connection(self) -> int:
        return next(self._numbers)

    def __getattr__(self, name: str) -> Callable[..., list[Effect]]:
        def method(*args: Any, now: float, **_: Any) -> list[Effect]:
            self.told.append((name, *args))
            if name == "tick":
                self.deadline = None  # after a tick it lies later (law 4)
            wanted = self._wanted.get(name, [])
            for effect in wanted:
                if isinstance(effect, BaseException):
                    raise effect
            return wanted

        return method

    def names(self) -> list[str]:
        """The names of what it was told."""
        return [name for name, *_ in self.told]


def connect(server: socket.socket, *, tls: bool = False) -> Connect:
    """The order to connect to a server, as connection 1."""
    host, port = server.getsockname()[:2]
    return Connect(1, host, port, tls)


def read_all(sock: socket.socket) -> bytes:
    """What comes until the other side closes, in a thread that may wait."""
    sock.settimeout(5)
    return b"".join(iter(lambda: sock.recv(1_000_000), b""))


def flood(address: tuple[str, int], limit: int) -> int:
    """How many bytes a client can send that reads nothing; `limit`, if nobody stops it."""
    sent = 0
    with socket.create_connection(address, timeout=0.5) as sock, contextlib.suppress(TimeoutError, socket.timeout):
        while sent < limit:
            sent += sock.send(bytes(65_536))
    return sent


def take_answers(
    address: tuple[str, int], size: int, heard: Callable[[], list[int]], tls: ssl.SSLContext | None
) -> None:
    """Send so many bytes at once, and read until they have been heard and each piece's answer, of 3 MB, has come."""
    with socket.create_connection(address, timeout=5) as plain:
        sock = plain if tls is None else tls.wrap_socket(plain, server_hostname=address[0])
        with sock:
            sock.sendall(bytes(size))
            taken = 0
            while sum(heard()) < size or taken < 3_000_000 * len(heard()):
                taken += len(sock.recv(1_000_000))


def end_pipe(path: Path) -> None:
    """Let go who waits for a writer to a named pipe; wait for him to come, if he has not."""
    end, done = time.monotonic() + 5, False
    while not done:
        assert time.monotonic() < end
        with contextlib.suppress(OSError):  # nobody reads yet
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
            done = True
        time.sleep(0.005)


def reading_begins(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """An event that is set when a thread is about to read a piece of a file."""
    event = threading.Event()
    native = common.Upload.read

    def read(upload: common.Upload, size: int) -> bytes:
        event.set()
        return native(upload, size)

    monkeypatch.setattr(common.Upload, "read", read)
    return event
