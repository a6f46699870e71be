"""An echo bot of aiogram, by long polling."""

import asyncio
import logging
import os

from aiogram import Bot, Dispatcher, F
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.filters import Command, CommandObject
from aiogram.types import BufferedInputFile, CallbackQuery, InlineKeyboardButton, InlineKeyboardMarkup, Message

dp = Dispatcher()


@dp.message(Command("choose"))
async def choose(message: Message) -> None:
    buttons = [InlineKeyboardButton(text=text, callback_data=text) for text in ("tea", "coffee")]
    await message.answer("Which one?", reply_markup=InlineKeyboardMarkup(inline_keyboard=[buttons]))


@dp.callback_query()
async def chosen(query: CallbackQuery) -> None:
    await query.answer("Noted")
    await query.message.edit_text(f"You chose {query.data}")


@dp.message(Command("file"))
async def file(message: Message, command: CommandObject, bot: Bot) -> None:
    sent = await message.answer_document(BufferedInputFile(command.args.encode(), "note.txt"), caption="your note")
    content = await bot.download(sent.document)
    await message.answer(f"{sent.document.file_name}: {content.read().decode()}")


@dp.message(F.text)
async def echo(message: Message) -> None:
    await message.send_copy(chat_id=message.chat.id)


async def main() -> None:
    server = TelegramAPIServer.from_base(os.environ["BOT_API_ROOT"])
    bot = Bot(os.environ["BOT_TOKEN"], session=AiohttpSession(api=server))
    await dp.start_polling(bot)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(main())
