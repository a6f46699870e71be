"""The reference has every public name of the core, and every effect."""

from __future__ import annotations

import re
from pathlib import Path

import hookline
from hookline import effects

PAGE = (Path(__file__).parents[2] / "docs" / "reference.md").read_text("utf-8")
SHOWN = set(re.findall(r"^\.\. auto\w+:: (hookline[\w.]*)$", PAGE, re.MULTILINE))


def test_every_public_name_is_in_the_reference() -> None:
    assert {f"hookline.{name}" for name in hookline.__all__} <= SHOWN


def test_every_effect_is_in_the_reference() -> None:
    named = re.findall(r"^    ([A-Z]\w+) ", effects.__doc__ or "", re.MULTILINE)
    assert len(named) > 15
    assert {f"hookline.effects.{name}" for name in named} <= SHOWN
