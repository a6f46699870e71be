"""Bridges: a bot written with another library, unchanged, as a handler that a driver of hookline runs.

Each is a context manager, for the bot's own start and stop, that gives the handler: `aiogram_handler` and `ptb_handler`
for the asyncio driver, `telebot_handler` for the asyncio driver or for the blocking one, after the bot. A bridge loads
its library when it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hookline_io.bridges.aiogram import aiogram_handler
    from hookline_io.bridges.ptb import ptb_handler
    from hookline_io.bridges.telebot import telebot_handler

__all__ = ["aiogram_handler", "ptb_handler", "telebot_handler"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    extra = name.removesuffix("_handler")
    try:
        return getattr(import_module(f"{__name__}.{extra}"), name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{name} needs the package {error.name!r}: pip install 'hookline[{extra}]'", name=error.name
        ) from None
