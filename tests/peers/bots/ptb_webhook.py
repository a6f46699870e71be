"""An echo bot of python-telegram-bot, by webhook."""

import logging
import os

from telegram import InlineKeyboardButton, InlineKeyboardMarkup, Update
from telegram.ext import Application, CallbackQueryHandler, CommandHandler, ContextTypes, MessageHandler, filters

PORT = int(os.environ["PORT"])


async def choose(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    buttons = [InlineKeyboardButton(text, callback_data=text) for text in ("tea", "coffee")]
    await update.message.reply_text("Which one?", reply_markup=InlineKeyboardMarkup([buttons]))


async def chosen(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    query = update.callback_query
    await query.answer("Noted")
    await query.edit_message_text(f"You chose {query.data}")


async def echo(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    await update.message.reply_text(update.message.text)


def main() -> None:
    root = os.environ["BOT_API_ROOT"]
    builder = Application.builder().token(os.environ["BOT_TOKEN"])
    application = builder.base_url(f"{root}/bot").base_file_url(f"{root}/file/bot").build()
    application.add_handler(CommandHandler("choose", choose))
    application.add_handler(CallbackQueryHandler(chosen))
    application.add_handler(MessageHandler(filters.TEXT & ~filters.COMMAND, echo))
    application.run_webhook(
        listen="127.0.0.1",
        port=PORT,
        url_path="telegram",
        webhook_url=f"http://127.0.0.1:{PORT}/telegram",
        secret_token="secret-of-ptb",
    )


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main()
