"""Fixtures for pytest: `pytest_plugins = ["hookline_io.pytest_plugin"]` in the topmost conftest.py brings them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hookline_io.testing import LoopbackTelegram, VirtualTelegram


@pytest.fixture
def loopback_telegram() -> Iterator[LoopbackTelegram]:
    """A simulated Telegram on loopback, for a bot of any kind: its address is `loopback_telegram.root`."""
    with LoopbackTelegram() as telegram:
        yield telegram


@pytest.fixture
def virtual_telegram() -> Iterator[VirtualTelegram]:
    """A simulated Telegram in virtual time, for an `async def` handler: `virtual_telegram.start(handler)`."""
    with VirtualTelegram() as telegram:
        yield telegram
