"""The command `hookline`: what people type, and what they see.

Every mistake of the person who types gets one sentence on standard error, never a traceback: with status 2 for what was
typed, with status 1 for what went wrong in doing it. The token comes from the environment or a file, never as an
argument, where the list of processes would show it. Imports that only some commands need are made by those, so that a
bot starts at once.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import secrets
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

try:
    import click
except ImportError:
    sys.exit("hookline: the command needs the extra 'cli': pip install 'hookline[cli]'")

from attrs import evolve

from hookline.botapi import Endpoint, Token
from hookline.errors import HooklineError, LocalProtocolError, OptionError
from hookline.options import (
    ApiOptions,
    PollingOptions,
    SetWebhookOptions,
    WebhookOptions,
    check_secret_token,
)

F = TypeVar("F", bound="Callable[..., Any]")

DRIVERS = click.Choice(["asyncio", "trio", "blocking"])
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
EXTRAS = {"rich": "cli", "trio": "trio"}
"""The extra that installs a package."""

_USER_NAME = re.compile(r"@\w+(\s|$)")
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)


class Failure(click.ClickException):
    """What went wrong, in one sentence."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it on standard error."""
        click.echo(f"hookline: {self.message}", file=file, err=file is None)


class Mistake(Failure):
    """What is wrong with what was typed."""

    exit_code = 2


class Commands(click.Group):
    """The group of all commands: turns errors into one sentence."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what goes wrong is said in one line."""
        try:
            return super().invoke(ctx)
        except OptionError as error:
            raise Mistake(str(error)) from None
        except HooklineError as error:
            raise Failure(str(error)) from None
        except BrokenPipeError:
            raise  # whoever read our output has gone; click ends quietly
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise Failure(f"{where}{error.strerror or error}") from None
        except ModuleNotFoundError as error:
            extra = EXTRAS.get((error.name or "").partition(".")[0])
            if extra is None:
                raise
            raise Failure(f"this needs the extra {extra!r}: pip install 'hookline[{extra}]'") from None


@contextlib.contextmanager
def under_way() -> Iterator[None]:
    """What is wrong from here on (a port in use, an unfit certificate) shows only in doing it: status 1, not 2."""
    try:
        yield
    except OptionError as error:
        raise Failure(str(error)) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hookline")
def main() -> None:
    """Carry a Telegram bot's updates to its handler, by long polling or by webhook."""


# What several commands take


def options(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator, shown in this order."""

    def decorate(command: F) -> F:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


bot_options = options(
    click.option("--token-file", type=FILE, help="Read the token here, not from BOT_TOKEN."),
    click.option("--api-root", default="https://api.telegram.org", show_default=True, help="The Bot API server."),
)
update_options = options(
    click.option("--allowed-updates", metavar="KINDS", help="Kinds of updates to receive, by commas."),
    click.option("--drop-pending", is_flag=True, help="Forget what waits at Telegram."),
)
webhook_options = options(
    click.option("--secret-file", type=click.Path(dir_okay=False, path_type=Path), help="The secret token; made once."),
    click.option("--max-connections", type=click.IntRange(1, 100_000), help="setWebhook's max_connections."),
    click.option("--ip-address", help="setWebhook's ip_address, instead of what the name resolves to."),
)
run_options = options(
    click.argument("handler", metavar="MODULE:HANDLER"),
    bot_options,
    click.option("--driver", type=DRIVERS, default="asyncio", show_default=True),
    update_options,
    click.option("--grace", type=float, default=20.0, show_default=True, help="Seconds for handlers at a stop."),
    click.option("-v", "--verbose", is_flag=True, help="Log everything, also of other packages."),
    click.option("-q", "--quiet", is_flag=True, help="Log warnings and errors only."),
)


def read_bot(token_file: Path | None, api_root: str) -> tuple[Token, ApiOptions]:
    """The token and how to reach the Bot API. OptionError if one is missing or of the wrong form."""
    text = os.environ.get("BOT_TOKEN", "") if token_file is None else token_file.read_text("utf-8", "replace")
    if not text.strip():
        raise OptionError(
            "no token: set BOT_TOKEN, or give --token-file"
            if token_file is None
            else f"the token file {str(token_file)!r} is empty"
        )
    endpoint = Endpoint(Token(text.strip()), api_root)
    return endpoint.token, ApiOptions(root=endpoint.root)


def find_handler(reference: str, driver: str) -> Callable[..., Any]:
    """The handler that MODULE:HANDLER names. OptionError if it can't be imported or is not what the driver wants."""
    import importlib

    from hookline_io.common import check_handler

    module_name, _, name = reference.partition(":")
    if not name or not all(part.isidentifier() for part in module_name.split(".")):
        raise OptionError(f"{reference!r} does not name a handler: write MODULE:HANDLER, as in mybot:handler")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a module may raise anything while it is imported
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{module_name}.".startswith(f"{missing}."):
            raise OptionError(f"there is no module {missing!r} in {str(Path.cwd())!r} or among the packages") from None
        raise OptionError(
            f"the module {module_name!r} cannot be imported: {type(error).__name__}: {error}{line_of(error)}"
        ) from None
    for part in name.split("."):
        if not hasattr(found, part):
            raise OptionError(f"the module {module_name!r} has no {name!r}")
        found = getattr(found, part)
    if not callable(found):
        raise OptionError(f"{reference!r} is not a function, but of type {type(found).__name__}")
    check_handler(found, asynchronous=driver != "blocking")
    return found  # type: ignore[no-any-return]


def line_of(error: BaseException) -> str:
    """Where a module raised: its own last line that was run, and not one of the libraries below it."""
    import sysconfig
    import traceback

    if isinstance(error, SyntaxError):
        return ""  # the error says it
    libraries = ("<", *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")))
    frames = traceback.extract_tb(error.__traceback__)[1:]  # the first is this file's
    own = [frame for frame in frames if not frame.filename.startswith(libraries)]
    return f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""


def names(text: str | None) -> tuple[str, ...] | None:
    """A list that was written with commas."""
    return None if text is None else tuple(name.strip() for name in text.split(",") if name.strip())


def address(text: str, option: str) -> tuple[str, int]:
    """HOST:PORT. OptionError if it is none."""
    host, _, port = text.rpartition(":")
    if not host or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65_535:
        raise OptionError(f"{option} must be HOST:PORT, as in 127.0.0.1:8080, not {text!r}")
    return host.strip("[]"), int(port)


class Formatter(logging.Formatter):
    """A record in plain text. What is secret is blotted out, even where another library has put it in a traceback."""

    def __init__(self, hidden: tuple[str, ...]) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s")
        self._hidden = hidden

    def format(self, record: logging.LogRecord) -> str:
        """The record's text."""
        text = super().format(record)
        for secret in self._hidden:
            text = text.replace(secret, "***")
        return text


def start_logging(*hidden: str, verbose: bool = False, quiet: bool = False) -> None:
    """Log to standard error."""
    if verbose and quiet:
        raise OptionError("--verbose and --quiet exclude each other")
    output = logging.StreamHandler(sys.stderr)
    output.setFormatter(Formatter(hidden))
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO, handlers=[output]
    )


def carry(driver: str, entry: str, *args: Any, **kwargs: Any) -> None:
    """Run one of a driver's entries to its end."""
    with under_way():
        if driver == "blocking":
            from hookline_io import blocking

            getattr(blocking, entry)(*args, **kwargs)
        elif driver == "asyncio":
            import asyncio

            from hookline_io import asyncio as on_asyncio

            asyncio.run(getattr(on_asyncio, entry)(*args, **kwargs))
        else:
            from functools import partial

            import trio

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
    allowed_updates: str | None,
    drop_pending: bool,
    grace: float,
    verbose: bool,
    quiet: bool,
    concurrency: int,
    confirm: Any,
    on_error: Any,
    poll_timeout: int,
    health: str | None,
) -> None:
    """Run a bot by long polling."""
    token, api = read_bot(token_file, api_root)
    polling = PollingOptions(
        timeout=poll_timeout,
        allowed_updates=names(allowed_updates),
        drop_pending_updates=drop_pending,
        concurrency=concurrency,
        confirm=confirm,
        on_error=on_error,
        grace=grace,
    )
    where = address(health, "--health") if health is not None else None
    start_logging(token.value, verbose=verbose, quiet=quiet)
    carry(driver, "run_polling", find_handler(handler, driver), token, polling, api=api, health=where)


@main.command()
@run_options
@click.option("--listen", required=True, metavar="HOST:PORT", help="Where to listen.")
@click.option("--path", help="The path of the requests.  [default: that of --url, or /]")
@click.option("--url", help="Call setWebhook with this address first.")
@webhook_options
@click.option("--delete-webhook", is_flag=True, help="Call deleteWebhook at the stop.")
@click.option("--timeout", type=float, default=10.0, show_default=True, help="Seconds to answer a request in.")
@click.option("--on-timeout", type=click.Choice(["throw", "return", "cancel"]), default="throw", show_default=True)
@click.option("--concurrency", type=int, default=100, show_default=True, help="Chats handled at once.")
@click.option("--reply-with", metavar="METHODS", help="Methods whose calls may travel in the response, by commas.")
@click.option("--cert", type=FILE, help="Serve TLS with this certificate.")
@click.option("--key", type=FILE, help="The certificate's key.")
@click.option("--self-signed", is_flag=True, help="No authority signed --cert: give it to Telegram, to be trusted.")
def serve(
    handler: str,
    token_file: Path | None,
    api_root: str,
    driver: str,
    allowed_updates: str | None,
    drop_pending: bool,
    grace: float,
    verbose: bool,
    quiet: bool,
    listen: str,
    path: str | None,
    url: str | None,
    secret_file: Path | None,
    max_connections: int | None,
    ip_address: str | None,
    delete_webhook: bool,
    timeout: float,
    on_timeout: Any,
    concurrency: int,
    reply_with: str | None,
    cert: Path | None,
    key: Path | None,
    self_signed: bool,
) -> None:
    """Run a bot by webhook, on a server of its own."""
    from urllib.parse import urlsplit

    from hookline.botapi import may_reply

    token, api = read_bot(token_file, api_root)
    where = address(listen, "--listen")
    if (cert is None) != (key is None):
        raise OptionError("--cert and --key go together")
    if self_signed and cert is None:
        raise OptionError("--self-signed is about --cert, which is missing")
    for option, value in {
        "--max-connections": max_connections,
        "--ip-address": ip_address,
        "--allowed-updates": allowed_updates,
        "--drop-pending": drop_pending or None,
        "--delete-webhook": delete_webhook or None,
        "--self-signed": self_signed or None,
    }.items():
        if url is None and value is not None:
            raise OptionError(f"{option} is told to Telegram with the webhook's address: it needs --url")
    set_webhook = None
    if url is not None:
        set_webhook = SetWebhookOptions(
            url=url,
            certificate=public_part(cert) if cert is not None and self_signed else None,
            ip_address=as_ip_address(ip_address),
            max_connections=max_connections,
            allowed_updates=names(allowed_updates),
            drop_pending_updates=drop_pending,
            delete_at_stop=delete_webhook,
        )
    methods = {name.lower() for name in names(reply_with) or ()}
    for method in methods:
        if not may_reply(method):
            raise OptionError(f"--reply-with: Telegram does not carry out {method} in a response")
    answering = WebhookOptions(
        path=path if path is not None else urlsplit(url or "").path or "/",
        timeout=timeout,
        on_timeout=on_timeout,
        concurrency=concurrency,
        grace=grace,
    )
    secret = keep_secret(secret_file, token)  # made only for options that are good
    start_logging(token.value, secret, verbose=verbose, quiet=quiet)
    carry(
        driver,
        "serve_webhook",
        find_handler(handler, driver),
        token,
        evolve(answering, secret_token=secret),
        listen=where,
        url=set_webhook,
        api=api,
        reply_with=(lambda method: method.lower() in methods) if methods else None,
        certificate=(str(cert), str(key)) if cert is not None else None,
    )


def as_ip_address(text: str | None) -> str | None:
    """An IP address, checked here, since a setWebhook that is refused leaves the bot without any webhook."""
    import ipaddress

    try:
        return None if text is None else str(ipaddress.ip_address(text))
    except ValueError:
        raise OptionError(f"--ip-address must be an IP address, not {text!r}") from None


def public_part(path: Path) -> bytes:
    """The certificates of a PEM file, without the key that may stand beside them. OptionError if there are none."""
    found = _CERTIFICATE.findall(path.read_bytes())
    if not found:
        raise OptionError(f"the certificate file {str(path)!r} holds no certificate in PEM form")
    return b"".join(found)


def secret_path(secret_file: Path | None, token: Token) -> Path:
    """Where a bot's secret token is kept between starts: the file that was named, or a place by the XDG rules."""
    if secret_file is not None:
        return secret_file
    base = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".local" / "state") / "hookline" / f"{token.bot_id}.secret"


def keep_secret(secret_file: Path | None, token: Token) -> str:
    """The secret token of a file that only its owner may read; made if it is missing. OptionError if it holds none."""
    path = secret_path(secret_file, token)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            pass  # another process has just made it
        else:
            with os.fdopen(number, "w") as file:
                file.write(secrets.token_urlsafe(32) + "\n")
    secret = path.read_text("utf-8", "replace").strip()
    try:
        check_secret_token(secret)
    except OptionError as error:
        raise OptionError(f"the secret file {str(path)!r}: {error}") from None
    return secret


# Calls


def call_api(token: Token, options: ApiOptions, method: str, **params: Any) -> Any:
    """One call of the Bot API."""
    from hookline_io.blocking import Api

    logging.getLogger("hookline").setLevel(logging.ERROR)  # the exception says it
    try:
        with Api(token, options) as api:
            return api.call(method, **params)
    except LocalProtocolError as error:
        raise OptionError(str(error)) from None


@main.command()
@bot_options
@click.argument("method")
@click.argument("params", nargs=-1, metavar="[KEY=VALUE]...")
def call(token_file: Path | None, api_root: str, method: str, params: tuple[str, ...]) -> None:
    """Call any method of the Bot API, and print its result as JSON.

    A VALUE that is a number, true, false, a list or an object in JSON is sent as that, @PATH sends a file, and anything
    else is text. @NAME, alone or before a space, is a user's or a channel's name and so text: write @./NAME for a file.
    """
    values = {}
    for param in params:
        key, equals, value = param.partition("=")
        if not equals or not key:
            raise OptionError(f"{param!r} is no parameter: write KEY=VALUE")
        values[key] = read_value(value)
    result = call_api(*read_bot(token_file, api_root), method, **values)
    click.echo(json.dumps(result, ensure_ascii=False, indent=2))


def read_value(text: str) -> Any:
    """A parameter's value, from what was typed. OptionError if it names a file that is not there."""
    from hookline import codec
    from hookline.botapi import InputFile

    if text.startswith("@") and len(text) > 1 and not _USER_NAME.match(text):
        if not Path(text[1:]).is_file():
            raise OptionError(f"the file {text[1:]!r} does not exist")
        return InputFile(text[1:])
    try:
        value = codec.decode(text.encode())
    except (ValueError, RecursionError):
        return text
    if isinstance(value, (dict, list, bool)):
        return value
    # A version such as 1.10 would not survive as a number, and Telegram reads numbers from text just as well.
    return value if isinstance(value, (int, float)) and json.dumps(value) == text else text


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

    result = call_api(*read_bot(token_file, api_root), "getWebhookInfo")
    try:
        info = structure(result, WebhookInfo)
    except ValueError as error:
        raise Failure(f"getWebhookInfo: the answer makes no sense: {error}") from None

    def moment(date: int | None) -> str | None:
        return None if date is None else f"{datetime.fromtimestamp(date, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"

    table = Table(show_header=False, box=None)
    for name, value in {
        "url": info.url or "(none)",
        "pending updates": info.pending_update_count,
        "own certificate": "yes" if info.has_custom_certificate else None,
        "max connections": info.max_connections,
        "ip address": info.ip_address,
        "allowed updates": None if info.allowed_updates is None else ", ".join(info.allowed_updates),
        "last error": info.last_error_message,
        "last error at": moment(info.last_error_date),
        "last synchronization error at": moment(info.last_synchronization_error_date),
    }.items():
        if value is not None:
            table.add_row(name, str(value))
    Console(highlight=False, markup=False).print(table)


@webhook.command("set")
@bot_options
@click.option("--url", required=True, help="Where Telegram shall send updates.")
@webhook_options
@update_options
def webhook_set(
    token_file: Path | None,
    api_root: str,
    url: str,
    secret_file: Path | None,
    max_connections: int | None,
    ip_address: str | None,
    allowed_updates: str | None,
    drop_pending: bool,
) -> None:
    """Set the webhook."""
    token, api = read_bot(token_file, api_root)
    kinds = names(allowed_updates)
    call_api(
        token,
        api,
        "setWebhook",
        url=SetWebhookOptions(url=url).url,
        ip_address=as_ip_address(ip_address),
        max_connections=max_connections,
        allowed_updates=None if kinds is None else list(kinds),
        drop_pending_updates=drop_pending or None,
        secret_token=keep_secret(secret_file, token),
    )
    click.echo(f"the webhook is set to {url}; its secret token is in {secret_path(secret_file, token)}")


@webhook.command("delete")
@bot_options
@click.option("--drop-pending", is_flag=True, help="Forget what waits at Telegram.")
def webhook_delete(token_file: Path | None, api_root: str, drop_pending: bool) -> None:
    """Delete the webhook."""
    call_api(*read_bot(token_file, api_root), "deleteWebhook", drop_pending_updates=drop_pending or None)
    click.echo("the webhook is deleted")


@main.command()
@click.argument("url")
def health(url: str) -> None:
    """Ask a running bot's /healthz; the exit status is 0 if it is healthy, 1 if not."""
    from http.client import HTTPConnection, HTTPException
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        parts, host, port = urlsplit(""), None, 0
    if parts.scheme != "http" or not host:
        raise OptionError(f"{url!r} is no address of a health check: write http://127.0.0.1:8080/healthz")
    connection = HTTPConnection(host, port, timeout=10)
    try:
        connection.request("GET", parts.path or "/healthz")
        response = connection.getresponse()
        click.echo(response.read(10_000).decode("utf-8", "replace"))
    except BrokenPipeError:
        raise
    except (OSError, HTTPException, ValueError) as error:
        raise Failure(f"no answer from {url}: {error}") from None
    finally:
        connection.close()
    if response.status != 200:
        raise Failure(f"{url} answered {response.status} {response.reason}")


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
        async with serve_simulation(listen=where) as simulation:
            click.echo(f"a simulated Telegram listens: use {simulation.root} as the Bot API's address, any token")
            await stop.wait()

    where = address(listen, "--listen")
    start_logging()
    with under_way():
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
