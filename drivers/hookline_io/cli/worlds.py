"""The commands that try things out: `hookline sim`, `demo`, `fuzz` and `replay`."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import Any

import click

from hookline.errors import OptionError
from hookline_io.cli.arguments import DRIVERS, FILE, Number, Whole, address
from hookline_io.cli.group import Failure, Mistake, main, say, under_way
from hookline_io.cli.logs import start_logging


@main.command()
@click.option("--listen", default="127.0.0.1:8081", show_default=True, metavar="HOST:PORT", help="Where to listen.")
def sim(listen: str) -> None:
    """Serve a simulated Telegram, for testing any bot.

    Give the bot its address for that of the Bot API, and any token of the right form. What users send, and what goes
    wrong, is told to it by HTTP, under /_sim/: the page "The simulated Telegram" of the documentation has a list.
    """
    import asyncio
    import signal

    from hookline_io.simulation import serve_simulation

    async def serve_until_stopped() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with serve_simulation(listen=where) as simulation:
            click.echo(
                f"A simulated Telegram listens. Run a bot with the Bot API's address {simulation.root} and any token "
                "of the right form, such as 42:simulated-token-of-my-bot"
            )
            await stop.wait()

    where = address(listen, "--listen")
    start_logging()
    with under_way():
        asyncio.run(serve_until_stopped())


@main.command(short_help="Look for what breaks the protocol, in simulated worlds.")
@click.option("--runs", metavar="N", type=Whole(1), help="Play so many scenarios.  [default: 1000]")
@click.option("--seconds", metavar="N", type=Number(0, min_open=True), help="Play for so long instead.")
@click.option("--seed", metavar="N", type=Whole(0), help="The first scenario's; each has the next.  [default: random]")
@click.option(
    "--jobs",
    metavar="N",
    type=Whole(1, 1_000),
    default=os.cpu_count() or 1,
    help="Play in so many processes.  [default: one for each processor]",
)
@click.option("--save", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="Write failures there.")
@click.option("--all-transitions", is_flag=True, help="Fail also if a declared transition of a machine was not taken.")
@click.argument("scenarios", type=FILE, nargs=-1, metavar="[SCENARIO]...")
def fuzz(
    runs: int | None,
    seconds: float | None,
    seed: int | None,
    jobs: int,
    save: Path,
    all_transitions: bool,
    scenarios: tuple[Path, ...],
) -> None:
    """Play random scenarios in virtual time, and look for an invariant that breaks.

    The first that fails is made as small as can be and written to a file. SCENARIOs are such files: they alone are
    played.
    """
    from hookline.testing import play
    from hookline_io.cli import fuzzing
    from hookline_io.cli.fuzzing_view import View

    if runs is not None and seconds is not None:
        raise Mistake("--runs and --seconds exclude each other")
    if scenarios:
        seconds, runs = None, len(scenarios)
    elif seconds is None and runs is None:
        runs = 1_000
    loaded = [(path, fuzzing.load(path)) for path in scenarios]  # a mistake is said before anything is shown
    with View(runs=runs, seconds=seconds) as view:
        failed: list[tuple[fuzzing.Failed, list[Path]]] = []
        missing = 0
        for path, scenario in loaded:
            violation = play(scenario).violation
            if violation is not None:
                failed.append((fuzzing.Failed(scenario, violation), [path]))
        if not scenarios:
            first = secrets.randbelow(1_000_000_000) if seed is None else seed
            tally = fuzzing.fuzz(first, runs=runs, seconds=seconds, jobs=jobs, show=view.show)
            missing = view.sum_up(tally, every=all_transitions)
            if tally.failed:
                view.shrinking()
                smaller = fuzzing.made_smaller(tally.failed[0])
                failed.append((smaller, fuzzing.save(smaller, save)))
    for one, where in failed:
        view.found(one, where)
    if failed:
        sys.exit(1)
    if scenarios:
        click.echo(f"{len(scenarios)} played, and everything holds")
    elif missing and all_transitions:
        raise Failure(f"{missing} transitions were not taken; more runs may take them")
    else:
        click.echo("everything held: no update was lost, repeated or out of order, and no other promise was broken")


@main.command()
@click.option("--webhook", is_flag=True, help="Let Telegram send the updates; otherwise the bot polls.")
@click.option(
    "--slow",
    metavar="SECONDS",
    type=Number(0, 60),
    default=0.1,
    show_default=True,
    help="How long the handler takes.",
)
@click.option(
    "--users",
    metavar="N",
    type=Whole(1, 1_000),
    default=5,
    show_default=True,
    help="How many chats there are.",
)
@click.option(
    "--updates",
    metavar="N",
    type=Whole(1, 5_000),
    help="How many messages and presses of buttons.  [default: what handlers take about 10 s for, at most 100]",
)
@click.option("--driver", type=DRIVERS, default="asyncio", show_default=True, help="What runs the bot.")
def demo(webhook: bool, slow: float, users: int, updates: int | None, driver: str) -> None:
    """Run an echo bot against a simulated Telegram, with lively users.

    At the end it counts what became of every update. The exit status is 0 if none was lost, handled twice or overtaken
    by a later one of its chat, and 1 otherwise.
    """
    from hookline_io.cli.demo import Settings, run_demo, suitable_number
    from hookline_io.cli.demo_view import View

    settings = Settings(webhook, driver, users, updates or suitable_number(users, slow), slow)
    with View(settings) as view:
        summary = run_demo(settings, view.show)
    view.sum_up(summary)
    if not summary.good:
        sys.exit(1)


@main.command()
@click.argument("trace", type=FILE)
@click.option(
    "--draw", "picture", type=click.Path(dir_okay=False, path_type=Path), help="Draw it: FILE.svg, FILE.html."
)
@click.option("--from", "begin", metavar="SECOND", type=float, help="Draw what happened from this second on.")
@click.option("--to", "end", metavar="SECOND", type=float, help="Draw what happened up to this second.")
@click.option(
    "--chat", metavar="ID", help="Draw the updates of this chat alone (with a lane= of your own, of this lane)."
)
@click.option("--rows", metavar="N", type=Whole(1), help="Draw so many events at most.  [default: 300]")
def replay(
    trace: Path, picture: Path | None, begin: float | None, end: float | None, chat: str | None, rows: int | None
) -> None:
    """Play a recorded run again, and compare what comes of it.

    The exit status is 1 if something else comes than was recorded; the first difference is shown.
    """
    from hookline.trace import View, draw, read_trace
    from hookline.trace import replay as play
    from hookline_io.tracing import about_us

    wanted: dict[str, Any] = {"begin": begin, "end": end, "lane": chat, "rows": rows}
    chosen = {name: value for name, value in wanted.items() if value is not None}
    if picture is None and chosen:
        raise OptionError("--from, --to, --chat and --rows are about --draw, which is missing")
    if picture is not None and picture.suffix not in (".svg", ".html"):
        raise OptionError(f"--draw must name a file that ends in .svg or .html, not {str(picture)!r}")
    if begin is not None and end is not None and begin > end:
        raise OptionError(f"--from {begin:g} is later than --to {end:g}")
    with trace.open(encoding="utf-8", errors="replace", newline="\n") as lines:
        recorded = read_trace(lines)
    if recorded.cut_off:
        say("the last line is incomplete, and left out")
    if recorded.header.decode != "default":
        say("it was recorded with a JSON decoder of the program's own, which is not at hand")
    if picture is not None:
        drawing = draw(recorded, View(**chosen))
        if drawing.empty:
            where = "" if chat is None else f" in chat {chat}"
            where += "" if begin is None else f" from {begin:.2f} s on"
            where += "" if end is None else f" up to {end:.2f} s"
            raise Failure(f"there is nothing to draw{where}: the run took {drawing.end:.2f} s")
        picture.write_text(drawing.svg if picture.suffix == ".svg" else drawing.page(), "utf-8")
        click.echo(" ".join([f"drawn to {picture}.", *drawing.left_out]))
    difference = play(recorded)
    if difference is None:
        click.echo(f"{len(recorded.inputs)} inputs replayed, same effects")
        return
    click.echo(str(difference))
    by, ours = recorded.header.about.get("hookline", "of a version that it does not say"), about_us().get("hookline")
    raise Failure(f"another effect than was recorded (by hookline {by}; this is {ours})")
