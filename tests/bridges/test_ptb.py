"""python-telegram-bot's bridge: the application's hooks, its bound of concurrency, its handlers with block=False."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

from hookline import PollingOptions, WebhookOptions
from hookline_io import bridges
from tests.bridges.world import PTB, World, play, reports


def test_the_hooks_run_once_in_the_order_of_run_polling() -> None:
    async def story(world: World) -> None:
        async with world.running():
            assert world.program.application.running
            world.message("/slow")
            await world.until(lambda: "slow begins" in world.happened)
        assert world.happened == ["started", "slow begins", "slow ends", "stopped", "shut down"]
        assert not world.program.application.running

    play(PTB, story)


def test_concurrent_updates_bounds_what_the_application_handles_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """It is 1 unless the program says otherwise. What waits for its turn is cut off at the end of the grace time."""

    async def story(world: World) -> None:
        async with world.running(PollingOptions(concurrency=5, grace=0.5)):
            world.message("/slow", user=1)
            world.message("/slow", user=2)
            await world.until(lambda: "slow begins" in world.happened)
        assert world.happened.count("slow begins") == 1

    play(PTB, story)


def test_a_handler_that_does_not_block_is_waited_for_at_the_stop(caplog: pytest.LogCaptureFixture) -> None:
    """Its update counts as handled before. What it raises then is logged."""

    async def story(world: World) -> None:
        async with world.running():
            world.message("/aside")
            world.message("later")
            await world.until(lambda: world.texts() == ["later"])
            assert "aside ends" not in world.happened
        assert world.happened == ["started", "aside begins", "aside ends", "stopped", "shut down"]

    play(PTB, story)
    assert reports(caplog) == []
    assert "ValueError: aside" in caplog.text


def test_of_several_exceptions_the_first_is_raised_and_the_others_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The handlers of the other groups run in spite of the first."""

    async def story(world: World) -> None:
        from telegram.ext import TypeHandler

        async def fail(update: object, context: Any) -> None:
            raise LookupError("of the second group")

        world.program.application.add_handler(TypeHandler(object, fail), group=1)
        async with world.running(WebhookOptions(max_attempts=1)):
            world.message("/flaky")
            await world.quiet()

    play(PTB, story)
    [record] = [record for record in caplog.records if getattr(record, "verdict", "") == "handler failed"]
    assert "ValueError: not this time" in record.getMessage()
    assert "LookupError: of the second group" in caplog.text


def test_the_application_is_left_with_its_own_error_handlers() -> None:
    async def story(world: World) -> None:
        own = dict(world.program.application.error_handlers)
        async with world.running():
            pass
        assert world.program.application.error_handlers == own

    play(PTB, story)
    play(PTB, story, ERROR_HANDLER="yes")


def test_after_a_failed_start_the_application_is_shut_down() -> None:
    async def story(world: World) -> None:
        async def fail(application: Any) -> None:
            raise ValueError("no database")

        world.program.application.post_init = fail
        with pytest.raises(ValueError, match="no database"):
            async with world.running():
                pass
        assert world.happened == ["shut down"]
        assert world.program.application.bot.request._client.is_closed

    play(PTB, story)


def test_no_error_of_the_stop_hides_that_of_the_run() -> None:
    """Two hooks fail after the run did; the application is shut down nevertheless, and all three are told."""

    async def story(world: World) -> None:
        async def fail(application: Any) -> None:
            raise ValueError(f"running: {application.running}, happened: {world.happened}")

        world.program.application.post_stop = world.program.application.post_shutdown = fail
        with pytest.raises(ValueError, match="running: False") as raised:
            async with bridges.ptb_handler(world.program.application):
                raise LookupError("the run has failed")
        told = "".join(traceback.format_exception(raised.type, raised.value, raised.tb))
        assert told.count("ValueError: running: False") == 2
        assert "LookupError: the run has failed" in told
        assert world.program.application.bot.request._client.is_closed

    play(PTB, story)
