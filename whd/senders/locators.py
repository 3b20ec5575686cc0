"""Where a value stands in a request: `header:NAME`, `query:NAME`, `json:/pointer`, `form:NAME`.

Signatures, timestamps, ids, filters and repeats name locators in the same words. Pure functions of values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

KINDS: Final = ("header", "query", "json", "form")

# RFC 9110, 5.6.2: a token.
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
# RFC 6901, 3: "~" only as ~0 and ~1.
_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)*")


class NotALocator(ValueError):
    """The text is no locator; `str()` says what was expected."""


@dataclass(frozen=True, slots=True)
class Locator:
    """Where one value stands. `name`: of a header as the sender writes it, of a field, or a JSON pointer (RFC 6901)."""

    kind: str
    name: str
    field_name: bytes = field(init=False, repr=False, compare=False)
    """A header's name as a Head has it: in lower case."""
    is_in_head: bool = field(init=False, repr=False, compare=False)
    """Whether it can be read before the body is."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "field_name", self.name.lower().encode() if self.kind == "header" else b"")
        object.__setattr__(self, "is_in_head", self.kind in ("header", "query"))

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


def parse_locator(text: str, kinds: Iterable[str] = KINDS) -> Locator:
    """Reads a locator. Raises NotALocator."""
    kind, colon, name = text.partition(":")
    if not colon or kind not in kinds:
        raise NotALocator(f"expected {', '.join(_EXAMPLES[kind] for kind in kinds)}")
    if kind == "header" and not _TOKEN.fullmatch(name):
        raise NotALocator("expected header: and the name of a header")
    if kind == "json" and not _POINTER.fullmatch(name):
        raise NotALocator("expected json: and a JSON pointer (RFC 6901), such as json:/data/id")
    if kind in ("query", "form") and not name:
        raise NotALocator(f"expected {kind}: and a name")
    return Locator(kind, name)


_EXAMPLES = {"header": "header:NAME", "query": "query:NAME", "json": "json:/pointer", "form": "form:NAME"}
