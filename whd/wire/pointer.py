"""JSON pointers (RFC 6901): one value out of a document. Pure functions of values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final

MISSING: Final = object()
# What is longer is no id, event or branch; such a value counts as missing.
MAX_PICKED_CHARACTERS: Final = 8_192

_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")
Picked = dict[str, str | None]


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


def pick(document: Any, pointers: Iterable[str]) -> Picked:
    """The texts at the pointers, None where there is none or it is too long to be one."""
    texts = {pointer: text_of(look_up(document, pointer)) for pointer in pointers}
    return {
        pointer: text if text is not None and len(text) <= MAX_PICKED_CHARACTERS else None
        for pointer, text in texts.items()
    }
