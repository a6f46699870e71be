"""`hookline demo`: a simulated Telegram, an echo bot against it, lively users; then a count of what became of it all.

The bot runs as it would anywhere, by the driver that was asked for, in a thread of its own; the simulation and the
users run here. Every text is sent once and is unlike all others, so the answers that the simulation saw tell what was
lost, repeated or overtaken. Telegram itself gives no order between a message and a button press (telegram-server.md,
4.3): order is counted within each of the two.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from attrs import define, field, frozen

from hookline.errors import OptionError
from hookline.options import ApiOptions, PollingOptions, WebhookOptions
from hookline.updates import Update
from hookline_io import common
from hookline_io.simulation import Simulation, serve_simulation

BOT_ID = 4_200_000_042
TOKEN = f"{BOT_ID}:simulated-token-of-the-demo-bot"
SENDING = 2.0
"""The seconds over which the users send."""
HANDLING = 10.0
"""The seconds that a demo should take, about: more would try the patience of whoever looks."""
MOST_UPDATES = 100
"""More would not show more."""


def suitable_number(users: int, slow: float) -> int:
    """How many updates the users send, unless somebody says: what their chats can handle in HANDLING seconds."""
    return min(MOST_UPDATES, users * max(1, int(HANDLING / slow))) if slow else MOST_UPDATES


@frozen
class Settings:
    """What the demo is to show. slow: seconds that the handler takes."""

    webhook: bool = False
    driver: str = "asyncio"
    users: int = 5
    updates: int = 100
    slow: float = 0.1

    @property
    def patience(self) -> float:
        """Seconds after which the demo stops waiting for answers."""
        return 30.0 + SENDING + 2.0 * self.slow * self.updates

    @property
    def timeout(self) -> float:
        """The webhook's timeout: under `slow` where that is long, so that requests are seen to join."""
        return max(0.5, self.slow / 2)


@define
class Tally:
    """What happened so far. sent: each text and its user, in order. started: how often the handler got each text."""

    sent: list[tuple[str, int]] = field(factory=list)
    started: Counter[str] = field(factory=Counter)
    overlaps: int = 0
    _running: set[Any] = field(factory=set)
    _lock: Any = field(factory=threading.Lock)

    def begins(self, update: Update) -> str:
        """The handler has begun; its text."""
        text = str(update.payload.get("text") or update.payload.get("data"))
        with self._lock:
            self.started[text] += 1
            self.overlaps += update.lane in self._running
            self._running.add(update.lane)
        return text

    def ends(self, update: Update) -> None:
        """The handler has ended."""
        with self._lock:
            self._running.discard(update.lane)


@frozen
class Summary:
    """The count at the end.

    handled: updates that the handler got. twice: those that it got more than once. out_of_order: those that were
    answered before an earlier one of their chat. at_once: those that began while another of their chat was handled.
    """

    sent: int
    handled: int
    answered: int
    twice: int
    out_of_order: int
    at_once: int
    lost: int
    seconds: float

    @property
    def good(self) -> bool:
        """Whether nothing was lost, handled twice, overtaken, or handled together with another of its chat."""
        return self.lost == self.twice == self.out_of_order == self.at_once == 0


def run_demo(settings: Settings, show: Callable[[Tally, list[str]], None]) -> Summary:
    """Run the demo; `show` is called now and then with what was sent and answered so far."""
    return asyncio.run(_run(settings, show))


async def _run(settings: Settings, show: Callable[[Tally, list[str]], None]) -> Summary:
    tally = Tally()
    began = time.monotonic()
    async with serve_simulation() as simulation:
        bot = _Bot(settings, tally, simulation.root)
        bot.start()
        try:
            await _until(partial(bot.ready, simulation), 10.0, lambda: bot.check())
            users = asyncio.create_task(_send(settings, tally, simulation))
            while True:
                answers = _answers(simulation)
                show(tally, answers)
                done = users.done() and len(set(answers)) == len(tally.sent) and not simulation.telegram.pending(BOT_ID)
                if done or time.monotonic() - began > settings.patience:
                    break
                bot.check()
                await asyncio.sleep(0.05)
        finally:
            await asyncio.to_thread(bot.stop)
        bot.check()
        return _summary(settings, tally, simulation, time.monotonic() - began)


async def _send(settings: Settings, tally: Tally, simulation: Simulation) -> None:
    """The users: each writes messages, and presses a button now and then."""
    random = Random(settings.updates)  # noqa: S311 - it decides who presses a button
    for number in range(settings.updates):
        user = 1 + number % settings.users
        text = f"{'press' if random.random() < 0.2 else 'text'} {number} of user {user}"
        tally.sent.append((text, user))
        if text.startswith("press"):
            simulation.button(BOT_ID, text, user=user)
        else:
            simulation.message(BOT_ID, text, user=user)
        await asyncio.sleep(SENDING / settings.updates)


async def _until(condition: Callable[[], bool], patience: float, check: Callable[[], None]) -> None:
    end = time.monotonic() + patience
    while not condition() and time.monotonic() < end:
        check()
        await asyncio.sleep(0.01)


def _answers(simulation: Simulation) -> list[str]:
    return [call.params.get("text", "") for call in simulation.telegram.calls(BOT_ID) if call.method == "sendmessage"]


def _summary(settings: Settings, tally: Tally, simulation: Simulation, seconds: float) -> Summary:
    answers = _answers(simulation)
    places = {text: place for place, (text, _) in enumerate(tally.sent)}
    users = dict(tally.sent)
    seen: dict[tuple[int, bool], int] = defaultdict(lambda: -1)
    out_of_order = 0
    for text in dict.fromkeys(answers):
        key = (users[text], text.startswith("press"))
        out_of_order += places[text] < seen[key]
        seen[key] = max(seen[key], places[text])
    return Summary(
        sent=len(tally.sent),
        handled=len(tally.started),
        answered=len(set(answers)),
        twice=sum(times > 1 for times in tally.started.values()),
        out_of_order=out_of_order,
        at_once=tally.overlaps,
        lost=len(tally.sent) - len(set(answers)),
        seconds=seconds,
    )


class _Bot:
    """The echo bot in its thread, by any of the drivers."""

    def __init__(self, settings: Settings, tally: Tally, root: str) -> None:
        self._settings = settings
        self._tally = tally
        self._api = ApiOptions(root=root)
        self._set_stop: Callable[[], object] = lambda: None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="demo bot", daemon=True)
        probe = common.listen("127.0.0.1", 0)
        self._port: int = probe.getsockname()[1]
        probe.close()

    def start(self) -> None:
        """Start the bot."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the bot gracefully, and wait for it."""
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            self._set_stop()
        self._thread.join(30.0)

    def check(self) -> None:
        """Raise what ended the bot, if anything did."""
        if self._failure is not None:
            raise self._failure

    def ready(self, simulation: Simulation) -> bool:
        """Whether updates can come: the bot polls, or its webhook is set."""
        wanted = "setwebhook" if self._settings.webhook else "getupdates"
        return any(call.method == wanted for call in simulation.telegram.calls(BOT_ID))

    def _run(self) -> None:
        runs = {"asyncio": self._run_asyncio, "trio": self._run_trio, "blocking": self._run_blocking}
        try:
            runs[self._settings.driver]()
        except BaseException as error:
            self._failure = error

    def _run_asyncio(self) -> None:
        from hookline_io import asyncio as driver

        async def main() -> None:
            stop = asyncio.Event()
            loop = asyncio.get_running_loop()
            self._set_stop = lambda: loop.call_soon_threadsafe(stop.set)
            await self._carry(driver, self._async_handler(asyncio.sleep), stop)

        asyncio.run(main())

    def _run_trio(self) -> None:
        try:
            import trio
        except ImportError:
            raise OptionError("the trio driver needs the package trio: pip install 'hookline[trio]'") from None
        from hookline_io import trio as driver

        async def main() -> None:
            stop = trio.Event()
            token = trio.lowlevel.current_trio_token()
            self._set_stop = lambda: token.run_sync_soon(stop.set)
            await self._carry(driver, self._async_handler(trio.sleep), stop)

        trio.run(main)

    def _run_blocking(self) -> None:
        from hookline_io import blocking as driver

        stop = threading.Event()
        self._set_stop = stop.set

        def handler(update: Update, api: Any) -> None:
            text = self._tally.begins(update)
            time.sleep(self._settings.slow)
            if update.kind == "callback_query":
                api.call("answerCallbackQuery", callback_query_id=update.payload["id"])
            api.call("sendMessage", chat_id=update.lane, text=text)
            self._tally.ends(update)

        self._carry(driver, handler, stop)

    def _async_handler(self, sleep: Callable[[float], Any]) -> Callable[[Update, Any], Any]:
        async def handler(update: Update, api: Any) -> None:
            text = self._tally.begins(update)
            await sleep(self._settings.slow)
            if update.kind == "callback_query":
                await api.call("answerCallbackQuery", callback_query_id=update.payload["id"])
            await api.call("sendMessage", chat_id=update.lane, text=text)
            self._tally.ends(update)

        return handler

    def _carry(self, driver: Any, handler: Any, stop: Any) -> Any:
        if not self._settings.webhook:
            options = PollingOptions(concurrency=max(2, self._settings.users))
            return driver.run_polling(handler, TOKEN, options, api=self._api, stop=stop, signals=False)
        return driver.serve_webhook(
            handler,
            TOKEN,
            WebhookOptions(path="/telegram", timeout=self._settings.timeout),
            listen=("127.0.0.1", self._port),
            url=f"http://127.0.0.1:{self._port}/telegram",
            api=self._api,
            stop=stop,
            signals=False,
        )
