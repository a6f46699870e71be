"""The API clients of others' libraries against `hookline sim`: they understand its results and tell its errors apart.

aiogram checks every field of every result; python-telegram-bot and pyTelegramBotAPI miss those that are not optional.
grammY looks at no field, so it judges nothing here.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from io import BytesIO
from typing import Any

import pytest

from tests.peers.processes import TOKEN, Telegram

pytestmark = pytest.mark.filterwarnings("ignore")  # what the libraries warn of is theirs


def calls(bot: Any, types: Any, file: Callable[[], Any]) -> dict[str, Callable[[], Any]]:
    """Calls that the libraries write alike. types: where a library has the Bot API's objects. file: one to upload."""
    return {
        "getMe": lambda: bot.get_me(),
        "getWebhookInfo": lambda: bot.get_webhook_info(),
        "sendMessage": lambda: bot.send_message(7, "hello"),
        "sendPhoto": lambda: bot.send_photo(7, file()),
        "sendDocument": lambda: bot.send_document(7, file()),
        "sendAudio": lambda: bot.send_audio(7, file()),
        "sendVideo": lambda: bot.send_video(7, file()),
        "sendVoice": lambda: bot.send_voice(7, file()),
        "sendAnimation": lambda: bot.send_animation(7, file()),
        "sendSticker": lambda: bot.send_sticker(7, file()),
        "sendVideoNote": lambda: bot.send_video_note(7, file()),
        "sendMediaGroup": lambda: bot.send_media_group(
            7, [types.InputMediaPhoto(media=file()), types.InputMediaVideo(media=file())]
        ),
        "sendLocation": lambda: bot.send_location(7, 52.5, 13.4),
        "sendVenue": lambda: bot.send_venue(7, 52.5, 13.4, "Here", "Street 1"),
        "sendContact": lambda: bot.send_contact(7, "+490000000", "Ann"),
        "sendPoll": lambda: bot.send_poll(7, "Tea?", ["yes", "no"]),
        "sendDice": lambda: bot.send_dice(7),
        "sendChatAction": lambda: bot.send_chat_action(7, "typing"),
        "forwardMessage": lambda: bot.forward_message(7, 8, 1),
        "forwardMessages": lambda: bot.forward_messages(7, 8, [1, 2]),
        "copyMessage": lambda: bot.copy_message(7, 8, 1),
        "copyMessages": lambda: bot.copy_messages(7, 8, [1, 2]),
        "editMessageText": lambda: bot.edit_message_text("hello again", chat_id=7, message_id=1),
        "editMessageCaption": lambda: bot.edit_message_caption(chat_id=7, message_id=2, caption="a picture"),
        "setMessageReaction": lambda: bot.set_message_reaction(7, 1, [types.ReactionTypeEmoji(emoji="👍")]),
        "pinChatMessage": lambda: bot.pin_chat_message(7, 1),
        "deleteMessage": lambda: bot.delete_message(7, 1),
        "deleteMessages": lambda: bot.delete_messages(7, [1, 2]),
        "answerCallbackQuery": lambda: bot.answer_callback_query("1"),
        "answerInlineQuery": lambda: bot.answer_inline_query("1", []),
        "getChat": lambda: bot.get_chat(-7),
        "getChatMember": lambda: bot.get_chat_member(-7, 1),
        "getChatMemberCount": lambda: bot.get_chat_member_count(-7),
        "getChatAdministrators": lambda: bot.get_chat_administrators(-7),
        "getChatMenuButton": lambda: bot.get_chat_menu_button(chat_id=7),
        "getUserProfilePhotos": lambda: bot.get_user_profile_photos(7),
        "banChatMember": lambda: bot.ban_chat_member(-7, 1),
        "leaveChat": lambda: bot.leave_chat(-7),
        "setMyCommands": lambda: bot.set_my_commands([types.BotCommand(command="tea", description="Make tea")]),
        "getMyCommands": lambda: bot.get_my_commands(),
        "getMyName": lambda: bot.get_my_name(),
        "getMyDescription": lambda: bot.get_my_description(),
        "getMyShortDescription": lambda: bot.get_my_short_description(),
    }


async def outcome(call: Callable[[], Any]) -> Any:
    """What a call returns, or raises; some libraries block, others are awaited."""
    try:
        result = call()
        return await result if inspect.isawaitable(result) else result
    except Exception as error:
        return error


async def failures(bot: Any, types: Any, file: Callable[[], Any]) -> dict[str, Exception]:
    """The calls that the library does not send, or whose results it does not understand."""
    outcomes = {name: await outcome(call) for name, call in calls(bot, types, file).items()}
    return {name: result for name, result in outcomes.items() if isinstance(result, Exception)}


async def errors(bot: Any, telegram: Telegram) -> list[Any]:
    """What the library raises where it calls too often, names no message, polls beside a webhook, and is thrown out."""
    telegram.control("fault", kind="error", code=429, description="Too Many Requests: retry after 3", retry_after=3)
    flood = await outcome(lambda: bot.get_me())
    no_message = await outcome(lambda: bot.edit_message_text("hello", chat_id=7, message_id=1_000))
    await outcome(lambda: bot.set_webhook("http://127.0.0.1:1/"))
    webhook = await outcome(lambda: bot.get_updates())
    telegram.control("revoke")
    unauthorized = await outcome(lambda: bot.get_me())
    return [flood, no_message, webhook, unauthorized]


# aiogram


def with_aiogram(telegram: Telegram, test: Callable[[Any], Awaitable[Any]]) -> Any:
    """What a test with a client of aiogram returns."""
    aiogram = pytest.importorskip("aiogram", reason="`tox -e peers` installs it")
    from aiogram.client.session.aiohttp import AiohttpSession
    from aiogram.client.telegram import TelegramAPIServer

    async def run() -> Any:
        async with aiogram.Bot(TOKEN, AiohttpSession(api=TelegramAPIServer.from_base(telegram.root))) as bot:
            return await test(bot)

    return asyncio.run(run())


def test_aiogram_understands_every_result(telegram: Telegram) -> None:
    async def test(bot: Any) -> dict[str, Exception]:
        from aiogram import types

        return await failures(bot, types, lambda: types.BufferedInputFile(b"content", "name.bin"))

    assert with_aiogram(telegram, test) == {}


def test_aiogram_tells_errors_apart(telegram: Telegram) -> None:
    flood, no_message, webhook, unauthorized = with_aiogram(telegram, lambda bot: errors(bot, telegram))
    assert (type(flood).__name__, flood.retry_after) == ("TelegramRetryAfter", 3)
    assert type(no_message).__name__ == "TelegramBadRequest"
    assert type(webhook).__name__ == "TelegramConflictError"
    assert type(unauthorized).__name__ == "TelegramUnauthorizedError"


# python-telegram-bot


def with_ptb(telegram: Telegram, test: Callable[[Any], Awaitable[Any]]) -> Any:
    """What a test with a client of python-telegram-bot returns."""
    ptb = pytest.importorskip("telegram", reason="`tox -e peers` installs it")

    async def run() -> Any:
        async with ptb.Bot(TOKEN, f"{telegram.root}/bot", f"{telegram.root}/file/bot") as bot:
            return await test(bot)

    return asyncio.run(run())


def test_ptb_understands_every_result(telegram: Telegram) -> None:
    async def test(bot: Any) -> dict[str, Exception]:
        import telegram as types

        return await failures(bot, types, lambda: b"content")

    assert with_ptb(telegram, test) == {}


def test_ptb_tells_errors_apart(telegram: Telegram) -> None:
    flood, no_message, webhook, unauthorized = with_ptb(telegram, lambda bot: errors(bot, telegram))
    assert (type(flood).__name__, flood.retry_after) == ("RetryAfter", 3)
    assert type(no_message).__name__ == "BadRequest"
    assert type(webhook).__name__ == "Conflict"
    assert type(unauthorized).__name__ == "InvalidToken"


# pyTelegramBotAPI


@pytest.fixture
def telebot(telegram: Telegram, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The library, with `hookline sim` for its Bot API."""
    library = pytest.importorskip("telebot", reason="`tox -e peers` installs it")
    monkeypatch.setattr(library.apihelper, "API_URL", f"{telegram.root}/bot{{0}}/{{1}}")
    return library


def test_telebot_understands_every_result(telebot: Any) -> None:
    bot, types = telebot.TeleBot(TOKEN), telebot.types
    assert asyncio.run(failures(bot, types, lambda: types.InputFile(BytesIO(b"content"), "name.bin"))) == {}


def test_telebot_tells_errors_apart(telebot: Any, telegram: Telegram) -> None:
    flood, no_message, webhook, unauthorized = asyncio.run(errors(telebot.TeleBot(TOKEN), telegram))
    assert (flood.error_code, flood.result_json["parameters"]) == (429, {"retry_after": 3})
    assert [error.error_code for error in (no_message, webhook, unauthorized)] == [400, 409, 401]
