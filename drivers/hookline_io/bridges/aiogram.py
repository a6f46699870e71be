"""A bot of aiogram as a handler; a method that its handlers return may travel in a webhook's response."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiogram.types
from aiogram import Bot, Dispatcher, loggers
from aiogram.methods import TelegramMethod

from hookline.botapi import InputFile
from hookline.errors import ApiError, NetworkError
from hookline.updates import Update
from hookline_io.asyncio import Api, Handler


@asynccontextmanager
async def aiogram_handler(dispatcher: Dispatcher, bot: Bot, **data: Any) -> AsyncIterator[Handler]:
    """A dispatcher with its bot as a handler for the asyncio driver, from its startup hooks to its shutdown hooks.

    data: what its handlers and hooks are given by name, as by `start_polling`.

    What no error handler of the dispatcher takes is raised to hookline. A method that a handler returns is called with
    hookline's `api`, so that it may travel in a webhook's response; its error is logged, as aiogram does it.
    """
    data = {"dispatcher": dispatcher, "bots": (bot,), **data}
    of_hooks = {**dispatcher.workflow_data, **data, "bot": bot}

    async def handler(update: Update, api: Api) -> None:
        event = aiogram.types.Update.model_validate(update.raw, context={"bot": bot})
        answer = await dispatcher.feed_update(bot, event, **data)
        if isinstance(answer, TelegramMethod):
            await _call(answer, bot, api)

    async with AsyncExitStack() as stack:  # whatever fails, the rest is done, and no error hides another
        stack.push_async_callback(bot.session.close)
        await dispatcher.emit_startup(**of_hooks)
        stack.push_async_callback(dispatcher.emit_shutdown, **of_hooks)
        yield handler


async def _call(method: TelegramMethod[Any], bot: Bot, api: Api) -> None:
    """Make a call that a handler has returned, with the bot's defaults."""
    files: dict[str, aiogram.types.InputFile] = {}
    params: dict[str, Any] = {
        name: bot.session.prepare_value(value, bot=bot, files=files)
        for name, value in method.model_dump(warnings=False).items()
    }
    for name, file in files.items():
        params[name] = InputFile(await _source(file, bot), file.filename or name)
    try:
        await api.call(method.__api_method__, **params)
    except (ApiError, NetworkError) as error:
        loggers.event.error("Failed to make answer: %s: %s", type(error).__name__, error)


async def _source(file: aiogram.types.InputFile, bot: Bot) -> Path | bytes:
    if isinstance(file, aiogram.types.FSInputFile):
        return Path(file.path)
    return b"".join([piece async for piece in file.read(bot)])
