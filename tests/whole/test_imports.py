"""What is loaded with each driver: who uses one does without the others."""

from __future__ import annotations

import subprocess
import sys

import pytest

import hookline


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("hookline_io", {"asyncio", "anyio", "trio", "ssl"}),
        ("hookline_io.asyncio", {"anyio", "trio"}),
        ("hookline_io.blocking", {"asyncio", "anyio", "trio"}),
    ],
)
def test_a_driver_loads_no_other(module: str, without: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert module in loaded
    assert without.isdisjoint(loaded)


@pytest.mark.parametrize(
    ("machine", "without"),
    [
        ("Bot", {"hookline.polling", "hookline.webhook", "hookline.inbox", "cattrs"}),
        ("Polling", {"h11", "hookline.bot", "hookline.webhook", "hookline.inbox"}),
        ("Webhook", {"h11", "hookline.bot", "hookline.polling", "hookline.inbox"}),
    ],
)
def test_a_machine_loads_none_that_it_does_not_need(machine: str, without: set[str]) -> None:
    code = f"import sys; from hookline import {machine}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert without.isdisjoint(loaded)


def test_the_core_has_all_the_names_that_it_says() -> None:
    assert set(hookline.__all__) <= set(dir(hookline))
    assert [name for name in hookline.__all__ if not hasattr(hookline, name)] == []
    with pytest.raises(AttributeError, match="'hookline' has no attribute 'nothing'"):
        hookline.nothing  # noqa: B018


def test_the_package_has_the_names_of_the_asyncio_driver() -> None:
    import hookline_io
    from hookline_io import asyncio

    assert {name: getattr(hookline_io, name) for name in hookline_io.__all__} == {
        name: getattr(asyncio, name) for name in hookline_io.__all__
    }
    with pytest.raises(AttributeError, match="'hookline_io' has no attribute 'nothing'"):
        hookline_io.nothing  # noqa: B018
