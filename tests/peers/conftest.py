"""The simulated Telegram that others' libraries talk to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.processes import Telegram


@pytest.fixture
def telegram(tmp_path: Path) -> Iterator[Telegram]:
    """A simulated Telegram."""
    with Telegram.simulated(tmp_path / "telegram.log") as simulated:
        yield simulated
