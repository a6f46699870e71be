"""An echo bot of pyTelegramBotAPI's asynchronous half, by webhook."""

import asyncio
import os

from telebot import asyncio_helper
from telebot.async_telebot import AsyncTeleBot
from telebot.types import InlineKeyboardButton, InlineKeyboardMarkup

asyncio_helper.API_URL = os.environ["BOT_API_ROOT"] + "/bot{0}/{1}"

bot = AsyncTeleBot(os.environ["BOT_TOKEN"])


@bot.message_handler(commands=["choose"])
async def choose(message):
    markup = InlineKeyboardMarkup()
    markup.add(*(InlineKeyboardButton(text, callback_data=text) for text in ("tea", "coffee")))
    await bot.send_message(message.chat.id, "Which one?", reply_markup=markup)


@bot.callback_query_handler(func=lambda call: True)
async def chosen(call):
    await bot.answer_callback_query(call.id, "Noted")
    await bot.edit_message_text(f"You chose {call.data}", call.message.chat.id, call.message.message_id)


@bot.message_handler(func=lambda message: True)
async def echo(message):
    await bot.reply_to(message, message.text)


asyncio.run(bot.run_webhooks(listen="127.0.0.1", port=int(os.environ["PORT"])))
