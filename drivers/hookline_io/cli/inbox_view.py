"""What people see of an inbox: `hookline inbox status` and `hookline inbox failed`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hookline.effects import Status
from hookline_io.stores import FailedUpdate, LaneLoad, Overview, WorkerLoad

MEANINGS = {
    Status.WAITING: "to be handled",
    Status.RUNNING: "being handled",
    Status.FAILED: "given up: see hookline inbox failed",
    Status.DONE: "handled, and still known",
}


def show_overview(overview: Overview, lanes: list[LaneLoad], now: float) -> None:
    """How many updates are where, and which chats are behind. now: in Unix seconds."""
    click.echo(f"the inbox of bot {overview.bot_id}")
    for status, meaning in MEANINGS.items():
        click.echo(f"{overview.counts.get(status, 0):8}  {status.name.lower():8} {meaning}")
    if overview.workers is not None:
        _show_workers(overview.workers)
    if overview.oldest is None:
        click.echo("nothing waits")
        return
    click.echo(f"the oldest came {_ago(now - overview.oldest)} ago")
    table = Table(box=None, pad_edge=False)
    for name in ("chat", "waiting", "running", "the oldest came"):
        table.add_column(name, justify="left" if name == "chat" else "right")
    for lane in lanes:
        table.add_row(Text(str(lane.lane)), str(lane.waiting), str(lane.running), f"{_ago(now - lane.oldest)} ago")
    _print(table)


def _show_workers(workers: Sequence[WorkerLoad]) -> None:
    if not workers:
        click.echo("no process works on it, and none polls")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("process", "polls", "chats", "was seen"):
        table.add_column(name, justify="right" if name == "chats" else "left")
    for worker in workers:
        polls = "polls" if worker.polls else ""
        table.add_row(Text(worker.name), polls, str(worker.lanes), f"{_ago(worker.seen)} ago")
    _print(table)


def show_failed(failed: list[FailedUpdate]) -> None:
    """What was given up, and why."""
    if not failed:
        click.echo("nothing was given up")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("update", "chat", "kind", "runs", "given up", "why"):
        table.add_column(name, overflow="fold")
    for one in failed:
        when = f"{datetime.fromtimestamp(one.failed, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
        cells = (one.update.update_id, one.update.lane, one.update.kind or "empty", one.runs, when, one.error or "")
        table.add_row(*(Text(str(cell)) for cell in cells))
    _print(table)


def _print(table: Table) -> None:
    """Print a table without the blanks that fill its lines up."""
    console = Console(highlight=False)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def _ago(seconds: float) -> str:
    """So long, in words that are short."""
    seconds = max(0.0, seconds)
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
