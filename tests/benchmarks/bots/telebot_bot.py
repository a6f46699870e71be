"""pyTelegramBotAPI, with its threads, as its examples have it."""

import os
import sys

import telebot
from counting import Count

work = sys.argv[1]
count = Count()
telebot.apihelper.API_URL = os.environ["BOT_API_ROOT"] + "/bot{0}/{1}"
bot = telebot.TeleBot(os.environ["BOT_TOKEN"])


@bot.message_handler(func=lambda message: True)
def handle(message):
    if work == "sending":
        bot.send_message(message.chat.id, "x")
    count()


bot.infinity_polling()
