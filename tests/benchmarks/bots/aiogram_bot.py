"""aiogram."""

import asyncio
import os
import sys

from aiogram import Bot, Dispatcher
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.types import Message
from aiogram.webhook.aiohttp_server import SimpleRequestHandler, setup_application
from aiohttp import web
from counting import Count

work = sys.argv[1]
count = Count()
dp = Dispatcher()


@dp.message()
async def handle(message: Message) -> None:
    if work == "sending":
        await message.answer("x")
    count()


def main() -> None:
    server = TelegramAPIServer.from_base(os.environ["BOT_API_ROOT"])
    bot = Bot(os.environ["BOT_TOKEN"], session=AiohttpSession(api=server))
    if work == "webhook":
        app = web.Application()
        SimpleRequestHandler(dp, bot, secret_token=os.environ["SECRET"]).register(app, path="/hook")
        setup_application(app, dp, bot=bot)
        web.run_app(app, host="127.0.0.1", port=int(os.environ["PORT"]), print=None)
    else:
        asyncio.run(dp.start_polling(bot))


main()
