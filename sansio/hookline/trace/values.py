"""The machine's values as JSON and back: one registry of their classes, by name.

JSON values stand for themselves; whatever else there is becomes an object with its class's name under `$`. Texts and
bytes go through functions on their way out, so that a trace can blot secrets.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any, Final, TypeAlias

import attrs

from hookline import effects, options, outcomes
from hookline.botapi import InputFile
from hookline.http import Request, Response, StreamId
from hookline.updates import Update

TAG: Final = "$"
LONG: Final = 4_096
"""Longer bytes in an effect are written down by their size and digest: enough to compare, and they have come before."""

Text: TypeAlias = "Callable[[str], str]"
"""What is written down for a text."""
Data: TypeAlias = "Callable[[bytes], Any]"
"""What is written down for bytes."""


@attrs.frozen
class LongBytes:
    """Stands for bytes of an effect, which were too long to be written down."""

    size: int
    sha256: str


VALUES: Final[Mapping[str, type[Any]]] = {
    cls.__name__: cls
    for cls in (
        *(effects.Connect, effects.Send, effects.Pull, effects.Close, effects.Handle, effects.Cancel),
        *(effects.Open, effects.Store, effects.Mark, effects.Release, effects.Kept),
        *(effects.Resolve, effects.Receive, effects.Report, effects.Log, effects.Ended),
        *(effects.Fetch, effects.Abandon, effects.Transmit, effects.Recall, effects.Respond, effects.Throw),
        *(outcomes.Returned, outcomes.Raised, outcomes.Cancelled),
        *(outcomes.Result, outcomes.Refused, outcomes.Unreachable),
        *(options.PollingOptions, options.WebhookOptions, options.WorkOptions, options.SetWebhookOptions),
        *(options.ApiOptions, options.HttpLimits),
        *(Update, InputFile, StreamId, Request, Response, LongBytes),
    )
}
ENUMS: Final[Mapping[str, type[Enum]]] = {
    cls.__name__: cls for cls in (effects.Status, effects.Verdict, outcomes.Replied)
}


def pack(value: Any, text: Text, data: Data) -> Any:
    """A value as JSON. What is neither JSON nor of a known class is written down by its class and representation."""
    if isinstance(value, str):
        return text(value)
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {TAG: "float", "text": str(value)}
    if isinstance(value, (bytes, bytearray, memoryview)):
        return data(bytes(value))
    if isinstance(value, list):
        return [pack(inner, text, data) for inner in value]
    if isinstance(value, tuple):
        return {TAG: "tuple", "items": [pack(inner, text, data) for inner in value]}
    if isinstance(value, Mapping):
        if TAG not in value and all(isinstance(name, str) for name in value):
            return {text(name): pack(inner, text, data) for name, inner in value.items()}
        pairs = [[pack(name, text, data), pack(inner, text, data)] for name, inner in value.items()]
        return {TAG: "dict", "items": pairs}
    if isinstance(value, PurePath):
        kind = PureWindowsPath if isinstance(value, PureWindowsPath) else PurePosixPath
        return {TAG: kind.__name__, "path": text(str(value))}
    cls = type(value)
    if ENUMS.get(cls.__name__) is cls:
        return {TAG: cls.__name__, "value": value.value}
    if VALUES.get(cls.__name__) is cls:
        fields = {name: pack(getattr(value, name), text, data) for name in attrs.fields_dict(cls)}
        return {TAG: cls.__name__, **fields}
    return {TAG: "object", "class": text(cls.__name__), "repr": text(repr(value))}


def pack_bytes(data: bytes) -> dict[str, Any]:
    """Bytes as JSON: as text if they are UTF-8."""
    try:
        return {TAG: "bytes", "text": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {TAG: "bytes", "base64": base64.b64encode(data).decode("ascii")}


def pack_bytes_of_an_effect(data: bytes) -> Any:
    """Bytes as JSON: if they are long, what they can be compared by."""
    if len(data) <= LONG:
        return pack_bytes(data)
    return {TAG: "LongBytes", "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def pack_effect(effect: Any) -> Any:
    """An effect as JSON, with nothing blotted: of a machine that was built with stand-ins."""
    return pack(effect, lambda text: text, pack_bytes_of_an_effect)


def unpack(packed: Any) -> Any:
    """The value that was packed. ValueError, TypeError or KeyError for what `pack` does not give."""
    if isinstance(packed, list):
        return [unpack(inner) for inner in packed]
    if not isinstance(packed, dict):
        return packed
    if TAG not in packed:
        return {name: unpack(inner) for name, inner in packed.items()}
    fields = {name: unpack(inner) for name, inner in packed.items() if name != TAG}
    name = packed[TAG]
    if name in VALUES:
        return VALUES[name](**fields)
    if name in ENUMS:
        return ENUMS[name](fields["value"])
    return _OTHERS[name](fields)


def _object(fields: dict[str, Any]) -> Any:
    """Something that is of the same use as what could not be written down: none, but in messages."""
    return type(fields["class"], (), {"__repr__": lambda self: fields["repr"]})()


_OTHERS: Final[Mapping[str, Callable[[dict[str, Any]], Any]]] = {
    "float": lambda fields: float(fields["text"]),
    "tuple": lambda fields: tuple(fields["items"]),
    "dict": lambda fields: {name: inner for name, inner in fields["items"]},  # noqa: C416 - pairs are lists here
    "bytes": lambda fields: fields["text"].encode() if "text" in fields else base64.b64decode(fields["base64"]),
    "zeros": lambda fields: bytes(fields["size"]),
    "PurePosixPath": lambda fields: PurePosixPath(fields["path"]),
    "PureWindowsPath": lambda fields: PureWindowsPath(fields["path"]),
    "object": _object,
}
