"""Every exception that hookline raises, by who is at fault.

What the network sends never raises inside the machine (law 5); the exceptions here are either wrong use by the
embedding program, or what a driver raises in the program that called it.
"""

from __future__ import annotations


class HooklineError(Exception):
    """The base of all exceptions of hookline. transient: it may be gone when the same is tried again later."""

    transient: bool = False


class LocalProtocolError(HooklineError, RuntimeError):
    """The embedding program told a machine something that cannot be; the machine is unchanged (law 6)."""


class OptionError(HooklineError, ValueError):
    """An option, a token or an address is out of range or of the wrong form. The message says what is accepted."""


class RunFailed(HooklineError):
    """A run ended by itself, and not by a stop: a revoked token, a webhook that is set, a conflict that lasted."""


class StoreError(HooklineError):
    """An inbox cannot be opened: what is wrong with its file, and what to do."""


class WebhookTimeout(HooklineError, TimeoutError):
    """A handler did not end within the webhook's `timeout`, and `on_timeout` is "throw" or "cancel".

    After "throw" the handler goes on; when Telegram sends the update again, the new request joins that run.
    """

    def __init__(self, update_id: int, timeout: float) -> None:
        super().__init__(update_id, timeout)
        self.update_id = update_id
        self.timeout = timeout

    def __str__(self) -> str:
        return (
            f"the handler of update {self.update_id} did not end within {self.timeout:g} s; Telegram will send the "
            "update again (make the handler faster, raise timeout, or use on_timeout='return')"
        )


class ApiError(HooklineError):
    """Telegram refused a call of the Bot API (`ok` is false)."""

    def __init__(
        self,
        method: str,
        code: int,
        description: str,
        retry_after: float | None = None,
        migrate_to_chat_id: int | None = None,
    ) -> None:
        super().__init__(method, code, description, retry_after, migrate_to_chat_id)
        self.method = method
        self.code = code
        self.description = description
        self.retry_after = retry_after
        self.migrate_to_chat_id = migrate_to_chat_id

    @property
    def transient(self) -> bool:  # type: ignore[override]
        """Whether Telegram is in trouble, or has enough of this bot for a while, or does not accept its token."""
        return self.code in (401, 429) or self.code >= 500

    def __str__(self) -> str:
        return f"{self.method}: {self.code} {self.description}"


class NetworkError(HooklineError):
    """A call got no usable answer: no connection, none in time, or one that is not of the Bot API.

    Telegram may or may not have carried the call out: the Bot API has no key by which a repeated call is recognised.
    """

    transient = True

    def __init__(self, method: str, reason: str) -> None:
        super().__init__(method, reason)
        self.method = method
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.method}: {self.reason}"
