"""What a machine wants done, as values. A driver carries a list of them out, in order.

An effect that can finish or fail names the fact that answers it; the fact is a method of the machine that gave the
effect, and takes `now` last. Effects carry all their data: plain values and ids (law 3).

    Connect   opens a connection           answered by `connected` or `connect_failed`
    Send      writes bytes                 answered by nothing, or `disconnected`
    Pull      reads a piece of a file      answered by `pulled` or `pull_failed`
    Close     closes a connection          answered by nothing; telling `disconnected` is allowed
    Handle    runs the handler             answered by `finished`
    Cancel    cancels that run             answered by `finished`, as the run itself
    Open      opens the inbox              answered by `opened` or `open_failed`
    Store     keeps updates in it          answered by `stored` or `store_failed`
    Mark      notes what became of one     answered by `marked` or `mark_failed`
    Release   gives waiting ones back      -
    Resolve   ends a call of the program   -
    Receive   a piece of a download        -
    Report    something is wrong           -
    Log       something happened           -
    Ended     the run is over              -

What knows no sockets asks for whole exchanges instead. Of the parts of the machine (`Polling`, `Webhook`, `Calls`):

    Fetch     makes a call of the Bot API  answered by `fetched`
    Abandon   gives a fetch up             `fetched` may still be told, and is ignored
    Respond   answers a webhook's request  -
    Throw     answers it by WebhookTimeout -

And of a `Bot` with a server or a client of the program's own, besides Respond and Throw:

    Transmit  sends an HTTP request        answered by `responded` or `transmit_failed`
    Recall    gives that up                either may still be told, and is ignored
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeAlias

from attrs import field, frozen

from hookline.http import Request, Response, Source
from hookline.outcomes import CallOutcome
from hookline.updates import Update


def _size(data: bytes) -> str:
    return f"{len(data)} bytes"


def _without_secret(params: Mapping[str, Any]) -> str:
    return repr({name: "***" if name == "secret_token" else value for name, value in params.items()})


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


class Status(Enum):
    """Where an update is that an inbox has. The value says what that means."""

    WAITING = "it is to be handled"
    RUNNING = "its handler runs"
    DONE = "it was handled; its id stays known for a while, so that it is not handled again"
    FAILED = "it was given up; it stays until it is tried again or removed by hand"


@frozen
class Open:
    """Open the inbox; `opened` says what was in it, waiting or running, the oldest first.

    Nothing that is to be stored meanwhile is answered before that.
    """


@frozen
class Store:
    """Keep these updates in the inbox, all or none, such that they outlast the process if the inbox is durable.

    `stored` names those that are to be handled here and now, by their ids: the ones that the inbox had not known
    before, or none if it is shared by many processes. `store_failed` says that none is kept.
    """

    store: int
    updates: tuple[Update, ...]


@frozen
class Mark:
    """Note in the inbox where an update is now. Marks and stores are carried out in order.

    runs: how often its handler was begun. error: how the last of them failed; None leaves what was there.
    """

    mark: int
    update_id: int
    status: Status
    runs: int
    error: str | None = None


@frozen
class Release:
    """Give these, which wait, back to an inbox that is shared; whoever else works on it may have them.

    It comes once, at a stop: nothing more is wanted. What runs goes back when its end is marked, or the run has ended.
    """

    update_ids: tuple[int, ...]


@frozen
class Kept:
    """An update that an inbox hands over, waiting or running: when it is opened, or later. The oldest comes first.

    runs: how often its handler was begun. interrupted: the last of these runs has no end: its process had one.
    """

    update: Update
    runs: int = 0
    interrupted: bool = False


@frozen
class Fetch:
    """Make the call `method` of the Bot API and tell its outcome; at most `timeout` seconds may pass."""

    fetch: int
    method: str
    params: Mapping[str, Any] = field(repr=_without_secret)
    timeout: float


@frozen
class Abandon:
    """Nobody waits for this fetch any more: close what carries it."""

    fetch: int


@frozen
class Transmit:
    """Send an HTTP request by the program's own client; answered by `responded` or `transmit_failed`."""

    fetch: int
    request: Request


@frozen
class Recall:
    """Nobody waits for the response to this `Transmit` any more."""

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
    NOT_STORED = "not stored"


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
    """The run is over; `failure` says why where it was not asked for. No effect follows, unless more is asked of it."""

    failure: str | None = None


Effect: TypeAlias = (
    "Connect | Send | Pull | Close | Handle | Cancel | Open | Store | Mark | Release | Resolve | Receive | Report "
    "| Log | Ended | Fetch | Abandon | Transmit | Recall | Respond | Throw"
)
"""Every effect there is. A driver of `Bot` meets all but Fetch and Abandon; Respond and Throw only if it tells requests
as values, Transmit and Recall only with `ApiOptions.own_client`, and then neither Connect nor Pull."""
