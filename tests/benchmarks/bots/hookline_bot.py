"""hookline, with what it brings itself (`base`) or with the extra `speed`; `base 100` handles so many chats at once."""

import os
import sys

work, kind = sys.argv[1:]
kind, _, at_once = kind.partition(" ")
if kind == "base":
    sys.modules.update(dict.fromkeys(("orjson", "uvloop")))  # as if they were not installed

import asyncio  # noqa: E402

from counting import Count  # noqa: E402

from hookline import ApiOptions, PollingOptions, WebhookOptions  # noqa: E402
from hookline_io import run_polling, serve_webhook  # noqa: E402

count = Count()
token = os.environ["BOT_TOKEN"]
api = ApiOptions(root=os.environ["BOT_API_ROOT"])


async def nothing(update, api):
    count()


async def send(update, api):
    await api.call("sendMessage", chat_id=update.raw["message"]["chat"]["id"], text="x")
    count()


async def main():
    handler = send if work == "sending" else nothing
    if work == "webhook":
        port = int(os.environ["PORT"])
        options = WebhookOptions(path="/hook", secret_token=os.environ["SECRET"])
        await serve_webhook(handler, token, options, listen=("127.0.0.1", port), api=api)
    else:
        await run_polling(handler, token, PollingOptions(concurrency=int(at_once or 1)), api=api)


if kind == "speed":
    import uvloop

    uvloop.run(main())
else:
    asyncio.run(main())
