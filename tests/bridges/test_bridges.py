"""What is promised of every bridge: a bot that knows nothing of hookline, delivered to by hookline."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from hookline import PollingOptions, WebhookOptions
from hookline_io.testing import BOT_ID
from tests.bridges.world import ALL, Library, World, each, play, reports

SOURCES = pytest.mark.parametrize(
    "options", [pytest.param(PollingOptions(concurrency=5), id="polling"), pytest.param(WebhookOptions(), id="webhook")]
)


@each(*ALL)
@SOURCES
def test_every_message_is_answered_once_and_in_its_chats_order(
    library: Library, options: PollingOptions | WebhookOptions, caplog: pytest.LogCaptureFixture
) -> None:
    """Of five users; some wait for the bot, some come while it runs."""
    said = [(f"{number} of {user}", user) for number in range(4) for user in range(1, 6)]

    async def story(world: World) -> None:
        for text, user in said[:8]:
            world.message(text, user)
        async with world.running(options):
            await world.until(lambda: len(world.texts()) > 0)
            for text, user in said[8:]:
                world.message(text, user)
            await world.until(lambda: len(world.texts()) == len(said))
            await world.quiet()
        for user in range(1, 6):
            answers = [call.params["text"] for call in world.calls() if call.params["chat_id"] == str(user)]
            assert answers == [text for text, of in said if of == user]

    play(library, story)
    assert reports(caplog) == []


@each(*ALL)
def test_a_slow_handler_is_joined_by_what_telegram_sends_again(library: Library) -> None:
    """It takes longer than its request may, and runs once; the next message of its chat waits for it."""

    async def story(world: World) -> None:
        async with world.running(WebhookOptions(timeout=0.2)):
            world.message("/slow")
            await world.until(lambda: "slow begins" in world.happened)
            world.message("later")
            await world.quiet()
        assert world.happened.count("slow begins") == 1
        assert world.texts() == ["slowly", "later"]

    play(library, story)


@each(*ALL)
def test_what_the_bots_error_handling_leaves_makes_a_webhooks_update_come_again(
    library: Library, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(world: World) -> None:
        async with world.running(WebhookOptions()):
            world.message("/flaky")
            await world.quiet()
        assert world.happened.count("flaky") == 2
        assert world.texts() == ["this time"]

    play(library, story)
    assert reports(caplog) == ["handler failed"]
    assert "ValueError: not this time" in caplog.text
    assert "in flaky" in caplog.text  # the traceback is that of the handler


@each(*ALL)
def test_what_the_bots_error_handling_leaves_is_reported_by_polling(
    library: Library, caplog: pytest.LogCaptureFixture
) -> None:
    """The update counts as handled, and the next one comes."""

    async def story(world: World) -> None:
        async with world.running():
            world.message("/flaky")
            world.message("later")
            await world.until(lambda: world.texts() == ["later"])
            await world.quiet()

    play(library, story)
    assert reports(caplog) == ["handler failed"]


@each(*ALL)
def test_what_the_bots_error_handling_takes_is_handled(library: Library, caplog: pytest.LogCaptureFixture) -> None:
    """hookline hears nothing of it, and the update does not come again."""

    async def story(world: World) -> None:
        async with world.running(WebhookOptions()):
            world.message("/key")
            world.message("later")
            await world.until(lambda: world.texts() == ["later"])
            await world.quiet()
        assert world.happened.count("handled KeyError") == 1

    play(library, story, ERROR_HANDLER="yes")
    assert reports(caplog) == []


@each(*ALL)
def test_a_stop_waits_for_the_handler(library: Library) -> None:
    """And what it says then is still sent: the bot's own sessions are closed after that."""

    async def story(world: World) -> None:
        async with world.running():
            world.message("/slow")
            await world.until(lambda: "slow begins" in world.happened)
        assert "slow ends" in world.happened
        assert world.texts() == ["slowly"]

    play(library, story)


@each(*ALL)
def test_an_update_that_the_library_cannot_read_is_reported(library: Library, caplog: pytest.LogCaptureFixture) -> None:
    """It is one to hookline, since it has an id; what comes next is handled."""

    async def story(world: World) -> None:
        async with world.running():
            world.simulation.inject(BOT_ID, "message", {"message_id": "no number", "chat": []})
            world.message("later")
            await world.until(lambda: world.texts() == ["later"])

    play(library, story)
    assert reports(caplog) == ["handler failed"]


@each(*ALL)
def test_the_update_is_left_as_it_came(library: Library) -> None:
    """The libraries read it into objects of theirs; hookline's own stays."""
    bold = [{"type": "bold", "offset": 0, "length": 3}]
    option = {"persistent_id": "1", "text": "yes", "text_entities": bold, "voter_count": 0}
    poll = {"id": "1", "question": "Tea?", "options": [option], "total_voter_count": 0, "type": "regular"}
    poll |= dict.fromkeys(("is_closed", "is_anonymous", "allows_multiple_answers", "allows_revoting"), False)
    poll |= {"members_only": False}

    async def story(world: World) -> None:
        seen: list[tuple[Any, Any]] = []

        def lane(raw: Any) -> int:
            seen.append((raw, deepcopy(raw)))
            return 1

        async with world.running(lane=lane):
            world.simulation.inject(BOT_ID, "poll", poll)
            world.message("later")
            await world.until(lambda: world.texts() == ["later"])
        assert len(seen) == 2
        assert [raw for raw, _ in seen] == [before for _, before in seen]

    play(library, story)
