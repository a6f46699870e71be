"""The asyncio driver, natively, on each of its loops: the ends that connections and runs have, tasks and contexts."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import io
import logging
import os
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from hookline import LocalProtocolError, NetworkError, PollingOptions, RunFailed, Update, WebhookOptions
from hookline.effects import Cancel, Close, Connect, Effect, Ended, Handle, Pull, Receive, Send
from hookline.http import StreamId
from hookline.outcomes import Cancelled, Raised, Returned
from hookline_io import common
from hookline_io.asyncio import Api, Run, run_polling, serve_webhook
from tests.drivers.bench import ASYNCIO, BOT_ID, TOKEN, Toolbox, calls, run_asyncio, running, until
from tests.drivers.script import UPDATE, Script, connect, end_pipe, flood, read_all, reading_begins, take_answers

Check: TypeAlias = Callable[[Coroutine[Any, Any, Any]], Any]

user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")


@pytest.fixture(params=ASYNCIO)
def check(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Check:
    """Run a coroutine; no task may be left when it has ended, and the loop may have nothing to complain of."""

    async def alone(main: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await main
        finally:
            assert asyncio.all_tasks() == {asyncio.current_task()}

    def run(main: Coroutine[Any, Any, Any]) -> Any:
        with caplog.at_level(logging.WARNING):
            result = run_asyncio(request.param, alone(main))
        assert [record for record in caplog.records if record.name == "asyncio"] == []
        return result

    return run


async def carry(
    machine: Script, handler: Any = None, during: Callable[[Run], Awaitable[None]] | None = None, **kwargs: Any
) -> None:
    """Run a scripted machine to its `Ended`."""
    run = Run(machine, handler, **kwargs)
    run.hear(machine.start)
    ending = asyncio.ensure_future(asyncio.wait_for(run.until_ended(), 10))
    try:
        if during is not None:
            await during(run)
    except BaseException:
        ending.cancel()
        raise
    finally:
        await ending


async def forever(*_: object) -> None:
    """What a handler does that never ends."""
    await asyncio.Event().wait()


async def begun(run: Run) -> None:
    """Let everything begin that can, then stop."""
    for _ in range(5):
        await asyncio.sleep(0)
    run.hear(run.machine.stop)


# The two entries


def test_two_updates_are_answered_and_the_stop_confirms_them() -> None:
    """getMe, deleteWebhook, getUpdates, the handler's calls, and one last getUpdates past both updates."""

    async def echo(update: Update, tools: Toolbox) -> None:
        await tools.call("sendMessage", chat_id=update.lane, text=update.payload["text"])

    async def main() -> None:
        async with running("asyncio", echo, PollingOptions()) as (simulation, bot):
            ids = [simulation.message(BOT_ID, text) for text in ("one", "two")]
            await until(lambda: len(calls(simulation, "sendMessage")) == 2)
            await bot.stop()
            methods = [call.method for call in simulation.telegram.calls(BOT_ID)]
            assert methods[:3] == ["getme", "deletewebhook", "getupdates"]
            last = calls(simulation, "getUpdates")[-1].params
            assert ids[1] is not None
            assert (int(last["offset"]), int(last["timeout"])) == (ids[1] + 1, 0)

    asyncio.run(main())


def test_a_request_is_answered_and_the_stop_ends_the_server(check: Check) -> None:
    """One POST of an update, 200 when its handler has returned."""
    seen: list[int] = []

    async def handler(update: Update, api: Api) -> None:
        seen.append(update.update_id)

    async def main() -> None:
        stop = asyncio.Event()
        address: list[tuple[str, int]] = []
        options = WebhookOptions(path="/hook")
        serving = asyncio.ensure_future(
            serve_webhook(
                handler, TOKEN, options, listen=("localhost", 0), stop=stop, signals=False, started=address.append
            )
        )
        await until(lambda: bool(address))
        body = b'{"update_id": 7, "message": {"chat": {"id": 1}}}'
        head = b"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        reader, writer = await asyncio.open_connection(*address[0])
        writer.write(head % len(body) + body)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        stop.set()
        assert await reader.read() == b""
        writer.close()
        await serving

    check(main())
    assert seen == [7]


def test_a_program_that_fails_when_it_hears_the_address_leaves_nothing_open(check: Check) -> None:
    """`started` is the program's own."""

    def started(address: tuple[str, int]) -> None:
        raise ZeroDivisionError

    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            await serve_webhook(forever, TOKEN, listen=("127.0.0.1", 0), signals=False, started=started)

    check(main())


# Time and errors


def test_the_deadline_is_kept(check: Check) -> None:
    """No sooner, and not twice, although a loop may wake a little early."""
    machine = Script({"tick": [Ended()]})

    async def main() -> None:
        loop = asyncio.get_running_loop()
        machine.deadline = due = loop.time() + 0.05
        await carry(machine)
        assert loop.time() >= due - 0.001

    check(main())
    assert machine.names() == ["start", "tick"]


def test_a_deadline_that_has_gone_by_already_may_be_followed_by_another(check: Check) -> None:
    """uvloop has no timers for what is due: it returns handles of another kind."""
    machine = Script({"tick": [Ended()]})

    async def during(run: Run) -> None:
        machine.deadline = run.loop.time() - 1
        run.hear(machine.later)
        machine.deadline = run.loop.time() + 0.01
        run.hear(machine.later)

    check(carry(machine, None, during))
    assert machine.names() == ["start", "later", "later", "tick"]


@pytest.mark.parametrize(
    "fact", ["start", "tick", "connected", "received", "disconnected", "connect_failed", "finished"]
)
def test_an_error_of_the_machine_ends_the_run_with_it(check: Check, fact: str, server: socket.socket) -> None:
    """A loop would log it, and go on for ever without the fact."""
    orders: dict[str, list[Any]] = {
        "start": [connect(server), Handle(1, UPDATE)],
        "connect_failed": [],
        fact: [ZeroDivisionError("a fault")],
    }
    if fact == "connect_failed":
        orders["start"] = [Connect(1, "x" * 64, 1, False)]
    machine = Script(orders)

    async def handler(update: Update, api: Api) -> None:
        return

    async def main() -> None:
        if fact == "tick":
            machine.deadline = asyncio.get_running_loop().time()

        async def during(run: Run) -> None:
            if fact not in ("received", "disconnected"):
                return
            peer, _ = await asyncio.to_thread(server.accept)
            with peer:
                peer.send(b"x")
                await until(lambda: "received" in machine.names())

        with pytest.raises(ZeroDivisionError, match="a fault"):
            await carry(machine, handler, during)

    check(main())


def test_an_error_of_another_effect_is_not_the_caller_s(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever tells something just then has done nothing wrong: the run ends with it."""
    machine = Script({"start": [Send(1, b"")]})

    async def main() -> None:
        run = Run(machine)
        monkeypatch.setitem(run._perform, Send, lambda effect: 1 / 0)
        run.tell(machine.start)
        with pytest.raises(ZeroDivisionError):
            await run.until_ended()

    check(main())


def test_a_run_that_fails_says_why(check: Check) -> None:
    """`Ended` with a failure is RunFailed."""

    async def main() -> None:
        with pytest.raises(RunFailed, match="the token is revoked"):
            await carry(Script({"start": [Ended("the token is revoked")]}))

    check(main())


# Connections


def test_a_connection_that_is_given_up_at_once_ends_nothing_else(check: Check, server: socket.socket) -> None:
    """`Connect` and `Close` of one list: the task of the connection has hardly begun when it is closed."""
    machine = Script({"start": [connect(server), Close(1)], "stop": [Ended()]})
    check(carry(machine, None, begun))
    assert machine.names() == ["start", "stop"]


def test_a_name_that_is_looked_up_for_ever_does_not_hold_up_the_end(
    check: Check, server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither that of the run nor that of the loop; what is found at last, nobody hears of."""
    machine = Script({"start": [Connect(1, "localhost", server.getsockname()[1], False)], "stop": [Ended()]})
    entered, go_on = threading.Event(), threading.Event()
    native = socket.getaddrinfo

    def slow(host: str, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("flags") != socket.AI_NUMERICHOST:
            entered.set()
            go_on.wait(20)
        return native(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slow)

    async def during(run: Run) -> None:
        await until(entered.is_set)
        run.hear(machine.stop)

    check(carry(machine, None, during))
    assert not go_on.is_set()
    go_on.set()
    assert machine.names() == ["start", "stop"]


def test_the_next_address_is_tried_if_one_is_dead(
    check: Check, server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that does not answer at all."""
    monkeypatch.setattr(common, "CONNECT_TIMEOUT", 0.05)
    machine = Script({"start": [Connect(1, "a.name", 0, False)], "connected": [Close(1), Ended()]})
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.create_connection(full.getsockname()[:2]):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            refusing = probe.getsockname()
        places = [refusing, full.getsockname(), server.getsockname()]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", place) for place in places]

        def look_up(host: str, *args: Any, **kwargs: Any) -> Any:
            if kwargs.get("flags") == socket.AI_NUMERICHOST:
                raise socket.gaierror
            return found

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        check(carry(machine))
    assert machine.names() == ["start", "connected"]


@pytest.mark.parametrize("host", [f"{'x' * 64}.invalid", "", "a..b", "127.0.0.1"])
def test_a_connection_that_cannot_be_opened_is_told_with_its_reason(check: Check, host: str) -> None:
    """Names that are no names, and a port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    machine = Script({"start": [Connect(1, host, port, False)], "connect_failed": [Ended()]})
    check(carry(machine))
    [_, (name, connection, reason)] = machine.told
    assert (name, connection) == ("connect_failed", 1)
    assert reason == "Connection refused" if host == "127.0.0.1" else reason


def test_a_connection_that_the_server_closes_is_closed_here_too(check: Check, server: socket.socket) -> None:
    """The machine gives no `Close` for what has gone by itself: its socket must not stay open for that."""
    machine = Script({"start": [connect(server)], "stop": [Ended()]})

    async def during(run: Run) -> None:
        peer, _ = await asyncio.to_thread(server.accept)
        with peer:
            peer.shutdown(socket.SHUT_WR)
            assert await asyncio.to_thread(read_all, peer) == b""
        await until(lambda: "disconnected" in machine.names())
        run.hear(machine.stop)

    check(carry(machine, None, during))
    assert machine.names() == ["start", "connected", "received", "disconnected", "stop"]
    assert machine.told[3] == ("disconnected", 1, "closed by the other side")


def test_a_dead_path_is_noticed_on_connections_of_both_kinds(check: Check, server: socket.socket) -> None:
    """By keepalive."""
    machine = Script({"start": [connect(server)], "stop": [Ended()]})

    async def during(run: Run) -> None:
        with socket.create_server(("127.0.0.1", 0)) as own:
            run.listen(own.dup())
            with socket.create_connection(own.getsockname()[:2]):
                await until(lambda: {"connected", "accepted"} <= set(machine.names()))
                for link in run._links.values():
                    sock = link.transport.get_extra_info("socket")
                    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                assert len(run._links) == 2
        run.hear(machine.stop)

    machine._numbers = count(2)
    check(carry(machine, None, during))


def test_a_half_closed_client_gets_its_whole_answer(check: Check) -> None:
    """Also one that comes later and that the kernel does not take at once."""
    machine = Script({"later": [Send(1, b"answer" * 2_000_000), Close(1)], "stop": [Ended()]})

    async def during(run: Run) -> None:
        with socket.create_server(("127.0.0.1", 0)) as own:
            run.listen(own.dup())
            with socket.create_connection(own.getsockname()[:2]) as sock:
                sock.shutdown(socket.SHUT_WR)
                await until(lambda: "received" in machine.names())
                run.tell(machine.later)
                assert await asyncio.to_thread(read_all, sock) == b"answer" * 2_000_000
        run.hear(machine.stop)

    check(carry(machine, None, during))
    assert machine.names() == ["start", "accepted", "received", "later", "stop"]


def test_a_client_that_takes_no_answers_is_not_heard(check: Check) -> None:
    """Or each of its requests would leave an answer in memory."""
    machine = Script({"received": [Send(1, bytes(1_000_000))], "stop": [Ended()]})

    async def during(run: Run) -> None:
        with socket.create_server(("127.0.0.1", 0)) as own:
            run.listen(own.dup())
            sent = await asyncio.to_thread(flood, own.getsockname()[:2], 100_000_000)
            assert sent < 100_000_000
            assert machine.names().count("received") < 100
        run.hear(machine.stop)

    check(carry(machine, None, during))


@pytest.mark.parametrize("secure", [False, True])
def test_a_client_that_takes_its_answers_is_heard_again(
    check: Check, secure: bool, certificate: tuple[str, str], trusting: ssl.SSLContext
) -> None:
    """Also the rest of what it sent meanwhile, some of which TLS may hold already."""
    machine = Script({"received": [Send(1, bytes(3_000_000))], "stop": [Ended()]})

    def heard() -> list[int]:
        return [len(told[2]) for told in machine.told if told[0] == "received"]

    async def during(run: Run) -> None:
        with socket.create_server(("127.0.0.1", 0)) as own:
            run.listen(own.dup(), common.server_tls(*certificate) if secure else None)
            await asyncio.to_thread(take_answers, own.getsockname()[:2], 500_000, heard, trusting if secure else None)
        run.hear(machine.stop)

    check(carry(machine, None, during))


def test_closing_sends_the_rest_in_order(check: Check, server: socket.socket) -> None:
    """More than the kernel takes at once arrives whole, and then the end."""
    pieces = [bytes([number]) * 3_000_000 for number in range(4)]
    wanted: list[Effect] = [*(Send(1, piece) for piece in pieces), Close(1)]
    machine = Script({"start": [connect(server)], "connected": wanted, "stop": [Ended()]})

    async def during(run: Run) -> None:
        peer, _ = await asyncio.to_thread(server.accept)
        with peer:
            assert await asyncio.to_thread(read_all, peer) == b"".join(pieces)
        run.hear(machine.stop)

    check(carry(machine, None, during))


def test_closing_has_a_time_limit(check: Check, server: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that does not read cannot hold a connection open for ever."""
    monkeypatch.setattr(common, "FLUSH_TIMEOUT", 0.05)
    machine = Script({"start": [connect(server)], "connected": [Send(1, bytes(20_000_000)), Close(1)]})
    machine._wanted["stop"] = [Ended()]

    async def during(run: Run) -> None:
        peer, _ = await asyncio.to_thread(server.accept)
        with peer:
            await until(lambda: "connected" in machine.names())
            await until(lambda: not run._leaving)
            assert 0 < len(await asyncio.to_thread(read_all, peer)) < 20_000_000
        run.hear(machine.stop)

    check(carry(machine, None, during))


def test_the_end_of_the_run_waits_only_a_while_for_what_was_said_last(
    check: Check, server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer that does not read cannot hold it up."""
    monkeypatch.setattr(common, "CANCEL_PATIENCE", 0.05)
    machine = Script({"start": [connect(server)], "connected": [Send(1, bytes(20_000_000)), Close(1), Ended()]})

    async def main() -> None:
        await carry(machine)
        peer, _ = server.accept()
        with peer:
            assert 0 < len(await asyncio.to_thread(read_all, peer)) < 20_000_000

    check(main())


def test_a_client_that_cannot_be_accepted_does_not_end_the_server(
    check: Check, caplog: pytest.LogCaptureFixture
) -> None:
    """As when no descriptor is left: it is logged, and tried again a little later."""
    tries: list[float] = []

    class Full(socket.socket):
        def accept(self) -> Any:
            tries.append(time.monotonic())
            if len(tries) == 1:
                raise OSError(24, "Too many open files")
            return super().accept()

    machine = Script({"accepted": [Close(1)], "stop": [Ended()]})

    async def during(run: Run) -> None:
        own = Full()
        own.bind(("127.0.0.1", 0))
        own.listen()
        run.listen(own)
        with socket.create_connection(own.getsockname()) as sock:
            assert await asyncio.to_thread(read_all, sock) == b""
        run.hear(machine.stop)

    check(carry(machine, None, during))
    assert tries[-1] - tries[0] > 0.9 * common.ACCEPT_PAUSE  # a loop may fire a little early
    assert "a client could not be accepted: Too many open files" in caplog.text


@pytest.mark.parametrize("turns", range(6))
def test_a_client_that_comes_at_the_end_of_the_run_is_closed(check: Check, turns: int) -> None:
    """In whichever turn of the loop it is being accepted."""
    machine = Script({"stop": [Ended()]})

    async def main() -> list[socket.socket]:
        run = Run(machine)
        with common.listen("127.0.0.1", 0) as own:
            run.listen(own.dup())
            await asyncio.sleep(0.01)
            clients = [socket.create_connection(own.getsockname()[:2]) for _ in range(3)]
            for _ in range(turns):
                await asyncio.sleep(0)
            run.hear(machine.stop)
            await run.until_ended()
        return clients

    for sock in check(main()):
        with sock, contextlib.suppress(ConnectionError):
            assert read_all(sock) == b""
    gc.collect()


# TLS


def test_a_server_that_is_not_trusted_is_told_with_its_reason(
    check: Check, server: socket.socket, certificate: tuple[str, str]
) -> None:
    """The machine hears what a person can act on."""
    machine = Script({"start": [connect(server, tls=True)], "connect_failed": [Ended()]})

    def serve() -> None:
        peer, _ = server.accept()
        with peer, contextlib.suppress(OSError):
            common.server_tls(*certificate).wrap_socket(peer, server_side=True)

    async def main() -> None:
        serving = asyncio.ensure_future(asyncio.to_thread(serve))
        await carry(machine)
        await serving

    check(main())
    assert machine.names() == ["start", "connect_failed"]
    assert machine.told[1][2] == "TLS: unable to get local issuer certificate"


def test_a_handshake_that_hangs_ends_by_the_machine_s_close(check: Check, server: socket.socket) -> None:
    """The machine has the time limit; the server sees the end at once."""
    machine = Script({"start": [connect(server, tls=True)], "give_up": [Close(1)], "stop": [Ended()]})

    async def during(run: Run) -> None:
        peer, _ = await asyncio.to_thread(server.accept)
        with peer:
            assert await asyncio.to_thread(peer.recv, 10_000)  # its first words
            run.tell(machine.give_up)
            with contextlib.suppress(ConnectionError):
                assert await asyncio.to_thread(read_all, peer) == b""
        run.hear(machine.stop)

    check(carry(machine, None, during))
    assert machine.names() == ["start", "give_up", "stop"]


@pytest.mark.parametrize("words", [b"", b"GET / HTTP/1.1\r\n\r\n"])
def test_a_client_that_does_not_finish_its_handshake_is_never_heard_of(
    check: Check, certificate: tuple[str, str], words: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is too slow, or it does not speak TLS; the next one is served."""
    monkeypatch.setattr(common, "HANDSHAKE_TIMEOUT", 0.2)
    machine = Script({"accepted": [Close(2)], "stop": [Ended()]})

    async def during(run: Run) -> None:
        with socket.create_server(("127.0.0.1", 0)) as own:
            run.listen(own.dup(), common.server_tls(*certificate))
            with socket.create_connection(own.getsockname()[:2]) as sock:
                sock.sendall(words)
                with contextlib.suppress(ConnectionError):
                    await asyncio.to_thread(read_all, sock)
            assert "accepted" not in machine.names()
            untrusting = ssl.create_default_context()
            untrusting.check_hostname, untrusting.verify_mode = False, ssl.CERT_NONE
            with socket.create_connection(own.getsockname()[:2]) as sock:
                (await asyncio.to_thread(untrusting.wrap_socket, sock)).close()
            await until(lambda: "accepted" in machine.names())
        run.hear(machine.stop)

    check(carry(machine, None, during))


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 4, 5, 20])
def test_the_end_of_the_run_does_not_wait_for_a_handshake(
    check: Check, certificate: tuple[str, str], turns: int
) -> None:
    """Nor does the end of the loop leave it open."""
    machine = Script({"stop": [Ended()]})

    async def main() -> socket.socket:
        run = Run(machine)
        with common.listen("127.0.0.1", 0) as own:
            run.listen(own.dup(), common.server_tls(*certificate))
            await asyncio.sleep(0.01)
            sock = socket.create_connection(own.getsockname()[:2])
            sock.send(b"\x16")
            for _ in range(turns):
                await asyncio.sleep(0)
            run.hear(machine.stop)
            await asyncio.wait_for(run.until_ended(), 5)
        return sock

    with check(main()) as sock, contextlib.suppress(ConnectionError):
        assert read_all(sock) == b""
    assert machine.names() == ["stop"]
    gc.collect()


# Files


class Stream(io.RawIOBase):
    """A stream of the program's own, whose read does what a test says."""

    def __init__(self, read: Callable[[], Any]) -> None:
        self._read = read

    def read(self, size: int = -1) -> Any:
        return self._read()


@pytest.mark.parametrize(
    ("read", "reason"),
    [
        (lambda: "text", "bytes"),
        (lambda: next(iter([])), "StopIteration"),
        (lambda: 1 / 0, "division by zero"),
    ],
)
def test_a_stream_that_cannot_be_read_is_told(
    check: Check, server: socket.socket, read: Callable[[], Any], reason: str
) -> None:
    """As a file that was opened without "b"; the run must not end by it."""
    machine = Script({"start": [connect(server)], "connected": [Pull(1, StreamId(5), 10)], "pull_failed": [Ended()]})

    async def main() -> None:
        run = Run(machine)
        run.streams[5] = Stream(read)
        run.hear(machine.start)
        await run.until_ended()

    check(main())
    assert reason in machine.told[-1][2]


def test_a_stream_that_never_gives_anything_does_not_hold_up_the_end(check: Check, server: socket.socket) -> None:
    """Neither that of the run nor that of the loop."""
    machine = Script({"start": [connect(server)], "connected": [Pull(1, StreamId(5), 10)], "stop": [Ended()]})
    entered, go_on = threading.Event(), threading.Event()

    def read() -> bytes:
        entered.set()
        go_on.wait(20)
        return b""

    async def main() -> None:
        run = Run(machine)
        run.streams[5] = Stream(read)
        run.hear(machine.start)
        await until(entered.is_set)
        run.hear(machine.stop)
        await asyncio.wait_for(run.until_ended(), 5)

    check(main())
    assert not go_on.is_set()
    go_on.set()


def test_a_pipe_that_nobody_writes_to_does_not_hold_up_the_end(
    check: Check, server: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path can be one; it is closed when it opens at last."""
    entered = reading_begins(monkeypatch)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    machine = Script({"start": [connect(server)], "connected": [Pull(1, pipe, 10)], "stop": [Ended()]})

    async def during(run: Run) -> None:
        await until(entered.is_set)
        run.hear(machine.stop)

    check(carry(machine, None, during))
    end_pipe(pipe)


def test_a_piece_is_read_when_the_one_before_has_left(check: Check, server: socket.socket) -> None:
    """A peer that does not read keeps a big file on the disk."""
    reads: list[int] = []
    pieces: list[Any] = [Send(1, bytes(1_000_000)), Pull(1, StreamId(5), 1_000_000)]
    machine = Script({"start": [connect(server)], "connected": pieces, "pulled": pieces, "stop": [Ended()]})

    def read() -> bytes:
        reads.append(1)
        return b"x"

    async def during(run: Run) -> None:
        run.streams[5] = Stream(read)
        peer, _ = await asyncio.to_thread(server.accept)
        with peer:
            peer.settimeout(5)
            await until(lambda: bool(run._links) and not run._links[1].written.is_set())
            stalled = len(reads)
            assert stalled < 50
            while len(reads) == stalled:
                await asyncio.to_thread(peer.recv, 1_000_000)
        run.hear(machine.stop)

    check(carry(machine, None, during))


# Handlers


def test_a_run_that_is_cancelled_before_its_first_step_is_told_as_cancelled(check: Check) -> None:
    """`Handle` and `Cancel` of one list."""
    machine = Script({"start": [Handle(1, UPDATE), Cancel(1)], "finished": [Ended()]})
    check(carry(machine, forever))
    assert machine.told == [("start",), ("finished", 1, Cancelled())]


def test_a_cancelled_handler_that_fails_while_it_cleans_up_has_raised(check: Check) -> None:
    """The handler has to answer for it, not the run."""
    machine = Script({"start": [Handle(1, UPDATE)], "stop": [Cancel(1)], "finished": [Ended()]})

    async def handler(update: Update, api: Api) -> None:
        try:
            await forever()
        finally:
            raise ValueError("while cleaning up")

    check(carry(machine, handler, begun))
    assert isinstance(machine.told[-1][2], Raised)


def test_a_handler_that_awaits_what_somebody_has_cancelled_has_raised(check: Check) -> None:
    """It was not cancelled itself: that must not be taken for its end in good order."""
    machine = Script({"start": [Handle(1, UPDATE)], "finished": [Ended()]})

    async def handler(update: Update, api: Api) -> None:
        other = asyncio.ensure_future(forever())
        other.cancel()
        await other

    check(carry(machine, handler))
    outcome = machine.told[-1][2]
    assert isinstance(outcome, Raised)
    assert "CancelledError" in outcome.summary


def test_a_handler_that_swallows_its_cancellation_has_returned(check: Check) -> None:
    """It has ended as it wanted to."""
    machine = Script({"start": [Handle(1, UPDATE)], "stop": [Cancel(1)], "finished": [Ended()]})

    async def handler(update: Update, api: Api) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await forever()

    check(carry(machine, handler, begun))
    assert machine.told[-1] == ("finished", 1, Returned())


def test_a_handler_that_cannot_be_called_has_raised(check: Check) -> None:
    """As one that takes no api."""
    machine = Script({"start": [Handle(1, UPDATE)], "finished": [Ended()]})

    async def handler(update: Update) -> None:
        return

    check(carry(machine, handler))
    assert isinstance(machine.told[-1][2], Raised)


def test_handlers_are_cut_off_at_the_end_of_the_run(check: Check) -> None:
    """Also one that fails when it is."""
    machine = Script({"start": [Handle(1, UPDATE)], "stop": [Ended()]})
    cut: list[None] = []

    async def handler(update: Update, api: Api) -> None:
        try:
            await forever()
        finally:
            cut.append(None)
            raise ValueError("while cleaning up")

    check(carry(machine, handler, begun))
    assert cut == [None]


def test_a_handler_that_ignores_its_cancellation_does_not_hold_up_the_end(
    check: Check, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is left behind, which is logged; a call that it makes later fails at once."""
    monkeypatch.setattr(common, "CANCEL_PATIENCE", 0.05)
    machine = Script({"start": [Handle(1, UPDATE)], "stop": [Ended()]})
    errors: list[NetworkError] = []

    async def main() -> None:
        go_on, ended = asyncio.Event(), asyncio.Event()

        async def handler(update: Update, api: Api) -> None:
            while not go_on.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await go_on.wait()
            try:
                await api.call("getMe")
            except NetworkError as error:
                errors.append(error)
            ended.set()

        await carry(machine, handler, begun)
        go_on.set()
        await ended.wait()
        await asyncio.sleep(0)

    check(main())
    assert "stopped" in str(errors[0])
    assert "go on after the end: 1" in caplog.text
    assert machine.names() == ["start", "stop"]


def test_a_handler_that_exits_has_raised(check: Check) -> None:
    """Else each start would end at its update."""
    machine = Script({"start": [Handle(1, UPDATE)], "finished": [Ended()]})

    async def handler(update: Update, api: Api) -> None:
        sys.exit(3)

    check(carry(machine, handler))
    assert machine.told[-1][2].summary == "SystemExit: 3"


def test_a_handler_that_is_interrupted_ends_the_program(
    check: Check, server: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    """As it would from any task of asyncio's; the run is cleared away, and the update is not told as handled."""
    machine = Script({"start": [connect(server)], "connected": [Handle(1, UPDATE)]})

    async def handler(update: Update, api: Api) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(carry(machine, handler))
    assert machine.names() == ["start", "connected"]
    gc.collect()
    assert "go on after the end" not in caplog.text
    assert "never retrieved" not in caplog.text
    peer, _ = server.accept()
    with peer:
        assert read_all(peer) == b""


def test_whatever_a_download_s_destination_raises_is_raised_by_the_download(check: Check) -> None:
    """Also what no future can have."""
    machine = Script({"received": [Receive(1, b"data")], "stop": [Ended()]})
    failed: list[BaseException | None] = []

    async def during(run: Run) -> None:
        for error in (OSError("the disk is full"), StopIteration()):

            def write(data: bytes, error: Exception = error) -> None:
                raise error

            run.sinks[1] = write
            future = run.calls[1] = run.loop.create_future()
            run.hear(machine.received, 1, b"")
            failed.append(future.exception())
        run.hear(machine.stop)

    check(carry(machine, None, during))
    assert [type(error) for error in failed] == [OSError, RuntimeError]


def test_no_handler_sees_what_another_has_in_its_context(check: Check) -> None:
    """Not even where the one's call opened the connection by which the other's update came."""
    seen: list[str] = []
    machine = Script({"start": [Handle(1, UPDATE)], "received": [Handle(2, UPDATE)], "tick": [Handle(3, UPDATE)]})

    async def main() -> None:
        user.set("the program")
        with socket.create_server(("127.0.0.1", 0)) as server:

            def open_connection(call: int, *_: Any, now: float, **__: Any) -> list[Effect]:
                machine.deadline = now
                return [connect(server)]

            machine.call = open_connection  # type: ignore[attr-defined]

            async def handler(update: Update, api: Api) -> None:
                seen.append(user.get())
                user.set(f"handler {len(seen)}")
                if len(seen) == 1:
                    await api.call("getMe")

            async def during(run: Run) -> None:
                peer, _ = await asyncio.to_thread(server.accept)
                with peer:
                    await until(lambda: len(seen) == 2)
                    peer.send(b"x")
                    await until(lambda: len(seen) == 3)
                    machine._wanted = {"stop": [Ended()]}
                    run.hear(machine.stop)

            await carry(machine, handler, during)

    check(main())
    assert seen == ["the program"] * 3


# Cancelled from outside


async def timed_out(work: Coroutine[Any, Any, None]) -> None:
    """By a timeout."""
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(work, 0.1)


async def cancelled(work: Coroutine[Any, Any, None]) -> None:
    """By its task's cancel."""
    task = asyncio.ensure_future(work)
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def cancelled_twice(work: Coroutine[Any, Any, None]) -> None:
    """By somebody in a hurry: what was cut off is gone a little later."""
    others = len(asyncio.all_tasks())
    task = asyncio.ensure_future(work)
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: len(asyncio.all_tasks()) <= others)


async def failing_group(work: Coroutine[Any, Any, None]) -> None:
    """By the failure of its neighbour in a group."""
    if sys.version_info < (3, 11):
        work.close()
        pytest.skip("task groups came with Python 3.11")
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(work)
            await asyncio.sleep(0.1)
            raise ZeroDivisionError
    except BaseException as error:
        assert [type(inner) for inner in getattr(error, "exceptions", ())] == [ZeroDivisionError]  # noqa: PT017


@pytest.mark.parametrize("end", [timed_out, cancelled, cancelled_twice, failing_group])
def test_a_run_that_is_cancelled_leaves_nothing_behind(
    check: Check, server: socket.socket, end: Callable[[Coroutine[Any, Any, None]], Awaitable[None]]
) -> None:
    """Handlers are cancelled, connections closed, calls of others fail."""
    machine = Script({"start": [connect(server), Handle(1, UPDATE)]})
    apis: list[Api] = []
    cut: list[None] = []

    async def handler(update: Update, api: Api) -> None:
        apis.append(api)
        try:
            await forever()
        finally:
            cut.append(None)

    async def main() -> None:
        async def call() -> None:
            with pytest.raises(NetworkError, match="stopped"):
                await apis[0].call("getMe")

        async def during(run: Run) -> None:
            await until(lambda: "connected" in machine.names() and bool(apis))
            calling.append(asyncio.ensure_future(call()))

        calling: list[asyncio.Future[None]] = []
        await end(carry(machine, handler, during))
        await asyncio.gather(*calling)
        peer, _ = server.accept()
        with peer:
            assert await asyncio.to_thread(read_all, peer) == b""

    check(main())
    assert cut == [None]
    assert machine.names()[:1] == ["start"]


def test_an_entry_that_is_cancelled_leaves_nothing_behind(check: Check) -> None:
    """A poll under way, a health check that listens, a signal's handler, a stop that nobody gives."""

    async def main() -> None:
        before = signal.getsignal(signal.SIGTERM)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(
                run_polling(forever, TOKEN, health=("127.0.0.1", 0), stop=asyncio.Event()), timeout=0.1
            )
        assert signal.getsignal(signal.SIGTERM) == before

    check(main())


# Api


def test_an_error_within_the_api_comes_out_as_it_is(check: Check) -> None:
    """The program's own."""

    async def main() -> None:
        with pytest.raises(ValueError, match="the program's own"):
            async with Api(TOKEN):
                raise ValueError("the program's own")

    check(main())


def test_an_api_is_used_once(check: Check) -> None:
    """After its end a call fails at once, and it cannot be entered again."""

    async def main() -> None:
        async with Api(TOKEN) as api:
            with pytest.raises(LocalProtocolError):
                await api.__aenter__()
        with pytest.raises(NetworkError, match="stopped"):
            await api.call("getMe")
        api.stop()
        with pytest.raises(LocalProtocolError):
            await api.__aenter__()

    check(main())
