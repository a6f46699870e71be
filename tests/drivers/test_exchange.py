"""`Exchange`, by every driver: a webhook behind a server that is not ours, its requests and answers as values."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal

from hookline import (
    ApiOptions,
    LocalProtocolError,
    OptionError,
    Request,
    Response,
    RunFailed,
    Update,
    WebhookOptions,
    WebhookTimeout,
)
from hookline.trace import read_trace, replay
from hookline_io import asyncio as asyncio_driver
from hookline_io import blocking
from hookline_io.testing import LoopbackTelegram
from tests.drivers.bench import DRIVERS, TOKEN, Handler, Native, Toolbox, natively

pytestmark = pytest.mark.parametrize("driver", DRIVERS)

HANDLED = Response(200, (("content-length", "0"),))
UNAVAILABLE = Response(503, (("retry-after", "5"), ("content-length", "0")))


def post(update_id: int, text: str = "hi", *, chat: int = 1, secret: str | None = None) -> Request:
    message = {"message_id": 1, "chat": {"id": chat, "type": "private"}, "text": text}
    body = json.dumps({"update_id": update_id, "message": message}).encode()
    headers = [("content-type", "application/json")]
    if secret is not None:
        headers.append(("x-telegram-bot-api-secret-token", secret))
    return Request("POST", "/", tuple(headers), (body,))


class Host:
    """An exchange in a thread of its own, and what asks it from the test's thread."""

    def __init__(self, driver: str, handler: Handler, options: WebhookOptions, settings: dict[str, Any]) -> None:
        self.exchange: Any = None
        self.failure: BaseException | None = None
        self._ask: Callable[[Request], Future[Response]]
        self._handler, self._options, self._settings = handler, options, settings
        self._up, self._leave = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._live, args=(driver,), daemon=True)
        self._thread.start()
        assert self._up.wait(10.0)

    def ask(self, request: Request) -> Future[Response]:
        """Ask; the answer comes later."""
        return self._ask(request)

    def answer(self, request: Request) -> Response:
        """Ask, and wait for the answer."""
        return self._ask(request).result(10.0)

    def stop(self) -> None:
        """Leave the exchange's context, and wait for its end."""
        self._leave.set()
        self._thread.join(10.0)
        assert not self._thread.is_alive()

    def _live(self, driver: str) -> None:
        try:
            natively(driver, self._carry)
        except BaseException as error:
            self.failure = error
        self._up.set()

    def _carry(self, native: Native) -> Any:
        made = native.driver.Exchange(native.handler(self._handler), TOKEN, self._options, **self._settings)
        return self._in_threads(made) if native.blocking else self._in_loop(made)

    def _in_threads(self, made: blocking.Exchange) -> None:
        with ThreadPoolExecutor(8) as threads, made as self.exchange:
            self._ask = lambda request: threads.submit(made, request)
            self._up.set()
            self._leave.wait()

    async def _in_loop(self, made: asyncio_driver.Exchange) -> None:
        from anyio import to_thread

        async with made as self.exchange, BlockingPortal() as portal:
            self._ask = lambda request: portal.start_task_soon(made, request)
            self._up.set()
            await to_thread.run_sync(self._leave.wait)


@contextmanager
def hosting(driver: str, handler: Handler, telegram: LoopbackTelegram | None = None, **settings: Any) -> Iterator[Host]:
    """An exchange that must end well."""
    options = settings.pop("options", WebhookOptions())
    settings["api"] = ApiOptions(root="http://127.0.0.1:9" if telegram is None else telegram.root)
    host = Host(driver, handler, options, settings)
    try:
        yield host
    finally:
        host.stop()
        if host.failure is not None:
            raise host.failure


async def nothing(update: Update, tools: Toolbox) -> None:
    """A handler."""


class Gate:
    """A handler that waits, until the test lets it go on."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0
        self.open = threading.Event()

    async def __call__(self, update: Update, tools: Toolbox) -> None:
        self.begun += 1
        while not self.open.is_set():
            await tools.sleep(0.005)
        self.ended += 1


def test_a_request_is_answered_when_its_update_was_handled(driver: str, telegram: LoopbackTelegram) -> None:
    async def handler(update: Update, tools: Toolbox) -> None:
        await tools.call("sendMessage", chat_id=update.lane, text=update.payload["text"])

    with hosting(driver, handler, telegram) as host:
        assert host.answer(post(1, "echo")) == HANDLED
        assert telegram.texts() == ["echo"]


def test_many_requests_wait_at_the_same_time(driver: str) -> None:
    gate = Gate()
    with hosting(driver, gate) as host:
        answers = [host.ask(post(number, chat=number)) for number in range(1, 7)]
        gate.open.set()
        assert [answer.result(10.0) for answer in answers] == [HANDLED] * 6
        assert gate.ended == 6


def test_what_is_no_update_of_telegrams_is_rejected(driver: str) -> None:
    with hosting(driver, nothing, options=WebhookOptions(secret_token="secret")) as host:
        assert host.answer(post(1)).status == 401
        assert host.answer(Request("GET", "/")).status == 405


def test_the_time_that_is_up_is_raised_in_the_host_and_a_redelivery_joins_the_run(driver: str) -> None:
    gate = Gate()
    with hosting(driver, gate, options=WebhookOptions(timeout=0.05)) as host:
        with pytest.raises(WebhookTimeout, match="update 1 did not end"):
            host.answer(post(1))
        gate.open.set()
        assert host.answer(post(1)) == HANDLED
        assert gate.begun == 1


def test_a_call_travels_in_the_answer(driver: str) -> None:
    results: list[Any] = []

    async def handler(update: Update, tools: Toolbox) -> None:
        results.append(await tools.call("sendMessage", chat_id=1, text="reply"))

    with hosting(driver, handler, reply_with=lambda method: True) as host:
        answer = host.answer(post(1))
        (body,) = answer.body
        assert isinstance(body, bytes)
        assert json.loads(body) == {"method": "sendMessage", "chat_id": 1, "text": "reply"}


def test_a_request_that_is_cancelled_leaves_its_run_alone(driver: str) -> None:
    if driver == "blocking":
        pytest.skip("a call that waits in a thread cannot be cancelled")
    gate = Gate()
    with hosting(driver, gate) as host:
        first = host.ask(post(1))
        while not gate.begun:
            assert not first.done()
        first.cancel()
        second = host.ask(post(1))
        gate.open.set()
        assert second.result(10.0) == HANDLED
        assert gate.begun == 1


def test_at_the_end_handlers_get_their_grace_time_and_new_requests_503(driver: str) -> None:
    gate = Gate()
    host = Host(driver, gate, WebhookOptions(timeout=0.05), {})
    with suppress(WebhookTimeout):
        host.answer(post(1))
    host._leave.set()
    gate.open.set()
    host.stop()
    assert host.failure is None
    assert gate.ended == 1


def test_a_handler_that_does_not_end_is_left_at_the_end_of_the_grace_time(driver: str) -> None:
    gate = Gate()
    host = Host(driver, gate, WebhookOptions(timeout=0.05, grace=0.1), {})
    with suppress(WebhookTimeout):
        host.answer(post(1))
    host.stop()
    assert host.failure is None
    assert gate.ended == 0
    gate.open.set()


def test_the_webhook_is_set_with_the_secret_token_that_is_checked(driver: str, telegram: LoopbackTelegram) -> None:
    with hosting(driver, nothing, telegram, url="http://127.0.0.1:9/hook") as host:
        telegram.wait_until(lambda: telegram.calls("setWebhook") != [])
        (call,) = telegram.calls("setWebhook")
        secret = call.params["secret_token"]
        assert host.answer(post(1)).status == 401
        assert host.answer(post(1, secret=secret)) == HANDLED


def test_a_webhook_that_cannot_be_set_is_said_at_once_and_at_the_end(
    driver: str, telegram: LoopbackTelegram, caplog: pytest.LogCaptureFixture
) -> None:
    telegram.go_wrong("error", method="setWebhook", code=401, description="Unauthorized")
    options, api = WebhookOptions(secret_token="s"), ApiOptions(root=telegram.root)
    host = Host(driver, nothing, options, {"url": "http://127.0.0.1:9/hook", "api": api})
    telegram.wait_until(lambda: "the webhook's run has ended" in caplog.text)
    assert host.answer(post(1, secret="s")) == UNAVAILABLE
    host.stop()
    assert isinstance(host.failure, RunFailed)


def test_an_exchange_is_used_once_and_within_its_context(driver: str) -> None:
    seen: list[str] = []

    def use(native: Native) -> Any:
        made = native.driver.Exchange(native.handler(nothing), TOKEN)

        async def in_loop() -> None:
            with pytest.raises(RuntimeError, match="as a context manager"):
                await made(post(1))
            async with made:
                with pytest.raises(LocalProtocolError, match="entered before"):
                    await made.__aenter__()
            assert (await made(post(2))) == UNAVAILABLE
            seen.append(driver)

        if not native.blocking:
            return in_loop()
        with pytest.raises(RuntimeError, match="as a context manager"):
            made(post(1))
        with made, pytest.raises(LocalProtocolError, match="entered before"):
            made.__enter__()
        assert made(post(2)) == UNAVAILABLE
        seen.append(driver)
        return None

    natively(driver, use)
    assert seen == [driver]


def test_a_mistake_in_its_arguments_is_said_when_it_is_made(driver: str) -> None:
    def use(native: Native) -> Any:
        with pytest.raises(OptionError, match="must be a function"):
            native.driver.Exchange("handler", TOKEN)
        with pytest.raises(OptionError, match="token"):
            native.driver.Exchange(native.handler(nothing), "no token")

        async def in_loop() -> None:
            pass

        return None if native.blocking else in_loop()

    natively(driver, use)


def test_its_run_is_recorded_and_replayed_the_same(driver: str, tmp_path: Path) -> None:
    path = tmp_path / "run.trace"
    with hosting(driver, nothing, options=WebhookOptions(secret_token="s" * 20), trace=path) as host:
        assert host.answer(post(1, secret="s" * 20)) == HANDLED
    text = path.read_text("utf-8")
    assert "s" * 20 not in text
    assert '"method":"requested"' in text
    with path.open(encoding="utf-8") as lines:
        assert replay(read_trace(lines)) is None
