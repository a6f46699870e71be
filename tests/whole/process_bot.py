"""A bot as a process of its own, for tests that kill it: it writes down each run of its handler.

    python -m tests.whole.process_bot DRIVER polling|webhook JOURNAL SLOW CONCURRENCY [PORT]

The token and the Bot API's address come from BOT_TOKEN and BOT_API_ROOT. A line "began ID" or "ended ID" of the journal
is on the disk before the handler goes on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from typing import Any

from hookline import ApiOptions, HooklineError, PollingOptions, Update, WebhookOptions


def main(driver: str, source: str, journal: str, slow: float, concurrency: int, port: int) -> None:
    """Run the bot to its end."""
    file = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    token = os.environ["BOT_TOKEN"]
    common: dict[str, Any] = {"api": ApiOptions(root=os.environ["BOT_API_ROOT"])}
    if source == "polling":
        options: Any = PollingOptions(concurrency=concurrency)
        entry = "run_polling"
    else:
        options = WebhookOptions(path="/hook", concurrency=concurrency)
        entry = "serve_webhook"
        common |= {"listen": ("127.0.0.1", port), "url": f"http://127.0.0.1:{port}/hook"}

    def note(what: str, update: Update) -> None:
        os.write(file, f"{what} {update.update_id}\n".encode())

    def blocking_handler(update: Update, api: Any) -> None:
        note("began", update)
        time.sleep(slow)
        api.call("sendMessage", chat_id=update.lane, text=str(update.update_id))
        note("ended", update)

    async def handler(update: Update, api: Any) -> None:
        note("began", update)
        if driver == "trio":
            import trio

            await trio.sleep(slow)
        else:
            await asyncio.sleep(slow)
        await api.call("sendMessage", chat_id=update.lane, text=str(update.update_id))
        note("ended", update)

    if driver == "asyncio":
        from hookline_io import asyncio as on_asyncio

        asyncio.run(getattr(on_asyncio, entry)(handler, token, options, **common))
    elif driver == "trio":
        import trio

        from hookline_io import trio as on_trio

        async def run() -> None:
            await getattr(on_trio, entry)(handler, token, options, **common)

        trio.run(run)
    else:
        from hookline_io import blocking

        getattr(blocking, entry)(blocking_handler, token, options, **common)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    _, driver, source, journal, slow, concurrency, port = sys.argv
    try:
        main(driver, source, journal, float(slow), int(concurrency), int(port))
    except HooklineError as error:
        sys.exit(f"hookline: {error}")
