"""Blotting: no secret is left, in no encoding and however it comes; lengths and all else stay."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hookline.errors import OptionError
from hookline.trace.blots import BEGINNING, SHORTEST, Blots, Stream

SECRET = "AAG-testsSecretHalf_0123456789"
OTHER = "a_webhooks-secret"
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

SECRETS = st.text(ALPHABET, min_size=SHORTEST, max_size=60).filter(lambda secret: set(secret) - set("0123456789eE-"))


def percent(text: str) -> str:
    return "".join(f"%{ord(character):02X}" for character in text)


def escaped(text: str) -> str:
    return "".join(f"\\u{ord(character):04x}" for character in text)


def chunked(text: str) -> str:
    """As a body that comes in chunks of one byte each."""
    return "\r\n".join(f"1\r\n{character}" for character in text)


@pytest.fixture
def blots() -> Blots:
    return Blots([SECRET, OTHER])


def test_each_secret_has_a_stand_in_of_its_own_length(blots: Blots) -> None:
    assert blots.stand_in(SECRET) == "x" * len(SECRET)
    assert blots.stand_in(OTHER) == "y" * len(OTHER)


@pytest.mark.parametrize("written", [str, percent, lambda text: percent(text).lower(), escaped, chunked])
def test_a_secret_is_blotted_as_it_is_written(blots: Blots, written: object) -> None:
    """The text around it stays, and so does the way it is written: it reads as its stand-in."""
    assert callable(written)
    text = f'{{"a": "/bot42:{written(SECRET)}/getMe", "b": "{written(OTHER)}"}}'
    expected = f'{{"a": "/bot42:{written("x" * len(SECRET))}/getMe", "b": "{written("y" * len(OTHER))}"}}'

    assert blots.text(text).lower() == expected.lower()
    assert blots.data(text.encode()).lower() == expected.encode().lower()


def test_a_secret_written_in_several_ways_at_once_is_blotted(blots: Blots) -> None:
    text = percent(SECRET[:5]) + SECRET[5:9] + escaped(SECRET[9:12]) + "\r\nff;name=value\r\n" + SECRET[12:]
    expected = percent("xxxxx") + "xxxx" + escaped("xxx") + "\r\nff;name=value\r\n" + "x" * len(SECRET[12:])

    assert blots.text(text) == expected


def test_the_beginning_of_a_secret_is_blotted_too(blots: Blots) -> None:
    """A text that was cut off gives no part of it away; a few characters may be anything."""
    assert blots.text(f"see {SECRET[:20]}") == "see " + "x" * 20
    assert blots.text(f"see {SECRET[:BEGINNING]}, then") == f"see {'x' * BEGINNING}, then"
    assert blots.text(f"see {SECRET[: BEGINNING - 1]}") == f"see {SECRET[: BEGINNING - 1]}"


def test_a_word_that_a_secret_begins_with_stays() -> None:
    """A secret token may be made of words that the bot and Telegram use themselves."""
    blots = Blots(["hookline-telegram-secret"])

    assert blots.text("user-agent: hookline, x-telegram-bot-api") == "user-agent: hookline, x-telegram-bot-api"
    assert blots.text("hookline-telegram-secret") == "x" * 24


def test_a_secret_that_begins_as_another_has_its_own_stand_in() -> None:
    """The whole of one is no beginning of the other."""
    blots = Blots([SECRET, f"{SECRET}-more"])

    assert blots.text(SECRET) == blots.stand_in(SECRET)
    assert blots.text(f"{SECRET}-more") == blots.stand_in(f"{SECRET}-more")
    assert blots.stand_in(SECRET)[0] != blots.stand_in(f"{SECRET}-more")[0]


@pytest.mark.parametrize("secret", ["short", "1234567890", "-12345678", "1234567e10"])
def test_a_secret_that_cannot_be_told_from_other_text_is_refused(secret: str) -> None:
    with pytest.raises(OptionError, match="choose another secret token"):
        Blots([SECRET, secret])


def test_without_secrets_all_stays() -> None:
    assert Blots([]).text("anything") == "anything"
    assert Stream(Blots([])).add(b"any%4").known == b"any%4"


@given(
    secrets=st.lists(SECRETS, min_size=1, max_size=2),
    parts=st.lists(st.one_of(st.sampled_from([0, 1]), st.text(ALPHABET + "/:. é", max_size=20)), max_size=8),
)
def test_no_secret_survives_in_any_text(secrets: list[str], parts: list[int | str]) -> None:
    """Whatever stands around it, secrets too."""
    blots = Blots(secrets)
    text = "".join(part if isinstance(part, str) else secrets[part % len(secrets)] for part in parts)
    blotted = blots.text(text)

    assert not any(secret in blotted for secret in secrets)
    assert len(blotted) == len(text)


# Streams


@given(data=st.data(), written=st.sampled_from([str, percent, escaped, chunked]))
def test_a_secret_that_comes_in_pieces_is_blotted_as_in_one(data: st.DataObject, written: object) -> None:
    """Wherever the pieces end."""
    assert callable(written)
    blots = Blots([SECRET, OTHER])
    whole = f"a {written(SECRET)} b{SECRET[:3]} A {written(OTHER)}{SECRET[:20]}! %41 \r\n".encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=10)))
    stream = Stream(blots)
    pieces = [stream.add(whole[begin:end]) for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    stream.end()

    assert b"".join(piece.known for piece in pieces) == blots.data(whole)


@pytest.mark.parametrize("end", ["", "!", " ", "}", "\r\n", "0\r\n\r\n", "\\n", "%20", "\\u00e9"])
def test_a_piece_that_ends_in_other_text_is_known_at_once(end: str) -> None:
    stream = Stream(Blots([SECRET]))
    piece = stream.add(f"{SECRET[:5]} {SECRET}{end}".encode())

    assert piece.known == f"{SECRET[:5]} {'x' * len(SECRET)}{end}".encode()


@pytest.mark.parametrize(
    "end",
    [
        SECRET[:1],
        SECRET[:-1],
        "%",
        "%4",
        "\\",
        "\\u004",
        f"{SECRET[:3]}%4",
        f"{SECRET[:3]}\r",
        f"{SECRET[:3]}\r\n1f\r\n",
    ],
)
def test_a_piece_that_may_end_in_a_secret_waits_for_the_next(end: str) -> None:
    stream = Stream(Blots([SECRET]))
    piece = stream.add(f"see {end}".encode())
    assert not piece.is_known
    next_piece = stream.add(b" no")

    assert piece.is_known
    assert next_piece.known == b" no"


def test_a_piece_that_is_not_waited_for_gives_nothing_away() -> None:
    """What may be a secret's beginning is blotted in it, and the rest in the next."""
    stream = Stream(Blots([SECRET]))
    first = stream.add(f"see {SECRET[:3]}".encode())
    stream.give_up()
    second = stream.add(f"{SECRET[3:]} done".encode())

    assert first.known == b"see xxx"
    assert second.known == b"x" * len(SECRET[3:]) + b" done"


@pytest.mark.exhaustive
@given(secret=SECRETS, before=st.binary(max_size=30), after=st.binary(max_size=30), cut=st.integers(0, 120))
def test_no_secret_survives_in_two_pieces(secret: str, before: bytes, after: bytes, cut: int) -> None:
    whole = before + secret.encode() + after
    assume(cut <= len(whole))
    stream = Stream(Blots([secret]))
    pieces = [stream.add(whole[:cut]), stream.add(whole[cut:])]
    stream.end()
    blotted = b"".join(piece.known for piece in pieces)

    assert secret.encode() not in blotted
    assert len(blotted) == len(whole)
