"""SVG as text: the few shapes that a picture of a run consists of, in light and in dark."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Final
from unicodedata import east_asian_width

from attrs import define, field

CHARACTER: Final = 6.4
"""Pixels that a character of the font takes, about."""

_LIGHT: Final = {
    "paper": "#ffffff",
    "ink": "#1f2328",
    "faint": "#656d76",
    "line": "#c4ccd4",
    "gap": "#f3f5f7",
    "box": "#eef1f4",
    "good": "#1a7f37",
    "bad": "#cf222e",
    "warn": "#9a6700",
    "run": "#0969da",
    "note": "#fff8c5",
    "edge": "#d4a72c",
}
_DARK: Final = {
    "paper": "#0d1117",
    "ink": "#e6edf3",
    "faint": "#8d96a0",
    "line": "#3d444d",
    "gap": "#161b22",
    "box": "#21262d",
    "good": "#3fb950",
    "bad": "#f85149",
    "warn": "#d29922",
    "run": "#4493f8",
    "note": "#332701",
    "edge": "#9e6a03",
}
_SHAPES: Final = """
.run-of-a-bot { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
.run-of-a-bot text { fill: currentColor; stroke-width: 4px; paint-order: stroke; stroke-linejoin: round; }
.run-of-a-bot .strong { font-weight: 600; }
.run-of-a-bot .line { stroke: currentColor; stroke-width: 1.5px; }
.run-of-a-bot .dashed { stroke-dasharray: 4 3; }
.run-of-a-bot .waits { stroke-width: 2px; stroke-dasharray: 2 3; }
.run-of-a-bot .tip, .run-of-a-bot .bar { fill: currentColor; }
"""


def _colours(of: Mapping[str, str]) -> str:
    """The rules that name colours. Without var(), which only browsers know; a tone is the `color` of what wears it."""
    tones = "\n".join(
        f".run-of-a-bot .{tone} {{ color: {of[tone]}; }}" for tone in ("good", "bad", "warn", "run", "faint")
    )
    return f"""
.run-of-a-bot {{ color: {of["ink"]}; }}
.run-of-a-bot text {{ stroke: {of["paper"]}; }}
.run-of-a-bot .plain {{ stroke: none; }}
.run-of-a-bot .paper {{ fill: {of["paper"]}; }}
.run-of-a-bot .gap {{ fill: {of["gap"]}; }}
.run-of-a-bot .box {{ fill: {of["box"]}; stroke: {of["line"]}; }}
.run-of-a-bot .note {{ fill: {of["note"]}; stroke: {of["edge"]}; }}
.run-of-a-bot .life {{ stroke: {of["line"]}; }}
.run-of-a-bot .waits {{ stroke: {of["faint"]}; }}
{tones}
"""


_STYLE: Final = f"{_SHAPES}{_colours(_LIGHT)}@media (prefers-color-scheme: dark) {{{_colours(_DARK)}}}\n"

_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@define
class Canvas:
    """Collects shapes, and gives the picture. Those drawn first lie below. A tone is a colour, by its class."""

    shapes: list[str] = field(factory=list)

    def box(self, kind: str, x: float, y: float, width: float, height: float, *, says: str = "") -> None:
        """A rectangle: paper, gap, box, note, or a bar with a tone."""
        corner = 0 if kind in ("paper", "gap") else 3
        inner = f"<title>{escaped(says)}</title></rect>" if says else "</rect>"
        self.shapes.append(
            f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{corner}">{inner}'
        )

    def line(self, kind: str, x1: float, y1: float, x2: float, y2: float) -> None:
        """A line."""
        self.shapes.append(f'<line class="{kind}" x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"/>')

    def arrow(self, tone: str, x1: float, x2: float, y: float, *, dashed: bool = False) -> None:
        """A horizontal arrow."""
        back = -7 if x2 > x1 else 7
        self.line(f"line {tone}{' dashed' if dashed else ''}", x1, y, x2 + back, y)
        self.shapes.append(f'<path class="tip {tone}" d="M{x2:g} {y:g} l{back} -4 v8 z"/>')

    def text(
        self, tone: str, x: float, y: float, text: str, *, room: float = 1e6, anchor: str = "start", says: str = ""
    ) -> None:
        """A line of text, cut to the room that there is. says: what is told of it to whoever points at it."""
        shown = clipped(text, room)
        says = says or (text if shown != text else "")
        tip = f"<title>{escaped(says)}</title>" if says else ""
        self.shapes.append(
            f'<text class="{tone}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{tip}{escaped(shown)}</text>'
        )

    def svg(self, width: float, height: float, title: str) -> str:
        """The picture."""
        size = f'width="{width:g}" height="{height:g}"'
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" class="run-of-a-bot" {size} role="img">',
                f"<title>{escaped(title)}</title>",
                f"<style>{_STYLE}</style>",
                f'<rect class="paper" {size}/>',
                *self.shapes,
                "</svg>\n",
            ]
        )


def clipped(text: str, room: float) -> str:
    """As much of a text as there is room for, on one line."""
    text = " ".join(text.split())
    taken = 0.0
    for place, character in enumerate(text):
        taken += CHARACTER * (2 if east_asian_width(character) in "WF" else 1)
        if taken > room:
            return f"{text[: max(0, place - 1)]}…"
    return text


def escaped(text: str) -> str:
    """A text for SVG and HTML; what XML can't say, is replaced."""
    return html.escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text))
