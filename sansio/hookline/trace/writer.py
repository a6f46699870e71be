"""Makes a trace's lines: a first one that says how the machine was built, then one of JSON for each input.

Secrets are blotted (`blots`). Of a file that is sent from a path or a stream, only the size of each piece is kept, with
zeros for its bytes: nothing in the machine depends on them.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from attrs import define, evolve, field

from hookline.effects import Close, Effect, Receive, Resolve, Send
from hookline.trace.blots import Blots, Piece, Stream
from hookline.trace.values import TAG, Data, pack, pack_bytes, pack_bytes_of_an_effect

FORMAT: Final = "hookline trace"
VERSION: Final = 1

MAX_HELD: Final = 1_000
"""Lines that may wait until it is known whether a piece of bytes ended within a secret."""

Write: TypeAlias = "Callable[[str], object]"
"""Takes a line, with its end."""


@define
class Line:
    """A line before it is written. pieces: the bytes in it that must be known for that."""

    content: dict[str, Any]
    pieces: list[Piece] = field(factory=list)

    def text(self) -> str:
        """The line. Bytes that had to wait are functions in `content`, and packed only now."""
        text = json.dumps(self.content, ensure_ascii=False, separators=(",", ":"), default=_now)
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:  # half of a surrogate pair, which JSON may have
            text = json.dumps(self.content, separators=(",", ":"), default=_now)
        return text + "\n"


class Writer:
    """Takes what a machine was told and what came of it, and writes lines; a line may have to wait.

    write: takes each line. blots: what is blotted. header: how the machine was built, as values.
    """

    def __init__(self, write: Write, blots: Blots, header: Mapping[str, Any]) -> None:
        self._write = write
        self._blots = blots
        self._header = {"format": FORMAT, "version": VERSION, "start": None, **self._pack(header)}
        self._lines = deque([Line(self._header)])
        self._streams: dict[tuple[str, int], Stream] = {}  # by what comes ("received", "downloaded") and its number

    def add(self, method: str, arguments: dict[str, Any], asked: list[Any], returned: list[Effect] | int) -> None:
        """An input, what the program's own functions decided meanwhile, and what came of it."""
        line = self._begin(method, arguments)
        line.content["arguments"] = self._pack_arguments(method, arguments, line)
        if asked:
            line.content["asked"] = self._pack(asked)
        if isinstance(returned, int):
            line.content["number"] = returned
        else:
            effects = _without_content(returned, arguments["data"]) if method == "pulled" else returned
            line.content["effects"] = [self._pack_effect(effect, line) for effect in effects]
        self._flush()

    def add_refused(self, method: str, arguments: dict[str, Any], asked: list[Any], error: Exception) -> None:
        """An input that raised. Its arguments may be anything."""
        line = self._begin(method, arguments)
        try:
            line.content["arguments"] = self._pack_arguments(method, arguments, line)
        except Exception:  # a nested self, a missing one: whatever the machine refused
            line.content["arguments"] = None
        if asked:
            line.content["asked"] = self._pack(asked)
        line.content["raised"] = self._pack([type(error).__name__, str(error)])
        self._flush()

    def close(self) -> None:
        """Nothing comes any more: write what had to wait."""
        for stream in self._streams.values():
            stream.end()
        self._flush()

    def _begin(self, method: str, arguments: dict[str, Any]) -> Line:
        line = Line({"now": self._since_start(arguments["now"])} if "now" in arguments else {})
        line.content["method"] = method
        self._lines.append(line)
        return line

    def _since_start(self, now: float) -> float:
        """Seconds since the first input, such that the sum of the two is `now` to the last bit."""
        if self._header["start"] is None:
            self._header["start"] = now
        start: float = self._header["start"]
        seconds = now - start
        for near in (seconds, math.nextafter(seconds, -math.inf), math.nextafter(seconds, math.inf)):
            if start + near == now:
                return near
        raise ValueError(f"the time {now!r} can't be given by what is added to {start!r}")

    def _flush(self) -> None:
        """Write what can be written. The header waits for the time of the first input."""
        if len(self._lines) > MAX_HELD:
            for stream in self._streams.values():
                stream.give_up()
        while self._lines and self._header["start"] is not None:
            if not all(piece.is_known for piece in self._lines[0].pieces):
                return
            self._write(self._lines.popleft().text())

    # Values

    def _pack(self, value: Any, data: Data = pack_bytes) -> Any:
        return pack(value, self._blots.text, lambda given: data(self._blots.data(given)))

    def _pack_arguments(self, method: str, arguments: dict[str, Any], line: Line) -> dict[str, Any]:
        packed = {name: self._pack(value) for name, value in arguments.items() if name not in ("now", "data")}
        if method == "pulled":
            packed["data"] = {TAG: "zeros", "size": len(arguments["data"])}
        elif method == "received":
            key = ("received", arguments["connection"])
            packed["data"] = self._pack_piece(key, arguments["data"], pack_bytes, line)
            if not arguments["data"]:
                self._end(key)
        elif method == "disconnected":
            self._end(("received", arguments["connection"]))
        elif method == "cancel":
            self._end(("downloaded", arguments["call"]))
        return packed

    def _pack_effect(self, effect: Effect, line: Line) -> Any:
        if isinstance(effect, Receive):
            key = ("downloaded", effect.call)
            show = pack_bytes_of_an_effect
            return pack(effect, self._blots.text, lambda data: self._pack_piece(key, data, show, line))
        if isinstance(effect, Close):
            self._end(("received", effect.connection))
        elif isinstance(effect, Resolve):
            self._end(("downloaded", effect.call))
        return self._pack(effect, pack_bytes_of_an_effect)

    def _pack_piece(self, key: tuple[str, int], data: bytes, show: Data, line: Line) -> Callable[[], Any]:
        """A piece of a stream. What goes into the line is known when it is written."""
        stream = self._streams.setdefault(key, Stream(self._blots))
        piece = stream.add(bytes(data))
        line.pieces.append(piece)
        return lambda: show(piece.known)

    def _end(self, key: tuple[str, int]) -> None:
        stream = self._streams.pop(key, None)
        if stream is not None:
            stream.end()


def _without_content(effects: list[Effect], content: bytes) -> list[Effect]:
    """The effects of `pulled`, with zeros for the file's bytes: a chunk with these in it, or nothing but these."""
    zeroed: list[Effect] = []
    for effect in effects:
        if isinstance(effect, Send) and content:
            ending = next((end for end in (content + b"\r\n", content) if effect.data.endswith(end)), b"")
            kept = effect.data[: len(effect.data) - len(ending)]
            effect = evolve(effect, data=kept + bytes(len(content)) * bool(ending) + ending[len(content) :])
        zeroed.append(effect)
    return zeroed


def _now(late: Callable[[], Any]) -> Any:
    return late()
