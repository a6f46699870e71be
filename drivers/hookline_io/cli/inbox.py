"""The commands that look at an inbox and put it right: `hookline inbox`."""

from __future__ import annotations

import json

import click

from hookline.errors import OptionError
from hookline_io.cli.arguments import Whole, options
from hookline_io.cli.group import Failure, main

inbox_address = options(
    click.argument("address", metavar="ADDRESS"),
    click.option("--bot", "bot_id", metavar="ID", type=int, help="Whose, where a database has several bots' inboxes."),
)
inbox_updates = options(
    click.argument("update_ids", metavar="[UPDATE_ID]...", nargs=-1, type=Whole(0)),
    click.option("--all", "every", is_flag=True, help="All that were given up."),
)


@main.group()
def inbox() -> None:
    """Look at an inbox, and put right what was given up; its bot may run meanwhile.

    ADDRESS is what the bot was given, as in sqlite:///inbox.db or postgresql://host/database.
    """


@inbox.command("status")
@inbox_address
@click.option("--chats", metavar="N", type=Whole(0), default=10, show_default=True, help="Show so many chats at most.")
def inbox_status(address: str, bot_id: int | None, chats: int) -> None:
    """Count the updates, and show the chats that are behind the longest."""
    import time

    from hookline_io.cli.inbox_view import show_overview
    from hookline_io.stores import inspection_at

    with inspection_at(address, bot_id) as found:
        show_overview(found.overview(), found.slowest(chats), time.time())


@inbox.command("failed")
@inbox_address
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, with the whole update.")
def inbox_failed(address: str, bot_id: int | None, as_json: bool) -> None:
    """List the updates that were given up, and why."""
    from hookline_io.cli.inbox_view import show_failed
    from hookline_io.stores import inspection_at

    with inspection_at(address, bot_id) as found:
        failed = found.failed()
    if not as_json:
        show_failed(failed)
        return
    for one in failed:
        said = {"update": one.update.raw, "runs": one.runs, "error": one.error, "failed": one.failed}
        click.echo(json.dumps(said, ensure_ascii=False))


@inbox.command("retry")
@inbox_address
@inbox_updates
def inbox_retry(address: str, bot_id: int | None, update_ids: tuple[int, ...], every: bool) -> None:
    """Let updates that were given up be handled again, as if they had just come."""
    from hookline_io.stores import inspection_at

    wanted = which(update_ids, every)
    with inspection_at(address, bot_id) as found:
        tell_which(found.retry(wanted), update_ids, "to be handled again")


@inbox.command("purge")
@inbox_address
@inbox_updates
def inbox_purge(address: str, bot_id: int | None, update_ids: tuple[int, ...], every: bool) -> None:
    """Remove updates that were given up, for good."""
    from hookline_io.stores import inspection_at

    wanted = which(update_ids, every)
    with inspection_at(address, bot_id) as found:
        tell_which(found.purge(wanted), update_ids, "removed")


def which(update_ids: tuple[int, ...], every: bool) -> tuple[int, ...] | None:
    """The updates that were named; None for all. OptionError for both, or neither."""
    if every == bool(update_ids):
        raise OptionError("name updates by their ids, or give --all")
    return None if every else update_ids


def tell_which(done: list[int], wanted: tuple[int, ...], what: str) -> None:
    """Say what was done. Failure if something that was named had not been given up."""
    click.echo(f"{what}: {len(done)}{' (' + ', '.join(map(str, done)) + ')' if done else ''}")
    missing = [str(update_id) for update_id in wanted if update_id not in done]
    if missing:
        raise Failure(f"not among those that were given up: {', '.join(missing)}")
