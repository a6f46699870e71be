"""Writes the trace of a bot's run to a file: the drivers' option `trace`.

The file is new, and only its owner may read it, since a trace holds what users wrote. A line is in the file as soon as
it is known, so that a process which is killed leaves all but its last moments. Trouble with the file never disturbs the
bot (`Recorder`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from hookline.bot import Bot
from hookline.botapi import Token
from hookline.errors import OptionError
from hookline.options import SetWebhookOptions, WebhookOptions
from hookline_io import common, speed

if TYPE_CHECKING:
    from hookline.trace.recorder import Recorder

TracePath: TypeAlias = "str | os.PathLike[str] | None"
"""Where the trace of a run is written; None writes none."""


@contextlib.contextmanager
def recording(trace: TracePath) -> Iterator[Callable[..., Bot]]:
    """What makes the machine of a run: `Bot`, or a `Recorder` that writes to a new file until the context is left.

    Errors: OptionError if the file can't be made, or exists: it may be the trace of another run.
    """
    if trace is None:
        yield partial(Bot, decode=speed.decode)
        return
    from hookline.trace.recorder import Recorder  # who records nothing, loads nothing of it

    path = Path(trace)
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise OptionError(f"the trace file {str(path)!r} exists: each run needs a new one") from None
    except OSError as error:
        raise OptionError(f"the trace file {str(path)!r} can't be made: {common.why(error)}") from None
    file = os.fdopen(number, "w", buffering=1, encoding="utf-8", newline="\n")
    recorders: list[Recorder] = []

    def new_bot(*args: Any, **kwargs: Any) -> Bot:
        recorders.append(Recorder(*args, write=file.write, about=about_us(), **kwargs))
        return recorders[-1]

    try:
        yield new_bot
    finally:
        for recorder in recorders:
            for complaint in recorder.close():
                common.show(complaint)
        with contextlib.suppress(OSError):  # of a write that failed, it was said
            file.close()
        with contextlib.suppress(OSError):
            if not path.stat().st_size:  # the run has not begun, for a mistake in another option
                path.unlink()


def recorded_webhook_bot(
    trace: TracePath,
    token: Token,
    options: WebhookOptions,
    url: SetWebhookOptions | str | None,
    **others: Any,
) -> tuple[Bot, contextlib.ExitStack]:
    """The machine of an `Exchange`, and what ends its trace, when it is closed. Errors: as `recording`."""
    with contextlib.ExitStack() as stack:
        bot = common.webhook_bot(stack.enter_context(recording(trace)), token, options, url, **others)
        return bot, stack.pop_all()


def about_us() -> dict[str, str]:
    """What a trace says of where it comes from."""
    import platform
    from datetime import datetime, timezone
    from importlib.metadata import PackageNotFoundError, version

    about = {"python": platform.python_version(), "begun": datetime.now(timezone.utc).isoformat(timespec="seconds")}
    with contextlib.suppress(PackageNotFoundError):  # run from its sources, without being installed
        about["hookline"] = version("hookline")
    return about
