"""A bot of python-telegram-bot, as its documentation writes one."""

import asyncio
import logging
import os

from telegram import Update
from telegram.ext import Application, CommandHandler, ContextTypes, MessageHandler, filters

happened: list[str] = []


async def post_init(application: Application) -> None:
    happened.append("started")


async def post_stop(application: Application) -> None:
    happened.append("stopped")


async def post_shutdown(application: Application) -> None:
    happened.append("shut down")


async def slow(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    happened.append("slow begins")
    await asyncio.sleep(1)
    happened.append("slow ends")
    await update.message.reply_text("slowly")


async def aside(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    happened.append("aside begins")
    await asyncio.sleep(1)
    happened.append("aside ends")
    raise ValueError("aside")


async def flaky(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    happened.append("flaky")
    if happened.count("flaky") == 1:
        raise ValueError("not this time")
    await update.message.reply_text("this time")


async def key(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    raise KeyError(update.message.text)


async def on_error(update: object, context: ContextTypes.DEFAULT_TYPE) -> None:
    happened.append(f"handled {type(context.error).__name__}")


async def echo(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    await update.message.reply_text(update.message.text)


root = os.environ["BOT_API_ROOT"]
application = (
    Application.builder()
    .token(os.environ["BOT_TOKEN"])
    .base_url(f"{root}/bot")
    .base_file_url(f"{root}/file/bot")
    .post_init(post_init)
    .post_stop(post_stop)
    .post_shutdown(post_shutdown)
    .build()
)
application.add_handler(CommandHandler("slow", slow))
application.add_handler(CommandHandler("aside", aside, block=False))
application.add_handler(CommandHandler("flaky", flaky))
application.add_handler(CommandHandler("key", key))
application.add_handler(MessageHandler(filters.TEXT & ~filters.COMMAND, echo))
if os.environ.get("ERROR_HANDLER"):
    application.add_error_handler(on_error)

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    application.run_polling()
