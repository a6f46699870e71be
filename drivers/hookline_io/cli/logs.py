"""The log on standard error, for the commands that go on until they are stopped."""

from __future__ import annotations

import logging
import sys

from hookline.errors import OptionError


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
