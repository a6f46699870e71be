"""What a driver logs of what a machine reports."""

from __future__ import annotations

import errno
import logging
import socket

import pytest

from hookline.effects import Log, Report, Verdict
from hookline_io.common import show, why


def test_the_record_of_a_report_says_which_kind_it_is_and_of_which_update(caplog: pytest.LogCaptureFixture) -> None:
    """So that a filter or a formatter need not read its text."""
    show(Report(Verdict.LOST, "gone", 7, raw={"update_id": 7}))
    record = caplog.records[0]
    assert (record.levelno, record.__dict__["verdict"], record.__dict__["update_id"]) == (logging.ERROR, "lost", 7)
    assert record.getMessage() == "gone: {'update_id': 7}"


def test_what_is_no_report_has_no_verdict(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hookline")
    show(Log("polling"))
    assert not hasattr(caplog.records[0], "verdict")


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


UNRESOLVED = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


class Unconnected(OSError):
    """As an HTTP client's: it has the number of the resolver's error, which means nothing to `os.strerror`."""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (None, "closed by the other side"),
        (UNRESOLVED, "Name or service not known"),
        (caused(Unconnected(socket.EAI_NONAME, "no"), UNRESOLVED), "Name or service not known"),
        (RuntimeError(f"[Errno {socket.EAI_NONAME}] Name or service not known"), "Name or service not known"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)"), "Connection refused"),
        (caused(OSError("all failed"), ConnectionRefusedError(errno.ECONNREFUSED, "x")), "Connection refused"),
        (caused(RuntimeError("mine"), ValueError("another")), "mine"),
        (ValueError(), "ValueError"),
    ],
)
def test_an_error_is_told_in_words_and_not_by_a_number(error: BaseException | None, words: str) -> None:
    assert why(error) == words
