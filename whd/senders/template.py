"""What a sender signs, as a text with words in braces: `{timestamp}.{body}`. Compiled when a setting is read.

Pure; the words are those of SENDERS 3.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from .locators import Locator, NotALocator, parse_locator

WORDS: Final = ("body", "timestamp", "id", "method", "url", "path", "query")
_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class BadTemplate(ValueError):
    """A template that cannot be used; `str()` says why. `word`: the one that is not known, or ""."""

    def __init__(self, text: str, word: str = "") -> None:
        super().__init__(text)
        self.word = word


@dataclass(frozen=True, slots=True)
class Word:
    """`{name}`, or `{header:NAME}` and the like, which name a locator."""

    name: str
    locator: Locator | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """What is signed: pieces before the body, the body if `has_body`, pieces behind it. A piece is text or a word."""

    before: tuple[bytes | Word, ...]
    has_body: bool
    behind: tuple[bytes | Word, ...]

    def names(self, word: str) -> bool:
        """Whether `{word}` stands in it."""
        if word == "body":
            return self.has_body
        return any(isinstance(piece, Word) and piece.name == word for piece in self.before + self.behind)

    @property
    def locators(self) -> tuple[Locator, ...]:
        """The locators that it names, of the head and of the body."""
        return tuple(
            piece.locator
            for piece in self.before + self.behind
            if isinstance(piece, Word) and piece.locator is not None
        )


def compile_template(text: str) -> Template:
    """Reads a template. `{{` and `}}` stand for the braces themselves. Raises BadTemplate."""
    halves: tuple[list[bytes | Word], list[bytes | Word]] = ([], [])
    has_body = False
    end = 0
    for match in _PIECE.finditer(text):
        _add_text(halves[has_body], text[end : match.start()])
        end = match.end()
        piece = match.group()
        if piece in ("{{", "}}"):
            _add_text(halves[has_body], piece[0])
        elif match.group(1) is None:
            raise BadTemplate(
                f"a single {piece} at column {match.start() + 1}; {piece * 2} stands for the brace itself"
            )
        elif match.group(1) == "body":
            if has_body:
                raise BadTemplate("{body} stands there twice")
            has_body = True
        else:
            halves[has_body].append(_word(match.group(1)))
    _add_text(halves[has_body], text[end:])
    if not has_body and not any(isinstance(piece, Word) for piece in halves[0]):
        raise BadTemplate("nothing of the request is signed: expected {body} or another word")
    return Template(tuple(halves[0]), has_body, tuple(halves[1]))


def _word(text: str) -> Word:
    if text in WORDS:
        return Word(text)
    if ":" not in text:
        words = ", ".join(f"{{{word}}}" for word in WORDS)
        raise BadTemplate(f"there is no word {{{text}}}; expected {words}, {{header:NAME}} or {{json:/pointer}}", text)
    try:
        locator = parse_locator(text, ("header", "query", "json", "form"))
    except NotALocator as error:
        raise BadTemplate(f"{{{text}}}: {error}", text) from None
    return Word("locator", locator)


def _add_text(pieces: list[bytes | Word], text: str) -> None:
    if not text:
        return
    last = pieces[-1] if pieces else None
    if isinstance(last, bytes):
        pieces[-1] = last + text.encode()
    else:
        pieces.append(text.encode())


def joined(pieces: tuple[bytes | Word, ...], value_of: Callable[[Word], bytes]) -> bytes:
    """The pieces' bytes, words filled in by `value_of`."""
    return b"".join([piece if isinstance(piece, bytes) else value_of(piece) for piece in pieces])
