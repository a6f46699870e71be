"""A bot that is killed again and again: nothing is lost, each chat stays in order, little is repeated."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hookline_io.stores import inspection_at
from tests.kills.torment import Line, judge, torment, torment_shared
from tests.peers.processes import PATIENCE, TOKEN, Telegram, running
from tests.postgresql import serving

KILLS = 3


@pytest.mark.parametrize("driver", ["asyncio", "trio", "blocking"])
@pytest.mark.parametrize("webhook", [False, True], ids=["polling", "webhook"])
def test_with_an_inbox_in_a_file_a_kill_loses_nothing_and_disturbs_no_order(
    driver: str, webhook: bool, tmp_path: Path
) -> None:
    counts = torment(
        webhook=webhook, driver=driver, inbox=f"sqlite:///{tmp_path}/inbox.db", kills=KILLS, folder=tmp_path
    )

    assert counts.wrong == []
    assert counts.handled == counts.sent > 0


@pytest.mark.parametrize("driver", ["asyncio", "trio", "blocking"])
@pytest.mark.parametrize("webhook", [False, True], ids=["polling", "webhook"])
def test_with_a_shared_inbox_no_kill_of_whom_it_may_be_loses_or_disturbs_anything(
    driver: str, webhook: bool, tmp_path: Path
) -> None:
    with serving() as database:
        counts = torment_shared(webhook=webhook, driver=driver, database=database, kills=8, folder=tmp_path)
    assert counts.wrong == []
    assert counts.handled == counts.sent > 0


@pytest.mark.parametrize("driver", ["asyncio", "trio", "blocking"])
def test_an_update_that_ends_its_process_is_put_aside_and_nothing_that_ran_beside_it(
    driver: str, tmp_path: Path
) -> None:
    """At first all run at the same time, and end with it. Then they run alone, and only one ends its process."""
    inbox, journal = f"sqlite:///{tmp_path}/inbox.db", tmp_path / "journal"
    journal.touch()
    command = [sys.executable, "-m", "tests.kills.bot"]
    settings = {"BOT_TOKEN": TOKEN, "INBOX": inbox, "DRIVER": driver, "JOURNAL": str(journal)}

    def all_handled() -> bool:
        return journal.read_text().count("end") == 4

    with Telegram.simulated(tmp_path / "telegram.log") as telegram:
        for chat in range(1, 6):
            telegram.message("poison" if chat == 3 else "slow", chat=chat)
        deaths = -1
        while not all_handled():
            deaths += 1
            with running(command, tmp_path / f"bot-{deaths}.log", BOT_API_ROOT=telegram.root, **settings) as bot:
                until(lambda bot=bot: bot.ended or all_handled())  # type: ignore[misc]
                if not bot.ended:
                    bot.stop(signal.SIGTERM)
    with inspection_at(inbox) as inspection:
        [failed] = inspection.failed()
    assert failed.update.payload["text"] == "poison"
    assert deaths == failed.runs == 5


def until(condition: Callable[[], bool]) -> None:
    """Wait for what must happen."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def lines(text: str) -> list[Line]:
    """A journal of chat 1: `b3` begins message 3, `e3` ends it and `c3` cuts it short, in process 1; after each `|`
    that process was killed and another one's lines come, and after each `+` it was not. `<` and `>`: the database went
    down, and came up again.
    """
    found, process = [], 1
    for word in text.split():
        if word in "|+":
            if word == "|":
                found.append(Line("killed", process))
            process += 1
        elif word in "<>":
            found.append(Line("down" if word == "<" else "up"))
        else:
            what = {"b": "begin", "e": "end", "c": "cut"}[word[0]]
            found.append(Line(what, process, 1, int(word[1:])))
    return found


@pytest.mark.parametrize(
    "text",
    [
        "b0 e0 b1 e1",
        "b0 e0 + b1 e1",
        "b0 c0 + b0 e0 b1 e1",
        "b0 < e0 > + b0 e0 b1 e1",
        "b0 | b0 e0 b1 e1",
        "b0 e0 | b0 e0 b1 e1",
        "b0 | b0 | b0 e0 b1 e1",
    ],
)
def test_what_a_journal_may_show(text: str) -> None:
    counts = judge(lines(text), {1: 2})
    assert counts.wrong == []
    assert counts.repeated == text.count("b0") - 1


@pytest.mark.parametrize(
    "text",
    [
        "b0 e0",
        "b1 e1",
        "b0 e0 b1",
        "b0 b1 e0 e1",
        "b1 e1 b0 e0",
        "b0 e0 b0 e0 b1 e1",
        "b0 e0 b1 | b0 e0 b1 e1",
        "b0 | b1 e1 b0 e0",
        "b0 e0 b1 e1 | b0 e0 b1 e1",
        "b0 + b0 e0 b1 e1",
        "b0 e0 + b0 e0 b1 e1",
        "b0 + b1 e1 e0",
    ],
)
def test_what_a_journal_must_not_show(text: str) -> None:
    assert judge(lines(text), {1: 2}).wrong != []
