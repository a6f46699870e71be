"""HTTP/1.1 by h11, for both sides: bytes to requests and responses and back, with limits.

One object serves one connection. It knows nothing of Telegram and no time: what is overdue, its owner decides. What
the other side sends never raises; what is wrong comes back as `Broken`, with the status that a server answers.

h11 costs about as much as all else that is done for an update. So messages that are ordinary (`hookline.ordinary`) pass
it by, each in its own exchange of one request and one answer. When such an exchange turns out not to be, as when its
other side leaves in the middle of it, h11 is told what has come so far, and takes over.

Bodies go out piece by piece (`http.Body`): a source is asked for by `Pull`, one piece at a time, and each is asked for
when the one before has left.
"""

from __future__ import annotations

import re
from collections import deque
from enum import Enum
from typing import Any, Final, TypeAlias

import h11
from attrs import frozen

from hookline.botapi import header_pairs
from hookline.effects import Close, Effect, Pull, Send
from hookline.http import Body, Headers, Request, Response, Source
from hookline.ordinary import Found, read_request, read_response, write_request, write_response

PULL_SIZE: Final = 65_536
MAX_HEAD: Final = 65_536
"""Bytes of a response's head."""

_BLANK_LINE: Final = re.compile(rb"\n\r?\n")
"""What h11 takes for the end of a head."""

_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}


@frozen
class Head:
    """A request's head has come; its body has not."""

    message: Request


@frozen
class Piece:
    """A part of a body that is handed on while it comes."""

    data: bytes


@frozen
class Complete:
    """A whole message has come."""

    message: Request | Response


@frozen
class Broken:
    """The other side does not speak HTTP/1.1, or too much of it. status: what a server answers."""

    reason: str
    status: int = 400


Event: TypeAlias = "Head | Piece | Complete | Broken"


class Past(Enum):
    """How far an ordinary exchange, of which h11 knows nothing, has come."""

    NO_EXCHANGE = "there is none; what comes or goes may begin one"
    ASKED = "a request has gone out"
    BODY = "a head has come, and its body comes"
    WHOLE = "all of the message has come"


class _Connection:
    """What both sides share: a body on its way out, a body on its way in."""

    def __init__(self, connection: int, role: type[h11.CLIENT] | type[h11.SERVER], max_head: int) -> None:
        self.connection = connection
        self._h11 = h11.Connection(role, max_incomplete_event_size=max_head)
        self._max_head = max_head
        self._untouched = True  # h11 was not told anything yet
        self._out: deque[bytes | Source] = deque()
        self._pulling: Source | None = None
        self._body = bytearray()
        self._past = Past.NO_EXCHANGE
        self._length = 0  # of the body that comes past h11
        self._surplus = b""  # what has come behind it

    @property
    def sending(self) -> bool:
        """Whether a body is still on its way out."""
        return self._pulling is not None

    def pulled(self, data: bytes) -> list[Effect]:
        """The answer to `Pull`; empty at the source's end."""
        if self._pulling is None:
            return []
        if data:
            framed = self._h11.send(h11.Data(data=data)) or b""
            return [Send(self.connection, framed), Pull(self.connection, self._pulling, PULL_SIZE)]
        self._pulling = None
        return self._flow(bytearray())

    def _send(self, head: h11.Request | h11.Response, body: Body) -> list[Effect]:
        self._out = deque(body)
        return self._flow(bytearray(self._h11.send(head) or b""))

    def _flow(self, ready: bytearray) -> list[Effect]:
        while self._out:
            piece = self._out.popleft()
            if not isinstance(piece, bytes):
                self._pulling = piece
                return [*self._ready(ready), Pull(self.connection, piece, PULL_SIZE)]
            ready += self._h11.send(h11.Data(data=piece)) or b""
        ready += self._h11.send(h11.EndOfMessage()) or b""
        return self._ready(ready)

    def _ready(self, ready: bytearray) -> list[Effect]:
        return [Send(self.connection, bytes(ready))] if ready else []

    def _next_event(self) -> Any:
        """h11's next event. What is too large is refused however it comes; h11 counts only what comes in parts."""
        waiting = self._h11.trailing_data[0]
        if len(waiting) <= self._max_head:
            return self._h11.next_event()
        head_comes = self._h11.their_state in (h11.IDLE, h11.SEND_RESPONSE) and waiting[0] > 0x20  # else h11 refuses it
        if head_comes and not _BLANK_LINE.search(waiting, 0, self._max_head):
            raise h11.RemoteProtocolError("its head is too large", error_status_hint=431)
        event = self._h11.next_event()
        if isinstance(event, h11.EndOfMessage) and len(waiting) - self._buffered > self._max_head:
            raise h11.RemoteProtocolError("its trailer is too large", error_status_hint=431)
        return event

    @property
    def _buffered(self) -> int:
        """Bytes that have come and are not part of an event yet."""
        return len(self._h11.trailing_data[0])

    def _add(self, data: bytes, limit: int) -> bool:
        """Keep a part of a body, if there is still room for it."""
        if len(self._body) + len(data) > limit:
            return False
        self._body += data
        return True

    def _begin(self, data: bytes, found: Found) -> bool:
        """Whether a message, whose head has come, can pass h11 by: then what is there of its body is taken."""
        start, self._length = found
        if len(data) - start > self._length:  # who sends more than was asked for is worth a second look
            return False
        self._take_piece(data[start:])
        return True

    def _take_piece(self, data: bytes) -> None:
        """A part of the body that passes h11 by."""
        missing = self._length - len(self._body)
        self._body += data[:missing]
        self._surplus = data[missing:]
        self._past = Past.BODY if len(data) < missing else Past.WHOLE

    def _complete(self) -> Complete:
        """The message whose head came last, with its body."""
        raise NotImplementedError

    def _whole(self) -> list[Event]:
        """What there is to say of the end of a message that passes h11 by."""
        return [self._complete()] if self._past is Past.WHOLE else []

    def _tell_h11(self, head: bytes) -> None:
        """Tell h11 what has come past it; the events of that were given out already. head: one in the stead of theirs,
        with room for the length of the body.
        """
        self._untouched = False
        whole = self._past is Past.WHOLE
        self._past = Past.NO_EXCHANGE
        self._h11.receive_data(head % (0 if whole else self._length) + self._body)
        while self._h11.next_event() not in (h11.NEED_DATA, h11.PAUSED):
            pass
        if self._surplus:
            self._h11.receive_data(self._surplus)
            self._surplus = b""

    def _take_body(self) -> Body:
        if not self._body:
            return ()
        body = bytes(self._body)
        self._body.clear()
        return (body,)


class ServerConnection(_Connection):
    """The server's side of one connection: one request at a time, the next is read when the one before was answered."""

    def __init__(self, connection: int, *, max_head: int, max_body: int) -> None:
        super().__init__(connection, h11.SERVER, max_head)
        self._max_body = max_body
        self._request: Request | None = None

    @property
    def idle(self) -> bool:
        """Whether no request has begun to come, and none waits for its answer."""
        if self._past is not Past.NO_EXCHANGE:
            return False
        return self._untouched or (self._h11.their_state is h11.IDLE and not self._buffered)

    @property
    def reading_body(self) -> bool:
        """Whether a head has come, and its body has not."""
        return self._past is Past.BODY or self._h11.their_state is h11.SEND_BODY

    @property
    def ended(self) -> bool:
        """Whether the client sends no more."""
        return self._h11.trailing_data[1]

    def received(self, data: bytes) -> list[Event]:
        """Bytes have come; empty bytes say that the client sends no more."""
        if data and (events := self._received_past_h11(data)) is not None:
            return events
        self._catch_up()
        last = (h11.MUST_CLOSE, h11.CLOSED)
        if self._h11.states[h11.CLIENT] in last or self.ended:
            return []  # what follows a client's last request, or its end, is not read
        self._untouched = False
        self._h11.receive_data(data)
        events = self.next_events()
        paused = self._h11.states[h11.CLIENT] not in (h11.IDLE, h11.SEND_BODY, h11.ERROR, *last)
        if paused and self._buffered > self._max_head + self._max_body:
            # The next request of a client that does not wait for answers is kept, but not without a limit.
            events.append(Broken("it sends requests without waiting for answers"))
        return events

    def _received_past_h11(self, data: bytes) -> list[Event] | None:
        """What these bytes mean, if they are of an ordinary request; None if h11 is to say it."""
        if self._past is Past.BODY and len(data) <= self._length - len(self._body) + self._max_head:
            self._take_piece(data)
            return self._whole()
        if not self.idle:
            return None
        read = read_request(data, self._max_head)
        if read is None or read[1][1] > self._max_body or not self._begin(data, read[1]):
            return None
        self._request = read[0]
        return self._whole() or [Head(self._request)]

    def _complete(self) -> Complete:
        request = self._request
        assert request is not None
        return Complete(Request(request.method, request.target, request.headers, self._take_body()))

    def _catch_up(self) -> None:
        """Let h11 take over, if it has missed something."""
        if self._past is not Past.NO_EXCHANGE:
            self._tell_h11(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n")

    def next_events(self) -> list[Event]:
        """What came meanwhile: called after a response, for a request that was sent early."""
        events: list[Event] = []
        head: Request | None = None  # whose end is not there yet
        if self._untouched:
            return events
        while self._h11.states[h11.CLIENT] not in (h11.MUST_CLOSE, h11.CLOSED):
            try:
                event = self._next_event()
            except h11.RemoteProtocolError as error:
                events.append(Broken(_words(error), error.error_status_hint))
                return events
            if isinstance(event, h11.Request):
                if event.http_version not in (b"1.0", b"1.1"):
                    events.append(Broken("it is of another version of HTTP", 505))
                    return events
                if {b"content-length", b"transfer-encoding"} <= {name for name, _ in event.headers}:
                    # A proxy before us may have taken the other for the body's end (RFC 9112, 6.1).
                    events.append(Broken("it has both Content-Length and Transfer-Encoding"))
                    return events
                self._request = head = _request(event)
            elif isinstance(event, h11.Data):
                if not self._add(bytes(event.data), self._max_body):
                    events.append(Broken("its body is too large", 413))
                    return events
            elif isinstance(event, h11.EndOfMessage):
                events.append(self._complete())
                head = None
            else:  # NEED_DATA, PAUSED or ConnectionClosed
                break
        if head is not None:
            events.append(Head(head))
        return events

    def expects_continue(self) -> bytes:
        """The interim answer for a client that asks whether to send its body; empty for all others."""
        if not self._h11.they_are_waiting_for_100_continue:
            return b""
        return self._h11.send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")) or b""

    def respond(self, response: Response, *, close: bool = False) -> list[Effect]:
        """Answer the request that came last; the connection is closed after it if it can serve no other."""
        reason = _REASONS.get(response.status, "Response")
        if self._past is Past.WHOLE and not self._surplus and not close:
            data = write_response(response, reason)
            if data is not None:
                self._past = Past.NO_EXCHANGE
                return [Send(self.connection, data)]
        self._catch_up()
        headers = header_pairs(response.headers)
        if close or self._h11.states[h11.CLIENT] not in (h11.DONE, h11.MUST_CLOSE):
            headers.append((b"connection", b"close"))
        head = h11.Response(status_code=response.status, headers=headers, reason=reason.encode())
        try:
            effects = self._send(head, response.body)
        except h11.LocalProtocolError:  # the connection is beyond an answer
            return [Close(self.connection)]
        return effects if self.sending else effects + self.after_response()

    def after_response(self) -> list[Effect]:
        """Called when a response has gone out whole: makes ready for the next request, or closes."""
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
            return []
        return [Close(self.connection)]


class ClientConnection(_Connection):
    """The client's side of one connection: one request at a time."""

    def __init__(self, connection: int, *, max_response: int) -> None:
        super().__init__(connection, h11.CLIENT, MAX_HEAD)
        self._max_response = max_response
        self._response: Response | None = None
        self._streamed = False
        self.answered = False
        """Whether any byte of the answer has come."""

    def request(self, request: Request, *, streamed: bool = False) -> list[Effect]:
        """Send a request. With `streamed` a 200's body comes in `Piece`s, without a limit, and not in `Complete`."""
        self.answered = False
        self._streamed = streamed
        data = None if streamed else write_request(request)
        if data is not None:
            self._past = Past.ASKED
            return [Send(self.connection, data)]
        head = h11.Request(method=request.method, target=request.target, headers=header_pairs(request.headers))
        return self._send(head, request.body)

    @property
    def reusable(self) -> bool:
        """Whether another request may follow; true once after each whole answer.

        Not after an answer with more behind it, which would be taken for the next one, nor with the end behind it.
        """
        if self._past is Past.WHOLE:
            self._past = Past.NO_EXCHANGE
            return True
        done = self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE
        if done and self._h11.trailing_data == (b"", False):
            self._h11.start_next_cycle()
            return True
        return False

    def received(self, data: bytes) -> list[Event]:
        """Bytes have come; empty bytes say that the server sends no more."""
        if self._h11.states[h11.SERVER] in (h11.MUST_CLOSE, h11.CLOSED):
            return []  # what follows a server's last answer is not read
        if data:
            self.answered = True
            if (events := self._received_past_h11(data)) is not None:
                return events
        self._catch_up()
        events = []
        try:
            self._h11.receive_data(data)
            while True:
                event = self._next_event()
                if isinstance(event, h11.Response):
                    self._response = Response(event.status_code, _headers(event))
                elif isinstance(event, h11.Data):
                    if self._streamed and self._response is not None and self._response.status == 200:
                        events.append(Piece(bytes(event.data)))
                    elif not self._add(bytes(event.data), self._max_response):
                        events.append(Broken("the answer is too large"))
                        return events
                elif isinstance(event, h11.EndOfMessage):
                    events.append(self._complete())
                    return events
                elif not isinstance(event, h11.InformationalResponse):
                    return events
        except h11.RemoteProtocolError as error:
            events.append(Broken(f"the answer is not HTTP/1.1: {_words(error)}"))
            return events

    def _received_past_h11(self, data: bytes) -> list[Event] | None:
        """What these bytes mean, if they are of an ordinary answer to an ordinary request; None if h11 is to say it."""
        if self._past is Past.BODY and len(data) <= self._length - len(self._body):
            self._take_piece(data)
            return self._whole()
        if self._past is not Past.ASKED:
            return None
        read = read_response(data, self._max_head)
        if read is None or read[1][1] > self._max_response or not self._begin(data, read[1]):
            return None
        self._response = read[0]
        return self._whole()

    def _complete(self) -> Complete:
        response = self._response
        assert response is not None
        return Complete(Response(response.status, response.headers, self._take_body()))

    def _catch_up(self) -> None:
        """Let h11 take over, if it has missed something."""
        if self._past is Past.NO_EXCHANGE:
            return
        self._h11.send(h11.Request(method=b"POST", target=b"/", headers=[(b"host", b"x"), (b"content-length", b"0")]))
        self._h11.send(h11.EndOfMessage())
        if self._past is Past.ASKED:
            self._past = Past.NO_EXCHANGE
        else:
            self._tell_h11(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n")


def _words(error: h11.ProtocolError) -> str:
    """What is wrong, without the bytes that are: they may be secret, and are the other side's choice."""
    return str(error).partition(":")[0]


def _headers(event: h11.Request | h11.Response) -> Headers:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers)


def _request(event: h11.Request) -> Request:
    return Request(event.method.decode("latin-1"), event.target.decode("latin-1"), _headers(event))
