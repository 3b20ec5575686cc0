"""Where a value stands in a request: `header:NAME`, `query:NAME`, `json:/pointer`, `form:NAME`.

Signatures, timestamps, ids, filters and repeats name locators in the same words. Pure functions of values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

KINDS: Final = ("header", "query", "json", "form")

# RFC 9110, 5.6.2: a token.
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
# RFC 6901, 3: "~" only as ~0 and ~1.
_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)*")
_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")


class NotALocator(ValueError):
    """The text is no locator; `str()` says what was expected."""


@dataclass(frozen=True, slots=True)
class Locator:
    """Where one value stands. `name`: of a header as the sender writes it, of a field, or a JSON pointer (RFC 6901)."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"

    @property
    def field_name(self) -> bytes:
        """A header's name as a Head has it: in lower case."""
        return self.name.lower().encode("ascii")

    @property
    def is_in_head(self) -> bool:
        """Whether it can be read before the body is."""
        return self.kind in ("header", "query")


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

MISSING: Final = object()


def look_up(document: Any, pointer: str) -> Any:
    """The value at a JSON pointer, MISSING if there is none (RFC 6901, 4)."""
    value = document
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~") if "~" in part else part
        if type(value) is dict and name in value:
            value = value[name]
        elif type(value) is list and _INDEX.fullmatch(name) and int(name) < len(value):
            value = value[int(name)]
        else:
            return MISSING
    return value


def text_of(value: Any) -> str | None:
    """A value as the text that patterns and ids are compared as: a text as it is, others as JSON writes them.

    None for what is no single value: MISSING, an object, a list.
    """
    if type(value) is str:
        return value
    if value is MISSING or isinstance(value, dict | list):
        return None
    return json.dumps(value)
