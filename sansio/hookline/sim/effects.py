"""What the simulated Telegram wants done, beside `hookline.effects.Respond`.

    Respond    answers a client's request           answered by nothing, or `disconnected`
    HangUp     closes a client's connection         answered by nothing
    Post       sends a webhook request              answered by `posted` or `post_failed`
    CloseSlot  closes a webhook connection          answered by nothing
    Created    an update was (or was not) created   answered by nothing

Webhook requests travel over numbered connection slots, because how many connections Telegram opens, and when, is part
of what is simulated (telegram-server.md, 4.1). One slot carries one request at a time.
"""

from __future__ import annotations

from typing import TypeAlias

from attrs import field, frozen

from hookline.effects import Respond
from hookline.http import Request, Response


def _origin(url: str) -> str:
    """The part of a url that holds no secret: no user, no password, no path."""
    scheme, separator, rest = url.partition("://")
    authority = (rest if separator else scheme).split("/")[0].split("?")[0].split("#")[0]
    return repr((f"{scheme}://" if separator else "") + authority.rpartition("@")[2])


@frozen
class HangUp:
    """Close the connection of the client that made `request`.

    response: if there is one, write it first, just as it is: its content-length may promise more than its body has.
    """

    request: int
    response: Response | None = None


@frozen
class Post:
    """Send `request` to the host of `url` over the slot `connection`; open that connection first if it is not open.

    post: the number by which `posted` or `post_failed` answers. ip_address: connect there instead of resolving the host.
    The header names are in lower case, as everywhere; written in title case they are just Telegram's.
    """

    post: int
    connection: int
    url: str = field(repr=_origin)
    request: Request
    ip_address: str | None = None


@frozen
class CloseSlot:
    """Close the slot `connection`, and forget the request `post` that was under way on it, if there was one."""

    connection: int
    post: int | None = None


@frozen
class Created:
    """An update for `bot` entered the queue; `update_id` is None if it was filtered, over a limit or already expired."""

    bot: int
    kind: str
    update_id: int | None


SimEffect: TypeAlias = "Respond | HangUp | Post | CloseSlot | Created"
"""Every effect of the simulated Telegram."""
