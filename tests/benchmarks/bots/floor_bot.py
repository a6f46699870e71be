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


tasks = set()


async def handle(update, caller):
    if work == "sending":
        await caller.call(b"sendMessage", b'{"chat_id":%d,"text":"x"}' % update["message"]["chat"]["id"])
    count()


class Caller(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def call(self, method, body):
        self.answer = asyncio.get_running_loop().create_future()
        self.parser = httptools.HttpResponseParser(self)
        self.body = []
        head = b"host: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        path = b"/bot%b/%b" % (os.environ["BOT_TOKEN"].encode(), method)
        self.transport.write(b"POST %b HTTP/1.1\r\n%b%b" % (path, head, body))
        return self.answer

    def data_received(self, data):
        self.parser.feed_data(data)

    def on_body(self, data):
        self.body.append(data)

    def on_message_complete(self):
        self.answer.set_result(loads(b"".join(self.body))["result"])


async def poll(poller, caller):
    offset = 1
    while True:
        updates = await poller.call(b"getUpdates", b'{"offset":%d,"limit":100,"timeout":30}' % offset)
        for update in updates:
            await handle(update, caller)
        if updates:
            offset = updates[-1]["update_id"] + 1


class Hook(asyncio.Protocol):
    def __init__(self):
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
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def handle(self, update):
        await handle(update, None)
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


async def main():
    loop = asyncio.get_running_loop()
    if work == "webhook":
        server = await loop.create_server(Hook, "127.0.0.1", int(os.environ["PORT"]))
        await server.serve_forever()
    else:
        port = int(os.environ["BOT_API_ROOT"].rpartition(":")[2])
        links = [await loop.create_connection(Caller, "127.0.0.1", port) for _ in range(2)]
        await poll(*(caller for _, caller in links))


if kind == "speed":
    uvloop.run(main())
else:
    asyncio.run(main())
