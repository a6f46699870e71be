"""What is loaded with each driver: who uses one does without the others."""

from __future__ import annotations

import subprocess
import sys

import pytest


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


def test_the_package_has_the_names_of_the_asyncio_driver() -> None:
    import hookline_io
    from hookline_io import asyncio

    assert {name: getattr(hookline_io, name) for name in hookline_io.__all__} == {
        name: getattr(asyncio, name) for name in hookline_io.__all__
    }
    with pytest.raises(AttributeError, match="'hookline_io' has no attribute 'nothing'"):
        hookline_io.nothing  # noqa: B018
