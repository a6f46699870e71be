"""Any bytes from the other side make the machine want something sensible, and never raise.

    python tests/atheris/fuzz_http.py server [-max_total_time=60 ...]      what a client sends to a webhook
    python tests/atheris/fuzz_http.py client [...]                         what a server sends to a poller

The bytes come in pieces: the first byte of the input says how long they are. What must hold besides: nothing is sent
over a connection after its `Close`, no handler runs for a request without the secret token, and what the machine keeps
of one connection has a limit. Arguments after the side are libFuzzer's.
"""

from __future__ import annotations

import pickle
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["hookline", "h11"]):
    from hookline import Bot, PollingOptions, Token, WebhookOptions
    from hookline.effects import Close, Connect, Effect, Handle, Send

TOKEN = Token(f"42:{'t' * 30}")
KEPT = 2_000_000
"""Bytes that a machine with one connection may take: the largest body, and one that comes after it."""


def pieces(data: bytes) -> list[bytes]:
    """The input's bytes as they arrive."""
    size = data[0] + 1 if data else 1
    return [data[at : at + size] for at in range(1, len(data), size)]


def check(effects: list[Effect], connection: int, closed: bool) -> bool:
    """Whether the connection is closed after these effects."""
    for effect in effects:
        if isinstance(effect, Send) and effect.connection == connection:
            assert not closed, "a write after the end"
        elif isinstance(effect, Close) and effect.connection == connection:
            closed = True
    return closed


def server(data: bytes) -> None:
    """A client of a webhook that does not know the secret token."""
    bot = Bot(TOKEN, WebhookOptions(secret_token="s" * 20, max_body=65_536))
    bot.start(0.0)
    connection = bot.new_connection()
    closed = check(bot.accepted(connection, 0.0), connection, False)
    for number, piece in enumerate(pieces(data)):
        if closed:
            return
        effects = bot.received(connection, piece, number * 0.001)
        assert not any(isinstance(effect, Handle) for effect in effects) or b"s" * 20 in data
        closed = check(effects, connection, closed)
    if not closed:
        assert len(pickle.dumps(bot)) < KEPT
        check(bot.received(connection, b"", 50.0), connection, closed)


def client(data: bytes) -> None:
    """Whatever is behind the Bot API's address."""
    bot = Bot(TOKEN, PollingOptions())
    (connect,) = bot.start(0.0)
    assert isinstance(connect, Connect)
    bot.connected(connect.connection, 0.0)
    closed = False
    for number, piece in enumerate(pieces(data)):
        if closed:
            break
        closed = check(bot.received(connect.connection, piece, number * 0.001), connect.connection, closed)
    bot.disconnected(connect.connection, "reset", 50.0)
    bot.stop(50.0)


BODY = b'{"update_id":1,"message":{"chat":{"id":1},"text":"hi"}}'
SEEDS = {
    "server": [
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 55\r\n\r\n" + BODY,
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"GET /healthz HTTP/1.0\r\n\r\n",
    ],
    "client": [
        b'HTTP/1.1 200 OK\r\nContent-Length: 62\r\n\r\n{"ok":true,"result":{"id":42,"is_bot":true,"first_name":"Bot"}}',
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 502 Bad\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n<p>x\r\n0\r\n\r\n",
    ],
}

if __name__ == "__main__":
    name = sys.argv.pop(1)
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(SEEDS[name]):
            Path(corpus, str(number)).write_bytes(b"\xff" + seed)
        atheris.Setup([*sys.argv, corpus], {"server": server, "client": client}[name])
        atheris.Fuzz()
