"""The options of the machines, the same for every driver; each checks itself and says what it accepts.

Times are seconds, sizes bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

from attrs import Attribute, field, frozen

from hookline.errors import OptionError
from hookline.updates import Update

OnTimeout: TypeAlias = "Literal['throw', 'return', 'cancel']"
OnError: TypeAlias = "Literal['pass', 'stop']"
Confirm: TypeAlias = "Literal['handled', 'received', 'stored']"
OnTimeoutPolicy: TypeAlias = "Callable[[Update], OnTimeout]"
"""Decides among throw, return and cancel, given the update. It must be a pure function."""
WebhookConfirm: TypeAlias = "Literal['handled', 'stored']"

_Validator: TypeAlias = "Callable[[Any, Attribute[Any], Any], None]"

TELEGRAM_TIMEOUT = 60.0
"""Telegram gives a webhook this long to answer (telegram-server.md, 4.5)."""

NOT_AFTER_THE_ANSWER = (
    "this host freezes or ends the process once it has answered, and a handler that goes on is lost with it, after "
    "Telegram was told that its update was delivered"
)
"""Why nothing is said to be delivered before its handler has ended, where `WebhookOptions.freezes`."""

_SECRET_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


def _number(low: float, high: float, *, whole: bool = False, above: bool = False) -> _Validator:
    """Checks for a number from `low` (or above it) to `high`."""

    def check(_: Any, attribute: Attribute[Any], value: Any) -> None:
        kinds: tuple[type, ...] = (int,) if whole else (int, float)
        fits = type(value) in kinds and (low < value if above else low <= value) and value <= high
        if not fits:
            what = "a whole number" if whole else "a number"
            lower = f"above {low:g}" if above else f"from {low:g}"
            raise OptionError(f"{attribute.name} must be {what} {lower} to {high:g}, not {value!r}")

    return check


def one_of(*names: str) -> _Validator:
    """Checks for one of these names."""

    def check(_: Any, attribute: Attribute[Any], value: Any) -> None:
        if value not in names:
            raise OptionError(f"{attribute.name} must be one of {', '.join(names)}, not {value!r}")

    return check


def _update_kinds(value: Any) -> tuple[str, ...] | None:
    """For allowed_updates: any collection of names."""
    if value is None or isinstance(value, tuple):
        return value
    if isinstance(value, str):
        raise OptionError(f"allowed_updates must be a list of names of updates, not the one string {value!r}")
    try:
        return tuple(value)
    except TypeError:
        raise OptionError(f"allowed_updates must be a list of names of updates, not {value!r}") from None


def _are_update_kinds(_: Any, attribute: Attribute[Any], value: Any) -> None:
    if value is not None and not all(isinstance(name, str) and name for name in value):
        raise OptionError(f"{attribute.name} must be a list of names of updates, not {value!r}")


def _is_flag(_: Any, attribute: Attribute[Any], value: Any) -> None:
    if not isinstance(value, bool):
        raise OptionError(f"{attribute.name} must be True or False, not {value!r}")


def check_secret_token(value: str) -> None:
    """Check a secret token as setWebhook does (telegram-server.md, 0): 1 to 256 of A-Z a-z 0-9 _ -."""
    if not 1 <= len(value) <= 256 or not _SECRET_CHARACTERS.issuperset(value):
        raise OptionError("secret_token must be 1 to 256 of the characters A-Z a-z 0-9 _ -")


def _is_secret_token(_: Any, __: Attribute[Any], value: Any) -> None:
    if value is not None:
        if not isinstance(value, str):
            raise OptionError("secret_token must be a string")
        check_secret_token(value)


def _is_path(_: Any, attribute: Attribute[Any], value: Any) -> None:
    good = isinstance(value, str) and value.startswith("/") and value.isascii() and value.isprintable()
    if not good or any(character in value for character in " ?#"):
        raise OptionError(f"{attribute.name} must be a path that begins with / and has no ?, # or space, not {value!r}")


@frozen(kw_only=True)
class PollingOptions:
    """How updates are fetched by getUpdates.

    timeout: of one long poll, getUpdates's `timeout`; at most 50, to which Telegram would cut it.
    limit: the most updates in one answer.
    allowed_updates: the kinds to receive; None leaves what was set before.
    drop_pending_updates: forget at the start what waits at Telegram.
    concurrency: this many lanes at once; 1 handles one update at a time, in order.
    confirm: "handled" confirms an update when its handler has ended, so a crash repeats some and loses none;
        "received" confirms it on receipt, so a crash loses what was not handled yet; "stored" confirms it when the
        inbox has it, and what the inbox has is handled whatever crashes.
    max_waiting: with "stored", updates that may wait for their turn; past it nothing is fetched.
    max_attempts: with "stored", failed runs of one update after which it is given up.
    on_error: with the others, after a handler raised, "pass" goes on (the update counts as handled), "stop" ends the
        run with it unconfirmed.
    grace: how long handlers may go on after a stop.
    conflict_grace: how long another poller of the same bot is waited out before the run ends.
    """

    timeout: int = field(default=30, validator=_number(1, 50, whole=True))
    limit: int = field(default=100, validator=_number(1, 100, whole=True))
    allowed_updates: tuple[str, ...] | None = field(default=None, converter=_update_kinds, validator=_are_update_kinds)
    drop_pending_updates: bool = field(default=False, validator=_is_flag)
    concurrency: int = field(default=1, validator=_number(1, 10_000, whole=True))
    confirm: Confirm = field(default="handled", validator=one_of("handled", "received", "stored"))
    max_waiting: int = field(default=1_000, validator=_number(1, 1_000_000, whole=True))
    max_attempts: int = field(default=5, validator=_number(1, 1_000, whole=True))
    on_error: OnError = field(default="pass", validator=one_of("pass", "stop"))
    grace: float = field(default=20.0, validator=_number(0, 86_400))
    conflict_grace: float = field(default=60.0, validator=_number(0, 86_400))

    @on_error.validator
    def _is_one_way(self, _: Attribute[str], value: str) -> None:
        if value == "stop" and self.confirm == "stored":
            raise OptionError(
                "on_error must be 'pass' with confirm='stored': what failed is tried again (max_attempts)"
            )


@frozen(kw_only=True)
class WebhookOptions:
    """How a webhook's requests are answered.

    path: of the requests; anything else is 404.
    secret_token: what Telegram must send as X-Telegram-Bot-Api-Secret-Token; None checks nothing.
    timeout: the time in which a request is answered; at most 59, since Telegram waits for 60.
    confirm: "handled" answers 200 when the handler has ended; "stored" when the inbox has the update, and what the
        inbox has is handled whatever crashes. Then the time is not the handler's, on_timeout does not come up, and no
        call travels in an answer.
    on_timeout: what happens then. "throw": WebhookTimeout (500), the handler goes on, a redelivery joins it;
        "return": 200, the handler goes on; "cancel": the handler is cancelled, then as throw.
    concurrency: this many lanes at once.
    max_waiting: updates that may wait for their turn; past it 503.
    max_attempts: failed runs of one update after which it is answered 200, or put aside, and reported as given up.
    remember: this many handled updates stay known, so that a repeated one does not run again.
    max_body: the largest request body; past it 413.
    retry_after: what a 503 asks Telegram to wait, whole seconds.
    hold_answer: hold an answer that carries a call until the handler has ended or the time is up.
    freezes: the host freezes, or ends, its process once it has answered, as serverless platforms do. So 2xx is said
        only for what was handled or given up: "return" is refused, and an answer that carries a call is held until the
        handler has ended.
    grace: how long handlers may go on after a stop.
    """

    path: str = field(default="/", validator=_is_path)
    secret_token: str | None = field(default=None, repr=False, validator=_is_secret_token)
    timeout: float = field(default=10.0, validator=_number(0, TELEGRAM_TIMEOUT - 1, above=True))
    confirm: WebhookConfirm = field(default="handled", validator=one_of("handled", "stored"))
    on_timeout: OnTimeout = field(default="throw", validator=one_of("throw", "return", "cancel"))
    concurrency: int = field(default=100, validator=_number(1, 10_000, whole=True))
    max_waiting: int = field(default=1_000, validator=_number(0, 1_000_000, whole=True))
    max_attempts: int = field(default=5, validator=_number(1, 1_000, whole=True))
    remember: int = field(default=10_000, validator=_number(1, 10_000_000, whole=True))
    max_body: int = field(default=1_048_576, validator=_number(1, 1_073_741_824, whole=True))
    retry_after: int = field(default=5, validator=_number(1, 3_600, whole=True))
    hold_answer: bool = field(default=False, validator=_is_flag)
    freezes: bool = field(default=False, validator=_is_flag)
    grace: float = field(default=20.0, validator=_number(0, 86_400))

    @freezes.validator
    def _is_kept(self, _: Attribute[bool], value: bool) -> None:
        if value and self.on_timeout == "return":
            raise OptionError(f"on_timeout must be 'throw' or 'cancel' here, not 'return': {NOT_AFTER_THE_ANSWER}")
        if value and self.confirm == "stored":
            raise OptionError(f"confirm must be 'handled' here, not 'stored': {NOT_AFTER_THE_ANSWER}")


@frozen(kw_only=True)
class WorkOptions:
    """How a worker handles what an inbox has.

    concurrency: this many lanes at once.
    max_attempts: failed runs of one update after which it is given up.
    grace: how long handlers may go on after a stop.
    """

    concurrency: int = field(default=100, validator=_number(1, 10_000, whole=True))
    max_attempts: int = field(default=5, validator=_number(1, 1_000, whole=True))
    grace: float = field(default=20.0, validator=_number(0, 86_400))


@frozen(kw_only=True)
class SetWebhookOptions:
    """What setWebhook is called with before a webhook is served (the names are the Bot API's).

    url: where Telegram sends updates; https outside a local server.
    certificate: the PEM text of a certificate of one's own, so that Telegram trusts it.
    delete_at_stop: call deleteWebhook at the stop; otherwise the webhook stays, and Telegram keeps what comes.
    """

    url: str = field()
    certificate: bytes | None = field(default=None, repr=False)
    ip_address: str | None = None
    max_connections: int | None = None
    allowed_updates: tuple[str, ...] | None = field(default=None, converter=_update_kinds, validator=_are_update_kinds)
    drop_pending_updates: bool = field(default=False, validator=_is_flag)
    delete_at_stop: bool = field(default=False, validator=_is_flag)

    @url.validator
    def _is_url(self, _: Attribute[str], value: str) -> None:
        if not isinstance(value, str) or not value.startswith(("https://", "http://")):
            raise OptionError(f"url must begin with https:// (or http:// for a local server), not {value!r}")
        try:
            value.encode()
        except UnicodeError:
            raise OptionError(f"url must be text that can be sent, not {value!r}") from None


@frozen(kw_only=True)
class ApiOptions:
    """How calls of the Bot API are made.

    root: the Bot API server's address.
    connections: the most connections kept to it, a long poll's own not counted.
    timeout: of one call, with all its tries; a call may have one of its own.
    flood_waits: how often a call that was answered 429 is tried again after its retry_after.
    max_response: the largest answer; a download has no limit, since it is handed on in pieces.
    own_client: requests go out as values, by an HTTP client that the program has; nothing can be downloaded then.
    """

    root: str = "https://api.telegram.org"
    connections: int = field(default=16, validator=_number(1, 10_000, whole=True))
    timeout: float = field(default=60.0, validator=_number(0, 86_400, above=True))
    flood_waits: int = field(default=3, validator=_number(0, 1_000, whole=True))
    max_response: int = field(default=16_777_216, validator=_number(1_024, 1_073_741_824, whole=True))
    own_client: bool = field(default=False, validator=_is_flag)


@frozen(kw_only=True)
class HttpLimits:
    """What a client may take of the bundled server.

    max_head: bytes of a request's head. head_timeout, body_timeout: for all of a head, and of a body, from its start,
        so that a client that trickles is cut off. keep_alive: of an idle connection; longer than Telegram's 60, so that
        it is never we who close under a request (telegram-server.md, 4.1).
    connections: open at once; one more is closed at once.
    """

    max_head: int = field(default=16_384, validator=_number(1_024, 262_144, whole=True))
    head_timeout: float = field(default=10.0, validator=_number(0, 3_600, above=True))
    body_timeout: float = field(default=30.0, validator=_number(0, 3_600, above=True))
    keep_alive: float = field(default=75.0, validator=_number(60, 86_400, above=True))
    connections: int = field(default=20_000, validator=_number(1, 1_000_000, whole=True))
