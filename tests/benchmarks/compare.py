"""What an update costs with hookline and with its peers: processor time of the bot's process, side by side.

`tox -e benchmarks` installs the peers, and prints a table for each kind of work: the medians of several rounds in which
all take turns, their spread, and ratios. A bot that did not get every update is an error.

polling: a handler that does nothing; webhook: the same, over 40 connections that are kept; sending: polling, and one
sendMessage for each update. The first half of the updates is warming up: grammY takes two or three times as long before
its compiler has seen some ten thousand. The last column is from the start of the process to its first getUpdates.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from tests.benchmarks.telegram import SECRET, say
from tests.ports import free_port

BOTS: Final = Path(__file__).parent / "bots"
TOKEN: Final = f"42:{'t' * 35}"
PATIENCE: Final = 600.0


@frozen
class Contestant:
    """A bot: its name, its file and what it is started with, and what work it can be given."""

    name: str
    file: str
    kind: str = ""
    works: tuple[str, ...] = ("polling", "webhook", "sending")

    @property
    def here(self) -> bool:
        """Whether it can be run here."""
        return not self.file.endswith(".js") or (bool(shutil.which("node")) and "PEERS_NODE_MODULES" in os.environ)


CONTESTANTS: Final = (
    Contestant("floor", "floor_bot.py", "base"),
    Contestant("floor, speed", "floor_bot.py", "speed"),
    Contestant("hookline", "hookline_bot.py", "base"),
    Contestant("hookline[speed]", "hookline_bot.py", "speed"),
    Contestant("hookline, 100 at once", "hookline_bot.py", "base 100", ("sending",)),
    Contestant("hookline[speed], 100 at once", "hookline_bot.py", "speed 100", ("sending",)),
    Contestant("grammY", "grammy_bot.js", "plain"),
    Contestant("grammY, runner", "grammy_bot.js", "runner", ("polling", "sending")),
    Contestant("pyTelegramBotAPI", "telebot_bot.py", "", ("polling", "sending")),
    Contestant("aiogram", "aiogram_bot.py"),
    Contestant("python-telegram-bot", "ptb_bot.py"),
)
UPDATES: Final = {"polling": 100_000, "webhook": 40_000, "sending": 20_000}


@frozen
class Measured:
    """Of one run: microseconds of the processor for an update, KiB at the most, seconds to the first getUpdates."""

    microseconds: float
    peak: int
    start: float | None


def measure(one: Contestant, work: str, updates: int, chats: int = 100) -> Measured:
    """Run a bot until it has had every update."""
    telegram = [sys.executable, "-m", "tests.benchmarks.telegram", "--updates", str(updates), "--chats", str(chats)]
    with subprocess.Popen(telegram, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        port = read(server)
        hook = free_port()
        program = "node" if one.file.endswith(".js") else sys.executable
        env = {
            **os.environ,
            "BOT_API_ROOT": f"http://127.0.0.1:{port}",
            "BOT_TOKEN": TOKEN,
            "NODE_ENV": "production",
            "NODE_PATH": os.environ.get("PEERS_NODE_MODULES", ""),
            "PORT": str(hook),
            "SECRET": SECRET,
            "UPDATES": str(updates),
        }
        began = time.monotonic()
        with subprocess.Popen([program, str(BOTS / one.file), work, one.kind], stdout=subprocess.PIPE, env=env) as bot:
            try:
                if work == "webhook":
                    wait_for(hook)
                    server.stdin.write(f"{hook}\n")
                    server.stdin.flush()
                    assert read(server)["answered"] == updates
                report = read(bot)
            finally:
                bot.kill()
        counts, _ = server.communicate(timeout=PATIENCE)
    told = json.loads(counts)
    assert report["seen"] == updates, f"{one.name} has seen {report['seen']} of {updates} updates"
    assert work != "sending" or told["sent"] == updates, f"{one.name} has sent {told['sent']} of {updates} messages"
    start = None if told["first_poll"] is None else told["first_poll"] - began
    return Measured(report["microseconds"], report["peak"], start)


def read(process: subprocess.Popen[Any]) -> Any:
    """The next line that a process prints."""
    assert process.stdout is not None
    for line in process.stdout:
        text = line if isinstance(line, str) else line.decode()
        if text.startswith("{") or text.strip().isdigit():
            return json.loads(text)
    raise RuntimeError(f"process {process.pid} has ended before it was done")


def wait_for(port: int) -> None:
    """Wait until somebody listens, by looking at who does: a connection would count as one of the bot's."""
    wanted = f":{port:04X} 00000000:0000 0A"
    end = time.monotonic() + 60
    while wanted not in Path("/proc/net/tcp").read_text(encoding="ascii"):
        assert time.monotonic() < end, "the bot does not listen"
        time.sleep(0.01)


def compare(work: str, contestants: Sequence[Contestant], updates: int, rounds: int) -> dict[str, list[Measured]]:
    """Let all of them do it in turns."""
    found: dict[str, list[Measured]] = defaultdict(list)
    for _ in range(rounds):
        for one in contestants:
            if work in one.works:
                found[one.name].append(measure(one, work, updates))
                say(f"{work}: {one.name}: {found[one.name][-1].microseconds:.1f} us")
    return found


def show(work: str, updates: int, found: dict[str, list[Measured]]) -> None:
    """Print a table, with ratios to grammY (without its runner) and to aiogram."""
    medians = {name: statistics.median(one.microseconds for one in all_) for name, all_ in found.items()}
    say(f"\n{work}, {updates} updates\n")
    say("| | us per update | spread | of grammY | of aiogram | MiB at the most | s to getUpdates |")
    say("| --- | --- | --- | --- | --- | --- | --- |")
    for name, runs in found.items():
        costs = [one.microseconds for one in runs]
        ratios = (f"{medians[name] / medians[peer]:.2f}" if peer in medians else "" for peer in ("grammY", "aiogram"))
        starts = [one.start for one in runs if one.start is not None]
        start = f"{statistics.median(starts):.2f}" if starts else ""
        peak = f"{statistics.median(one.peak for one in runs) / 1024:.0f}"
        spread = f"{min(costs):.1f} to {max(costs):.1f}"
        say(f"| {' | '.join([name, f'{medians[name]:.1f}', spread, *ratios, peak, start])} |")


def draw(found: dict[str, dict[str, list[Measured]]]) -> str:
    """A picture of all works: a bar for each bot, and a line for its spread."""
    parts: list[str] = []
    top = 0
    for work, runs in found.items():
        costs = {name: [one.microseconds for one in all_] for name, all_ in runs.items()}
        scale = 420 / max(max(all_) for all_ in costs.values())
        parts.append(f'<text x="0" y="{top + 16}" font-weight="bold">{work}</text>')
        top += 26
        for name, all_ in costs.items():
            median = statistics.median(all_)
            ends = [190 + min(all_) * scale, 190 + max(all_) * scale]
            kind = "ours" if name.startswith("hookline") else "floor" if name.startswith("floor") else "theirs"
            parts += [
                f'<text x="180" y="{top + 13}" text-anchor="end">{name}</text>',
                f'<rect class="{kind}" x="190" y="{top + 2}" width="{median * scale:.1f}" height="14"/>',
                f'<path d="M{ends[0]:.1f} {top + 9}H{ends[1]:.1f}" stroke="currentColor"/>',
                f'<text x="{ends[1] + 6:.1f}" y="{top + 13}">{median:.0f} us</text>',
            ]
            top += 20
        top += 14
    style = ".ours{fill:#2da44e}.theirs{fill:#8c959f}.floor{fill:#54aeff}text{fill:#57606a;font:12px sans-serif}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 680 {top}" color="#57606a" role="img">'
    return f"{head}<title>Microseconds for an update</title><style>{style}</style>{''.join(parts)}</svg>\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", nargs="+", choices=UPDATES, default=list(UPDATES))
    parser.add_argument("--bots", nargs="+", metavar="NAME", help="only those whose names begin so")
    parser.add_argument("--updates", type=int, help=f"of each run (default: {UPDATES})")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw it")
    options = parser.parse_args()
    wanted = tuple(options.bots or [""])
    contestants = [one for one in CONTESTANTS if one.here and one.name.startswith(wanted)]
    found = {}
    for work in options.work:
        updates = options.updates or UPDATES[work]
        found[work] = compare(work, contestants, updates, options.rounds)
        show(work, updates, found[work])
    if options.svg is not None:
        options.svg.write_text(draw(found), encoding="utf-8")


if __name__ == "__main__":
    main()
