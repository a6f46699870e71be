"""A bot of python-telegram-bot as a handler."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import telegram
from telegram.ext import Application

from hookline.updates import Update
from hookline_io.asyncio import Api, Handler
from hookline_io.bridges.unhandled import raising, unhandled


@asynccontextmanager
async def ptb_handler(application: Application[Any, Any, Any, Any, Any, Any]) -> AsyncIterator[Handler]:
    """An application as a handler for the asyncio driver, started and stopped as by `run_polling`, hooks included.

    An exception is raised to hookline if the application has no error handler. Its `concurrent_updates` still bounds
    how many updates it handles at once. Handlers with `block=False` and the tasks of `create_task` are not waited for
    but at the stop.
    """

    async def handler(update: Update, _: Api) -> None:
        event = telegram.Update.de_json(dict(update.raw), application.bot)
        with raising():
            work = application.process_update(event)
            try:
                await application.update_processor.process_update(event, work)
            except asyncio.CancelledError:
                work.close()  # it may not have begun
                raise

    async def error_handler(_: object, context: Any) -> None:
        if len(application.error_handlers) == 1:  # there is none but this
            unhandled(context.error)

    async with AsyncExitStack() as stack:  # whatever fails, the rest is done, and no error hides another
        if application.post_shutdown is not None:
            stack.push_async_callback(application.post_shutdown, application)
        await stack.enter_async_context(application)
        application.add_error_handler(error_handler, block=True)
        stack.callback(application.remove_error_handler, error_handler)
        if application.post_init is not None:
            await application.post_init(application)
        await application.start()
        if application.post_stop is not None:
            stack.push_async_callback(application.post_stop, application)
        stack.push_async_callback(application.stop)
        yield handler
