"""The echo bot: the same handler runs by polling and by webhook."""

from __future__ import annotations

import asyncio
import os

from hookline import ApiOptions, PollingOptions, Update
from hookline_io import Api, run_polling


async def handler(update: Update, api: Api) -> None:
    """Answer a text message with its own text."""
    if update.kind == "message" and "text" in update.payload:
        await api.call("sendMessage", chat_id=update.payload["chat"]["id"], text=update.payload["text"])


if __name__ == "__main__":
    api = ApiOptions(root=os.environ.get("BOT_API_ROOT", "https://api.telegram.org"))
    asyncio.run(run_polling(handler, os.environ["BOT_TOKEN"], PollingOptions(concurrency=10), api=api))
