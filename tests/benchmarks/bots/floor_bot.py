"""What cannot be saved: a bare protocol that decodes JSON and calls the handler. `base` and `speed` as hookline's."""

import asyncio
import json
import os
import sys

import httptools
from counting import Count

work, kind = sys.argv[1:]
count = Count()
loads = json.loads
if kind == "speed":
    import orjson
    import uvloop

    loads = orjson.loads


async def handle(update):
    count()


class Poller(asyncio.Protocol):
    def __init__(self):
        self.tasks = set()

    def connection_made(self, transport):
        self.transport = transport
        self.ask(1)

    def ask(self, offset):
        self.parser = httptools.HttpResponseParser(self)
        self.body = []
        body = b'{"offset":%d,"limit":100,"timeout":30}' % offset
        head = b"host: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        self.transport.write(b"POST /bot%b/getUpdates HTTP/1.1\r\n" % os.environ["BOT_TOKEN"].encode() + head + body)

    def data_received(self, data):
        self.parser.feed_data(data)

    def on_body(self, data):
        self.body.append(data)

    def on_message_complete(self):
        task = asyncio.ensure_future(self.handle(loads(b"".join(self.body))["result"]))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def handle(self, updates):
        for update in updates:
            await handle(update)
        self.ask(updates[-1]["update_id"] + 1 if updates else 1)


class Hook(asyncio.Protocol):
    def __init__(self):
        self.tasks = set()
        self.body = b""

    def connection_made(self, transport):
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data):
        self.parser.feed_data(data)

    def on_body(self, data):
        self.body += data

    def on_message_complete(self):
        task = asyncio.ensure_future(self.handle(loads(self.body)))
        self.body = b""
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def handle(self, update):
        await handle(update)
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


async def main():
    loop = asyncio.get_running_loop()
    if work == "webhook":
        server = await loop.create_server(Hook, "127.0.0.1", int(os.environ["PORT"]))
        await server.serve_forever()
    else:
        await loop.create_connection(Poller, "127.0.0.1", int(os.environ["BOT_API_ROOT"].rpartition(":")[2]))
        await asyncio.Event().wait()


if kind == "speed":
    uvloop.run(main())
else:
    asyncio.run(main())
