"""What a person sees of `hookline demo`: each user's messages and answers while it runs, and the count at the end.

Of what the bot reports, each kind is shown once, with how often it came: a slow handler makes the same report for every
update. Without a terminal there is no picture and no colour.
"""

from __future__ import annotations

import logging
from collections import Counter
from types import TracebackType

from attrs import define
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hookline_io.cli.demo import Settings, Summary, Tally

SHOWN = 12
"""This many users have a line of their own."""
WIDTH = 40


@define
class Repeated:
    """A kind of report: the first one's text, and how often the kind came."""

    text: str
    times: int = 0


class View(logging.Handler):
    """Shows a demo on the terminal; without one, only its beginning and its end."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(logging.INFO)
        self._settings = settings
        self._console = Console(highlight=False)
        self._live = Live(console=self._console, refresh_per_second=12)
        self._reports: dict[str, Repeated] = {}

    def __enter__(self) -> View:
        settings = self._settings
        how = "by webhook" if settings.webhook else "by long polling"
        self._say(
            f"An echo bot {how}, on the {settings.driver} driver: {settings.users} users send {settings.updates} "
            f"updates, and the handler takes {settings.slow:g} s."
        )
        logging.basicConfig(level=logging.INFO, handlers=[self])
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        if not self._console.is_terminal:
            self._console.print(self._repeated(), soft_wrap=True)

    def emit(self, record: logging.LogRecord) -> None:
        """Show what happened, and count what is reported."""
        verdict = getattr(record, "verdict", None)
        if verdict is None:
            self._say(record.getMessage())
        else:
            self._reports.setdefault(verdict, Repeated(record.getMessage())).times += 1

    def show(self, tally: Tally, answers: list[str]) -> None:
        """Bring the picture up to date."""
        if not self._console.is_terminal:
            return
        users = dict(tally.sent)
        sent = Counter(user for _, user in tally.sent)
        answered = Counter(users[text] for text in set(answers))
        table = Table(box=None)
        for name in ("user", "sent", "answered"):
            table.add_column(name, justify="right")
        table.add_column()
        share = self._settings.updates / self._settings.users
        for user in sorted(sent)[:SHOWN]:
            bar = ProgressBar(total=share, completed=answered[user], width=WIDTH)
            table.add_row(str(user), str(sent[user]), str(answered[user]), bar)
        done = len(set(answers))
        total = ProgressBar(total=self._settings.updates, completed=done, width=WIDTH)
        table.add_row("all", str(len(tally.sent)), str(done), total, style="bold")
        self._live.update(Group(table, self._repeated()))

    def sum_up(self, summary: Summary) -> None:
        """Print the count."""
        self._say(f"After {summary.seconds:.1f} s:")
        table = Table(show_header=False, box=None, pad_edge=False)
        rows = (
            ("sent", summary.sent, True),
            ("handled", summary.handled, summary.handled == summary.sent),
            ("answered", summary.answered, summary.answered == summary.sent),
            ("lost", summary.lost, summary.lost == 0),
            ("handled twice", summary.twice, summary.twice == 0),
            ("out of order in a chat", summary.out_of_order, summary.out_of_order == 0),
            ("two at once in a chat", summary.at_once, summary.at_once == 0),
        )
        for name, number, good in rows:
            table.add_row(name, Text(str(number), style="green" if good else "bold red", justify="right"))
        self._console.print(table)
        if not summary.good:
            self._console.print("This is not as it should be.", style="bold red")

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=not self._console.is_terminal)

    def _repeated(self) -> RenderableType:
        """Each kind of report."""
        reports = list(self._reports.items())  # at once, since the bot's thread adds to them
        return Group(*(Text(f"{one.times} x {verdict}: {one.text}", style="yellow") for verdict, one in reports))
