"""The simulated Telegram down to the bytes, on both of its sides (telegram-server.md, 4.1, 4.2, 4.5, 5.2 to 5.4)."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline.effects import Close, Connect, Effect, Ended, Report, Send
from hookline.sim import Fault, SimulatedServer, SimulatedTelegram
from tests.sansio.sim.client import BOT_ID, TOKEN

GET_ME = f"GET /bot{TOKEN}/getMe HTTP/1.1\r\nHost: a\r\n\r\n".encode()
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Wire:
    """The bytes that go over the connections of the server.

    sent: what it wrote on each. open: the connections that are. asked: what it wants connected.
    """

    def __init__(self) -> None:
        self.telegram = SimulatedTelegram(seed=1)
        self.server = SimulatedServer(self.telegram)
        self.now = 0.0
        self.sent: dict[int, bytes] = {}
        self.open: set[int] = set()
        self.asked: dict[int, Connect] = {}
        self.ended = False

    def perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            assert not self.ended, "no effect follows the end (law 2)"
            if isinstance(effect, Send):
                assert effect.connection in self.open
                self.sent[effect.connection] += effect.data
            elif isinstance(effect, Close):
                self.open.discard(effect.connection)
                self.asked.pop(effect.connection, None)
            elif isinstance(effect, Connect):
                self.asked[effect.connection] = effect
            elif isinstance(effect, Ended):
                self.ended = True
            else:
                assert isinstance(effect, Report)

    def client(self, data: bytes = b"") -> int:
        """A client that connects and sends bytes; its connection."""
        connection = self.server.new_connection()
        self.sent[connection] = b""
        self.open.add(connection)
        self.perform(self.server.accepted(connection, self.now))
        self.receive(connection, data)
        return connection

    def receive(self, connection: int, data: bytes) -> None:
        if data:
            self.perform(self.server.received(connection, data, self.now))

    def end(self, connection: int) -> None:
        """The other side closes."""
        self.perform(self.server.received(connection, b"", self.now))
        self.open.discard(connection)
        self.perform(self.server.disconnected(connection, "closed by the other side", self.now))

    def connect(self) -> int:
        """The endpoint accepts the connection that was asked for first; it."""
        connection = next(iter(self.asked))
        del self.asked[connection]
        self.sent[connection] = b""
        self.open.add(connection)
        self.perform(self.server.connected(connection, self.now))
        return connection

    def set_webhook(self, **params: Any) -> None:
        body = json.dumps({"url": "http://endpoint:8080/hook"} | params).encode()
        head = f"POST /bot{TOKEN}/setWebhook HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        self.client(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    def message(self, user: int = 1) -> int:
        payload = self.telegram.user_message(BOT_ID, "hi", self.now, user=user)
        update_id, effects = self.telegram.inject(BOT_ID, "message", payload, self.now)
        self.perform(self.server.command(effects, self.now))
        assert update_id is not None
        return update_id

    def command(self, effects: list[Any]) -> None:
        self.perform(self.server.command(effects, self.now))

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while (deadline := self.server.deadline) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.perform(self.server.tick(self.now))
            later = self.server.deadline
            assert later is None or later > self.now
        self.now = end

    @property
    def info(self) -> Any:
        return self.telegram.webhook_info(BOT_ID)


# Clients (5)


def test_a_request_is_answered_over_its_connection_and_the_next_too() -> None:
    """Keep-alive is the rule, and the headers are these, in this order (5.4)."""
    wire = Wire()
    connection = wire.client(GET_ME)
    head, _, body = wire.sent[connection].partition(b"\r\n\r\n")
    assert head.decode().lower().splitlines() == [
        "http/1.1 200 ok",
        "connection: keep-alive",
        "content-type: application/json",
        f"content-length: {len(body)}",
    ]
    assert json.loads(body)["result"]["id"] == BOT_ID
    wire.receive(connection, GET_ME)
    assert wire.sent[connection].count(b"HTTP/1.1 200") == 2
    assert connection in wire.open


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (GET_ME.replace(b"GET", b"PUT"), 501),
        (GET_ME.replace(b"HTTP/1.1", b"HTTP/2.0"), 505),
        (b"nonsense\r\n\r\n", 400),
        (GET_ME.replace(b"Host: a", b"X: " + b"y" * 262_144), 431),
        (GET_ME.replace(b"Host: a", b"Host: a\r\nContent-Encoding: br\r\nContent-Length: 2") + b"{}", 415),
    ],
)
def test_an_error_of_http_has_no_body_and_closes(data: bytes, status: int) -> None:
    """A status line and a length of 0 (5.3)."""
    wire = Wire()
    connection = wire.client(data)
    sent = wire.sent[connection].decode().lower()
    assert sent.startswith(f"http/1.1 {status} ")
    assert "content-length: 0\r\n" in sent
    assert sent.endswith("\r\n\r\n")
    assert connection not in wire.open


def test_a_body_of_more_than_64_mib_is_refused() -> None:
    """The simulation keeps bodies in memory; the server's own limit is higher (5.2)."""
    wire = Wire()
    connection = wire.client(GET_ME.replace(b"Host: a", b"Host: a\r\nContent-Length: 67108865") + bytes(67_108_865))
    assert wire.sent[connection].startswith(b"HTTP/1.1 413 ")
    assert connection not in wire.open


def test_a_client_that_expects_100_continue_is_not_told_to() -> None:
    """None is ever sent; the body is read all the same (5.2)."""
    wire = Wire()
    connection = wire.client(GET_ME.replace(b"Host: a", b"Host: a\r\nExpect: 100-continue\r\nContent-Length: 2"))
    assert wire.sent[connection] == b""
    wire.receive(connection, b"{}")
    assert wire.sent[connection].startswith(b"HTTP/1.1 200 ")


def test_a_chunked_request_is_read() -> None:
    """As one of a length (5.2)."""
    wire = Wire()
    head = GET_ME.replace(b"Host: a", b"Host: a\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json")
    connection = wire.client(
        head.replace(b"getMe", b"sendMessage") + b'12\r\n{"chat_id":1,"text\r\n7\r\n":"hi"}\r\n0\r\n\r\n'
    )
    assert b'"text":"hi"' in wire.sent[connection]


def test_an_idle_client_is_closed_after_500_s() -> None:
    """Not before (0, 5.4)."""
    wire = Wire()
    connection = wire.client(GET_ME)
    wire.wait(499)
    assert connection in wire.open
    wire.wait(2)
    assert connection not in wire.open


def test_a_client_that_waits_for_its_poll_is_not_idle() -> None:
    """It is answered, and the connection stays (2.4)."""
    wire = Wire()
    connection = wire.client(GET_ME.replace(b"getMe", b"getUpdates?timeout=50"))
    wire.wait(51)
    assert wire.sent[connection].endswith(b'{"ok":true,"result":[]}')
    assert connection in wire.open


def test_a_client_that_goes_leaves_its_poll_pending() -> None:
    """And nothing is written to it any more (2.4)."""
    wire = Wire()
    connection = wire.client(GET_ME.replace(b"getMe", b"getUpdates?timeout=50"))
    wire.end(connection)
    assert wire.telegram.bot(BOT_ID).poll is not None
    wire.message()
    wire.wait(60)


def test_a_fault_closes_the_connection_of_a_call() -> None:
    """After nothing, or in the middle of an answer."""
    wire = Wire()
    wire.telegram.set_fault(BOT_ID, Fault("close"))
    connection = wire.client(GET_ME)
    assert (wire.sent[connection], connection in wire.open) == (b"", False)
    wire.telegram.set_fault(BOT_ID, Fault("half"))
    connection = wire.client(GET_ME)
    assert wire.sent[connection].startswith(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
    assert connection not in wire.open


def test_requests_that_come_together_are_answered_one_after_the_other() -> None:
    """All that the first one wants done is done before the second one is looked at."""
    wire = Wire()
    wire.message()
    requests = (GET_ME.replace(b"getMe", target) for target in (b"setWebhook?url=http://endpoint/", b"deleteWebhook"))
    connection = wire.client(b"".join(requests))
    assert wire.sent[connection].count(b"HTTP/1.1 200") == 2
    assert wire.asked == {}
    assert wire.info["url"] == ""


def test_idle_clients_are_closed_on_demand_and_others_are_not() -> None:
    """Those that have a request under way stay (5.4)."""
    wire = Wire()
    idle = wire.client(GET_ME)
    waiting = wire.client(GET_ME.replace(b"getMe", b"getUpdates?timeout=50"))
    wire.command(wire.telegram.close_idle(BOT_ID, wire.now))
    assert wire.open == {waiting}
    assert idle not in wire.open


def test_the_control_interface_is_served_beside_the_api() -> None:
    """Over the same connections."""
    wire = Wire()
    body = b'{"bot": 42, "text": "hi"}'
    head = b"POST /_sim/message HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
    connection = wire.client(head + body)
    assert b'{"update_id":' in wire.sent[connection]
    assert wire.telegram.pending(BOT_ID) == 1


# Endpoints (4)


def test_setting_a_webhook_connects_and_writes_nothing() -> None:
    """Until there is an update (3.3)."""
    wire = Wire()
    wire.set_webhook()
    (connect,) = wire.asked.values()
    assert (connect.host, connect.port, connect.tls) == ("endpoint", 8_080, False)
    connection = wire.connect()
    assert wire.sent[connection] == b""
    wire.message()
    assert wire.sent[connection].startswith(b"POST /hook HTTP/1.1\r\nHost: endpoint:8080\r\n")


def test_an_ipv6_address_is_connected_to_without_its_brackets() -> None:
    """They belong to the url (3.4)."""
    wire = Wire()
    wire.set_webhook(url="http://[::1]:8080/")
    assert [connect.host for connect in wire.asked.values()] == ["::1"]


def test_an_update_is_written_as_soon_as_its_connection_is_open() -> None:
    """Head and body together (4.2)."""
    wire = Wire()
    wire.set_webhook()
    update_id = wire.message()
    sent = wire.sent[wire.connect()]
    head, _, body = sent.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert json.loads(body)["update_id"] == update_id


def test_a_connection_is_used_again() -> None:
    """One request after the other (4.1)."""
    wire = Wire()
    wire.set_webhook()
    connection = wire.connect()
    for number in range(1, 4):
        wire.message()
        assert wire.sent[connection].count(b"POST ") == number
        wire.receive(connection, OK)
    assert wire.telegram.pending(BOT_ID) == 0
    assert not wire.asked


def test_a_response_in_pieces_is_one() -> None:
    """However it is cut; a reply in it is a call (4.4, 4.7)."""
    wire = Wire()
    wire.set_webhook()
    connection = wire.connect()
    wire.message()
    body = b'{"method": "sendMessage", "chat_id": 1, "text": "hi"}'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    for byte in head + body:
        assert wire.telegram.pending(BOT_ID) == 1
        wire.receive(connection, bytes([byte]))
    assert wire.telegram.pending(BOT_ID) == 0
    assert [call.method for call in wire.telegram.calls(BOT_ID)] == ["setwebhook", "sendmessage"]


def test_an_interim_response_is_the_response() -> None:
    """A 100 Continue fails the delivery, and what follows it ends the connection (4.4)."""
    wire = Wire()
    wire.set_webhook()
    connection = wire.connect()
    wire.message()
    wire.receive(connection, b"HTTP/1.1 100 Continue\r\n\r\n" + OK)
    assert wire.info["last_error_message"] == "Wrong response from the webhook: 100 Continue"
    assert connection not in wire.open


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"hello\r\n\r\n", "Not Implemented"),
        (b"HTTP/2 200\r\n\r\n", "HTTP Version Not Supported"),
        (OK.replace(b"Content-Length: 0", b"Transfer-Encoding: br"), "Unimplemented: unsupported transfer-encoding"),
        (
            OK.replace(b"0\r\n", b"1\r\nContent-Encoding: br\r\n") + b"x",
            "Unsupported Media Type: unsupported content-encoding",
        ),
    ],
)
def test_a_response_that_cannot_be_read_closes_its_connection(data: bytes, message: str) -> None:
    """And its words are shown (4.7)."""
    wire = Wire()
    wire.set_webhook()
    connection = wire.connect()
    wire.message()
    wire.receive(connection, data)
    assert connection not in wire.open
    assert wire.info["last_error_message"] == message
    assert wire.telegram.pending(BOT_ID) == 1


@pytest.mark.parametrize("data", [OK.replace(b"0\r\n", b"5\r\n") + b"ab", b"HTTP/1.1 200", b""])
def test_a_connection_that_is_closed_within_a_response_shows_nothing(data: bytes) -> None:
    """A clean close, wherever it comes (4.7, 4.8)."""
    wire = Wire()
    wire.set_webhook()
    connection = wire.connect()
    wire.message()
    wire.receive(connection, data)
    wire.end(connection)
    assert "last_error_message" not in wire.info
    assert wire.telegram.pending(BOT_ID) == 1


def test_a_connection_that_breaks_shows_the_systems_text() -> None:
    """Before it is open, and after (4.8)."""
    wire = Wire()
    wire.set_webhook()
    (connection,) = wire.asked
    wire.asked.clear()
    wire.perform(wire.server.connect_failed(connection, "Connection refused", wire.now))
    assert wire.info["last_error_message"] == "Connection refused"
    wire.message()
    wire.wait(3)
    connection = wire.connect()
    wire.open.discard(connection)
    wire.perform(wire.server.disconnected(connection, "Connection reset by peer", wire.now))
    assert wire.info["last_error_message"] == "Connection reset by peer"


@pytest.mark.parametrize(("opened", "message"), [(False, "Write timeout expired"), (True, "Read timeout expired")])
def test_a_delivery_is_given_up_after_60_s(opened: bool, message: str) -> None:
    """From the hand-over, whether the connection was opened by then or not; bytes trickling in do not help (4.5)."""
    wire = Wire()
    wire.set_webhook()
    wire.message()
    if opened:
        connection = wire.connect()
        for byte in OK[:30]:
            wire.wait(2)
            wire.receive(connection, bytes([byte]))
    wire.wait(1 if opened else 61)
    assert wire.info["last_error_message"] == message
    assert wire.open <= {1}
    assert len(wire.asked) == 1, "the second copy goes over a new connection, at once"


def test_an_endpoint_that_speaks_unasked_loses_its_connection() -> None:
    """What it says could be taken for the next response."""
    wire = Wire()
    wire.set_webhook()
    connection = wire.connect()
    wire.receive(connection, OK)
    assert connection not in wire.open
    wire.message()
    wire.wait(3)
    wire.receive(wire.connect(), OK)
    assert wire.telegram.pending(BOT_ID) == 0


def test_an_endpoint_that_closes_an_idle_connection_gets_the_next_update_over_another() -> None:
    """Nothing is lost (4.1)."""
    wire = Wire()
    wire.set_webhook()
    connection = wire.connect()
    wire.end(connection)
    wire.message()
    wire.wait(3)
    wire.receive(wire.connect(), OK)
    assert wire.telegram.pending(BOT_ID) == 0
    assert "last_error_message" not in wire.info


def test_an_idle_connection_to_an_endpoint_is_closed_after_60_s() -> None:
    """By Telegram (4.1)."""
    wire = Wire()
    wire.set_webhook()
    connection = wire.connect()
    wire.wait(61)
    assert connection not in wire.open


def test_a_connection_that_opens_too_late_is_closed() -> None:
    """Its webhook is gone."""
    wire = Wire()
    wire.set_webhook()
    (connection,) = wire.asked
    wire.client(GET_ME.replace(b"getMe", b"deleteWebhook"))
    assert not wire.asked
    assert wire.server.connected(connection, wire.now) == [Close(connection)]


# The end, and the contract


def test_a_stop_closes_everything_at_once_and_nothing_follows() -> None:
    """Whatever is told afterwards (law 2)."""
    wire = Wire()
    wire.set_webhook()
    connection = wire.connect()
    wire.message()
    wire.receive(connection, OK)
    client = wire.client(GET_ME)
    wire.perform(wire.server.stop(wire.now))
    assert (wire.open, wire.ended, wire.server.deadline) == (set(), True, None)
    for effects in (
        wire.server.disconnected(connection, "closed", wire.now),
        wire.server.disconnected(client, "closed", wire.now),
        wire.server.received(connection, OK, wire.now),
        wire.server.tick(1e9),
        wire.server.stop(wire.now),
        wire.server.command(wire.telegram.inject(BOT_ID, "poll", {}, wire.now)[1], wire.now),
    ):
        assert effects == []
    assert wire.server.accepted(77, wire.now) == [Close(77)]
    assert wire.server.connected(connection, wire.now) == [Close(connection)]


def test_what_nobody_knows_is_ignored() -> None:
    """Connections that were never told, answers to what was not asked."""
    wire = Wire()
    assert wire.server.start(0.0) == []
    assert wire.server.received(5, b"x", 0.0) == []
    assert wire.server.disconnected(5, "x", 0.0) == []
    assert wire.server.connect_failed(5, "x", 0.0) == []
    assert wire.server.pulled(5, b"x", 0.0) == []
    assert wire.server.pull_failed(5, "x", 0.0) == []


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("client"), st.sampled_from([GET_ME, GET_ME[:20], b"x\r\n\r\n"]) | st.binary(max_size=20)),
        st.tuples(st.just("poll"), st.just(b"")),
        st.tuples(st.just("message"), st.just(b"")),
        st.tuples(st.just("webhook"), st.just(b"")),
        st.tuples(st.just("connect"), st.just(b"")),
        st.tuples(st.just("say"), st.sampled_from([OK, OK[:9], b"HTTP/1.1 500 x\r\n\r\n"]) | st.binary(max_size=20)),
        st.tuples(st.just("end"), st.just(b"")),
        st.tuples(st.just("wait"), st.just(b"")),
    ),
    max_size=25,
)


def run(wire: Wire, steps: list[tuple[str, bytes]]) -> None:
    for name, data in steps:
        if name == "client":
            wire.client(data)
        elif name == "poll":
            wire.client(GET_ME.replace(b"getMe", b"getUpdates?timeout=5"))
        elif name == "message":
            wire.message(user=1 + len(wire.sent) % 3)
        elif name == "webhook":
            wire.set_webhook()
        elif name == "connect" and wire.asked:
            wire.connect()
        elif name == "say" and wire.open:
            wire.receive(max(wire.open), data or b"x")
        elif name == "end" and wire.open:
            wire.end(max(wire.open))
        elif name == "wait":
            wire.wait(3.0)


@given(steps=STEPS, at=st.integers(0, 25))
def test_nothing_that_comes_raises_and_a_copy_goes_on_the_same(steps: list[tuple[str, bytes]], at: int) -> None:
    """Of any bytes, on either side; a machine that was copied and pickled between two calls is the same (law 5, 8)."""
    wire = Wire()
    run(wire, steps[:at])
    twin: Wire = pickle.loads(pickle.dumps(copy.deepcopy(wire)))
    for one in (wire, twin):
        run(one, steps[at:])
        one.wait(100)
    assert (wire.sent, wire.open, wire.asked) == (twin.sent, twin.open, twin.asked)
    wire.perform(wire.server.stop(wire.now))
    assert wire.ended
