"""JSON in and out."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline.codec import MAX_DEPTH, decode, encode, is_deep

# Text without lone surrogates, which UTF-8 can't hold.
TEXT = st.text(st.characters(codec="utf-8"), max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
)


@given(JSON)
def test_what_was_encoded_is_decoded_to_the_same(value: Any) -> None:
    assert value == decode(encode(value))


@given(st.binary(max_size=30) | st.text(alphabet='{}[]",:0123456789eE+-.nulltrefas\\u "', max_size=30).map(str.encode))
def test_any_bytes_are_a_value_or_a_value_error(data: bytes) -> None:
    try:
        value = decode(data)
    except ValueError:
        return
    assert value == json.loads(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"<html>",
        b"{'a': 1}",
        b"[1,]",
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"\xff",
        b'"\xe4"',
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        b"[" * 1_000_000,
        b'{"a":' * 1_000_000,
        b"1" * 100_000,
    ],
    ids=lambda data: repr(data[:12]),
)
def test_what_is_no_json_in_utf_8_is_a_value_error(data: bytes) -> None:
    """Too deep a nesting and too long a number included: no other error comes of what the network sends."""
    with pytest.raises(ValueError, match=r"."):
        decode(data)


@pytest.mark.skipif(not hasattr(sys, "set_int_max_str_digits"), reason="this Python reads numbers of any length")
def test_too_long_a_number_is_told_in_our_words() -> None:
    """What Python says of it is advice to whoever wrote the program."""
    with pytest.raises(ValueError, match=r"^a number has too many digits$"):
        decode(b'{"update_id": ' + b"9" * 100_000 + b"}")


def nested(depth: int, opening: str, closing: str) -> bytes:
    return (opening * depth + "1" + closing * depth).encode()


@pytest.mark.parametrize(
    ("opening", "closing", "beside"),
    [("[", "]", 0), ('{"a":', "}", 0), ('[{},[[]],"[",', "]", 2), ('[[],"]",', "]", 1)],
)
def test_nesting_has_a_limit(opening: str, closing: str, beside: int) -> None:
    """However it is made, and whatever stands beside it."""
    assert not is_deep(nested(MAX_DEPTH - beside, opening, closing))
    assert is_deep(nested(MAX_DEPTH - beside + 1, opening, closing))
    assert is_deep(nested(1_000_000, opening, ""))
    decode(nested(MAX_DEPTH - beside, opening, closing))
    with pytest.raises(ValueError, match="nested too deep"):
        decode(nested(MAX_DEPTH - beside + 1, opening, closing))


def depth(value: Any) -> int:
    """How deep arrays and objects are within each other."""
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@given(JSON, st.integers(MAX_DEPTH - 12, MAX_DEPTH), st.lists(JSON, max_size=3))
def test_nesting_is_counted_exactly(value: Any, levels: int, beside: list[Any]) -> None:
    for level in range(levels):
        value = [*beside, value] if level % 2 else {"a[": value, '"': beside}
    assert is_deep(encode(value)) == (depth(value) > MAX_DEPTH)


@pytest.mark.parametrize("text", ["[" * 5_000, '\\"' + "{" * 5_000, "[]{}" * 2_000 + "\\\\", '"["' * 1_000 + "\\"])
def test_brackets_within_text_are_no_nesting(text: str) -> None:
    """A user may write what they like."""
    assert not is_deep(encode([{"text": text}, {text: "]"}]))


def test_many_shallow_values_are_no_nesting() -> None:
    assert not is_deep(encode([{"a": [{}], "b": "["}] * 3_000))


@given(JSON)
def test_what_can_be_made_here_is_never_too_deep(value: Any) -> None:
    assert not is_deep(encode([value] * 600))


def test_text_is_compact_utf_8() -> None:
    assert encode({"a": [1, "ä", None]}) == '{"a":[1,"ä",null]}'.encode()


def deep() -> list[Any]:
    """Nested deeper than the interpreter goes."""
    value: list[Any] = []
    for _ in range(1_000_000):
        value = [value]
    return value


def circular() -> list[Any]:
    """Contains itself."""
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", circular()], ids=ascii)
def test_what_json_cannot_say_is_a_value_error(value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        encode(value)


@pytest.mark.skipif(sys.platform == "emscripten", reason="the interpreter there ends before it notices")
def test_what_is_nested_too_deep_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="nested too deep"):
        encode(deep())


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object(), {(1, 2): 3}], ids=lambda value: type(value).__name__)
def test_a_value_of_another_type_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError):
        encode(value)
