"""A run's inbox: carries out what its machine wants stored, and tells it what came of that.

Every driver has it. It knows no event loop: what it hears of, from whatever thread, it hands to the run as a fact to be
told.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from attrs import evolve

from hookline.bot import Bot
from hookline.botapi import Token
from hookline.effects import Effect, Kept, Mark, Open, Release, Store
from hookline.errors import OptionError, StoreError
from hookline.options import PollingOptions, WebhookOptions, WorkOptions
from hookline_io.stores import Outcome, UpdateStore, is_shared, path_in, store_at

Options = TypeVar("Options", PollingOptions, WebhookOptions)

CLOSE_PATIENCE: Final = 10.0
"""Seconds that the end of a run waits for its store, in which the last of it is still being written."""
REMEMBER: Final = 10_000
"""Ids of handled updates that a poller's inbox knows: Telegram sends again what it was not asked to forget."""


class Hear(Protocol):
    """Lets the run's own thread tell a machine a fact. From any thread; after the end of the run it does nothing."""

    def __call__(self, fact: Callable[..., list[Effect]], *args: Any, **kwargs: Any) -> object: ...


Address: TypeAlias = "str | None"
"""Where an inbox is kept: "memory", the address of a file, as "sqlite:///inbox.db", or that of a database that is
shared, as "postgresql://user@host/database". None: there is none."""


def with_inbox(
    options: Options, address: Address, token: Token, *, handles: bool = True
) -> tuple[Options, UpdateStore | None]:
    """The options of a run with that inbox, and its store. confirm="stored" without an address is kept in memory.

    handles: whether there is a handler; without one, what is stored is left to others.
    Errors: OptionError for an address that is none, and for options that an inbox cannot go with.
    """
    if not handles and (address is None or not is_shared(address)):
        raise OptionError("there is no handler: only with an inbox that is shared, as on PostgreSQL, others handle")
    if address is None and options.confirm != "stored":
        return options, None
    if options.confirm == "received":
        raise OptionError("inbox cannot be given with confirm='received', which does not wait for it")
    remember = options.remember if isinstance(options, WebhookOptions) else REMEMBER
    store = store_at(
        address or "memory",
        bot_id=token.bot_id,
        remember=remember,
        concurrency=options.concurrency if handles else 0,
        polls=isinstance(options, PollingOptions),
    )
    return evolve(options, confirm="stored"), store


def store_to_work_off(options: WorkOptions, address: str, token: Token) -> UpdateStore:
    """The store of a worker.

    Errors: OptionError for an address that is none, or names what only its own process sees, or a file that is missing:
    it is no worker who makes it.
    """
    if address == "memory":
        raise OptionError("an inbox in memory is seen by its bot alone: a worker needs one in a file or a database")
    if not is_shared(address) and not path_in(address).exists():
        raise OptionError(f"there is no inbox {path_in(address)}: a worker handles what a bot has stored in one")
    return store_at(address, bot_id=token.bot_id, remember=REMEMBER, concurrency=options.concurrency)


class Keeper:
    """The inbox of one run."""

    def __init__(self, store: UpdateStore, bot: Bot, hear: Hear) -> None:
        self._store = store
        self._bot = bot
        self._hear = hear
        self._secret = bot.endpoint.token.value.partition(":")[2]
        self._opening: threading.Thread | None = None
        self._is_open = False
        self._early: list[Callable[[], object]] | None = []  # what is known before it is told that the store is open
        self._order = threading.Lock()
        self._leaving = threading.Event()

    def open(self, effect: Open) -> None:
        """Open the store, in a thread."""
        self._opening = threading.Thread(target=self._open, name="hookline inbox", daemon=True)
        self._opening.start()

    def store(self, effect: Store) -> None:
        """Have updates kept."""
        self._store.carry_out(effect, partial(self._stored, effect.store))

    def mark(self, effect: Mark) -> None:
        """Have it noted what became of one. An error may name the token, as in an address; that is not written down."""
        if effect.error is not None:
            effect = evolve(effect, error=effect.error.replace(self._secret, "***"))
        self._store.carry_out(effect, partial(self._marked, effect.mark))

    def release(self, effect: Release) -> None:
        """Give updates back."""
        self._store.carry_out(effect, lambda _: None)

    def close(self) -> None:
        """What was asked for is written, and the store closed. It waits for that."""
        self._leaving.set()
        if self._opening is not None:
            self._opening.join()
        if self._is_open:
            self._store.close()

    def _open(self) -> None:
        try:
            kept = self._store.open(self._found, self._lost, self._leaving)
        except StoreError as error:
            self._hear(self._bot.open_failed, str(error))
            return
        self._is_open = True
        with self._order:
            self._hear(self._bot.opened, kept, durable=self._store.durable, shared=self._store.shared)
            for tell in self._early or ():
                tell()
            self._early = None

    def _after_opened(self, fact: Callable[..., list[Effect]], *args: Any) -> None:
        """Let a fact be told, though not before the one that the store is open."""
        with self._order:
            if self._early is not None:
                self._early.append(partial(self._hear, fact, *args))
                return
        self._hear(fact, *args)

    def _found(self, kept: list[Kept]) -> None:
        self._after_opened(self._bot.found, kept)

    def _lost(self, reason: str, resume: Callable[[], object]) -> None:
        def lost(now: float) -> list[Effect]:
            effects = self._bot.lost(reason, now=now)
            resume()  # what the run asks for from now on is about what is found from now on
            return effects

        self._after_opened(lost)

    def _stored(self, store: int, outcome: Outcome) -> None:
        if isinstance(outcome, str):
            self._after_opened(self._bot.store_failed, store, outcome)
        else:
            self._after_opened(self._bot.stored, store, tuple(sorted(outcome)))

    def _marked(self, mark: int, outcome: Outcome) -> None:
        if isinstance(outcome, str):
            self._after_opened(self._bot.mark_failed, mark, outcome)
        else:
            self._after_opened(self._bot.marked, mark)
