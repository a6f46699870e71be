"""The command `hookline`: what people type, and what they see.

Every mistake of the person who types gets one sentence on standard error, never a traceback: with status 2 for what was
typed, with status 1 for what went wrong in doing it; after a log, the latter is its last line. The token comes from the
environment or a file, never as an argument, where the list of processes would show it. Imports that only some commands
need are made by those, so that a bot starts at once.
"""

import sys

try:
    import click  # noqa: F401
except ImportError:
    sys.exit("hookline: the command needs the extra 'cli': pip install 'hookline[cli]'")

from hookline_io.cli import bots, calls, inbox, worlds  # noqa: F401 - each adds its commands
from hookline_io.cli.group import main

__all__ = ["main"]
