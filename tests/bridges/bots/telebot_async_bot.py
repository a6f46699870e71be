"""A bot of pyTelegramBotAPI's asynchronous half, as its documentation writes one."""

import asyncio
import os

from telebot import asyncio_helper
from telebot.async_telebot import AsyncTeleBot, ExceptionHandler

asyncio_helper.API_URL = os.environ["BOT_API_ROOT"] + "/bot{0}/{1}"

happened: list[str] = []


class Exceptions(ExceptionHandler):
    async def handle(self, exception):
        if isinstance(exception, KeyError):
            happened.append("handled KeyError")
            return True
        return False


bot = AsyncTeleBot(os.environ["BOT_TOKEN"], exception_handler=Exceptions())


@bot.message_handler(commands=["slow"])
async def slow(message):
    happened.append("slow begins")
    await asyncio.sleep(1)
    happened.append("slow ends")
    await bot.send_message(message.chat.id, "slowly")


@bot.message_handler(commands=["flaky"])
async def flaky(message):
    happened.append("flaky")
    if happened.count("flaky") == 1:
        raise ValueError("not this time")
    await bot.send_message(message.chat.id, "this time")


@bot.message_handler(commands=["key"])
async def key(message):
    raise KeyError(message.text)


@bot.message_handler(func=lambda message: True)
async def echo(message):
    await bot.send_message(message.chat.id, message.text)


if __name__ == "__main__":
    asyncio.run(bot.infinity_polling())
