"""A bot that writes its run down: what it was told and when, what the program's functions decided, what came of it.

`Recorder` is a `Bot`, so a driver runs it as it runs any. Nothing that is wrong with the writing disturbs it: that is
said once, by a `Log`, and nothing more is written then.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, cast

from hookline import codec
from hookline.bot import Bot, ReplyWith
from hookline.botapi import Token
from hookline.effects import Effect, Log
from hookline.options import (
    ApiOptions,
    HttpLimits,
    OnTimeoutPolicy,
    PollingOptions,
    SetWebhookOptions,
    WebhookOptions,
    WorkOptions,
)
from hookline.trace.blots import Blots
from hookline.trace.writer import Write, Writer
from hookline.updates import Lane

F = TypeVar("F", bound="Callable[..., Any]")

WARNING: Final = 30
"""The level of the `logging` module."""


def _recorded(fact: F) -> F:
    """An input that is written down, too."""
    names = tuple(inspect.signature(fact).parameters)[1:]

    @functools.wraps(fact)
    def told(recorder: Recorder, *args: Any, **kwargs: Any) -> Any:
        arguments = dict(zip(names, args, strict=False)) | kwargs
        try:
            returned = fact(recorder, *args, **kwargs)
        except Exception as error:
            recorder._note(fact.__name__, arguments, error)
            raise
        recorder._note(fact.__name__, arguments, returned)
        return returned if isinstance(returned, int) else [*recorder._complaints(), *returned]

    return cast("F", told)


class Recorder(Bot):
    """A bot that writes its run down. Its arguments are those of `Bot`, and two more.

    write: takes each line, with its end. about: what else the trace shall say of itself, as hookline's version.
    Errors: OptionError for a secret token that is too short to be blotted.
    """

    start = _recorded(Bot.start)
    stop = _recorded(Bot.stop)
    call = _recorded(Bot.call)
    download = _recorded(Bot.download)
    cancel = _recorded(Bot.cancel)
    new_connection = _recorded(Bot.new_connection)
    new_request = _recorded(Bot.new_request)
    requested = _recorded(Bot.requested)
    gone = _recorded(Bot.gone)
    accepted = _recorded(Bot.accepted)
    connected = _recorded(Bot.connected)
    connect_failed = _recorded(Bot.connect_failed)
    received = _recorded(Bot.received)
    disconnected = _recorded(Bot.disconnected)
    pulled = _recorded(Bot.pulled)
    pull_failed = _recorded(Bot.pull_failed)
    responded = _recorded(Bot.responded)
    transmit_failed = _recorded(Bot.transmit_failed)
    finished = _recorded(Bot.finished)
    opened = _recorded(Bot.opened)
    open_failed = _recorded(Bot.open_failed)
    found = _recorded(Bot.found)
    stored = _recorded(Bot.stored)
    store_failed = _recorded(Bot.store_failed)
    marked = _recorded(Bot.marked)
    mark_failed = _recorded(Bot.mark_failed)
    lost = _recorded(Bot.lost)
    tick = _recorded(Bot.tick)

    def __init__(
        self,
        token: Token,
        source: PollingOptions | WebhookOptions | WorkOptions | None = None,
        *,
        write: Write,
        about: Mapping[str, str] | None = None,
        api: ApiOptions | None = None,
        set_webhook: SetWebhookOptions | None = None,
        http: HttpLimits | None = None,
        seed: int = 0,
        decode: codec.Decode = codec.decode,
        lane: Lane | None = None,
        on_timeout: OnTimeoutPolicy | None = None,
        reply_with: ReplyWith | None = None,
    ) -> None:
        functions: dict[str, Any] = {"lane": lane, "on_timeout": on_timeout, "reply_with": reply_with}
        functions = {name: self._listening(name, function) for name, function in functions.items() if function}
        super().__init__(
            token, source, api=api, set_webhook=set_webhook, http=http, seed=seed, decode=decode, **functions
        )
        secrets = [token.value.partition(":")[2]]
        if isinstance(source, WebhookOptions) and source.secret_token is not None:
            secrets.append(source.secret_token)
        header = {
            "about": about or {},
            "token": token.value,
            "source": source,
            "api": api,
            "set_webhook": set_webhook,
            "http": http,
            "seed": seed,
            "decode": "default" if decode is codec.decode else "the program's own; a replay uses the default one",
            "functions": list(functions),
        }
        self._overheard: list[dict[str, Any]] = []
        self._complaint: Log | None = None
        self._blots = Blots(secrets)
        self._writer: Writer | None = Writer(write, self._blots, header)

    def close(self) -> list[Log]:
        """The machine is told nothing more: write what had to wait until now. Returns what is wrong with that."""
        if self._writer is not None:
            self._try(self._writer.close)
            self._writer = None
        return self._complaints()

    def _listening(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function of the program's own; what it decides is written down."""

        @functools.wraps(function)
        def asked(*args: Any) -> Any:
            try:
                answer = function(*args)
            except Exception as error:
                self._overheard.append({"function": name, "raised": [type(error).__name__, str(error)]})
                raise
            self._overheard.append({"function": name, "answer": answer})
            return answer

        return asked

    def _note(self, method: str, arguments: dict[str, Any], came: Exception | list[Effect] | int) -> None:
        asked, self._overheard = self._overheard, []
        if self._writer is None:
            return
        if isinstance(came, Exception):
            self._try(self._writer.add_refused, method, arguments, asked, came)
        else:
            self._try(self._writer.add, method, arguments, asked, came)

    def _try(self, write: Callable[..., None], *args: Any) -> None:
        try:
            write(*args)
        except Exception as error:  # a full disk, or a defect of ours: the bot comes first
            text = self._blots.text(f"the trace ends here: {type(error).__name__}: {error}")
            self._complaint = Log(text, WARNING)
            self._writer = None

    def _complaints(self) -> list[Log]:
        """What is wrong with the writing, once."""
        complaint, self._complaint = self._complaint, None
        return [] if complaint is None else [complaint]


INPUTS: Final = frozenset(name for name, value in vars(Recorder).items() if hasattr(value, "__wrapped__"))
"""The inputs of the machine, all of which are written down."""
