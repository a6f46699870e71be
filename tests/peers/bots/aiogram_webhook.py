"""An echo bot of aiogram, by webhook: each update is handled after its request was answered."""

import logging
import os

from aiogram import Bot, Dispatcher, F
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.filters import Command
from aiogram.types import CallbackQuery, InlineKeyboardButton, InlineKeyboardMarkup, Message
from aiogram.webhook.aiohttp_server import SimpleRequestHandler, setup_application
from aiohttp import web

PORT = int(os.environ["PORT"])
SECRET = "secret-of-aiogram"

dp = Dispatcher()


@dp.message(Command("choose"))
async def choose(message: Message) -> None:
    buttons = [InlineKeyboardButton(text=text, callback_data=text) for text in ("tea", "coffee")]
    await message.answer("Which one?", reply_markup=InlineKeyboardMarkup(inline_keyboard=[buttons]))


@dp.callback_query()
async def chosen(query: CallbackQuery) -> None:
    await query.answer("Noted")
    await query.message.edit_text(f"You chose {query.data}")


@dp.message(F.text)
async def echo(message: Message) -> None:
    await message.send_copy(chat_id=message.chat.id)


@dp.startup()
async def on_startup(bot: Bot) -> None:
    await bot.set_webhook(f"http://127.0.0.1:{PORT}/webhook", secret_token=SECRET)


def main() -> None:
    server = TelegramAPIServer.from_base(os.environ["BOT_API_ROOT"])
    bot = Bot(os.environ["BOT_TOKEN"], session=AiohttpSession(api=server))
    app = web.Application()
    SimpleRequestHandler(dp, bot, secret_token=SECRET).register(app, path="/webhook")
    setup_application(app, dp, bot=bot)
    web.run_app(app, host="127.0.0.1", port=PORT)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main()
