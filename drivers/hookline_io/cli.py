"""The command `hookline`: what people type, and what they see.

Every mistake of the person who types gets one sentence on standard error, never a traceback: with status 2 for what was
typed, with status 1 for what went wrong in doing it; after a log, the latter is its last line. The token comes from the
environment or a file, never as an argument, where the list of processes would show it. Imports that only some commands
need are made by those, so that a bot starts at once.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
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
    WorkOptions,
    check_secret_token,
)

F = TypeVar("F", bound="Callable[..., Any]")

DRIVERS = click.Choice(["asyncio", "trio", "blocking"])
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
EXTRAS = {"rich": "cli", "trio": "trio"}
"""The extra that installs a package."""
GRACE = "How long handlers may go on after SIGTERM or SIGINT."

_USER_NAME = re.compile(r"@\w+(\s|$)")
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)


def say(text: str, file: IO[Any] | None = None) -> None:
    """Print a sentence of hookline's own on standard error."""
    click.echo(f"hookline: {text}", file=file, err=file is None)


class Failure(click.ClickException):
    """What went wrong, in one sentence."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it on standard error, after a log as its last line: with time and level, as who reads it expects."""
        if self.exit_code == Failure.exit_code and any(
            isinstance(handler.formatter, Formatter) for handler in logging.getLogger().handlers
        ):
            logging.getLogger("hookline").error("%s", self.message)
        else:
            say(self.message, file)


class Mistake(Failure):
    """What is wrong with what was typed."""

    exit_code = 2


class Commands(click.Group):
    """The group of all commands: turns errors into one sentence."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read what was typed before the command's name."""
        with one_sentence():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        with one_sentence():
            return super().invoke(ctx)


@contextlib.contextmanager
def one_sentence() -> Iterator[None]:
    """What goes wrong is said in one line."""
    try:
        yield
    except click.UsageError as error:
        message = error.format_message()
        if "\n" in message:  # the help itself, where no command was named
            raise
        hint = f" (see '{error.ctx.command_path} --help')" if error.ctx is not None else ""
        raise Mistake(f"{message.rstrip('.')}{hint}") from None
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


class Whole(click.IntRange):
    """A whole number, from one to another or without end; what is wanted is said in words, and not as a range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number that a text is."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            end = "on" if self.max is None else f"to {self.max}"
            self.fail(f"{value!r} is not a whole number from {self.min} {end}", param, ctx)


class Number(click.FloatRange):
    """A number, from one to another or above one; what is wanted is said in words, and not as a range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number that a text is."""
        number = math.nan
        with contextlib.suppress(click.BadParameter):
            number = super().convert(value, param, ctx)
        if math.isnan(number):  # which no comparison keeps out
            wanted = f"above {self.min}" if self.max is None else f"from {self.min} to {self.max}"
            self.fail(f"{value!r} is not a number {wanted}", param, ctx)
        return number


def options(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator, shown in this order."""

    def decorate(command: F) -> F:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


bot_options = options(
    click.option("--token-file", type=FILE, help="Read the token here, not from BOT_TOKEN."),
    click.option(
        "--api-root", metavar="URL", default=ApiOptions().root, help="The Bot API server, if it is not Telegram's own."
    ),
)
update_options = options(
    click.option("--allowed-updates", metavar="KINDS", help="Kinds of updates to receive, as in message,poll."),
    click.option("--drop-pending", is_flag=True, help="Forget the updates that wait at Telegram."),
)
webhook_options = options(
    click.option(
        "--secret-file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Keep the secret token there.  [default: ~/.local/state/hookline/BOT_ID.secret]",
    ),
    click.option("--max-connections", metavar="N", type=Whole(1, 100_000), help="As setWebhook's."),
    click.option("--ip-address", metavar="IP", help="As setWebhook's: where to send, whatever the name resolves to."),
)
driver_option = click.option(
    "--driver", type=DRIVERS, default="asyncio", show_default=True, help="What runs it; blocking wants a plain def."
)
grace_option = click.option("--grace", metavar="SECONDS", type=float, default=20.0, show_default=True, help=GRACE)
health_option = click.option("--health", metavar="HOST:PORT", help="Serve /healthz there.")
log_options = options(
    click.option(
        "--trace",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Write the run to this new file, for hookline replay.",
    ),
    click.option("-v", "--verbose", is_flag=True, help="Log everything, also of other packages."),
    click.option("-q", "--quiet", is_flag=True, help="Log warnings and errors only."),
)
run_options = options(
    bot_options,
    driver_option,
    update_options,
    grace_option,
    click.option(
        "--inbox",
        metavar="ADDRESS",
        help="Store updates there first, as in sqlite:///inbox.db; Telegram waits for no handler then.",
    ),
    log_options,
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


def find_any_handler(reference: str | None, driver: str, inbox: str | None) -> Callable[..., Any] | None:
    """The handler, or None where others handle what is stored. OptionError if one is needed and not named."""
    if reference is not None:
        return find_handler(reference, driver)
    from hookline_io.stores import is_shared

    if inbox is None or not is_shared(inbox):
        raise OptionError("name a handler, as in mybot:handler; only with an --inbox on PostgreSQL it may be left out")
    return None


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


def update_kinds(text: str | None) -> tuple[str, ...] | None:
    """What --allowed-updates names. A kind that is not known here may be new at Telegram, so that is only said."""
    kinds = names(text)
    if kinds:
        from difflib import get_close_matches

        from hookline.sim.kinds import INTERNAL, KINDS

        known = [kind for kind in KINDS if kind not in INTERNAL]
        for kind in kinds:
            if kind not in known:
                near = get_close_matches(kind, known, 1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                say(f"--allowed-updates: {kind!r} is no kind of update that is known here{hint}")
    return kinds


def address(text: str, option: str) -> tuple[str, int]:
    """HOST:PORT. OptionError if it is none."""
    host, _, port = text.rpartition(":")
    if not host or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65_535:
        raise OptionError(f"{option} must be HOST:PORT, as in 127.0.0.1:8080, not {text!r}")
    return host.strip("[]"), int(port)


def check_inbox(inbox: str | None, token: Token) -> None:
    """OptionError if it is no address of an inbox, before anything is done."""
    if inbox is not None:
        from hookline_io.stores import store_at

        store_at(inbox, bot_id=token.bot_id, remember=1)


class Formatter(logging.Formatter):
    """A record in plain text. What is secret is blotted out, even where another library has put it in a traceback."""

    def __init__(self, hidden: tuple[str, ...]) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(kind)s%(message)s")
        self._hidden = hidden

    def format(self, record: logging.LogRecord) -> str:
        """The record's text. That of a report begins with its kind, so that it is found in the documentation."""
        record.kind = f"{verdict}: " if (verdict := getattr(record, "verdict", None)) else ""
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
            from hookline_io import asyncio as on_asyncio
            from hookline_io import speed

            speed.run(getattr(on_asyncio, entry)(*args, **kwargs))
        else:
            from functools import partial

            import trio

            from hookline_io import trio as on_trio

            trio.run(partial(getattr(on_trio, entry), *args, **kwargs))


# Bots


@main.command()
@click.argument("handler", metavar="[MODULE:HANDLER]", required=False)
@click.option("--concurrency", metavar="N", type=int, default=1, show_default=True, help="Chats handled at once.")
@click.option(
    "--confirm",
    type=click.Choice(["handled", "received", "stored"]),
    default="handled",
    show_default=True,
    help="When Telegram may forget an update; with 'received', a crash loses what was not handled; 'stored' comes with "
    "--inbox.",
)
@click.option(
    "--on-error",
    type=click.Choice(["pass", "stop"]),
    default="pass",
    show_default=True,
    help="After a handler raised, go on, or stop with its update unconfirmed.",
)
@click.option(
    "--poll-timeout",
    metavar="SECONDS",
    type=Whole(1, 50),
    default=30,
    show_default=True,
    help="How long Telegram holds a call of getUpdates that finds nothing.",
)
@health_option
@run_options
def run(
    handler: str | None,
    token_file: Path | None,
    api_root: str,
    driver: str,
    allowed_updates: str | None,
    drop_pending: bool,
    grace: float,
    inbox: str | None,
    trace: Path | None,
    verbose: bool,
    quiet: bool,
    concurrency: int,
    confirm: Any,
    on_error: Any,
    poll_timeout: int,
    health: str | None,
) -> None:
    """Run a bot by long polling.

    The handler is `async def HANDLER(update, api)`, in a module of this folder or an installed one. The token is in the
    environment variable BOT_TOKEN. A webhook that is set is deleted first. With an --inbox on PostgreSQL the handler
    may be left out: updates are stored then, and hookline work handles them.

    SIGTERM and SIGINT end the run gracefully, with status 0; a run that ends by itself has status 1.
    """
    token, api = read_bot(token_file, api_root)
    polling = PollingOptions(
        timeout=poll_timeout,
        allowed_updates=update_kinds(allowed_updates),
        drop_pending_updates=drop_pending,
        concurrency=concurrency,
        confirm=confirm,
        on_error=on_error,
        grace=grace,
    )
    where = address(health, "--health") if health is not None else None
    if inbox is not None and confirm == "received":
        raise OptionError("--confirm received does not go with --inbox: what is received is stored first")
    if (inbox is not None or confirm == "stored") and on_error == "stop":
        raise OptionError("--on-error stop does not go with an inbox, which tries again what has failed")
    check_inbox(inbox, token)
    start_logging(token.value, verbose=verbose, quiet=quiet)
    function = find_any_handler(handler, driver, inbox)
    carry(driver, "run_polling", function, token, polling, inbox=inbox, api=api, health=where, trace=trace)


@main.command()
@click.argument("handler", metavar="MODULE:HANDLER")
@click.option("--inbox", metavar="ADDRESS", required=True, help="Where updates are, as in postgresql://host/database.")
@click.option("--concurrency", metavar="N", type=int, default=100, show_default=True, help="Chats handled at once.")
@health_option
@bot_options
@driver_option
@grace_option
@log_options
def work(
    handler: str,
    inbox: str,
    concurrency: int,
    health: str | None,
    token_file: Path | None,
    api_root: str,
    driver: str,
    grace: float,
    trace: Path | None,
    verbose: bool,
    quiet: bool,
) -> None:
    """Handle what an inbox has; others receive it.

    Any number of workers, on any number of machines, can share an inbox on PostgreSQL. A chat is handled by one at a
    time; what a worker leaves behind that dies, others have after about ten seconds. The handler is as for hookline
    run, which receives updates, as hookline serve does.

    SIGTERM and SIGINT end the run gracefully, with status 0; a run that ends by itself has status 1.
    """
    token, api = read_bot(token_file, api_root)
    working = WorkOptions(concurrency=concurrency, grace=grace)
    where = address(health, "--health") if health is not None else None
    check_inbox(inbox, token)
    start_logging(token.value, verbose=verbose, quiet=quiet)
    function = find_handler(handler, driver)
    carry(driver, "run_worker", function, token, working, inbox=inbox, api=api, health=where, trace=trace)


@main.command()
@click.argument("handler", metavar="[MODULE:HANDLER]", required=False)
@click.option("--listen", required=True, metavar="HOST:PORT", help="Where to listen; port 0 takes a free one.")
@click.option("--url", metavar="URL", help="The address that Telegram is to use: call setWebhook with it first.")
@click.option("--path", metavar="PATH", help="The path of the requests.  [default: that of --url, or /]")
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=float,
    default=10.0,
    show_default=True,
    help="The time in which a request is answered; under Telegram's 60.",
)
@click.option(
    "--on-timeout",
    type=click.Choice(["throw", "return", "cancel"]),
    default="throw",
    show_default=True,
    help="Then answer 500, or 200, and let the handler go on; or answer 500 and cancel it.",
)
@click.option("--concurrency", metavar="N", type=int, default=100, show_default=True, help="Chats handled at once.")
@click.option(
    "--reply-with",
    metavar="METHODS",
    help="Methods whose calls may travel in the response, as in sendMessage,sendPhoto.",
)
@click.option("--cert", type=FILE, help="Serve TLS with this certificate.")
@click.option("--key", type=FILE, help="The certificate's key.")
@click.option("--self-signed", is_flag=True, help="No authority signed --cert: give it to Telegram, to be trusted.")
@webhook_options
@click.option("--delete-webhook", is_flag=True, help="Call deleteWebhook at the stop.")
@run_options
def serve(
    handler: str | None,
    token_file: Path | None,
    api_root: str,
    driver: str,
    allowed_updates: str | None,
    drop_pending: bool,
    grace: float,
    inbox: str | None,
    trace: Path | None,
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
    """Run a bot by webhook, on a server of its own.

    The handler is `async def HANDLER(update, api)`, in a module of this folder or an installed one. The token is in the
    environment variable BOT_TOKEN. The same server answers GET /healthz. With an --inbox on PostgreSQL the handler may
    be left out: updates are stored then, and hookline work handles them.

    SIGTERM and SIGINT end the run gracefully, with status 0; a run that ends by itself has status 1.
    """
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
            allowed_updates=update_kinds(allowed_updates),
            drop_pending_updates=drop_pending,
            delete_at_stop=delete_webhook,
        )
    for method in names(reply_with) or ():
        if not may_reply(method):
            raise OptionError(f"--reply-with: Telegram does not carry out {method} in a response")
    methods = {name.lower() for name in names(reply_with) or ()}
    answering = WebhookOptions(
        path=path if path is not None else urlsplit(url or "").path or "/",
        timeout=timeout,
        on_timeout=on_timeout,
        concurrency=concurrency,
        grace=grace,
    )
    check_inbox(inbox, token)
    if inbox is not None and reply_with is not None:
        raise OptionError("--reply-with does not go with --inbox: a request is answered before its handler begins")
    if inbox is not None and on_timeout != "throw":
        raise OptionError("--on-timeout does not go with --inbox: a request does not wait for its handler")
    secret = keep_secret(secret_file, token)  # made only for options that are good
    start_logging(token.value, secret, verbose=verbose, quiet=quiet)
    logger = logging.getLogger("hookline")
    carry(
        driver,
        "serve_webhook",
        find_any_handler(handler, driver, inbox),
        token,
        evolve(answering, secret_token=secret),
        inbox=inbox,
        listen=where,
        url=set_webhook,
        api=api,
        reply_with=(lambda method: method.lower() in methods) if methods else None,
        certificate=(str(cert), str(key)) if cert is not None else None,
        started=lambda address: logger.info("listening on %s:%d", *address),
        trace=trace,
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
        if secret_file is not None and not path.parent.is_dir():
            raise OptionError(f"--secret-file: there is no folder {str(path.parent)!r}")
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
    """A parameter's value, from what was typed. OptionError if it names what is no file."""
    from hookline import codec
    from hookline.botapi import InputFile
    from hookline_io import common

    if text.startswith("@") and len(text) > 1 and not _USER_NAME.match(text):
        if not Path(text[1:]).is_file():
            raise OptionError(f"the file {text[1:]!r} {common.what_is_no_file(text[1:])}")
        return InputFile(text[1:])
    try:
        value = codec.decode(text.encode())
    except (ValueError, RecursionError):
        return text
    if isinstance(value, (dict, list, bool)):
        return value
    # A version such as 1.10 would not survive as a number, and Telegram reads numbers from text just as well.
    return value if isinstance(value, (int, float)) and json.dumps(value) == text else text


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

    from hookline_io.inbox_view import show_overview
    from hookline_io.stores import inspection_at

    with inspection_at(address, bot_id) as found:
        show_overview(found.overview(), found.slowest(chats), time.time())


@inbox.command("failed")
@inbox_address
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, with the whole update.")
def inbox_failed(address: str, bot_id: int | None, as_json: bool) -> None:
    """List the updates that were given up, and why."""
    from hookline_io.inbox_view import show_failed
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


@main.group()
def webhook() -> None:
    """Look at, set or delete the bot's webhook."""


@webhook.command("info")
@bot_options
def webhook_info(token_file: Path | None, api_root: str) -> None:
    """Show what Telegram knows of the webhook."""
    from datetime import datetime, timezone

    from hookline.objects import WebhookInfo, structure

    result = call_api(*read_bot(token_file, api_root), "getWebhookInfo")
    try:
        info = structure(result, WebhookInfo)
    except ValueError as error:
        raise Failure(f"getWebhookInfo: the answer makes no sense: {error}") from None

    def moment(date: int | None) -> str | None:
        return None if date is None else f"{datetime.fromtimestamp(date, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"

    values = {
        "url": info.url or "(none)",
        "pending updates": info.pending_update_count,
        "own certificate": "yes" if info.has_custom_certificate else None,
        "max connections": info.max_connections,
        "ip address": info.ip_address,
        "allowed updates": None if info.allowed_updates is None else ", ".join(info.allowed_updates),
        "last error": info.last_error_message,
        "last error at": moment(info.last_error_date),
        "last synchronization error at": moment(info.last_synchronization_error_date),
    }
    known = {name: value for name, value in values.items() if value is not None}
    width = max(map(len, known))
    for name, value in known.items():
        click.echo(f"{name:{width}}  {value}")


@webhook.command("set")
@bot_options
@click.option("--url", metavar="URL", required=True, help="Where Telegram shall send updates.")
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
    """Set the webhook, as `hookline serve --url` does, with the same secret token."""
    token, api = read_bot(token_file, api_root)
    kinds = update_kinds(allowed_updates)
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


@main.command(short_help="Ask a running bot whether it is well.")
@click.argument("url")
def health(url: str) -> None:
    """Ask a running bot whether it is well: URL is that of its /healthz.

    Its answer is printed. The exit status is 0 if it is well, and 1 if not, or if it does not answer within 10 s.
    """
    from http.client import HTTPConnection, HTTPException
    from urllib.parse import urlsplit

    from hookline_io import common

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
        raise Failure(f"no answer from {url}: {common.why(error)}") from None
    finally:
        connection.close()
    if response.status != 200:
        raise Failure(f"{url} answered {response.status} {response.reason}")


# Traces


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
    by, ours = recorded.header.about.get("hookline"), about_us().get("hookline")
    raise Failure(f"another effect than was recorded (by hookline {by}; this is {ours})")


# The simulated Telegram


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
    from hookline_io import fuzzing
    from hookline_io.fuzzing_view import View

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
    help="How many messages and presses of buttons.  [default: what takes about 10 s, at most 100]",
)
@click.option("--driver", type=DRIVERS, default="asyncio", show_default=True, help="What runs the bot.")
def demo(webhook: bool, slow: float, users: int, updates: int | None, driver: str) -> None:
    """Run an echo bot against a simulated Telegram, with lively users.

    At the end it counts what became of every update. The exit status is 0 if none was lost, handled twice or overtaken
    by a later one of its chat, and 1 otherwise.
    """
    from hookline_io.demo import Settings, run_demo, suitable_number
    from hookline_io.demo_view import View

    settings = Settings(webhook, driver, users, updates or suitable_number(users, slow), slow)
    with View(settings) as view:
        summary = run_demo(settings, view.show)
    view.sum_up(summary)
    if not summary.good:
        sys.exit(1)
