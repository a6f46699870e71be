"""An echo bot of aiogram, by webhook: a handler's returned method is the response to its update's request."""

import logging
import os

from aiogram import Bot, Dispatcher, F
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.filters import Command
from aiogram.methods import EditMessageText, SendDocument, SendMessage
from aiogram.types import (
    BufferedInputFile,
    CallbackQuery,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    Message,
)
from aiogram.webhook.aiohttp_server import SimpleRequestHandler, setup_application
from aiohttp import web

PORT = int(os.environ["PORT"])
SECRET = "secret-of-aiogram"

dp = Dispatcher()


@dp.message(Command("choose"))
async def choose(message: Message) -> SendMessage:
    buttons = [InlineKeyboardButton(text=text, callback_data=text) for text in ("tea", "coffee")]
    return message.answer("Which one?", reply_markup=InlineKeyboardMarkup(inline_keyboard=[buttons]))


@dp.callback_query()
async def chosen(query: CallbackQuery) -> EditMessageText:
    await query.answer("Noted")
    return query.message.edit_text(f"You chose {query.data}")


@dp.message(Command("note"))
async def note(message: Message) -> SendDocument:
    return message.answer_document(BufferedInputFile(b"a note", "note.txt"), caption="your note")


@dp.message(F.text)
async def echo(message: Message) -> SendMessage:
    return message.answer(message.text)


@dp.startup()
async def on_startup(bot: Bot) -> None:
    await bot.set_webhook(f"http://127.0.0.1:{PORT}/webhook", secret_token=SECRET)


def main() -> None:
    server = TelegramAPIServer.from_base(os.environ["BOT_API_ROOT"])
    bot = Bot(os.environ["BOT_TOKEN"], session=AiohttpSession(api=server))
    app = web.Application()
    handler = SimpleRequestHandler(dp, bot, handle_in_background=False, secret_token=SECRET)
    handler.register(app, path="/webhook")
    setup_application(app, dp, bot=bot)
    web.run_app(app, host="127.0.0.1", port=PORT)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main()
