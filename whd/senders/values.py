"""What stands at a locator of one request, as the one text that filters and ids go by. Pure functions of values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..model.caller_check import Headers
from ..wire.pointer import Picked
from .locators import Locator


def pointer_of(locator: Locator) -> str | None:
    """The JSON pointer that picks the value out of a payload, None for what is in the head.

    A form's fields are picked like an object's members.
    """
    if locator.kind == "json":
        return locator.name
    if locator.kind == "form":
        return "/" + locator.name.replace("~", "~0").replace("/", "~1")
    return None


def pointers_of(locators: Iterable[Locator]) -> tuple[str, ...]:
    """What the locators need of a payload, each once."""
    found = (pointer_of(locator) for locator in locators)
    return tuple(dict.fromkeys(pointer for pointer in found if pointer is not None))


def text_at(locator: Locator, headers: Headers, query: Mapping[str, Any], picked: Picked | None) -> str | None:
    """The text there; None if there is none, or no single one. A repeated header is one list (RFC 9110, 5.3)."""
    if locator.kind == "header":
        name = locator.field_name
        values = [value for field_name, value in headers if field_name == name]
        return _header_text(b", ".join(values)) if values else None
    if locator.kind == "query":
        value = query.get(locator.name)
        return value if type(value) is str else None
    pointer = pointer_of(locator)
    return None if picked is None or pointer is None else picked.get(pointer)


def _header_text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
