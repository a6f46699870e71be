"""What the simulated Telegram wants done besides `Respond`, as values; the contract is that of `hookline.effects`.

HangUp    closes a client's connection      -
Post      sends a webhook request           answered by `posted` or `post_failed`
CloseSlot closes a webhook's connection     answered by nothing
"""

from __future__ import annotations

from typing import TypeAlias

from attrs import field, frozen

from hookline.effects import Effect
from hookline.http import Request


@frozen
class HangUp:
    """Close the connection that the request `request` came by, after sending `part` of an answer."""

    request: int
    part: bytes = field(default=b"", repr=lambda part: f"{len(part)} bytes")


@frozen
class Post:
    """Send a webhook's request over the connection `slot`, which is opened to `url` if it is not open."""

    post: int
    slot: int
    url: str
    request: Request


@frozen
class CloseSlot:
    """Close a webhook's connection, whatever it carries."""

    slot: int


SimEffect: TypeAlias = "Effect | HangUp | Post | CloseSlot"
