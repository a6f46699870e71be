"""What users test their bots with: the simulation in virtual time, and on loopback."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from typing import Any

import pytest

from hookline import PollingOptions, RunFailed, Update, WebhookOptions
from hookline_io import Api
from hookline_io.testing import TOKEN, LoopbackTelegram, VirtualLoop, VirtualTelegram

pytest_plugins = ["pytester"]

SOURCES = [pytest.param(PollingOptions(concurrency=5), id="polling"), pytest.param(WebhookOptions(), id="webhook")]


async def echo(update: Update, api: Api) -> None:
    """Answers with what was said."""
    await api.call("sendMessage", chat_id=update.lane, text=update.payload["text"])


@pytest.mark.parametrize("options", SOURCES)
def test_a_bot_in_virtual_time_answers(options: PollingOptions | WebhookOptions) -> None:
    with VirtualTelegram() as telegram:
        telegram.start(echo, options)
        telegram.wait(1)
        telegram.message("one")
        telegram.message("two", user=2)
        telegram.wait_until(lambda: telegram.pending() == 0)
        assert sorted(telegram.texts()) == ["one", "two"]
        telegram.stop()


@pytest.mark.parametrize("options", SOURCES)
def test_minutes_pass_at_once(options: PollingOptions | WebhookOptions) -> None:
    """A handler that takes ten of them is run once, however often Telegram sends its update."""
    runs: list[int] = []

    async def slow(update: Update, api: Api) -> None:
        runs.append(update.update_id)
        await asyncio.sleep(600)
        await echo(update, api)

    with VirtualTelegram() as telegram:
        telegram.start(slow, options)
        telegram.wait(1)
        telegram.message("patience")
        telegram.wait_until(lambda: telegram.pending() == 0)
        assert telegram.texts() == ["patience"]
        assert telegram.now > 600
        assert len(runs) == 1
        telegram.stop()


def test_what_goes_wrong_can_be_asked_for() -> None:
    """Here, a flood wait of a call."""
    with VirtualTelegram() as telegram:
        telegram.start(echo)
        telegram.wait(1)
        telegram.go_wrong("error", method="sendMessage", code=429, description="Too Many Requests", retry_after=9)
        telegram.message("hi")
        telegram.wait(8)
        assert len(telegram.calls("sendMessage")) == 1
        telegram.wait(3)
        assert len(telegram.calls("sendMessage")) == 2


def test_what_ends_the_bot_is_raised_while_time_goes_by() -> None:
    with VirtualTelegram() as telegram:
        telegram.go_wrong("error", method="getMe", code=401, description="Unauthorized")
        telegram.start(echo)
        with pytest.raises(RunFailed, match="401"):
            telegram.wait(1)


@pytest.mark.parametrize("options", SOURCES)
def test_a_handler_that_raises_is_seen_in_the_log(
    options: PollingOptions | WebhookOptions, caplog: pytest.LogCaptureFixture
) -> None:
    """It ends neither the bot nor the test."""

    async def broken(update: Update, api: Api) -> None:
        raise ValueError("no such thing")

    with VirtualTelegram() as telegram:
        telegram.start(broken, options)
        telegram.wait(1)
        assert caplog.records == []
        telegram.message()
        telegram.wait(1)
        telegram.stop()
    assert "ValueError: no such thing" in caplog.records[0].getMessage()


def test_a_handler_that_raises_ends_the_bot_where_that_is_asked_for() -> None:
    async def broken(update: Update, api: Api) -> None:
        raise ValueError("no such thing")

    with VirtualTelegram() as telegram:
        telegram.start(broken, PollingOptions(on_error="stop"))
        telegram.message()
        with pytest.raises(RunFailed, match="raised"):
            telegram.wait_until(lambda: False)


def test_what_does_not_happen_in_time_is_named() -> None:
    def all_is_well() -> bool:
        return False

    with VirtualTelegram() as telegram:
        with pytest.raises(AssertionError, match=r"within 5 s of virtual time: .*lambda: telegram.pending\(\) == 7"):
            telegram.wait_until(lambda: telegram.pending() == 7, patience=5)
        with pytest.raises(AssertionError, match=r"within 5 s of virtual time: all_is_well$"):
            telegram.wait_until(all_is_well, patience=5)
        with pytest.raises(AssertionError, match=r"within 5 s of virtual time: <function <lambda>"):
            telegram.wait_until(eval("lambda: False"), patience=5)


def test_one_bot_runs_at_a_time_and_another_after_it() -> None:
    with VirtualTelegram() as telegram:
        telegram.start(echo)
        with pytest.raises(RuntimeError, match="runs already"):
            telegram.start(echo)
        telegram.wait(1)
        telegram.stop()
        telegram.message("left for the next")
        telegram.start(echo)
        telegram.wait(5)
        assert telegram.texts() == ["left for the next"]


def test_any_update_and_a_button_can_be_sent() -> None:
    seen: list[Update] = []

    async def note(update: Update, api: Api) -> None:
        seen.append(update)

    with VirtualTelegram() as telegram:
        telegram.start(note)
        telegram.wait(1)
        telegram.button("yes", user=3)
        telegram.update("inline_query", {"id": "1", "from": {"id": 4}, "query": "cats", "offset": ""})
        telegram.wait(2)
    assert [(update.kind, update.lane) for update in seen] == [("callback_query", 3), ("inline_query", 4)]


def test_a_loop_in_which_nothing_can_happen_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hookline_io.testing.PATIENCE", 0.01)
    loop = VirtualLoop()
    with pytest.raises(RuntimeError, match="nothing is awaited"):
        loop.run_until_complete(asyncio.Event().wait())
    loop.close()


def test_a_program_of_any_kind_reaches_the_simulation_on_loopback() -> None:
    def call(telegram: LoopbackTelegram, method: str, **params: Any) -> Any:
        request = urllib.request.Request(
            f"{telegram.root}/bot{TOKEN}/{method}",
            json.dumps(params).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)["result"]

    with LoopbackTelegram() as telegram:
        update_id = telegram.message("hi")
        (update,) = call(telegram, "getUpdates", timeout=5)
        assert update["update_id"] == update_id
        call(telegram, "sendMessage", chat_id=1, text="hello")
        telegram.wait_until(lambda: telegram.texts() == ["hello"])
        with pytest.raises(AssertionError, match="did not happen"):
            telegram.wait_until(lambda: False, patience=0.01)


def test_the_fixtures_come_with_the_plugin(pytester: pytest.Pytester) -> None:
    pytester.makeconftest('pytest_plugins = ["hookline_io.pytest_plugin"]')
    pytester.makepyfile(
        """
        def test_in_virtual_time(virtual_telegram):
            async def handler(update, api):
                await api.call("sendMessage", chat_id=1, text="hello")

            virtual_telegram.start(handler)
            virtual_telegram.message()
            virtual_telegram.wait(60)
            assert virtual_telegram.texts() == ["hello"]

        def test_on_loopback(loopback_telegram):
            assert loopback_telegram.root.startswith("http://127.0.0.1:")
        """
    )
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)
