"""Others' libraries, pointed at the simulated Telegram, for programs of the documentation that are written with them.

`python -m tests.docs.libraries PROGRAM` runs one that knows nothing of hookline.
"""

from __future__ import annotations

import os
import runpy
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

PACKAGES = ("aiogram", "telebot", "telegram")


def package_of(program: str) -> str | None:
    """The library that a program is written with."""
    return next((name for name in PACKAGES if f"import {name}" in program or f"from {name}" in program), None)


def is_missing(package: str | None) -> bool:
    """Whether a program that needs this cannot run here."""
    return package is not None and find_spec(package) is None


def redirect(package: str, root: str, patch: pytest.MonkeyPatch) -> None:
    """Let a library take `root` for the Bot API's address."""
    if package == "aiogram":
        from aiogram.client.telegram import PRODUCTION

        patch.setitem(vars(PRODUCTION), "base", root + "/bot{token}/{method}")
    elif package == "telebot":
        from telebot import apihelper, asyncio_helper

        patch.setattr(apihelper, "API_URL", root + "/bot{0}/{1}")
        patch.setattr(asyncio_helper, "API_URL", root + "/bot{0}/{1}")
    else:
        from telegram.ext import Application

        build: Any = Application.builder
        patch.setattr(Application, "builder", lambda: build().base_url(f"{root}/bot"))


if __name__ == "__main__":
    written_with = package_of(Path(sys.argv[1]).read_text("utf-8"))
    assert written_with is not None
    with pytest.MonkeyPatch.context() as to_simulation:
        redirect(written_with, os.environ["BOT_API_ROOT"], to_simulation)
        runpy.run_path(sys.argv[1], run_name="__main__")
