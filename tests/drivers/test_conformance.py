"""What every driver does alike: one suite for asyncio on each of its loops, trio and blocking sockets, on loopback."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import socket
import ssl
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hookline import (
    REPLIED,
    ApiError,
    InputFile,
    NetworkError,
    PollingOptions,
    SetWebhookOptions,
    Update,
    WebhookOptions,
)
from hookline.sim import Fault
from hookline_io.simulation import serve_simulation
from tests.drivers.bench import (
    BOT_ID,
    DRIVERS,
    TOKEN,
    Bot,
    Native,
    Toolbox,
    calls,
    natively,
    running,
    until,
    use_api,
)
from tests.drivers.script import read_all
from tests.ports import free_port

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
def test_a_handler_that_raises_does_not_stop_the_bot(
    driver: str, source: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """By polling the update counts as handled; by webhook Telegram sends it again. The log shows where it raised."""
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
    (said,) = [record.getMessage().split("\n") for record in caplog.records if "ValueError" in record.getMessage()]
    assert said[1] == "Traceback (most recent call last):"
    assert "hookline_io" not in said[2]
    assert said[-1] == "ValueError: no such thing"


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


def test_a_call_has_a_time_limit(driver: str) -> None:
    """A server that never answers costs no more than the time that the call was given."""
    errors: list[NetworkError] = []

    async def handler(update: Update, tools: Toolbox) -> None:
        try:
            await tools.call("sendMessage", chat_id=update.lane, text="hello?", within=0.2)
        except NetworkError as error:
            errors.append(error)

    async def main() -> None:
        async with running(driver, handler, PollingOptions()) as (simulation, _):
            simulation.telegram.set_fault(BOT_ID, Fault("silent", method="sendMessage"))
            simulation.message(BOT_ID, "hi")
            await until(lambda: simulation.telegram.pending(BOT_ID) == 0)
        assert "no answer within the call's timeout" in str(errors[0])

    check(main())


def test_a_big_file_goes_up_and_comes_down_in_pieces(driver: str) -> None:
    """Neither is ever in memory as a whole here."""
    size = 8_000_000
    wanted: list[int] = []
    written: list[int] = []

    class Up(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            wanted.append(-1 if size is None else size)
            return super().read(size)

    class Down(io.BytesIO):
        def write(self, data: Any) -> int:
            written.append(len(data))
            return super().write(data)

    async def handler(update: Update, tools: Toolbox) -> None:
        file = InputFile(Up(bytes(size)), "big.bin")
        message = await tools.call("sendDocument", chat_id=update.lane, document=file)
        found = await tools.call("getFile", file_id=message["document"]["file_id"])
        await tools.download(found["file_path"], Down())

    async def main() -> None:
        async with running(driver, handler, PollingOptions()) as (simulation, _):
            simulation.message(BOT_ID, "big")
            await until(lambda: simulation.telegram.pending(BOT_ID) == 0)

    check(main())
    assert set(wanted) == {65_536}
    assert sum(written) == size
    assert max(written) <= 262_144


def test_a_file_is_not_read_faster_than_it_is_taken(driver: str, server: socket.socket) -> None:
    """Telegram that takes nothing keeps the rest of it on the disk."""
    read: list[int] = []

    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            read.append(size)
            return bytes(size) if sum(read) < 200_000_000 else b""

    async def work(tools: Toolbox) -> None:
        with pytest.raises(NetworkError):
            await tools.call("sendDocument", document=InputFile(Endless(), "endless"), chat_id=1, within=0.5)

    use_api(driver, "http://{}:{}".format(*server.getsockname()), work)
    assert 0 < sum(read) < 50_000_000


def test_a_destination_that_fails_ends_its_download_alone(driver: str) -> None:
    """What it raised comes out, and the next call is made."""

    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(28, "No space left on device")

    async def handler(update: Update, tools: Toolbox) -> None:
        message = await tools.call("sendDocument", chat_id=update.lane, document=InputFile(bytes(3_000_000), "a.bin"))
        found = await tools.call("getFile", file_id=message["document"]["file_id"])
        with pytest.raises(OSError, match="No space left"):
            await tools.download(found["file_path"], Full())
        await tools.call("sendMessage", chat_id=update.lane, text="it is too big")

    async def main() -> None:
        async with running(driver, handler, PollingOptions()) as (simulation, _):
            simulation.message(BOT_ID, "hi")
            await until(lambda: simulation.telegram.pending(BOT_ID) == 0)
            assert len(calls(simulation, "sendMessage")) == 1

    check(main())


@pytest.mark.parametrize("when", ["idle", "under the next call"])
def test_a_connection_that_the_server_closed_is_replaced_and_each_call_made_once(
    driver: str, server: socket.socket, when: str
) -> None:
    """Whether the end of a kept connection is known when the next call is made, or meets it on its way."""
    made: list[bytes] = []

    def answer(peer: socket.socket) -> None:
        request = b""
        while not request.endswith(b"}"):
            request += peer.recv(65_536)
        made.append(request.partition(b"\r\n\r\n")[2])
        peer.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n{"ok":true,"result":true}')

    def serve() -> None:
        peer, _ = server.accept()
        with peer:
            answer(peer)
            if when != "idle":
                peer.recv(1, socket.MSG_PEEK)
        peer, _ = server.accept()
        with peer:
            answer(peer)

    async def work(tools: Toolbox) -> None:
        await tools.call("setMyName", name="1")
        if when == "idle":
            await tools.sleep(0.1)
        await tools.call("setMyName", name="2")

    serving = threading.Thread(target=serve, daemon=True)
    serving.start()
    use_api(driver, "http://{}:{}".format(*server.getsockname()), work)
    serving.join(5)
    assert made == [b'{"name":"1"}', b'{"name":"2"}']


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


@pytest.mark.parametrize("source", SOURCES)
def test_health_is_served(driver: str, source: Any) -> None:
    """/healthz says that updates are being carried."""
    health: dict[str, Any] = {"health": ("127.0.0.1", free_port())} if isinstance(source, PollingOptions) else {}

    def ask(address: tuple[str, int]) -> bytes:
        with socket.create_connection(address, timeout=5) as sock:
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return read_all(sock)

    async def main() -> None:
        async with running(driver, echo, source, **health) as (_, bot):
            answer = await asyncio.to_thread(ask, health.get("health", ("127.0.0.1", bot.port)))
            assert answer.startswith(b"HTTP/1.1 200")
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["healthy"] is True

    check(main())


@pytest.mark.parametrize("delete", [False, True])
def test_the_webhook_is_set_with_a_secret_and_stays_at_the_stop_unless_it_is_to_be_deleted(
    driver: str, delete: bool
) -> None:
    """Nobody has to think of a secret, and nothing is lost between two runs."""

    async def main() -> None:
        port = free_port()
        url = SetWebhookOptions(url=f"http://127.0.0.1:{port}/hook", delete_at_stop=delete)
        options = WebhookOptions(path="/hook")
        async with running(driver, echo, options, listen=("127.0.0.1", port), url=url) as (simulation, bot):
            (call,) = calls(simulation, "setWebhook")
            assert call.params["url"] == url.url
            assert len(call.params["secret_token"]) >= 32
            simulation.message(BOT_ID, "hi")
            await until(lambda: simulation.telegram.pending(BOT_ID) == 0)
            await bot.stop()
            assert simulation.telegram.webhook_info(BOT_ID)["url"] == ("" if delete else url.url)

    check(main())


@pytest.mark.parametrize("source", SOURCES)
def test_tls_is_spoken_to_telegram_and_with_it(
    driver: str, source: Any, certificate: tuple[str, str], trusting: ssl.SSLContext
) -> None:
    """Both ends with a certificate of our own; files and many pieces go through it too."""
    simulated: dict[str, Any] = {"certificate": certificate, "tls": trusting}
    own = {"certificate": certificate} if isinstance(source, WebhookOptions) else {}
    received: list[bytes] = []

    async def handler(update: Update, tools: Toolbox) -> None:
        file = InputFile(io.BytesIO(b"content" * 300_000), "a.bin")
        message = await tools.call("sendDocument", chat_id=update.lane, document=file)
        found = await tools.call("getFile", file_id=message["document"]["file_id"])
        destination = io.BytesIO()
        await tools.download(found["file_path"], destination)
        received.append(destination.getvalue())

    async def main() -> None:
        async with running(driver, handler, source, simulated, tls=trusting, **own) as (simulation, _):
            assert simulation.root.startswith("https://")
            for number in range(3):
                simulation.message(BOT_ID, "hi", user=number + 1)
            await until(lambda: simulation.telegram.pending(BOT_ID) == 0)

    check(main())
    assert received == [b"content" * 300_000] * 3


def test_a_server_that_nobody_vouches_for_is_not_spoken_to(driver: str, certificate: tuple[str, str]) -> None:
    """The error says why."""

    async def work(tools: Toolbox) -> None:
        with pytest.raises(NetworkError, match=r"TLS: .*certificate"):
            await tools.call("getMe")

    async def main() -> None:
        async with serve_simulation(certificate=certificate) as simulation:
            await asyncio.to_thread(use_api, driver, simulation.root, work)
            assert simulation.telegram.calls(BOT_ID) == []

    check(main())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_gracefully(driver: str, number: signal.Signals) -> None:
    """The request that runs is answered; afterwards signals do again what they did before."""
    answers: list[bytes] = []
    body = json.dumps({"update_id": 1, "message": {"chat": {"id": 1}, "text": "hi"}}).encode()
    head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"

    async def handler(update: Update, tools: Toolbox) -> None:
        os.kill(os.getpid(), number)
        await tools.sleep(0.1)

    def ask(address: tuple[str, int]) -> None:
        with socket.create_connection(address) as sock:
            sock.sendall(head.encode() + body)
            answers.append(read_all(sock))

    def use(native: Native) -> Any:
        return native.driver.serve_webhook(
            native.handler(handler),
            TOKEN,
            WebhookOptions(),
            listen=("127.0.0.1", 0),
            started=lambda address: asking.submit(ask, address),
        )

    before = signal.getsignal(number)
    with ThreadPoolExecutor() as asking:
        natively(driver, use)
    assert answers[0].startswith(b"HTTP/1.1 200 ")
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("source", SOURCES)
def test_a_stop_under_load_loses_and_repeats_nothing(driver: str, source: Any) -> None:
    """What was begun is finished and confirmed; another bot gets the rest, each update once."""
    handled: list[int] = []

    async def handler(update: Update, tools: Toolbox) -> None:
        await tools.sleep(0.05)
        handled.append(update.update_id)

    async def main() -> None:
        async with running(driver, handler, source) as (simulation, bot):
            ids = [simulation.message(BOT_ID, str(number), user=1 + number % 5) for number in range(50)]
            await until(lambda: len(handled) >= 10)
            await bot.stop()
            assert len(handled) < 50
            other = Bot(driver, simulation.root, handler, source)
            await until(lambda: len(handled) >= 50)
            await until(lambda: simulation.telegram.pending(BOT_ID) == 0)
            await other.stop()
        assert Counter(handled) == Counter(ids)

    check(main())
