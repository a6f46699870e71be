"""The trio driver, natively: its two entries once, virtual time, the ends that connections and runs have, contexts."""

from __future__ import annotations

import asyncio
import contextvars
import io
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute

from hookline import LocalProtocolError, NetworkError, PollingOptions, Update, WebhookOptions
from hookline.effects import Cancel, Close, Connect, Effect, Ended, Handle, Pull, Send
from hookline.http import StreamId
from hookline.outcomes import Cancelled, Raised
from hookline_io import common
from hookline_io.trio import Api, Run, _listening, _running, run_polling, serve_webhook
from tests.drivers.bench import BOT_ID, TOKEN, Toolbox, calls, running, until
from tests.drivers.script import UPDATE, Script, connect, end_pipe, flood, read_all, reading_begins

trio = pytest.importorskip("trio")
testing = pytest.importorskip("trio.testing")

user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")


async def carry(machine: Script, handler: Any = None, during: Callable[[Run], Awaitable[None]] | None = None) -> None:
    """Run a scripted machine to its `Ended`."""
    with trio.fail_after(5_000):
        async with _running(machine, handler, None) as run:  # type: ignore[arg-type]
            run.tell(machine.start)
            if during is not None:
                await during(run)
            await run.until_ended()


def test_two_updates_are_answered_and_the_stop_confirms_them() -> None:
    """getMe, deleteWebhook, getUpdates, the handler's calls, and one last getUpdates past both updates."""

    async def echo(update: Update, tools: Toolbox) -> None:
        await tools.call("sendMessage", chat_id=update.lane, text=update.payload["text"])

    async def main() -> None:
        async with running("trio", echo, PollingOptions()) as (simulation, bot):
            ids = [simulation.message(BOT_ID, text) for text in ("one", "two")]
            await until(lambda: len(calls(simulation, "sendMessage")) == 2)
            await bot.stop()
            methods = [call.method for call in simulation.telegram.calls(BOT_ID)]
            assert methods[:3] == ["getme", "deletewebhook", "getupdates"]
            last = calls(simulation, "getUpdates")[-1].params
            assert ids[1] is not None
            assert (int(last["offset"]), int(last["timeout"])) == (ids[1] + 1, 0)

    asyncio.run(main())


def test_a_request_is_answered_and_the_stop_ends_the_server() -> None:
    """One POST of an update, 200 when its handler has returned."""
    seen: list[int] = []

    async def handler(update: Update, api: Api) -> None:
        seen.append(update.update_id)

    async def main() -> None:
        stop = trio.Event()
        address: list[tuple[str, int]] = []

        async def serve() -> None:
            options = WebhookOptions(path="/hook")
            await serve_webhook(
                handler, TOKEN, options, listen=("localhost", 0), stop=stop, signals=False, started=address.append
            )

        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve)
                while not address:
                    await trio.lowlevel.checkpoint()
                body = b'{"update_id": 7, "message": {"chat": {"id": 1}}}'
                head = b"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                async with await trio.open_tcp_stream(*address[0]) as stream:
                    await stream.send_all(head % len(body) + body)
                    assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")
                    stop.set()
                    assert await stream.receive_some() == b""

    trio.run(main)
    assert seen == [7]


def test_the_deadline_is_kept_in_virtual_time() -> None:
    """An hour goes by at once on trio's mock clock."""
    machine = Script({"tick": [Ended()]})

    async def main() -> None:
        machine.deadline = trio.current_time() + 3_600
        await carry(machine)
        assert trio.current_time() >= 3_600

    trio.run(main, clock=testing.MockClock(autojump_threshold=0))
    assert machine.names() == ["start", "tick"]


def test_a_connection_that_is_given_up_at_once_ends_nothing_else(server: socket.socket) -> None:
    """`Connect` and `Close` of one list: the task of the connection has not begun when it is closed."""
    machine = Script({"start": [connect(server), Close(1)], "stop": [Ended()]})

    async def during(run: Run) -> None:
        await testing.wait_all_tasks_blocked()
        run.tell(machine.stop)

    trio.run(carry, machine, None, during)
    assert machine.names() == ["start", "stop"]


@pytest.mark.parametrize("host", [f"{'x' * 64}.invalid", "127.0.0.1"])
def test_a_connection_that_cannot_be_opened_is_told_with_its_reason(host: str) -> None:
    """A name that is no name, and a port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    machine = Script({"start": [Connect(1, host, port, False)], "connect_failed": [Ended()]})
    trio.run(carry, machine)
    assert machine.names() == ["start", "connect_failed"]
    if host == "127.0.0.1":
        assert "refused" in machine.told[1][2].lower()


def test_the_next_address_is_tried_if_one_is_dead(server: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that does not answer at all."""
    monkeypatch.setattr(common, "CONNECT_TIMEOUT", 0.05)
    port = server.getsockname()[1]
    machine = Script({"start": [Connect(1, "a.name", port, False)], "connected": [Close(1), Ended()]})
    connect_tcp = anyio.connect_tcp

    async def reach(host: str, port: int) -> Any:
        if host == "192.0.2.1":
            await trio.sleep_forever()
        if host == "192.0.2.2":
            raise OSError("refused")
        return await connect_tcp(host, port)

    def look_up(host: str, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("flags") == socket.AI_NUMERICHOST and host == "a.name":
            raise socket.gaierror
        hosts = ("192.0.2.1", "192.0.2.2", "127.0.0.1") if host == "a.name" else (host,)
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (host, port)) for host in hosts]

    monkeypatch.setattr(anyio, "connect_tcp", reach)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    trio.run(carry, machine)
    assert machine.names() == ["start", "connected"]


def test_a_run_that_is_cancelled_before_its_first_step_is_told_as_cancelled() -> None:
    """`Handle` and `Cancel` of one list."""
    machine = Script({"start": [Handle(1, UPDATE), Cancel(1)], "finished": [Ended()]})

    async def handler(update: Update, api: Api) -> None:
        await trio.sleep_forever()

    trio.run(carry, machine, handler)
    assert machine.told == [("start",), ("finished", 1, Cancelled())]


def test_a_cancelled_handler_whose_tasks_fail_has_raised() -> None:
    """A group of trio's Cancelled and an error of the handler's own is the handler's to answer for, not the run's."""
    machine = Script({"start": [Handle(1, UPDATE), Cancel(1)], "finished": [Ended()]})

    async def fail_late() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("while cleaning up")

    async def handler(update: Update, api: Api) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_late)
            nursery.start_soon(trio.sleep_forever)

    trio.run(carry, machine, handler)
    assert isinstance(machine.told[1][2], Raised)


def test_handlers_are_cut_off_at_the_end_of_the_run() -> None:
    """Also one that fails when it is."""
    machine = Script({"start": [Handle(1, UPDATE)], "stop": [Ended()]})

    async def handler(update: Update, api: Api) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("while cleaning up")

    async def during(run: Run) -> None:
        await testing.wait_all_tasks_blocked()
        run.tell(machine.stop)

    trio.run(carry, machine, handler, during)


def test_a_handler_that_exits_has_raised() -> None:
    """Else each start would end at its update."""
    machine = Script({"start": [Handle(1, UPDATE)], "finished": [Ended()]})

    async def handler(update: Update, api: Api) -> None:
        sys.exit(3)

    trio.run(carry, machine, handler)
    assert machine.told[-1][2].summary == "SystemExit: 3"


def test_a_handler_that_is_interrupted_ends_the_program() -> None:
    """The exception comes out as it is, not in a group, and the update is not told as handled."""
    machine = Script({"start": [Handle(1, UPDATE)]})
    error = KeyboardInterrupt()

    async def handler(update: Update, api: Api) -> None:
        raise error

    with pytest.raises(KeyboardInterrupt) as caught:
        trio.run(carry, machine, handler)
    assert caught.value is error
    assert machine.names() == ["start"]


@pytest.mark.parametrize("fact", ["start", "tick", "connected", "received", "connect_failed", "finished"])
def test_an_error_of_the_machine_ends_the_run_with_it(fact: str, server: socket.socket) -> None:
    """As it is, not in a group."""
    orders: dict[str, list[Any]] = {"start": [connect(server), Handle(1, UPDATE)]}
    if fact == "connect_failed":
        orders["start"] = [Connect(1, "x" * 64, 1, False)]
    machine = Script(orders | {fact: [ZeroDivisionError("a fault")]})

    def greet() -> None:
        peer, _ = server.accept()
        peer.close()

    async def handler(update: Update, api: Api) -> None:
        return

    async def main() -> None:
        if fact == "tick":
            machine.deadline = trio.current_time()
        async with trio.open_nursery() as nursery:
            if fact == "received":
                nursery.start_soon(trio.to_thread.run_sync, greet)
            with pytest.raises(ZeroDivisionError, match="a fault"):
                await carry(machine, handler)

    trio.run(main)


def test_a_run_that_is_cancelled_leaves_nothing_behind(server: socket.socket) -> None:
    """Handlers are cancelled, connections closed, calls of others fail, also those that are made later."""
    machine = Script({"start": [connect(server), Handle(1, UPDATE)]})
    apis: list[Api] = []

    async def handler(update: Update, api: Api) -> None:
        apis.append(api)
        await trio.sleep_forever()

    async def call() -> None:
        with pytest.raises(NetworkError, match="stopped"):
            await apis[0].call("getMe")

    async def main() -> None:
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                with trio.CancelScope() as scope:

                    async def during(run: Run) -> None:
                        while "connected" not in machine.names() or not apis:
                            await trio.lowlevel.checkpoint()
                        nursery.start_soon(call)
                        await testing.wait_all_tasks_blocked()
                        scope.cancel()

                    await carry(machine, handler, during)
            await call()
            peer, _ = server.accept()
            with peer:
                assert await trio.to_thread.run_sync(read_all, peer) == b""

    trio.run(main)


def test_an_entry_that_is_cancelled_leaves_nothing_behind() -> None:
    """A poll under way, a health check that listens, a signal's handler, a stop that nobody gives."""

    async def handler(update: Update, api: Api) -> None:
        return

    async def main() -> None:
        before = signal.getsignal(signal.SIGTERM)
        with trio.move_on_after(0.1):
            await run_polling(handler, TOKEN, health=("127.0.0.1", 0), stop=trio.Event())
        assert signal.getsignal(signal.SIGTERM) == before

    trio.run(main)


def test_a_program_that_fails_when_it_hears_the_address_leaves_nothing_open() -> None:
    """`started` is the program's own."""

    async def handler(update: Update, api: Api) -> None:
        return

    def started(address: tuple[str, int]) -> None:
        raise ZeroDivisionError

    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            await serve_webhook(handler, TOKEN, listen=("127.0.0.1", 0), signals=False, started=started)

    trio.run(main)


def test_no_handler_sees_what_another_has_in_its_context(server: socket.socket) -> None:
    """Not even where the one's call opened the connection by which the other's update came."""
    seen: list[str] = []
    machine = Script({"start": [Handle(1, UPDATE)], "received": [Handle(2, UPDATE)]})
    machine.call = lambda *args, **kwargs: [connect(server)]  # type: ignore[attr-defined]

    async def handler(update: Update, api: Api) -> None:
        seen.append(user.get())
        user.set(f"handler {len(seen)}")
        if len(seen) == 1:
            await api.call("getMe")

    def greet() -> None:
        peer, _ = server.accept()
        with peer:
            peer.send(b"x")
            read_all(peer)

    async def during(run: Run) -> None:
        run.tasks.start_soon(trio.to_thread.run_sync, greet)
        while len(seen) < 2:
            await trio.lowlevel.checkpoint()
        machine._wanted["stop"] = [Close(1), Ended()]
        run.tell(machine.stop)

    async def main() -> None:
        user.set("the program")
        await carry(machine, handler, during)

    trio.run(main)
    assert seen == ["the program"] * 2


def test_closing_sends_the_rest_in_order(server: socket.socket) -> None:
    """More than the kernel takes at once arrives whole, and then the end."""
    pieces = [bytes([number]) * 3_000_000 for number in range(4)]
    wanted: list[Effect] = [*(Send(1, piece) for piece in pieces), Close(1)]
    machine = Script({"start": [connect(server)], "connected": wanted, "stop": [Ended()]})

    def read() -> bytes:
        peer, _ = server.accept()
        with peer:
            return read_all(peer)

    async def during(run: Run) -> None:
        assert await trio.to_thread.run_sync(read) == b"".join(pieces)
        run.tell(machine.stop)

    trio.run(carry, machine, None, during)


def test_closing_has_a_time_limit(server: socket.socket) -> None:
    """A peer that does not read cannot hold a connection open for ever."""
    wanted: list[Effect] = [Send(1, bytes(20_000_000)), Close(1)]
    machine = Script({"start": [connect(server)], "connected": wanted, "stop": [Ended()]})
    clock = testing.MockClock()
    received = 0

    def read() -> int:
        peer, _ = server.accept()
        with peer:
            return len(read_all(peer))

    async def during(run: Run) -> None:
        nonlocal received
        while "connected" not in machine.names():
            await trio.lowlevel.checkpoint()
        await testing.wait_all_tasks_blocked()
        clock.jump(common.FLUSH_TIMEOUT)
        await testing.wait_all_tasks_blocked()
        received = await trio.to_thread.run_sync(read)
        run.tell(machine.stop)

    async def main() -> None:
        await carry(machine, None, during)

    trio.run(main, clock=clock)
    assert 0 < received < 20_000_000


def test_a_stream_of_text_is_told_as_unreadable(server: socket.socket) -> None:
    """A file that was opened without "b" must not end the run."""
    machine = Script({"start": [connect(server)], "connected": [Pull(1, StreamId(5), 10)], "pull_failed": [Ended()]})

    async def main() -> None:
        async with _running(machine, None, None) as run:  # type: ignore[arg-type]
            run.streams[5] = io.StringIO("text")
            run.tell(machine.start)
            await run.until_ended()

    trio.run(main)
    assert "bytes" in machine.told[-1][2]


def test_a_file_is_read_though_all_threads_of_the_program_are_busy(server: socket.socket) -> None:
    machine = Script({"start": [connect(server)], "connected": [Pull(1, StreamId(5), 10)], "pulled": [Ended()]})

    async def main() -> None:
        threads = trio.to_thread.current_default_thread_limiter()
        threads.total_tokens = 1
        await threads.acquire_on_behalf_of(machine)

        async def during(run: Run) -> None:
            run.streams[5] = io.BytesIO(b"data")

        await carry(machine, None, during)

    trio.run(main)
    assert machine.told[-1] == ("pulled", 1, b"data")


def test_a_stream_that_never_gives_anything_does_not_hold_up_the_end(server: socket.socket) -> None:
    """It is the program's own; what it gives later, nobody hears of."""
    machine = Script({"start": [connect(server)], "connected": [Pull(1, StreamId(5), 10)], "stop": [Ended()]})
    entered, go_on = threading.Event(), threading.Event()

    class Silent(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            entered.set()
            go_on.wait(20)
            return b""

    async def during(run: Run) -> None:
        run.streams[5] = Silent()
        await trio.to_thread.run_sync(entered.wait, 5)
        run.tell(machine.stop)

    trio.run(carry, machine, None, during)
    assert not go_on.is_set()
    go_on.set()


def test_a_pipe_that_nobody_writes_to_does_not_hold_up_the_end(
    server: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path can be one; it is closed when it opens at last."""
    entered = reading_begins(monkeypatch)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    machine = Script({"start": [connect(server)], "connected": [Pull(1, pipe, 10)], "stop": [Ended()]})

    async def during(run: Run) -> None:
        await trio.to_thread.run_sync(entered.wait, 5)
        run.tell(machine.stop)

    trio.run(carry, machine, None, during)
    end_pipe(pipe)


def test_a_client_that_takes_no_answers_is_not_heard() -> None:
    """Or each of its requests would leave an answer in memory."""
    machine = Script({"received": [Send(1, bytes(1_000_000))], "stop": [Ended()]})

    async def main() -> None:
        async with _listening("127.0.0.1", 0) as listeners:

            async def during(run: Run) -> None:
                run.tasks.start_soon(run.listen, listeners[0], None)
                address = listeners[0].extra(SocketAttribute.local_address)
                assert await trio.to_thread.run_sync(flood, address, 100_000_000) < 100_000_000
                assert machine.names().count("received") < 100
                run.tell(machine.stop)

            await carry(machine, None, during)

    trio.run(main)


def test_a_half_closed_client_gets_its_whole_answer() -> None:
    """Also one that comes later and that the kernel does not take at once."""
    machine = Script({"later": [Send(1, b"answer" * 2_000_000), Close(1)], "stop": [Ended()]})

    async def main() -> None:
        async with _listening("127.0.0.1", 0) as listeners:

            async def during(run: Run) -> None:
                run.tasks.start_soon(run.listen, listeners[0], None)
                address = listeners[0].extra(SocketAttribute.local_address)
                with socket.create_connection(address) as sock:  # type: ignore[arg-type]
                    sock.shutdown(socket.SHUT_WR)
                    while "received" not in machine.names():
                        await trio.lowlevel.checkpoint()
                    run.tell(machine.later)
                    assert await trio.to_thread.run_sync(read_all, sock) == b"answer" * 2_000_000
                run.tell(machine.stop)

            await carry(machine, None, during)

    trio.run(main)


def test_a_connection_that_the_server_closes_is_closed_here_too(server: socket.socket) -> None:
    """The machine gives no `Close` for what has gone by itself: its socket must not stay open for that."""
    machine = Script({"start": [connect(server)], "stop": [Ended()]})

    def end() -> bytes:
        peer, _ = server.accept()
        with peer:
            peer.shutdown(socket.SHUT_WR)
            return read_all(peer)

    async def during(run: Run) -> None:
        assert await trio.to_thread.run_sync(end) == b""
        run.tell(machine.stop)

    trio.run(carry, machine, None, during)
    assert machine.names() == ["start", "connected", "received", "disconnected", "stop"]


def test_a_client_that_cannot_be_accepted_does_not_end_the_server(caplog: pytest.LogCaptureFixture) -> None:
    """As when no descriptor is left: it is logged, and tried again a little later."""
    tries: list[float] = []

    class Full:
        async def accept(self) -> Any:
            tries.append(trio.current_time())
            await trio.lowlevel.checkpoint()
            raise anyio.BrokenResourceError from OSError(24, "Too many open files")

    async def main() -> None:
        async with _running(Script({}), None, None) as run:  # type: ignore[arg-type]
            run.tasks.start_soon(run.listen, Full(), None)  # type: ignore[arg-type]
            await trio.sleep(common.ACCEPT_PAUSE * 2.5)
            run.tasks.cancel_scope.cancel()

    with caplog.at_level(logging.WARNING, "hookline"):
        trio.run(main, clock=testing.MockClock(autojump_threshold=0))
    assert len(tries) == 3
    assert "Too many open files" in caplog.text


def test_an_error_within_the_api_comes_out_as_it_is(server: socket.socket) -> None:
    """Not in a group, as the task group inside would have it."""

    async def main() -> None:
        async with Api(TOKEN):
            raise ValueError("the program's own")

    with pytest.raises(ValueError, match="the program's own"):
        trio.run(main)


def test_an_api_is_used_once() -> None:
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

    trio.run(main)
