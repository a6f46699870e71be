"""The extra `speed`: the same values, on another event loop, whether it is installed or not."""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hookline import codec
from hookline_io import speed

orjson = pytest.importorskip("orjson", reason="the extra 'speed' is not installed")
uvloop = pytest.importorskip("uvloop", reason="the extra 'speed' is not installed")

TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def outcome(decode: codec.Decode, data: bytes) -> Any:
    """The value and its kind, or the words of the error."""
    try:
        return repr(decode(data))
    except ValueError as error:
        return error.args


@given(st.binary(max_size=20) | VALUES.map(lambda value: str(value).replace("'", '"').encode()))
@settings(max_examples=500)
@example(b"18446744073709551616")
@example(b"-9223372036854775809")
@example(b'{"id":123456789012345678901234567890}')
@example(b"0.1234567890123456789")
@example(b"1e400")
@example(b'"\\ud800"')
@example(b'"1234567890123456789012345"')
@example(b"\xef\xbb\xbf{}")
@example(b'{"a":1,"a":2}')
@example(b"NaN")
@example(b"[" * 201 + b"]" * 201)
@example(b"")
def test_json_has_the_same_value_or_the_same_error(data: bytes) -> None:
    assert outcome(speed.decode, data) == outcome(codec.decode, data)


def test_orjson_reads_it_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "decode", None)
    assert speed.decode(b'{"update_id":1}') == {"update_id": 1}


async def tell_loop(told: list[type]) -> None:
    told.append(type(asyncio.get_running_loop()))


def test_the_loop_is_uvloop_where_it_is_installed() -> None:
    told: list[type] = []
    speed.run(tell_loop(told))
    assert told == [uvloop.Loop]


def test_without_the_extra_all_is_as_the_standard_library_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "orjson", None)
    monkeypatch.setitem(sys.modules, "uvloop", None)
    monkeypatch.delitem(sys.modules, "hookline_io.speed")
    plain = importlib.import_module("hookline_io.speed")
    told: list[type] = []
    plain.run(tell_loop(told))
    assert plain.decode is codec.decode
    assert told != [uvloop.Loop]

    async def fail() -> None:
        raise LookupError("of the bot")

    with pytest.raises(LookupError) as failed:
        plain.run(fail())
    assert failed.value.__context__ is None, "the missing module is no part of what a bot raises"
