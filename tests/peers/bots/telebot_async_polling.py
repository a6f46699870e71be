"""An echo bot of pyTelegramBotAPI's asynchronous half, by long polling."""

import asyncio
import os
from io import BytesIO

from telebot import asyncio_helper
from telebot.async_telebot import AsyncTeleBot
from telebot.types import InlineKeyboardButton, InlineKeyboardMarkup, InputFile

asyncio_helper.API_URL = os.environ["BOT_API_ROOT"] + "/bot{0}/{1}"
asyncio_helper.FILE_URL = os.environ["BOT_API_ROOT"] + "/file/bot{0}/{1}"

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


@bot.message_handler(commands=["file"])
async def file(message):
    note = message.text.partition(" ")[2].encode()
    sent = await bot.send_document(message.chat.id, InputFile(BytesIO(note), "note.txt"), caption="your note")
    stored = await bot.get_file(sent.document.file_id)
    content = await bot.download_file(stored.file_path)
    await bot.send_message(message.chat.id, f"{sent.document.file_name}: {content.decode()}")


@bot.message_handler(func=lambda message: True)
async def echo(message):
    await bot.reply_to(message, message.text)


asyncio.run(bot.infinity_polling())
