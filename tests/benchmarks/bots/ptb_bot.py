"""python-telegram-bot."""

import os
import sys

from counting import Count
from telegram import Update
from telegram.ext import Application, MessageHandler, filters

work = sys.argv[1]
count = Count()


async def handle(update, context):
    if work == "sending":
        await update.message.reply_text("x")
    count()


def main() -> None:
    builder = Application.builder().token(os.environ["BOT_TOKEN"]).base_url(f"{os.environ['BOT_API_ROOT']}/bot")
    application = builder.build()
    application.add_handler(MessageHandler(filters.TEXT, handle))
    if work == "webhook":
        port = int(os.environ["PORT"])
        application.run_webhook(
            "127.0.0.1", port, "hook", webhook_url=f"http://127.0.0.1:{port}/hook", secret_token=os.environ["SECRET"]
        )
    else:
        application.run_polling(allowed_updates=Update.ALL_TYPES)


main()
