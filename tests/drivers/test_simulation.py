"""The simulated Telegram, served on loopback by the asyncio driver."""

from __future__ import annotations

import asyncio

from hookline import Request
from hookline_io.simulation import serve_simulation
from tests.drivers.bench import BOT_ID, TOKEN, until
from tests.ports import free_port

NOWHERE = "http://127.0.0.1:9/"


def test_nothing_is_left_of_it_even_while_a_connection_is_being_opened() -> None:
    """A webhook's connection that was asked for just before the end is no task that nobody waits for."""

    async def main() -> None:
        async with serve_simulation() as simulation:
            target = f"/bot{TOKEN}/setWebhook?url={NOWHERE}"
            simulation.tell(lambda now: simulation.telegram.requested(1, Request("GET", target), now))
            assert len(asyncio.all_tasks()) > 1
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_an_endpoint_that_refuses_is_shown_in_the_words_of_the_system() -> None:
    """As getWebhookInfo does (telegram-server.md, 4.8)."""

    async def main() -> None:
        async with serve_simulation() as simulation:
            target = f"/bot{TOKEN}/setWebhook?url=http://127.0.0.1:{free_port()}/"
            simulation.tell(lambda now: simulation.telegram.requested(1, Request("GET", target), now))
            simulation.message(BOT_ID, "hi")
            await until(lambda: "last_error_message" in simulation.telegram.webhook_info(BOT_ID))
            assert simulation.telegram.webhook_info(BOT_ID)["last_error_message"] == "Connection refused"

    asyncio.run(main())
