"""What the simulated Telegram wants done besides `Respond`, as values; the contract is that of `hookline.effects`.

HangUp    closes a client's connection      -
CloseIdle closes clients' idle connections  -
OpenSlot  opens a webhook's connection      answered by `slot_lost` if it fails
Post      sends a webhook request           answered by `sent`, and by `posted` or `slot_lost`
CloseSlot closes a webhook's connection     answered by nothing
"""

from __future__ import annotations

from typing import TypeAlias

from attrs import field, frozen

from hookline.effects import Respond
from hookline.http import Request


@frozen
class HangUp:
    """Close the connection that the request `request` came by, after sending `part` of an answer."""

    request: int
    part: bytes = field(default=b"", repr=lambda part: f"{len(part)} bytes")


@frozen
class CloseIdle:
    """Close every connection of a client that carries no request."""


@frozen
class OpenSlot:
    """Open the connection `slot` to a webhook's endpoint."""

    slot: int
    host: str
    port: int
    tls: bool


@frozen
class Post:
    """Send a webhook's request over the connection `slot`, once it is open."""

    post: int
    slot: int
    request: Request


@frozen
class CloseSlot:
    """Close a webhook's connection, whatever it carries."""

    slot: int


SimEffect: TypeAlias = "Respond | HangUp | CloseIdle | OpenSlot | Post | CloseSlot"
