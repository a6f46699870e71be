"""What a machine wants done, as values. A driver carries a list of them out, in order.

An effect that can finish or fail names the fact that answers it; the fact is a method of the machine that gave the
effect, and takes `now` last. Effects carry all their data: plain values and ids (law 3).

    Connect   opens a connection           answered by `connected` or `connect_failed`
    Send      writes bytes                 answered by nothing, or `disconnected`
    Pull      reads a piece of a file      answered by `pulled` or `pull_failed`
    Close     closes a connection          answered by nothing; telling `disconnected` is allowed
    Handle    runs the handler             answered by `finished`
    Cancel    cancels that run             answered by `finished`, as the run itself
    Resolve   ends a call of the program   -
    Receive   a piece of a download        -
    Report    something is wrong           -
    Log       something happened           -
    Ended     the run is over              -

The parts of the machine that know no sockets (`Polling`, `Webhook`, `Calls`) ask for whole exchanges instead:

    Fetch     makes a call of the Bot API  answered by `fetched`
    Abandon   gives a fetch up             `fetched` may still be told, and is ignored
    Respond   answers a webhook's request  -
    Throw     answers it by WebhookTimeout -
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeAlias

from attrs import field, frozen

from hookline.http import Response, Source
from hookline.outcomes import CallOutcome
from hookline.updates import Update


def _size(data: bytes) -> str:
    return f"{len(data)} bytes"


@frozen
class Connect:
    """Open a TCP connection to `host` and `port`, with TLS for that host name if `tls`."""

    connection: int
    host: str
    port: int
    tls: bool


@frozen
class Send:
    """Write `data`. A write that fails is told as `disconnected`."""

    connection: int
    data: bytes = field(repr=_size)


@frozen
class Pull:
    """Once all that was sent before has left, read up to `size` bytes of `source` and tell them; empty at its end."""

    connection: int
    source: Source
    size: int


@frozen
class Close:
    """Flush what was sent, then close."""

    connection: int


@frozen
class Handle:
    """Run the handler for `update`; `job` is that run's number."""

    job: int
    update: Update


@frozen
class Cancel:
    """Cancel the run `job`, if it can be; it stays in its lane until `finished` is told."""

    job: int


@frozen
class Fetch:
    """Make the call `method` of the Bot API and tell its outcome; at most `timeout` seconds may pass."""

    fetch: int
    method: str
    params: Mapping[str, Any]
    timeout: float


@frozen
class Abandon:
    """Nobody waits for this fetch any more: close what carries it."""

    fetch: int


@frozen
class Respond:
    """Answer the webhook's request `request`."""

    request: int
    response: Response


@frozen
class Throw:
    """Answer the webhook's request by raising `WebhookTimeout(update_id, timeout)` in the host, or by a 500."""

    request: int
    update_id: int
    timeout: float


@frozen
class Resolve:
    """The call that the program made has ended."""

    call: int
    outcome: CallOutcome


@frozen
class Receive:
    """The next bytes of a download that the program asked for."""

    call: int
    data: bytes = field(repr=_size)


class Verdict(Enum):
    """What is wrong, by kind. The value is the name that logs show."""

    NOT_AN_UPDATE = "not an update"
    HANDLER_FAILED = "handler failed"
    GIVEN_UP = "given up"
    HANDLER_TIMEOUT = "handler timeout"
    LOST = "lost"
    REQUEST_REJECTED = "request rejected"
    PEER_MISBEHAVED = "peer misbehaved"
    UNREACHABLE = "unreachable"
    CONFLICT = "conflict"
    FLOOD = "flood"
    HELD_BACK = "held back"
    POLICY_FAILED = "policy failed"


@frozen
class Report:
    """Something is wrong: what (`verdict`), said so that a person understands it (`text`), and the thing itself.

    update_id: the update it is about, if it is about one. raw: the offending JSON value, whole, if there is one.
    """

    verdict: Verdict
    text: str
    update_id: int | None = None
    raw: Any = None


@frozen
class Log:
    """Something happened that an operator may want to see, at `level` of the `logging` module."""

    text: str
    level: int = 20


@frozen
class Ended:
    """The run is over; `failure` says why where it was not asked for. No effect follows."""

    failure: str | None = None


Effect: TypeAlias = (
    "Connect | Send | Pull | Close | Handle | Cancel | Resolve | Receive | Report | Log | Ended "
    "| Fetch | Abandon | Respond | Throw"
)
"""Every effect there is. A driver of `Bot` meets all but Fetch, Abandon, Respond and Throw."""
