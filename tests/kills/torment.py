"""Kills a bot at random under load, and starts it again, and looks at what became of every update.

`python -m tests.kills.torment --kills 100` prints the counts. Real processes: the bot, and `hookline sim` that sends.
The bot's journal says what ran when: it must show every update handled, the updates of a chat in their order, and an
update begun once more only where the process that had begun it was killed before its inbox knew that it had ended.

With an inbox on PostgreSQL there are receivers and workers, and any of them is killed; so is the database.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from typing import Any, Final

from attrs import define, field, frozen

from tests.peers.processes import PATIENCE, TOKEN, Process, Telegram, running
from tests.ports import free_port
from tests.postgresql import Server, serving

CHATS: Final = 12
PACE: Final = 0.004
"""Seconds from one message to the next."""
HASTE: Final = 3.0
"""A lease on PostgreSQL ends so many times sooner than usual."""
LIVES: Final = (0.25, 0.9)
"""Seconds that a process lives before it is killed, from so many to so many."""


@frozen
class Line:
    """A line of the journal: a run of the handler begins, ends or is cut short; a process was killed; the database of
    the inbox is down, and up again: the end of runs could not be noted then.
    """

    what: str
    process: int = 0
    chat: int = 0
    number: int = 0


@define
class Counts:
    """What the journal shows. repeated: updates begun again after a kill; unmarked: of those, such as had ended."""

    sent: int = 0
    kills: int = 0
    handled: int = 0
    repeated: int = 0
    unmarked: int = 0
    wrong: list[str] = field(factory=list)

    def __str__(self) -> str:
        said = f"{self.sent} sent, {self.kills} kills, {self.handled} handled, {self.repeated} begun again after a kill"
        return f"{said} ({self.unmarked} of them had just ended); wrong: {len(self.wrong)}"


def read(journal: Path) -> list[Line]:
    """The lines of a journal. A kill may cut none off, since each is written at once."""
    lines = [line.split() for line in journal.read_text(encoding="utf-8").splitlines()] if journal.exists() else []
    return [Line(what, *map(int, numbers)) for what, *numbers in lines]


def note(journal: Path, line: str) -> None:
    """Add a line to the journal."""
    with journal.open("ab", buffering=0) as file:
        file.write(f"{line}\n".encode())


def judge(lines: list[Line], sent: dict[int, int]) -> Counts:
    """What a journal shows, given how many messages each chat has sent: numbered 0, 1, ..."""
    counts = Counts(sent=sum(sent.values()))
    by_chat: dict[int, list[Line]] = defaultdict(list)
    for line in lines:
        for chat in sent if line.what in {"killed", "down", "up"} else [line.chat]:
            by_chat[chat].append(line)
    for chat, number in sent.items():
        _judge_chat(by_chat[chat], number, counts)
    return counts


def _judge_chat(lines: list[Line], sent: int, counts: Counts) -> None:
    done = -1  # the last that has ended
    cut = -1  # the last that was cancelled
    running: Line | None = None
    begun: dict[int, int] = {}  # in which process each was begun last
    gone: set[int] = set()  # the processes that were killed
    is_up = True
    unknown: set[int] = set()  # those whose end could not be noted
    for line in lines:
        if line.what in {"killed", "down", "up"}:
            gone.add(line.process)
            is_up = line.what == "up" if line.what != "killed" else is_up
            unknown |= set() if is_up else {done}
            continue
        name = f"message {line.number} of chat {line.chat}"
        if line.what == "end":
            if running != Line("begin", line.process, line.chat, line.number):
                counts.wrong.append(f"{name} ended, and {running} was running")
            running, done = None, line.number
            unknown |= set() if is_up else {done}
            continue
        if line.what == "cut":
            running, cut = None, line.number
            continue
        if running is not None and running.process not in gone:
            counts.wrong.append(f"{name} began while {running.number} ran")
        again = line.number == (cut if running is None else running.number)
        unmarked = running is None and line.number == done and line.number in begun
        if again or unmarked:
            counts.repeated += 1
            counts.unmarked += unmarked
            if begun[line.number] not in gone and not again and line.number not in unknown:
                counts.wrong.append(f"{name} began again, though the process that had ended it was not killed")
        elif line.number != done + 1 or running is not None:
            counts.wrong.append(f"{name} began after {done} had ended")
        begun[line.number] = line.process
        running = line
    counts.handled += len({line.number for line in lines if line.what == "end"})
    if done != sent - 1 or running is not None:
        counts.wrong.append(f"the last message that ended is {done}, of {sent}")


@contextmanager
def sending(telegram: Telegram, sent: dict[int, int], random: Random, pace: float = PACE) -> Iterator[None]:
    """Users send messages, all the time."""
    over = threading.Event()

    def send() -> None:
        while not over.wait(pace):
            chat = random.randint(1, CHATS)
            telegram.message(str(sent[chat]), chat=chat)
            sent[chat] += 1

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def torment(*, webhook: bool, driver: str, inbox: str, kills: int, folder: Path, seed: int = 1) -> Counts:
    """Kill a bot so many times; what its journal shows in the end."""
    random = Random(seed)
    journal = folder / "journal"
    sent: dict[int, int] = defaultdict(int)
    environment = {"BOT_TOKEN": TOKEN, "INBOX": inbox, "DRIVER": driver, "JOURNAL": str(journal)}
    if webhook:
        environment["PORT"] = str(free_port())
    command = [sys.executable, "-m", "tests.kills.bot"]
    with Telegram.simulated(folder / "sim.log") as telegram:
        environment["BOT_API_ROOT"] = telegram.root
        with sending(telegram, sent, random):
            for number in range(kills):
                with running(command, folder / f"bot-{number}.log", **environment) as bot:
                    before = len(read(journal))
                    bot.until(lambda before=before: len(read(journal)) > before)  # type: ignore[misc]
                    time.sleep(random.uniform(*LIVES))
                    bot.stop(signal.SIGKILL)
                    note(journal, f"killed {bot.pid}")
        with running(command, folder / "bot-last.log", **environment) as bot:
            _until_handled(bot, journal, sum(sent.values()))
            bot.stop(signal.SIGTERM)
    counts = judge(read(journal), sent)
    counts.kills = kills
    return counts


class Crew:
    """The processes that share an inbox, each in its place; who has ended is replaced."""

    def __init__(self, folder: Path, journal: Path, places: list[dict[str, str]]) -> None:
        self._folder = folder
        self._journal = journal
        self._places = places
        self._stacks = [ExitStack() for _ in places]
        self._members: list[Process] = []
        self._begun = 0

    def __enter__(self) -> Crew:
        self._members = [self._begin(place) for place in range(len(self._places))]
        return self

    def __exit__(self, *_: object) -> None:
        for stack in self._stacks:
            stack.close()

    def kill(self, place: int) -> None:
        """Kill one, and let another begin in its place."""
        member = self._members[place]
        if not member.ended:
            member.stop(signal.SIGKILL)
        note(self._journal, f"killed {member.pid}")
        self._stacks[place].close()
        self._members[place] = self._begin(place)

    def replace_who_has_ended(self) -> None:
        """As whoever supervises them would."""
        for place, member in enumerate(self._members):
            if member.ended:
                self.kill(place)

    def stop(self) -> list[int]:
        """Stop all; their exit statuses."""
        return [member.stop(signal.SIGTERM) for member in self._members]

    def _begin(self, place: int) -> Process:
        self._begun += 1
        command = [sys.executable, "-m", "tests.kills.bot"]
        log = self._folder / f"{place}-{self._begun}.log"
        return self._stacks[place].enter_context(running(command, log, **self._places[place]))


def torment_shared(*, webhook: bool, driver: str, database: Server, kills: int, folder: Path, seed: int = 1) -> Counts:
    """Kill receivers, workers and their database so many times; what their journal shows in the end."""
    random = Random(seed)
    journal = folder / "journal"
    sent: dict[int, int] = defaultdict(int)
    with Telegram.simulated(folder / "sim.log") as telegram:
        shared = {"BOT_TOKEN": TOKEN, "INBOX": database.new_address(), "DRIVER": driver, "JOURNAL": str(journal)}
        shared |= {"BOT_API_ROOT": telegram.root, "HASTE": str(HASTE)}
        receiver = shared | {"ROLE": "receive"} | ({"PORT": str(free_port())} if webhook else {})
        receivers = [receiver] if webhook else [receiver, receiver]  # of two that poll one stands by
        crew = Crew(folder, journal, [*receivers, shared | {"ROLE": "work"}, shared | {"ROLE": "work"}])
        with crew:
            with sending(telegram, sent, random, pace=PACE * 3):
                for number in range(kills):
                    time.sleep(random.uniform(*LIVES) * 1.5)
                    if number % 8 == 7:
                        note(journal, "down")
                        database.stop()
                        time.sleep(random.uniform(0.0, 1.0))
                        database.start()
                        time.sleep(10 / HASTE)  # until all leases that could end by that have ended
                        note(journal, "up")
                    else:
                        crew.kill(random.randrange(len(receivers) + 2))
                    crew.replace_who_has_ended()
            end = time.monotonic() + PATIENCE
            while len(_ended(journal)) < sum(sent.values()):
                assert time.monotonic() < end, f"not all is handled in time; see {folder}"
                crew.replace_who_has_ended()
                time.sleep(0.2)
            assert set(crew.stop()) == {0}
    counts = judge(read(journal), sent)
    counts.kills = kills
    return counts


def _ended(journal: Path) -> set[tuple[int, int]]:
    return {(line.chat, line.number) for line in read(journal) if line.what == "end"}


def _until_handled(bot: Process, journal: Path, sent: int) -> None:
    end = time.monotonic() + PATIENCE
    while len(_ended(journal)) < sent:
        assert time.monotonic() < end, f"not all is handled in time:\n{bot.output}"
        time.sleep(0.2)


def main() -> int:
    """Torment every kind of bot, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="of all bots together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--inbox", choices=["sqlite", "postgresql"], default="sqlite")
    given = parser.parse_args()
    kinds = [(webhook, driver) for webhook in (False, True) for driver in ("asyncio", "trio", "blocking")]
    wrong = 0
    for index, (webhook, driver) in enumerate(kinds):
        kills = given.kills * (index + 1) // len(kinds) - given.kills * index // len(kinds)
        with tempfile.TemporaryDirectory() as name:
            what: dict[str, Any] = {"webhook": webhook, "driver": driver, "kills": kills, "folder": Path(name)}
            what["seed"] = given.seed + index
            if given.inbox == "sqlite":
                counts = torment(inbox=f"sqlite:///{name}/inbox.db", **what)
            else:
                with serving() as database:
                    counts = torment_shared(database=database, **what)
        said = [f"{'webhook' if webhook else 'polling'}, {driver}, {given.inbox}: {counts}", *counts.wrong[:10]]
        sys.stdout.write("\n".join(said) + "\n")
        sys.stdout.flush()
        wrong += len(counts.wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
