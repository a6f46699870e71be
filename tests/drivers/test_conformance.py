"""What every driver does alike: one suite for asyncio, trio and blocking sockets, over loopback."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hookline import REPLIED, ApiError, InputFile, PollingOptions, Update, WebhookOptions
from hookline.sim import Fault
from tests.drivers.bench import BOT_ID, DRIVERS, Handler, Toolbox, calls, running, until

SOURCES = [
    pytest.param(PollingOptions(concurrency=10), id="polling"),
    pytest.param(WebhookOptions(path="/hook"), id="webhook"),
]

pytestmark = pytest.mark.parametrize("driver", DRIVERS)


async def echo(update: Update, tools: Toolbox) -> None:
    """The echo bot."""
    await tools.call("sendMessage", chat_id=update.lane, text=update.payload["text"])


def check(coroutine: Any) -> None:
    """Run the coroutine of a test."""
    asyncio.run(coroutine)


@pytest.mark.parametrize("source", SOURCES)
def test_every_message_is_answered_in_its_chats_order(driver: str, source: Any) -> None:
    """A burst from several users: each answered once, each chat in order."""

    async def main() -> None:
        async with running(driver, echo, source) as (simulation, _):
            for number in range(60):
                simulation.message(BOT_ID, str(number), user=1 + number % 4)
            await until(lambda: len(calls(simulation, "sendMessage")) == 60)
            await until(lambda: simulation.telegram.pending(BOT_ID) == 0)
            for user in range(1, 5):
                texts = [
                    int(call.params["text"])
                    for call in calls(simulation, "sendMessage")
                    if call.params["chat_id"] == str(user)
                ]
                assert texts == list(range(user - 1, 60, 4))

    check(main())


@pytest.mark.parametrize("source", SOURCES)
def test_a_handler_that_raises_does_not_stop_the_bot(driver: str, source: Any) -> None:
    """By polling the update counts as handled; by webhook Telegram sends it again."""
    runs: Counter[str] = Counter()

    async def handler(update: Update, tools: Toolbox) -> None:
        text = update.payload["text"]
        runs[text] += 1
        if text == "bad" and runs[text] == 1:
            raise ValueError("no such thing")
        await echo(update, tools)

    async def main() -> None:
        async with running(driver, handler, source) as (simulation, _):
            simulation.message(BOT_ID, "bad", user=1)
            simulation.message(BOT_ID, "good", user=2)
            await until(lambda: simulation.telegram.pending(BOT_ID) == 0)
        assert runs == Counter(bad=1 if isinstance(source, PollingOptions) else 2, good=1)

    check(main())


def test_throw_lets_the_handler_go_on_and_a_redelivery_joins_it(driver: str) -> None:
    """The request is answered 500 in time, the second one when the run ends; the handler runs once."""
    runs: list[int] = []

    async def handler(update: Update, tools: Toolbox) -> None:
        runs.append(update.update_id)
        await tools.sleep(0.5)
        await echo(update, tools)

    async def main() -> None:
        async with running(driver, handler, WebhookOptions(timeout=0.3)) as (simulation, _):
            update_id = simulation.message(BOT_ID, "slow")
            await until(lambda: simulation.telegram.pending(BOT_ID) == 0)
            sender = simulation.telegram.bot(BOT_ID).sender
            assert sender is not None
            assert sender.last_error is not None
            assert "500" in sender.last_error[1]
        assert runs == [update_id]

    check(main())


def test_return_answers_in_time_and_the_next_update_of_the_chat_waits(driver: str) -> None:
    """Telegram is told 200 at the timeout; two updates of a chat never run at the same time."""
    events: list[str] = []

    async def handler(update: Update, tools: Toolbox) -> None:
        events.append(f"begin {update.payload['text']}")
        await tools.sleep(0.4)
        events.append(f"end {update.payload['text']}")

    async def main() -> None:
        async with running(driver, handler, WebhookOptions(timeout=0.1, on_timeout="return")) as (simulation, _):
            simulation.message(BOT_ID, "1")
            simulation.message(BOT_ID, "2")
            await until(lambda: simulation.telegram.pending(BOT_ID) == 0)
            assert "end 2" not in events
            await until(lambda: len(events) == 4)
            sender = simulation.telegram.bot(BOT_ID).sender
            assert sender is not None
            assert sender.last_error is None
        assert events == ["begin 1", "end 1", "begin 2", "end 2"]

    check(main())


def test_cancel_ends_the_run_and_a_redelivery_starts_afresh(driver: str) -> None:
    """A thread can't be cancelled: under the blocking driver the run ends well after all, and the redelivery knows."""
    events: list[str] = []

    async def handler(update: Update, tools: Toolbox) -> None:
        events.append("begin")
        await tools.sleep(0.5 if events.count("begin") == 1 else 0.0)
        events.append("end")

    async def main() -> None:
        async with running(driver, handler, WebhookOptions(timeout=0.3, on_timeout="cancel")) as (simulation, _):
            simulation.message(BOT_ID, "slow")
            await until(lambda: simulation.telegram.pending(BOT_ID) == 0)
        assert events == (["begin", "end"] if driver == "blocking" else ["begin", "begin", "end"])

    check(main())


def test_a_call_travels_in_the_response_once_per_update(driver: str) -> None:
    """The first call that may is the reply, its result is REPLIED; the second is an ordinary call."""
    results: list[Any] = []

    async def handler(update: Update, tools: Toolbox) -> None:
        results.append(await tools.call("getMe"))
        results.append(await tools.call("sendMessage", chat_id=update.lane, text="first"))
        results.append(await tools.call("sendMessage", chat_id=update.lane, text="second"))

    async def main() -> None:
        options = WebhookOptions(path="/hook")
        async with running(driver, handler, options, reply_with=lambda method: True) as (simulation, _):
            simulation.message(BOT_ID, "hi")
            await until(lambda: len(results) == 3)
            await until(lambda: len(calls(simulation, "sendMessage")) == 2)
            sent = {call.params["text"]: call.via for call in calls(simulation, "sendMessage")}
        assert sent == {"first": "webhook reply", "second": "api"}
        assert results[0]["is_bot"] is True
        assert results[1] is REPLIED
        assert results[2]["text"] == "second"

    check(main())


def test_files_go_up_and_down(driver: str, tmp_path: Path) -> None:
    """A path, bytes and a stream are sent and come back the same."""
    content = bytes(range(256)) * 1_000
    path = tmp_path / "a file.bin"
    path.write_bytes(content)
    received: list[bytes] = []

    async def handler(update: Update, tools: Toolbox) -> None:
        for source in (path, content, io.BytesIO(content)):
            file = InputFile(source, 'näme "quoted".bin')
            message = await tools.call("sendDocument", chat_id=update.lane, document=file, caption="grüße")
            assert message["caption"] == "grüße"
            found = await tools.call("getFile", file_id=message["document"]["file_id"])
            destination = io.BytesIO()
            await tools.download(found["file_path"], destination)
            received.append(destination.getvalue())

    async def main() -> None:
        async with running(driver, handler, PollingOptions()) as (simulation, _):
            simulation.message(BOT_ID, "files")
            await until(lambda: simulation.telegram.pending(BOT_ID) == 0)

    check(main())
    assert received == [content] * 3


def test_a_reply_may_carry_a_file(driver: str, tmp_path: Path) -> None:
    """The webhook's response is multipart then."""
    path = tmp_path / "photo.png"
    path.write_bytes(b"picture" * 10_000)

    async def handler(update: Update, tools: Toolbox) -> None:
        await tools.call("sendPhoto", chat_id=update.lane, photo=InputFile(path), caption="look")

    async def main() -> None:
        options = WebhookOptions(path="/hook")
        async with running(driver, handler, options, reply_with=lambda method: True) as (simulation, _):
            simulation.message(BOT_ID, "hi")
            await until(lambda: simulation.telegram.pending(BOT_ID) == 0)
            (call,) = calls(simulation, "sendPhoto")
        assert (call.via, call.files, call.params["caption"]) == ("webhook reply", ("photo",), "look")

    check(main())


def test_a_refused_call_raises_in_the_handler(driver: str) -> None:
    """ApiError with what Telegram said; 429 was waited for before."""
    errors: list[ApiError] = []

    async def handler(update: Update, tools: Toolbox) -> None:
        try:
            await tools.call("sendMessage", chat_id=update.lane, text="")
        except ApiError as error:
            errors.append(error)
        await tools.call("sendMessage", chat_id=update.lane, text="after the flood")

    async def main() -> None:
        async with running(driver, handler, PollingOptions()) as (simulation, _):
            simulation.message(BOT_ID, "hi")
            await until(lambda: len(errors) == 1)
            await until(lambda: simulation.telegram.pending(BOT_ID) == 0)
        assert (errors[0].code, errors[0].method) == (400, "sendMessage")
        assert "text is empty" in errors[0].description

    check(main())


def test_a_connection_that_went_stale_is_replaced(driver: str) -> None:
    """The server closes what answers; the call is made once more, on a fresh connection, and succeeds."""

    async def main() -> None:
        async with running(driver, echo, PollingOptions()) as (simulation, _):
            simulation.message(BOT_ID, "1")
            await until(lambda: len(calls(simulation, "sendMessage")) == 1)
            simulation.telegram.set_fault(BOT_ID, Fault("close", method="sendMessage"))
            simulation.message(BOT_ID, "2")
            await until(lambda: len(calls(simulation, "sendMessage")) == 3)
            await until(lambda: simulation.telegram.pending(BOT_ID) == 0)

    check(main())


def test_strangers_get_a_proper_status_and_the_bot_goes_on(driver: str) -> None:
    """Rubbish, wrong paths, methods, secrets and types, half-closed and broken off requests."""
    update = json.dumps({"update_id": 1, "message": {"chat": {"id": 1}, "text": "forged"}}).encode()

    def post(path: str, body: bytes, *headers: str, method: str = "POST") -> bytes:
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    json_type = "Content-Type: application/json"
    cases = [
        (post("/hook", update, json_type), b"401"),
        (post("/hook", update, json_type, "X-Telegram-Bot-Api-Secret-Token: wrong"), b"401"),
        (post("/hook", update, json_type, "X-Telegram-Bot-Api-Secret-Token: \xe9"), b"401"),
        (post("/other", update, json_type), b"404"),
        (post("/hook", b"", method="GET"), b"405"),
        (post("/hook", b"x" * 10, json_type).replace(b"Content-Length: 10", b"Content-Length: 99999999"), b"401"),
        (b"rubbish\r\n\r\n", b"400"),
        (b"GET / HTTP/9.9\r\n\r\n", b"505"),
        (b"POST /hook HTTP/1.1\r\nHost: x\r\n" + b"x: " + b"y" * 40_000 + b"\r\n\r\n", b"431"),
    ]

    def ask(port: int, data: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := sock.recv(4_096):
                answer += piece
            return answer

    async def main() -> None:
        async with running(driver, echo, WebhookOptions(path="/hook")) as (simulation, bot):
            for data, status in cases:
                answer = await asyncio.to_thread(ask, bot.port, data)
                assert answer.split()[1:2] == [status], (data[:60], answer)
            simulation.message(BOT_ID, "real")
            await until(lambda: simulation.telegram.pending(BOT_ID) == 0)
            assert [call.params["text"] for call in calls(simulation, "sendMessage")] == ["real"]

    check(main())


def test_health_is_served(driver: str) -> None:
    """/healthz says that updates are being carried."""
    from hookline_io.common import listen

    probe = listen("127.0.0.1", 0)
    address = probe.getsockname()[:2]
    probe.close()

    def ask() -> bytes:
        with socket.create_connection(address, timeout=5) as sock:
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = b""
            while piece := sock.recv(4_096):
                answer += piece
            return answer

    async def main() -> None:
        async with running(driver, echo, PollingOptions(), health=address):
            answer = await asyncio.to_thread(ask)
            assert answer.startswith(b"HTTP/1.1 200")
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["healthy"] is True

    check(main())


@pytest.mark.parametrize("source", SOURCES)
def test_a_stop_under_load_loses_and_repeats_nothing(driver: str, source: Any) -> None:
    """What was begun is finished and confirmed; another bot gets the rest, each update once."""
    handled: list[int] = []

    async def handler(update: Update, tools: Toolbox) -> None:
        await tools.sleep(0.05)
        handled.append(update.update_id)

    async def main() -> None:
        from tests.drivers.bench import Bot

        async with running(driver, handler, source) as (simulation, bot):
            ids = [simulation.message(BOT_ID, str(number), user=1 + number % 5) for number in range(50)]
            await until(lambda: len(handled) >= 10)
            await bot.stop()
            assert len(handled) < 50
            second: Handler = handler
            other = Bot(driver, simulation.root, second, source)
            await until(lambda: len(handled) >= 50)
            await until(lambda: simulation.telegram.pending(BOT_ID) == 0)
            await other.stop()
        assert Counter(handled) == Counter(ids)

    check(main())
