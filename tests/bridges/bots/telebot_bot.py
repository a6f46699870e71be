"""A bot of pyTelegramBotAPI, as its documentation writes one."""

import os
import time

import telebot
from telebot import apihelper

apihelper.API_URL = os.environ["BOT_API_ROOT"] + "/bot{0}/{1}"

happened: list[str] = []


class Exceptions(telebot.ExceptionHandler):
    def handle(self, exception):
        if isinstance(exception, KeyError):
            happened.append("handled KeyError")
            return True
        return False


middlewares = bool(os.environ.get("MIDDLEWARES"))
threaded = not os.environ.get("NOT_THREADED")
bot = telebot.TeleBot(
    os.environ["BOT_TOKEN"], threaded=threaded, exception_handler=Exceptions(), use_class_middlewares=middlewares
)


@bot.message_handler(commands=["slow"])
def slow(message):
    happened.append("slow begins")
    time.sleep(1)
    happened.append("slow ends")
    bot.send_message(message.chat.id, "slowly")


@bot.message_handler(commands=["flaky"])
def flaky(message):
    happened.append("flaky")
    if happened.count("flaky") == 1:
        raise ValueError("not this time")
    bot.send_message(message.chat.id, "this time")


@bot.message_handler(commands=["key"])
def key(message):
    raise KeyError(message.text)


@bot.message_handler(commands=["name"])
def ask_name(message):
    bot.send_message(message.chat.id, "Your name?")
    bot.register_next_step_handler(message, greet)


def greet(message):
    bot.send_message(message.chat.id, f"Hello, {message.text}")


@bot.message_handler(func=lambda message: True)
def echo(message):
    bot.send_message(message.chat.id, message.text)


if __name__ == "__main__":
    bot.infinity_polling()
