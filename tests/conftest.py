"""What all tests share: hypothesis keeps no time limit on examples, and in CI it draws the same ones every time; a
PostgreSQL, for those that want one. With `-n auto`, two workers share a core, as half of the time a test waits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.postgresql import Server, serving

settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """How many workers `-n auto` has."""
    return 2 * (os.cpu_count() or 1)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A PostgreSQL that runs."""
    with serving() as server:
        yield server
