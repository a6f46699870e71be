"""A bot of aiogram, as its documentation writes one. A method that a handler returns is its answer."""

import asyncio
import logging
import os

from aiogram import Bot, Dispatcher, F
from aiogram.client.default import DefaultBotProperties
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.enums import ParseMode
from aiogram.filters import Command, ExceptionTypeFilter
from aiogram.methods import EditMessageText, SendDocument, SendMediaGroup, SendMessage
from aiogram.types import (
    BufferedInputFile,
    CallbackQuery,
    ErrorEvent,
    FSInputFile,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InputMediaDocument,
    Message,
)

server = TelegramAPIServer.from_base(os.environ["BOT_API_ROOT"])
properties = DefaultBotProperties(parse_mode=ParseMode.HTML)
bot = Bot(os.environ["BOT_TOKEN"], session=AiohttpSession(api=server), default=properties)
dp = Dispatcher()

happened: list[str] = []


@dp.startup()
async def on_startup() -> None:
    happened.append("started")


@dp.shutdown()
async def on_shutdown() -> None:
    happened.append("stopped")


@dp.message(Command("slow"))
async def slow(message: Message) -> None:
    happened.append("slow begins")
    await asyncio.sleep(1)
    happened.append("slow ends")
    await message.answer("slowly")


@dp.message(Command("flaky"))
async def flaky(message: Message) -> None:
    happened.append("flaky")
    if happened.count("flaky") == 1:
        raise ValueError("not this time")
    await message.answer("this time")


@dp.message(Command("key"))
async def key(message: Message) -> None:
    raise KeyError(message.text)


@dp.error(ExceptionTypeFilter(KeyError))
async def on_error(event: ErrorEvent) -> None:
    happened.append(f"handled {type(event.exception).__name__}")


@dp.message(Command("choose"))
async def choose(message: Message) -> SendMessage:
    buttons = [InlineKeyboardButton(text=text, callback_data=text) for text in ("tea", "coffee")]
    return message.answer("Which <b>one</b>?", reply_markup=InlineKeyboardMarkup(inline_keyboard=[buttons]))


@dp.callback_query()
async def chosen(query: CallbackQuery) -> EditMessageText:
    await query.answer("Noted")
    return query.message.edit_text(f"You chose {query.data}")


@dp.message(Command("note"))
async def note(message: Message) -> SendDocument:
    return message.answer_document(BufferedInputFile(b"a note", "note.txt"), caption="your note")


@dp.message(Command("files"))
async def files(message: Message) -> SendMediaGroup:
    return message.answer_media_group([InputMediaDocument(media=FSInputFile(__file__)) for _ in range(2)])


@dp.message(Command("nothing"))
async def nothing(message: Message) -> SendMessage:
    return message.answer("")


@dp.message(F.text)
async def echo(message: Message) -> SendMessage:
    return message.answer(message.text, parse_mode=None)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    dp.run_polling(bot)
