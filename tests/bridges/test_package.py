"""The package of the bridges, and what they share."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from hookline_io.bridges.unhandled import raising, unhandled

LIBRARIES = {"aiogram": "aiogram", "ptb": "telegram", "telebot": "telebot"}


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_bridge_needs_its_own_library_alone(name: str) -> None:
    """The others cannot be imported here; without its own it says what to install."""
    pytest.importorskip(LIBRARIES[name], reason="tox installs it")
    others = [library for bridge, library in LIBRARIES.items() if bridge != name]
    program = f"""
import sys
sys.modules.update(dict.fromkeys({others!r}))
from hookline_io.bridges import {name}_handler
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("name", LIBRARIES)
def test_without_its_library_a_bridge_says_what_to_install(name: str) -> None:
    program = f"""
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name == {LIBRARIES[name]!r}:
            raise ModuleNotFoundError("missing", name=name)
sys.meta_path.insert(0, Missing())
import hookline_io.bridges
try:
    hookline_io.bridges.{name}_handler
except ModuleNotFoundError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert said == f"{name}_handler needs the package {LIBRARIES[name]!r}: pip install 'hookline[{name}]'\n"


def test_the_package_has_no_other_names() -> None:
    import hookline_io.bridges

    with pytest.raises(AttributeError, match="grammy_handler"):
        _ = hookline_io.bridges.grammy_handler


def test_an_exception_is_raised_when_the_bot_is_done() -> None:
    done = []

    def run() -> None:
        with raising():
            unhandled(ValueError("left"))
            done.append("the rest")

    with pytest.raises(ValueError, match="left"):
        run()
    assert done == ["the rest"]


def test_an_exception_that_comes_after_its_run_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """From a task that goes on, and from one that has nothing to do with an update."""

    async def late(moment: asyncio.Event) -> None:
        await moment.wait()
        unhandled(ValueError("too late"))

    async def main() -> None:
        moment = asyncio.Event()
        with raising():
            task = asyncio.create_task(late(moment))
        moment.set()
        await task
        unhandled(ValueError("of a timer"))

    asyncio.run(main())
    assert "ValueError: too late" in caplog.text
    assert "ValueError: of a timer" in caplog.text


def test_what_was_left_is_logged_when_the_run_ends_otherwise(caplog: pytest.LogCaptureFixture) -> None:
    def run() -> None:
        with raising():
            unhandled(ValueError("left"))
            raise LookupError("otherwise")

    with pytest.raises(LookupError, match="otherwise"):
        run()
    assert "ValueError: left" in caplog.text
