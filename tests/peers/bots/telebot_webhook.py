"""An echo bot of pyTelegramBotAPI, by webhook."""

import os

import telebot
from telebot import apihelper
from telebot.types import InlineKeyboardButton, InlineKeyboardMarkup

apihelper.API_URL = os.environ["BOT_API_ROOT"] + "/bot{0}/{1}"

bot = telebot.TeleBot(os.environ["BOT_TOKEN"])


@bot.message_handler(commands=["choose"])
def choose(message):
    markup = InlineKeyboardMarkup()
    markup.add(*(InlineKeyboardButton(text, callback_data=text) for text in ("tea", "coffee")))
    bot.send_message(message.chat.id, "Which one?", reply_markup=markup)


@bot.callback_query_handler(func=lambda call: True)
def chosen(call):
    bot.answer_callback_query(call.id, "Noted")
    bot.edit_message_text(f"You chose {call.data}", call.message.chat.id, call.message.message_id)


@bot.message_handler(func=lambda message: True)
def echo(message):
    bot.reply_to(message, message.text)


bot.run_webhooks(listen="127.0.0.1", port=int(os.environ["PORT"]))
