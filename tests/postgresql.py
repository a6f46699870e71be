"""A PostgreSQL of our own on loopback, which ends with the tests; they are skipped where none can be had."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from tests.ports import free_port

PATIENCE: Final = 30.0
_numbers = count(1)


def binaries() -> Path | None:
    """Where `initdb` and `postgres` are: on PATH, or where Debian puts them."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    return next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


class Server:
    """It may be stopped and started again; its data stays."""

    def __init__(self, bin_folder: Path, folder: Path, as_user: list[str]) -> None:
        self.port = free_port()
        self._bin = bin_folder
        self._folder = folder
        self._as_user = as_user
        self._process: subprocess.Popen[bytes] | None = None

    def initialize(self) -> None:
        """Make an empty cluster; CalledProcessError if it can't be."""
        command = [*self._as_user, str(self._bin / "initdb"), "-D", str(self._folder / "data")]
        options = ["-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync", "--locale=C"]
        subprocess.run([*command, *options], check=True, capture_output=True, cwd=self._folder)

    def start(self) -> None:
        """Run it, until it can be connected to."""
        settings = [f"port={self.port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={self._folder}"]
        options = [word for setting in settings for word in ("-c", setting)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._as_user, self._bin / "postgres", "-D", self._folder / "data", *options],
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + PATIENCE
        while not self._answers():
            assert time.monotonic() < end, (self._folder / "log").read_text()
            assert self._process.poll() is None, (self._folder / "log").read_text()
            time.sleep(0.05)

    def _answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.address()).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(PATIENCE)
            self._process = None

    def address(self, schema: str | None = None) -> str:
        """Of its database, or of a schema there, with which a test is alone."""
        options = "" if schema is None else f"?options=-csearch_path%3D{schema}"
        return f"postgresql://postgres:a-password@127.0.0.1:{self.port}/postgres{options}"

    def new_address(self) -> str:
        """Of an empty schema."""
        import psycopg

        schema = f"test_{next(_numbers)}"
        with psycopg.connect(self.address(), autocommit=True) as db:
            db.execute(f"CREATE SCHEMA {schema}".encode())
        return self.address(schema)


@contextmanager
def serving() -> Iterator[Server]:
    """Run one. The test is skipped if it can't be."""
    pytest.importorskip("psycopg", reason="the extra postgresql is not installed")
    found = binaries()
    if found is None:
        pytest.skip("there is no PostgreSQL here: initdb cannot be found")
    as_user: list[str] = []
    with tempfile.TemporaryDirectory(prefix="hookline-postgresql-", ignore_cleanup_errors=True) as name:
        if os.geteuid() == 0:  # PostgreSQL refuses to be root
            as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig=QUIT"]
            try:
                shutil.chown(name, "postgres", "postgres")
            except LookupError:
                pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        server = Server(found, Path(name), as_user)
        try:
            server.initialize()
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"initdb cannot be run: {error}")
        try:
            server.start()
            yield server
        finally:
            server.stop()
