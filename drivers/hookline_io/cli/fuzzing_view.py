"""What a person sees of `hookline fuzz`: how far it is, what it has covered, and what it has found."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from hookline_io.cli.fuzzing import Failed, Tally, declared_edges


class View:
    """Shows a fuzz run on the terminal; without one, only its end."""

    def __init__(self, *, runs: int | None, seconds: float | None) -> None:
        self.console = Console(highlight=False)
        self._began = time.monotonic()
        self._seconds = seconds
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[said]}"),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal)
        self._task = self._progress.add_task("playing", total=runs if seconds is None else seconds, said="")

    def __enter__(self) -> View:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, tally: Tally) -> None:
        """Bring the bar up to date."""
        done = tally.runs if self._seconds is None else time.monotonic() - self._began
        said = f"{tally.runs} scenarios, {tally.simulated / 3600:.0f} h simulated"
        self._progress.update(self._task, completed=done, said=said)

    def shrinking(self) -> None:
        """Say that a failure is being made smaller."""
        self._progress.update(self._task, description="making it smaller")

    def sum_up(self, tally: Tally, *, every: bool) -> int:
        """Print the count; how many transitions were not taken. every: all should have been, so those are listed."""
        took = time.monotonic() - self._began
        declared = declared_edges()
        missing = sorted(declared - tally.edges)
        table = Table(show_header=False, box=None, pad_edge=False)
        rows = (
            ("scenarios", str(tally.runs)),
            ("simulated hours", f"{tally.simulated / 3600:.1f}"),
            ("updates", f"{tally.updates} ({tally.updates / took:.0f} per second)"),
            ("facts told", f"{tally.steps} ({tally.steps / took:.0f} per second)"),
            ("transitions taken", f"{len(declared) - len(missing)} of {len(declared)}"),
        )
        for name, value in rows:
            table.add_row(name, Text(value, justify="right"))
        self.console.print(f"After {took:.1f} s:")
        self.console.print(table)
        if every:
            for machine, source, target in missing:
                self.console.print(f"not taken: {machine} from {source} to {target}")
        elif missing:
            self.console.print(
                "Some transitions are rare, so that a short run does not take them all: that is no failure.",
                soft_wrap=True,
            )
        return len(missing)

    def found(self, failed: Failed, paths: list[Path]) -> None:
        """Print what a scenario broke, and how to play it again and look at it."""
        self.console.print(Text(failed.violation[1], style="bold red"))
        for path in paths:
            again = f"look at a bot: hookline replay {path} --draw {path.with_suffix('.html')}"
            if path.suffix == ".json":
                again = f"play it again: hookline fuzz {path}"
            self.console.print(again, soft_wrap=True)
