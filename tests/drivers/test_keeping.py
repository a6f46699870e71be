"""A run's inbox, whatever the driver: in which order its machine hears of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from hookline import Bot, Token, WorkOptions
from hookline.effects import Effect, Kept, Open
from hookline_io.keeping import Keeper
from hookline_io.stores import Found, Lost, UpdateStore
from tests.drivers.stores.asking import an_update


class EagerStore:
    """It hands something over, and takes it back, while it is still being opened."""

    durable = True
    shared = True

    def open(
        self, found: Found | None = None, lost: Lost | None = None, leaving: threading.Event | None = None
    ) -> list[Kept]:
        """Be quick."""
        assert found is not None
        assert lost is not None
        self.resumed = threading.Event()

        def hand_over(found: Found, lost: Lost) -> None:
            found([Kept(an_update(1))])
            lost("away", self.resumed.set)

        self._thread = threading.Thread(target=hand_over, args=(found, lost))
        self._thread.start()
        self._thread.join(0.05)
        return []

    def carry_out(self, effect: Any, tell: Any) -> None:
        """Nothing is asked."""

    def close(self) -> None:
        """Wait for what it still says."""
        self._thread.join()


def test_the_machine_hears_first_that_its_inbox_is_open_and_what_it_lost_before_more_is_found() -> None:
    bot = Bot(Token("42:" + "t" * 30), WorkOptions())
    assert bot.start(0.0) == [Open()]
    facts: list[Callable[..., list[Effect]]] = []

    def hear(fact: Callable[..., list[Effect]], *args: Any, **kwargs: Any) -> None:
        facts.append(lambda: fact(*args, now=0.0, **kwargs))

    store = EagerStore()
    typed: UpdateStore = store
    keeper = Keeper(typed, bot, hear)
    keeper.open(Open())
    keeper.close()
    assert [type(effect).__name__ for effect in facts[0]()] == ["Log"]
    assert [type(effect).__name__ for effect in facts[1]()] == ["Mark"]
    assert not store.resumed.is_set()
    assert [type(effect).__name__ for effect in facts[2]()] == ["Log"]
    assert store.resumed.is_set()
