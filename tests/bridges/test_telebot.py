"""pyTelegramBotAPI's bridge: threads, class-based middlewares, the bot as it was before."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from hookline import WebhookOptions
from tests.bridges.world import ASYNC_TELEBOT, TELEBOT, World, each, play, reports


@pytest.mark.parametrize("environment", [{}, {"NOT_THREADED": "yes"}], ids=["threaded", "not threaded"])
def test_handlers_run_in_the_drivers_threads(environment: dict[str, str]) -> None:
    """Where the handler ends when they do; afterwards the bot is as it was."""

    async def story(world: World) -> None:
        bot = world.program.bot
        before = (bot.threaded, bot.exception_handler)
        threads: list[str] = []
        bot.message_handlers.clear()
        bot.register_message_handler(lambda message: threads.append(threading.current_thread().name))
        async with world.running():
            world.message("hello")
            await world.quiet()
        assert len(threads) == 1
        assert threads[0].startswith("hookline")
        assert (bot.threaded, bot.exception_handler) == before

    play(TELEBOT, story, **environment)


def test_a_next_step_is_taken() -> None:
    async def story(world: World) -> None:
        async with world.running():
            world.message("/name")
            world.message("Ann")
            await world.until(lambda: world.texts() == ["Your name?", "Hello, Ann"])

    play(TELEBOT, story)


def test_what_the_library_only_logs_comes_again(caplog: pytest.LogCaptureFixture) -> None:
    """With class-based middlewares, a TeleBot swallows what its handlers raise."""

    async def story(world: World) -> None:
        async with world.running(WebhookOptions()):
            world.message("/flaky")
            await world.quiet()
        assert world.texts() == ["this time"]

    play(TELEBOT, story, MIDDLEWARES="yes")
    assert reports(caplog) == ["handler failed"]


@each(TELEBOT, ASYNC_TELEBOT)
def test_a_bot_without_exception_handler_is_bridged_too(library: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def story(world: World) -> None:
        world.program.bot.exception_handler = None
        async with world.running(WebhookOptions()):
            world.message("/flaky")
            await world.quiet()
        assert world.texts() == ["this time"]
        assert world.program.bot.exception_handler is None

    play(library, story)
    assert reports(caplog) == ["handler failed"]


def test_an_asynchronous_bots_exception_handler_may_be_a_plain_function() -> None:
    async def story(world: World) -> None:
        class Plain:
            def handle(self, exception: Exception) -> bool:
                world.happened.append(f"taken: {type(exception).__name__}")
                return True

        world.program.bot.exception_handler = Plain()
        async with world.running():
            world.message("/key")
            await world.quiet()
        assert world.happened == ["taken: KeyError"]

    play(ASYNC_TELEBOT, story)


def test_an_asynchronous_bots_session_is_closed_at_the_end() -> None:
    """Also if the bot has used none."""

    async def story(world: World) -> None:
        from telebot import asyncio_helper

        async with world.library.bridge(world.program):
            pass
        async with world.running():
            world.message("hello")
            await world.quiet()
        assert asyncio_helper.session_manager.session.closed

    play(ASYNC_TELEBOT, story)
