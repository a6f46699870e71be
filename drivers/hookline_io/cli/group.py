"""The command `hookline` itself, and what becomes of an error in any of its commands: one sentence."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import IO, Any

import click

from hookline.errors import HooklineError, OptionError
from hookline_io.cli.logs import Formatter

EXTRAS = {"rich": "cli", "trio": "trio"}
"""The extra that installs a package."""


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
