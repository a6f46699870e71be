"""How things end, as values: the run of a handler, and a call of the Bot API."""

from __future__ import annotations

from enum import Enum
from typing import Any, Final, Literal, TypeAlias

from attrs import frozen


@frozen
class Returned:
    """The handler ended well."""


@frozen
class Raised:
    """The handler raised.

    summary: one line, as `ValueError: no such user`.
    traceback: the whole of it as text; the exception itself does not enter the machine (law 3).
    transient: no fault of the handler's: Telegram could not be reached, or has refused the bot for a while. An inbox
        tries such a run again for as long as that lasts.
    """

    summary: str
    traceback: str = ""
    transient: bool = False


@frozen
class Cancelled:
    """The handler was cancelled before it ended."""


Outcome: TypeAlias = "Returned | Raised | Cancelled"


@frozen
class Result:
    """Telegram carried the call out; `value` is the answer's `result`, plain JSON values."""

    value: Any


@frozen
class Refused:
    """Telegram answered `ok: false` (the Bot API's ResponseParameters included).

    retry_after: seconds, with code 429. migrate_to_chat_id: the group's new id, with code 400.
    """

    code: int
    description: str
    retry_after: float | None = None
    migrate_to_chat_id: int | None = None


@frozen
class Unreachable:
    """No answer of the Bot API came back: no connection, none in time, or something else than the Bot API's JSON.

    status: the HTTP status where there was one.
    """

    reason: str
    status: int | None = None


class Replied(Enum):
    """The type of `REPLIED`."""

    REPLIED = "replied"

    def __repr__(self) -> str:
        return "REPLIED"


REPLIED: Final = Replied.REPLIED
"""The result of a call that travelled in a webhook's response.

Telegram drops such a call's result, so there is no message to read, no error to catch and nothing to cancel
(telegram-server.md, 4.7).
"""

FetchOutcome: TypeAlias = "Result | Refused | Unreachable"
CallOutcome: TypeAlias = "Result | Refused | Unreachable | Literal[Replied.REPLIED]"
