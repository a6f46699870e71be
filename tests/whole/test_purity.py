"""The core does no I/O: what importing it loads, and what its sources import and call.

Two views, since each misses something. A fresh interpreter shows everything that an import drags in, through whatever
chain, but not what a function would do when called. The sources show that, but only in hookline's own lines.

attrs itself loads threading, and on Python 3.10 selectors and subprocess too; so the fresh interpreter imports the base
dependencies first, and only what hookline loads on top of them counts. anyio is left out of that base: it belongs to
the drivers.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "sansio"

NEVER_LOADED = {"anyio", "asyncio", "selectors", "socket", "sqlite3", "ssl", "subprocess", "threading", "trio"}

LOAD_ALL_OF_HOOKLINE = """
import json, pkgutil, sys
import attrs, cattrs, h11

before = set(sys.modules)
import hookline

for module in pkgutil.walk_packages(hookline.__path__, "hookline."):
    __import__(module.name)
after = set(sys.modules)

print(json.dumps({"on_top": sorted(after - before), "hookline": sorted(n for n in after if n.startswith("hookline"))}))
"""

FORBIDDEN_MODULES = NEVER_LOADED | {
    "concurrent",
    "logging",
    "multiprocessing",
    "os",
    "secrets",
    "select",
    "shutil",
    "signal",
    "tempfile",
    "time",
    "uuid",
}
"""Modules that no source of the core imports, wherever the import stands."""

CLOCK_METHODS = {"now", "today", "utcnow"}
"""What reads the clock in `datetime` and `date`."""

FILE_METHODS = {"open", "read_bytes", "read_text", "write_bytes", "write_text"}
"""What opens a file in `pathlib`."""


def impurities(source: str) -> Iterator[str]:
    """What a source does that the core must not, each with its line: `12: imports time`.

    From `random` only the class Random may be imported, and it must be given a seed.
    """
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                for name in names:
                    if name.name.partition(".")[0] in FORBIDDEN_MODULES | {"random"}:
                        yield f"{node.lineno}: imports {name.name}"
            case ast.ImportFrom(module="random", names=names, level=0):
                for name in names:
                    if name.name != "Random" or name.asname is not None:
                        yield f"{node.lineno}: imports random.{name.name}"
            case ast.ImportFrom(module=str(module), level=0):
                if module.partition(".")[0] in FORBIDDEN_MODULES:
                    yield f"{node.lineno}: imports {module}"
            case ast.Call(func=ast.Name(id="Random"), args=[], keywords=[]):
                yield f"{node.lineno}: calls Random without a seed"
            case ast.Call(func=ast.Name(id="Random"), args=[ast.Constant(value=None)]):
                yield f"{node.lineno}: calls Random without a seed"
            case ast.Call(func=ast.Name(id="open" | "input" | "print" | "__import__" as called)):
                yield f"{node.lineno}: calls {called}"
            case ast.Call(func=ast.Attribute(attr=called)) if called in CLOCK_METHODS | FILE_METHODS:
                yield f"{node.lineno}: calls .{called}"
            case _:
                pass


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    """What a fresh interpreter loads for all of hookline: on top of the base dependencies, and of hookline itself."""
    child = subprocess.run(
        [sys.executable, "-c", LOAD_ALL_OF_HOOKLINE], capture_output=True, text=True, timeout=60, check=False
    )
    assert child.returncode == 0, child.stderr
    names: dict[str, list[str]] = json.loads(child.stdout)
    return names


def test_importing_all_of_hookline_loads_nothing_that_does_io(loaded: dict[str, list[str]]) -> None:
    top_level = {name.partition(".")[0] for name in loaded["on_top"]}
    assert not top_level & NEVER_LOADED


def test_importing_all_of_hookline_loads_no_driver(loaded: dict[str, list[str]]) -> None:
    assert not [name for name in loaded["hookline"] if name.startswith("hookline_io")]


def test_every_source_file_was_among_those_imported(loaded: dict[str, list[str]]) -> None:
    """Else a folder without an `__init__.py` would slip past the two tests above."""
    modules = [path.relative_to(SOURCES).with_suffix("") for path in SOURCES.rglob("*.py")]
    assert {".".join(module.parts).removesuffix(".__init__") for module in modules} <= set(loaded["hookline"])


@pytest.mark.parametrize("path", sorted(SOURCES.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCES)))
def test_a_source_of_the_core_names_no_clock_randomness_or_file(path: Path) -> None:
    assert list(impurities(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import time", "1: imports time"),
        ("import os.path as p", "1: imports os.path"),
        ("def f():\n    from asyncio import sleep", "2: imports asyncio"),
        ("from concurrent.futures import Future", "1: imports concurrent.futures"),
        ("import random", "1: imports random"),
        ("from random import random", "1: imports random.random"),
        ("from random import Random as R", "1: imports random.Random"),
        ("Random()", "1: calls Random without a seed"),
        ("Random(None)", "1: calls Random without a seed"),
        ("datetime.now(timezone.utc)", "1: calls .now"),
        ("open('f')", "1: calls open"),
        ("path.open()", "1: calls .open"),
        ("path.read_text()", "1: calls .read_text"),
    ],
)
def test_the_check_finds(source: str, found: str) -> None:
    assert list(impurities(source)) == [found]


@pytest.mark.parametrize(
    "source",
    [
        "from random import Random\nRandom(7).random()",
        "from hookline.effects import Connect",
        "from .time import delay",
        "deadline = now + timeout",
    ],
)
def test_the_check_passes(source: str) -> None:
    assert list(impurities(source)) == []
