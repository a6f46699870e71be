"""The pictures of the documentation are those that the code draws now; on every version of Python, to the byte."""

from __future__ import annotations

import pytest

from hookline.trace import read_trace, replay
from tests.docs.pictures import DOCS, pictures

CURRENT = pictures()


@pytest.mark.parametrize("name", CURRENT)
def test_a_picture_is_current(name: str) -> None:
    """Else: python -m tests.docs.pictures."""
    assert (DOCS / name).read_text("utf-8") == CURRENT[name]


def test_the_trace_of_a_picture_replays_the_same() -> None:
    with (DOCS / "slow-webhook.trace").open(encoding="utf-8", newline="\n") as lines:
        assert replay(read_trace(lines)) is None
