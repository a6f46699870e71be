"""The blocking driver, natively: its two entries once, threads, and the ends that connections and runs have."""

from __future__ import annotations

import asyncio
import contextvars
import io
import logging
import os
import socket
import ssl
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hookline import LocalProtocolError, NetworkError, PollingOptions, Update, WebhookOptions
from hookline.effects import Close, Connect, Effect, Ended, Handle, Pull, Send
from hookline.http import StreamId
from hookline.outcomes import Raised
from hookline_io import common
from hookline_io.blocking import Api, Run, serve_webhook
from tests.drivers.bench import BOT_ID, TOKEN, Toolbox, calls, running, until
from tests.drivers.script import UPDATE, Script, connect, end_pipe, flood, read_all, reading_begins, take_answers

user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")


class Carried:
    """A scripted machine that is run in a thread; the end of the context waits for its `Ended`."""

    def __init__(self, machine: Script, handler: Any = None, **kwargs: Any) -> None:
        self.run = Run(machine, handler, **kwargs)  # type: ignore[arg-type]
        self._thread = threading.Thread(target=self.run.run, daemon=True)

    def stop(self) -> None:
        """Give the machine the command to stop."""
        self.run.post(lambda: self.run.tell(self.run.machine.stop))

    def __enter__(self) -> Carried:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(5)
        assert not self._thread.is_alive()


def test_two_updates_are_answered_and_the_stop_confirms_them() -> None:
    """getMe, deleteWebhook, getUpdates, the handler's calls, and one last getUpdates past both updates."""

    async def echo(update: Update, tools: Toolbox) -> None:
        await tools.call("sendMessage", chat_id=update.lane, text=update.payload["text"])

    async def main() -> None:
        async with running("blocking", echo, PollingOptions()) as (simulation, bot):
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
    stop, listening = threading.Event(), threading.Event()
    address: list[tuple[str, int]] = []

    def handler(update: Update, api: Api) -> None:
        seen.append(update.update_id)

    def started(where: tuple[str, int]) -> None:
        address.append(where)
        listening.set()

    def serve() -> None:
        options = WebhookOptions(path="/hook")
        serve_webhook(handler, TOKEN, options, listen=("127.0.0.1", 0), stop=stop, signals=False, started=started)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert listening.wait(5)
    body = b'{"update_id": 7, "message": {"chat": {"id": 1}}}'
    head = b"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    with socket.create_connection(address[0], timeout=5) as sock:
        sock.sendall(head % len(body) + body)
        assert sock.recv(4_096).startswith(b"HTTP/1.1 200 ")
        stop.set()
        assert read_all(sock) == b""
    thread.join(5)
    assert not thread.is_alive()
    assert seen == [7]


@pytest.mark.parametrize("host", [f"{'x' * 64}.invalid", "", "a..b", "127.0.0.1"])
def test_a_connection_that_cannot_be_opened_is_told_with_its_reason(host: str) -> None:
    """Names that are no names, and a port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    machine = Script({"start": [Connect(1, host, port, False)], "connect_failed": [Ended()]})
    with Carried(machine):
        pass
    [_, (name, connection, reason)] = machine.told
    assert (name, connection) == ("connect_failed", 1)
    assert reason == "Connection refused" if host == "127.0.0.1" else reason


def test_a_connection_that_is_given_up_at_once_ends_nothing_else(server: socket.socket) -> None:
    """`Connect` and `Close` of one list: what a thread opens then, nobody hears of."""
    machine = Script({"start": [connect(server), Close(1)], "stop": [Ended()]})
    with Carried(machine) as carried:
        peer, _ = server.accept()
        with peer:
            assert read_all(peer) == b""
        carried.stop()
    assert machine.names() == ["start", "stop"]


@pytest.mark.parametrize("fact", ["start", "tick", "connected", "received", "connect_failed", "finished"])
def test_an_error_of_the_machine_ends_the_run_with_it(fact: str, server: socket.socket) -> None:
    """It comes out in the thread of the loop."""
    orders: dict[str, list[Any]] = {"start": [connect(server), Handle(1, UPDATE)]}
    if fact == "connect_failed":
        orders["start"] = [Connect(1, "x" * 64, 1, False)]
    machine = Script(orders | {fact: [ZeroDivisionError("a fault")]})
    if fact == "tick":
        machine.deadline = time.monotonic()
    if fact == "received":
        threading.Thread(target=lambda: server.accept()[0].close(), daemon=True).start()
    with pytest.raises(ZeroDivisionError, match="a fault"):
        Run(machine, lambda update, api: None).run()  # type: ignore[arg-type]


def test_a_program_that_fails_when_it_hears_the_address_leaves_nothing_open() -> None:
    """`started` is the program's own."""

    def started(address: tuple[str, int]) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        serve_webhook(lambda update, api: None, TOKEN, listen=("127.0.0.1", 0), signals=False, started=started)


def test_a_connection_that_opens_when_the_run_has_broken_is_closed(server: socket.socket) -> None:
    """It was told of, and nobody was left to hear it."""
    machine = Script({"start": [connect(server), Ended()]})
    run = Run(machine)  # type: ignore[arg-type]
    opened = threading.Event()

    def break_off(effect: Effect) -> None:
        assert opened.wait(5)
        raise ZeroDivisionError

    run._perform[Ended] = break_off

    def post(action: Any) -> bool:
        told = Run.post(run, action)
        opened.set()
        return told

    run.post = post  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        run.run()
    peer, _ = server.accept()
    with peer:
        assert read_all(peer) == b""


def test_a_connection_that_the_server_closes_is_closed_here_too(server: socket.socket) -> None:
    """The machine gives no `Close` for what has gone by itself: its socket must not stay open for that."""
    machine = Script({"start": [connect(server)], "stop": [Ended()]})
    with Carried(machine) as carried:
        peer, _ = server.accept()
        with peer:
            peer.shutdown(socket.SHUT_WR)
            assert read_all(peer) == b""
        carried.stop()
    assert machine.names() == ["start", "connected", "received", "disconnected", "stop"]


def test_a_half_closed_client_gets_its_whole_answer(server: socket.socket) -> None:
    """Also one that comes later and that the kernel does not take at once."""
    wanted: list[Effect] = [Send(1, b"answer" * 2_000_000), Close(1)]
    machine = Script({"later": wanted, "stop": [Ended()]})
    with Carried(machine) as carried, socket.create_server(("127.0.0.1", 0)) as own:
        carried.run.post(lambda: carried.run.listen(own.dup()))
        with socket.create_connection(own.getsockname()[:2]) as sock:
            sock.shutdown(socket.SHUT_WR)
            end = time.monotonic() + 5
            while "received" not in machine.names():
                assert time.monotonic() < end
            carried.run.post(lambda: None)
            carried.run.post(lambda: carried.run.tell(machine.later))
            assert read_all(sock) == b"answer" * 2_000_000
        carried.stop()


def test_closing_has_a_time_limit(server: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that does not read cannot hold a connection open for ever."""
    monkeypatch.setattr(common, "FLUSH_TIMEOUT", 0.05)
    machine = Script({"start": [connect(server)], "connected": [Send(1, bytes(20_000_000)), Close(1)]})
    machine._wanted["stop"] = [Ended()]
    with Carried(machine) as carried:
        peer, _ = server.accept()
        with peer:
            end = time.monotonic() + 5
            while "connected" not in machine.names():
                assert time.monotonic() < end
                time.sleep(0.005)
            carried_out = threading.Event()
            carried.run.post(carried_out.set)  # is done after what "connected" wanted
            assert carried_out.wait(5)
            while carried.run._closing:
                assert time.monotonic() < end
                time.sleep(0.005)
            assert 0 < len(read_all(peer)) < 20_000_000
        carried.stop()


def test_a_stream_of_text_is_told_as_unreadable(server: socket.socket) -> None:
    """A file that was opened without "b" must not end the run."""
    machine = Script({"start": [connect(server)], "connected": [Pull(1, StreamId(5), 10)], "pull_failed": [Ended()]})
    carried = Carried(machine)
    carried.run.streams[5] = io.StringIO("text")
    with carried:
        pass
    assert "bytes" in machine.told[-1][2]


def test_a_stream_that_never_gives_anything_does_not_hold_up_the_end(server: socket.socket) -> None:
    """It is the program's own; what it gives later, nobody hears of."""
    machine = Script({"start": [connect(server)], "connected": [Pull(1, StreamId(5), 10)], "stop": [Ended()]})
    entered, go_on = threading.Event(), threading.Event()

    class Silent(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            entered.set()
            go_on.wait(20)
            return b""

    carried = Carried(machine)
    carried.run.streams[5] = Silent()
    with carried:
        assert entered.wait(5)
        carried.stop()
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
    with Carried(machine) as carried:
        assert entered.wait(5)
        carried.stop()
    end_pipe(pipe)


def test_a_client_that_takes_no_answers_is_not_heard() -> None:
    """Or each of its requests would leave an answer in memory."""
    machine = Script({"received": [Send(1, bytes(1_000_000))], "stop": [Ended()]})
    with Carried(machine) as carried, socket.create_server(("127.0.0.1", 0)) as own:
        carried.run.post(lambda: carried.run.listen(own.dup()))
        assert flood(own.getsockname()[:2], 100_000_000) < 100_000_000
        assert machine.names().count("received") < 100
        carried.stop()


@pytest.mark.parametrize("secure", [False, True])
def test_a_client_that_takes_its_answers_is_heard_again(
    secure: bool, certificate: tuple[str, str], trusting: ssl.SSLContext
) -> None:
    """Also the rest of what it sent meanwhile, some of which TLS may hold already."""
    machine = Script({"received": [Send(1, bytes(3_000_000))], "stop": [Ended()]})

    def heard() -> list[int]:
        return [len(told[2]) for told in machine.told if told[0] == "received"]

    carried = Carried(machine, server_tls=common.server_tls(*certificate) if secure else None)
    with carried, socket.create_server(("127.0.0.1", 0)) as own:
        carried.run.post(lambda: carried.run.listen(own.dup()))
        take_answers(own.getsockname()[:2], 500_000, heard, trusting if secure else None)
        carried.stop()


def test_no_handler_sees_what_another_has_in_its_context() -> None:
    """Although their threads are the same."""
    seen: list[str] = []
    user.set("the program")
    machine = Script({"start": [Handle(1, UPDATE)], "finished": [Handle(2, UPDATE)], "stop": [Ended()]})

    def handler(update: Update, api: Api) -> None:
        seen.append(user.get())
        user.set(f"handler {len(seen)}")
        if len(seen) == 10:
            carried.stop()

    carried = Carried(machine, handler)
    with carried:
        pass
    assert set(seen) == {"the program"}


def test_a_client_that_has_gone_before_its_handshake_does_not_end_the_server() -> None:
    """Python refuses to begin TLS on a socket that was reset."""

    class Refusing:
        def wrap_socket(self, sock: socket.socket, **_: Any) -> Any:
            raise OSError("closed before the TLS handshake")

    machine = Script({"stop": [Ended()]})
    carried = Carried(machine)
    carried.run._server_tls = Refusing()  # type: ignore[assignment]
    with carried, socket.create_server(("127.0.0.1", 0)) as own:
        carried.run.post(lambda: carried.run.listen(own.dup()))
        with socket.create_connection(own.getsockname()[:2]) as sock:
            assert read_all(sock) == b""
        carried.stop()
    assert machine.names() == ["start", "stop"]


def test_a_client_that_cannot_be_accepted_does_not_end_the_server(caplog: pytest.LogCaptureFixture) -> None:
    """As when no descriptor is left: it is logged, and tried again a little later."""
    tries: list[float] = []

    class Full(socket.socket):
        def accept(self) -> Any:
            tries.append(time.monotonic())
            if len(tries) == 1:
                raise OSError(24, "Too many open files")
            return super().accept()

    machine = Script({"accepted": [Close(1)], "stop": [Ended()]})
    with caplog.at_level(logging.WARNING, "hookline"), Carried(machine) as carried:
        own = Full()
        own.bind(("127.0.0.1", 0))
        own.listen()
        address = own.getsockname()
        carried.run.post(lambda: carried.run.listen(own))
        with socket.create_connection(address) as sock:
            assert read_all(sock) == b""
        carried.stop()
    assert tries[1] - tries[0] > 0.9 * common.ACCEPT_PAUSE  # a selector may wake a little early
    assert "Too many open files" in caplog.text


def test_a_handler_that_exits_has_raised() -> None:
    """sys.exit() in a thread ends that alone: its update must not run for ever."""
    machine = Script({"start": [Handle(1, UPDATE)], "finished": [Ended()]})
    with Carried(machine, lambda update, api: sys.exit(1)):
        pass
    assert isinstance(machine.told[1][2], Raised)


def test_a_handler_that_hangs_does_not_hold_up_the_end() -> None:
    """Its thread is left behind; a call that it makes later fails at once."""
    go_on, ended = threading.Event(), threading.Event()
    errors: list[Exception] = []

    def handler(update: Update, api: Api) -> None:
        go_on.wait(5)
        try:
            api.call("getMe")
        except NetworkError as error:
            errors.append(error)
        ended.set()

    machine = Script({"start": [Handle(1, UPDATE)], "stop": [Ended()]})
    with Carried(machine, handler) as carried:
        carried.stop()
    go_on.set()
    assert ended.wait(5)
    assert "stopped" in str(errors[0])


def test_a_call_that_is_under_way_when_the_loop_breaks_fails() -> None:
    """Nobody waits for an answer that cannot come."""
    errors: list[Exception] = []

    def handler(update: Update, api: Api) -> None:
        try:
            api.call("getMe")
        except NetworkError as error:
            errors.append(error)
        finally:
            ended.set()

    def call(*args: Any, now: float, **kwargs: Any) -> list[Effect]:
        raise KeyboardInterrupt

    ended = threading.Event()
    machine = Script({"start": [Handle(1, UPDATE)]})
    machine.call = call  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        Run(machine, handler).run()  # type: ignore[arg-type]
    assert ended.wait(5)
    assert "stopped" in str(errors[0])


def test_an_api_is_used_once() -> None:
    """After its end a call fails at once, and it cannot be entered again."""
    with Api(TOKEN) as api:
        pass
    with pytest.raises(NetworkError, match="stopped"):
        api.call("getMe")
    with pytest.raises(LocalProtocolError), api:
        pass
