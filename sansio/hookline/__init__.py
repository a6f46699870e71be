"""How a Telegram bot gets its updates, as pure state machines: values in, values out, no I/O.

`Bot` is the whole, down to the bytes; `Polling`, `Webhook`, `Calls` and `Lanes` are its parts, for whoever brings HTTP
of their own. Drivers for asyncio, trio and blocking sockets are in `hookline_io`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hookline.botapi import Endpoint, InputFile, Token, decode_answer, encode_call
from hookline.errors import (
    ApiError,
    HooklineError,
    LocalProtocolError,
    NetworkError,
    OptionError,
    RunFailed,
    StoreError,
    WebhookTimeout,
)
from hookline.http import Request, Response
from hookline.options import ApiOptions, HttpLimits, PollingOptions, SetWebhookOptions, WebhookOptions, WorkOptions
from hookline.outcomes import REPLIED, Cancelled, Raised, Refused, Replied, Result, Returned, Unreachable
from hookline.progress import Progress
from hookline.updates import LaneKey, Update, default_lane, read_update

if TYPE_CHECKING:
    from hookline.bot import Bot
    from hookline.calls import Calls
    from hookline.inbox import Inbox
    from hookline.lanes import Lanes
    from hookline.polling import Polling
    from hookline.registration import Registration
    from hookline.storing_webhook import StoringWebhook
    from hookline.webhook import Webhook
    from hookline.working import Working

__all__ = [
    "REPLIED",
    "ApiError",
    "ApiOptions",
    "Bot",
    "Calls",
    "Cancelled",
    "Endpoint",
    "HooklineError",
    "HttpLimits",
    "Inbox",
    "InputFile",
    "LaneKey",
    "Lanes",
    "LocalProtocolError",
    "NetworkError",
    "OptionError",
    "Polling",
    "PollingOptions",
    "Progress",
    "Raised",
    "Refused",
    "Registration",
    "Replied",
    "Request",
    "Response",
    "Result",
    "Returned",
    "RunFailed",
    "SetWebhookOptions",
    "StoreError",
    "StoringWebhook",
    "Token",
    "Unreachable",
    "Update",
    "Webhook",
    "WebhookOptions",
    "WebhookTimeout",
    "WorkOptions",
    "Working",
    "decode_answer",
    "default_lane",
    "encode_call",
    "read_update",
]

_MACHINES: Final = {
    "Bot": "bot",
    "Calls": "calls",
    "Inbox": "inbox",
    "Lanes": "lanes",
    "Polling": "polling",
    "Registration": "registration",
    "StoringWebhook": "storing_webhook",
    "Webhook": "webhook",
    "Working": "working",
}
"""The modules of the machines. Each is loaded when it is asked for: no program needs all, and only `Bot` needs h11."""


def __getattr__(name: str) -> Any:
    if name not in _MACHINES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    globals()[name] = machine = getattr(import_module(f"hookline.{_MACHINES[name]}"), name)
    return machine


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
