"""The command `hookline`: what people type, and what they see.

Every mistake of the person who types gets one sentence on standard error and a non-zero status, never a traceback.
The token comes from the environment or a file, never as an argument, where the list of processes would show it. Imports
that only some commands need are made by those, so that a bot starts at once.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

try:
    import click
except ImportError:  # pragma: no cover - the extra is installed where tests run
    sys.exit("hookline: the command needs the extra 'cli': pip install 'hookline[cli]'")

from hookline.errors import HooklineError, OptionError
from hookline.options import (
    ApiOptions,
    PollingOptions,
    SetWebhookOptions,
    WebhookOptions,
    check_secret_token,
)

F = TypeVar("F", bound="Callable[..., Any]")

DRIVERS = click.Choice(["asyncio", "trio", "blocking"])


class Commands(click.Group):
    """The group of all commands: turns hookline's errors into one sentence."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what goes wrong is said in one line."""
        try:
            return super().invoke(ctx)
        except (HooklineError, OSError) as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hookline")
def main() -> None:
    """Carry a Telegram bot's updates to its handler, by long polling or by webhook."""


# What several commands take


def bot_options(command: F) -> F:
    """The options of all that needs a token."""
    for option in (
        click.option("--api-root", default="https://api.telegram.org", show_default=True, help="The Bot API server."),
        click.option("--token-file", type=click.Path(path_type=Path), help="Read the token here, not from BOT_TOKEN."),
    ):
        command = option(command)
    return command


def run_options(command: F) -> F:
    """The options of all that runs a handler."""
    for option in (
        click.option("-q", "--quiet", is_flag=True, help="Log warnings only."),
        click.option("--grace", type=float, default=20.0, show_default=True, help="Seconds for handlers at a stop."),
        click.option("--allowed-updates", metavar="KINDS", help="Kinds of updates to receive, by commas."),
        click.option("--drop-pending", is_flag=True, help="Forget what waits at Telegram."),
        click.option("--driver", type=DRIVERS, default="asyncio", show_default=True),
        click.argument("handler", metavar="MODULE:HANDLER"),
    ):
        command = option(command)
    return bot_options(command)


def read_token(token_file: Path | None) -> str:
    """The token. OptionError if there is none."""
    if token_file is not None:
        if not token_file.is_file():
            raise OptionError(f"the token file {str(token_file)!r} does not exist")
        return token_file.read_text().strip()
    token = os.environ.get("BOT_TOKEN", "").strip()
    if not token:
        raise OptionError("no token: set BOT_TOKEN, or give --token-file")
    return token


def find_handler(reference: str) -> Callable[..., Any]:
    """The handler that MODULE:HANDLER names. OptionError if it can't be imported."""
    import importlib

    module_name, colon, name = reference.partition(":")
    if not colon or not module_name or not name:
        raise OptionError(f"{reference!r} does not name a handler: write MODULE:HANDLER, as in mybot:handler")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and module_name.startswith(error.name):
            raise OptionError(f"there is no module {module_name!r} here") from None
        raise OptionError(f"the module {module_name!r} cannot be imported: {error}") from None
    except Exception as error:  # a module may raise anything while it is imported
        raise OptionError(f"the module {module_name!r} cannot be imported: {type(error).__name__}: {error}") from None
    for part in name.split("."):
        if not hasattr(found, part):
            raise OptionError(f"the module {module_name!r} has no {name!r}")
        found = getattr(found, part)
    if not callable(found):
        raise OptionError(f"{reference!r} is a {type(found).__name__}, not a function")
    return found  # type: ignore[no-any-return]


def names(text: str | None) -> tuple[str, ...] | None:
    """A list that was written with commas."""
    return None if text is None else tuple(name.strip() for name in text.split(",") if name.strip())


def address(text: str, option: str) -> tuple[str, int]:
    """HOST:PORT. OptionError if it is none."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65_535:
        raise OptionError(f"{option} must be HOST:PORT, as in 127.0.0.1:8080, not {text!r}")
    return host.strip("[]"), int(port)


def start_logging(*, quiet: bool) -> None:
    """Log to standard error, a line each."""
    level = logging.WARNING if quiet else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)-7s %(message)s", stream=sys.stderr)


def carry(driver: str, entry: str, *args: Any, **kwargs: Any) -> None:
    """Run one of a driver's entries to its end."""
    if driver == "blocking":
        from hookline_io import blocking

        getattr(blocking, entry)(*args, **kwargs)
        return
    if driver == "asyncio":
        import asyncio

        from hookline_io import asyncio as on_asyncio

        asyncio.run(getattr(on_asyncio, entry)(*args, **kwargs))
        return
    try:
        import trio
    except ImportError:
        raise OptionError("the trio driver needs the extra 'trio': pip install 'hookline[trio]'") from None
    from functools import partial

    from hookline_io import trio as on_trio

    trio.run(partial(getattr(on_trio, entry), *args, **kwargs))


# Bots


@main.command()
@run_options
@click.option("--concurrency", type=int, default=1, show_default=True, help="Chats handled at once.")
@click.option("--confirm", type=click.Choice(["handled", "received"]), default="handled", show_default=True)
@click.option("--on-error", type=click.Choice(["pass", "stop"]), default="pass", show_default=True)
@click.option("--poll-timeout", type=int, default=30, show_default=True, help="Seconds of one long poll.")
@click.option("--health", metavar="HOST:PORT", help="Serve /healthz there.")
def run(
    handler: str,
    token_file: Path | None,
    api_root: str,
    driver: str,
    drop_pending: bool,
    allowed_updates: str | None,
    grace: float,
    quiet: bool,
    concurrency: int,
    confirm: Any,
    on_error: Any,
    poll_timeout: int,
    health: str | None,
) -> None:
    """Run a bot by long polling."""
    token = read_token(token_file)
    options = PollingOptions(
        timeout=poll_timeout,
        allowed_updates=names(allowed_updates),
        drop_pending_updates=drop_pending,
        concurrency=concurrency,
        confirm=confirm,
        on_error=on_error,
        grace=grace,
    )
    where = address(health, "--health") if health is not None else None
    start_logging(quiet=quiet)
    carry(driver, "run_polling", find_handler(handler), token, options, api=ApiOptions(root=api_root), health=where)


@main.command()
@run_options
@click.option("--listen", required=True, metavar="HOST:PORT", help="Where to listen.")
@click.option("--path", default="/", show_default=True, help="The path of the requests.")
@click.option("--url", help="Call setWebhook with this address first.")
@click.option("--timeout", type=float, default=10.0, show_default=True, help="Seconds to answer a request in.")
@click.option("--on-timeout", type=click.Choice(["throw", "return", "cancel"]), default="throw", show_default=True)
@click.option("--concurrency", type=int, default=100, show_default=True, help="Chats handled at once.")
@click.option("--secret-file", type=click.Path(path_type=Path), help="The secret token's file; made if it is missing.")
@click.option("--cert", type=click.Path(), help="Serve TLS with this certificate.")
@click.option("--key", type=click.Path(), help="The certificate's key.")
@click.option("--reply-with", metavar="METHODS", help="Methods whose calls may travel in the response, by commas.")
@click.option("--max-connections", type=int, help="setWebhook's max_connections.")
@click.option("--delete-webhook", is_flag=True, help="Call deleteWebhook at the stop.")
def serve(
    handler: str,
    token_file: Path | None,
    api_root: str,
    driver: str,
    drop_pending: bool,
    allowed_updates: str | None,
    grace: float,
    quiet: bool,
    listen: str,
    path: str,
    url: str | None,
    timeout: float,
    on_timeout: Any,
    concurrency: int,
    secret_file: Path | None,
    cert: str | None,
    key: str | None,
    reply_with: str | None,
    max_connections: int | None,
    delete_webhook: bool,
) -> None:
    """Run a bot by webhook, on a server of its own."""
    from hookline.botapi import Token

    token = Token(read_token(token_file))
    if (cert is None) != (key is None):
        raise OptionError("--cert and --key go together")
    options = WebhookOptions(
        path=path,
        timeout=timeout,
        on_timeout=on_timeout,
        concurrency=concurrency,
        grace=grace,
        secret_token=keep_secret(secret_file or state_folder() / f"{token.bot_id}.secret"),
    )
    set_webhook = None
    if url is not None:
        set_webhook = SetWebhookOptions(
            url=url,
            certificate=Path(cert).read_bytes() if cert is not None and Path(cert).is_file() else None,
            max_connections=max_connections,
            allowed_updates=names(allowed_updates),
            drop_pending_updates=drop_pending,
            delete_at_stop=delete_webhook,
        )
    methods = {name.lower() for name in names(reply_with) or ()}
    start_logging(quiet=quiet)
    carry(
        driver,
        "serve_webhook",
        find_handler(handler),
        token,
        options,
        listen=address(listen, "--listen"),
        url=set_webhook,
        api=ApiOptions(root=api_root),
        reply_with=(lambda method: method.lower() in methods) if methods else None,
        certificate=(cert, key) if cert is not None else None,
    )


def state_folder() -> Path:
    """Where secrets are kept between starts, by the XDG rules."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "hookline"


def keep_secret(path: Path) -> str:
    """The secret token of a file that only its owner may read; made if it is missing."""
    try:
        secret = path.read_text().strip()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        secret = secrets.token_urlsafe(32)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secret + "\n")
    check_secret_token(secret)
    return secret


# Calls


def call_api(token: str, api_root: str, method: str, **params: Any) -> Any:
    """One call of the Bot API."""
    from hookline_io.blocking import Api

    logging.getLogger("hookline").setLevel(logging.ERROR)  # the exception says it
    with Api(token, ApiOptions(root=api_root)) as api:
        return api.call(method, **params)


@main.command()
@bot_options
@click.argument("method")
@click.argument("params", nargs=-1, metavar="[KEY=VALUE]...")
def call(token_file: Path | None, api_root: str, method: str, params: tuple[str, ...]) -> None:
    """Call any method of the Bot API.

    A value that is JSON is sent as that, @PATH sends a file, and anything else is text.
    """
    values = {}
    for param in params:
        key, equals, value = param.partition("=")
        if not equals or not key:
            raise OptionError(f"{param!r} is no parameter: write KEY=VALUE")
        values[key] = read_value(value)
    result = call_api(read_token(token_file), api_root, method, **values)
    click.echo(json.dumps(result, ensure_ascii=False, indent=2))


def read_value(text: str) -> Any:
    """A parameter's value, from what was typed."""
    from hookline.botapi import InputFile

    if text.startswith("@") and len(text) > 1 and ("/" in text or Path(text[1:]).is_file()):
        if not Path(text[1:]).is_file():
            raise OptionError(f"the file {text[1:]!r} does not exist")
        return InputFile(text[1:])
    try:
        return json.loads(text)
    except ValueError:
        return text


@main.group()
def webhook() -> None:
    """Look at, set or delete the bot's webhook."""


@webhook.command("info")
@bot_options
def webhook_info(token_file: Path | None, api_root: str) -> None:
    """Show what Telegram knows of the webhook."""
    from datetime import datetime, timezone

    from rich.console import Console
    from rich.table import Table

    from hookline.objects import WebhookInfo, structure

    info = structure(call_api(read_token(token_file), api_root, "getWebhookInfo"), WebhookInfo)
    table = Table(show_header=False, box=None)
    table.add_row("url", info.url or "(none)")
    table.add_row("pending updates", str(info.pending_update_count))
    if info.max_connections is not None:
        table.add_row("max connections", str(info.max_connections))
    if info.ip_address is not None:
        table.add_row("ip address", info.ip_address)
    if info.allowed_updates is not None:
        table.add_row("allowed updates", ", ".join(info.allowed_updates))
    if info.last_error_date is not None:
        when = datetime.fromtimestamp(info.last_error_date, timezone.utc)
        table.add_row("last error", f"{when:%Y-%m-%d %H:%M:%S} UTC: {info.last_error_message}")
    Console(highlight=False, markup=False).print(table)


@webhook.command("set")
@bot_options
@click.option("--url", required=True)
@click.option("--secret-file", type=click.Path(path_type=Path), help="The secret token's file; made if it is missing.")
@click.option("--max-connections", type=int)
@click.option("--allowed-updates", metavar="KINDS")
@click.option("--drop-pending", is_flag=True)
def webhook_set(
    token_file: Path | None,
    api_root: str,
    url: str,
    secret_file: Path | None,
    max_connections: int | None,
    allowed_updates: str | None,
    drop_pending: bool,
) -> None:
    """Set the webhook."""
    from hookline.botapi import Token

    token = Token(read_token(token_file))
    kinds = names(allowed_updates)
    call_api(
        token.value,
        api_root,
        "setWebhook",
        url=SetWebhookOptions(url=url).url,
        secret_token=keep_secret(secret_file or state_folder() / f"{token.bot_id}.secret"),
        max_connections=max_connections,
        allowed_updates=None if kinds is None else list(kinds),
        drop_pending_updates=drop_pending or None,
    )
    click.echo(f"the webhook is set to {url}")


@webhook.command("delete")
@bot_options
@click.option("--drop-pending", is_flag=True)
def webhook_delete(token_file: Path | None, api_root: str, drop_pending: bool) -> None:
    """Delete the webhook."""
    call_api(read_token(token_file), api_root, "deleteWebhook", drop_pending_updates=drop_pending or None)
    click.echo("the webhook is deleted")


@main.command()
@click.argument("url")
def health(url: str) -> None:
    """Ask a running bot's /healthz; the exit status is 0 if it is healthy."""
    from http.client import HTTPConnection, HTTPException
    from urllib.parse import urlsplit

    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme != "http" or not parts.hostname:
        raise OptionError(f"{url!r} is no address: write http://127.0.0.1:8080/healthz")
    connection = HTTPConnection(parts.hostname, parts.port or 80, timeout=10)
    try:
        connection.request("GET", parts.path or "/healthz")
        response = connection.getresponse()
        click.echo(response.read(10_000).decode("utf-8", "replace"))
    except (OSError, HTTPException) as error:
        raise OptionError(f"no answer from {url}: {error}") from None
    finally:
        connection.close()
    if response.status != 200:
        sys.exit(1)


# The simulated Telegram


@main.command()
@click.option("--listen", default="127.0.0.1:8081", show_default=True, metavar="HOST:PORT")
def sim(listen: str) -> None:
    """Serve a simulated Telegram, for testing any bot. Its controls are under /_sim/."""
    import asyncio
    import signal

    from hookline_io.simulation import serve_simulation

    async def serve_until_stopped() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with serve_simulation(listen=address(listen, "--listen")) as simulation:
            click.echo(f"a simulated Telegram listens: use {simulation.root} as the Bot API's address, any token")
            await stop.wait()

    start_logging(quiet=False)
    asyncio.run(serve_until_stopped())


@main.command()
@click.option("--webhook", is_flag=True, help="Serve a webhook; otherwise the bot polls.")
@click.option("--driver", type=DRIVERS, default="asyncio", show_default=True)
@click.option("--users", type=click.IntRange(1, 1_000), default=5, show_default=True)
@click.option("--updates", type=click.IntRange(1, 5_000), default=100, show_default=True)
@click.option("--slow", type=click.FloatRange(0, 60), default=0.1, show_default=True, help="Seconds a handler takes.")
def demo(webhook: bool, driver: str, users: int, updates: int, slow: float) -> None:
    """Run an echo bot against a simulated Telegram, with lively users."""
    from hookline_io.demo import Settings, run_demo
    from hookline_io.demo_view import View

    settings = Settings(webhook, driver, users, updates, slow)
    with View(settings) as view:
        summary = run_demo(settings, view.show)
    view.sum_up(summary)
    if not summary.good:
        sys.exit(1)
