"""Blots secrets out of what goes into a trace, and puts stand-ins of the same length there.

The stand-ins are of the secrets' own alphabet, so that lengths, encodings and comparisons stay as they were, and a
machine that is built with them does the same. A secret is found as it is, percent-encoded, in JSON's escapes, and split
by the framing of a chunked body; so is the beginning of one (`BEGINNING`), since texts and connections break off. Where
bytes come in pieces, a piece that may end within a secret is known only with the next (`Stream`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from attrs import define, field

from hookline.errors import OptionError

SHORTEST: Final = 8
"""A shorter secret can't be told from other text."""
BEGINNING: Final = 16
"""So many characters of a longer secret are taken for it; fewer may be a word, where a secret was made of words."""

_FILLERS: Final = "xyzwvutsrqponmlkjihgfedcbaXYZWVUTSRQPONMLKJIHGFEDCBA9876543210_-"
_LIKE_A_NUMBER = re.compile("[0-9eE-]*")

_SIZE: Final = r"[0-9a-fA-F]{1,16}(?:;[^\r\n]{0,64})?"
_FRAMING: Final = rf"(?:\r\n{_SIZE}\r\n)?"
"""What may stand between two bytes of a body: the end of a chunk and the size of the next one."""
_HALF_FRAMING: Final = rf"(?:\r(?:\n(?:{_SIZE}(?:\r\n?)?)?)?)?"
_HALF: Final = r"(?:%(?:~[0-9a-fA-F])?|\\(?:~u(?:~0(?:~0(?:~[0-9a-fA-F])?)?)?)?)".replace("~", _FRAMING)
_UNFINISHED: Final = re.compile(rf"{_FRAMING}{_HALF}?{_HALF_FRAMING}")
"""What may stand at the end of a piece, of a character that the next piece completes."""
_LONGEST: Final = 600
"""No character is longer, with all the framing that may be in it."""

Spans: TypeAlias = "list[tuple[int, int]]"
"""Where the parts of a written character stand: itself, or three of `%41`, or six of `\\u0041`."""


class Blots:
    """What is blotted out of one trace. OptionError for a secret that can't be told from other text."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = sorted(set(secrets), key=len, reverse=True)
        for secret in self._secrets:
            if len(secret) < SHORTEST or _LIKE_A_NUMBER.fullmatch(secret):
                raise OptionError(
                    f"a trace needs secrets that can be told from other text, of {SHORTEST} characters or more and "
                    "unlike a number: choose another secret token, or run without a trace"
                )
        # No secret begins or ends with its filler, so none comes about where a stand-in meets other text.
        fillers = (
            filler
            for filler in _FILLERS
            if not any(filler in (secret[0], secret[-1]) or filler * SHORTEST in secret for secret in self._secrets)
        )
        self._fillers = dict(zip(self._secrets, fillers, strict=False))
        self._characters = {
            character: re.compile(_FRAMING + _any_way(character)) for character in set().union(*self._secrets)
        }
        beginnings = [_FRAMING.join(map(_any_way, secret[:BEGINNING])) for secret in self._secrets]
        firsts = "".join({secret[0] for secret in self._secrets})
        self._beginning = re.compile(
            rf"(?=[{re.escape(firsts)}%\\])(?:{'|'.join(beginnings)})" if beginnings else "(?!)"
        )
        ways = [_any_way(secret[0]) for secret in self._secrets]
        self._first = re.compile("|".join([*ways, rf"{_HALF}{_HALF_FRAMING}\Z"]) if ways else "(?!)")
        self._window = _LONGEST * max(map(len, self._secrets), default=0)

    def stand_in(self, secret: str) -> str:
        """What stands in a trace for a secret."""
        return self._fillers[secret] * len(secret)

    def text(self, text: str) -> str:
        """The text without secrets."""
        out: list[str] = []
        done = 0
        for secret, characters in self._finds(text):
            for spans in characters:
                for (begin, end), part in zip(spans, _written(self._fillers[secret], len(spans)), strict=True):
                    out += (text[done:begin], part)
                    done = end
        return "".join([*out, text[done:]])

    def data(self, data: bytes) -> bytes:
        """The bytes without secrets."""
        return self.text(data.decode("latin-1")).encode("latin-1")

    def settled(self, data: bytes) -> int:
        """How many of the bytes do not depend on what comes after them: no secret that begins there may go on."""
        text = data.decode("latin-1")
        start = max(0, len(text) - self._window)
        for _, characters in self._finds(text):
            begin = characters[0][0][0]
            if self._may_go_on(text, begin):
                return begin
            start = max(start, _end(characters, begin))
        for first in self._first.finditer(text, start):
            if self._may_go_on(text, first.start()):
                return first.start()
        return len(text)

    def _finds(self, text: str) -> Iterator[tuple[str, list[Spans]]]:
        """The secrets in a text, whole or in part, and where their characters stand."""
        done = 0
        while (found := self._beginning.search(text, done)) is not None:
            finds = [(secret, self._follow(text, found.start(), secret)) for secret in self._secrets]
            best = max(finds, key=lambda find: (len(find[1]), len(find[1]) == len(find[0])))
            yield best
            done = _end(best[1], done)

    def _may_go_on(self, text: str, start: int) -> bool:
        """Whether a secret may begin there and end in what comes after the text."""
        for secret in self._secrets:
            characters = self._follow(text, start, secret)
            if len(characters) < len(secret) and _UNFINISHED.fullmatch(text, _end(characters, start)):
                return True
        return False

    def _follow(self, text: str, start: int, secret: str) -> list[Spans]:
        """Where the characters of the secret stand that are written there, one after the other."""
        characters: list[Spans] = []
        for character in secret:
            found = self._characters[character].match(text, start)
            if found is None:
                break
            characters.append([span for span in found.regs[1:] if span[0] >= 0])
            start = found.end()
        return characters


@define
class Piece:
    """A piece of a stream. known: what goes into the trace, as far as it is known."""

    size: int
    known: bytes = b""

    @property
    def is_known(self) -> bool:
        """Whether all of it is."""
        return len(self.known) == self.size


@define
class Stream:
    """Bytes that come in pieces, a secret perhaps in several of them.

    open: the last pieces, from that on in which a secret may have begun. rest: the bytes from there on. given_up: how
        many of them nobody waits for.
    """

    blots: Blots
    open: list[Piece] = field(factory=list)
    rest: bytes = b""
    given_up: int = 0

    def add(self, data: bytes) -> Piece:
        """The next piece. It is known at once, unless it may end within a secret."""
        piece = Piece(len(data))
        self.open.append(piece)
        self.rest += data
        self._settle(self.blots.settled(self.rest))
        return piece

    def end(self) -> None:
        """Nothing comes any more: what is open is known."""
        self._settle(len(self.rest))

    def give_up(self) -> None:
        """Don't wait for what is open: it is blotted, since it may be the beginning of a secret."""
        for piece in self.open:
            piece.known = piece.known.ljust(piece.size, b"x")
        self.open, self.given_up = [], len(self.rest)

    def _settle(self, size: int) -> None:
        blotted = self.blots.data(self.rest)[self.given_up : size]
        self.rest = self.rest[size:]
        self.given_up = max(0, self.given_up - size)
        for piece in self.open:
            taken = piece.size - len(piece.known)
            piece.known, blotted = piece.known + blotted[:taken], blotted[taken:]
        self.open = [piece for piece in self.open if not piece.is_known]


def _any_way(character: str) -> str:
    """A pattern of a character in each of the ways in which it may be written, with a group for each part."""
    digits = [f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in f"{ord(character):02x}"]
    ways = ([re.escape(character)], ["%", *digits], [r"\\", "u", "0", "0", *digits])
    return "(?:" + "|".join(_FRAMING.join(f"({part})" for part in way) for way in ways) + ")"


def _written(character: str, parts: int) -> str:
    """A character in the way that has so many parts."""
    return {1: character, 3: f"%{ord(character):02X}", 6: f"\\u{ord(character):04x}"}[parts]


def _end(characters: list[Spans], start: int) -> int:
    """Where the last character ends; the start, if there is none."""
    return characters[-1][-1][1] if characters else start
