"""What a person sees of `hookline demo`: each user's messages and answers while it runs, and the count at the end."""

from __future__ import annotations

import logging
from collections import Counter
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.logging import RichHandler
from rich.table import Table
from rich.text import Text

from hookline_io.demo import Settings, Summary, Tally

SHOWN = 12
"""This many users have a line of their own."""
WIDTH = 40


class View:
    """Shows a demo on the terminal; without one, only the log and the count."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._console = Console(highlight=False)
        self._live = Live(console=self._console, refresh_per_second=12, transient=not self._console.is_terminal)

    def __enter__(self) -> View:
        settings = self._settings
        how = "by webhook" if settings.webhook else "by long polling"
        self._console.print(
            f"An echo bot {how} on the {settings.driver} driver; {settings.users} users send {settings.updates} "
            f"updates; its handler takes {settings.slow:g} s."
        )
        logging.basicConfig(
            level=logging.INFO,
            format="%(message)s",
            handlers=[RichHandler(console=self._console, show_path=False, show_time=False)],
        )
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, tally: Tally, answers: list[str]) -> None:
        """Bring the picture up to date."""
        if not self._console.is_terminal:
            return
        users = dict(tally.sent)
        sent = Counter(user for _, user in tally.sent)
        answered = Counter(users[text] for text in set(answers))
        table = Table(box=None)
        table.add_column("user", justify="right")
        table.add_column("sent", justify="right")
        table.add_column("answered", justify="right")
        table.add_column("")
        for user in sorted(sent)[:SHOWN]:
            waiting = sent[user] - answered[user]
            bar = Text("=" * min(WIDTH, answered[user]), style="green")
            bar.append("." * min(WIDTH, waiting), style="yellow")
            table.add_row(str(user), str(sent[user]), str(answered[user]), bar)
        table.add_row("all", str(len(tally.sent)), str(len(set(answers))), "")
        self._live.update(table)

    def sum_up(self, summary: Summary) -> None:
        """Print the count."""
        table = Table(title=f"After {summary.seconds:.1f} s", title_justify="left", show_header=False, box=None)
        rows = (
            ("sent", summary.sent, True),
            ("delivered", summary.delivered, summary.delivered == summary.sent),
            ("answered", summary.answered, summary.answered == summary.sent),
            ("repeated", summary.repeated, summary.repeated == 0),
            ("out of order within a chat", summary.out_of_order, summary.out_of_order == 0),
            ("two at once in a chat", summary.at_once, summary.at_once == 0),
            ("lost", summary.lost, summary.lost == 0),
        )
        for name, number, good in rows:
            table.add_row(name, Text(str(number), style="green" if good else "bold red", justify="right"))
        self._console.print(table)
