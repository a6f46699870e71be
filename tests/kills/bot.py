"""A bot with an inbox that writes a journal, for the tests that kill it. Its environment says what it is.

BOT_TOKEN, BOT_API_ROOT, INBOX (its address), DRIVER (asyncio, trio or blocking), PORT (of its webhook; without, it
polls), JOURNAL: a file to which each run of the handler adds a line when it begins and another when it ends, or is
cancelled. A line that was written outlasts the process, other than what the process still had to write. ROLE: "receive"
has no handler, "work" has nothing else; without, it does both. HASTE: of an inbox that is shared, how many times
sooner than usual a lease ends.

A handler takes a moment; one of the message "slow" takes a good while, and in the midst of it one of "poison" ends the
process.
"""

from __future__ import annotations

import logging
import os
import time
from random import Random
from typing import Any, Final

import anyio

from hookline import ApiOptions, PollingOptions, Update, WebhookOptions, WorkOptions

TOKEN: Final = os.environ["BOT_TOKEN"]
API: Final = ApiOptions(root=os.environ["BOT_API_ROOT"])
INBOX: Final = os.environ["INBOX"]
LONGEST: Final = 0.05
"""Seconds that a handler takes at most."""

_journal = os.open(os.environ["JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def note(what: str, update: Update) -> None:
    """Add a line to the journal."""
    os.write(_journal, f"{what} {os.getpid()} {update.lane} {update.payload['text']}\n".encode())


def takes(update: Update) -> float:
    """The seconds that the handler takes for an update."""
    return {"slow": 0.6, "poison": 0.3}.get(update.payload["text"], Random(update.update_id).random() * LONGEST)


def swallow(update: Update) -> None:
    """What is poison ends the process."""
    if update.payload["text"] == "poison":
        os._exit(3)


async def handler(update: Update, api: Any) -> None:
    """The bot, for asyncio and trio."""
    note("begin", update)
    try:
        await anyio.sleep(takes(update))
    except BaseException:
        note("cut", update)
        raise
    swallow(update)
    note("end", update)


def blocking_handler(update: Update, api: Any) -> None:
    """The bot, for the blocking driver."""
    note("begin", update)
    time.sleep(takes(update))
    swallow(update)
    note("end", update)


def main() -> None:
    """Run until a signal."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(message)s")
    port, role = os.environ.get("PORT"), os.environ.get("ROLE")
    haste = float(os.environ.get("HASTE", "1"))
    if haste != 1:
        from hookline_io.stores import postgresql

        for name in ("LEASE", "STOP_AFTER", "LOOK_EVERY"):
            setattr(postgresql, name, getattr(postgresql, name) / haste)
    options: Any = WebhookOptions(concurrency=20) if port else PollingOptions(concurrency=20)
    settings: dict[str, Any] = {"inbox": INBOX, "api": API}
    if port:
        settings |= {"listen": ("127.0.0.1", int(port)), "url": f"http://127.0.0.1:{port}/"}
    entry = "serve_webhook" if port else "run_polling"
    if role == "work":
        entry, options = "run_worker", WorkOptions(concurrency=4)
    asynchronous = None if role == "receive" else handler
    if os.environ["DRIVER"] == "blocking":
        from hookline_io import blocking

        getattr(blocking, entry)(None if role == "receive" else blocking_handler, TOKEN, options, **settings)
    elif os.environ["DRIVER"] == "trio":
        import trio

        import hookline_io.trio

        trio.run(lambda: getattr(hookline_io.trio, entry)(asynchronous, TOKEN, options, **settings))
    else:
        import asyncio

        import hookline_io.asyncio

        asyncio.run(getattr(hookline_io.asyncio, entry)(asynchronous, TOKEN, options, **settings))


if __name__ == "__main__":
    main()
