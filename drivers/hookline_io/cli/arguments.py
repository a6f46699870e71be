"""What several commands take: options, and what is read out of what was typed for them."""

from __future__ import annotations

import contextlib
import math
import os
import re
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from hookline.botapi import Endpoint, Token
from hookline.errors import OptionError
from hookline.options import ApiOptions, check_secret_token
from hookline_io.cli.group import say

F = TypeVar("F", bound="Callable[..., Any]")

DRIVERS = click.Choice(["asyncio", "trio", "blocking"])
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
GRACE = "How long handlers may go on after SIGTERM or SIGINT."


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
    click.option(
        "--allowed-updates",
        metavar="KINDS",
        help="Kinds of updates to receive, as in message,poll; Telegram remembers them for later runs.",
    ),
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


def as_ip_address(text: str | None) -> str | None:
    """An IP address, checked here, since a setWebhook that is refused leaves the bot without any webhook."""
    import ipaddress

    try:
        return None if text is None else str(ipaddress.ip_address(text))
    except ValueError:
        raise OptionError(f"--ip-address must be an IP address, not {text!r}") from None


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
