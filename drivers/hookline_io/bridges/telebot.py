"""A bot of pyTelegramBotAPI (telebot) as a handler: a TeleBot for the blocking driver, an AsyncTeleBot for asyncio."""

# mypy: disable-error-code="overload-cannot-match"
# Where the library is missing, mypy takes both kinds of bot for one.

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from copy import deepcopy
from typing import Any, overload

import telebot.types
from telebot import TeleBot, asyncio_helper
from telebot.async_telebot import AsyncTeleBot

from hookline.updates import Update
from hookline_io import asyncio, blocking
from hookline_io.bridges.unhandled import raising, unhandled


@overload
def telebot_handler(bot: TeleBot) -> AbstractContextManager[blocking.Handler]: ...
@overload
def telebot_handler(bot: AsyncTeleBot) -> AbstractAsyncContextManager[asyncio.Handler]: ...
def telebot_handler(bot: TeleBot | AsyncTeleBot) -> Any:
    """A TeleBot as a handler for the blocking driver, or an AsyncTeleBot as one for the asyncio driver.

    What the bot's `exception_handler` does not take is raised to hookline. A TeleBot's handlers run in the driver's
    threads instead of the bot's own, since hookline must know when they have ended: until then its `threaded` is False.
    An AsyncTeleBot's session is closed at the end; its listeners (`set_update_listener`) are not waited for.
    """
    return _blocking(bot) if isinstance(bot, TeleBot) else _asynchronous(bot)


@contextmanager
def _blocking(bot: Any) -> Iterator[blocking.Handler]:
    def handler(update: Update, _: blocking.Api) -> None:
        with raising():
            bot.process_new_updates([_event(update)])

    threaded, own = bot.threaded, bot.exception_handler
    bot.threaded, bot.exception_handler = False, _BlockingExceptions(own)
    try:
        yield handler
    finally:
        bot.threaded, bot.exception_handler = threaded, own


@asynccontextmanager
async def _asynchronous(bot: Any) -> AsyncIterator[asyncio.Handler]:
    async def handler(update: Update, _: asyncio.Api) -> None:
        with raising():
            await bot.process_new_updates([_event(update)])

    own = bot.exception_handler
    bot.exception_handler = _AsynchronousExceptions(own)
    try:
        yield handler
    finally:
        bot.exception_handler = own
        if asyncio_helper.session_manager.session is not None:  # it was used
            await bot.close_session()


def _event(update: Update) -> Any:
    library: Any = telebot.types.Update
    return library.de_json(deepcopy(update.raw))  # it changes parts of what it reads, and keeps others


class _BlockingExceptions:
    """Asks the bot's own handler of exceptions, if there is one, and tells hookline of what that leaves."""

    def __init__(self, own: Any) -> None:
        self._own = own

    def handle(self, exception: Exception) -> bool:
        """Called by the library, which would go on to raise or log what is not taken: hookline does that."""
        if self._own is None or not self._own.handle(exception):
            unhandled(exception)
        return True


class _AsynchronousExceptions:
    """The same for an AsyncTeleBot, whose own handler may be a coroutine function or a plain one."""

    def __init__(self, own: Any) -> None:
        self._own = own

    async def handle(self, exception: Exception) -> bool:
        """Called by the library."""
        handled = self._own is not None and self._own.handle(exception)
        if inspect.isawaitable(handled):
            handled = await handled
        if not handled:
            unhandled(exception)
        return True
