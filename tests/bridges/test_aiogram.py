"""aiogram's bridge: the hooks of its dispatcher, what its handlers are given, and the methods that they return."""

from __future__ import annotations

import asyncio
import traceback
from typing import Any

import pytest
from attrs import evolve

from hookline import WebhookOptions
from hookline_io import bridges
from tests.bridges.world import AIOGRAM, World, play, reports


def anything(_: str) -> bool:
    """Any method may travel in a response."""
    return True


def test_the_hooks_run_once_at_the_start_and_at_the_stop() -> None:
    """The shutdown hooks run after the last handler, and then the bot's session is closed."""

    async def story(world: World) -> None:
        async with world.running():
            world.message("/slow")
            await world.until(lambda: "slow begins" in world.happened)
        assert world.happened == ["started", "slow begins", "slow ends", "stopped"]
        assert world.program.bot.session._session.closed

    play(AIOGRAM, story)


def test_handlers_and_hooks_are_given_data_by_name_as_by_start_polling() -> None:
    given: list[Any] = []

    async def story(world: World) -> None:
        dispatcher, bot = world.program.dp, world.program.bot
        dispatcher["of_dispatcher"] = 1

        def keep(name: str) -> Any:
            async def take(bot: Any, bots: Any, dispatcher: Any, of_dispatcher: int, of_call: int) -> None:
                given.append((name, bot, bots, dispatcher, of_dispatcher, of_call))

            return take

        async def handle(_: Any, bot: Any, bots: Any, dispatcher: Any, of_dispatcher: int, of_call: int) -> None:
            await keep("message")(bot, bots, dispatcher, of_dispatcher, of_call)

        dispatcher.startup.register(keep("startup"))
        dispatcher.shutdown.register(keep("shutdown"))
        dispatcher.message.handlers.clear()
        dispatcher.message.register(handle)
        async with world.running():
            world.message("hello")
            await world.quiet()
        common = (bot, (bot,), dispatcher, 1, 2)
        assert given == [("startup", *common), ("message", *common), ("shutdown", *common)]

    play(evolve(AIOGRAM, bridge=lambda program: bridges.aiogram_handler(program.dp, program.bot, of_call=2)), story)


def test_a_returned_method_travels_in_the_webhooks_response() -> None:
    """With the bot's default parse_mode and its keyboard; no request is made."""

    async def story(world: World) -> None:
        async with world.running(WebhookOptions(), reply_with=anything):
            world.message("/choose")
            await world.quiet()
        [call] = world.calls()
        assert (call.method, call.via) == ("sendmessage", "webhook reply")
        assert call.params["text"] == "Which <b>one</b>?"
        assert call.params["parse_mode"] == "HTML"
        assert call.params["reply_markup"].count("callback_data") == 2

    play(AIOGRAM, story)


def test_a_returned_method_is_an_ordinary_call_where_no_response_may_carry_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """By polling, and by a webhook without `reply_with`; after the calls that the handler made itself."""

    async def story(world: World) -> None:
        for options in (None, WebhookOptions()):
            world.message("/choose")
            async with world.running(options):
                await world.quiet()
                world.press("tea")
                await world.quiet()
        calls = [(call.method, call.via) for call in world.calls()]
        methods = ("sendmessage", "answercallbackquery", "editmessagetext")
        assert calls == [(method, "api") for method in methods] * 2
        assert {call.params.get("parse_mode") for call in world.calls("sendMessage")} == {"HTML"}

    play(AIOGRAM, story)
    assert reports(caplog) == []


def test_a_method_that_is_returned_too_late_for_its_response_is_an_ordinary_call() -> None:
    async def story(world: World) -> None:
        async def late(message: Any) -> Any:
            await asyncio.sleep(1)
            return message.answer("late")

        world.program.dp.message.handlers.clear()
        world.program.dp.message.register(late)
        async with world.running(WebhookOptions(timeout=0.2, on_timeout="return"), reply_with=anything):
            world.message("hello")
            await world.until(lambda: world.texts() == ["late"])
        assert [call.via for call in world.calls()] == ["api"]

    play(AIOGRAM, story)


@pytest.mark.parametrize("via", ["webhook reply", "api"])
def test_the_files_of_a_returned_method_go_with_it(via: str) -> None:
    """One from memory, and two from the disk in an album."""

    async def story(world: World) -> None:
        reply_with = anything if via == "webhook reply" else None
        async with world.running(WebhookOptions(), reply_with=reply_with):
            world.message("/note")
            await world.until(lambda: len(world.calls("sendDocument")) == 1)
            world.message("/files")
            await world.quiet()
        [document] = world.calls("sendDocument")
        assert (document.via, len(document.files), document.params["caption"]) == (via, 1, "your note")
        [album] = world.calls("sendMediaGroup")
        assert (album.via, len(album.files)) == (via, 2)

    play(AIOGRAM, story)


def test_the_error_of_a_returned_method_is_logged_and_the_update_handled(caplog: pytest.LogCaptureFixture) -> None:
    """As by aiogram itself: the handler is not run again for it."""

    async def story(world: World) -> None:
        async with world.running(WebhookOptions()):
            world.message("/nothing")
            await world.quiet()

    play(AIOGRAM, story)
    assert reports(caplog) == []
    [record] = [record for record in caplog.records if record.name == "aiogram.event" and record.levelname == "ERROR"]
    assert "Failed to make answer" in record.getMessage()
    assert "text is empty" in record.getMessage()


def test_after_a_failed_start_the_session_is_closed() -> None:
    """And no shutdown hook runs."""

    async def story(world: World) -> None:
        async def fail(bot: Any) -> None:
            await bot.get_me()
            raise ValueError("no database")

        world.program.dp.startup.register(fail)
        with pytest.raises(ValueError, match="no database"):
            async with world.running():
                pass
        assert world.program.bot.session._session.closed
        assert world.happened == ["started"]

    play(AIOGRAM, story)


def test_no_error_of_the_stop_hides_that_of_the_run() -> None:
    """A shutdown hook fails after the run did; the session is closed nevertheless, and both are told."""

    async def story(world: World) -> None:
        async def fail(bot: Any) -> None:
            await bot.get_me()
            raise ValueError("no database")

        world.program.dp.shutdown.register(fail)
        with pytest.raises(ValueError, match="no database") as raised:
            async with bridges.aiogram_handler(world.program.dp, world.program.bot):
                raise LookupError("the run has failed")
        told = "".join(traceback.format_exception(raised.type, raised.value, raised.tb))
        assert "the run has failed" in told
        assert world.program.bot.session._session.closed

    play(AIOGRAM, story)
