"""Brings hookline the exceptions that a library logs and drops when its own error handling leaves them.

A bridge says by `unhandled` what was left, from within the library, and runs the bot in `raising`, which raises it when
the bot is done with the update. So hookline reports it, and a webhook's update comes again.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

from attrs import define

from hookline_io import common


@define(eq=False)
class _Run:
    """What a bot does with one update. failure: the first exception that was left."""

    failure: Exception | None = None
    over: bool = False


_current: contextvars.ContextVar[_Run | None] = contextvars.ContextVar("run of a bridged bot", default=None)


@contextlib.contextmanager
def raising() -> Iterator[None]:
    """Raise at the end what `unhandled` was told in here, also in tasks that began in here."""
    run = _Run()
    token = _current.set(run)
    try:
        yield
    except BaseException:
        if run.failure is not None:
            _log(run.failure)
        raise
    finally:
        run.over = True
        _current.reset(token)
    if run.failure is not None:
        raise run.failure


def unhandled(error: Exception) -> None:
    """Say what a bot's own error handling has left. It is logged where no run can raise it any more."""
    run = _current.get()
    if run is None or run.over or run.failure is not None:
        _log(error)
    else:
        run.failure = error


def _log(error: Exception) -> None:
    text = "the bot has no error handler for %s, which came beside an update or after it"
    common.logger.error(text, type(error).__name__, exc_info=error)
