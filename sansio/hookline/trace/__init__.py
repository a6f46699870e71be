"""Traces of a bot's run: recorded, read, played again, drawn.

A run of a machine is a list of (time, method, arguments). `Recorder` is a `Bot` that writes that list down, with the
effects that came back, one line of JSON for each input; `replay` tells another machine the same and compares; `draw`
shows it as a sequence diagram.
"""

from __future__ import annotations

from hookline.trace.draw import Drawing, draw
from hookline.trace.layout import View
from hookline.trace.reader import Header, Input, Trace, TraceError, read_trace
from hookline.trace.recorder import Recorder
from hookline.trace.replay import Difference, replay

__all__ = [
    "Difference",
    "Drawing",
    "Header",
    "Input",
    "Recorder",
    "Trace",
    "TraceError",
    "View",
    "draw",
    "read_trace",
    "replay",
]
